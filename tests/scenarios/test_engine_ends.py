"""How an engine ends, and what keeps it from going on with a part missing; how long tests wait for it."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from operatorkit import Condition, Context, Model, Operator, Resource, Settings, TerminalError
from operatorkit._runtime import Engine
from operatorkit.cluster import PatchType
from operatorkit.errors import Gone, NotFound, OperatorKitError
from operatorkit.resource import ObjectMeta
from operatorkit.testing import eventually
from operatorkit.testing.running import install_crds, running

SHORT = timedelta(milliseconds=100)


class JobSpec(Model):
    text: str = ""


class JobStatus(Model):
    text: str = ""
    conditions: list[Condition] = []


class Job(Resource[JobSpec, JobStatus], group="ends.example.io", version="v1"):
    """Something to do."""


JOBS = Job.api_resource()


@pytest.fixture
def operator(operator, namespace):
    return partial(operator, namespace=namespace)


async def create(cluster: Any, text: str = "one") -> None:
    obj = Job(metadata=ObjectMeta(name="a"), spec=JobSpec(text=text)).write()
    await cluster.create(JOBS, obj, namespace=cluster.namespace)


async def change(cluster: Any, text: str) -> Any:
    return await cluster.patch(
        JOBS, "a", {"spec": {"text": text}}, patch_type=PatchType.MERGE, namespace=cluster.namespace
    )


async def status(cluster: Any) -> Any:
    return (await cluster.get(JOBS, "a", namespace=cluster.namespace)).get("status", {})


async def copied(cluster: Any) -> bool:
    return (await status(cluster)).get("text") == "one"  # conditions are there earlier: a failed run writes them


def worker(**options: Any) -> Operator:
    """Copy the text into the status."""
    app = Operator("copier", **options)

    @app.reconcile(Job, workers=1)
    async def reconcile(job: Job, ctx: Context) -> None:
        job.status.text = job.spec.text

    return app


async def test_a_run_that_outlasts_the_shutdown_is_cancelled_and_named(cluster, operator, caplog):
    app, begun = Operator("slow", settings=Settings(shutdown_timeout=SHORT)), asyncio.Event()

    @app.reconcile(Job)
    async def reconcile(job: Job, ctx: Context) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with operator(app):
        await create(cluster)
        await begun.wait()
    assert re.search(r"slow: worker \d of Job did not finish within 0.1 s: cancelled", caplog.text)
    assert await status(cluster) == {}


async def test_a_run_that_awaits_what_was_cancelled_has_failed_and_its_worker_goes_on(cluster, operator, caplog):
    app, runs = Operator("victim"), []

    @app.reconcile(Job, workers=1)
    async def reconcile(job: Job, ctx: Context) -> None:
        runs.append(job.spec.text)
        if len(runs) == 1:
            other = asyncio.ensure_future(asyncio.Event().wait())
            other.cancel()
            await other
        job.status.text = job.spec.text

    async with operator(app):
        await create(cluster)
        await eventually(lambda: copied(cluster), timeout=60)
    assert runs == ["one", "one"]
    assert "the reconcile function awaited something that was cancelled" in caplog.text


@pytest.mark.parametrize("part", ["worker 0 of Job", "timers of Job", "informer of jobs", "events"])
async def test_an_engine_ends_when_a_part_of_it_is_cancelled(cluster, part):
    await install_crds(cluster, [Job])
    engine = Engine(worker(), cluster, namespace=cluster.namespace)
    run = asyncio.create_task(engine.run())
    await engine.ready()
    [task] = [task for task in asyncio.all_tasks() if task.get_name().startswith(f"copier: {part}")]
    task.cancel()
    with pytest.raises(OperatorKitError, match=f"copier: {part}.* ended unexpectedly"):
        await asyncio.wait_for(run, 60)


class Broken:
    """A cluster whose client has a bug: it shows when a kind is listed again."""

    def __init__(self, api: Any) -> None:
        self.api, self.expired, self.listed = api, asyncio.Event(), 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.api, name)

    async def list(self, resource: Any, **options: Any) -> Any:
        self.listed += 1
        if self.listed > 1:
            raise RuntimeError("a bug")
        return await self.api.list(resource, **options)

    async def watch(self, resource: Any, **options: Any) -> Any:
        await self.expired.wait()
        raise Gone("too old resource version")
        yield


async def test_an_engine_ends_with_the_error_of_the_part_that_failed(cluster):
    await install_crds(cluster, [Job])
    api = Broken(cluster)

    async def until_it_settles() -> None:
        async with running(worker(), api, namespace=cluster.namespace) as operator:
            api.expired.set()
            await operator.settled()

    with pytest.raises(RuntimeError, match="a bug"):
        await until_it_settles()


async def test_the_error_of_an_engine_that_does_not_become_idle_names_what_is_busy(cluster, operator):
    app, begun = Operator("restless", settings=Settings(shutdown_timeout=SHORT)), asyncio.Event()

    @app.reconcile(Job)
    async def reconcile(job: Job, ctx: Context) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with operator(app) as running:
        await create(cluster)
        await begun.wait()
        with pytest.raises(AssertionError, match=r"^restless was not idle within 0\.1 s: Job test-.*/a runs$"):
            await running.settled(within=SHORT)


class Deaf:
    """A cluster whose watches bring nothing."""

    def __init__(self, api: Any) -> None:
        self.api = api

    def __getattr__(self, name: str) -> Any:
        return getattr(self.api, name)

    async def watch(self, resource: Any, **options: Any) -> Any:
        await asyncio.Event().wait()
        yield


async def test_the_error_of_an_engine_that_does_not_become_idle_names_a_cache_that_is_behind(cluster):
    await install_crds(cluster, [Job])
    async with running(worker(), Deaf(cluster), namespace=cluster.namespace) as operator:
        await create(cluster)
        with pytest.raises(AssertionError, match=r"the cache of jobs\.ends\.example\.io is not known to be up to date"):
            await operator.settled(within=timedelta(seconds=1))


async def test_a_predicate_that_fails_loses_no_change(cluster, operator, caplog):
    app, runs = Operator("careless"), []

    def broken(old: Job | None, new: Job) -> bool:
        raise KeyError("generation")

    @app.reconcile(Job, predicate=broken)
    async def reconcile(job: Job, ctx: Context) -> None:
        runs.append(job.spec.text)

    async with operator(app) as running:
        await create(cluster)
        await running.settled()
        await change(cluster, "two")
        await running.settled()
        assert runs == ["one", "two"]
    assert f"broken failed for Job {cluster.namespace}/a: the change counts" in caplog.text


async def test_a_listener_that_fails_keeps_no_other_from_being_notified(cluster, operator, caplog):
    def broken(change: Any) -> None:
        raise KeyError("a bug")

    async with operator(worker()) as running:
        running.engine.caches._kinds[JOBS].listeners.insert(0, broken)
        await create(cluster)
        await running.settled()
        assert (await status(cluster))["text"] == "one"
    assert "a listener failed on ADDED" in caplog.text


async def test_the_condition_of_a_terminal_error_says_the_latest(cluster, operator):
    app = Operator("strict")

    @app.reconcile(Job)
    async def reconcile(job: Job, ctx: Context) -> None:
        if job.spec.text == "own words":
            ctx.condition("Ready", False, "Refused", "in its own words")
        raise TerminalError(f"{job.spec.text} is refused", reason="Refused")

    async def message() -> str:
        [condition, *_] = (await status(cluster))["conditions"]
        assert condition["type"] == "Ready"
        return condition["message"]

    async with operator(app) as running:
        await create(cluster)
        for text, said in [("one", "one is refused"), ("two", "two is refused"), ("own words", "in its own words")]:
            await change(cluster, text)
            await running.settled()
            assert await message() == said


async def test_nothing_is_done_for_an_object_that_is_gone_before_its_finalizer_is_set(cluster):
    app, runs = Operator("late"), []

    @app.reconcile(Job)
    async def reconcile(job: Job, ctx: Context) -> None:
        runs.append(job.spec.text)

    @app.finalize(Job)
    async def finalize(job: Job, ctx: Context) -> None:
        runs.append("finalized")

    class Overtaken:
        """A cluster in which objects are deleted before the first write to them."""

        def __getattr__(self, name: str) -> Any:
            return getattr(cluster, name)

        async def patch(self, resource: Any, name: str, body: Any, **options: Any) -> Any:
            await cluster.delete(resource, name, namespace=cluster.namespace)
            return await cluster.patch(resource, name, body, **options)

    await install_crds(cluster, app.kinds())
    async with running(app, Overtaken(), namespace=cluster.namespace) as operator:
        await create(cluster)
        await operator.settled()
        assert runs == []
        with pytest.raises(NotFound):
            await status(cluster)


async def test_an_object_that_changes_while_it_is_finalized_is_finalized_as_it_is_then(cluster, operator):
    app, seen = Operator("thorough"), []

    @app.reconcile(Job)
    async def reconcile(job: Job, ctx: Context) -> None:
        job.status.text = job.spec.text

    @app.finalize(Job)
    async def finalize(job: Job, ctx: Context) -> None:
        seen.append(job.spec.text)
        if len(seen) == 1:
            changed = await change(cluster, "two")
            await informers[0].wait_for(changed["metadata"]["resourceVersion"])
        job.status.text = "finalized"

    async with operator(app) as running:
        informers = [running.engine.caches._kinds[JOBS].informer]
        await create(cluster)
        await running.settled()
        await cluster.delete(JOBS, "a", namespace=cluster.namespace)
        await running.settled()
        assert seen == ["one", "two"]
        with pytest.raises(NotFound):
            await status(cluster)
