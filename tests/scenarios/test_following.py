"""Informers on live API servers: what a cache promises, kept over TLS, paging, selectors, refusals and restarts."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest

from operatorkit import errors
from operatorkit.clock import SYSTEM_CLOCK
from operatorkit.cluster import ClusterConfig, Credentials, Informer, LiveCluster, PatchType, load_config
from operatorkit.cluster import informer as informer_module
from operatorkit.names import ApiResource, ObjectKey
from operatorkit.testing import eventually

CONFIG_MAPS = ApiResource("", "v1", "ConfigMap", "configmaps", namespaced=True)
ROLE_BINDINGS = ApiResource("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings", namespaced=True)
CRDS = ApiResource(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)


def own(objects):
    """Leave out the ConfigMap that a controller manager puts into each namespace."""
    return [obj for obj in objects if obj["metadata"]["name"] != "kube-root-ca.crt"]


@asynccontextmanager
async def following(api, resource=CONFIG_MAPS, **options):
    informer = Informer(api, resource, clock=SYSTEM_CLOCK, **options)
    informer.changes = []
    informer.subscribe(
        lambda change: (
            None if change.key.name == "kube-root-ca.crt" else informer.changes.append((change.type, change.key.name))
        )
    )
    task = asyncio.create_task(informer.run())
    try:
        yield informer
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_cache_follows_creation_change_and_deletion(cluster, config_map):
    namespace = cluster.namespace
    await cluster.create(CONFIG_MAPS, config_map("a", {"k": "1"}), namespace=namespace)
    async with following(cluster, namespace=namespace) as informer:
        await informer.synced()
        await cluster.create(CONFIG_MAPS, config_map("b", labels={"x": "y"}), namespace=namespace)
        changed = await cluster.patch(
            CONFIG_MAPS, "a", {"data": {"k": "2"}}, patch_type=PatchType.MERGE, namespace=namespace
        )
        await informer.wait_for(changed["metadata"]["resourceVersion"])
        assert informer.cache.get(ObjectKey(namespace, "a"))["data"] == {"k": "2"}
        assert informer.cache.keys(labels={"x": "y"}) == [ObjectKey(namespace, "b")]
        await cluster.delete(CONFIG_MAPS, "a", namespace=namespace)
        await eventually(lambda: ObjectKey(namespace, "a") not in informer.cache)
    assert informer.changes == [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "a")]


async def test_our_own_write_is_read_at_once_and_reported_once(cluster, config_map):
    namespace = cluster.namespace
    async with following(cluster, namespace=namespace) as informer:
        await informer.synced()
        for value in ("1", "2", "3"):
            written = await cluster.patch(
                CONFIG_MAPS, "a", config_map("a", {"k": value}),
                patch_type=PatchType.APPLY, namespace=namespace, field_manager="me",
            )  # fmt: skip
            informer.put(written)
            assert informer.cache.get(ObjectKey(namespace, "a"))["data"] == {"k": value}
        await informer.wait_for(written["metadata"]["resourceVersion"])
    assert informer.changes == [("ADDED", "a"), ("MODIFIED", "a"), ("MODIFIED", "a")]


async def test_a_list_in_pages_misses_nothing(cluster, config_map, monkeypatch):
    monkeypatch.setattr(informer_module, "_PAGE", 5)
    for number in range(13):
        await cluster.create(CONFIG_MAPS, config_map(f"c{number:02}"), namespace=cluster.namespace)
    async with following(cluster, namespace=cluster.namespace) as informer:
        await informer.synced()
        names = [obj["metadata"]["name"] for obj in own(informer.cache.list())]
        assert names == [f"c{number:02}" for number in range(13)]


async def test_an_object_that_leaves_the_selector_leaves_the_cache(cluster, config_map):
    namespace = cluster.namespace
    await cluster.create(CONFIG_MAPS, config_map("a", labels={"app": "x"}), namespace=namespace)
    await cluster.create(CONFIG_MAPS, config_map("b"), namespace=namespace)
    async with following(cluster, namespace=namespace, label_selector="app=x") as informer:
        await informer.synced()
        assert informer.cache.keys() == [ObjectKey(namespace, "a")]
        await cluster.patch(
            CONFIG_MAPS, "a", {"metadata": {"labels": {"app": "y"}}}, patch_type=PatchType.MERGE, namespace=namespace
        )
        await eventually(lambda: not informer.cache.keys())
    assert informer.changes == [("ADDED", "a"), ("DELETED", "a")]


async def test_one_object_can_be_followed_by_its_name(cluster, config_map):
    namespace = cluster.namespace
    async with following(cluster, namespace=namespace, field_selector="metadata.name=a") as informer:
        await informer.synced()
        await cluster.create(CONFIG_MAPS, config_map("b"), namespace=namespace)
        await cluster.create(CONFIG_MAPS, config_map("a"), namespace=namespace)
        await eventually(lambda: informer.cache.keys() == [ObjectKey(namespace, "a")])


async def test_an_object_near_the_limit_of_size_comes_through_the_watch(cluster, config_map):
    namespace = cluster.namespace
    async with following(cluster, namespace=namespace) as informer:
        await informer.synced()
        big = {f"k{number}": "ä" * 100_000 for number in range(5)}
        await cluster.create(CONFIG_MAPS, config_map("big", big), namespace=namespace)
        await eventually(lambda: ObjectKey(namespace, "big") in informer.cache)
        assert informer.cache.get(ObjectKey(namespace, "big"))["data"] == big


async def test_a_burst_of_changes_ends_in_the_last_state(cluster, config_map):
    namespace = cluster.namespace
    async with following(cluster, namespace=namespace) as informer:
        await informer.synced()
        await asyncio.gather(
            *(cluster.create(CONFIG_MAPS, config_map(f"c{number}"), namespace=namespace) for number in range(20))
        )
        last = None
        for number in range(100):
            last = await cluster.patch(
                CONFIG_MAPS, f"c{number % 20}", {"data": {"n": str(number)}},
                patch_type=PatchType.MERGE, namespace=namespace,
            )  # fmt: skip
        await informer.wait_for(last["metadata"]["resourceVersion"])
        listed = await cluster.list(CONFIG_MAPS, namespace=namespace)
        cached = {obj["metadata"]["name"]: obj["metadata"]["resourceVersion"] for obj in informer.cache.list()}
        assert cached == {obj["metadata"]["name"]: obj["metadata"]["resourceVersion"] for obj in listed.items}
    assert sorted(informer.changes).count(("MODIFIED", "c7")) == 5


async def test_a_kind_that_is_served_later_is_followed_then(cluster):
    group = f"{cluster.namespace}.example.io"
    things = ApiResource(group, "v1", "Thing", "things", namespaced=True)
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": things.qualified},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "things", "kind": "Thing"},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
            ],
        },
    }
    async with following(cluster, things) as informer:
        await eventually(lambda: isinstance(informer.error, errors.NoKindMatch))
        assert f"does not serve things.{group}" in str(informer.error)
        await cluster.create(CRDS, crd)
        try:
            await asyncio.wait_for(informer.synced(), 60)
            assert informer.error is None
        finally:
            await cluster.delete(CRDS, things.qualified)


async def test_a_missing_permission_is_named_and_its_arrival_is_noticed(cluster, user, config_map):
    namespace = cluster.namespace
    async with LiveCluster(load_config(user.kubeconfig)) as api, following(api, namespace=namespace) as informer:
        await eventually(lambda: isinstance(informer.error, errors.Forbidden))
        assert str(informer.error) == (
            f'configmaps is forbidden: User "{user.name}" cannot list resource "configmaps" in API group "" in the'
            f' namespace "{namespace}"'
        )
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "reader"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user.name}],
        }
        await cluster.create(ROLE_BINDINGS, binding, namespace=namespace)
        await asyncio.wait_for(informer.synced(), 60)
        assert informer.error is None


async def test_every_error_of_a_write_says_what_the_server_said(cluster, config_map):
    namespace = cluster.namespace
    made = await cluster.create(CONFIG_MAPS, config_map("a", {"k": "1"}), namespace=namespace, field_manager="me")
    with pytest.raises(errors.AlreadyExists, match='configmaps "a" already exists'):
        await cluster.create(CONFIG_MAPS, config_map("a"), namespace=namespace)
    with pytest.raises(errors.NotFound, match='configmaps "b" not found'):
        await cluster.get(CONFIG_MAPS, "b", namespace=namespace)
    with pytest.raises(errors.Invalid) as invalid:
        await cluster.create(CONFIG_MAPS, config_map("Not_a_name"), namespace=namespace)
    assert [cause.field for cause in invalid.value.causes] == ["metadata.name"]
    with pytest.raises(errors.FieldManagerConflict) as conflict:
        await cluster.patch(
            CONFIG_MAPS, "a", config_map("a", {"k": "2"}),
            patch_type=PatchType.APPLY, namespace=namespace, field_manager="you",
        )  # fmt: skip
    assert [cause.field for cause in conflict.value.causes] == [".data.k"]
    await cluster.patch(CONFIG_MAPS, "a", {"data": {"k": "3"}}, patch_type=PatchType.MERGE, namespace=namespace)
    with pytest.raises(errors.Conflict, match="the object has been modified"):
        await cluster.replace(CONFIG_MAPS, "a", made, namespace=namespace)
    with pytest.raises(errors.Conflict, match="UID in the precondition"):
        await cluster.delete(CONFIG_MAPS, "a", namespace=namespace, uid="00000000-0000-0000-0000-000000000000")
    with pytest.raises(errors.TooLarge):
        await cluster.create(CONFIG_MAPS, config_map("b", {"k": "x" * 4_000_000}), namespace=namespace)
    with pytest.raises(errors.NoKindMatch, match=r"group 'nowhere\.example\.io'; that group is not"):
        await cluster.resolve("nowhere.example.io", "Thing")


async def test_a_server_that_restarts_with_nothing_left_is_followed_from_its_new_beginning(config_map, free_port):
    from operatorkit.controlplane.embedded import EmbeddedServer

    token = ""

    def credentials():
        return (("Authorization", f"Bearer {token}"),), None

    async with EmbeddedServer(tls=False, port=free_port) as first:
        token = first.token
        config = ClusterConfig(server=first.url, credentials=Credentials(credentials()[0], credentials))
        api = await LiveCluster(config).__aenter__()
        for number in range(30):
            await api.create(CONFIG_MAPS, config_map(f"c{number}"), namespace="default")
        watching = following(api, namespace="default")
        informer = await watching.__aenter__()
        await informer.synced()
    try:
        await eventually(lambda: isinstance(informer.error, errors.Unreachable))
        await eventually(lambda: "connection refused" in str(informer.error))
        async with EmbeddedServer(tls=False, port=free_port) as second:
            token = second.token
            await api.create(CONFIG_MAPS, config_map("fresh"), namespace="default")
            await eventually(lambda: [obj["metadata"]["name"] for obj in own(informer.cache.list())] == ["fresh"])
            assert informer.error is None
            assert informer.changes.count(("DELETED", "c7")) == 1
            await watching.__aexit__(None, None, None)
            await api.__aexit__(None, None, None)
    finally:
        await api.__aexit__(None, None, None)
