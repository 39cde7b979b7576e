"""The status of an object: whose it is, what an operator writes there, and what it leaves to others."""

from __future__ import annotations

import copy
import math
from collections import Counter
from datetime import timedelta
from functools import partial
from typing import Annotated, Any, ClassVar

import pytest
from kubernetes.client.models import V1ConfigMap, V1Deployment, V1Node, V1Pod, V1Role, V1Secret

from operatorkit import Condition, Context, Model, Operator, Resource, TerminalError
from operatorkit.cluster import PatchType
from operatorkit.events import EVENTS
from operatorkit.resource import ListSet, NoSpec, Nullable, ObjectMeta, api_resource_of
from operatorkit.testing.running import install_crds


class CaseSpec(Model):
    size: int = 1


class Part(Model):
    list_map_keys: ClassVar[tuple[str, ...]] = ("name",)

    name: str
    size: int = 0
    by: str = ""


class Window(Model):
    start: str = ""
    end: str = ""


class CaseStatus(Model):
    conditions: list[Condition] = []
    note: str = ""
    counts: dict[str, int] = {}
    parts: list[Part] = []
    window: Window = Window()
    tags: Annotated[list[str], ListSet()] = []
    steps: list[str] = []
    ratio: float = 0.0
    last_error: Annotated[str | None, Nullable()] = None


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
async def test_a_terminal_error_leaves_the_status_of_a_kind_that_is_not_own_alone(cluster, operator, clock, kind):
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


class LampStatus(Model):
    conditions: list[Condition] = []


class Lamp(Resource[NoSpec, LampStatus], group="lamps.example.io", version="v1"):
    """Somebody else's kind, as its owner defines it."""


class ExternalLamp(
    Resource[NoSpec, LampStatus], group="lamps.example.io", version="v1", kind="Lamp", plural="lamps", external=True
):
    """The same kind, as another operator reads it."""


async def test_a_terminal_error_leaves_the_status_of_an_external_kind_alone(cluster, operator):
    app, name = Operator("judge"), f"it-{cluster.namespace}"

    def decide(obj, ctx):
        raise TerminalError("choose another name", reason="BadName")

    app.reconcile(ExternalLamp)(only(name, decide))
    await install_crds(cluster, [Lamp])
    body = {"apiVersion": "lamps.example.io/v1", "kind": "Lamp", "metadata": {"name": name}}
    async with operator(app) as running:
        await cluster.create(Lamp.api_resource(), body, namespace=cluster.namespace)
        await running.settled()
        assert await warnings(cluster, name) == ["BadName"]
        assert not [call for call in running.writes() if call[1] != "events"]


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
            [condition, stalled] = status["conditions"]
            assert (stalled["type"], len(stalled["message"])) == ("Stalled", 32_768)
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


READY = {
    "type": "Theirs",
    "status": "True",
    "reason": "Fine",
    "message": "",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}
THEIRS = {
    "counts": {"theirs": 1},
    "parts": [{"name": "theirs", "size": 1}, {"name": "shared", "size": 5}],
    "window": {"start": "monday"},
    "tags": ["theirs"],
    "conditions": [READY],
}
LEAVES = {
    "f:counts": {"f:ours": {}},
    "f:parts": {
        'k:{"name":"ours"}': {".": {}, "f:name": {}, "f:size": {}},
        'k:{"name":"shared"}': {".": {}, "f:name": {}, "f:by": {}},
    },
    "f:window": {"f:end": {}},
    "f:tags": {'v:"ours"': {}},
    "f:conditions": {
        'k:{"type":"Ready"}': {
            ".": {},
            **{f"f:{name}": {} for name in ("type", "status", "reason", "message", "lastTransitionTime")},
            "f:observedGeneration": {},
        }
    },
}


async def say(cluster, status) -> None:
    """Apply a status as another field manager."""
    await cluster.patch(
        CASES,
        "a",
        {"apiVersion": CASES.api_version, "kind": CASES.kind, "metadata": {"name": "a"}, "status": status},
        patch_type=PatchType.APPLY,
        subresource="status",
        namespace=cluster.namespace,
        field_manager="other",
    )


async def status_of(cluster) -> dict:
    return (await cluster.get(CASES, "a", namespace=cluster.namespace)).get("status", {})


async def owned_by(cluster, manager: str) -> dict:
    obj = await cluster.get(CASES, "a", namespace=cluster.namespace)
    found = [entry for entry in obj["metadata"]["managedFields"] if entry["manager"] == manager]
    return next((e["fieldsV1"]["f:status"] for e in found if e.get("subresource") == "status"), {})


def add_own(case: Case, ctx: Context) -> None:
    """Put our values beside those that are there."""
    status, size = case.status, case.spec.size
    status.counts["ours"] = size
    status.parts = [part for part in status.parts if part.name != "ours"] + [Part(name="ours", size=size)]
    for part in status.parts:
        if part.name == "shared":
            part.by = "us"
    status.window.end = f"day {size}"
    status.tags = sorted({*status.tags, "ours"})
    ctx.condition("Ready", True, "Fine", f"{size}")


def rebuild(case: Case, ctx: Context) -> None:
    """Write only our values, without a look at what is there."""
    size, before = case.spec.size, case.status.conditions
    parts = [Part(name="ours", size=size), Part(name="shared", by="us")]
    case.status = CaseStatus(counts={"ours": size}, parts=parts, window=Window(end=f"day {size}"), tags=["ours"])
    case.status.conditions = [condition for condition in before if condition.type == "Ready"]
    ctx.condition("Ready", True, "Fine", f"{size}")


@pytest.mark.parametrize("write", [add_own, rebuild])
async def test_what_others_write_into_a_status_stays_theirs_to_the_leaf(cluster, operator, write):
    app = Operator("judge")

    @app.reconcile(Case)
    async def reconcile(case: Case, ctx: Context) -> None:
        write(case, ctx)

    case = Case(metadata=ObjectMeta(name="a"), spec=CaseSpec(size=1))
    async with operator(app) as running:
        await running.settled()
        await cluster.create(CASES, case.write(), namespace=cluster.namespace)
        await say(cluster, THEIRS)
        for size in (1, 2, 3):
            change = {"spec": {"size": size}}
            await cluster.patch(CASES, "a", change, patch_type=PatchType.MERGE, namespace=cluster.namespace)
            await running.settled()
        assert await owned_by(cluster, "judge") == LEAVES
        status = await status_of(cluster)
        assert status["counts"] == {"ours": 3, "theirs": 1}
        assert status["window"] == {"start": "monday", "end": "day 3"}
        assert sorted(status["tags"]) == ["ours", "theirs"]

        changed = copy.deepcopy(THEIRS)
        changed["counts"]["theirs"], changed["window"]["start"], changed["parts"][1]["size"] = 7, "friday", 8
        await say(cluster, changed)  # without force: nothing of it is ours
        await running.settled()
        assert (await status_of(cluster))["counts"] == {"ours": 3, "theirs": 7}

        running.cluster.forget()
        await say(cluster, {})
        await running.settled()
        status = await status_of(cluster)
        [ready] = status.pop("conditions")
        assert (ready["type"], ready["message"]) == ("Ready", "3")
        assert {part["name"]: part for part in status.pop("parts")} == {
            "shared": {"name": "shared", "by": "us", "size": 0},  # 0 is the default of the schema
            "ours": {"name": "ours", "size": 3},
        }
        assert status == {"counts": {"ours": 3}, "window": {"end": "day 3"}, "tags": ["ours"], "ratio": 0}
        assert running.writes() == Counter()


async def test_what_an_operator_no_longer_sets_goes_and_what_others_set_beside_it_stays(cluster, operator):
    app = Operator("judge")

    @app.reconcile(Case)
    async def reconcile(case: Case, ctx: Context) -> None:
        if case.spec.size == 1:
            add_own(case, ctx)
            return
        status = case.status
        del status.counts["ours"]
        status.parts = [part for part in status.parts if part.name != "ours"]
        status.window.end = ""
        status.tags = [tag for tag in status.tags if tag != "ours"]
        status.conditions = [condition for condition in status.conditions if condition.type != "Ready"]

    async with operator(app) as running:
        await cluster.create(CASES, Case(metadata=ObjectMeta(name="a")).write(), namespace=cluster.namespace)
        await say(cluster, THEIRS)
        await running.settled()
        change = {"spec": {"size": 2}}
        await cluster.patch(CASES, "a", change, patch_type=PatchType.MERGE, namespace=cluster.namespace)
        await running.settled()
        status = await status_of(cluster)
        assert status["counts"] == {"theirs": 1}
        assert {part["name"] for part in status["parts"]} == {"theirs", "shared"}
        assert status["tags"] == ["theirs"]
        assert [condition["type"] for condition in status["conditions"]] == ["Theirs"]


async def test_an_atomic_list_is_one_field(cluster, operator):
    app = Operator("judge")

    @app.reconcile(Case)
    async def reconcile(case: Case, ctx: Context) -> None:
        case.status.note = "ours"
        if case.spec.size == 2:
            case.status.steps = [*case.status.steps, "ours"]

    async def owned_leaves() -> dict[str, Any]:
        owned = await owned_by(cluster, "judge")
        return {name: below for name, below in owned.items() if name != "f:conditions"}

    async with operator(app) as running:
        await cluster.create(CASES, Case(metadata=ObjectMeta(name="a")).write(), namespace=cluster.namespace)
        await say(cluster, {"steps": ["theirs"]})
        await running.settled()
        assert await owned_leaves() == {"f:note": {}}
        change = {"spec": {"size": 2}}
        await cluster.patch(CASES, "a", change, patch_type=PatchType.MERGE, namespace=cluster.namespace)
        await running.settled()
        assert (await status_of(cluster))["steps"][:2] == ["theirs", "ours"]
        assert await owned_leaves() == {"f:note": {}, "f:steps": {}}


async def test_a_nullable_field_that_is_set_to_none_costs_no_request(cluster, operator):
    app = Operator("judge")

    @app.reconcile(Case)
    async def reconcile(case: Case, ctx: Context) -> None:
        case.status.note, case.status.last_error = "fine", "broken" if case.spec.size == 2 else None

    async with operator(app) as running:
        await cluster.create(CASES, Case(metadata=ObjectMeta(name="a")).write(), namespace=cluster.namespace)
        await running.settled()

        async def touched(change) -> Counter:
            running.cluster.forget()
            await cluster.patch(CASES, "a", change, patch_type=PatchType.MERGE, namespace=cluster.namespace)
            await running.settled()
            return running.writes()

        assert not await touched({"metadata": {"annotations": {"a": "1"}}})
        assert await touched({"spec": {"size": 2}}) == {("patch", "cases/status"): 1}
        assert (await status_of(cluster))["lastError"] == "broken"
        assert await touched({"spec": {"size": 3}}) == {("patch", "cases/status"): 1}
        assert (await status_of(cluster)).get("lastError") is None
        assert not await touched({"metadata": {"annotations": {"a": "2"}}})


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
async def test_a_number_that_json_does_not_have_is_an_error_that_names_the_field(cluster, operator, clock, number):
    app = Operator("judge")

    @app.reconcile(Case)
    async def reconcile(case: Case, ctx: Context) -> None:
        case.status.ratio = number

    async with operator(app, clock=clock) as running:
        await cluster.create(CASES, Case(metadata=ObjectMeta(name="a")).write(), namespace=cluster.namespace)
        await running.settled()
        [event] = (await cluster.list(EVENTS, namespace=cluster.namespace)).items
        assert event["message"].startswith(
            f"the status of Case {cluster.namespace}/a cannot be written: ratio is {number!r}, which JSON does not have"
        )
        assert not await status_of(cluster)


async def test_a_change_of_the_objects_own_spec_is_logged_once_with_its_fields(cluster, operator, caplog):
    app = Operator("judge")

    @app.reconcile(Case)
    async def reconcile(case: Case, ctx: Context) -> None:
        if case.spec.size == 2:
            case.spec.size, case.metadata.labels["seen"] = 3, "yes"
        case.status.note = f"{case.spec.size}"

    def lines() -> list[str]:
        return [record.getMessage() for record in caplog.records if "of its own object" in record.getMessage()]

    async with operator(app) as running:
        await cluster.create(CASES, Case(metadata=ObjectMeta(name="a")).write(), namespace=cluster.namespace)
        await running.settled()
        assert lines() == []
        for at in range(2):
            change = {"spec": {"size": 2}, "metadata": {"annotations": {"at": str(at)}}}
            await cluster.patch(CASES, "a", change, patch_type=PatchType.MERGE, namespace=cluster.namespace)
            await running.settled()
        [line] = lines()
        assert line.startswith(
            f"Case {cluster.namespace}/a: the reconcile function changed metadata.labels, spec.size of its own object, "
            f"which is not stored"
        )
        assert (await cluster.get(CASES, "a", namespace=cluster.namespace))["spec"]["size"] == 2


async def test_a_change_of_a_built_in_object_is_logged_and_what_means_the_same_is_not(cluster, operator, caplog):
    app, name = Operator("judge"), f"it-{cluster.namespace}"

    def decide(obj, ctx):
        obj.metadata.labels = obj.metadata.labels or {}
        if obj.data.get("a") == "c":
            obj.data["a"] = "changed"

    app.reconcile(V1ConfigMap)(only(name, decide))
    async with operator(app) as running:
        await made(cluster, V1ConfigMap)
        await running.settled()
        assert "of its own object" not in caplog.text
        resource = api_resource_of(V1ConfigMap)
        change = {"data": {"a": "c"}}
        await cluster.patch(resource, name, change, patch_type=PatchType.MERGE, namespace=cluster.namespace)
        await running.settled()
        assert "changed data.a of its own object" in caplog.text
