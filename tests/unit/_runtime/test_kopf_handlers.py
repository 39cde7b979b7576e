from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import kopf
import pytest

from operatorkit import Context, Model, Operator, Resource
from operatorkit._runtime.kopf_handlers import handler_needs, registry_of
from operatorkit.permissions import permissions
from operatorkit.resource import NoStatus


class Spec(Model):
    size: int = 1


class Site(Resource[Spec, NoStatus], group="handlers.example.io", version="v1"): ...


class Zone(Resource[Spec, NoStatus], group="handlers.example.io", version="v1", scope="Cluster"): ...


@pytest.fixture
def app() -> Operator:
    app = Operator("handlers")

    @app.reconcile(Site, owns=[])
    async def site(obj: Site, ctx: Context) -> None: ...

    @app.reconcile(Zone)
    async def zone(obj: Zone, ctx: Context) -> None: ...

    return app


@pytest.fixture
def registry() -> kopf.OperatorRegistry:
    return kopf.OperatorRegistry()


def plain(**_: Any) -> None: ...


def patching(patch: Any, **_: Any) -> None: ...


def verbs_of(app: Operator, registry: kopf.OperatorRegistry, group: str, plural: str) -> set[str]:
    found = permissions(app, handlers=handler_needs(app, registry).needs)
    return {one.verb for one in found if (one.group, one.resource) == (group, plural)}


@pytest.mark.parametrize(
    ("selector", "group", "plural"),
    [
        (("persistentvolumeclaims",), "", "persistentvolumeclaims"),
        (("apps", "v1", "deployments"), "apps", "deployments"),
        (("apps/v1", "Deployment"), "apps", "deployments"),
        (("sites",), "handlers.example.io", "sites"),
        (("handlers.example.io", "Zone"), "handlers.example.io", "zones"),
        (("others.example.com", "v1", "others"), "others.example.com", "others"),
    ],
)
def test_rights_are_derived_from_a_selector(
    app: Operator, registry: kopf.OperatorRegistry, selector: tuple[str, ...], group: str, plural: str
) -> None:
    kopf.on.create(*selector, registry=registry)(plain)
    assert {"list", "watch", "patch"} <= verbs_of(app, registry, group, plural)
    assert "patch" in verbs_of(app, registry, group, f"{plural}/status")
    assert handler_needs(app, registry).unknown == ()


@pytest.mark.parametrize("declare", [kopf.on.update, kopf.on.delete, kopf.on.resume, kopf.timer, kopf.daemon])
def test_kopf_writes_on_what_its_handlers_follow(app: Operator, registry: kopf.OperatorRegistry, declare: Any) -> None:
    options = {"interval": 5} if declare is kopf.timer else {}
    declare("pods", registry=registry, **options)(plain)
    assert verbs_of(app, registry, "", "pods") == {"list", "watch", "patch"}


@pytest.mark.parametrize("declare", [kopf.on.event, kopf.index])
def test_what_is_only_watched_is_not_written(app: Operator, registry: kopf.OperatorRegistry, declare: Any) -> None:
    declare("pods", registry=registry)(plain)
    assert verbs_of(app, registry, "", "pods") == {"list", "watch"}


def test_a_handler_of_events_that_asks_for_a_patch_may_write(app: Operator, registry: kopf.OperatorRegistry) -> None:
    kopf.on.event("pods", registry=registry)(patching)
    assert "patch" in verbs_of(app, registry, "", "pods")


@pytest.mark.parametrize("selector", [(kopf.EVERYTHING,), ("nobodyknows",), (lambda resource: True,)])
def test_handlers_whose_kinds_only_a_cluster_knows_are_named(
    app: Operator, registry: kopf.OperatorRegistry, selector: tuple[Any, ...]
) -> None:
    kopf.on.event(*selector, registry=registry)(plain)
    found = handler_needs(app, registry)
    assert len(found.unknown) == 1
    assert f"{__name__}.plain" in found.warning
    assert "app.needs(" in found.warning


def test_without_handlers_nothing_is_needed(app: Operator, registry: kopf.OperatorRegistry) -> None:
    kopf.on.startup(registry=registry)(plain)
    assert handler_needs(app, registry).needs == ()
    assert permissions(app, handlers=()) == permissions(app)


def test_the_handlers_of_other_modules_are_not_those_of_an_operator(
    app: Operator, registry: kopf.OperatorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(**_: Any) -> None: ...

    elsewhere.__module__ = "somewhere_else"
    monkeypatch.setitem(sys.modules, "somewhere_else", ModuleType("somewhere_else"))
    kopf.on.event("pods", registry=registry)(plain)
    kopf.on.event("pods", registry=registry, id="other")(elsewhere)
    kopf.on.startup(registry=registry)(elsewhere)
    chosen = registry_of(app, registry)
    assert [handler.fn for handler in chosen._watching.get_all_handlers()] == [plain]
    assert chosen._activities.get_all_handlers() == []


def test_the_handlers_of_a_package_belong_to_an_operator_in_it(
    registry: kopf.OperatorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = ModuleType("shop_of_tests")
    package.__file__ = "shop_of_tests/__init__.py"
    monkeypatch.setitem(sys.modules, "shop_of_tests", package)

    def handler(**_: Any) -> None: ...

    handler.__module__ = "shop_of_tests.handlers"
    kopf.on.event("pods", registry=registry)(handler)
    app = Operator("shop")
    app.module = "shop_of_tests.app"
    assert [one.fn for one in registry_of(app, registry)._watching.get_all_handlers()] == [handler]
