from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from operatorkit.clock import SYSTEM_CLOCK
from operatorkit.cluster import Informer, LiveCluster
from operatorkit.cluster.api import PatchType
from operatorkit.controlplane.controllers import Controllers
from operatorkit.controlplane.controllers.inventory import Inventory
from operatorkit.errors import Forbidden, NotFound
from operatorkit.names import ApiResource
from operatorkit.testing.polling import eventually

CONFIG_MAPS = ApiResource("", "v1", "ConfigMap", "configmaps", namespaced=True)
SECRETS = ApiResource("", "v1", "Secret", "secrets", namespaced=True)
ACCOUNTS = ApiResource("", "v1", "ServiceAccount", "serviceaccounts", namespaced=True)
NAMESPACES = ApiResource("", "v1", "Namespace", "namespaces", namespaced=False)
_numbers = itertools.count(1)


@pytest.fixture
async def controllers(api: LiveCluster) -> AsyncIterator[Controllers]:
    async with Controllers(api, ca_pem=b"-----BEGIN") as running:
        yield running


@pytest.fixture
async def namespace(api: LiveCluster) -> str:
    name = f"controllers-{next(_numbers)}"
    await api.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


async def _make(
    api: LiveCluster, namespace: str, name: str, *owners: dict[str, Any], blocks: bool = False, **metadata: Any
) -> dict[str, Any]:
    references = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "blockOwnerDeletion": blocks,
        }
        for owner in owners
    ]
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, **({"ownerReferences": references} if references else {}), **metadata},
    }
    return await api.create(CONFIG_MAPS, body, namespace=namespace)


async def _names(api: LiveCluster, namespace: str) -> set[str]:
    listed = await api.list(CONFIG_MAPS, namespace=namespace)
    return {one["metadata"]["name"] for one in listed.items} - {"kube-root-ca.crt"}


async def _gone(api: LiveCluster, namespace: str, *names: str) -> None:
    async def check() -> bool:
        return not set(names) & await _names(api, namespace)

    await eventually(check, message=f"{names} are still there")


@pytest.mark.usefixtures("controllers")
async def test_dependents_follow_their_owner_over_all_generations(api: LiveCluster, namespace: str) -> None:
    parent = await _make(api, namespace, "parent")
    child = await _make(api, namespace, "child", parent)
    await _make(api, namespace, "grandchild", child)
    await _make(api, namespace, "bystander")

    await api.delete(CONFIG_MAPS, "parent", namespace=namespace)

    await _gone(api, namespace, "parent", "child", "grandchild")
    assert await _names(api, namespace) == {"bystander"}


@pytest.mark.usefixtures("controllers")
async def test_a_dependent_of_two_stays_with_the_one_that_is_left(api: LiveCluster, namespace: str) -> None:
    first, second = await _make(api, namespace, "first"), await _make(api, namespace, "second")
    await _make(api, namespace, "child", first, second)

    await api.delete(CONFIG_MAPS, "first", namespace=namespace)

    async def references() -> bool:
        child = await api.get(CONFIG_MAPS, "child", namespace=namespace)
        return [one["name"] for one in child["metadata"]["ownerReferences"]] == ["second"]

    await eventually(references)


@pytest.mark.usefixtures("controllers")
async def test_foreground_deletion_ends_with_the_owner(api: LiveCluster, namespace: str) -> None:
    parent = await _make(api, namespace, "parent")
    await _make(api, namespace, "child", parent, blocks=True, finalizers=["example.com/hold"])

    await api.delete(CONFIG_MAPS, "parent", namespace=namespace, propagation="Foreground")

    async def child_is_going() -> bool:
        child = await api.get(CONFIG_MAPS, "child", namespace=namespace)
        return "deletionTimestamp" in child["metadata"]

    await eventually(child_is_going)
    held = await api.get(CONFIG_MAPS, "parent", namespace=namespace)
    assert held["metadata"]["finalizers"] == ["foregroundDeletion"]
    lifted = {"metadata": {"finalizers": None}}
    await api.patch(CONFIG_MAPS, "child", lifted, patch_type=PatchType.MERGE, namespace=namespace)
    await _gone(api, namespace, "parent", "child")


@pytest.mark.usefixtures("controllers")
async def test_foreground_deletion_does_not_wait_for_dependents_that_do_not_block(
    api: LiveCluster, namespace: str
) -> None:
    parent = await _make(api, namespace, "parent")
    await _make(api, namespace, "child", parent, finalizers=["example.com/hold"])

    await api.delete(CONFIG_MAPS, "parent", namespace=namespace, propagation="Foreground")

    await _gone(api, namespace, "parent")
    lifted = {"metadata": {"finalizers": None}}
    await api.patch(CONFIG_MAPS, "child", lifted, patch_type=PatchType.MERGE, namespace=namespace)
    await _gone(api, namespace, "child")


@pytest.mark.usefixtures("controllers")
async def test_owners_in_a_circle_can_be_deleted_in_the_foreground(api: LiveCluster, namespace: str) -> None:
    first = await _make(api, namespace, "first")
    second = await _make(api, namespace, "second", first, blocks=True)
    circle = {"apiVersion": "v1", "kind": "ConfigMap", "name": "second", "uid": second["metadata"]["uid"]}
    closed = {"metadata": {"ownerReferences": [{**circle, "blockOwnerDeletion": True}]}}
    await api.patch(CONFIG_MAPS, "first", closed, patch_type=PatchType.MERGE, namespace=namespace)

    await api.delete(CONFIG_MAPS, "first", namespace=namespace, propagation="Foreground")

    await _gone(api, namespace, "first", "second")


async def test_orphans_stay_without_a_reference(api: LiveCluster, namespace: str, controllers: Controllers) -> None:
    parent = await _make(api, namespace, "parent")
    await _make(api, namespace, "child", parent)

    await api.delete(CONFIG_MAPS, "parent", namespace=namespace, propagation="Orphan")

    await _gone(api, namespace, "parent")
    await controllers.idle()
    child = await api.get(CONFIG_MAPS, "child", namespace=namespace)
    assert "ownerReferences" not in child["metadata"]


@pytest.mark.usefixtures("controllers")
async def test_a_reference_to_an_owner_that_was_recreated_holds_nothing(api: LiveCluster, namespace: str) -> None:
    parent = await _make(api, namespace, "parent")
    parent["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000"
    await _make(api, namespace, "child", parent)

    await _gone(api, namespace, "child")
    assert await _names(api, namespace) == {"parent"}


@pytest.mark.usefixtures("controllers")
async def test_a_reference_across_namespaces_holds_nothing(api: LiveCluster, namespace: str) -> None:
    parent = await _make(api, "default", f"parent-of-{namespace}")
    await _make(api, namespace, "child", parent)

    await _gone(api, namespace, "child")


async def test_a_reference_to_a_kind_that_is_not_served_deletes_nothing(
    api: LiveCluster, namespace: str, controllers: Controllers
) -> None:
    reference = {"apiVersion": "nobody.io/v1", "kind": "Ghost", "name": "x", "uid": "1"}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "child", "ownerReferences": [reference]}}
    await api.create(CONFIG_MAPS, body, namespace=namespace)
    parent = await _make(api, namespace, "parent")
    await _make(api, namespace, "marker", parent)
    await api.delete(CONFIG_MAPS, "parent", namespace=namespace)

    await _gone(api, namespace, "marker")
    await controllers.idle()

    assert await _names(api, namespace) == {"child"}


async def test_what_was_left_behind_while_no_collector_ran_is_collected(api: LiveCluster, namespace: str) -> None:
    parent = await _make(api, namespace, "parent")
    await _make(api, namespace, "child", parent)
    await api.delete(CONFIG_MAPS, "parent", namespace=namespace)
    assert await _names(api, namespace) == {"child"}

    async with Controllers(api):
        await _gone(api, namespace, "child")


@pytest.mark.usefixtures("controllers")
async def test_dependents_of_a_custom_resource_go_with_it(api: LiveCluster, namespace: str) -> None:
    crds = ApiResource(
        "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
    )
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    group = f"{namespace}.example.com"
    await api.create(
        crds,
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"widgets.{group}"},
            "spec": {
                "group": group,
                "scope": "Namespaced",
                "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
                "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
            },
        },
    )
    widgets = ApiResource(group, "v1", "Widget", "widgets", namespaced=True)

    async def make() -> dict[str, Any]:
        body = {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "parent"}}
        return await api.create(widgets, body, namespace=namespace)

    parent = await eventually(make)
    reference = {
        "apiVersion": f"{group}/v1",
        "kind": "Widget",
        "name": "parent",
        "uid": parent["metadata"]["uid"],
    }
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "child", "ownerReferences": [reference]}}
    await api.create(CONFIG_MAPS, body, namespace=namespace)

    await api.delete(widgets, "parent", namespace=namespace)

    await _gone(api, namespace, "child")


@pytest.mark.usefixtures("controllers")
async def test_every_namespace_gets_its_account_and_the_authority(api: LiveCluster, namespace: str) -> None:
    async def bundle() -> dict[str, Any]:
        await api.get(ACCOUNTS, "default", namespace=namespace)
        return await api.get(CONFIG_MAPS, "kube-root-ca.crt", namespace=namespace)

    assert (await eventually(bundle))["data"] == {"ca.crt": "-----BEGIN"}

    await api.delete(ACCOUNTS, "default", namespace=namespace)
    tampered = {"data": {"ca.crt": "other"}}
    await api.patch(CONFIG_MAPS, "kube-root-ca.crt", tampered, patch_type=PatchType.MERGE, namespace=namespace)

    async def mended() -> bool:
        return (await bundle())["data"] == {"ca.crt": "-----BEGIN"}

    await eventually(mended)


@pytest.mark.usefixtures("controllers")
async def test_a_deleted_namespace_is_emptied_and_goes(api: LiveCluster, namespace: str) -> None:
    await _make(api, namespace, "one")
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "two"}}
    await api.create(SECRETS, secret, namespace=namespace)

    await api.delete(NAMESPACES, namespace)

    async def gone() -> bool:
        try:
            await api.get(NAMESPACES, namespace)
        except NotFound:
            return True
        return False

    await eventually(gone)
    assert await _names(api, namespace) == set()
    assert (await api.list(SECRETS, namespace=namespace)).items == []


@pytest.mark.usefixtures("controllers")
async def test_a_namespace_that_is_held_says_by_what(api: LiveCluster, namespace: str) -> None:
    await _make(api, namespace, "held", finalizers=["example.com/hold"])

    await api.delete(NAMESPACES, namespace)

    async def said() -> dict[str, tuple[str, str, str]]:
        held = await api.get(NAMESPACES, namespace)
        assert held["status"]["phase"] == "Terminating"
        return {
            one["type"]: (one["status"], one["reason"], one["message"])
            for one in held["status"].get("conditions", [])
            if one["status"] == "True"
        }

    async def settled() -> bool:
        return await said() == {
            "NamespaceContentRemaining": (
                "True",
                "SomeResourcesRemain",
                "Some resources are remaining: configmaps. has 1 resource instances",
            ),
            "NamespaceFinalizersRemaining": (
                "True",
                "SomeFinalizersRemain",
                "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances",
            ),
        }

    await eventually(settled)
    with pytest.raises(Forbidden, match="because it is being terminated"):
        await _make(api, namespace, "late")
    lifted = {"metadata": {"finalizers": None}}
    await api.patch(CONFIG_MAPS, "held", lifted, patch_type=PatchType.MERGE, namespace=namespace)

    async def gone() -> bool:
        try:
            await api.get(NAMESPACES, namespace)
        except NotFound:
            return True
        return False

    await eventually(gone)


async def test_an_inventory_that_is_stopped_while_it_drops_a_kind_ends(api: LiveCluster) -> None:
    """The end of the dropped informer must not pass for the end of the worker that waits for it."""
    inventory = Inventory(api, pace=SYSTEM_CLOCK)
    begun, release = asyncio.Event(), asyncio.Event()

    async def slow_to_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            begun.set()
            await release.wait()

    inventory._informers[CONFIG_MAPS] = Informer(api, CONFIG_MAPS, clock=SYSTEM_CLOCK)
    inventory._tasks[CONFIG_MAPS] = asyncio.create_task(slow_to_end())
    await asyncio.sleep(0)
    worker = asyncio.create_task(inventory._drop(CONFIG_MAPS))
    await begun.wait()
    worker.cancel()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await worker
