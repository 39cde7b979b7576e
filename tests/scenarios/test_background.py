"""Background functions of an operator: they run while this replica may reconcile."""

from __future__ import annotations

import asyncio

import pytest
from kubernetes.client.models import V1ConfigMap

from operatorkit import Operator
from operatorkit._runtime import Engine
from operatorkit._runtime.leases import LeaseElector
from operatorkit.clock import SYSTEM_CLOCK
from operatorkit.errors import DefinitionError, OperatorKitError
from operatorkit.operator import Background
from operatorkit.resource import api_resource_of
from operatorkit.settings import LeaderElection
from operatorkit.testing import eventually

CONFIG_MAPS = api_resource_of(V1ConfigMap)


def counter() -> tuple[Operator, list[str]]:
    """Return an operator whose background function notes what it does."""
    app, seen = Operator("counter"), []
    app.reads(V1ConfigMap)

    @app.background
    async def count(world: Background) -> None:
        seen.append("started")
        try:
            while True:
                seen.extend(one.metadata.name for one in world.reader.list(V1ConfigMap) if one.metadata.name == "a")
                await world.clock.sleep(0.01)
        finally:
            seen.append("ended")

    return app, seen


async def test_a_background_function_reads_filled_caches_and_is_cancelled_at_the_end(cluster, operator):
    await cluster.create(CONFIG_MAPS, {"metadata": {"name": "a"}}, namespace=cluster.namespace)
    app, seen = counter()
    async with operator(app, webhooks=None):
        await eventually(lambda: len(seen) > 3)
        assert seen[:2] == ["started", "a"]
    assert (seen[-1], seen.count("ended")) == ("ended", 1)


async def test_a_background_function_runs_in_the_leader_only(cluster):
    running = []
    for number in range(2):
        app, seen = counter()
        lease = LeaseElector(
            cluster,
            namespace=cluster.namespace,
            name="counter",
            settings=LeaderElection(),
            clock=SYSTEM_CLOCK,
            identity=f"replica-{number}",
        )
        engine = Engine(app, cluster, namespace=cluster.namespace, elector=lease)
        running.append((engine, seen, asyncio.create_task(engine.run())))
        await engine.ready()
        if number == 0:
            await engine.leading()
    (first, first_seen, first_task), (second, second_seen, second_task) = running
    try:
        await eventually(lambda: "started" in first_seen)
        assert not second_seen
        first.stop()
        await first_task
        assert first_seen[-1] == "ended"
        await eventually(lambda: "started" in second_seen)
    finally:
        for engine in (first, second):
            engine.stop()
        await asyncio.gather(first_task, second_task)


async def test_an_operator_ends_with_its_background_function(cluster, operator):
    app = Operator("short")
    app.reads(V1ConfigMap)

    @app.background
    async def nothing(world: Background) -> None:
        del world

    with pytest.raises(OperatorKitError, match="nothing"):
        async with operator(app, webhooks=None):
            pass


def test_a_background_function_must_be_async_and_declared_once():
    app = Operator("wrong")

    def plain(world):
        del world

    with pytest.raises(DefinitionError, match=r"plain for Background is not `async def`"):
        app.background(plain)

    async def fine(world: Background) -> None:
        del world

    app.background(fine)
    with pytest.raises(DefinitionError, match="twice"):
        app.background(fine)
