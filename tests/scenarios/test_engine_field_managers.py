"""Children that an earlier operator made by create and update, or a person by client-side apply, are taken over whole."""

from __future__ import annotations

from functools import partial

import pytest
from kubernetes.client.models import V1ConfigMap

from operatorkit import Context, Model, Operator, Resource, Settings
from operatorkit.cluster import PatchType
from operatorkit.names import LABEL_OWNER_UID
from operatorkit.resource import NoStatus, ObjectMeta, api_resource_of
from operatorkit.testing.running import install_crds

CONFIG_MAPS = api_resource_of(V1ConfigMap)
CLIENT_SIDE = "kubectl-client-side-apply"


class ShopSpec(Model):
    size: int = 1


class Shop(Resource[ShopSpec, NoStatus], group="managers.example.io", version="v1"):
    """What once belonged to another operator."""


SHOPS = Shop.api_resource()


@pytest.fixture
def operator(operator, namespace):
    """Run operators in the test's own namespace: other tests leave objects of the same kinds behind."""
    return partial(operator, namespace=namespace)


def keeper(*former: str) -> Operator:
    app = Operator("keeper", settings=Settings(former_field_managers=former))

    @app.reconcile(Shop, owns=[V1ConfigMap])
    async def reconcile(shop: Shop, ctx: Context) -> None:
        await ctx.apply(V1ConfigMap(metadata={"name": "child"}, data={"kept": str(shop.spec.size)}))

    return app


async def left_behind(cluster, manager: str) -> None:
    """Create a parent, and its child as another program would have."""
    await install_crds(cluster, [Shop])
    parent = await cluster.create(SHOPS, Shop(metadata=ObjectMeta(name="a")).write(), namespace=cluster.namespace)
    owner = {"apiVersion": SHOPS.api_version, "kind": "Shop", "name": "a", "uid": parent["metadata"]["uid"]}
    meta = {
        "name": "child",
        "labels": {"stale": "x"},
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
        "finalizers": ["example.io/keep"],
        "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
    }
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"kept": "0", "stale": "1"}}
    await cluster.create(CONFIG_MAPS, body, namespace=cluster.namespace, field_manager=manager)


async def child(cluster) -> dict:
    return await cluster.get(CONFIG_MAPS, "child", namespace=cluster.namespace)


def managers(obj) -> set[tuple[str, str]]:
    return {(entry["manager"], entry["operation"]) for entry in obj["metadata"]["managedFields"]}


@pytest.mark.parametrize(
    ("manager", "former"), [(CLIENT_SIDE, ()), ("keeper", ()), ("old-operator", ("kopf", "old-operator"))]
)
async def test_what_a_former_manager_set_goes_when_it_is_not_applied(cluster, operator, manager, former):
    await left_behind(cluster, manager)
    async with operator(keeper(*former)) as running:
        await running.settled()
        found = await child(cluster)
        assert found["data"] == {"kept": "1"}
        assert set(found["metadata"]["labels"]) == {LABEL_OWNER_UID}
        assert not found["metadata"].get("annotations")
        assert found["metadata"]["finalizers"] == ["example.io/keep"], "a finalizer is never taken off by the way"
        assert managers(found) == {("keeper", "Apply"), (manager, "Update")}
        assert running.writes() == {("patch", "configmaps"): 2}

        running.cluster.forget()
        change = {"spec": {"size": 2}}
        await cluster.patch(SHOPS, "a", change, patch_type=PatchType.MERGE, namespace=cluster.namespace)
        await running.settled()
        assert (await child(cluster))["data"] == {"kept": "2"}
        assert running.writes() == {("patch", "configmaps"): 1}, "it is handed over once"
        await cluster.patch(
            CONFIG_MAPS,
            "child",
            {"metadata": {"finalizers": None}},
            patch_type=PatchType.MERGE,
            namespace=cluster.namespace,
        )


async def test_what_any_other_manager_set_stays(cluster, operator):
    await left_behind(cluster, "somebody")
    async with operator(keeper()) as running:
        await running.settled()
        found = await child(cluster)
        assert found["data"] == {"kept": "1", "stale": "1"}
        assert running.writes() == {("patch", "configmaps"): 1}


async def test_a_child_that_changes_while_its_fields_are_handed_over_is_handed_over_as_it_is_then(cluster):
    """Another program writes between the read and the patch, which then conflicts; the key runs again."""
    from operatorkit.testing.running import running as run

    class Between:
        """A cluster in which somebody writes just before the first JSON patch."""

        def __init__(self, api) -> None:
            self.api, self.met = api, False

        def __getattr__(self, name):
            return getattr(self.api, name)

        async def patch(self, resource, name, body, **options):
            if options["patch_type"] is PatchType.JSON and not self.met:
                self.met = True
                change = {"data": {"theirs": "1"}}
                await self.api.patch(
                    resource,
                    name,
                    change,
                    patch_type=PatchType.MERGE,
                    namespace=options["namespace"],
                    field_manager="somebody",
                )
            return await self.api.patch(resource, name, body, **options)

    await left_behind(cluster, CLIENT_SIDE)
    between = Between(cluster)
    async with run(keeper(), between, namespace=cluster.namespace) as running:
        await running.settled()
        assert between.met
        assert (await child(cluster))["data"] == {"kept": "1", "theirs": "1"}
