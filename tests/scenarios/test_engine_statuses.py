"""The status of an object: whose it is, what an operator writes there, and what it leaves to others."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest
from kubernetes.client.models import V1ConfigMap, V1Deployment, V1Node, V1Pod, V1Role, V1Secret

from operatorkit import Condition, Context, Model, Operator, Resource, TerminalError
from operatorkit.events import EVENTS
from operatorkit.resource import ObjectMeta, api_resource_of


class CaseSpec(Model):
    size: int = 1


class CaseStatus(Model):
    conditions: list[Condition] = []
    note: str = ""


class Case(Resource[CaseSpec, CaseStatus], group="statuses.example.io", version="v1"):
    """An object with a status."""


CASES = Case.api_resource()
POD = {"containers": [{"name": "c", "image": "i"}]}
BUILT_IN = {
    V1ConfigMap: {"data": {"a": "b"}},
    V1Secret: {"stringData": {"a": "b"}},
    V1Role: {"rules": []},
    V1Pod: {"spec": POD},
    V1Node: {},
    V1Deployment: {
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": POD},
        }
    },
}
WITH_CONDITIONS = {
    V1Pod: {"lastTransitionTime", "lastProbeTime"},
    V1Node: {"lastTransitionTime", "lastHeartbeatTime"},
    V1Deployment: {"lastTransitionTime", "lastUpdateTime"},
}


@pytest.fixture
def operator(operator, namespace):
    """Run operators in the test's own namespace: other tests leave objects of the same kinds behind."""
    return partial(operator, namespace=namespace)


async def made(cluster, kind) -> tuple[str, str | None]:
    """Create an object of a built-in kind, which only one test has; return its name and namespace."""
    resource = api_resource_of(kind)
    name = f"it-{cluster.namespace}"
    namespace = cluster.namespace if resource.namespaced else None
    body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name}, **BUILT_IN[kind]}
    await cluster.create(resource, body, namespace=namespace)
    return name, namespace


async def warnings(cluster, name: str) -> list[str]:
    found = [
        event
        for namespace in {cluster.namespace, "default"}
        for event in (await cluster.list(EVENTS, namespace=namespace)).items
        if event["involvedObject"]["name"] == name and event["reportingComponent"] == "judge"
    ]
    return [event["reason"] for event in found]


def only(name: str, decide) -> object:
    """A reconcile function for one object of a kind: in a cluster of one's own there are others."""

    async def reconcile(obj, ctx: Context) -> None:
        if obj.metadata.name == name:
            decide(obj, ctx)

    return reconcile


@pytest.mark.parametrize("kind", BUILT_IN)
async def test_a_terminal_error_leaves_the_status_of_a_kind_that_is_not_ours_alone(cluster, operator, clock, kind):
    app, runs, name = Operator("judge"), [], f"it-{cluster.namespace}"

    def decide(obj, ctx):
        runs.append(1)
        raise TerminalError("choose another name", reason="BadName")

    app.reconcile(kind)(only(name, decide))
    async with operator(app, clock=clock) as running:
        _, namespace = await made(cluster, kind)
        await running.settled()
        await clock.advance(timedelta(hours=1))
        await running.settled()
        assert not [call for call in running.writes() if call[1] != "events"]
        assert await warnings(cluster, name) == ["BadName"]
        if kind not in (V1Deployment, V1Pod, V1Node):  # which others change, in a real cluster
            assert len(runs) == 1
        await cluster.delete(api_resource_of(kind), name, namespace=namespace)


@pytest.mark.parametrize("kind", WITH_CONDITIONS)
async def test_a_condition_of_a_built_in_kind_has_the_fields_of_its_schema(cluster, operator, kind):
    app, name = Operator("judge"), f"it-{cluster.namespace}"
    app.reconcile(kind)(only(name, lambda obj, ctx: ctx.condition("example.io/Fit", True, "Fine", "it is")))
    async with operator(app) as running:
        _, namespace = await made(cluster, kind)
        await running.settled()
        obj = await cluster.get(api_resource_of(kind), name, namespace=namespace)
        [condition] = [c for c in obj["status"]["conditions"] if c["type"] == "example.io/Fit"]
        assert (condition["status"], condition["reason"], condition["message"]) == ("True", "Fine", "it is")
        assert {key for key in condition if key.endswith("Time")} == WITH_CONDITIONS[kind]
        assert not await warnings(cluster, name)
        await cluster.delete(api_resource_of(kind), name, namespace=namespace)


@pytest.mark.parametrize("kind", [V1ConfigMap, V1Role])
async def test_a_condition_of_a_kind_that_has_none_is_an_error_that_says_so(cluster, operator, clock, kind):
    app, name, said = Operator("judge"), f"it-{cluster.namespace}", []

    def decide(obj, ctx):
        try:
            ctx.condition("Ready", True, "Fine")
        except Exception as error:
            said.append(f"{type(error).__name__}: {error}")
            raise

    app.reconcile(kind)(only(name, decide))
    async with operator(app, clock=clock) as running:
        await made(cluster, kind)
        await running.settled()
        assert said[0].startswith(
            f"DefinitionError: {kind.__name__} {cluster.namespace}/{name} has no status.conditions to set Ready in"
        )
        assert await warnings(cluster, name) == ["ReconcileFailed"]


@pytest.mark.parametrize(
    ("message", "reason", "seen"),
    [
        ("x" * 40_000, "TooLong", "TooLong"),
        ("fine", "Not Found!", "ReconcileFailed"),
    ],
)
async def test_what_a_condition_cannot_hold_is_cut_or_named(cluster, operator, clock, message, reason, seen):
    app, runs = Operator("judge"), []

    @app.reconcile(Case)
    async def reconcile(case: Case, ctx: Context) -> None:
        runs.append(1)
        raise TerminalError(message, reason=reason)

    async with operator(app, clock=clock) as running:
        await cluster.create(CASES, Case(metadata=ObjectMeta(name="a")).write(), namespace=cluster.namespace)
        await running.settled()
        assert await warnings(cluster, "a") == [seen]
        status = (await cluster.get(CASES, "a", namespace=cluster.namespace)).get("status")
        if seen == reason:
            [condition] = status["conditions"]
            assert (condition["reason"], len(condition["message"])) == (reason, 32_768)
        else:
            [event] = (await cluster.list(EVENTS, namespace=cluster.namespace)).items
            assert "TerminalError(reason='Not Found!'): the reason must be one CamelCase word" in event["message"]


async def test_a_terminal_error_is_not_lost_when_the_status_cannot_be_written(cluster, operator, clock):
    app, runs = Operator("judge"), []

    @app.reconcile(Case)
    async def reconcile(case: Case, ctx: Context) -> None:
        runs.append(1)
        case.status.note = 5  # type: ignore[assignment]
        raise TerminalError("rename it", reason="BadName")

    async with operator(app, clock=clock) as running:
        await cluster.create(CASES, Case(metadata=ObjectMeta(name="a")).write(), namespace=cluster.namespace)
        await running.settled()
        await clock.advance(timedelta(hours=1))
        await running.settled()
        assert (len(runs), await warnings(cluster, "a")) == (1, ["BadName"])
