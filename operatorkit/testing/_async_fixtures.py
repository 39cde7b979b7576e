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
    from operatorkit.testing.running import RunningOperator, Shrinking

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
def operator(cluster: RecordingCluster, controlplane: ControlPlane) -> RunOperator:
    """Provide the function that runs an operator in this loop.

    Write `async with operator(app, clock=clock) as running: ...`. The CRDs of the operator's own kinds are installed
    first, in all versions; external kinds that the control plane lacks get a stand-in, unless it is an existing one.
    There, and where another than operatorkit has applied it, no CRD loses anything without `allow_shrink=True`. The
    operator's requests, `running.writes()`, are counted apart from those that the test makes through `cluster`.
    """

    @asynccontextmanager
    async def run(
        app: Operator, *, clock: Clock | None = None, allow_shrink: bool = False, **options: Any
    ) -> AsyncIterator[RunningOperator]:
        from operatorkit.clock import SYSTEM_CLOCK
        from operatorkit.definitions import external_kinds, own_kinds
        from operatorkit.testing.running import install_crds, install_stand_ins, running

        disposable = controlplane.backend != "existing"
        shrinking: Shrinking = "always" if allow_shrink else "own" if disposable else "never"
        await install_crds(cluster, own_kinds(app), shrinking=shrinking)
        if disposable:
            await install_stand_ins(external_kinds(app), cluster)
        async with running(app, cluster, clock=clock or SYSTEM_CLOCK, **options) as started:
            yield started

    return run
