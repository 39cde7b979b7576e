"""What controllers have in common that keep one object in every active namespace.

What belongs here: creating it, and restoring its data. What does not: which object that is.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from operatorkit.cluster import Change
from operatorkit.cluster.api import JSONObject
from operatorkit.controlplane.controllers.context import ControllerContext
from operatorkit.controlplane.controllers.inventory import Identity
from operatorkit.controlplane.controllers.namespace import NAMESPACES
from operatorkit.controlplane.controllers.work_queue import WorkQueue
from operatorkit.errors import AlreadyExists, Forbidden, NotFound
from operatorkit.names import ApiResource, ObjectKey

__all__ = ["PerNamespaceController"]


class PerNamespaceController:
    """Keeps one object, always of the same name and data, in every active namespace."""

    name = ""

    def __init__(
        self,
        context: ControllerContext,
        resource: ApiResource,
        object_name: str,
        make: Callable[[], JSONObject],
    ) -> None:
        self._api = context.api
        self._inventory = context.inventory
        self._resource = resource
        self._object_name = object_name
        self._make = make
        self._queue: WorkQueue[str] = WorkQueue(
            self._sync, clock=context.pace, pace=context.pace, workers=2, name=self.name
        )
        context.inventory.subscribe(self._on_change)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._inventory.ready()
        await self._queue.run()

    async def idle(self) -> None:
        """Return when there is no work that can be done now."""
        await self._queue.idle()

    def _on_change(self, resource: ApiResource, change: Change) -> None:
        if resource == NAMESPACES and change.type != "DELETED":
            self._queue.add(change.key.name)
        elif resource == self._resource and change.key.name == self._object_name:
            self._queue.add(change.key.namespace)

    async def _sync(self, namespace: str) -> timedelta | None:
        held = self._inventory.get(Identity(NAMESPACES, ObjectKey("", namespace)))
        if held is None or "deletionTimestamp" in held["metadata"]:
            return None
        wanted = self._make()
        try:
            current = await self._api.get(self._resource, self._object_name, namespace=namespace)
        except NotFound:
            try:
                await self._api.create(self._resource, wanted, namespace=namespace)
            except (AlreadyExists, Forbidden):
                return None  # created meanwhile, or the namespace is terminating
            return None
        if any(current.get(key) != wanted[key] for key in ("data",) if key in wanted):
            await self._api.replace(
                self._resource,
                self._object_name,
                {**current, "data": wanted["data"]},
                namespace=namespace,
            )
        return None
