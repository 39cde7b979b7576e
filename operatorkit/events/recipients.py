"""Who was warned in relation to which object, and has not heard of the end of it.

What belongs here: remembering that, and reading once from a namespace's Events what earlier
processes wrote. What does not: writing Events (`recorder`).

A list of Events for each recovery would read every Event as often as there are recoveries. So what
this process records is remembered as it is recorded, and a namespace is listed once, at its first
query.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from operatorkit.clock import Clock, parse_time
from operatorkit.cluster.api import ClusterAPI, JSONObject
from operatorkit.errors import ClusterError
from operatorkit.events.notices import Notice, Reference
from operatorkit.kinds import EVENTS

__all__ = ["NAMESPACE_OF_CLUSTER_SCOPED", "Recipients"]


NAMESPACE_OF_CLUSTER_SCOPED = "default"
_LIST_AGAIN = timedelta(minutes=1)
_PAGE = 500

_Pair = tuple[str, str]  # identities: about whom, and who was warned


@dataclass(slots=True)
class _About:
    """Those warned in relation to one object, and when, by a number that grows."""

    uid: str
    warned: dict[str, tuple[Reference, int]] = field(default_factory=dict)


class Recipients:
    """Remembers the recipients of warnings about `remembered` objects, those warned about most recently."""

    def __init__(self, api: ClusterAPI, *, component: str, clock: Clock, remembered: int) -> None:
        self._api = api
        self._component = component
        self._clock = clock
        self._remembered = remembered
        self._abouts: OrderedDict[str, _About] = OrderedDict()
        self._moments = itertools.count(1)
        self._listed: set[str] = set()
        self._listing: dict[str, asyncio.Lock] = {}
        self._failed: dict[str, tuple[float, ClusterError]] = {}
        self._calmed: dict[str, set[_Pair]] = {}  # by namespace, before it was listed

    def moment(self) -> int:
        """Return a number that is higher than those of all warnings so far, and lower than those to come."""
        return next(self._moments)

    def note(self, notice: Notice) -> None:
        """Remember a warning, or that its recipient has heard of the end of it."""
        regarding = notice.regarding
        abouts = {one.identity: one for one in (notice.related, regarding) if one is not None}
        for about in abouts.values():
            if notice.type == "Warning":
                self._warn(about, regarding, self.moment())
            else:
                self._calm(about, regarding)

    def knows(self, namespace: str) -> bool:
        """Return whether the Events of a namespace were read: `warned` makes no request then."""
        return namespace in self._listed

    async def warned(
        self, about: Reference, namespace: str, *, before: int | None = None
    ) -> list[Reference]:
        """Return those in `namespace` who were warned in relation to `about`, and not yet of the recovery.

        With `before`, only those that were warned before that `moment`. Raises ClusterError.
        """
        await self._list(namespace)
        return self.remembered(about, namespace, before=before)

    def remembered(
        self, about: Reference, namespace: str, *, before: int | None = None
    ) -> list[Reference]:
        """Return what `warned` returns, as far as it is known without a request."""
        known = self._abouts.get(_name(about))
        if known is None or known.uid != about.uid:
            return []
        return [
            reference
            for reference, moment in known.warned.values()
            if (before is None or moment < before) and _namespace_of(reference) == namespace
        ]

    def forget(self, about: Reference, regarding: Reference) -> None:
        """Take a recipient off: it is gone."""
        self._calm(about, regarding)

    def _warn(self, about: Reference, regarding: Reference, moment: int) -> None:
        name = _name(about)
        known = self._abouts.get(name)
        if known is None or known.uid != about.uid:  # new, or another object of that name
            known = self._abouts[name] = _About(about.uid)
        known.warned[regarding.identity] = (regarding, moment)
        self._abouts.move_to_end(name)
        while len(self._abouts) > self._remembered:
            self._abouts.popitem(last=False)
        calmed = self._calmed.get(_namespace_of(regarding))
        if calmed is not None:
            calmed.discard((about.identity, regarding.identity))

    def _calm(self, about: Reference, regarding: Reference) -> None:
        namespace = _namespace_of(regarding)
        if namespace not in self._listed:
            calmed = self._calmed.setdefault(namespace, set())
            if len(calmed) < self._remembered:
                calmed.add((about.identity, regarding.identity))
        known = self._abouts.get(_name(about))
        if known is not None and known.uid == about.uid:
            known.warned.pop(regarding.identity, None)
            if not known.warned:
                del self._abouts[_name(about)]

    async def _list(self, namespace: str) -> None:
        if namespace in self._listed:
            return
        failed = self._failed.get(namespace)
        if failed is not None and self._clock.monotonic() - failed[0] < _LIST_AGAIN.total_seconds():
            raise failed[1]
        listing = self._listing.setdefault(namespace, asyncio.Lock())
        async with listing:
            if namespace in self._listed:
                return
            try:
                events = await self._events(namespace)
            except ClusterError as error:
                self._failed[namespace] = (self._clock.monotonic(), error)
                raise
            self._failed.pop(namespace, None)
            self._take(namespace, events)
            self._listed.add(namespace)
            self._calmed.pop(namespace, None)
        self._listing.pop(namespace, None)

    async def _events(self, namespace: str) -> list[JSONObject]:
        found: list[JSONObject] = []
        token = ""
        while True:
            page = await self._api.list(
                EVENTS,
                namespace=namespace,
                field_selector=f"reportingComponent={self._component}",
                limit=_PAGE,
                continue_token=token,
            )
            found += [
                _essence(one)
                for one in page.items
                if one.get("reportingComponent") == self._component
            ]
            token = page.continue_token
            if not token:
                return found

    def _take(self, namespace: str, events: list[JSONObject]) -> None:
        """Remember whose latest Event in relation to an object is a warning; what this process recorded counts more."""
        events.sort(key=_last_seen)
        latest: dict[_Pair, tuple[Reference, Reference, dict[str, datetime]]] = {}
        for event in events:
            regarding = Reference.read(event.get("involvedObject") or {})
            related = Reference.read(event.get("related") or {})
            for about in {one.identity: one for one in (related, regarding) if one.kind}.values():
                _, _, seen = latest.setdefault(
                    (about.identity, regarding.identity), (about, regarding, {})
                )
                seen[event.get("type", "")] = _last_seen(event)
        for pair, (about, regarding, seen) in latest.items():
            warned, calmed = seen.get("Warning"), seen.get("Normal")
            if warned is None or (calmed is not None and warned < calmed):
                continue
            if pair in self._calmed.get(namespace, ()):
                continue
            known = self._abouts.get(_name(about))
            if known is None or regarding.identity not in known.warned:
                self._warn(about, regarding, 0)


def _name(about: Reference) -> str:
    """Return what a recreated object has in common with the one before."""
    return f"{about.api_version}/{about.kind}/{about.namespace}/{about.name}"


def _namespace_of(regarding: Reference) -> str:
    return regarding.namespace or NAMESPACE_OF_CLUSTER_SCOPED


def _essence(event: Mapping[str, Any]) -> JSONObject:
    """Keep of an Event what is asked of it: a namespace may have very many."""
    kept = ("involvedObject", "related", "type", "series", "eventTime", "lastTimestamp")
    return {"metadata": {"creationTimestamp": event["metadata"].get("creationTimestamp")}} | {
        name: event[name] for name in kept if event.get(name)
    }


def _last_seen(event: Mapping[str, Any]) -> datetime:
    series: Mapping[str, Any] = event.get("series") or {}
    written = (
        series.get("lastObservedTime")
        or event.get("eventTime")
        or event.get("lastTimestamp")
        or event["metadata"]["creationTimestamp"]
    )
    return parse_time(written)
