"""What probes find out: starting, stopping, an API server that is away, workers that hang, webhooks."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from operatorkit import Allowed, Model, Operator, Resource
from operatorkit._runtime.admission import AtUrl
from operatorkit._runtime.checks import HUNG_AFTER, SILENT_AFTER, Checks
from operatorkit._runtime.engine import Engine
from operatorkit.errors import Unreachable
from operatorkit.resource import NoStatus
from operatorkit.testing import FakeClock, eventually
from operatorkit.testing.running import install_crds, running
from operatorkit.webhooks.certificates import LEAF_LIFE


class LampSpec(Model):
    on: bool = False


class Lamp(Resource[LampSpec, NoStatus], group="health.example.io", version="v1"):
    """A lamp."""


LAMPS = Lamp.api_resource()


def lamp(name):
    return {"apiVersion": Lamp.api_version, "kind": "Lamp", "metadata": {"name": name}, "spec": {}}


class Cut:
    """A cluster whose lists and watches fail once `away` is set; the watches that are open end then."""

    def __init__(self, cluster):
        self._cluster = cluster
        self.away = asyncio.Event()

    def __getattr__(self, name):
        return getattr(self._cluster, name)

    async def list(self, *args, **kwargs):
        if self.away.is_set():
            raise Unreachable("connection refused")
        return await self._cluster.list(*args, **kwargs)

    async def watch(self, *args, **kwargs):
        if self.away.is_set():
            raise Unreachable("connection refused")
        events = self._cluster.watch(*args, **kwargs)
        try:
            while True:
                event = asyncio.ensure_future(anext(events))
                cut = asyncio.ensure_future(self.away.wait())
                try:
                    await asyncio.wait({event, cut}, return_when=asyncio.FIRST_COMPLETED)
                    if cut.done():
                        raise Unreachable("connection reset")
                    yield await event
                except StopAsyncIteration:
                    return
                finally:
                    for task in (event, cut):
                        task.cancel()
                    await asyncio.gather(event, cut, return_exceptions=True)
        finally:
            await events.aclose()


@pytest.fixture
def hold():
    return asyncio.Event()


@pytest.fixture
def checked(cluster, namespace, hold):
    """Run an operator whose runs hang until `hold` is set; yields it with its checks, and clocks to advance."""

    @asynccontextmanager
    async def run(api=None, *, clock=None, network_clock=None, **options):
        app = Operator(f"lamps-{namespace}")
        # nothing lists again because hours have passed: the clock of the network stands still between two ticks
        quiet = {"relist": None, "watch_probe": None}
        app.settings = replace(app.settings, own_namespace=namespace, reconcile_timeout=timedelta(hours=9), **quiet)

        @app.reconcile(Lamp, workers=2)
        async def reconcile(obj, ctx):
            await hold.wait()

        @app.validate(Lamp, namespace_selector={"matchLabels": {"kubernetes.io/metadata.name": namespace}})
        async def validate(new, old, request):
            return Allowed()

        await install_crds(cluster, [Lamp])
        clocks = {"clock": clock or FakeClock(), "network_clock": network_clock or FakeClock()}
        async with running(app, api or cluster, namespace=namespace, **clocks, **options) as it:
            it.checks = Checks(
                it.engine, reconcile_timeout=app.settings.reconcile_timeout, network_clock=clocks["network_clock"]
            )
            it.clock, it.network_clock = clocks["clock"], clocks["network_clock"]
            try:
                yield it
            finally:
                hold.set()

    return run


def failing(report):
    return {name: why for name, why in report.items() if why is not None}


async def test_an_operator_is_alive_from_the_start_and_ready_until_the_stop(cluster, checked, namespace):
    app = Operator("not-yet")
    app.reads(Lamp)
    starting = Engine(app, cluster, namespace=namespace)
    checks = Checks(starting, reconcile_timeout=timedelta(minutes=2), network_clock=FakeClock())
    assert failing(checks.live()) == {}
    assert failing(checks.ready()) == {
        "started": "it is starting",
        "caches": "not filled yet: lamps.health.example.io",
    }
    async with checked() as it:
        assert failing(it.checks.ready()) == {}
        it.engine.stop()
        assert failing(it.checks.ready()) == {"started": "it is stopping"}
        assert failing(it.checks.live()) == {}


async def test_without_an_api_server_it_is_alive_and_not_ready_until_that_is_back(cluster, checked):
    cut = Cut(cluster)
    async with checked(cut) as it:
        cut.away.set()

        async def not_ready():
            await it.network_clock.advance(timedelta(seconds=1))
            return failing(it.checks.ready())

        found = await eventually(not_ready, message="the watch is found to be dead")
        assert found["watches"].startswith("lamps.health.example.io: no contact for 31 s: ")
        assert "connection refused" in found["watches"]
        assert set(found) == {"watches"}
        assert failing(it.checks.live()) == {}
        cut.away.clear()
        await cluster.create(LAMPS, lamp("a"), namespace=cluster.namespace)  # the watch brings it

        async def ready():
            await it.network_clock.advance(timedelta(seconds=1))
            return not failing(it.checks.ready())

        await eventually(ready, message="it follows the API server again")
    assert timedelta(seconds=30) == SILENT_AFTER


async def test_it_is_not_alive_when_all_workers_of_a_kind_hang(cluster, checked, namespace, hold):
    limit = timedelta(hours=9) + HUNG_AFTER
    async with checked() as it:
        for name in ("a", "b"):
            assert failing(it.checks.live()) == {}  # one that is left goes on
            await cluster.create(LAMPS, lamp(name), namespace=namespace)
            await eventually(lambda count=name: len(it.engine.controllers[0].queue.running()) == "ab".index(count) + 1)
            it.clock.tick(limit + timedelta(seconds=1))
            it.network_clock.tick(limit + timedelta(seconds=1))
        it.clock.tick(limit)
        found = failing(it.checks.live())
        assert found["workers"].startswith("all 2 workers of Lamp have been reconciling one object each for ")
        assert f"{namespace}/a" in found["workers"]
        assert failing(it.checks.ready()) == {}
        hold.set()
        await eventually(lambda: not failing(it.checks.live()), message="the runs have ended")


async def test_runs_that_wait_for_an_api_server_that_is_away_are_no_reason_for_a_restart(
    cluster, checked, namespace, hold
):
    cut = Cut(cluster)
    async with checked(cut) as it:
        for name in ("a", "b"):
            await cluster.create(LAMPS, lamp(name), namespace=namespace)
        await eventually(lambda: len(it.engine.controllers[0].queue.running()) == 2)
        cut.away.set()
        await eventually(lambda: bool(it.engine.caches.silent_since()), message="there is no contact")
        it.clock.tick(timedelta(hours=20))
        it.network_clock.tick(timedelta(hours=20))
        assert failing(it.checks.live()) == {}


async def test_a_webhook_certificate_that_is_not_in_force_is_a_reason_not_to_be_ready(cluster, checked):
    clock = FakeClock(start=datetime.now(UTC))
    async with checked(clock=clock, webhooks=AtUrl()) as it:
        assert failing(it.checks.ready()) == {}
        service = it.engine.admission
        assert service is not None
        service._refresh = asyncio.Event().wait  # nobody renews it  # type: ignore[method-assign,assignment]
        clock.tick(LEAF_LIFE + timedelta(seconds=1))
        assert failing(it.checks.ready())["webhooks"].startswith("their certificate is valid from ")
    assert failing(it.checks.ready())["webhooks"] == "they are not served"


def page(it, text):
    is_known, lines = it.engine.why(text)
    assert is_known, lines
    return dict(line.split(":", 1) for line in lines.splitlines())


async def test_why_says_what_triggered_an_object_how_its_run_ended_and_when_the_next_is(cluster):
    app, clock, hold = Operator("why"), FakeClock(), asyncio.Event()

    @app.reconcile(Lamp, workers=1)
    async def reconcile(obj, ctx):
        if obj.spec.on:
            await hold.wait()
        if obj.metadata.name == "bad":
            raise ValueError("a secret")

    await install_crds(cluster, [Lamp])
    here = cluster.namespace
    async with running(app, cluster, clock=clock, namespace=here) as it:
        for name in ("bad", "good"):
            await cluster.create(LAMPS, lamp(name), namespace=here)
        await it.idle()
        good, bad = page(it, f"lamps/{here}/good"), page(it, f"{here}/bad")
        assert good["object"].strip() == f"Lamp {here}/good"
        assert good["because of"].strip() == "its own change (ADDED)"
        assert (good["result"].strip(), good["state"].strip()) == ("success", "it is idle")
        assert good["next run"].strip() == "with the next change"
        assert bad["result"].strip() == "error"
        assert bad["error"].strip() == "unexpected ValueError in the reconcile function: see the operator's log"
        assert bad["next run"].endswith("after 1 failures in a row")
        await cluster.patch(LAMPS, "good", {"spec": {"on": True}}, patch_type="merge", namespace=here)
        await eventually(lambda: "it is reconciled" in page(it, f"{here}/good")["state"])
        for name in ("x", "y"):
            await cluster.create(LAMPS, lamp(name), namespace=here)
        await eventually(lambda: "with 1 ahead of it; 1 of 1 workers" in page(it, f"Lamp/{here}/y")["state"])
        assert page(it, f"{here}/y")["trigger"].strip() == "its own change (ADDED)"
        assert page(it, f"{here}/none")["cache"].strip().startswith("it is not in the cache")
        is_known, text = it.engine.why("pods/a/b")
        assert not is_known
        assert "no object of a kind that is reconciled here (lamps.health.example.io)" in text
        hold.set()
        await it.idle()
