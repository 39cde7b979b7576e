"""The fixture `operator`: an operator in a test does what it does in a cluster, and keeps to the test's namespace."""

from __future__ import annotations

import secrets
from typing import Any

import kopf
import pytest
import pytest_asyncio

from operatorkit import AdmissionRequest, Allowed, Context, Denied, Model, Operator, Resource
from operatorkit.cluster.api import PatchType
from operatorkit.errors import Invalid, NotFound, OperatorKitError
from operatorkit.names import ApiResource
from operatorkit.resource import NoStatus
from operatorkit.testing import eventually

NAMESPACES = ApiResource("", "v1", "Namespace", "namespaces", namespaced=False)


class Spec(Model):
    size: int = 1


class Crate(Resource[Spec, NoStatus], group="fixture.example.io", version="v1"): ...


class Barrel(Resource[Spec, NoStatus], group="fixture.example.io", version="v1"): ...


CRATES, BARRELS = Crate.api_resource(), Barrel.api_resource()
SEEN: list[str] = []


@kopf.on.event("fixture.example.io", "v1", "barrels")
def seen(name: str, **_: Any) -> None:
    SEEN.append(name)


@kopf.on.create("fixture.example.io", "v1", "barrels")
def labelled(patch: kopf.Patch, **_: Any) -> None:
    patch.metadata.labels["seen-by"] = "kopf"


def crate(name: str, size: int = 1) -> dict[str, Any]:
    return Crate(metadata={"name": name}, spec=Spec(size=size)).write()


def barrel(name: str) -> dict[str, Any]:
    return Barrel(metadata={"name": name}).write()


@pytest_asyncio.fixture
async def elsewhere(cluster):
    name = f"elsewhere-{secrets.token_hex(4)}"
    await cluster.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    await cluster.delete(NAMESPACES, name)


def app_of(seen: list[Any]) -> Operator:
    app = Operator("fixture")

    @app.reconcile(Crate)
    async def reconcile(obj: Crate, ctx: Context) -> None:
        seen.append((obj.metadata.namespace, obj.metadata.name))

    @app.validate(Crate)
    async def validate(new: Crate, old: Crate | None, request: AdmissionRequest) -> Allowed | Denied:
        return Denied("too large") if new.spec.size > 5 else Allowed()

    return app


@pytest.mark.parametrize("held", [False, True])
async def test_what_webhooks_deny_is_denied(cluster, operator, clock, held):
    options = {"clock": clock} if held else {}
    async with operator(app_of([]), **options) as running:
        await cluster.create(CRATES, crate("small"), namespace=cluster.namespace)
        with pytest.raises(OperatorKitError, match="too large"):
            await cluster.create(CRATES, crate("large", 9), namespace=cluster.namespace)
        await running.settled()
    # A real API server hears of the removed configuration by its watch, a moment later: until then it
    # calls a server that no longer listens.
    await eventually(lambda: cluster.create(CRATES, crate("large", 9), namespace=cluster.namespace))


async def test_webhooks_can_be_left_out(cluster, operator):
    async with operator(app_of([]), webhooks=None):
        await cluster.create(CRATES, crate("large", 9), namespace=cluster.namespace)


async def test_only_the_namespace_of_the_test_is_worked_in(cluster, operator, elsewhere):
    seen: list[Any] = []
    async with operator(app_of(seen)) as running:
        await cluster.create(CRATES, crate("other", 9), namespace=elsewhere)  # nor is that one's webhook asked
        await cluster.create(CRATES, crate("mine"), namespace=cluster.namespace)
        await running.settled()
    assert seen == [(cluster.namespace, "mine")]


async def test_all_namespaces_are_worked_in_where_that_is_asked_for(cluster, operator, elsewhere):
    seen: list[Any] = []
    async with operator(app_of(seen), namespace=None) as running:
        with pytest.raises(OperatorKitError, match="too large"):
            await cluster.create(CRATES, crate("other", 9), namespace=elsewhere)
        await cluster.create(CRATES, crate("other"), namespace=elsewhere)
        await running.settled()
    assert (elsewhere, "other") in seen


async def test_the_handlers_of_kopf_run(cluster, operator, elsewhere):
    SEEN.clear()
    app = Operator("fixture")
    app.reads(Barrel)

    @app.reconcile(Crate)
    async def reconcile(obj: Crate, ctx: Context) -> None: ...

    async with operator(app):
        await cluster.create(BARRELS, barrel("there"), namespace=elsewhere)
        await cluster.create(BARRELS, barrel("here"), namespace=cluster.namespace)

        async def labels() -> dict[str, str]:
            found = await cluster.get(BARRELS, "here", namespace=cluster.namespace)
            return dict(found["metadata"].get("labels") or {})

        await eventually(lambda: "here" in SEEN)
        await eventually(lambda: _is(labels(), {"seen-by": "kopf"}))
    assert "there" not in SEEN


async def _is(found: Any, expected: Any) -> bool:
    return bool(await found == expected)


async def test_the_handlers_of_kopf_can_be_left_out(cluster, operator):
    SEEN.clear()
    app = Operator("fixture")

    @app.reconcile(Barrel)
    async def reconcile(obj: Barrel, ctx: Context) -> None: ...

    async with operator(app, handlers=False) as running:
        await cluster.create(BARRELS, barrel("quiet"), namespace=cluster.namespace)
        await running.settled()
    assert SEEN == []


async def test_a_kind_that_is_only_finalized_is_finalized(cluster, operator):
    cleaned: list[str] = []
    app = Operator("fixture")

    @app.finalize(Crate)
    async def clean(obj: Crate, ctx: Context) -> None:
        cleaned.append(obj.metadata.name)

    async with operator(app) as running:
        await cluster.create(CRATES, crate("a"), namespace=cluster.namespace)
        await running.settled()
        assert running.writes() == {("patch", "crates"): 1}  # the finalizer, and nothing else
        held = await cluster.get(CRATES, "a", namespace=cluster.namespace)
        assert held["metadata"]["finalizers"] == ["operatorkit.dev/fixture"]
        await cluster.delete(CRATES, "a", namespace=cluster.namespace)
        await running.settled()
    assert cleaned == ["a"]
    with pytest.raises(NotFound):
        await cluster.get(CRATES, "a", namespace=cluster.namespace)


async def test_a_definition_holds_in_a_test_too(cluster, operator):
    async with operator(app_of([])):
        with pytest.raises(Invalid):
            await cluster.create(CRATES, {**crate("a"), "spec": {"size": "large"}}, namespace=cluster.namespace)


@pytest_asyncio.fixture
async def left(cluster):
    """Set up before `operator`, so torn down after it: what that leaves holds nothing of the operator's."""
    left: dict[str, list[str]] = {}
    yield left
    found = await cluster.list(CRATES, namespace=cluster.namespace)
    assert {raw["metadata"]["name"]: raw["metadata"].get("finalizers", []) for raw in found.items} == left
    released = {"metadata": {"finalizers": []}}
    for name in left:
        await cluster.patch(CRATES, name, released, patch_type=PatchType.MERGE, namespace=cluster.namespace)


async def test_its_finalizers_do_not_outlive_the_test(cluster, left, operator):
    app = app_of([])

    @app.finalize(Crate)
    async def finalize(obj: Crate, ctx: Context) -> None: ...

    others = crate("of-others")
    others["metadata"]["finalizers"] = ["example.com/others"]
    async with operator(app) as running:
        await cluster.create(CRATES, crate("own"), namespace=cluster.namespace)
        await cluster.create(CRATES, others, namespace=cluster.namespace)
        await running.settled()
    held = {
        raw["metadata"]["name"]: raw["metadata"]["finalizers"]
        for raw in (await cluster.list(CRATES, namespace=cluster.namespace)).items
    }
    assert held == {"own": ["operatorkit.dev/fixture"], "of-others": ["example.com/others", "operatorkit.dev/fixture"]}
    left |= {"own": [], "of-others": ["example.com/others"]}
