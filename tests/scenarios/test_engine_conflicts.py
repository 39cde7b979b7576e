"""Two programs that want different things of one object: nobody spins, and an Event says who and what."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest
from kubernetes.client.models import V1ConfigMap, V1Deployment

from operatorkit import Condition, Context, Model, Operator, Resource
from operatorkit.cluster import PatchType
from operatorkit.errors import NotFound
from operatorkit.events import EVENTS
from operatorkit.resource import ObjectMeta, api_resource_of
from operatorkit.testing import FakeClock, eventually

CONFIG_MAPS, DEPLOYMENTS = api_resource_of(V1ConfigMap), api_resource_of(V1Deployment)
FOR_EVER = 40


class RopeSpec(Model):
    text: str = "ours"


class RopeStatus(Model):
    conditions: list[Condition] = []
    text: str = ""


class Rope(Resource[RopeSpec, RopeStatus], group="conflicts.example.io", version="v1"):
    """What two pull at."""


ROPES = Rope.api_resource()


@pytest.fixture
def operator(operator, namespace):
    """Run operators in the test's own namespace: other tests leave objects of the same kinds behind."""
    return partial(operator, namespace=namespace)


def puller(runs: list[str], *, name: str = "puller", status: bool = False) -> Operator:
    app = Operator(name)

    @app.reconcile(Rope, owns=[V1ConfigMap])
    async def reconcile(rope: Rope, ctx: Context) -> None:
        runs.append(rope.spec.text)
        if status:
            rope.status.text = name
            ctx.condition("Ready", name == "puller", "Pulled", name)
        else:
            await ctx.apply(V1ConfigMap(metadata={"name": "child"}, data={"text": rope.spec.text, "more": "x"}))

    return app


async def create(cluster, name: str = "a") -> None:
    await cluster.create(ROPES, Rope(metadata=ObjectMeta(name=name)).write(), namespace=cluster.namespace)


async def change(cluster, resource, name: str, body, manager: str = "helm") -> None:
    await cluster.patch(
        resource, name, body, patch_type=PatchType.MERGE, namespace=cluster.namespace, field_manager=manager
    )


async def warnings(cluster) -> list[tuple[str, str, str]]:
    """Return the reason, the message and the subject of each Warning."""
    found = (await cluster.list(EVENTS, namespace=cluster.namespace)).items
    return [(event["reason"], event["message"], event["involvedObject"]["name"]) for event in found]


async def text(cluster) -> str | None:
    try:
        return (await cluster.get(CONFIG_MAPS, "child", namespace=cluster.namespace))["data"]["text"]
    except NotFound:
        return None


async def test_a_child_that_another_program_changes_is_repaired_less_and_less_often(cluster, operator, clock):
    runs: list[str] = []
    async with operator(puller(runs), clock=clock) as running:
        await create(cluster)
        await running.settled()
        for at in range(FOR_EVER):
            await change(cluster, CONFIG_MAPS, "child", {"data": {"text": f"theirs {at}"}})
            await running.settled()
        assert 10 <= len(runs) <= 13
        [(reason, message, subject)] = await warnings(cluster)
        assert (reason, subject) == ("FieldConflict", "a")
        assert message == (
            f"helm changes data.text of ConfigMap {cluster.namespace}/child as often as puller sets it: let only one "
            f"of the two set it"
        )
        waits = []
        for _ in range(5):
            before, wait = len(runs), 0
            while len(runs) == before:
                await clock.advance(timedelta(seconds=1))
                await running.settled()
                wait += 1
            waits.append(wait)
            await change(cluster, CONFIG_MAPS, "child", {"data": {"text": f"theirs, after {wait}"}})
            await running.settled()
        assert waits == [1, 2, 4, 8, 16]
        assert len(await warnings(cluster)) == 1


async def test_a_conflict_that_is_over_is_forgotten_and_a_new_spec_does_not_wait_for_it(cluster, operator, clock):
    runs: list[str] = []
    async with operator(puller(runs), clock=clock) as running:
        await create(cluster)
        await running.settled()
        for at in range(FOR_EVER):
            await change(cluster, CONFIG_MAPS, "child", {"data": {"text": f"theirs {at}"}})
            await running.settled()
        assert await text(cluster) != "ours"
        await change(cluster, ROPES, "a", {"spec": {"text": "new"}})
        await running.settled()
        assert await text(cluster) == "new"
        for at in range(FOR_EVER):
            await change(cluster, CONFIG_MAPS, "child", {"data": {"text": f"theirs {at}"}})
            await running.settled()
        assert await text(cluster) != "new"
        for _ in range(4):  # it is repaired, and then nobody touches it any more
            await clock.advance(timedelta(seconds=1))
            await running.settled()
        assert await text(cluster) == "new"
        before = len(runs)
        await change(cluster, CONFIG_MAPS, "child", {"data": {"text": "by mistake"}})
        await running.settled()
        assert (await text(cluster), len(runs)) == ("new", before + 1)


async def test_a_child_that_vanishes_as_often_as_it_is_created_is_created_less_and_less_often(cluster, operator, clock):
    runs: list[str] = []
    async with operator(puller(runs), clock=clock) as running:
        await create(cluster)
        await running.settled()
        for _ in range(FOR_EVER):
            if await text(cluster) is not None:
                await cluster.delete(CONFIG_MAPS, "child", namespace=cluster.namespace)
            await running.settled()
        assert 10 <= len(runs) <= 13
        [(reason, message, subject)] = await warnings(cluster)
        assert (reason, subject) == ("ChildDeleted", "a")
        assert message.startswith(f"ConfigMap {cluster.namespace}/child is deleted as often as it is created")


async def test_two_operators_that_want_another_status_do_not_spin(cluster, operator):
    """The clocks stand still, so that all that happens happens at once."""
    runs: dict[str, list[str]] = {"puller": [], "tugger": []}
    first, second = (puller(runs[name], name=name, status=True) for name in runs)
    async with operator(first, clock=FakeClock()) as one, operator(second, clock=FakeClock()) as two:
        await create(cluster)

        async def reported() -> bool:
            for running in (one, two, one, two):
                await running.settled()
            return bool(await warnings(cluster))

        await eventually(reported)
        assert all(len(each) <= 16 for each in runs.values()), runs
        [(reason, message, _)] = await warnings(cluster)  # one gave way; then it is as the other wants it
        got = (await cluster.get(ROPES, "a", namespace=cluster.namespace))["status"]["text"]
        mine = "tugger" if got == "puller" else "puller"
        assert reason == "FieldConflict"
        assert message.startswith(f"{got} changes status.conditions[type=Ready].message, status.conditions[type=Ready]")
        assert message.endswith(
            f"status.text of Rope {cluster.namespace}/a as often as {mine} sets it: let only one of the two set it"
        )


async def test_the_fields_of_a_conflict_in_a_list_are_named_by_their_keys(cluster, operator, clock):
    app = Operator("puller")
    template = {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "web", "image": "nginx:1"}]},
    }

    @app.reconcile(Rope, owns=[V1Deployment])
    async def reconcile(rope: Rope, ctx: Context) -> None:
        spec = {"replicas": 0, "selector": {"match_labels": {"a": "b"}}, "template": template}
        await ctx.apply(V1Deployment(metadata={"name": "child"}, spec=spec))

    async with operator(app, clock=clock) as running:
        await create(cluster)
        await running.settled()
        for at in range(FOR_EVER):
            other = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": f"nginx:{at + 2}"}]}}}}
            await cluster.patch(
                DEPLOYMENTS,
                "child",
                other,
                patch_type=PatchType.STRATEGIC,
                namespace=cluster.namespace,
                field_manager="kubectl-set",
            )
            await running.settled()
        [(_, message, _)] = await warnings(cluster)
        assert message.startswith("kubectl-set changes spec.template.spec.containers[name=web].image of Deployment")


async def test_a_child_that_is_applied_twice_in_one_run_is_an_error_that_names_it(cluster, operator, clock):
    app, runs = Operator("twice"), []

    @app.reconcile(Rope, owns=[V1ConfigMap])
    async def reconcile(rope: Rope, ctx: Context) -> None:
        runs.append(1)
        await ctx.apply(V1ConfigMap(metadata={"name": "child"}, data={"x": "1"}))
        await ctx.apply(V1ConfigMap(metadata={"name": "child"}, data={"z": "1"}))

    async with operator(app, clock=clock) as running:
        await create(cluster)
        await running.settled()
        await clock.advance(timedelta(minutes=4))
        await running.settled()
        assert len(runs) == 1
        [(reason, message, _)] = await warnings(cluster)
        assert reason == "ReconcileFailed"
        assert message.startswith(
            f"Rope {cluster.namespace}/a applies ConfigMap {cluster.namespace}/child twice in one run"
        )
        await clock.advance(timedelta(minutes=1))
        await eventually(lambda: len(runs) == 2)


async def test_a_parent_follows_many_children_without_a_wait(cluster, operator, clock):
    """Each run writes another status: that is progress, not a conflict."""
    app, runs = Operator("counter"), []

    @app.reconcile(Rope, owns=[V1ConfigMap])
    async def reconcile(rope: Rope, ctx: Context) -> None:
        runs.append(1)
        children = await ctx.apply(V1ConfigMap(metadata={"name": "child"}, data={"text": "x"}))
        rope.status.text = (children[0].metadata.annotations or {}).get("seen", "")

    async with operator(app, clock=clock) as running:
        await create(cluster)
        await running.settled()
        for at in range(FOR_EVER):
            await change(cluster, CONFIG_MAPS, "child", {"metadata": {"annotations": {"seen": str(at)}}})
            await running.settled()
        got = await cluster.get(ROPES, "a", namespace=cluster.namespace)
        assert got["status"]["text"] == str(FOR_EVER - 1)
        assert await warnings(cluster) == []
