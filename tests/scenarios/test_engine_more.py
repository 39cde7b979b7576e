"""What an author may rely on when a reconcile function runs: reads, clusters of kinds, time limits, and the end."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from functools import partial

import pytest
from kubernetes.client.models import V1ConfigMap, V1Secret

from operatorkit import Condition, Context, Model, Operator, Requeue, Resource, Settings, TerminalError
from operatorkit._runtime import Engine
from operatorkit.cluster import PatchType
from operatorkit.errors import DefinitionError, NotFound
from operatorkit.events import EVENTS
from operatorkit.names import LABEL_OWNER_UID
from operatorkit.operator import generation_changed
from operatorkit.resource import NoStatus, ObjectMeta, api_resource_of, write
from operatorkit.testing import eventually
from operatorkit.testing.cluster import idle

CONFIG_MAPS, SECRETS = api_resource_of(V1ConfigMap), api_resource_of(V1Secret)


class TeamSpec(Model):
    namespace: str = ""
    size: int = 1


class TeamStatus(Model):
    conditions: list[Condition] = []
    seen: list[str] = []


class Team(Resource[TeamSpec, TeamStatus], group="more.example.io", version="v1"):
    """A team."""


class Org(Resource[TeamSpec, NoStatus], group="more.example.io", version="v1", scope="Cluster"):
    """A cluster-scoped kind."""


TEAMS, ORGS = Team.api_resource(), Org.api_resource()


@pytest.fixture
def operator(operator, namespace):
    """Run operators in the test's own namespace: other tests leave objects of the same kinds behind."""
    return partial(operator, namespace=namespace)


async def create(cluster, obj):
    resource = api_resource_of(type(obj))
    return await cluster.create(resource, write(obj), namespace=cluster.namespace if resource.namespaced else None)


def team(name: str, **spec) -> Team:
    return Team(metadata=ObjectMeta(name=name), spec=TeamSpec(**spec))


def config(name: str, labels: dict[str, str] | None = None, **data: str) -> V1ConfigMap:
    return V1ConfigMap(metadata={"name": name, "labels": labels or {}}, data=data)


async def test_lists_are_found_by_namespace_label_and_index_and_are_copies(cluster, operator):
    app, seen = Operator("reader"), {}
    app.index(V1ConfigMap, "colour", lambda obj: [(obj.data or {}).get("colour", "none")])

    @app.reconcile(Team)
    async def reconcile(obj: Team, ctx: Context) -> None:
        def names(**query):
            return [found.metadata.name for found in ctx.list(V1ConfigMap, namespace=ctx.key.namespace, **query)]

        seen["red"] = names(index=("colour", "red"))
        seen["b"] = names(labels={"part": "b"})
        seen["red b"] = names(index=("colour", "red"), labels={"part": "b"})
        ctx.get(V1ConfigMap, "one").data["colour"] = "spoilt"
        seen["copy"] = ctx.get(V1ConfigMap, "one").data["colour"]
        assert ctx.get(V1ConfigMap, "nowhere") is None
        with pytest.raises(DefinitionError, match=r"app\.index\(V1ConfigMap, 'size', function\)"):
            ctx.list(V1ConfigMap, index=("size", "1"))

    async with operator(app) as running:
        await create(cluster, config("two", {"part": "b"}, colour="red"))
        await create(cluster, config("one", {"part": "a"}, colour="red"))
        await create(cluster, config("three", {"part": "b"}, colour="blue"))
        await running.settled()
        await create(cluster, team("a"))
        await running.settled()
        assert seen == {"red": ["one", "two"], "b": ["three", "two"], "red b": ["two"], "copy": "red"}


async def test_a_cluster_scoped_parent_may_have_children_in_a_namespace(cluster, operator):
    app = Operator("org")

    @app.reconcile(Org, owns=[V1ConfigMap])
    async def reconcile(obj: Org, ctx: Context) -> None:
        with pytest.raises(DefinitionError, match="V1ConfigMap of-org is looked up without a namespace"):
            ctx.get(V1ConfigMap, "of-org")
        if obj.spec.namespace == cluster.namespace:
            await ctx.apply(V1ConfigMap(metadata={"name": "of-org", "namespace": obj.spec.namespace}, data={"a": "b"}))

    name = f"org-{cluster.namespace}"
    async with operator(app) as running:
        made = await create(cluster, Org(metadata=ObjectMeta(name=name), spec=TeamSpec(namespace=cluster.namespace)))
        await running.settled()
        child = await cluster.get(CONFIG_MAPS, "of-org", namespace=cluster.namespace)
        assert child["metadata"]["labels"][LABEL_OWNER_UID] == made["metadata"]["uid"]
        await cluster.delete(CONFIG_MAPS, "of-org", namespace=cluster.namespace)
        await running.settled()
        assert await cluster.get(CONFIG_MAPS, "of-org", namespace=cluster.namespace)
        await cluster.delete(ORGS, name)


async def test_a_kind_of_kubernetes_itself_can_be_reconciled(cluster, operator):
    app = Operator("mirror")

    @app.reconcile(V1Secret, owns=[V1ConfigMap])
    async def reconcile(secret: V1Secret, ctx: Context) -> None:
        if (secret.metadata.labels or {}).get("mirror"):
            await ctx.apply(config(f"{secret.metadata.name}-keys", keys=" ".join(sorted(secret.data or {}))))

    async with operator(app) as running:
        labels = {"name": "s", "labels": {"mirror": "yes"}}
        await create(cluster, V1Secret(metadata=labels, data={"x": "eA==", "y": "eQ=="}))
        await running.settled()
        assert (await cluster.get(CONFIG_MAPS, "s-keys", namespace=cluster.namespace))["data"] == {"keys": "x y"}


async def test_deleting_checks_that_it_is_still_the_same_object(cluster, operator):
    app, old = Operator("deleter"), []

    @app.reconcile(Team, owns=[V1ConfigMap])
    async def reconcile(obj: Team, ctx: Context) -> None:
        for found in old:
            await ctx.delete(found)
            await ctx.delete(found)

    stale = config("kept", a="1")
    stale.metadata.uid, stale.metadata.namespace = "00000000-0000-0000-0000-000000000000", cluster.namespace
    old.append(stale)
    await create(cluster, config("kept", a="2"))
    async with operator(app) as running:
        await create(cluster, team("a"))
        await running.settled()
        assert (await cluster.get(CONFIG_MAPS, "kept", namespace=cluster.namespace))["data"] == {"a": "2"}
        old[:] = [V1ConfigMap(metadata={"name": "kept", "namespace": cluster.namespace})]
        await cluster.patch(TEAMS, "a", {"spec": {"size": 2}}, patch_type=PatchType.MERGE, namespace=cluster.namespace)
        await running.settled()
        with pytest.raises(NotFound):
            await cluster.get(CONFIG_MAPS, "kept", namespace=cluster.namespace)


async def test_a_run_that_takes_too_long_is_cancelled_and_tried_again(cluster, operator):
    app, runs = Operator("sleeper", settings=Settings(reconcile_timeout=timedelta(seconds=0.05))), []

    @app.reconcile(Team)
    async def reconcile(obj: Team, ctx: Context) -> None:
        runs.append(1)
        if len(runs) == 1:
            await asyncio.Event().wait()
        obj.status.seen = ["again"]

    async with operator(app) as running:
        await create(cluster, team("a"))
        await eventually(lambda: len(runs) >= 2)
        await running.settled()
        events = (await cluster.list(EVENTS, namespace=cluster.namespace)).items
        warnings = [event for event in events if event["type"] == "Warning"]
        assert ["did not return within 0.05 s" in event["message"] for event in warnings] == [True]
        assert (await cluster.get(TEAMS, "a", namespace=cluster.namespace))["status"]["seen"] == ["again"]


async def test_a_function_that_always_wants_to_run_at_once_is_slowed_down(cluster, operator, clock):
    app, runs = Operator("eager"), []

    @app.reconcile(Team)
    async def reconcile(obj: Team, ctx: Context) -> Requeue:
        runs.append(1)
        return Requeue()

    async with operator(app, clock=clock) as running:
        await create(cluster, team("a"))
        await running.settled()
        assert len(runs) == 6
        await clock.advance(timedelta(milliseconds=6))
        await eventually(lambda: len(runs) == 7)


async def test_a_resync_looks_at_every_key_again(cluster, operator, clock):
    app, runs = Operator("watchful", settings=Settings(resync=timedelta(hours=1))), Counter()

    @app.reconcile(Team)
    async def reconcile(obj: Team, ctx: Context) -> None:
        runs[ctx.key.name] += 1

    async with operator(app, clock=clock) as running:
        for name in "ab":
            await create(cluster, team(name))
        await running.settled()
        await clock.advance(timedelta(hours=1))
        await eventually(lambda: runs == {"a": 2, "b": 2})


async def test_a_resync_leaves_out_what_waits_for_a_change(cluster, operator, clock):
    app, runs = Operator("strict", settings=Settings(resync=timedelta(hours=1))), Counter()

    @app.reconcile(Team)
    async def reconcile(obj: Team, ctx: Context) -> None:
        runs[ctx.key.name] += 1
        if ctx.key.name == "bad":
            raise TerminalError("rename it")

    async with operator(app, clock=clock) as running:
        for name in ("bad", "good"):
            await create(cluster, team(name))
        await running.settled()
        await clock.advance(timedelta(hours=1))
        await eventually(lambda: runs["good"] == 2)
        await running.settled()
        assert runs["bad"] == 1


async def test_what_the_predicate_leaves_out_does_not_enqueue_the_key_but_a_deletion_does(cluster, operator):
    app, runs = Operator("careful"), []

    @app.reconcile(Team, predicate=generation_changed)
    async def reconcile(obj: Team, ctx: Context) -> None:
        runs.append(obj.spec.size)

    async with operator(app) as running:
        await create(cluster, team("a"))
        await running.settled()
        labelled, resized = {"metadata": {"labels": {"a": "b"}}}, {"spec": {"size": 2}}
        for change in (labelled, resized):
            await cluster.patch(TEAMS, "a", change, patch_type=PatchType.MERGE, namespace=cluster.namespace)
            await running.settled()
        assert runs == [1, 2]


async def test_the_error_of_a_function_that_returns_something_else_says_what_to_return(cluster, operator):
    app = Operator("wrong")

    @app.reconcile(Team)
    async def reconcile(obj: Team, ctx: Context) -> Requeue | None:
        return timedelta(seconds=5)  # type: ignore[return-value]

    async with operator(app):
        await create(cluster, team("a"))

        async def event() -> str:
            [found] = (await cluster.list(EVENTS, namespace=cluster.namespace)).items
            return found["message"]

        assert await eventually(event_or_none(event)) == (
            "the reconcile function returned timedelta: return None, or Requeue(after=...)"
        )


def event_or_none(read):
    async def attempt():
        try:
            return await read()
        except ValueError:
            return None

    return attempt


async def test_the_status_said_before_a_failure_is_written_too(cluster, operator):
    app = Operator("honest")

    @app.reconcile(Team)
    async def reconcile(obj: Team, ctx: Context) -> None:
        ctx.condition("Ready", False, "Broken", "it is broken")
        raise RuntimeError("broken")

    async with operator(app):
        await create(cluster, team("a"))

        async def reason():
            obj = await cluster.get(TEAMS, "a", namespace=cluster.namespace)
            return [c["reason"] for c in obj.get("status", {}).get("conditions", [])] == ["Broken"]

        await eventually(reason)


async def test_two_operators_keep_their_own_conditions_and_fields_of_one_status(cluster, operator):
    def keeper(name: str) -> Operator:
        app = Operator(name)

        @app.reconcile(Team)
        async def reconcile(obj: Team, ctx: Context) -> None:
            ctx.condition(name, obj.spec.size < 3, "Counted", f"{obj.spec.size}")
            if name == "zed":
                obj.status.seen = [str(obj.spec.size)]

        return app

    def owners(obj) -> dict[str, set[str]]:
        entries = [entry for entry in obj["metadata"]["managedFields"] if entry.get("subresource") == "status"]
        fields = {entry["manager"]: entry["fieldsV1"]["f:status"] for entry in entries}
        return {manager: {*owned, *owned["f:conditions"]} for manager, owned in fields.items()}

    async with operator(keeper("alpha")) as first, operator(keeper("zed")) as second:
        await create(cluster, team("a"))
        for size in (1, 2, 3):
            change = {"spec": {"size": size}}
            await cluster.patch(TEAMS, "a", change, patch_type=PatchType.MERGE, namespace=cluster.namespace)
            for running in (first, second, first, second):
                await running.settled()
        obj = await cluster.get(TEAMS, "a", namespace=cluster.namespace)
        assert {c["type"]: (c["status"], c["message"]) for c in obj["status"]["conditions"]} == {
            "alpha": ("False", "3"),
            "zed": ("False", "3"),
        }
        assert obj["status"]["seen"] == ["3"]
        assert owners(obj) == {
            "alpha": {"f:conditions", 'k:{"type":"alpha"}'},
            "zed": {"f:conditions", 'k:{"type":"zed"}', "f:seen"},
        }


async def test_an_idle_operator_makes_no_request_but_its_open_watches(cluster, operator):
    app = Operator("quiet")

    @app.reconcile(Team, owns=[V1ConfigMap, V1Secret])
    async def reconcile(obj: Team, ctx: Context) -> Requeue:
        await ctx.apply(config("c", size=str(obj.spec.size)), V1Secret(metadata={"name": "s"}, string_data={"a": "b"}))
        return Requeue(after=timedelta(hours=1))

    async with operator(app) as running:
        await create(cluster, team("a"))
        await running.settled()
        await idle(running.cluster, period=1)
        ready = {("patch", "teams/status"): 1}
        assert running.writes() == {("patch", "configmaps"): 1, ("patch", "secrets"): 1} | ready


@pytest.mark.parametrize("after", [0, 1, 3, 10, 30, 100])
async def test_an_engine_that_is_cancelled_at_any_moment_leaves_no_task_behind(cluster, operator, after):
    app = Operator("mortal")

    @app.reconcile(Team, owns=[V1ConfigMap])
    async def reconcile(obj: Team, ctx: Context) -> None:
        await ctx.apply(config("c"))

    async with operator(app):
        await create(cluster, team("a"))
    before = asyncio.all_tasks()
    running = asyncio.create_task(Engine(app, cluster, namespace=cluster.namespace).run())
    for _ in range(after):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait({running})
    await eventually(lambda: asyncio.all_tasks() - before == set())  # the connections' own tasks end with them


async def test_an_engine_that_is_stopped_before_it_is_ready_ends_at_once(cluster, operator):
    async with operator(Operator("nothing")):
        pass
    engine = Engine(Operator("nothing"), cluster)
    engine.stop()
    await asyncio.wait_for(engine.run(), 60)
