"""How much of a kind's objects an operator holds: whole objects, whole children only, or metadata."""

from __future__ import annotations

import base64
import re
from functools import partial

import pytest
import pytest_asyncio
from kubernetes.client.models import CoreV1Event, V1ConfigMap, V1Namespace, V1Secret

from operatorkit import Context, Model, Operator, Resource
from operatorkit.cluster import PatchType
from operatorkit.errors import DefinitionError
from operatorkit.names import LABEL_OWNER_UID
from operatorkit.operator import Watch
from operatorkit.resource import NoStatus, ObjectMeta, api_resource_of, write
from operatorkit.testing import eventually
from operatorkit.testing.running import install_crds
from operatorkit.testing.running import running as running_everywhere

SECRETS, CONFIG_MAPS = api_resource_of(V1Secret), api_resource_of(V1ConfigMap)
HIDDEN = base64.b64encode(b"nobody's business").decode()


class VaultSpec(Model):
    secret: str = ""


class Vault(Resource[VaultSpec, NoStatus], group="contents.example.io", version="v1"):
    """Makes a Secret."""


VAULTS = Vault.api_resource()


@pytest.fixture
def operator(operator, namespace):
    return partial(operator, namespace=namespace)


@pytest_asyncio.fixture(autouse=True)
async def installed(cluster):
    await install_crds(cluster, [Vault])  # tests create one before the operator that would install it


async def make_vault(cluster, name: str, secret: str) -> None:
    obj = Vault(metadata=ObjectMeta(name=name), spec=VaultSpec(secret=secret))
    await cluster.create(VAULTS, write(obj), namespace=cluster.namespace)


async def make_secret(cluster, name: str, **metadata) -> None:
    obj = {"metadata": {"name": name, **metadata}, "data": {"key": HIDDEN}}
    await cluster.create(SECRETS, obj, namespace=cluster.namespace)


def vaults(seen: list[tuple[str, object]]) -> Operator:
    app = Operator("vaults")
    app.cache(V1Secret, contents="children")
    app.index(V1Secret, "name", lambda one: [one.metadata.name])

    def those_of(secret: V1Secret, reader) -> list:
        return [one.key for one in reader.list(Vault) if one.spec.secret == secret.metadata.name]

    @app.reconcile(Vault, owns=[V1Secret], watches=[Watch(V1Secret, to=those_of)])
    async def reconcile(vault: Vault, ctx: Context) -> None:
        found = ctx.get(V1Secret, vault.spec.secret)
        seen.append((vault.metadata.name, found and (found.data, (found.metadata.annotations or {}).get("is"))))
        await ctx.apply(V1Secret(metadata={"name": vault.spec.secret}, data={"key": HIDDEN}))

    return app


async def test_children_are_cached_whole_and_of_other_objects_the_metadata_only(cluster, operator):
    await make_secret(cluster, "foreign", annotations={"is": "foreign"})
    seen: list[tuple[str, object]] = []
    async with operator(vaults(seen)) as running:
        await make_vault(cluster, "mine", "made")
        await make_vault(cluster, "blocked", "foreign")
        await running.settled()
        assert ("blocked", (None, "foreign")) in seen  # its data was never sent
        caches = running.engine.caches
        assert HIDDEN not in str(
            caches.all(SECRETS, None, {"is": "foreign"}) + caches.indexed(SECRETS, "user:name", "foreign")
        )
        await cluster.patch(
            VAULTS,
            "mine",
            {"metadata": {"labels": {"a": "b"}}},
            patch_type=PatchType.MERGE,
            namespace=cluster.namespace,
        )
        await eventually(lambda: ("mine", ({"key": HIDDEN}, None)) in seen, message="a child read whole")
        assert {key.name for key in caches.keys(SECRETS)} >= {"made", "foreign"}
    left = await cluster.get(SECRETS, "foreign", namespace=cluster.namespace)
    assert left["data"] == {"key": HIDDEN}
    assert "ownerReferences" not in left["metadata"]


async def test_a_child_that_loses_its_label_and_data_gets_both_again(cluster, operator):
    async with operator(vaults([])) as running:
        await make_vault(cluster, "mine", "made")
        await running.settled()
        spoilt = {"metadata": {"labels": {LABEL_OWNER_UID: None}}, "data": {"key": "AAAA"}}
        await cluster.patch(SECRETS, "made", spoilt, patch_type=PatchType.MERGE, namespace=cluster.namespace)

        async def mended() -> bool:
            made = await cluster.get(SECRETS, "made", namespace=cluster.namespace)
            return made["data"]["key"] == HIDDEN and LABEL_OWNER_UID in (made["metadata"].get("labels") or {})

        await eventually(mended)
        await running.settled()


async def test_changes_of_metadata_enqueue_where_metadata_is_all_that_is_cached(cluster, operator):
    app, seen = Operator("metadata"), []
    app.cache(V1ConfigMap, contents="metadata")

    @app.reconcile(
        Vault, watches=[Watch(V1ConfigMap, to=lambda one, reader: [each.key for each in reader.list(Vault)])]
    )
    async def reconcile(vault: Vault, ctx: Context) -> None:
        found = ctx.list(V1ConfigMap, namespace=ctx.key.namespace, labels={"for": "test"})
        seen.extend((one.metadata.labels["step"], one.data, one.kind) for one in found)

    async with operator(app) as running:
        await make_vault(cluster, "a", "b")
        body = {"metadata": {"name": "config", "labels": {"for": "test", "step": "1"}}, "data": {"large": "text"}}
        await cluster.create(CONFIG_MAPS, body, namespace=cluster.namespace)
        await eventually(lambda: ("1", None, "ConfigMap") in seen)
        body = {"metadata": {"labels": {"step": "2"}}}
        await cluster.patch(CONFIG_MAPS, "config", body, patch_type=PatchType.MERGE, namespace=cluster.namespace)
        await eventually(lambda: ("2", None, "ConfigMap") in seen)
        await cluster.delete(CONFIG_MAPS, "config", namespace=cluster.namespace)
        await running.settled()
    assert {data for _, data, _ in seen} == {None}


def test_a_kind_that_needs_more_than_metadata_cannot_be_cached_so():
    app = Operator("needy")
    with pytest.raises(DefinitionError, match=r"cache\(CoreV1Event, contents='metadata'\).*cache whole"):
        app.cache(CoreV1Event, contents="metadata")
    reconciling = vaults([])
    with pytest.raises(DefinitionError, match="Vault is reconciled, which needs whole objects"):
        reconciling.cache(Vault, contents="metadata")
    with pytest.raises(DefinitionError, match="use one of 'objects', 'children', 'metadata'"):
        app.cache(V1Secret, contents="none")  # type: ignore[arg-type]


async def test_secrets_that_are_only_owned_are_cached_as_children_unless_asked_otherwise(cluster, operator):
    await make_secret(cluster, "foreign")
    for ask, data in ((lambda app: None, None), (lambda app: app.reads(V1Secret), {"key": HIDDEN})):
        app, seen = Operator("vaults"), []
        ask(app)

        @app.reconcile(Vault, owns=[V1Secret])
        async def reconcile(vault: Vault, ctx: Context) -> None:
            await ctx.apply(V1Secret(metadata={"name": "mine"}, data={"key": HIDDEN}))
            seen.append((ctx.get(V1Secret, "foreign").data, ctx.get(V1Secret, "mine").data))  # noqa: B023

        async with operator(app) as running:
            if not await vaults_there(cluster):
                await make_vault(cluster, "a", "x")
            await running.idle()
        assert seen[-1] == (data, {"key": HIDDEN})


async def vaults_there(cluster) -> bool:
    return bool((await cluster.list(VAULTS, namespace=cluster.namespace)).items)


def filtered(**chosen) -> tuple[Operator, list[list[str]]]:
    app, seen = Operator("filtered"), []
    app.cache(V1ConfigMap, **chosen)

    @app.reconcile(Vault, watches=[Watch(V1ConfigMap, to=lambda one, reader: [v.key for v in reader.list(Vault)])])
    async def reconcile(vault: Vault, ctx: Context) -> None:
        seen.append([each.metadata.name for each in ctx.list(V1ConfigMap)])

    return app, seen


async def make_config_map(cluster, name: str, **labels: str) -> None:
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}}
    await cluster.create(CONFIG_MAPS, obj, namespace=cluster.namespace)


async def test_only_objects_with_the_labels_are_cached_and_one_that_loses_them_is_deleted_there(cluster, operator):
    for name, team in (("a", "x"), ("b", "y"), ("c", "x")):
        await make_config_map(cluster, name, team=team)
    await make_vault(cluster, "v", "x")
    app, seen = filtered(labels={"team": "x"})
    async with operator(app) as running:
        await running.idle()
        assert seen[-1] == ["a", "c"]
        for name, team in (("a", "y"), ("b", "x")):
            body = {"metadata": {"labels": {"team": team}}}
            await cluster.patch(CONFIG_MAPS, name, body, patch_type=PatchType.MERGE, namespace=cluster.namespace)
        await running.idle()
        assert seen[-1] == ["b", "c"]


async def test_only_objects_whose_fields_have_the_values_are_cached(cluster, operator):
    for name in ("a", "b"):
        await make_config_map(cluster, name)
    await make_vault(cluster, "v", "x")
    app, seen = filtered(fields={"metadata.name": "b"}, contents="metadata")
    async with operator(app) as running:
        await running.idle()
        assert seen[-1] == ["b"]


async def test_one_kind_is_cached_of_one_namespace_while_others_are_of_all(cluster):
    await make_config_map(cluster, "a")
    await make_vault(cluster, "v", "x")
    app, seen = filtered(namespace=cluster.namespace)
    async with running_everywhere(app, cluster) as running:
        await running.idle()
        assert "a" in seen[-1]
        assert running.engine.caches.all(CONFIG_MAPS, "kube-system", None) == []


@pytest.mark.parametrize(
    ("kind", "chosen", "message"),
    [
        (V1ConfigMap, {"labels": {"a,b": "c"}}, "a selector has no blanks"),
        (V1ConfigMap, {"namespace": "No Name"}, "namespace='No Name': the name must"),
        (V1Namespace, {"namespace": "a"}, "the kind is cluster-scoped"),
        (V1ConfigMap, {}, "say contents=, labels=, fields= or namespace="),
    ],
)
def test_a_filter_that_cannot_select_is_an_error(kind, chosen, message):
    with pytest.raises(DefinitionError, match=re.escape(message)):
        Operator("x").cache(kind, **chosen)
