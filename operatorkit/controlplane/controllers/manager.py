"""The controller manager: every controller of the embedded control plane, in one table.

What belongs here: the table, and starting and stopping what a selection enables. What does not: the
work of a controller, which has a module under the name that kube-controller-manager gives it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from operatorkit.clock import SYSTEM_CLOCK, Clock
from operatorkit.cluster.api import ClusterAPI
from operatorkit.controlplane._selection import enabled
from operatorkit.controlplane.controllers.clusterrole_aggregation import (
    ClusterRoleAggregationController,
)
from operatorkit.controlplane.controllers.context import Controller, ControllerContext
from operatorkit.controlplane.controllers.deployment import DeploymentController
from operatorkit.controlplane.controllers.disruption import DisruptionController
from operatorkit.controlplane.controllers.garbage_collector import GarbageCollector
from operatorkit.controlplane.controllers.namespace import NamespaceController
from operatorkit.controlplane.controllers.persistentvolume_binder import PersistentVolumeBinder
from operatorkit.controlplane.controllers.pvc_protection import PVCProtectionController
from operatorkit.controlplane.controllers.replicaset import ReplicaSetController
from operatorkit.controlplane.controllers.root_ca_certificate_publisher import (
    RootCertificatePublisher,
)
from operatorkit.controlplane.controllers.serviceaccount import ServiceAccountController

__all__ = ["CONTROLLERS", "Controllers"]

_TABLE: Sequence[type[Controller]] = (
    GarbageCollector,
    NamespaceController,
    ServiceAccountController,
    RootCertificatePublisher,
    DeploymentController,
    ReplicaSetController,
    DisruptionController,
    ClusterRoleAggregationController,
    PVCProtectionController,
    PersistentVolumeBinder,
)
CONTROLLERS = tuple(controller.name for controller in _TABLE)
"""The names that `Controllers` implements; a selection may name others, which do nothing."""


class _Runs(Protocol):
    async def run(self) -> None: ...


class Controllers:
    """Runs the controllers that `selection` enables, in kube-controller-manager's own syntax.

    An async context manager; entering it returns when the caches are synced. `ca_pem` is the CA bundle
    of `kube-root-ca.crt`. `clock` dates what is written; `pace` times the pauses between retries,
    which should pass even where a test holds the other one still.
    """

    def __init__(
        self,
        api: ClusterAPI,
        *,
        ca_pem: bytes = b"",
        selection: str = "*",
        clock: Clock = SYSTEM_CLOCK,
        pace: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._context = ControllerContext(api, clock=clock, pace=pace, ca_pem=ca_pem)
        self._controllers: Sequence[Controller] = [
            make(self._context) for make in _TABLE if enabled(make.name, selection)
        ]
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        if self._controllers:
            inventory, informers = self._context.inventory, self._context.informers()
            running: list[_Runs] = [inventory, *informers, *self._controllers]
            self._tasks = [asyncio.create_task(one.run()) for one in running]
            await inventory.ready()
            for informer in informers:
                await informer.synced()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def idle(self) -> None:
        """Return when no controller has work that can be done now."""
        if not self._tasks:
            return
        await self._context.inventory.idle()
        # The work of one may enqueue keys of another: once more until a whole round found nothing.
        for _ in range(2):
            for controller in self._controllers:
                await controller.idle()
