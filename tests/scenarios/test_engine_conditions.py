"""The conditions and Events by which the engine reports how a run ended, for kinds whose author sets none."""

from __future__ import annotations

import base64
import logging
from datetime import timedelta
from typing import Any

import pytest
from kubernetes.client.models import V1Secret

from operatorkit import Condition, Context, Model, Operator, Resource, RetryLater, TerminalError
from operatorkit.errors import DefinitionError
from operatorkit.kinds import EVENTS, SECRETS
from operatorkit.resource import ObjectMeta
from operatorkit.testing import eventually
from operatorkit.testing.running import install_crds


class TaskSpec(Model):
    does: str = "well"


class TaskStatus(Model):
    conditions: list[Condition] = []


class Task(Resource[TaskSpec, TaskStatus], group="conditions.example.io", version="v1"):
    """Something that goes well, or does not."""


TASKS = Task.api_resource()


@pytest.fixture(autouse=True)
async def world(cluster):
    await install_crds(cluster, [Task])


def worker(runs: list[str], *, own_words: bool = False, sets_conditions: bool = True) -> Operator:
    app = Operator("worker")

    @app.reconcile(Task, conditions=sets_conditions)
    async def reconcile(task: Task, ctx: Context) -> None:
        runs.append(task.spec.does)
        match task.spec.does:
            case "wait":
                raise RetryLater("the database starts", after=timedelta(minutes=5), reason="DatabaseStarts")
            case "fail":
                raise RuntimeError("a secret: hunter2")
            case "give up":
                raise TerminalError("choose another", reason="Impossible")
        if own_words:
            ctx.condition("Progressing", False, "Done")

    return app


async def created(cluster: Any, does: str = "well") -> None:
    task = Task(metadata=ObjectMeta(name="a"), spec=TaskSpec(does=does))
    await cluster.create(TASKS, task.write(), namespace=cluster.namespace)


async def changed(cluster: Any, does: str) -> None:
    await cluster.patch(TASKS, "a", {"spec": {"does": does}}, patch_type="merge", namespace=cluster.namespace)


async def conditions(cluster: Any) -> dict[str, tuple[str, str]]:
    found = await cluster.get(TASKS, "a", namespace=cluster.namespace)
    listed = found.get("status", {}).get("conditions", [])
    assert {each["observedGeneration"] for each in listed if each["type"] == "Ready"} <= {
        found["metadata"]["generation"]
    }
    return {each["type"]: (each["status"], each["reason"]) for each in listed}


async def events(cluster: Any) -> list[tuple[str, str]]:
    found = await cluster.list(EVENTS, namespace=cluster.namespace)
    return sorted((each["type"], each["reason"]) for each in found.items)


READY = {"Ready": ("True", "Reconciled")}
ENDS = {
    "wait": {"Ready": ("False", "DatabaseStarts"), "Reconciling": ("True", "RetryLater")},
    "fail": {"Ready": ("False", "ReconcileFailed"), "Reconciling": ("True", "ReconcileFailed")},
    "give up": {"Ready": ("False", "Impossible"), "Stalled": ("True", "TerminalError")},
}


@pytest.mark.parametrize("does", ENDS)
async def test_conditions_say_how_a_run_ended_as_kstatus_reads_them(cluster, operator, clock, does):
    runs: list[str] = []
    async with operator(worker(runs), clock=clock) as running:
        await created(cluster)
        await running.idle()
        assert await conditions(cluster) == READY
        await changed(cluster, does)
        await running.idle()
        assert await conditions(cluster) == ENDS[does]
        await changed(cluster, "well")
        await running.idle()
        assert await conditions(cluster) == READY


@pytest.mark.parametrize("does", ["well", "fail", "give up", "wait"])
async def test_the_engine_sets_no_conditions_where_other_code_does(cluster, operator, does):
    runs: list[str] = []
    async with operator(worker(runs, sets_conditions=False)) as running:
        await created(cluster, does)
        await eventually(lambda: does in runs)
        await running.settled()
        assert await conditions(cluster) == {}


async def test_the_message_of_an_unexpected_error_is_for_the_log_only(cluster, operator, clock):
    async with operator(worker([]), clock=clock) as running:
        await created(cluster, "fail")
        await running.idle()
        found = await cluster.get(TASKS, "a", namespace=cluster.namespace)
        assert "hunter2" not in str(found)
        assert "unexpected RuntimeError in the reconcile function" in str(found["status"])


async def test_retry_later_runs_again_then_and_sends_no_event(cluster, operator, clock, caplog):
    runs: list[str] = []
    async with operator(worker(runs), clock=clock) as running:
        await created(cluster, "wait")
        await running.idle()
        assert runs == ["wait"]
        await clock.advance(timedelta(minutes=4))
        await running.idle()
        assert runs == ["wait"]
        await clock.advance(timedelta(minutes=1, seconds=1))
        await running.idle()
        assert runs == ["wait", "wait"]
        assert await events(cluster) == []
    assert "Traceback" not in caplog.text


async def test_a_recovery_is_an_event_also_after_a_restart(cluster, operator, clock):
    async with operator(worker([]), clock=clock) as running:
        await created(cluster, "fail")
        await running.idle()
        assert await events(cluster) == [("Warning", "ReconcileFailed")]
    await changed(cluster, "well")
    async with operator(worker([]), clock=clock) as running:
        await running.idle()

        async def recovered() -> bool:
            return ("Normal", "Recovered") in await events(cluster)

        await eventually(recovered)
        await changed(cluster, "well again")
        await running.idle()
        assert len(await events(cluster)) == 2


async def test_an_author_who_sets_conditions_keeps_them(cluster, operator, clock):
    async with operator(worker([], own_words=True), clock=clock) as running:
        await created(cluster)
        await running.idle()
        assert await conditions(cluster) == {"Progressing": ("False", "Done")}
        await changed(cluster, "fail")
        await running.idle()
        assert await conditions(cluster) == {"Progressing": ("False", "Done")}
        await changed(cluster, "wait")
        await running.idle()
        assert await conditions(cluster) == {"Progressing": ("False", "Done"), **ENDS["wait"]}
        await changed(cluster, "well")
        await running.idle()
        assert await conditions(cluster) == {"Progressing": ("False", "Done"), **READY}


async def test_a_run_that_changes_nothing_writes_no_condition(cluster, operator, clock):
    async with operator(worker([]), clock=clock) as running:
        await created(cluster)
        await running.idle()
        assert running.writes() == {("patch", "tasks/status"): 1}
    async with operator(worker([]), clock=clock) as running:
        await running.idle()
        assert running.writes() == {}


def test_a_reason_that_no_condition_can_have_is_an_error():
    with pytest.raises(DefinitionError, match="RetryLater"):
        RetryLater("later", reason="not one word")
    with pytest.raises(ValueError, match="zero or more"):
        RetryLater("later", after=timedelta(seconds=-1))


async def test_no_secret_is_in_the_log_at_any_level(cluster, operator, clock, caplog):
    """Not the data of a Secret that is applied, created, patched, read, rejected or conflicting; nor in Events."""
    caplog.set_level(logging.DEBUG)
    app, secret = Operator("reticent"), "hunter2-hunter2"
    app.needs(V1Secret, "get", reason="a test")
    encoded = base64.b64encode(secret.encode()).decode()

    @app.reconcile(Task, owns=[V1Secret])
    async def reconcile(task: Task, ctx: Context) -> None:
        [applied] = await ctx.apply(V1Secret(metadata={"name": "s"}, string_data={"p": secret}))
        await ctx.create(V1Secret(metadata={"name": "t"}, string_data={"p": secret}))
        await ctx.patch(applied, {"stringData": {"q": secret}})
        assert (await ctx.live.get(V1Secret, "s")).data["p"] == encoded
        if task.spec.does == "invalid":
            await ctx.apply(V1Secret(metadata={"name": "Not A Name"}, string_data={"p": secret}))
        await ctx.apply(V1Secret(metadata={"name": "theirs"}, string_data={"p": secret}))

    theirs = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "theirs"}, "stringData": {"p": "x"}}
    await cluster.create(SECRETS, theirs, namespace=cluster.namespace)
    async with operator(app, clock=clock) as running:
        await created(cluster)
        await running.idle()
        await changed(cluster, "invalid")
        await running.idle()
        pages = running.engine.why(f"{cluster.namespace}/a")[1]
    found = (await cluster.list(EVENTS, namespace=cluster.namespace)).items
    status = await cluster.get(TASKS, "a", namespace=cluster.namespace)
    for text in (caplog.text, str(found), str(status), pages):
        assert text
        assert secret not in text
        assert encoded not in text
