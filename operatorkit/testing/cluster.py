"""What an operator asks of its API, counted.

What belongs here: a `ClusterAPI` that records the requests that pass through it, and the claim that
there are none. What does not: injected faults, and requests of other processes (the audit log of a
control plane has those).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from operatorkit.cluster.api import ApiRequest, ClusterAPI, WatchEvent
from operatorkit.names import ApiResource

__all__ = ["Call", "RecordingCluster", "idle"]

_READS = frozenset({"get", "list", "watch"})
_PROBED_AT_MOST_EVERY_SECONDS = 10  # by default; 15 seconds give or take a quarter


@dataclass(frozen=True, slots=True)
class Call:
    """One request: the verb as RBAC names it, the resource as `plural` or `plural/subresource`, and the object."""

    verb: str
    resource: str
    namespace: str | None = None
    name: str | None = None
    limit: int | None = field(default=None, compare=False)
    """The limit of a list, None where it has none."""

    @property
    def is_write(self) -> bool:
        """Whether it may have changed something."""
        return self.verb not in _READS

    def __str__(self) -> str:
        where = "/".join(part for part in (self.namespace, self.name) if part)
        return f"{self.verb} {self.resource} {where}".rstrip()


class RecordingCluster(ClusterAPI):
    """A `ClusterAPI` that passes everything on to another one and remembers what it was asked.

    `namespace` is a convenience for tests: the namespace that the test was given.
    """

    def __init__(self, api: ClusterAPI, *, namespace: str = "default") -> None:
        self._api = api
        self.namespace = namespace
        self.calls: list[Call] = []
        self.open_watches: int = 0

    def writes(self) -> Counter[tuple[str, str]]:
        """Count the requests that write, by verb and resource: `{("patch", "secrets"): 1}`."""
        return Counter((call.verb, call.resource) for call in self.calls if call.is_write)

    def reads(self) -> Counter[tuple[str, str]]:
        """Count the requests that read, by verb and resource."""
        return Counter((call.verb, call.resource) for call in self.calls if not call.is_write)

    def on_new_trust(self, listener: Callable[[str], None]) -> None:
        """Pass on what the other one offers; see `LiveCluster.on_new_trust`."""
        offered = getattr(self._api, "on_new_trust", None)
        if offered is not None:
            offered(listener)

    def forget(self) -> None:
        """Forget the requests made so far."""
        self.calls.clear()

    async def send(self, request: ApiRequest) -> Any:
        """Pass a request on, and record it."""
        self._record(request)
        return await request.repeat(self._api)

    async def stream(self, request: ApiRequest) -> AsyncIterator[WatchEvent]:
        """Pass a watch on, and record it; it counts as open until it ends."""
        self._record(request)
        events = request.repeat(self._api)
        self.open_watches += 1
        try:
            async for event in events:
                yield event
        finally:
            self.open_watches -= 1
            close = getattr(events, "aclose", None)
            if close is not None:
                await close()

    async def resolve(self, group: str, kind: str, version: str | None = None) -> ApiResource:
        """Find out by discovery how a kind is served. Raises NoKindMatch."""
        return await self._api.resolve(group, kind, version)

    def _record(self, request: ApiRequest) -> None:
        if request.resource is None:
            self.calls.append(Call(request.verb, request.path))
            return
        plural, name = request.resource.plural, request.name
        if request.function == "create" and not name:
            name = request.body.get("metadata", {}).get("name")
        resource = f"{plural}/{request.subresource}" if request.subresource else plural
        limit = request.options.get("limit")
        self.calls.append(Call(request.verb, resource, request.namespace, name, limit))


async def idle(cluster: RecordingCluster, *, period: float = 1.0) -> None:
    """Assert that for `period` seconds of real time nothing passes through `cluster`: no write, no read, no new watch.

    Watches that are open stay open, and may deliver. A loop that spins, a watch that is opened
    again and again and a poll faster than `period` are found. With a FakeClock, `advance` it first
    as far as the claim shall reach.

    The one request that an idle engine does make is allowed: its probe of the server, a list of one
    object, at most once in ten seconds (`Settings.watch_probe`).
    """
    before = len(cluster.calls)
    await asyncio.sleep(period)
    made = cluster.calls[before:]
    others = [call for call in made if not (call.verb == "list" and call.limit == 1)]
    if len(made) - len(others) <= 1 + period // _PROBED_AT_MOST_EVERY_SECONDS:
        made = others
    if made:
        listed = ", ".join(
            f"{count} x {call}" for call, count in Counter(map(str, made)).most_common(10)
        )
        raise AssertionError(
            f"expected no request for {period:g} s, but there were {len(made)}: {listed}"
        )
