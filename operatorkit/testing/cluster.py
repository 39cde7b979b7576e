"""What an operator asks of its API, counted.

What belongs here: a `ClusterAPI` that records the requests that pass through it, and the claim that there are none.
What does not: injected faults, and requests of other processes (the audit log of a control plane tells those).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from operatorkit.cluster.api import ClusterAPI, JSONObject, ObjectList, PatchType, Propagation, WatchEvent
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


class RecordingCluster:
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

    async def get(
        self, resource: ApiResource, name: str, *, namespace: str | None = None, subresource: str | None = None
    ) -> JSONObject:
        """Return one object. Raises NotFound."""
        self._record("get", resource, subresource, namespace, name)
        return await self._api.get(resource, name, namespace=namespace, subresource=subresource)

    async def list(
        self,
        resource: ApiResource,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str | None = None,
        limit: int | None = None,
        continue_token: str = "",
        **options: Any,
    ) -> ObjectList:
        """Return a collection, or one page of it."""
        self._record("list", resource, None, namespace, None, limit)
        return await self._api.list(
            resource,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            resource_version=resource_version,
            limit=limit,
            continue_token=continue_token,
            **options,
        )

    async def watch(
        self,
        resource: ApiResource,
        *,
        resource_version: str,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        timeout_seconds: int | None = None,
        **options: Any,
    ) -> AsyncIterator[WatchEvent]:
        """Yield what happens after `resource_version`. Raises Gone."""
        self._record("watch", resource, None, namespace, None)
        events = self._api.watch(
            resource,
            resource_version=resource_version,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            timeout_seconds=timeout_seconds,
            **options,
        )
        self.open_watches += 1
        try:
            async for event in events:
                yield event
        finally:
            self.open_watches -= 1
            close = getattr(events, "aclose", None)
            if close is not None:
                await close()

    async def create(
        self,
        resource: ApiResource,
        obj: Mapping[str, Any],
        *,
        namespace: str | None = None,
        name: str | None = None,
        subresource: str | None = None,
        field_manager: str | None = None,
        dry_run: bool = False,
    ) -> JSONObject:
        """Create an object, or post to a subresource. Raises AlreadyExists, Invalid."""
        self._record("create", resource, subresource, namespace, name or obj.get("metadata", {}).get("name"))
        return await self._api.create(
            resource,
            obj,
            namespace=namespace,
            name=name,
            subresource=subresource,
            field_manager=field_manager,
            dry_run=dry_run,
        )

    async def replace(
        self,
        resource: ApiResource,
        name: str,
        obj: Mapping[str, Any],
        *,
        namespace: str | None = None,
        subresource: str | None = None,
        field_manager: str | None = None,
        dry_run: bool = False,
    ) -> JSONObject:
        """Replace an object. Raises Conflict, Invalid."""
        self._record("update", resource, subresource, namespace, name)
        return await self._api.replace(
            resource,
            name,
            obj,
            namespace=namespace,
            subresource=subresource,
            field_manager=field_manager,
            dry_run=dry_run,
        )

    async def patch(
        self,
        resource: ApiResource,
        name: str,
        body: Any,
        *,
        patch_type: PatchType,
        namespace: str | None = None,
        subresource: str | None = None,
        field_manager: str | None = None,
        force: bool = False,
        dry_run: bool = False,
    ) -> JSONObject:
        """Change part of an object. Raises NotFound, Conflict, Invalid."""
        self._record("patch", resource, subresource, namespace, name)
        return await self._api.patch(
            resource,
            name,
            body,
            patch_type=patch_type,
            namespace=namespace,
            subresource=subresource,
            field_manager=field_manager,
            force=force,
            dry_run=dry_run,
        )

    async def delete(
        self,
        resource: ApiResource,
        name: str,
        *,
        namespace: str | None = None,
        propagation: Propagation | None = None,
        grace_period_seconds: int | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
        dry_run: bool = False,
    ) -> JSONObject:
        """Ask for an object's deletion. Raises NotFound, Conflict."""
        self._record("delete", resource, None, namespace, name)
        return await self._api.delete(
            resource,
            name,
            namespace=namespace,
            propagation=propagation,
            grace_period_seconds=grace_period_seconds,
            uid=uid,
            resource_version=resource_version,
            dry_run=dry_run,
        )

    async def resolve(self, group: str, kind: str, version: str | None = None) -> ApiResource:
        """Find out by discovery how a kind is served. Raises NoKindMatch."""
        return await self._api.resolve(group, kind, version)

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Send any other request; it is recorded under its method and path."""
        self.calls.append(Call("get" if method.upper() == "GET" else method.lower(), path))
        return await self._api.request(method, path, query=query, body=body, headers=headers)

    def _record(
        self,
        verb: str,
        resource: ApiResource,
        subresource: str | None,
        namespace: str | None,
        name: str | None,
        limit: int | None = None,
    ) -> None:
        plural = f"{resource.plural}/{subresource}" if subresource else resource.plural
        self.calls.append(Call(verb, plural, namespace, name, limit))


async def idle(cluster: RecordingCluster, *, period: float = 1.0) -> None:
    """Assert that for `period` seconds of real time nothing passes through `cluster`: no write, no read, no new watch.

    Watches that are open stay open, and may deliver. A loop that spins, a watch that is opened again and again and a
    poll faster than `period` are found. With a FakeClock, `advance` it first as far as the claim shall reach.

    The one request that an idle engine does make is allowed: its probe of the server, a list of one object, at most
    once in ten seconds (`Settings.watch_probe`).
    """
    before = len(cluster.calls)
    await asyncio.sleep(period)
    made = cluster.calls[before:]
    others = [call for call in made if not (call.verb == "list" and call.limit == 1)]
    if len(made) - len(others) <= 1 + period // _PROBED_AT_MOST_EVERY_SECONDS:
        made = others
    if made:
        told = ", ".join(f"{count} x {call}" for call, count in Counter(map(str, made)).most_common(10))
        raise AssertionError(f"expected no request for {period:g} s, but there were {len(made)}: {told}")
