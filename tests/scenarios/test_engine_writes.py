"""What a reconcile function writes beside applies: created children, its own object, patches, scale, and far children."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes.client.models import (
    V1ClusterRole,
    V1ConfigMap,
    V1CrossVersionObjectReference,
    V1Deployment,
    V1Job,
)

from operatorkit import Context, Model, Operator, Requeue, Resource
from operatorkit.errors import ChildConflict, Conflict, DefinitionError
from operatorkit.kinds import CLUSTER_ROLES, CONFIG_MAPS, DEPLOYMENTS, JOBS, NAMESPACES
from operatorkit.names import ANNOTATION_OWNER, ANNOTATION_PRUNE, LABEL_OWNER_UID
from operatorkit.resource import ObjectMeta
from operatorkit.testing import eventually
from operatorkit.testing.running import install_crds, remove_finalizers, running


class PlanSpec(Model):
    size: int = 1
    mode: str | None = None


class PlanStatus(Model):
    seen: list[str] = []
    reads: int = 0


class Plan(Resource[PlanSpec, PlanStatus], group="writes.example.io", version="v1"):
    """Something whose reconcile function writes."""


PLANS = Plan.api_resource()


@pytest.fixture
async def world(cluster):
    """A cluster with the definition of plans."""
    await install_crds(cluster, [Plan])
    return cluster


async def planned(cluster: Any, name: str = "a", **spec: Any) -> Any:
    plan = Plan(metadata=ObjectMeta(name=name, namespace=cluster.namespace), spec=PlanSpec(**spec))
    return await cluster.create(PLANS, plan.write(), namespace=cluster.namespace)


async def poked(cluster: Any, name: str = "a", **spec: Any) -> Any:
    return await cluster.patch(PLANS, name, {"spec": spec}, patch_type="merge", namespace=cluster.namespace)


async def names(cluster: Any, resource: Any) -> list[str]:
    found = await cluster.list(resource, namespace=cluster.namespace if resource.namespaced else None)
    return sorted(each["metadata"]["name"] for each in found.items)


def job(name: str | None = None, **metadata: Any) -> V1Job:
    meta = {"name": name, "labels": {"app": "x"}, **metadata}
    pod = {"containers": [{"name": "c", "image": "busybox"}], "restartPolicy": "Never"}
    return V1Job.from_dict({"metadata": meta, "spec": {"template": {"spec": pod}}})


async def test_a_created_child_is_kept_and_not_converged(world):
    """It stays when later runs do not name it, and what others change in it stays too; an apply beside it prunes."""
    app, runs = Operator("creator"), []

    @app.reconcile(Plan, owns=[V1Job, V1ConfigMap])
    async def reconcile(plan: Plan, ctx: Context) -> None:
        runs.append(plan.spec.size)
        if plan.spec.size < 3:
            created = await ctx.create(job(f"run-{plan.spec.size}"))
            assert created.metadata.owner_references[0].uid == plan.metadata.uid
            assert ctx.get(V1Job, f"run-{plan.spec.size}") is not None
        await ctx.apply(V1ConfigMap(metadata={"name": f"c{plan.spec.size}"}, data={"a": "b"}))

    await planned(world)
    async with running(app, world, namespace=world.namespace) as operator:
        await operator.idle()
        await world.patch(JOBS, "run-1", {"spec": {"suspend": True}}, patch_type="merge", namespace=world.namespace)
        await poked(world, size=2)
        await operator.idle()
        await poked(world, size=3)
        await operator.idle()
        assert await names(world, JOBS) == ["run-1", "run-2"]
        assert [name for name in await names(world, CONFIG_MAPS) if name.startswith("c")] == ["c3"]
        live = await world.get(JOBS, "run-1", namespace=world.namespace)
        assert live["spec"]["suspend"] is True
        assert live["metadata"]["annotations"][ANNOTATION_PRUNE] == "false"
        assert operator.writes()["create", "jobs"] == 2


async def test_what_a_run_creates_does_not_enqueue_it_again_and_generated_names_are_all_kept(world):
    app, runs = Operator("creator"), []

    @app.reconcile(Plan, owns=[V1ConfigMap])
    async def reconcile(plan: Plan, ctx: Context) -> None:
        runs.append(plan.spec.size)
        child = V1ConfigMap(metadata={"generateName": "run-", "labels": {"app": "x"}})
        created = [await ctx.create(child) for _ in range(2)]
        assert len({each.metadata.name for each in created}) == 2
        assert len(ctx.list(V1ConfigMap, labels={"app": "x"})) == 2

    await planned(world)
    async with running(app, world, namespace=world.namespace) as operator:
        await operator.idle()
        assert runs == [1]
        assert len([name for name in await names(world, CONFIG_MAPS) if name.startswith("run-")]) == 2


async def test_a_child_to_create_that_another_owner_has_is_a_conflict(world):
    app, errors = Operator("creator"), []

    @app.reconcile(Plan, owns=[V1ConfigMap])
    async def reconcile(plan: Plan, ctx: Context) -> None:
        try:
            await ctx.create(V1ConfigMap(metadata={"name": "mine"}, data={"a": "b"}))
        except ChildConflict as error:
            errors.append(str(error))

    await world.create(
        CONFIG_MAPS,
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine"}, "data": {"x": "y"}},
        namespace=world.namespace,
    )
    await planned(world)
    async with running(app, world, namespace=world.namespace) as operator:
        await operator.idle()
    assert "was not made by creator" in errors[0]


async def test_a_child_that_is_applied_without_pruning_stays_until_an_apply_names_it(world):
    app = Operator("keeper")

    @app.reconcile(Plan, owns=[V1ConfigMap])
    async def reconcile(plan: Plan, ctx: Context) -> None:
        kept = V1ConfigMap(metadata={"name": "kept"}, data={"a": "b"})
        if plan.spec.size == 1:
            await ctx.apply(kept, prune=False)
        elif plan.spec.size == 2:
            await ctx.apply(V1ConfigMap(metadata={"name": "other"}))
        elif plan.spec.size == 3:
            await ctx.apply(kept)
        else:
            await ctx.apply()

    async def there() -> list[str]:
        return [name for name in await names(world, CONFIG_MAPS) if name != "kube-root-ca.crt"]

    await planned(world)
    async with running(app, world, namespace=world.namespace) as operator:
        await operator.idle()
        assert await there() == ["kept"]
        await poked(world, size=2)
        await operator.idle()
        assert await there() == ["kept", "other"]
        await poked(world, size=3)
        await operator.idle()
        assert await there() == ["kept"]
        await poked(world, size=4)
        await operator.idle()
        assert await there() == []


def updater(runs: list[int], errors: list[str] | None = None) -> Operator:
    """Defaults the mode, and marks the object; from size 2 on, takes the mark away, and from 3 on what a user set."""
    app = Operator("updater")
    app.needs(Plan, "patch", reason="the mode is defaulted")

    @app.reconcile(Plan)
    async def reconcile(plan: Plan, ctx: Context) -> None:
        runs.append(plan.spec.size)
        if plan.spec.mode is None:
            plan.spec.mode = "fast"
        if plan.spec.size == 1:
            plan.metadata.annotations["mark"] = "yes"
        else:
            plan.metadata.annotations.pop("mark", None)
        if plan.spec.size == 3:
            plan.metadata.annotations.pop("user", None)
        try:
            await ctx.update(plan)
        except DefinitionError as error:
            if errors is None:
                raise
            errors.append(str(error))
        plan.status.seen = [plan.metadata.resource_version, str(plan.spec.mode)]

    return app


async def test_an_update_writes_what_the_run_changed_of_its_own_object_and_no_more(world):
    runs: list[int] = []
    await planned(world)
    async with running(updater(runs), world, namespace=world.namespace) as operator:
        await operator.idle()
        live = await world.get(PLANS, "a", namespace=world.namespace)
        assert live["spec"]["mode"] == "fast"
        assert live["metadata"]["annotations"] == {"mark": "yes"}
        [entry] = [e for e in live["metadata"]["managedFields"] if e["manager"] == "updater/update"]
        assert entry["fieldsV1"] == {
            "f:metadata": {"f:annotations": {"f:mark": {}}},
            "f:spec": {"f:mode": {}},
        }
        assert runs == [1]
        assert operator.writes() == {("patch", "plans"): 1, ("patch", "plans/status"): 1}
        await poked(world, size=2)
        await operator.idle()
        live = await world.get(PLANS, "a", namespace=world.namespace)
        assert "annotations" not in live["metadata"]
        assert live["spec"]["mode"] == "fast"
        assert runs == [1, 2]


async def test_an_update_that_changes_nothing_makes_no_request_after_a_restart_either(world):
    runs: list[int] = []
    await planned(world)
    async with running(updater(runs), world, namespace=world.namespace) as operator:
        await operator.idle()
    async with running(updater(runs), world, namespace=world.namespace) as operator:
        await operator.idle()
        assert operator.writes()["patch", "plans"] == 0
    assert runs == [1, 1]


async def test_an_update_cannot_remove_what_another_manager_set_and_names_it(world):
    errors: list[str] = []
    await planned(world, size=3)
    await world.patch(
        PLANS, "a", {"metadata": {"annotations": {"user": "x"}}}, patch_type="merge", namespace=world.namespace
    )
    async with running(updater([], errors), world, namespace=world.namespace) as operator:
        await operator.idle()
    assert "cannot remove metadata.annotations.user, which another field manager set: use ctx.patch" in errors[0]


async def test_an_update_never_recreates_a_deleted_object(world):
    app, outcomes = Operator("updater"), []
    app.needs(Plan, "patch", reason="a test")

    @app.reconcile(Plan)
    async def reconcile(plan: Plan, ctx: Context) -> None:
        await world.delete(PLANS, plan.metadata.name, namespace=world.namespace)
        plan.spec.mode = "late"
        try:
            await ctx.update(plan)
        except Exception as error:
            outcomes.append(type(error).__name__)
            raise

    await planned(world)
    async with running(app, world, namespace=world.namespace) as operator:
        await operator.idle()
    assert outcomes[0] in {"Conflict", "NotFound"}
    assert await names(world, PLANS) == []


async def test_what_is_not_declared_is_an_error_that_names_the_declaration(world):
    app, errors = Operator("sparse"), []

    @app.reconcile(Plan)
    async def reconcile(plan: Plan, ctx: Context) -> None:
        pod = V1ConfigMap(metadata={"name": "x", "namespace": ctx.key.namespace})
        for attempt in (
            lambda: ctx.update(plan),
            lambda: ctx.patch(pod, {"data": {"a": "b"}}),
            lambda: ctx.live.get(V1ConfigMap, "x"),
            lambda: ctx.live.list(V1ConfigMap),
            lambda: ctx.scale(V1Deployment.from_dict(deployment("x")), 2),
        ):
            try:
                await attempt()
            except DefinitionError as error:
                errors.append(str(error).rpartition("permit it: ")[2])

    await planned(world)
    async with running(app, world, namespace=world.namespace) as operator:
        await operator.idle()
    assert errors[:5] == [
        'app.needs(Plan, "patch", reason="...")',
        'app.needs(V1ConfigMap, "patch", reason="...")',
        'app.needs(V1ConfigMap, "get", reason="...")',
        'app.needs(V1ConfigMap, "list", reason="...")',
        'app.needs(V1Deployment, "get", subresource=\'scale\', reason="...")',
    ]


async def test_patches_are_seen_by_the_next_read_and_survive_the_next_apply(world):
    app, seen = Operator("patcher"), []
    app.needs(V1ConfigMap, "get", reason="a test")

    @app.reconcile(Plan, owns=[V1ConfigMap])
    async def reconcile(plan: Plan, ctx: Context) -> None:
        [child] = await ctx.apply(V1ConfigMap(metadata={"name": "c"}, data={"a": str(plan.spec.size)}))
        for body in ({"data": {"b": "merge"}}, [{"op": "add", "path": "/data/c", "value": "json"}]):
            child = await ctx.patch(child, body)
        child = await ctx.patch(child, {"data": {"d": "strategic"}}, strategic=True)
        cached, live = ctx.get(V1ConfigMap, "c"), await ctx.live.get(V1ConfigMap, "c")
        assert cached is not None
        assert live is not None
        assert cached.data == live.data == child.data
        seen.append(child.data)

    await planned(world)
    async with running(app, world, namespace=world.namespace) as operator:
        await operator.idle()
        await poked(world, size=2)
        await operator.idle()
    rest = {"b": "merge", "c": "json", "d": "strategic"}
    assert seen[0] == {"a": "1", **rest}
    assert seen[-1] == {"a": "2", **rest}


async def test_a_patch_of_an_object_that_was_recreated_is_a_conflict(world):
    app, outcomes = Operator("patcher"), []

    @app.reconcile(Plan, owns=[V1ConfigMap])
    async def reconcile(plan: Plan, ctx: Context) -> None:
        if outcomes:
            return
        [child] = await ctx.apply(V1ConfigMap(metadata={"name": "c"}))
        child.metadata.uid = "11111111-2222-3333-4444-555555555555"
        try:
            await ctx.patch(child, {"data": {"b": "c"}})
        except Conflict as error:
            outcomes.append(str(error))

    await planned(world)
    async with running(app, world, namespace=world.namespace) as operator:
        await operator.idle()
    assert "was deleted and recreated meanwhile" in outcomes[0]


def deployment(name: str) -> dict[str, Any]:
    labels = {"app": name}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "busybox"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": pod},
    }


async def test_any_kind_is_scaled_by_object_or_by_reference(world):
    app, seen = Operator("scaler"), []
    app.needs(V1Deployment, "get", "patch", subresource="scale", reason="a test")
    app.reads(V1Deployment)

    @app.reconcile(Plan)
    async def reconcile(plan: Plan, ctx: Context) -> None:
        found = ctx.get(V1Deployment, "web")
        await ctx.scale(found, 0)
        assert ctx.get(V1Deployment, "web").spec.replicas == 0
        reference = V1CrossVersionObjectReference(api_version="apps/v1", kind="Deployment", name="web")
        scale = await ctx.scale(reference, 2)
        seen.append((scale["spec"]["replicas"], (await ctx.scale(reference))["spec"]["replicas"]))

    await world.create(DEPLOYMENTS, deployment("web"), namespace=world.namespace)
    await planned(world)
    async with running(app, world, namespace=world.namespace) as operator:
        await operator.idle()
    assert seen[0] == (2, 2)


async def test_live_reads_are_typed_and_come_in_pages(world, monkeypatch):
    monkeypatch.setattr("operatorkit.live._PAGE", 2)
    app, seen = Operator("reader"), []
    app.needs(V1ConfigMap, "get", "list", reason="a test")

    @app.reconcile(Plan)
    async def reconcile(plan: Plan, ctx: Context) -> None:
        one, absent = await ctx.live.get(V1ConfigMap, "m3"), await ctx.live.get(V1ConfigMap, "none")
        found = await ctx.live.list(V1ConfigMap, namespace=ctx.key.namespace, labels={"set": "x"})
        by_field = await ctx.live.list(V1ConfigMap, fields={"metadata.name": "m1"}, namespace=ctx.key.namespace)
        seen.append((one.data, absent, [each.metadata.name for each in found], len(by_field)))

    for number in range(5):
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"m{number}", "labels": {"set": "x"}},
            "data": {"n": str(number)},
        }
        await world.create(CONFIG_MAPS, body, namespace=world.namespace)
    await planned(world)
    async with running(app, world, namespace=world.namespace) as operator:
        await operator.idle()
    assert seen[0] == ({"n": "3"}, None, ["m0", "m1", "m2", "m3", "m4"], 1)


@pytest.fixture
async def elsewhere(world):
    """A second namespace."""
    name = f"{world.namespace}-far"
    await world.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    await remove_finalizers(spreading(name), world, world.namespace)
    await world.delete(NAMESPACES, name)


def spreading(elsewhere: str) -> Operator:
    """A ConfigMap in another namespace and a ClusterRole, for sizes above 1 only the first."""
    app = Operator("spreading")

    @app.reconcile(Plan, owns_across=[V1ConfigMap, V1ClusterRole])
    async def reconcile(plan: Plan, ctx: Context) -> None:
        name = f"{ctx.key.namespace}-{plan.metadata.name}"
        far = V1ConfigMap(metadata={"name": name, "namespace": elsewhere}, data={"a": "b"})
        await ctx.apply(far, *([V1ClusterRole(metadata={"name": name})] if plan.spec.size == 1 else []))

    return app


async def test_children_in_other_namespaces_are_repaired_pruned_and_deleted_before_their_parent(world, elsewhere):
    name = f"{world.namespace}-a"
    parent = await planned(world)
    async with running(spreading(elsewhere), world) as operator:
        await operator.idle()
        far = await world.get(CONFIG_MAPS, name, namespace=elsewhere)
        assert "ownerReferences" not in far["metadata"]
        assert far["metadata"]["labels"][LABEL_OWNER_UID] == parent["metadata"]["uid"]
        mark = f"Plan.writes.example.io/{world.namespace}/a"
        assert far["metadata"]["annotations"][ANNOTATION_OWNER] == mark
        await world.delete(CONFIG_MAPS, name, namespace=elsewhere)

        async def repaired() -> bool:
            found = await world.list(CONFIG_MAPS, namespace=elsewhere)
            return name in {each["metadata"]["name"] for each in found.items}

        await eventually(repaired)
        await world.get(CLUSTER_ROLES, name)
        await poked(world, size=2)
        await operator.idle()
        assert name not in await names(world, CLUSTER_ROLES)
        await world.delete(PLANS, "a", namespace=world.namespace)
        await operator.idle()
        assert await names(world, PLANS) == []
        found = await world.list(CONFIG_MAPS, namespace=elsewhere)
        assert name not in {each["metadata"]["name"] for each in found.items}


async def test_a_child_in_a_namespace_that_the_operator_does_not_follow_is_an_error(world, elsewhere):
    await planned(world)
    errors: list[str] = []
    app = Operator("spreading")

    @app.reconcile(Plan, owns_across=[V1ConfigMap])
    async def reconcile(plan: Plan, ctx: Context) -> None:
        try:
            await ctx.apply(V1ConfigMap(metadata={"name": "x", "namespace": elsewhere}))
        except DefinitionError as error:
            errors.append(str(error))

    async with running(app, world, namespace=world.namespace) as operator:
        await operator.idle()
    assert f"run it with --namespace {elsewhere} too" in errors[0]


async def test_two_parents_do_not_share_a_child_in_another_namespace(world, elsewhere):
    app, errors = Operator("spreading"), []

    @app.reconcile(Plan, owns_across=[V1ConfigMap])
    async def reconcile(plan: Plan, ctx: Context) -> Requeue | None:
        try:
            await ctx.apply(V1ConfigMap(metadata={"name": "x", "namespace": elsewhere}))
        except ChildConflict as error:
            errors.append(str(error))
        return None

    await planned(world, "a")
    await planned(world, "b")
    async with running(app, world) as operator:
        await operator.idle()
    assert "is a child of Plan.writes.example.io/" in errors[0]


def claimer(claimed: list[list[str]]) -> Operator:
    app = Operator("claimer")

    @app.reconcile(Plan, owns=[V1ConfigMap])
    async def reconcile(plan: Plan, ctx: Context) -> None:
        found = await ctx.claim(V1ConfigMap, labels={"set": plan.metadata.name})
        claimed.append([each.metadata.name for each in found])
        await ctx.apply()

    return app


async def labelled(cluster: Any, name: str, **labels: str) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}}
    await cluster.create(CONFIG_MAPS, body, namespace=cluster.namespace)


async def test_orphans_are_adopted_and_released_by_the_selector(world):
    claimed: list[list[str]] = []
    await labelled(world, "x", set="a")
    await labelled(world, "y", set="b")
    parent = await planned(world)

    async def owners(name: str) -> list[str]:
        found = await world.get(CONFIG_MAPS, name, namespace=world.namespace)
        return [owner["uid"] for owner in found["metadata"].get("ownerReferences", [])]

    async with running(claimer(claimed), world, namespace=world.namespace) as operator:
        await operator.idle()
        assert claimed[-1] == ["x"]
        assert await owners("x") == [parent["metadata"]["uid"]]
        assert await owners("y") == []
        body = {"metadata": {"labels": {"set": "other"}}}
        await world.patch(CONFIG_MAPS, "x", body, patch_type="merge", namespace=world.namespace)
        await operator.idle()
        assert claimed[-1] == []
        assert await owners("x") == []
        assert operator.cluster.reads()["list", "plans"] >= 2  # the live read before the adoption


async def test_nothing_is_adopted_for_a_parent_that_was_replaced(world):
    claimed: list[list[str]] = []
    await labelled(world, "x", set="a")
    await planned(world)
    app, failures = Operator("claimer"), []

    @app.reconcile(Plan, owns=[V1ConfigMap])
    async def reconcile(plan: Plan, ctx: Context) -> None:
        if not failures:
            await world.delete(PLANS, "a", namespace=world.namespace)
        try:
            claimed.append([each.metadata.name for each in await ctx.claim(V1ConfigMap, labels={"set": "a"})])
        except Exception as error:
            failures.append(str(error))
            raise

    async with running(app, world, namespace=world.namespace) as operator:
        await operator.idle()
    assert "it adopts nothing" in failures[0]
    found = await world.get(CONFIG_MAPS, "x", namespace=world.namespace)
    assert "ownerReferences" not in found["metadata"]
    assert claimed == []
