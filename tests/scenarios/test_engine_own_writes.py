"""Whether the watch's echo of the engine's own writes wakes a key again: never for nothing, always when something else
came between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from kubernetes.client.models import V1ConfigMap

from operatorkit import Context, Model, ObjectKey, Operator, Requeue, Resource
from operatorkit.clock import SystemClock
from operatorkit.cluster import PatchType
from operatorkit.errors import Gone, NotFound, Unreachable
from operatorkit.operator import generation_changed
from operatorkit.resource import ObjectMeta, api_resource_of
from operatorkit.testing import eventually
from operatorkit.testing.running import install_crds, running

CONFIG_MAPS = api_resource_of(V1ConfigMap)


class NoteSpec(Model):
    text: str = ""


class NoteStatus(Model):
    text: str = ""
    others: str = ""


class Note(Resource[NoteSpec, NoteStatus], group="echoes.example.io", version="v1"):
    """A text, and a ConfigMap with it."""


NOTES = Note.api_resource()
Write = Callable[[], Awaitable[Any]]


class Hasty(SystemClock):
    """A clock by which watches that fail are opened again twenty times sooner."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / 20)


class Between:
    """A cluster in which things happen while a write is under way: `step`, once, carries it out as it likes.

    While not `heard`, watches hold back what they have, and then say that it is lost: the informers must list. While
    not `quick`, they hold it back and deliver it later.
    """

    def __init__(self, api: Any) -> None:
        self.api = api
        self.step: Callable[[Write], Awaitable[Any]] | None = None
        self.heard = asyncio.Event()
        self.heard.set()
        self.quick = asyncio.Event()
        self.quick.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.api, name)

    async def patch(self, resource: Any, name: str, body: Any, **options: Any) -> Any:
        async def write() -> Any:
            return await self.api.patch(resource, name, body, **options)

        step, self.step = self.step, None
        return await (write() if step is None else step(write))

    async def watch(self, resource: Any, **options: Any) -> Any:
        async for event in self.api.watch(resource, **options):
            if not self.heard.is_set():
                await self.heard.wait()
                raise Gone("the history that you want is no longer kept")
            await self.quick.wait()
            yield event


@pytest.fixture
async def world(cluster):
    """A cluster of which the test can disturb the writes, with the definition of notes."""
    await install_crds(cluster, [Note])
    return Between(cluster)


@pytest.fixture
def run(cluster, world):
    """Run an operator in the test's own namespace."""
    return lambda app: running(app, world, namespace=cluster.namespace, network_clock=Hasty())


def copier(
    runs: list[str], *, look: bool = False, ask: bool = False, status: bool = False, enqueue: bool = True
) -> Operator:
    """Put the text into a ConfigMap or into the status; look at ConfigMaps, or ask the cluster, before."""
    app = Operator("copier")

    @app.reconcile(Note, owns=[] if status else [V1ConfigMap])
    async def reconcile(note: Note, ctx: Context) -> None:
        runs.append(note.spec.text)
        if status:
            note.status.text = note.spec.text
            return
        if look:
            found = ctx.list(V1ConfigMap, namespace=ctx.key.namespace)
            note.status.others = str(len([one for one in found if one.metadata.name == "a"]))
        if ask:
            try:
                await ctx.api.get(CONFIG_MAPS, "a", namespace=ctx.key.namespace)
                note.status.others = "there"
            except NotFound:
                note.status.others = "absent"
        await ctx.apply(
            V1ConfigMap(metadata={"name": note.metadata.name}, data={"text": note.spec.text}), enqueue=enqueue
        )

    return app


async def create(cluster: Any) -> None:
    await cluster.create(
        NOTES, Note(metadata=ObjectMeta(name="a"), spec=NoteSpec(text="one")).write(), namespace=cluster.namespace
    )


async def change(cluster: Any, resource: Any, body: Any, **options: Any) -> Any:
    return await cluster.patch(resource, "a", body, patch_type=PatchType.MERGE, namespace=cluster.namespace, **options)


async def content(cluster: Any, resource: Any, part: str) -> Any:
    return (await cluster.get(resource, "a", namespace=cluster.namespace)).get(part)


def echoed(engine: Any, resource: Any, version: str) -> Awaitable[None]:
    """Return when the watch is past a version."""
    return engine.caches._kinds[resource].informer.wait_for(version)


async def test_a_child_that_is_made_does_not_enqueue_its_parent(cluster, run):
    runs: list[str] = []
    async with run(copier(runs)) as operator:
        await create(cluster)
        await operator.settled()
        assert runs == ["one"]


async def test_not_even_when_the_event_comes_before_the_response(cluster, world, run):
    runs: list[str] = []
    async with run(copier(runs)) as operator:

        async def late(write: Write) -> Any:
            answer = await write()
            await echoed(operator.engine, CONFIG_MAPS, answer["metadata"]["resourceVersion"])
            return answer

        world.step = late
        await create(cluster)
        await operator.settled()
        assert runs == ["one"]


@pytest.mark.parametrize("early", [True, False], ids=["before the answer", "after the answer"])
async def test_what_others_do_to_a_child_while_it_is_made_enqueues_its_parent(cluster, world, run, early):
    runs: list[str] = []
    async with run(copier(runs)) as operator:

        async def defaced(write: Write) -> Any:
            answer = await write()
            not_owned = await change(cluster, CONFIG_MAPS, {"data": {"text": "!"}})
            if early:
                await echoed(operator.engine, CONFIG_MAPS, not_owned["metadata"]["resourceVersion"])
            return answer

        world.step = defaced
        await create(cluster)
        await operator.settled()
        assert await content(cluster, CONFIG_MAPS, "data") == {"text": "one"}
        assert runs[1:], "it ran again"


async def test_a_child_that_is_deleted_while_it_is_made_is_made_again(cluster, world, run):
    async with run(copier([])) as operator:

        async def burnt(write: Write) -> Any:
            answer = await write()
            await cluster.delete(CONFIG_MAPS, "a", namespace=cluster.namespace)
            return answer

        world.step = burnt
        await create(cluster)
        await operator.settled()
        assert await content(cluster, CONFIG_MAPS, "data") == {"text": "one"}


async def test_what_others_do_to_a_child_behind_a_gap_of_the_watch_enqueues_its_parent(cluster, world, run):
    async with run(copier([])) as operator:

        async def unheard(write: Write) -> Any:
            world.heard.clear()
            answer = await write()
            await change(cluster, CONFIG_MAPS, {"data": {"text": "!"}})
            return answer

        world.step = unheard
        await create(cluster)
        await eventually(lambda: content(cluster, CONFIG_MAPS, "data"))
        await asyncio.wait_for(operator.engine.controllers[0].queue.wait_idle(), 20)
        world.heard.set()
        await operator.settled()
        assert await content(cluster, CONFIG_MAPS, "data") == {"text": "one"}


async def test_a_child_that_comes_and_goes_behind_a_gap_of_the_watch_is_made_again(cluster, world, run):
    """Nobody was told of it: the operator knows it from the answer alone."""
    async with run(copier([])) as operator:
        informer = operator.engine.caches._kinds[CONFIG_MAPS].informer

        async def unheard(write: Write) -> Any:
            world.heard.clear()
            answer = await write()
            await cluster.delete(CONFIG_MAPS, "a", namespace=cluster.namespace)
            return answer

        world.step = unheard
        await create(cluster)
        await eventually(lambda: ObjectKey(cluster.namespace, "a") in informer.cache)
        await asyncio.wait_for(operator.engine.controllers[0].queue.wait_idle(), 20)
        world.heard.set()
        await eventually(lambda: content(cluster, CONFIG_MAPS, "data"))
        await operator.settled()
        assert await content(cluster, CONFIG_MAPS, "data") == {"text": "one"}


async def test_a_child_that_lost_the_marks_of_its_owner_behind_a_gap_of_the_watch_gets_them_back(cluster, world, run):
    """What a list shows of it names no owner any more; the operator's own write did, and that is not passed over."""
    async with run(copier([])) as operator:
        informer = operator.engine.caches._kinds[CONFIG_MAPS].informer
        marks = {"ownerReferences": None, "labels": None}

        async def unheard(write: Write) -> Any:
            world.heard.clear()
            answer = await write()
            await change(cluster, CONFIG_MAPS, {"metadata": marks})
            return answer

        world.step = unheard
        await create(cluster)
        await eventually(lambda: ObjectKey(cluster.namespace, "a") in informer.cache)
        await asyncio.wait_for(operator.engine.controllers[0].queue.wait_idle(), 60)
        world.heard.set()
        await eventually(lambda: not informer.cache._ahead)
        await operator.settled()
        assert (await content(cluster, CONFIG_MAPS, "metadata"))["ownerReferences"], "it has its marks again"


@pytest.mark.parametrize(
    ("how", "seen"), [({"look": True}, "1"), ({"ask": True}, "there")], ids=["in the cache", "in the cluster"]
)
async def test_a_run_that_looked_before_it_applied_runs_again_and_sees_its_child(cluster, run, how, seen):
    async with run(copier([], **how)) as operator:
        await create(cluster)
        await operator.settled()
        assert (await content(cluster, NOTES, "status"))["others"] == seen


@pytest.mark.parametrize("how", [{"look": True}, {"ask": True}])
async def test_a_run_that_looked_and_says_that_its_own_write_need_not_enqueue_it_does_not_run_again(cluster, run, how):
    runs: list[str] = []
    async with run(copier(runs, enqueue=False, **how)) as operator:
        await create(cluster)
        await operator.settled()
        assert runs == ["one"]
        await change(cluster, CONFIG_MAPS, {"data": {"text": "spoilt"}})
        await eventually(lambda: len(runs) > 1)  # what others do wakes it all the same
        await operator.settled()
        assert await content(cluster, CONFIG_MAPS, "data") == {"text": "one"}


async def test_a_change_behind_a_gap_of_the_watch_is_not_taken_for_an_own_write_of_a_status(cluster, world, run):
    """The status is written on top of a spec that the run has not read, and a list brings both at once."""
    runs: list[str] = []
    async with run(copier(runs, status=True)) as operator:

        async def overtaken(write: Write) -> Any:
            world.heard.clear()
            await change(cluster, NOTES, {"spec": {"text": "two"}})
            return await write()

        world.step = overtaken
        await create(cluster)
        await eventually(lambda: content(cluster, NOTES, "status"))
        await asyncio.wait_for(operator.engine.controllers[0].queue.wait_idle(), 20)
        world.heard.set()
        await operator.settled()
        assert runs == ["one", "two"]
        assert (await content(cluster, NOTES, "status"))["text"] == "two"


async def test_a_status_that_others_wrote_behind_a_gap_of_the_watch_is_seen(cluster, world, run):
    """A list brings it together with the operator's own write on top of it: no more than that could tell them apart."""
    app, seen = Operator("listener"), []

    @app.reconcile(Note)
    async def reconcile(note: Note, ctx: Context) -> None:
        seen.append(note.status.others)
        note.status.text = note.spec.text

    async with run(app) as operator:

        async def overtaken(write: Write) -> Any:
            world.heard.clear()
            await change(cluster, NOTES, {"status": {"others": "x"}}, subresource="status")
            return await write()

        world.step = overtaken
        await create(cluster)
        await eventually(lambda: content(cluster, NOTES, "status"))
        await asyncio.wait_for(operator.engine.controllers[0].queue.wait_idle(), 60)
        world.heard.set()
        await operator.settled()
        assert seen == ["", "x"]


async def test_an_object_that_was_recreated_behind_a_gap_of_the_watch_is_reconciled_past_any_predicate(
    cluster, world, run
):
    """Nothing but its uid may tell it from the one before it: its generation is 1 again."""
    app, runs = Operator("anew"), []

    @app.reconcile(Note, predicate=generation_changed)
    async def reconcile(note: Note, ctx: Context) -> None:
        runs.append(note.spec.text)

    async with run(app) as operator:
        await create(cluster)
        await operator.settled()
        world.heard.clear()
        await cluster.delete(NOTES, "a", namespace=cluster.namespace)
        await cluster.create(
            NOTES, Note(metadata=ObjectMeta(name="a"), spec=NoteSpec(text="two")).write(), namespace=cluster.namespace
        )
        world.heard.set()
        await operator.settled()
        assert runs == ["one", "two"]


async def test_the_status_of_an_object_that_was_recreated_meanwhile_is_no_failure(cluster, world, run, caplog):
    runs: list[str] = []
    async with run(copier(runs, status=True)) as operator:

        async def replaced(write: Write) -> Any:
            await cluster.delete(NOTES, "a", namespace=cluster.namespace)
            again = Note(metadata=ObjectMeta(name="a"), spec=NoteSpec(text="two"))
            await cluster.create(NOTES, again.write(), namespace=cluster.namespace)
            return await write()

        world.step = replaced
        await create(cluster)
        await operator.settled()
        assert runs[0] == "one"
        assert runs[-1] == "two"
        assert (await content(cluster, NOTES, "status"))["text"] == "two"
    assert "reconcile failed" not in caplog.text


async def test_a_status_whose_answer_was_lost_is_put_right_past_any_predicate(cluster, world, run):
    """The next run does not know of it, and finds nothing to write; the predicate is for changes of others."""
    app, runs = Operator("unanswered"), []

    @app.reconcile(Note, predicate=generation_changed)
    async def reconcile(note: Note, ctx: Context) -> None:
        runs.append(note.spec.text)
        note.status.text = note.spec.text

    async with run(app) as operator:
        await create(cluster)
        await operator.settled()

        async def lost(write: Write) -> Any:
            back = await change(cluster, NOTES, {"spec": {"text": "one"}})
            await echoed(operator.engine, NOTES, back["metadata"]["resourceVersion"])
            world.quick.clear()
            await write()
            raise Unreachable("connection reset")

        world.step = lost
        await change(cluster, NOTES, {"spec": {"text": "two"}})
        await eventually(lambda: len(runs) >= 3)
        await asyncio.wait_for(operator.engine.controllers[0].queue.wait_idle(), 60)
        world.quick.set()
        await operator.settled()
        assert runs == ["one", "two", "one", "one"]
        assert (await content(cluster, NOTES, "status"))["text"] == "one"


async def test_idle_waits_for_the_own_events_of_a_run_that_came_and_went_meanwhile(cluster, world, clock):
    """The run is due to the clock, begins after its kind was looked at, and is over before the look at all is."""
    app, runs = Operator("timed"), []
    app.reads(V1ConfigMap)

    @app.reconcile(Note)
    async def reconcile(note: Note, ctx: Context) -> Requeue:
        runs.append(note.spec.text)
        note.status.text = str(len(runs))
        return Requeue(after=timedelta(hours=1))

    async with running(app, world, namespace=cluster.namespace, clock=clock, network_clock=Hasty()) as operator:
        await create(cluster)
        await operator.settled()
        looks: list[Any] = []
        plain = world.api.list

        async def look(resource: Any, **options: Any) -> Any:
            found = await plain(resource, **options)
            looks.append(resource)
            if resource == NOTES and looks.count(NOTES) == 1:
                world.quick.clear()
                await clock.advance(timedelta(hours=1))
                await asyncio.wait_for(eventually(lambda: operator.engine.controllers[0].queue.idle and runs[1:]), 20)
            if looks.count(NOTES) == 2:
                world.quick.set()
            return found

        world.list = look
        await operator.settled()
        assert runs == ["one", "one"]
        assert looks.count(NOTES) > 1, "it looked again, because of the run"
