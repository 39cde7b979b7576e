"""Replicas that elect a leader by a Lease: in this loop, under a clock that the test controls."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from operatorkit import Allowed, Condition, Context, Denied, Model, Operator, Resource
from operatorkit._runtime import Engine
from operatorkit._runtime.admission import AtUrl
from operatorkit._runtime.leases import LeaseElector
from operatorkit.clock import SYSTEM_CLOCK
from operatorkit.cluster import PatchType
from operatorkit.errors import Forbidden, InputError, Invalid, LeaseLost
from operatorkit.kinds import LEASES
from operatorkit.resource import ObjectMeta
from operatorkit.settings import LeaderElection
from operatorkit.testing import FakeClock, eventually
from operatorkit.testing.cluster import RecordingCluster
from operatorkit.testing.running import install_crds

NAME = "twins"


class NoteSpec(Model):
    text: str = ""


class NoteStatus(Model):
    text: str = ""
    conditions: list[Condition] = []


class Note(Resource[NoteSpec, NoteStatus], group="election.example.io", version="v1"):
    """Something that one replica reconciles."""


NOTES = Note.api_resource()


class Unresponsive:
    """A cluster that, while `hangs`, executes nothing and returns nothing."""

    def __init__(self, api: Any) -> None:
        self.api, self.hangs, self.waiting = api, False, 0

    def __getattr__(self, name: str) -> Any:
        async def request(*args: Any, **options: Any) -> Any:
            if self.hangs:
                self.waiting += 1
                await asyncio.Event().wait()
            return await getattr(self.api, name)(*args, **options)

        return request


def elector(api: Any, clock: FakeClock, identity: str, *, namespace: str) -> LeaseElector:
    return LeaseElector(api, namespace=namespace, name=NAME, settings=LeaderElection(), clock=clock, identity=identity)


@asynccontextmanager
async def running(one: LeaseElector):
    task = asyncio.create_task(one.run())
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, LeaseLost):
            await task


async def paused(*electors: LeaseElector) -> None:
    """Return when no attempt is under way: now a test may move the clock."""
    await eventually(lambda: all(one.next_attempt is not None for one in electors))


async def lease(cluster: Any) -> dict[str, Any]:
    return await cluster.get(LEASES, NAME, namespace=cluster.namespace)


async def write(cluster: Any, **spec: Any) -> Any:
    return await cluster.patch(LEASES, NAME, {"spec": spec}, patch_type=PatchType.MERGE, namespace=cluster.namespace)


async def test_the_first_replica_creates_the_lease_and_renews_it(cluster):
    clock = FakeClock()
    one = elector(cluster, clock, "one", namespace=cluster.namespace)
    async with running(one):
        await one.acquired()
        first = (await lease(cluster))["spec"]
        assert (first["holderIdentity"], first["leaseDurationSeconds"]) == ("one", 15)
        assert (first["leaseTransitions"], first["acquireTime"]) == (0, first["renewTime"])
        await paused(one)
        await clock.advance(2)

        async def renewed() -> bool:
            return (await lease(cluster))["spec"]["renewTime"] > first["renewTime"]

        await eventually(renewed)
        assert (await lease(cluster))["spec"]["acquireTime"] == first["acquireTime"]
        assert one.leads


async def test_a_leader_costs_one_write_in_each_retry_period_and_a_standby_a_few_reads(cluster):
    clock = FakeClock()
    leader_api, standby_api = RecordingCluster(cluster), RecordingCluster(cluster)
    one = elector(leader_api, clock, "one", namespace=cluster.namespace)
    two = elector(standby_api, clock, "two", namespace=cluster.namespace)
    async with running(one), running(two):
        await paused(one, two)
        leader, standby = (one, two) if one.leads else (two, one)
        apis = {one: leader_api, two: standby_api}
        for api in apis.values():
            api.forget()
        for _ in range(40):
            await paused(one, two)
            await clock.advance(0.5)
        await paused(one, two)
    assert apis[leader].writes() == {("update", "leases"): 10}
    assert apis[leader].reads() == {}
    assert apis[standby].writes() == {}
    assert set(apis[standby].reads()) == {("get", "leases")}
    assert 13 <= apis[standby].reads()["get", "leases"] <= 40


async def test_a_standby_takes_a_released_lease_over_within_the_retry_period(cluster):
    clock = FakeClock()
    one, two = (elector(cluster, clock, name, namespace=cluster.namespace) for name in ("one", "two"))
    async with running(one) as leader:
        await one.acquired()
        async with running(two):
            await paused(one, two)
            assert not two.leads
            leader.cancel()
            await asyncio.wait({leader})
            await one.release()
            assert ((await lease(cluster))["spec"]["holderIdentity"], one.leads) == ("", False)
            await clock.advance(2)
            await asyncio.wait_for(two.acquired(), 60)
            spec = (await lease(cluster))["spec"]
            assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("two", 1)


async def test_a_standby_waits_for_the_lease_duration_after_the_last_renewal_that_it_saw(cluster):
    clock = FakeClock()
    one, two = (elector(cluster, clock, name, namespace=cluster.namespace) for name in ("one", "two"))
    async with running(one) as leader:
        await one.acquired()
        leader.cancel()
        await asyncio.wait({leader})  # killed: it does not release
    async with running(two):
        await paused(two)
        begin = clock.monotonic()
        while not two.leads:
            assert two.next_attempt is not None
            await clock.advance(two.next_attempt - clock.monotonic())
            await paused(two)
        assert clock.monotonic() - begin == pytest.approx(15)
    assert (await lease(cluster))["spec"]["holderIdentity"] == "two"


async def test_a_leader_that_finds_another_holder_has_lost_the_lease(cluster):
    clock = FakeClock()
    one = elector(cluster, clock, "one", namespace=cluster.namespace)
    async with running(one) as leader:
        await one.acquired()
        await write(cluster, holderIdentity="thief")
        await paused(one)
        await clock.advance(2)
        with pytest.raises(LeaseLost, match=rf"Lease {cluster.namespace}/twins is lost: thief holds it now"):
            await asyncio.wait_for(leader, 60)
        await one.release()
    assert (await lease(cluster))["spec"]["holderIdentity"] == "thief", "only its holder releases a Lease"


async def test_a_leader_loses_the_lease_when_the_api_server_does_not_respond_for_the_renew_deadline(cluster):
    clock, api = FakeClock(), Unresponsive(cluster)
    one = elector(api, clock, "one", namespace=cluster.namespace)
    async with running(one) as leader:
        await one.acquired()
        await paused(one)
        api.hangs = True
        await clock.advance(2)
        await eventually(lambda: api.waiting == 1)
        await clock.advance(7.9)
        assert one.leads
        assert not leader.done()
        await clock.advance(0.1)
        assert not one.leads
        with pytest.raises(LeaseLost, match="it could not be renewed for 10 s: the API server did not respond"):
            await asyncio.wait_for(leader, 60)


async def test_a_renewal_counts_from_the_beginning_of_its_request(cluster):
    """A standby may have seen the record long before the response arrives."""

    class Slow(Unresponsive):
        arrived, respond = asyncio.Event(), asyncio.Event()

        async def replace(self, *args: Any, **options: Any) -> Any:
            answer = await cluster.replace(*args, **options)
            self.arrived.set()
            await self.respond.wait()
            return answer

    clock = FakeClock()
    api = Slow(cluster)
    one = elector(api, clock, "one", namespace=cluster.namespace)
    async with running(one):
        await one.acquired()
        await paused(one)
        await clock.advance(2)
        await asyncio.wait_for(api.arrived.wait(), 60)
        await clock.advance(3)
        api.respond.set()
        await paused(one)
        assert (one.held_since, clock.monotonic()) == (2, 5)


async def test_a_leader_survives_errors_of_the_api_server_that_are_shorter_than_the_renew_deadline(cluster, caplog):
    class Denying(Unresponsive):
        denies = False

        async def replace(self, *args: Any, **options: Any) -> Any:
            if self.denies:
                raise Forbidden("no")
            return await cluster.replace(*args, **options)

    clock, api = FakeClock(), Denying(cluster)
    one = elector(api, clock, "one", namespace=cluster.namespace)
    async with running(one) as leader:
        await one.acquired()
        api.denies = True
        for _ in range(3):
            await paused(one)
            await clock.advance(2)
        await paused(one)
        api.denies = False
        await clock.advance(2)
        await paused(one)
        await clock.advance(5)
        assert one.leads
        assert not leader.done()
    assert caplog.text.count("twins: no; trying again") == 1, "an error is logged once, not at each attempt"


async def test_a_lease_that_was_deleted_is_created_again_by_its_leader(cluster):
    clock = FakeClock()
    one = elector(cluster, clock, "one", namespace=cluster.namespace)
    async with running(one):
        await one.acquired()
        await cluster.delete(LEASES, NAME, namespace=cluster.namespace)
        await paused(one)
        await clock.advance(2)

        async def is_back() -> bool:
            return (await lease(cluster))["spec"]["holderIdentity"] == "one"

        await eventually(is_back)


async def test_what_others_wrote_into_the_lease_stays(cluster):
    body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NAME, "labels": {"a": "b"}}}
    await cluster.create(LEASES, body, namespace=cluster.namespace)
    one = elector(cluster, FakeClock(), "one", namespace=cluster.namespace)
    async with running(one):
        await one.acquired()
        assert (await lease(cluster))["metadata"]["labels"] == {"a": "b"}


async def test_a_namespace_that_does_not_exist_is_named(cluster):
    one = elector(cluster, FakeClock(), "one", namespace="nowhere")
    with pytest.raises(InputError, match=r"Lease nowhere/twins cannot be created: .*leader-elect-resource-namespace"):
        await asyncio.wait_for(one.run(), 60)


async def test_of_many_replicas_one_leads(cluster):
    clock = FakeClock()
    many = [elector(cluster, clock, f"replica-{number}", namespace=cluster.namespace) for number in range(5)]
    tasks = [asyncio.create_task(one.run()) for one in many]
    try:
        await paused(*many)
        assert [one.leads for one in many].count(True) == 1
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def app_of(runs: list[str]) -> Operator:
    app = Operator("twins")

    @app.reconcile(Note)
    async def reconcile(note: Note, ctx: Context) -> None:
        runs.append(ctx.key.name)
        note.status.text = note.spec.text

    @app.validate(Note)
    async def validate(new: Note, old: Note | None, request: Any) -> Allowed | Denied:
        return Denied("not that") if new.spec.text == "wrong" else Allowed()

    return app


async def create(cluster: Any, name: str, text: str) -> None:
    obj = Note(metadata=ObjectMeta(name=name), spec=NoteSpec(text=text)).write()
    await cluster.create(NOTES, obj, namespace=cluster.namespace)


async def test_a_standby_is_ready_with_caches_in_sync_and_webhooks_served_and_reconciles_nothing(cluster):
    await install_crds(cluster, [Note])
    await create(cluster, "before", "one")
    clock, runs = FakeClock(), list[str]()
    one = elector(cluster, clock, "one", namespace=cluster.namespace)
    two = elector(cluster, clock, "two", namespace=cluster.namespace)
    async with running(one) as leader:
        await one.acquired()
        engine = Engine(
            app_of(runs),
            cluster,
            namespace=cluster.namespace,
            webhooks=AtUrl(),
            webhook_clock=SYSTEM_CLOCK,
            elector=two,
        )
        task = asyncio.create_task(engine.run())
        try:
            await asyncio.wait_for(engine.ready(), 60)
            assert (engine.is_ready, engine.is_leading) == (True, False)
            with pytest.raises((Invalid, Forbidden), match="not that"):
                await create(cluster, "bad", "wrong")
            await create(cluster, "after", "two")
            await eventually(lambda: len(engine.caches.keys(NOTES)) == 2)
            assert runs == []
            leader.cancel()
            await asyncio.wait({leader})
            await one.release()
            await paused(two)
            await clock.advance(2)
            await asyncio.wait_for(engine.leading(), 60)
            await eventually(lambda: sorted(set(runs)) == ["after", "before"])
        finally:
            engine.stop()
            await task
    assert (await lease(cluster))["spec"]["holderIdentity"] == "", "an engine that stops releases its Lease"


async def test_an_engine_whose_lease_is_lost_cancels_its_runs_and_writes_nothing(cluster):
    await install_crds(cluster, [Note])
    clock, begun, ended = FakeClock(), asyncio.Event(), list[str]()
    app = Operator("twins")

    @app.reconcile(Note)
    async def reconcile(note: Note, ctx: Context) -> None:
        note.status.text = "written"
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    one = elector(cluster, clock, "one", namespace=cluster.namespace)
    engine = Engine(app, cluster, namespace=cluster.namespace, elector=one)
    task = asyncio.create_task(engine.run())
    await engine.leading()
    await create(cluster, "a", "one")
    await begun.wait()
    await write(cluster, holderIdentity="thief")
    await paused(one)
    await clock.advance(2)
    with pytest.raises(LeaseLost, match="thief holds it now"):
        await asyncio.wait_for(task, 60)
    assert ended == ["cancelled"]
    assert "status" not in await cluster.get(NOTES, "a", namespace=cluster.namespace)
