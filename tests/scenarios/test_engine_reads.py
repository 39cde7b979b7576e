"""Reads from the caches are never older than the operator's own writes, whichever way it has written."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes.client.models import V1ConfigMap, V1Deployment

from operatorkit import Context, Model, Operator, Requeue, Resource
from operatorkit.cluster import PatchType
from operatorkit.resource import NoStatus, api_resource_of
from operatorkit.testing import eventually


class NoteSpec(Model):
    text: str = ""


class Note(Resource[NoteSpec, NoStatus], group="reads.example.io", version="v1"):
    """Something to reconcile."""


NOTES = Note.api_resource()
CONFIG_MAPS, DEPLOYMENTS = api_resource_of(V1ConfigMap), api_resource_of(V1Deployment)


async def create(cluster, name):
    note = {"apiVersion": "reads.example.io/v1", "kind": "Note", "metadata": {"name": name}, "spec": {}}
    await cluster.create(NOTES, note, namespace=cluster.namespace)


def config_map(**metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"k": "1"}}


async def run_once(cluster, operator, body, *kinds):
    """Call `body` in one run of a reconcile function that reads `kinds`, and return what it returns."""
    app, results = Operator("reader"), []
    for kind in kinds or (V1ConfigMap,):
        app.reads(kind)

    @app.reconcile(Note)
    async def reconcile(note: Note, ctx: Context) -> None:
        if not results:
            results.append(await body(ctx))

    async with operator(app, namespace=cluster.namespace):
        await create(cluster, "n")
        await eventually(lambda: results)
    return results[0]


async def test_what_was_created_through_the_api_is_not_created_again_in_the_next_run(cluster, operator):
    app, made = Operator("maker"), []
    app.reads(V1ConfigMap)

    @app.reconcile(Note)
    async def reconcile(note: Note, ctx: Context) -> Requeue | None:
        if any(
            each.metadata.name.startswith(f"{note.metadata.name}-")
            for each in ctx.list(V1ConfigMap, namespace=cluster.namespace)
        ):
            return None
        made.append(
            await ctx.api.create(
                CONFIG_MAPS, config_map(generateName=f"{note.metadata.name}-"), namespace=cluster.namespace
            )
        )
        return Requeue()

    async with operator(app, namespace=cluster.namespace) as running:
        for number in range(10):
            await create(cluster, f"x{number}")
        await running.settled()
        assert len(made) == 10


WAYS = {
    "merge": {"body": {"data": {"k": "2"}}, "patch_type": PatchType.MERGE},
    "json": {"body": [{"op": "replace", "path": "/data/k", "value": "2"}], "patch_type": PatchType.JSON},
    "apply": {
        "body": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"k": "2"}},
        "patch_type": PatchType.APPLY,
        "field_manager": "other",
        "force": True,
    },
}


@pytest.mark.parametrize("way", [*WAYS, "replace", "request"])
async def test_what_was_changed_through_the_api_is_read_as_it_is_now(cluster, operator, way):
    await cluster.create(CONFIG_MAPS, config_map(name="c"), namespace=cluster.namespace)

    async def body(ctx):
        where = {"namespace": cluster.namespace}
        if way == "replace":
            await ctx.api.replace(CONFIG_MAPS, "c", config_map(name="c") | {"data": {"k": "2"}}, **where)
        elif way == "request":
            path = CONFIG_MAPS.path("c", namespace=cluster.namespace)
            await ctx.api.request("PUT", path, body=config_map(name="c") | {"data": {"k": "2"}})
        else:
            await ctx.api.patch(CONFIG_MAPS, "c", **WAYS[way], **where)
        return ctx.get(V1ConfigMap, "c").data

    assert await run_once(cluster, operator, body) == {"k": "2"}


async def test_a_dry_run_through_the_api_is_not_read(cluster, operator):
    async def body(ctx):
        await ctx.api.create(CONFIG_MAPS, config_map(name="c"), namespace=cluster.namespace, dry_run=True)
        return ctx.get(V1ConfigMap, "c")

    assert await run_once(cluster, operator, body) is None


async def test_a_scale_through_the_api_is_read_in_the_object(cluster, operator):
    labels = {"app": "d"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": pod}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}
    await cluster.create(DEPLOYMENTS, deployment, namespace=cluster.namespace)

    async def body(ctx):
        await ctx.api.patch(
            DEPLOYMENTS,
            "d",
            {"spec": {"replicas": 2}},
            patch_type=PatchType.MERGE,
            namespace=cluster.namespace,
            subresource="scale",
        )
        return ctx.get(V1Deployment, "d").spec.replicas

    assert await run_once(cluster, operator, body, V1Deployment) == 2


@pytest.mark.parametrize("way", ["context", "api"])
async def test_what_was_deleted_is_not_read_any_more(cluster, operator, way):
    await cluster.create(CONFIG_MAPS, config_map(name="c"), namespace=cluster.namespace)

    async def body(ctx):
        found = ctx.get(V1ConfigMap, "c")
        if way == "context":
            await ctx.delete(found)
            await ctx.delete(found)  # it is fine that it is gone
        else:
            await ctx.api.delete(CONFIG_MAPS, "c", namespace=cluster.namespace)
        names = [each.metadata.name for each in ctx.list(V1ConfigMap, namespace=cluster.namespace)]
        after = ctx.get(V1ConfigMap, "c")
        await ctx.api.create(CONFIG_MAPS, config_map(name="c"), namespace=cluster.namespace)
        return "c" in names, after, ctx.get(V1ConfigMap, "c").metadata.uid != found.metadata.uid

    assert await run_once(cluster, operator, body) == (False, None, True)


async def test_what_waits_for_a_finalizer_is_still_read_and_says_that_it_is_deleted(cluster, operator):
    await cluster.create(CONFIG_MAPS, config_map(name="c", finalizers=["x.io/y"]), namespace=cluster.namespace)

    async def body(ctx):
        await ctx.delete(ctx.get(V1ConfigMap, "c"))
        found = ctx.get(V1ConfigMap, "c")
        await ctx.api.patch(
            CONFIG_MAPS,
            "c",
            {"metadata": {"finalizers": None}},
            patch_type=PatchType.MERGE,
            namespace=cluster.namespace,
        )
        return found.metadata.deletion_timestamp is not None

    assert await run_once(cluster, operator, body)
