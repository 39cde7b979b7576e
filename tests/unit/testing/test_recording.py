"""Counting requests: what passes through is what was asked, and `idle` finds what is not."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from operatorkit.cluster import PatchType
from operatorkit.errors import NotFound
from operatorkit.names import ApiResource
from operatorkit.testing import Call, RecordingCluster, idle

CONFIG_MAPS = ApiResource("", "v1", "ConfigMap", "configmaps", True)
DEPLOYMENTS = ApiResource("apps", "v1", "Deployment", "deployments", True)


async def test_every_verb_is_counted_as_rbac_names_it(cluster):
    here = {"namespace": cluster.namespace}
    made = await cluster.create(CONFIG_MAPS, {"metadata": {"name": "a"}}, **here)
    await cluster.replace(CONFIG_MAPS, "a", made | {"data": {"k": "1"}}, **here)
    await cluster.patch(CONFIG_MAPS, "a", {"data": {"k": "2"}}, patch_type=PatchType.MERGE, **here)
    found = await cluster.list(CONFIG_MAPS, **here)
    async with aclosing(cluster.watch(CONFIG_MAPS, resource_version=found.resource_version, **here)) as events:
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        await cluster.delete(CONFIG_MAPS, "a", **here)
        event = await waiting
        assert cluster.open_watches == 1
    assert event.type == "DELETED"
    assert cluster.open_watches == 0
    assert cluster.writes() == {
        (verb, "configmaps"): 1 for verb in ("create", "update", "patch", "delete")
    }  # fmt: skip
    assert cluster.reads() == {("list", "configmaps"): 1, ("watch", "configmaps"): 1}
    assert str(cluster.calls[0]) == f"create configmaps {cluster.namespace}/a"


async def test_subresources_are_counted_apart(cluster):
    recorder = RecordingCluster(cluster)
    with pytest.raises(NotFound):
        await recorder.patch(
            DEPLOYMENTS, "web", {}, patch_type=PatchType.MERGE, namespace=cluster.namespace, subresource="status"
        )
    assert recorder.calls == [Call("patch", "deployments/status", cluster.namespace, "web")]
    assert recorder.writes() == {("patch", "deployments/status"): 1}


async def test_other_requests_are_counted_by_their_path(cluster):
    assert await cluster.request("GET", "/readyz") == "ok"
    assert cluster.reads() == {("get", "/readyz"): 1}


async def test_idle_passes_when_nothing_is_asked(cluster):
    await cluster.list(CONFIG_MAPS, namespace=cluster.namespace)
    await idle(cluster, period=0.05)


async def test_idle_names_what_was_asked(cluster):
    async def spin() -> None:
        while True:
            await cluster.list(CONFIG_MAPS, namespace=cluster.namespace)

    task = asyncio.create_task(spin())
    with pytest.raises(AssertionError, match=rf"\d+ x list configmaps {cluster.namespace}"):
        await idle(cluster, period=0.1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_idle_allows_the_one_probe_of_an_engine_and_nothing_beside_it(cluster):
    async def ask(*limits: int | None) -> None:
        for limit in limits:
            await cluster.list(CONFIG_MAPS, namespace=cluster.namespace, limit=limit)

    async with asyncio.TaskGroup() as group:
        group.create_task(idle(cluster, period=0.2))
        group.create_task(ask(1))
    for limits in [(1, 1), (1, None), (2,)]:
        idling = asyncio.create_task(idle(cluster, period=0.2))
        await asyncio.sleep(0)
        await ask(*limits)
        with pytest.raises(AssertionError, match="x list configmaps"):
            await idling
