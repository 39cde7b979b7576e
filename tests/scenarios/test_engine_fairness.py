"""Whose objects come first when one namespace has many that wait."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio

from operatorkit import Context, Model, Operator, Resource, Settings
from operatorkit.names import ApiResource
from operatorkit.resource import NoStatus, ObjectMeta
from operatorkit.testing import eventually
from operatorkit.testing.running import install_crds

NAMESPACES = ApiResource("", "v1", "Namespace", "namespaces", namespaced=False)


class OrderSpec(Model):
    size: int = 1


class Order(Resource[OrderSpec, NoStatus], group="fairness.example.io", version="v1"):
    """An order."""


@pytest_asyncio.fixture
async def neighbour(cluster, namespace):
    name = f"{namespace}-neighbour"
    await cluster.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    await cluster.delete(NAMESPACES, name)


@pytest.mark.parametrize(
    ("settings", "places"), [({}, {0, 1}), ({"fair_by_namespace": False}, {8})], ids=["fair", "not"]
)
async def test_another_namespace_waits_for_one_run_and_not_for_all(cluster, operator, neighbour, settings, places):
    app, hold, runs = Operator("orders", settings=Settings(**settings)), asyncio.Event(), []
    teams = {cluster.namespace, neighbour}

    @app.reconcile(Order, workers=1)
    async def reconcile(order: Order, ctx: Context) -> None:
        if ctx.key.namespace in teams:
            runs.append(ctx.key)
            await hold.wait()

    async def create(name, namespace):
        await cluster.create(Order.api_resource(), Order(metadata=ObjectMeta(name=name)).write(), namespace=namespace)

    await install_crds(cluster, [Order])
    async with operator(app, namespace=None) as running:
        (orders,) = running.engine.controllers
        await create("first", cluster.namespace)
        await eventually(lambda: len(runs) == 1)
        for number in range(8):
            await create(f"o{number}", cluster.namespace)
        await eventually(lambda: len(orders.queue) == 8)
        await create("theirs", neighbour)
        await eventually(lambda: len(orders.queue) == 9)
        hold.set()
        await running.idle()
    assert [key.namespace for key in runs[1:]].index(neighbour) in places
    assert len(runs) == 10
