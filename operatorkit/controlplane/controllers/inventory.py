"""The metadata of every object of every kind that can be deleted, kept up to date.

What belongs here: finding out which kinds there are, again whenever a CRD comes or goes, and following each of them.
What does not: drawing conclusions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from operatorkit.clock import Clock
from operatorkit.cluster import Change, History, Informer
from operatorkit.cluster.api import ClusterAPI, JSONObject
from operatorkit.controlplane.controllers.work_queue import WorkQueue
from operatorkit.kinds import CUSTOM_RESOURCE_DEFINITIONS as _CRDS
from operatorkit.names import ApiResource, GroupVersionKind, ObjectKey

__all__ = ["Identity", "Inventory", "own_history"]

_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
# Events come and go by themselves; the two forms of them are one collection, as are others in several groups.
_IGNORED = {("", "events"), ("events.k8s.io", "events")}
_METADATA = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "labels",
    "ownerReferences",
    "finalizers",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """One object among all of the cluster."""

    resource: ApiResource
    key: ObjectKey

    def __str__(self) -> str:
        return f"{self.resource.qualified} {self.key}"


def _metadata_only(obj: JSONObject) -> JSONObject:
    metadata = obj.get("metadata") or {}
    return {"metadata": {key: metadata[key] for key in _METADATA if key in metadata}}


def own_history(pace: Clock) -> History:
    """Return the history of one informer that reads from the server of this process.

    That server is never another one: nothing has to be probed or listed again for it, and what one kind meets, such as
    the end of its definition, concerns no other.
    """
    return History(pace, probe_every=None, relist_every=None)


class Inventory:
    """Follows all kinds. `subscribe` before `run`; subscribers get each object that exists at the start.

    `resources` maps kinds to how they are served, in their preferred version.
    """

    def __init__(self, api: ClusterAPI, *, pace: Clock) -> None:
        self.resources: dict[GroupVersionKind, ApiResource] = {}
        self._api = api
        self._pace = pace
        self._informers: dict[ApiResource, Informer] = {}
        self._tasks: dict[ApiResource, asyncio.Task[None]] = {}
        self._callbacks: list[Callable[[ApiResource, Change], None]] = []
        self._discovery: WorkQueue[str] = WorkQueue(
            self._discover, clock=pace, pace=pace, workers=1, name="discovery"
        )
        self._ready = asyncio.Event()

    def subscribe(self, callback: Callable[[ApiResource, Change], None]) -> None:
        """Call `callback` with every change of every object; it must be quick."""
        self._callbacks.append(callback)

    async def ready(self) -> None:
        """Return when every kind known at the start has been listed."""
        await self._ready.wait()

    async def idle(self) -> None:
        """Return when the kinds are known."""
        await self._discovery.idle()

    def get(self, identity: Identity) -> JSONObject | None:
        """Return the metadata of an object, as `{"metadata": ...}`, or None."""
        informer = self._informers.get(identity.resource)
        return None if informer is None else informer.cache.get(identity.key)

    def within(self, namespace: str) -> Iterator[tuple[ApiResource, JSONObject]]:
        """Yield the metadata of everything in a namespace."""
        for resource, informer in self._informers.items():
            if resource.namespaced:
                for obj in informer.cache.list(namespace):
                    yield resource, obj

    def followed(self) -> list[ApiResource]:
        """Return every kind that is followed, each in one version."""
        return list(self._informers)

    async def run(self) -> None:
        """Follow for ever. Cancel it to stop."""
        crds = Informer(self._api, _CRDS, clock=self._pace, history=own_history(self._pace))
        crds.subscribe(self._on_crd)
        self._discovery.add("")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(crds.run())
                group.create_task(self._discovery.run())
        finally:
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._tasks.clear()

    def _on_crd(self, change: Change) -> None:
        if _served(change.old) != _served(change.new):
            self._discovery.add("")

    async def _discover(self, _: str) -> None:
        found: dict[GroupVersionKind, ApiResource] = {}
        for path in ("/api", "/apis"):
            document = await self._api.request("GET", path, headers={"Accept": _DISCOVERY})
            for resource in _deletable(document):
                found.setdefault(resource.gvk, resource)
        self.resources = found
        wanted = set(_preferred(found.values()))
        for resource in set(self._informers) - wanted:
            await self._drop(resource)
        new = [self._follow(resource) for resource in sorted(wanted - set(self._informers))]
        if not self._ready.is_set():
            for informer in new:
                await informer.synced()
            self._ready.set()

    def _follow(self, resource: ApiResource) -> Informer:
        informer = Informer(
            self._api,
            resource,
            clock=self._pace,
            transform=_metadata_only,
            history=own_history(self._pace),
        )
        self._informers[resource] = informer
        informer.subscribe(lambda change: self._notify(resource, change))
        self._tasks[resource] = asyncio.create_task(informer.run())
        return informer

    async def _drop(self, resource: ApiResource) -> None:
        informer, task = self._informers.pop(resource), self._tasks.pop(resource)
        task.cancel()
        await asyncio.gather(
            task, return_exceptions=True
        )  # this task may be cancelled too, and must then end
        for obj in informer.cache.list():
            key = ObjectKey(obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
            self._notify(resource, Change.of("DELETED", key, obj, None))

    def _notify(self, resource: ApiResource, change: Change) -> None:
        for callback in self._callbacks:
            callback(resource, change)


def _served(crd: JSONObject | None) -> object:
    """Return what of a CRD decides which kinds are served."""
    if crd is None:
        return None
    conditions = (crd.get("status") or {}).get("conditions") or ()
    established = any(
        one["type"] == "Established" and one["status"] == "True" for one in conditions
    )
    return established, [(one["name"], one["served"]) for one in crd["spec"]["versions"]]


def _deletable(document: Mapping[str, Any]) -> Iterator[ApiResource]:
    """Yield what an aggregated discovery document has that can be deleted and watched; preferred versions first."""
    for group in document.get("items") or ():
        for version in group.get("versions") or ():
            for resource in version.get("resources") or ():
                name = group["metadata"].get("name") or ""
                if not {"delete", "list", "watch"} <= set(resource.get("verbs") or ()):
                    continue
                if (name, resource["resource"]) in _IGNORED:
                    continue
                kind = resource["responseKind"]["kind"]
                namespaced = resource["scope"] == "Namespaced"
                yield ApiResource(
                    name, version["version"], kind, resource["resource"], namespaced=namespaced
                )


def _preferred(resources: Any) -> Iterator[ApiResource]:
    """Yield one version of each resource: the first."""
    seen: set[tuple[str, str]] = set()
    for resource in resources:
        if (resource.group, resource.plural) not in seen:
            seen.add((resource.group, resource.plural))
            yield resource
