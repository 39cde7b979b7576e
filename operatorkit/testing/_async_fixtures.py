"""Fixtures that need an event loop; the plugin loads them where pytest-asyncio is installed."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

import pytest
import pytest_asyncio

if TYPE_CHECKING:
    from operatorkit.clock import Clock
    from operatorkit.controlplane.backend import ControlPlane
    from operatorkit.controlplane.nodes import SimulatedNodes
    from operatorkit.controlplane.nodes.process import ProcessNodes
    from operatorkit.operator import Operator
    from operatorkit.testing.cluster import RecordingCluster
    from operatorkit.testing.running import ClientConfig, RunningOperator, Shrinking

    RunOperator = Callable[..., AbstractAsyncContextManager[RunningOperator]]


@pytest_asyncio.fixture
async def cluster(controlplane: ControlPlane, namespace: str) -> AsyncIterator[RecordingCluster]:
    """Provide the control plane as its administrator sees it: a `ClusterAPI`, with `.namespace` of this test's own."""
    from operatorkit.cluster import LiveCluster, load_config
    from operatorkit.testing.cluster import RecordingCluster

    async with LiveCluster(load_config(controlplane.kubeconfig(namespace=namespace))) as live:
        yield RecordingCluster(live, namespace=namespace)


@pytest_asyncio.fixture
async def nodes(
    controlplane: ControlPlane, cluster: RecordingCluster
) -> AsyncIterator[SimulatedNodes | None]:
    """Let pods run, on one simulated node; None on a cluster that exists, which has nodes of its own."""
    from operatorkit.controlplane.nodes import SimulatedNodes

    if controlplane.backend == "existing":
        yield None
        return
    async with SimulatedNodes(cluster, count=1) as simulated:
        yield simulated


@pytest_asyncio.fixture
async def process_nodes(
    controlplane: ControlPlane, cluster: RecordingCluster
) -> AsyncIterator[ProcessNodes | None]:
    """Let pods run as processes of this machine; None on a cluster that exists, whose nodes run them.

    The test is skipped where bubblewrap is missing. `process_nodes.images.add("db:1", command=[...])`
    adds an image. Do not use it together with `nodes`.
    """
    del cluster  # its namespace is deleted after the nodes have ended
    from operatorkit.cluster import LiveCluster, load_config
    from operatorkit.controlplane.nodes.process import ProcessNodes, unavailable

    if controlplane.backend == "existing":
        yield None
        return
    if (why := unavailable()) is not None:
        pytest.skip(why)
    config = load_config(controlplane.kubeconfig(user="system:process-nodes"))
    async with LiveCluster(config) as api, ProcessNodes(api, api_url=controlplane.url) as nodes:
        yield nodes


@pytest_asyncio.fixture
async def operator(
    cluster: RecordingCluster, controlplane: ControlPlane
) -> AsyncIterator[RunOperator]:
    """Provide the function that runs an operator in this loop.

    Write `async with operator(app, clock=clock) as running: ...`. It works in the test's namespace
    only (cluster-scoped kinds are not limited by that); `namespace=None` means all namespaces.

    Its webhooks are served and registered, at a URL of this process, so that what they deny is
    denied; and the handlers of kopf in its modules run, in a thread of their own. `webhooks=None`
    and `handlers=False` leave them out. An existing cluster could not call this process: there, no
    webhooks are served unless `webhooks` says where.

    The CRDs of the operator's own kinds are installed first, in all versions; external kinds that
    the control plane lacks get a stand-in, unless it is an existing one. There, and where another
    than operatorkit has applied it, no CRD loses anything without `allow_shrink=True`.

    Its finalizers are removed from what the test leaves in its namespace, which could not be
    deleted otherwise.

    The operator's requests, `running.writes()`, are counted apart from those that the test makes
    through `cluster`, the webhook configurations among them; what kopf's handlers send is not
    counted.
    """
    ran: dict[str, Operator] = {}

    @asynccontextmanager
    async def run(
        app: Operator,
        *,
        clock: Clock | None = None,
        namespace: str | None = cluster.namespace,
        webhooks: ClientConfig | Literal["here"] | None = "here",
        handlers: bool = True,
        allow_shrink: bool = False,
        **options: Any,
    ) -> AsyncIterator[RunningOperator]:
        from operatorkit.clock import SYSTEM_CLOCK
        from operatorkit.definitions import external_kinds, own_kinds
        from operatorkit.testing.running import (
            install_crds,
            install_stand_ins,
            running,
            running_handlers,
            webhooks_here,
        )

        ran[app.name] = app
        disposable = controlplane.backend != "existing"
        shrinking: Shrinking = "always" if allow_shrink else "own" if disposable else "never"
        await install_crds(cluster, own_kinds(app), shrinking=shrinking)
        if disposable:
            await install_stand_ins(external_kinds(app), cluster)
        if webhooks == "here":
            webhooks = webhooks_here(app, disposable=disposable)
            options = {"webhook_clock": SYSTEM_CLOCK} | options
        async with AsyncExitStack() as stack:
            options |= {"namespace": namespace, "webhooks": webhooks}
            started = await stack.enter_async_context(
                running(app, cluster, clock=clock or SYSTEM_CLOCK, **options)
            )
            if handlers and "kopf" in sys.modules:
                config = controlplane.kubeconfig(namespace=cluster.namespace)
                await stack.enter_async_context(running_handlers(app, config, namespace=namespace))
            yield started

    yield run

    from operatorkit.testing.running import remove_finalizers

    for app in ran.values():
        await remove_finalizers(app, cluster, cluster.namespace)
