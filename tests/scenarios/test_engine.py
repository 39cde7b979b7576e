"""What an author may rely on when a reconcile function runs."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial

import pytest
from kubernetes.client.models import V1ConfigMap

from operatorkit import Condition, Context, Model, ObjectKey, Operator, Requeue, Resource, TerminalError, Watch
from operatorkit.cluster import PatchType
from operatorkit.errors import DefinitionError, NotFound
from operatorkit.names import ANNOTATION_PAUSED, ANNOTATION_RECONCILE_AT, LABEL_OWNER_UID
from operatorkit.resource import ObjectMeta, api_resource_of, write
from operatorkit.testing import eventually

CONFIG_MAPS = api_resource_of(V1ConfigMap)


class SiteSpec(Model):
    title: str = "untitled"
    pages: list[str] = []


class SiteStatus(Model):
    conditions: list[Condition] = []
    pages: int = 0


class Site(Resource[SiteSpec, SiteStatus], group="engine.example.io", version="v1"):
    """A web site."""


SITES = Site.api_resource()


def site(name: str, **spec) -> Site:
    return Site(metadata=ObjectMeta(name=name), spec=SiteSpec(**spec))


def page(name: str, text: str) -> V1ConfigMap:
    return V1ConfigMap(metadata={"name": name}, data={"text": text})


@pytest.fixture
def operator(operator, namespace):
    """Run operators in the test's own namespace: other tests leave objects of the same kinds behind."""
    return partial(operator, namespace=namespace)


def publisher(seen: list[str] | None = None) -> Operator:
    """One ConfigMap for each page, and their number in the status."""
    app = Operator("publisher")

    @app.reconcile(Site, owns=[V1ConfigMap])
    async def reconcile(obj: Site, ctx: Context) -> None:
        if seen is not None:
            seen.append(str(ctx.key))
        await ctx.apply(*(page(f"{obj.metadata.name}-{name}", obj.spec.title) for name in obj.spec.pages))
        obj.status.pages = len(obj.spec.pages)
        ctx.condition("Ready", True, "Published", f"{obj.status.pages} pages")

    return app


async def create(cluster, obj):
    return await cluster.create(api_resource_of(type(obj)), obj.write(), namespace=cluster.namespace)


async def spec(cluster, name, **changes):
    await cluster.patch(SITES, name, {"spec": changes}, patch_type=PatchType.MERGE, namespace=cluster.namespace)


async def get(cluster, resource, name):
    return await cluster.get(resource, name, namespace=cluster.namespace)


async def exists(cluster, resource, name) -> bool:
    try:
        await get(cluster, resource, name)
    except NotFound:
        return False
    return True


async def test_children_are_applied_with_owner_and_label_and_the_status_is_written_once(cluster, operator):
    async with operator(publisher()) as running:
        made = await create(cluster, site("a", title="hello", pages=["one"]))
        await running.settled()
        child = await get(cluster, CONFIG_MAPS, "a-one")
        assert child["data"] == {"text": "hello"}
        assert child["metadata"]["labels"] == {LABEL_OWNER_UID: made["metadata"]["uid"]}
        [owner] = child["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["controller"]) == ("Site", "a", True)
        status = (await get(cluster, SITES, "a"))["status"]
        assert status["pages"] == 1
        assert [(c["type"], c["status"], c["observedGeneration"]) for c in status["conditions"]] == [
            ("Ready", "True", 1)
        ]
        assert running.writes() == {("patch", "configmaps"): 1, ("patch", "sites/status"): 1}


async def test_a_child_that_was_edited_or_deleted_is_repaired(cluster, operator):
    async with operator(publisher()) as running:
        await create(cluster, site("a", title="hello", pages=["one"]))
        await running.settled()
        change = {
            "data": {"text": "tampered"},
            "metadata": {"ownerReferences": None},
        }
        await cluster.patch(
            CONFIG_MAPS,
            "a-one",
            change,
            patch_type=PatchType.MERGE,
            namespace=cluster.namespace,
            field_manager="vandal",
        )
        await running.settled()
        child = await get(cluster, CONFIG_MAPS, "a-one")
        assert child["data"] == {"text": "hello"}
        assert [owner["name"] for owner in child["metadata"]["ownerReferences"]] == ["a"]
        await cluster.delete(CONFIG_MAPS, "a-one", namespace=cluster.namespace)
        await running.settled()
        assert (await get(cluster, CONFIG_MAPS, "a-one"))["data"] == {"text": "hello"}


async def test_children_that_are_no_longer_applied_are_deleted(cluster, operator):
    async with operator(publisher()) as running:
        await create(cluster, site("a", pages=["one", "two"]))
        await running.settled()
        await spec(cluster, "a", pages=["two"])
        await running.settled()
        assert not await exists(cluster, CONFIG_MAPS, "a-one")
        assert await exists(cluster, CONFIG_MAPS, "a-two")


async def test_a_restarted_operator_writes_nothing_when_all_is_well(cluster, operator):
    async with operator(publisher()) as running:
        await create(cluster, site("a", pages=["one", "two"]))
        await running.settled()
    seen: list[str] = []
    async with operator(publisher(seen)) as running:
        await running.settled()
        assert f"{cluster.namespace}/a" in seen
        assert running.writes() == {}


async def test_its_own_status_write_does_not_enqueue_the_key(cluster, operator):
    seen: list[str] = []
    async with operator(publisher(seen)) as running:
        await create(cluster, site("a"))
        await running.settled()
        assert seen == [f"{cluster.namespace}/a"]


async def test_the_status_written_by_others_enqueues_the_key_and_is_put_right(cluster, operator):
    async with operator(publisher()) as running:
        await create(cluster, site("a"))
        await running.settled()
        wrong = {"status": {"pages": 7}}
        await cluster.patch(
            SITES, "a", wrong, patch_type=PatchType.MERGE, namespace=cluster.namespace, subresource="status"
        )
        await running.settled()
        assert (await get(cluster, SITES, "a"))["status"]["pages"] == 0


async def test_what_another_owner_made_is_left_alone_and_an_event_says_so(cluster, operator):
    not_owned = page("a-one", "mine")
    await cluster.create(CONFIG_MAPS, write(not_owned), namespace=cluster.namespace)
    async with operator(publisher()) as running:
        await create(cluster, site("a", title="yours", pages=["one"]))
        await running.settled()
        assert (await get(cluster, CONFIG_MAPS, "a-one"))["data"] == {"text": "mine"}
        [event] = await events(cluster, "ChildConflict")
        assert "was not made by publisher" in event["message"]


async def events(cluster, reason):
    from operatorkit.events import EVENTS

    found = await cluster.list(EVENTS, namespace=cluster.namespace)
    return [event for event in found.items if event["reason"] == reason]


async def test_a_terminal_error_sets_a_condition_and_an_event_and_waits_for_a_change(cluster, operator, clock):
    app, runs = Operator("strict"), []

    @app.reconcile(Site)
    async def reconcile(obj: Site, ctx: Context) -> None:
        runs.append(obj.spec.title)
        if obj.spec.title == "bad":
            raise TerminalError("choose another title than 'bad'", reason="TitleRefused")
        ctx.condition("Ready", True, "Fine")

    async with operator(app, clock=clock) as running:
        await create(cluster, site("a", title="bad"))
        await running.settled()
        await clock.advance(timedelta(hours=1))
        await running.settled()
        assert runs == ["bad"]
        [condition, stalled] = (await get(cluster, SITES, "a"))["status"]["conditions"]
        assert (condition["status"], condition["reason"]) == ("False", "TitleRefused")
        assert (stalled["type"], stalled["status"]) == ("Stalled", "True")
        [event] = await events(cluster, "TitleRefused")
        assert event["message"] == "choose another title than 'bad'"
        await spec(cluster, "a", title="good")
        await running.settled()
        assert runs == ["bad", "good"]
        [condition] = (await get(cluster, SITES, "a"))["status"]["conditions"]
        assert (condition["type"], condition["reason"]) == ("Ready", "Fine")


async def test_a_failure_is_tried_again_after_a_back_off(cluster, operator, clock):
    app, runs = Operator("flaky"), []

    @app.reconcile(Site)
    async def reconcile(obj: Site, ctx: Context) -> None:
        runs.append(ctx.clock.monotonic())
        if len(runs) < 4:
            raise RuntimeError("not yet")
        obj.status.pages = len(runs)

    async with operator(app, clock=clock) as running:
        await create(cluster, site("a"))
        for _ in range(3):
            await running.settled()
            await clock.advance(timedelta(milliseconds=30))
        await running.settled()
        assert len(runs) == 4
        assert (await get(cluster, SITES, "a"))["status"]["pages"] == 4
        [event] = await events(cluster, "ReconcileFailed")
        assert "not yet" not in event["message"]
        assert "RuntimeError" in event["message"]


async def test_requeue_runs_the_function_again_when_its_time_has_come(cluster, operator, clock):
    app, runs = Operator("patient"), []

    @app.reconcile(Site)
    async def reconcile(obj: Site, ctx: Context) -> Requeue:
        runs.append(ctx.clock.now())
        return Requeue(after=timedelta(hours=1))

    async with operator(app, clock=clock) as running:
        await create(cluster, site("a"))
        await running.settled()
        await clock.advance(timedelta(minutes=59))
        await running.settled()
        assert len(runs) == 1
        await clock.advance(timedelta(minutes=1))
        await eventually(lambda: len(runs) == 2)


async def test_requeue_at_a_moment_runs_by_the_wall_clock_though_that_was_set(cluster, operator, clock):
    app, runs = Operator("punctual"), []

    @app.reconcile(Site)
    async def reconcile(obj: Site, ctx: Context) -> Requeue:
        runs.append(ctx.clock.now())
        return Requeue(at=ctx.clock.now() + timedelta(days=30))

    async with operator(app, clock=clock) as running:
        await create(cluster, site("a"))
        await running.settled()
        await clock.advance(1)
        assert len(runs) == 1
        clock.step(timedelta(days=30))
        await clock.advance(timedelta(minutes=1))
        await eventually(lambda: len(runs) == 2)


async def test_a_key_never_runs_twice_at_once_and_no_change_is_lost(cluster, operator):
    app, running_now, most, last = Operator("careful"), set(), [0], {}

    @app.reconcile(Site, workers=8)
    async def reconcile(obj: Site, ctx: Context) -> None:
        assert ctx.key not in running_now
        running_now.add(ctx.key)
        most[0] = max(most[0], len(running_now))
        await asyncio.sleep(0)
        await ctx.api.get(SITES, ctx.key.name, namespace=ctx.key.namespace)
        running_now.discard(ctx.key)
        last[ctx.key.name] = obj.spec.title

    async with operator(app) as running:
        for name in "abc":
            await create(cluster, site(name, title="0"))
        for round_ in range(1, 6):
            for name in "abc":
                await spec(cluster, name, title=str(round_))
        await running.settled()
        assert last == dict.fromkeys("abc", "5")


async def test_a_reconcile_reads_its_own_writes(cluster, operator):
    app, counts = Operator("reader"), []

    @app.reconcile(Site, owns=[V1ConfigMap])
    async def reconcile(obj: Site, ctx: Context) -> None:
        await ctx.apply(page(f"{obj.metadata.name}-{obj.spec.title}", "text"))
        found = ctx.get(V1ConfigMap, f"{obj.metadata.name}-{obj.spec.title}")
        counts.append(found and found.data["text"])

    async with operator(app) as running:
        await create(cluster, site("a", title="x"))
        await running.settled()
        assert counts
        assert set(counts) == {"text"}


async def test_watched_kinds_enqueue_what_the_function_maps_them_to(cluster, operator):
    app, seen = Operator("mapper"), []

    def to_site(config: V1ConfigMap, reader) -> list[ObjectKey]:
        return [ObjectKey(config.metadata.namespace, name) for name in (config.data or {}).get("sites", "").split()]

    @app.reconcile(Site, watches=[Watch(V1ConfigMap, to=to_site)])
    async def reconcile(obj: Site, ctx: Context) -> None:
        config = ctx.get(V1ConfigMap, "settings")
        seen.append((ctx.key.name, config.data["theme"] if config else None))

    app.index(V1ConfigMap, "theme", lambda config: [(config.data or {}).get("theme", "")])

    async with operator(app) as running:
        await create(cluster, site("a"))
        await create(cluster, site("b"))
        await running.settled()
        settings = {"metadata": {"name": "settings"}, "data": {"sites": "a", "theme": "dark"}}
        await cluster.create(CONFIG_MAPS, settings, namespace=cluster.namespace)
        await running.settled()
        assert seen[2:] == [("a", "dark")]


async def test_reading_a_kind_that_was_not_declared_says_how_to_declare_it(cluster, operator):
    app, errors = Operator("forgetful"), []

    @app.reconcile(Site)
    async def reconcile(obj: Site, ctx: Context) -> None:
        with pytest.raises(DefinitionError) as caught:
            ctx.get(V1ConfigMap, "x")
        errors.append(str(caught.value))
        with pytest.raises(DefinitionError) as caught:
            await ctx.apply(page("x", "y"))
        errors.append(str(caught.value))

    async with operator(app) as running:
        await create(cluster, site("a"))
        await running.settled()
        assert "declare it with app.reads(V1ConfigMap)" in errors[0]
        assert "add V1ConfigMap to owns=[...]" in errors[1]


async def test_a_paused_object_is_left_alone_until_it_is_not(cluster, operator):
    async with operator(publisher()) as running:
        paused = site("a", pages=["one"])
        paused.metadata.annotations = {ANNOTATION_PAUSED: "true"}
        await create(cluster, paused)
        await running.settled()
        assert running.writes() == {}
        change = {"metadata": {"annotations": {ANNOTATION_PAUSED: None}}}
        await cluster.patch(SITES, "a", change, patch_type=PatchType.MERGE, namespace=cluster.namespace)
        await running.settled()
        assert await exists(cluster, CONFIG_MAPS, "a-one")


async def test_the_reconcile_at_annotation_enqueues_a_key_past_its_predicate(cluster, operator):
    app, runs = Operator("picky"), []

    @app.reconcile(Site, predicate=lambda old, new: False)
    async def reconcile(obj: Site, ctx: Context) -> None:
        runs.append(obj.spec.title)

    async with operator(app) as running:
        await create(cluster, site("a", title="1"))
        await running.settled()
        await spec(cluster, "a", title="2")
        await running.settled()
        assert runs == ["1"]
        change = {"metadata": {"annotations": {ANNOTATION_RECONCILE_AT: "2026-01-01T00:00:00Z"}}}
        await cluster.patch(SITES, "a", change, patch_type=PatchType.MERGE, namespace=cluster.namespace)
        await running.settled()
        assert runs == ["1", "2"]


async def test_a_finalize_function_runs_before_the_object_goes(cluster, operator):
    app, calls = Operator("cleaner"), []

    @app.reconcile(Site)
    async def reconcile(obj: Site, ctx: Context) -> None:
        calls.append("reconcile")

    @app.finalize(Site)
    async def finalize(obj: Site, ctx: Context) -> None:
        calls.append("finalize")
        ctx.condition("Ready", False, "Cleaned")

    async with operator(app) as running:
        await create(cluster, site("a"))
        await running.settled()
        assert (await get(cluster, SITES, "a"))["metadata"]["finalizers"] == ["operatorkit.dev/cleaner"]
        await cluster.delete(SITES, "a", namespace=cluster.namespace)
        await running.settled()
        assert not await exists(cluster, SITES, "a")
        assert set(calls) == {"reconcile", "finalize"}
        assert calls.count("finalize") == 1


async def test_an_object_that_cannot_be_read_gets_an_event_and_the_others_go_on(cluster, operator):
    class Strict(Model):
        title: int = 0

    class StrictSite(Resource[Strict, SiteStatus], group="engine.example.io", version="v1", kind="Site"):
        """The same kind, as a newer program would read it."""

    app, seen = Operator("reader"), []

    @app.reconcile(StrictSite)
    async def reconcile(obj: StrictSite, ctx: Context) -> None:
        seen.append(obj.metadata.name)

    async with operator(publisher()):
        pass  # its CRD says that a title is a string
    from operatorkit.testing.running import running as run

    await create(cluster, site("a", title="words"))
    await create(cluster, site("b", title="5"))
    async with run(app, cluster, namespace=cluster.namespace) as running:
        await running.settled()
        assert "b" in seen
        assert "a" not in seen
        [event] = await events(cluster, "InvalidObject")
        assert event["involvedObject"]["name"] == "a"


async def test_stopping_waits_for_the_run_that_has_begun(cluster, operator):
    app, begun, done = Operator("slow"), asyncio.Event(), []

    @app.reconcile(Site)
    async def reconcile(obj: Site, ctx: Context) -> None:
        begun.set()
        await asyncio.sleep(0.05)
        obj.status.pages = 9
        done.append(True)

    async with operator(app):
        await create(cluster, site("a"))
        await begun.wait()
    assert done == [True]
    assert (await get(cluster, SITES, "a"))["status"]["pages"] == 9
