"""All controllers of the embedded control plane, started and stopped together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self

from operatorkit.clock import SYSTEM_CLOCK, Clock
from operatorkit.cluster import Informer
from operatorkit.cluster.api import ClusterAPI
from operatorkit.controlplane._selection import enabled
from operatorkit.controlplane.embedded.controllers.claim_protection import CLAIMS, ClaimProtectionController
from operatorkit.controlplane.embedded.controllers.defaults import RootCertificatePublisher, ServiceAccountController
from operatorkit.controlplane.embedded.controllers.deployments import DeploymentController
from operatorkit.controlplane.embedded.controllers.disruption import BUDGETS, DisruptionController
from operatorkit.controlplane.embedded.controllers.garbage import GarbageCollector
from operatorkit.controlplane.embedded.controllers.inventory import Inventory, own_history
from operatorkit.controlplane.embedded.controllers.namespaces import NamespaceController
from operatorkit.controlplane.embedded.controllers.replicasets import ReplicaSetController
from operatorkit.controlplane.embedded.controllers.workloads import DEPLOYMENTS, PODS, REPLICA_SETS

__all__ = ["CONTROLLERS", "Controllers"]

CONTROLLERS = (
    GarbageCollector.name,
    NamespaceController.name,
    ServiceAccountController.name,
    RootCertificatePublisher.name,
    DeploymentController.name,
    ReplicaSetController.name,
    DisruptionController.name,
    ClaimProtectionController.name,
)
"""The names that `Controllers` understands; a selection may name others, which do nothing."""


class _Runs(Protocol):
    async def run(self) -> None: ...


class _Controller(_Runs, Protocol):
    async def settled(self) -> None: ...


class Controllers:
    """Runs the controllers that `selection` turns on, in kube-controller-manager's own syntax.

    An async context manager; entering returns when everything that is there was seen. `ca_pem` is what
    `kube-root-ca.crt` holds. `clock` dates what is written; `pace` is the clock of pauses between retries, which should
    pass even where a test holds the other one still.
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
        self._inventory = Inventory(api, pace=pace)
        deployments, sets, pods, budgets, claims = (
            Informer(api, resource, clock=pace, history=own_history(pace))
            for resource in (DEPLOYMENTS, REPLICA_SETS, PODS, BUDGETS, CLAIMS)
        )
        factories: dict[str, Callable[[], _Controller]] = {
            GarbageCollector.name: lambda: GarbageCollector(api, self._inventory, pace=pace),
            NamespaceController.name: lambda: NamespaceController(api, self._inventory, clock=clock, pace=pace),
            ServiceAccountController.name: lambda: ServiceAccountController(api, self._inventory, pace=pace),
            RootCertificatePublisher.name: lambda: RootCertificatePublisher(
                api, self._inventory, ca_pem=ca_pem, pace=pace
            ),
            DeploymentController.name: lambda: DeploymentController(api, deployments, sets, clock=clock, pace=pace),
            ReplicaSetController.name: lambda: ReplicaSetController(api, sets, pods, clock=clock, pace=pace),
            DisruptionController.name: lambda: DisruptionController(api, budgets, pods, clock=clock, pace=pace),
            ClaimProtectionController.name: lambda: ClaimProtectionController(api, claims, pods, pace=pace),
        }
        self._controllers: Sequence[_Controller] = [
            make() for name, make in factories.items() if enabled(name, selection)
        ]
        workloads = {
            DeploymentController.name: (deployments, sets),
            ReplicaSetController.name: (sets, pods),
            DisruptionController.name: (budgets, pods),
            ClaimProtectionController.name: (claims, pods),
        }
        self._informers = list(
            dict.fromkeys(one for name, used in workloads.items() if enabled(name, selection) for one in used)
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        if self._controllers:
            running: list[_Runs] = [self._inventory, *self._informers, *self._controllers]
            self._tasks = [asyncio.create_task(one.run()) for one in running]
            await self._inventory.ready()
            for informer in self._informers:
                await informer.synced()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def settled(self) -> None:
        """Return when no controller has anything to do that it could do now."""
        if not self._tasks:
            return
        await self._inventory.settled()
        # What one does may be work for another: once more until a whole round found nothing.
        for _ in range(2):
            for controller in self._controllers:
                await controller.settled()
