"""Kinds of third parties without a class: read, applied as children, watched, pruned and updated."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from operatorkit import AnyFields, Context, DefinitionError, Model, Operator, Resource, Unstructured, Watch
from operatorkit.clock import SystemClock
from operatorkit.definitions import external_kinds, own_kinds
from operatorkit.errors import NotFound
from operatorkit.kinds import CUSTOM_RESOURCE_DEFINITIONS
from operatorkit.permissions import permissions
from operatorkit.resource import NoStatus, ObjectMeta, read, write
from operatorkit.testing import eventually
from operatorkit.testing.running import install_crds, install_stand_ins, running

Monitor = Unstructured("monitors.example.io/v1", "Monitor")
MONITORS = Monitor.api_resource()


class SiteSpec(Model):
    ports: list[str] = []


class Site(Resource[SiteSpec, NoStatus], group="sites.example.io", version="v1"):
    """A site, and a monitor for each of its ports."""


SITES = Site.api_resource()


def monitored(seen: list[Any]) -> Operator:
    app = Operator("sites")

    def all_sites(monitor: Any, reader: Any) -> list[Any]:
        return [site.key for site in reader.list(Site)]

    @app.reconcile(Site, owns=[Monitor], watches=[Watch(Monitor, to=all_sites)])
    async def reconcile(site: Site, ctx: Context) -> None:
        not_owned = ctx.get(Monitor, "foreign")
        seen.append(None if not_owned is None else (not_owned.spec.endpoints, not_owned.status.get("bound")))
        await ctx.apply(
            *(
                Monitor(
                    metadata=ObjectMeta(name=port),
                    spec=AnyFields(endpoints=[{"port": port, "interval": "30s"}], jobLabel="app"),
                )
                for port in site.spec.ports
            )
        )

    return app


async def test_objects_without_a_class_are_read_applied_and_pruned(cluster):
    seen: list[Any] = []
    app = monitored(seen)
    await install_crds(cluster, [Site])
    await install_stand_ins([Monitor], cluster)
    here = cluster.namespace
    not_owned = {"apiVersion": "monitors.example.io/v1", "kind": "Monitor", "metadata": {"name": "foreign"}}
    await cluster.create(MONITORS, not_owned | {"spec": {"endpoints": [{"port": "x"}]}}, namespace=here)
    site = Site(metadata=ObjectMeta(name="a"), spec=SiteSpec(ports=["web", "admin"]))
    await cluster.create(SITES, site.write(), namespace=here)
    async with running(app, cluster, namespace=here) as operator:
        await operator.idle()
        assert seen[-1] == ([{"port": "x"}], None)
        live = await cluster.get(MONITORS, "web", namespace=here)
        assert live["spec"] == {"endpoints": [{"port": "web", "interval": "30s"}], "jobLabel": "app"}
        operator.cluster.forget()
        await cluster.patch(SITES, "a", {"spec": {"ports": ["web"]}}, patch_type="merge", namespace=here)
        await operator.idle()
        assert operator.writes() == {("delete", "monitors"): 1}
        found = await cluster.list(MONITORS, namespace=here)
        assert sorted(each["metadata"]["name"] for each in found.items) == ["foreign", "web"]


def test_the_kind_is_external_and_has_its_permissions():
    app = monitored([])
    assert external_kinds(app) == [Monitor]
    assert own_kinds(app) == [Site]
    verbs = {one.verb for one in permissions(app) if one.resource == "monitors"}
    assert verbs == {"list", "watch", "create", "patch", "delete"}


def test_what_is_read_is_kept_and_what_is_set_is_sent():
    body = {
        "apiVersion": "monitors.example.io/v1",
        "kind": "Monitor",
        "metadata": {"name": "a", "namespace": "b"},
        "spec": {"x": {"y": [1]}},
    }
    monitor = read(Monitor, body)
    assert (monitor.spec.x, monitor.spec.get("none", 3)) == ({"y": [1]}, 3)
    monitor.spec.z = 5
    assert write(monitor)["spec"] == {"z": 5}
    assert write(Monitor(metadata=ObjectMeta(name="a"), spec=AnyFields(x=1)))["spec"] == {"x": 1}


def test_equal_arguments_give_one_class_and_names_are_those_of_the_kind():
    assert Unstructured("monitors.example.io/v1", "Monitor") is Monitor
    assert (Monitor.__name__, MONITORS.plural, MONITORS.namespaced) == ("Monitor", "monitors", True)
    chosen = Unstructured("a.example.io/v2", "Chassis", plural="chassis", namespaced=False).api_resource()
    assert (chosen.plural, chosen.namespaced, chosen.api_version) == ("chassis", False, "a.example.io/v2")


@pytest.mark.parametrize("api_version", ["v1", "", "/v1", "example.io/"])
def test_a_kind_without_a_group_is_an_error(api_version):
    with pytest.raises(DefinitionError, match="write GROUP/VERSION"):
        Unstructured(api_version, "Pod")


Extra = Unstructured("extras.example.io/v1", "Extra")
EXTRAS = Extra.api_resource()


async def test_a_kind_whose_definition_comes_and_goes(cluster):
    app, seen = Operator("flexible"), []
    app.optional(Extra)

    @app.reconcile(Site, owns=[Extra])
    async def reconcile(site: Site, ctx: Context) -> None:
        seen.append(ctx.serves(Extra))
        assert ctx.serves(Site)
        await ctx.apply(*([Extra(metadata=ObjectMeta(name="x"))] if ctx.serves(Extra) else []))

    await install_crds(cluster, [Site])
    here = cluster.namespace
    await cluster.create(SITES, Site(metadata=ObjectMeta(name="a")).write(), namespace=here)
    try:
        async with running(app, cluster, namespace=here, network_clock=Hasty()) as operator:
            await operator.idle()
            assert seen == [False]
            assert operator.engine.caches.silent_since() == {}
            await install_stand_ins([Extra], cluster)

            async def applied() -> bool:
                return bool((await cluster.list(EXTRAS, namespace=here)).items)

            await eventually(applied, timeout=60)
            assert seen[-1] is True
            await cluster.delete(CUSTOM_RESOURCE_DEFINITIONS, "extras.extras.example.io")
            await eventually(lambda: seen[-1] is False, timeout=60)
            assert operator.engine.caches.keys(EXTRAS) == []
    finally:
        with suppress(NotFound):
            await cluster.delete(CUSTOM_RESOURCE_DEFINITIONS, "extras.extras.example.io")


class Hasty(SystemClock):
    """A clock by which a kind that is not served is looked for twenty times sooner."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / 20)
