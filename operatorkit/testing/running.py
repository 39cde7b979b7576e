"""An operator at work in a test.

What belongs here: installing the CRDs that an operator declares and running its engine in the test's own event loop,
so that the test holds its clock and counts its requests. What does not: the process around an engine, with kopf and
signals (`operatorkit run`).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from operatorkit._runtime import Engine
from operatorkit.clock import SYSTEM_CLOCK, Clock
from operatorkit.cluster.api import ClusterAPI, PatchType
from operatorkit.names import ApiResource
from operatorkit.operator import Operator
from operatorkit.testing.cluster import RecordingCluster
from operatorkit.testing.polling import eventually

__all__ = ["CRDS", "RunningOperator", "install_crds", "running"]

CRDS = ApiResource("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", False)


class RunningOperator:
    """An engine that runs in this loop, and the requests that it has made."""

    def __init__(self, engine: Engine, cluster: RecordingCluster) -> None:
        self.engine = engine
        self.cluster = cluster

    async def settled(self) -> None:
        """Return when the engine has nothing left to do: queues empty, nothing running, caches caught up."""
        await self.engine.settled()

    def writes(self) -> Counter[tuple[str, str]]:
        """Count the operator's requests that write, by verb and resource: `{("patch", "secrets"): 1}`."""
        return self.cluster.writes()


@asynccontextmanager
async def running(
    app: Operator, api: ClusterAPI, *, clock: Clock = SYSTEM_CLOCK, **options: Any
) -> AsyncIterator[RunningOperator]:
    """Run `app` against `api` until the block is left; ready, with its caches filled, when the block is entered.

    `options` go to the engine. An error that ends the engine early is raised here, when the block is left.
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
        yield RunningOperator(engine, recorder)
    finally:
        engine.stop()
        await task


async def install_crds(api: ClusterAPI, kinds: Iterable[type[Any]]) -> None:
    """Apply the CRDs of those `kinds` that are classes of operatorkit, and wait until their objects can be listed.

    That is later than Established: for a moment kube-apiserver says that storage is (re)initializing, and an engine
    whose clock the test holds would wait for ever to ask again.
    """
    kinds = [kind for kind in kinds if hasattr(kind, "crd")]
    definitions = [kind.crd() for kind in kinds]
    for definition in definitions:
        await api.patch(
            CRDS,
            definition["metadata"]["name"],
            definition,
            patch_type=PatchType.APPLY,
            field_manager="operatorkit-testing",
            force=True,
        )
    for definition in definitions:
        name = definition["metadata"]["name"]
        await eventually(partial(_is_established, api, name), message=f"Established of {name}")
    for kind in kinds:
        await eventually(partial(_is_served, api, kind.api_resource()), message=f"objects of {kind.__name__}")


async def _is_served(api: ClusterAPI, resource: ApiResource) -> bool:
    await api.list(resource, limit=1)
    return True


async def _is_established(api: ClusterAPI, name: str) -> bool:
    found = await api.get(CRDS, name)
    conditions = (found.get("status") or {}).get("conditions") or []
    return any(condition["type"] == "Established" and condition["status"] == "True" for condition in conditions)
