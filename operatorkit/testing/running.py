"""An operator at work in a test.

What belongs here: installing the CRDs that an operator declares and running its engine in the
test's own event loop, so that the test holds its clock and counts its requests. What does not: the
process around an engine, with kopf and signals (`operatorkit run`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

from operatorkit._runtime import Engine, install_definitions
from operatorkit._runtime.admission import AtUrl, ClientConfig
from operatorkit._runtime.install import DEFINITIONS as CRDS
from operatorkit._runtime.install import Shrinking, install_stand_ins
from operatorkit._runtime.run import finalizer_of
from operatorkit.clock import SYSTEM_CLOCK, Clock
from operatorkit.cluster import load_config
from operatorkit.cluster.api import ClusterAPI, PatchType
from operatorkit.errors import NotFound
from operatorkit.operator import Operator
from operatorkit.resource import api_resource_of
from operatorkit.testing.cluster import RecordingCluster
from operatorkit.testing.quiescence import wait_until_idle

__all__ = [
    "CRDS",
    "ClientConfig",
    "RunningOperator",
    "Shrinking",
    "install_crds",
    "install_stand_ins",
    "remove_finalizers",
    "running",
    "running_handlers",
    "webhooks_here",
]

_log = logging.getLogger("operatorkit.testing")


class RunningOperator:
    """An engine that runs in this loop, and the requests that it has made."""

    def __init__(self, engine: Engine, cluster: RecordingCluster, task: asyncio.Task[None]) -> None:
        self.engine = engine
        self.cluster = cluster
        self._task = task

    async def idle(self, *, within: timedelta = timedelta(minutes=4)) -> None:
        """Return when the engine has nothing left to do: queues empty, nothing running, caches caught up.

        Raises AssertionError, which names what is not idle, when that lasts longer than `within` of real time; and
        what ended the engine, if it has ended.
        """
        idle = asyncio.ensure_future(wait_until_idle(self.engine, within=within))
        try:
            await asyncio.wait({idle, self._task}, return_when=asyncio.FIRST_COMPLETED)
            if not idle.done():
                await self._task
                raise AssertionError("the engine was stopped: it will not become idle")
            await idle
        finally:
            idle.cancel()

    async def settled(self, *, within: timedelta = timedelta(minutes=4)) -> None:
        """Return when the engine is idle: the former name of `idle`, which existing tests use."""
        await self.idle(within=within)

    def writes(self) -> Counter[tuple[str, str]]:
        """Count the operator's requests that write, by verb and resource: `{("patch", "secrets"): 1}`."""
        return self.cluster.writes()


@asynccontextmanager
async def running(
    app: Operator, api: ClusterAPI, *, clock: Clock = SYSTEM_CLOCK, **options: Any
) -> AsyncIterator[RunningOperator]:
    """Run `app` against `api` until the block is left; ready, with its caches filled, when the block is entered.

    `options` go to the engine. An error that ends the engine early is raised here, when the block
    is left.
    """
    recorder = RecordingCluster(api)
    engine = Engine(app, recorder, clock=clock, **options)
    task = asyncio.create_task(engine.run(), name=f"engine of {app.name}")
    try:
        ready = asyncio.ensure_future(engine.ready())
        await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            ready.cancel()
            await task
            raise AssertionError(f"the engine of {app.name} ended before it was ready")
        yield RunningOperator(engine, recorder, task)
    finally:
        engine.stop()
        await task


async def install_crds(
    api: ClusterAPI, kinds: Iterable[type[Any]], *, shrinking: Shrinking = "own"
) -> None:
    """Apply the CRDs of those `kinds` that are classes of operatorkit, and wait until their objects can be listed.

    One that a test before has applied may lose something; one that anybody else has, only as
    `shrinking` says.
    """
    await install_definitions(kinds, api, shrinking=shrinking)


async def remove_finalizers(app: Operator, api: ClusterAPI, namespace: str) -> None:
    """Remove the operator's finalizers from what is left in a test's namespace, once no operator runs there.

    The namespace could not be deleted otherwise, and a cluster tries that for ever: each time with
    two requests for each kind that it has.
    """
    finalizer = finalizer_of(app)
    for reconciler in app.reconcilers:
        resource = api_resource_of(reconciler.kind)
        if not (reconciler.has_finalizer and resource.namespaced):
            continue
        try:
            left = await api.list(resource, namespace=namespace, metadata_only=True)
        except NotFound:
            continue  # the test has removed the definition, and with it all objects
        for raw in left.items:
            held = raw["metadata"].get("finalizers") or []
            if finalizer not in held:
                continue
            rest = {"metadata": {"finalizers": [name for name in held if name != finalizer]}}
            with suppress(NotFound):
                await api.patch(
                    resource,
                    raw["metadata"]["name"],
                    rest,
                    patch_type=PatchType.MERGE,
                    namespace=namespace,
                )


def webhooks_here(app: Operator, *, disposable: bool) -> ClientConfig | None:
    """Return where API servers find the webhooks of an operator that runs in this process; None if it has none.

    With a control plane that is not `disposable`, a cluster, they would not find them: that is
    logged.
    """
    if not app.webhooks:
        return None
    if not disposable:
        _log.warning(
            "an existing cluster cannot call this process: the webhooks of %s are not served",
            app.name,
        )
        return None
    return AtUrl()


@asynccontextmanager
async def running_handlers(
    app: Operator, kubeconfig: Mapping[str, Any], *, namespace: str | None
) -> AsyncIterator[None]:
    """Run the handlers of kopf in an operator's modules until the block is left."""
    from operatorkit._runtime.kopf_thread import handlers_running

    async with handlers_running(app, load_config(kubeconfig), namespace=namespace):
        yield
