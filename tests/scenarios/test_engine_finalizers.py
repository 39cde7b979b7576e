"""The engine's finalizer costs no second run; a finalizer that nobody removes does not block a deletion in silence."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from functools import partial

import pytest
from kubernetes.client.models import V1ConfigMap

from operatorkit import Condition, Context, Model, Operator, Resource, TerminalError
from operatorkit.cluster import PatchType
from operatorkit.errors import NotFound
from operatorkit.events import EVENTS
from operatorkit.resource import ObjectMeta, api_resource_of
from operatorkit.testing.running import install_crds
from operatorkit.testing.running import running as run

CONFIG_MAPS = api_resource_of(V1ConfigMap)


class DoorSpec(Model):
    size: int = 1


class DoorStatus(Model):
    conditions: list[Condition] = []


class Door(Resource[DoorSpec, DoorStatus], group="finalizers.example.io", version="v1"):
    """Something to close behind oneself."""


DOORS = Door.api_resource()


@pytest.fixture
def operator(operator, namespace):
    """Run operators in the test's own namespace: other tests leave objects of the same kinds behind."""
    return partial(operator, namespace=namespace)


def closer(*, finalize: bool, runs: list[dict[str, str]] | None = None, fail: bool = False) -> Operator:
    app = Operator("closer")

    @app.reconcile(Door)
    async def reconcile(door: Door, ctx: Context) -> None:
        if runs is not None:
            runs.append(door.metadata.labels)
        if fail:
            raise TerminalError("no", reason="No")

    if finalize:

        @app.finalize(Door)
        async def close(door: Door, ctx: Context) -> None: ...

    return app


async def create(cluster, *finalizers: str) -> None:
    door = Door(metadata=ObjectMeta(name="a", finalizers=[*finalizers]))
    await cluster.create(DOORS, door.write(), namespace=cluster.namespace)


async def get(cluster) -> dict:
    return await cluster.get(DOORS, "a", namespace=cluster.namespace)


async def warnings(cluster) -> list[tuple[str, str]]:
    found = (await cluster.list(EVENTS, namespace=cluster.namespace)).items
    return [(event["reason"], event["message"]) for event in found]


async def do_as_configured(cluster, message: str) -> None:
    """Carry out the kubectl command at the end of a message."""
    [(plural, name, namespace, patch)] = re.findall(
        r"kubectl patch (\S+) (\S+) -n (\S+) --type=json -p '(.*)'$", message
    )
    assert (plural, namespace) == (DOORS.qualified, cluster.namespace)
    await cluster.patch(DOORS, name, json.loads(patch), patch_type=PatchType.JSON, namespace=namespace)


@pytest.mark.parametrize("fail", [False, True])
@pytest.mark.parametrize("finalize", [True, False])
async def test_one_creation_is_one_run(cluster, operator, finalize, fail):
    runs: list[dict[str, str]] = []
    async with operator(closer(finalize=finalize, runs=runs, fail=fail)) as running:
        await create(cluster)
        await running.settled()
        assert len(runs) == 1
        assert bool((await get(cluster))["metadata"].get("finalizers")) is finalize


class Between:
    """A cluster in which a label is set just before or just after the engine's finalizer."""

    def __init__(self, api, when: str) -> None:
        self.api, self.when, self.done = api, when, False

    def __getattr__(self, name):
        return getattr(self.api, name)

    async def patch(self, resource, name, body, **options):
        is_finalizer = isinstance(body, dict) and "finalizers" in body.get("metadata", {}) and not self.done
        if not is_finalizer:
            return await self.api.patch(resource, name, body, **options)
        self.done = True
        if self.when == "before":
            await self.label(resource, name, options)
        answer = await self.api.patch(resource, name, body, **options)
        if self.when == "after":
            await self.label(resource, name, options)
        return answer

    async def label(self, resource, name, options) -> None:
        body = {"metadata": {"labels": {"seen": "yes"}}}
        await self.api.patch(
            resource, name, body, patch_type=PatchType.MERGE, namespace=options["namespace"], field_manager="user"
        )


@pytest.mark.parametrize("when", ["before", "after"])
async def test_what_others_write_while_the_finalizer_is_set_is_seen(cluster, when):
    runs: list[dict[str, str]] = []
    app = closer(finalize=True, runs=runs)
    await install_crds(cluster, app.kinds())
    async with run(app, Between(cluster, when), namespace=cluster.namespace) as running:
        await create(cluster)
        await running.settled()
        assert runs[-1] == {"seen": "yes"}


async def test_the_finalizer_of_an_earlier_version_without_its_function_is_reported_with_a_remedy(cluster, operator):
    async with operator(closer(finalize=True)) as running:
        await create(cluster)
        await running.settled()
    async with operator(closer(finalize=False)) as running:
        await running.settled()
        assert await warnings(cluster) == []
        await cluster.delete(DOORS, "a", namespace=cluster.namespace)
        await running.settled()
        [(reason, message)] = await warnings(cluster)
        assert reason == "DeletionBlocked"
        assert "an earlier version of this operator set the finalizer operatorkit.dev/closer" in message
        [condition, stalled] = (await get(cluster))["status"]["conditions"]
        assert (stalled["type"], stalled["message"]) == ("Stalled", message)
        assert (condition["type"], condition["status"], condition["reason"]) == ("Ready", "False", "DeletionBlocked")
        assert condition["message"] == message
        await do_as_configured(cluster, message)
        await running.settled()
        with pytest.raises(NotFound):
            await get(cluster)


@pytest.mark.parametrize("finalize", [True, False])
async def test_a_finalizer_of_another_program_has_a_minute(cluster, operator, clock, finalize):
    async with operator(closer(finalize=finalize), clock=clock) as running:
        await create(cluster, "old.example.io/cleanup")
        await running.settled()
        await cluster.delete(DOORS, "a", namespace=cluster.namespace)
        await running.settled()
        await clock.advance(timedelta(seconds=59))
        await running.settled()
        assert await warnings(cluster) == []
        await clock.advance(timedelta(seconds=2))
        await running.settled()
        [(reason, message)] = await warnings(cluster)
        assert reason == "DeletionBlocked"
        assert "the finalizer old.example.io/cleanup blocks it" in message
        await do_as_configured(cluster, message)
        await running.settled()
        with pytest.raises(NotFound):
            await get(cluster)


async def test_a_finalizer_that_is_removed_in_time_is_not_reported(cluster, operator, clock):
    async with operator(closer(finalize=True), clock=clock) as running:
        await create(cluster, "other.example.io/cleanup")
        await running.settled()
        await cluster.delete(DOORS, "a", namespace=cluster.namespace)
        await running.settled()
        assert (await get(cluster))["metadata"]["finalizers"] == ["other.example.io/cleanup"]
        await cluster.patch(
            DOORS, "a", {"metadata": {"finalizers": None}}, patch_type=PatchType.MERGE, namespace=cluster.namespace
        )
        await running.settled()
        await clock.advance(timedelta(minutes=2))
        await running.settled()
        assert await warnings(cluster) == []


async def test_of_a_kind_that_is_not_the_operators_own_nothing_is_said(cluster, operator, clock):
    app = Operator("closer")

    @app.reconcile(V1ConfigMap)
    async def reconcile(obj: V1ConfigMap, ctx: Context) -> None: ...

    async with operator(app, clock=clock) as running:
        meta = {"name": "a", "finalizers": ["other.example.io/cleanup"]}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}
        await cluster.create(CONFIG_MAPS, body, namespace=cluster.namespace)
        await cluster.delete(CONFIG_MAPS, "a", namespace=cluster.namespace)
        await running.settled()
        await clock.advance(timedelta(minutes=2))
        await running.settled()
        assert await warnings(cluster) == []
        await cluster.patch(
            CONFIG_MAPS,
            "a",
            {"metadata": {"finalizers": None}},
            patch_type=PatchType.MERGE,
            namespace=cluster.namespace,
        )
