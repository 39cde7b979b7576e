from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from operatorkit import AdmissionRequest, Allowed, Context, DefinitionError, Model, Operator, Resource, Watch
from operatorkit.definitions import definitions, external_kinds, own_kinds
from operatorkit.resource import NoStatus


class Spec(Model):
    size: int = 1


class Thing(Resource[Spec, NoStatus], group="own.example.io", version="v1"): ...


class Part(Resource[Spec, NoStatus], group="own.example.io", version="v1"): ...


class Monitor(Resource[Spec, NoStatus], group="theirs.example.io", version="v1", external=True): ...


class Unclear(Resource[Spec, NoStatus], group="theirs.example.io", version="v1"): ...


class Own(Resource[Spec, NoStatus], group="also-own.example.io", version="v1", external=False): ...


def operator(*owns: type[Any], **options: Any) -> Operator:
    app = Operator("tester", **options)

    @app.reconcile(Thing, owns=owns)
    async def reconcile(obj: Thing, ctx: Context) -> None: ...

    return app


def test_what_is_reconciled_is_own_and_so_are_kinds_of_its_group() -> None:
    assert own_kinds(operator(Part)) == [Thing, Part]


def test_an_external_kind_is_never_own() -> None:
    app = operator(Monitor, Own)
    assert own_kinds(app) == [Thing, Own]
    assert external_kinds(app) == [Monitor]


def test_an_external_kind_that_is_reconciled_is_not_own_either() -> None:
    app = Operator("tester")

    @app.reconcile(Monitor)
    async def reconcile(obj: Monitor, ctx: Context) -> None: ...

    assert own_kinds(app) == []


@pytest.mark.parametrize("how", ["owns", "watches", "reads", "index", "validate"])
def test_a_kind_of_another_group_must_say_whose_it_is(how: str) -> None:
    app = operator(*([Unclear] if how == "owns" else []))
    if how == "watches":

        @app.reconcile(Part, watches=[Watch(Unclear, to=lambda obj, reader: [])])
        async def reconcile(obj: Part, ctx: Context) -> None: ...

    elif how == "reads":
        app.reads(Unclear)
    elif how == "index":
        app.index(Unclear, "size", lambda obj: [str(obj.spec.size)])
    elif how == "validate":

        @app.validate(Unclear)
        async def validate(new: Unclear, old: Unclear | None, request: AdmissionRequest) -> Allowed: ...

    with pytest.raises(
        DefinitionError,
        match=r"Unclear: Operator\('tester'\), whose own kinds are in own.example.io, uses Unclear "
        r"\(theirs.example.io/v1\) and does not reconcile it: write external=True .* or external=False",
    ):
        own_kinds(app)


def module_with(name: str, *kinds: type[Any]) -> ModuleType:
    """Return a module in which these classes are, as if they were defined there."""
    module = ModuleType(name)
    for kind in kinds:
        kind.__module__ = name
        setattr(module, kind.__name__, kind)
    return module


def test_other_versions_are_found_in_the_module_of_the_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    class New(Resource[Spec, NoStatus], group="many.example.io", version="v2", kind="Many"): ...

    class Old(Resource[Spec, NoStatus], group="many.example.io", version="v1", kind="Many", storage=False): ...

    class Other(Resource[Spec, NoStatus], group="many.example.io", version="v1"): ...

    monkeypatch.setitem(sys.modules, "versions_of_many", module_with("versions_of_many", Old, New, Other))
    app = Operator("tester")

    @app.reconcile(New)
    async def reconcile(obj: New, ctx: Context) -> None: ...

    assert own_kinds(app) == [New, Old]
    (made,) = definitions(own_kinds(app))
    assert [version["name"] for version in made["spec"]["versions"]] == ["v2", "v1"]


def test_versions_that_live_elsewhere_are_named() -> None:
    class Older(Resource[Spec, NoStatus], group="own.example.io", version="v1beta1", kind="Thing", storage=False): ...

    assert own_kinds(operator()) == [Thing]
    assert own_kinds(operator(versions=[Older])) == [Thing, Older]


def test_a_version_of_a_kind_that_is_not_own_is_rejected() -> None:
    with pytest.raises(DefinitionError, match=r"versions= has Part, and parts\.own.example.io is not one of its own"):
        own_kinds(operator(versions=[Part]))


def test_unknown_fields_of_an_external_kind_are_kept_and_not_sent() -> None:
    stored = {
        "apiVersion": "theirs.example.io/v1",
        "kind": "Monitor",
        "metadata": {"name": "a", "resourceVersion": "7", "selfLink": "/x"},
        "spec": {"size": 3, "endpoints": [{"port": "web"}], "limit": 5},
        "other": 1,
    }
    monitor = Monitor.read(stored)
    assert monitor.spec.__pydantic_extra__ == {"endpoints": [{"port": "web"}], "limit": 5}
    assert monitor.write()["spec"] == {"size": 3}
    assert "other" not in monitor.write()
    assert "selfLink" not in monitor.write()["metadata"]
    copied = monitor.model_copy(deep=True)
    assert copied.write()["spec"] == {"size": 3}
    assert copied.spec.__pydantic_extra__ is not None
    copied.spec.__pydantic_extra__["endpoints"][0]["port"] = "https"
    copied.spec.__pydantic_extra__["added"] = True
    assert copied.write()["spec"] == {"size": 3, "endpoints": [{"port": "https"}], "added": True}


def test_unknown_fields_of_an_own_kind_are_sent_as_before() -> None:
    stored = {"apiVersion": "own.example.io/v1", "kind": "Thing", "metadata": {"name": "a"}, "spec": {"newer": 1}}
    assert Thing.read(stored).write() == stored


def test_an_external_kind_may_be_of_a_group_of_kubernetes() -> None:
    class Route(Resource[Spec, NoStatus], group="gateway.networking.k8s.io", version="v1", external=True): ...

    stand_in = Route.crd()
    assert "api-approved.kubernetes.io" in stand_in["metadata"]["annotations"]
    assert stand_in["spec"]["versions"][0]["schema"]["openAPIV3Schema"] == {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
    }
    with pytest.raises(DefinitionError, match=r"belongs to Kubernetes itself.*external=True"):

        class Bad(Resource[Spec, NoStatus], group="gateway.networking.k8s.io", version="v1"): ...
