"""Events: telling the people who look at an object what happened to it, in few words and few objects.

What belongs here: `EventRecorder`, which turns occurrences into core/v1 Event objects (one per subject, reason and
message key; counted, flood-controlled, kept alive while their cause lasts), and `Reference`, which names the subject.
What does not: deciding what deserves an Event, or when (operators), and the loop that calls `refresh` (the engine).

    occurrence ── combine (10th distinct message of a reason) ── series ── bucket ──> POST, or PATCH count
                                                                  │ empty bucket: counted, written later
    hold(scope) ── the cause lasts ── refresh() every 25 minutes ─┘

The name of an Event is derived from what it says, so an operator that was restarted finds its own Events and counts
on; and who was told of an error is read from the Events themselves (`EventRecorder.told`), not remembered.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from operatorkit.clock import Clock, format_micro_time, format_time, parse_time
from operatorkit.cluster.api import ClusterAPI, JSONObject, PatchType
from operatorkit.errors import AlreadyExists, ClusterError, Conflict, NotFound
from operatorkit.names import ApiResource, shorten

__all__ = ["EVENTS", "EventRecorder", "EventType", "FloodLimits", "Notice", "Reference"]

EventType = Literal["Normal", "Warning"]

EVENTS = ApiResource("", "v1", "Event", "events", namespaced=True)
COMBINED_PREFIX = "(combined from similar events): "
MESSAGE_MAX_BYTES = 1024
_FIELD_MAX_LENGTH = 128
_NAMESPACE_OF_CLUSTER_SCOPED = "default"
_NOT_IN_NAMES = re.compile(r"[^a-z0-9.-]+")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Which object an Event is about. Without `uid`, `kubectl describe` does not show the Event."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""
    uid: str = ""
    field_path: str = ""

    @classmethod
    def of(cls, obj: Any) -> Reference:
        """Refer to a typed object, to one as JSON, or return a reference as it is.

        Raises TypeError when the object does not say its kind or name.
        """
        if isinstance(obj, Reference):
            return obj
        if isinstance(obj, Mapping):
            meta: Mapping[str, Any] = obj.get("metadata") or {}
            facts = (obj.get("apiVersion"), obj.get("kind"), *(meta.get(k) for k in ("name", "namespace", "uid")))
        else:
            held = getattr(obj, "metadata", None)
            facts = (*_type_of(obj), *(getattr(held, k, None) for k in ("name", "namespace", "uid")))
        api_version, kind, name, namespace, uid = facts
        if not (api_version and kind and name):
            raise TypeError(
                f"an Event needs an object with apiVersion, kind and metadata.name; {type(obj).__name__} has "
                f"apiVersion={api_version!r}, kind={kind!r}, name={name!r}"
            )
        return cls(api_version=api_version, kind=kind, name=name, namespace=namespace or "", uid=uid or "")

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> Reference:
        """Read an ObjectReference as the API writes it; absent fields are empty."""
        return cls(
            api_version=written.get("apiVersion", ""),
            kind=written.get("kind", ""),
            name=written.get("name", ""),
            namespace=written.get("namespace", ""),
            uid=written.get("uid", ""),
            field_path=written.get("fieldPath", ""),
        )

    def write(self) -> dict[str, str]:
        """Return the ObjectReference, without empty fields."""
        fields = {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "namespace": self.namespace,
            "name": self.name,
            "uid": self.uid,
            "fieldPath": self.field_path,
        }
        return {key: value for key, value in fields.items() if value}

    @property
    def identity(self) -> str:
        """What tells this subject from all others: its uid, or, lacking that, its full name."""
        return self.uid or f"{self.api_version}/{self.kind}/{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What an Event is to say.

    `key` tells one series of occurrences from another where the message itself varies (a time, a number); None means
    the message. `occurrence` matters to `EventRecorder.hold` only: a held notice counts again when it changes.
    """

    regarding: Reference
    type: EventType
    reason: str
    message: str
    key: str | None = None
    action: str = "Reconcile"
    related: Reference | None = None
    occurrence: Hashable = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FloodLimits:
    """How much may be written; the defaults of `burst`, `refill`, `combine_at` and `combine_within` are client-go's.

    Of each subject, `burst` writes, then one per `refill`; from the `combine_at`-th distinct message of one reason
    within `combine_within`, one combined Event. A held Event is written again after `refresh`. The recorder remembers
    `remembered` series and subjects; the oldest quiet ones are forgotten, and counted on from the server later.
    """

    burst: int = 25
    refill: timedelta = timedelta(seconds=300)
    combine_at: int = 10
    combine_within: timedelta = timedelta(seconds=600)
    refresh: timedelta = timedelta(minutes=25)
    remembered: int = 4096


class EventRecorder:
    """Writes Events as one component of one process.

    Guarantees: recording never raises ClusterError: what the server refuses is logged, and what may pass later is
    written by the next `refresh` or occurrence. The count of a series is the number of its occurrences, also of those
    that flood control kept from being written at once. Safe to use from many tasks of one loop.
    """

    def __init__(
        self, api: ClusterAPI, *, component: str, instance: str, clock: Clock, limits: FloodLimits | None = None
    ) -> None:
        self._api = api
        self._component = component
        self._instance = instance[:_FIELD_MAX_LENGTH]
        self._clock = clock
        self._limits = limits or FloodLimits()
        self._subjects: OrderedDict[str, _Subject] = OrderedDict()
        self._series: OrderedDict[str, _Series] = OrderedDict()
        self._held: dict[Hashable, dict[Hashable, Notice]] = {}

    async def warning(
        self,
        regarding: Any,
        reason: str,
        message: str,
        *,
        key: str | None = None,
        action: str = "Reconcile",
        related: Any = None,
    ) -> None:
        """Record that something is wrong with `regarding`; say the remedy first."""
        await self.record(_notice("Warning", regarding, reason, message, key, action, related))

    async def normal(
        self,
        regarding: Any,
        reason: str,
        message: str,
        *,
        key: str | None = None,
        action: str = "Reconcile",
        related: Any = None,
    ) -> None:
        """Record that something happened to `regarding`, as it should."""
        await self.record(_notice("Normal", regarding, reason, message, key, action, related))

    async def record(self, notice: Notice) -> None:
        """Count one occurrence, and write it unless its subject has had too many."""
        series, subject = self._count(notice)
        if subject.take(self._clock.monotonic(), self._limits):
            await self._flush(series)

    async def hold(self, scope: Hashable, notices: Iterable[Notice]) -> None:
        """Declare the notices whose cause lasts, in place of all that `scope` held before.

        A notice that is new, or whose message or `occurrence` changed, is recorded; one that is held already is not,
        so this may be called in each reconcile. `refresh` keeps them alive until they are missing from a later call.
        A reconcile function holds in the scope (ApiResource of its kind, ObjectKey), which the engine releases when
        the object is gone.
        """
        before = self._held.pop(scope, {})
        wanted: dict[Hashable, Notice] = {
            (notice.regarding.identity, notice.type, notice.reason, _key(notice)): notice for notice in notices
        }
        self._end(notice for identity, notice in before.items() if identity not in wanted)
        after = {
            identity: notice for identity, notice in wanted.items() if _says_the_same(before.get(identity), notice)
        }
        if wanted:
            self._held[scope] = after
        for identity, notice in wanted.items():
            if identity not in after:
                after[identity] = notice  # not before its own turn: `refresh`, meanwhile, would count it too
                await self.record(notice)

    def release(self, scope: Hashable) -> None:
        """Forget what `scope` holds: its Events live on until the server drops them."""
        self._end(self._held.pop(scope, {}).values())

    async def refresh(self) -> None:
        """Write again what is held and grew old, and what flood control or a failure kept back.

        Call it every minute or so; it makes no request when nothing is due.
        """
        for notice in [notice for held in self._held.values() for notice in held.values()]:
            series, _ = self._find(notice)
            series.over = False  # another scope may have ended the same series
            if series.written is None:  # forgotten, or kept back: the bucket decides
                series.pending = max(series.pending, 1)
            elif self._clock.now() - series.written >= self._limits.refresh:
                series.pending += 1
                await self._flush(series)
        for series in [series for series in self._series.values() if series.pending and not series.over]:
            subject = self._subject(series.notice.regarding)
            if subject.take(self._clock.monotonic(), self._limits):
                await self._flush(series)

    async def run(self, *, every: timedelta = timedelta(minutes=1)) -> None:
        """Call `refresh` for ever; the engine runs this beside its workers."""
        while True:
            await self._clock.sleep(every.total_seconds())
            await self.refresh()

    async def told(self, about: Any, *, namespace: str | None = None) -> list[Reference]:
        """Return who was warned by this component in relation to `about`, and not yet of the recovery.

        Read from the Events of `namespace` (of `about`, when None), so it is right after a restart too. `about`
        itself is among them if it was warned. Raises ClusterError when they cannot be listed.
        """
        subject = Reference.of(about)
        latest: dict[tuple[str, str], datetime] = {}
        references: dict[str, Reference] = {}
        token = ""
        while True:
            page = await self._api.list(
                EVENTS,
                namespace=namespace or subject.namespace or _NAMESPACE_OF_CLUSTER_SCOPED,
                field_selector=f"reportingComponent={self._component}",
                limit=500,
                continue_token=token,
            )
            for event in page.items:
                regarding = Reference.read(event.get("involvedObject") or {})
                related = Reference.read(event.get("related") or {})
                if event.get("reportingComponent") != self._component:
                    continue
                if subject.identity not in (related.identity, regarding.identity):
                    continue
                references[regarding.identity] = regarding
                slot = (regarding.identity, event.get("type", ""))
                moment = _last_seen(event)
                latest[slot] = max(moment, latest.get(slot, moment))
            token = page.continue_token
            if not token:
                break
        return [
            reference
            for identity, reference in references.items()
            if (warned := latest.get((identity, "Warning"))) is not None
            and ((calmed := latest.get((identity, "Normal"))) is None or warned >= calmed)
        ]

    def _count(self, notice: Notice) -> tuple[_Series, _Subject]:
        series, subject = self._find(notice)
        series.pending += 1
        series.over = False
        return series, subject

    def _end(self, notices: Iterable[Notice]) -> None:
        """Note that what held notices say is so no longer."""
        for notice in notices:
            series = self._series.get(self._name(notice, _key(notice)))
            if series is not None:
                series.over = True

    def _find(self, notice: Notice) -> tuple[_Series, _Subject]:
        """Return the series that `notice` belongs to now, combined or its own, and make it say the notice."""
        subject = self._subject(notice.regarding)
        key, message = _key(notice), notice.message
        if subject.combines(notice, key, self._clock.monotonic(), self._limits):
            key, message = "combined", COMBINED_PREFIX + message
        name = self._name(notice, key)
        series = self._series.get(name)
        if series is None:
            series = self._series[name] = _Series(name, notice)
        self._series.move_to_end(name)
        series.notice = replace(notice, message=_one_line(message), reason=notice.reason[:_FIELD_MAX_LENGTH])
        self._forget(but=series)
        return series, subject

    def _subject(self, regarding: Reference) -> _Subject:
        subject = self._subjects.get(regarding.identity)
        if subject is None:
            subject = _Subject(tokens=float(self._limits.burst), at=self._clock.monotonic())
            self._subjects[regarding.identity] = subject
        self._subjects.move_to_end(regarding.identity)
        while len(self._subjects) > self._limits.remembered:
            self._subjects.popitem(last=False)
        return subject

    def _forget(self, *, but: _Series) -> None:
        """Drop the series unused for longest, but none with occurrences that are still to be written."""
        excess = len(self._series) - self._limits.remembered
        if excess > 0:
            quiet = [name for name, series in self._series.items() if series.is_quiet and series is not but]
            for name in quiet[:excess]:
                del self._series[name]

    def _name(self, notice: Notice, key: str) -> str:
        facts = [self._component, notice.regarding.identity, notice.type, notice.reason, key]
        digest = hashlib.sha256("\0".join(facts).encode()).hexdigest()[:16]
        labels = (label.strip("-") for label in _NOT_IN_NAMES.sub("-", notice.regarding.name.lower()).split("."))
        readable = ".".join(label for label in labels if label) or "object"
        return f"{shorten(readable, 200)}.{digest}"

    async def _flush(self, series: _Series) -> None:
        async with series.lock:
            added = series.pending
            if not added:
                return
            begun = self._clock.now()
            try:
                await self._write(series, added)
            except ClusterError as error:
                lasting = error.code in (400, 403, 404, 422)
                if lasting:
                    series.pending -= added
                _log.warning(
                    "the Event %s about %s %s was not written%s: %s",
                    series.notice.reason,
                    series.notice.regarding.kind,
                    series.notice.regarding.name,
                    "" if lasting else " yet",
                    error,
                )
            else:
                series.pending -= added
                series.written = begun

    async def _write(self, series: _Series, added: int) -> None:
        """Create the Event, or count on where it exists, also when another process changed or the server dropped it."""
        namespace = series.notice.regarding.namespace or _NAMESPACE_OF_CLUSTER_SCOPED
        while True:
            try:
                if series.live:
                    body = self._increment(series, added)
                    answer = await self._api.patch(
                        EVENTS, series.name, body, patch_type=PatchType.MERGE, namespace=namespace
                    )
                else:
                    answer = await self._api.create(EVENTS, self._new(series, added), namespace=namespace)
            except AlreadyExists:
                with suppress(NotFound):  # the server dropped it at this very moment
                    series.learn(await self._api.get(EVENTS, series.name, namespace=namespace))
            except Conflict:
                series.live = False
            except NotFound:
                if not series.live:
                    raise  # the namespace is gone
                series.live = False
            else:
                series.learn(answer)
                return

    def _new(self, series: _Series, added: int) -> JSONObject:
        notice, now = series.notice, self._clock.now()
        event: JSONObject = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": series.name,
                "namespace": notice.regarding.namespace or _NAMESPACE_OF_CLUSTER_SCOPED,
            },
            "involvedObject": notice.regarding.write(),
            "type": notice.type,
            "reason": notice.reason,
            "message": notice.message,
            "action": notice.action[:_FIELD_MAX_LENGTH],
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": self._instance,
            "eventTime": format_micro_time(series.first or now),
            "firstTimestamp": format_time(series.first or now),
            "lastTimestamp": format_time(now),
            "count": series.count + added,
        }
        if notice.related is not None:
            event["related"] = notice.related.write()
        if event["count"] > 1:
            event["series"] = {"count": event["count"], "lastObservedTime": format_micro_time(now)}
        return event

    def _increment(self, series: _Series, added: int) -> JSONObject:
        """Return the merge patch that counts on; `related` may be an object of the same name made anew."""
        now, count = self._clock.now(), series.count + added
        related = series.notice.related
        return {
            "related": related.write() if related is not None else None,
            "metadata": {"resourceVersion": series.resource_version},
            "message": series.notice.message,
            "lastTimestamp": format_time(now),
            "count": count,
            "series": {"count": count, "lastObservedTime": format_micro_time(now)},
            "reportingInstance": self._instance,
        }


@dataclass(slots=True, eq=False)
class _Series:
    """One Event object, as far as this process knows it.

    `live` says that `resource_version` may be patched, `over` that what it says was held and is so no longer.
    """

    name: str
    notice: Notice
    pending: int = 0
    count: int = 0
    first: datetime | None = None
    resource_version: str = ""
    live: bool = False
    written: datetime | None = None
    over: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing of it is being written, or waits for that."""
        return (self.over or not self.pending) and not self.lock.locked()

    def learn(self, event: Mapping[str, Any]) -> None:
        self.count = max(int(event.get("count") or 0), 1)
        self.resource_version = event["metadata"]["resourceVersion"]
        written = event.get("eventTime") or event.get("firstTimestamp")
        self.first = parse_time(written) if written else None
        self.live = True


@dataclass(slots=True, eq=False)
class _Subject:
    """What one subject may still be told: a token bucket, and the recent messages of each reason."""

    tokens: float
    at: float
    recent: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)

    def take(self, now: float, limits: FloodLimits) -> bool:
        self.tokens = min(limits.burst, self.tokens + (now - self.at) / limits.refill.total_seconds())
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def combines(self, notice: Notice, key: str, now: float, limits: FloodLimits) -> bool:
        """Say whether `key` comes when its reason has had `combine_at` - 1 other keys of late."""
        window = limits.combine_within.total_seconds()
        slot = (notice.type, notice.reason)
        recent = {seen: at for seen, at in self.recent.get(slot, {}).items() if now - at <= window}
        self.recent[slot] = recent
        if key in recent or len(recent) < limits.combine_at - 1:
            recent[key] = now
            return False
        return True


def _notice(
    type_: EventType, regarding: Any, reason: str, message: str, key: str | None, action: str, related: Any
) -> Notice:
    return Notice(
        regarding=Reference.of(regarding),
        type=type_,
        reason=reason,
        message=message,
        key=key,
        action=action,
        related=None if related is None else Reference.of(related),
    )


def _key(notice: Notice) -> str:
    """Return the message key; its first letter keeps a key and an equal message, and the word `combined`, apart."""
    return f"m:{_one_line(notice.message)}" if notice.key is None else f"k:{notice.key}"


def _says_the_same(known: Notice | None, notice: Notice) -> bool:
    return known is not None and (known.message, known.occurrence) == (notice.message, notice.occurrence)


def _one_line(message: str) -> str:
    """Return `message` on one line and within the server's limit, which counts bytes."""
    line = " ".join("".join(c if c.isprintable() else " " for c in message).split())
    if len(line.encode()) <= MESSAGE_MAX_BYTES:
        return line
    return line.encode()[: MESSAGE_MAX_BYTES - len("…".encode())].decode(errors="ignore") + "…"


def _last_seen(event: Mapping[str, Any]) -> datetime:
    series: Mapping[str, Any] = event.get("series") or {}
    written = (
        series.get("lastObservedTime")
        or event.get("eventTime")
        or event.get("lastTimestamp")
        or event["metadata"]["creationTimestamp"]
    )
    return parse_time(written)


def _type_of(obj: Any) -> tuple[str | None, str | None]:
    return getattr(obj, "api_version", None), getattr(obj, "kind", None)
