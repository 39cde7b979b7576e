"""Fixtures that need an event loop; the plugin loads them where pytest-asyncio is installed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

if TYPE_CHECKING:
    from operatorkit.clock import Clock
    from operatorkit.controlplane.backend import ControlPlane
    from operatorkit.controlplane.nodes import SimulatedNodes
    from operatorkit.operator import Operator
    from operatorkit.testing.cluster import RecordingCluster
    from operatorkit.testing.running import RunningOperator

    RunOperator = Callable[..., AbstractAsyncContextManager[RunningOperator]]


@pytest_asyncio.fixture
async def cluster(controlplane: ControlPlane, namespace: str) -> AsyncIterator[RecordingCluster]:
    """Provide the control plane as its administrator sees it: a `ClusterAPI`, with `.namespace` of this test's own."""
    from operatorkit.cluster import LiveCluster, load_config
    from operatorkit.testing.cluster import RecordingCluster

    async with LiveCluster(load_config(controlplane.kubeconfig(namespace=namespace))) as live:
        yield RecordingCluster(live, namespace=namespace)


@pytest_asyncio.fixture
async def nodes(controlplane: ControlPlane, cluster: RecordingCluster) -> AsyncIterator[SimulatedNodes | None]:
    """Let pods run, on one simulated node; None on a cluster that exists, which has nodes of its own."""
    from operatorkit.controlplane.nodes import SimulatedNodes

    if controlplane.backend == "existing":
        yield None
        return
    async with SimulatedNodes(cluster, count=1) as simulated:
        yield simulated


@pytest.fixture
def operator(cluster: RecordingCluster) -> RunOperator:
    """Provide the function that runs an operator in this loop.

    Write `async with operator(app, clock=clock) as running: ...`. The CRDs that the operator declares are installed
    first. Its requests, `running.writes()`, are counted apart from those that the test makes through `cluster`.
    """

    @asynccontextmanager
    async def run(app: Operator, *, clock: Clock | None = None, **options: Any) -> AsyncIterator[RunningOperator]:
        from operatorkit.clock import SYSTEM_CLOCK
        from operatorkit.testing.running import install_crds, running

        await install_crds(cluster, app.kinds())
        async with running(app, cluster, clock=clock or SYSTEM_CLOCK, **options) as started:
            yield started

    return run
