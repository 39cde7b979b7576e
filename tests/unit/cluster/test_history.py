"""A server that is replaced, restored, silent or gone, and what a process with several informers makes of that."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta

import pytest

from operatorkit import errors
from operatorkit.cluster import History, Informer, ObjectList, WatchEvent
from operatorkit.names import ApiResource
from operatorkit.testing import FakeClock, eventually

CONFIG_MAPS = ApiResource("", "v1", "ConfigMap", "configmaps", namespaced=True)
SECRETS = ApiResource("", "v1", "Secret", "secrets", namespaced=True)


def obj(name, version, uid):
    meta = {"namespace": "d", "name": name, "resourceVersion": str(version), "uid": uid}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}


class World:
    """A server as kube-apiserver is: a watch from a version that is yet to come is accepted, and silent until then."""

    def __init__(self):
        self.version = 1000
        self.objects = {
            CONFIG_MAPS: {"a": obj("a", 400, "ua"), "b": obj("b", 900, "ub")},
            SECRETS: {"s": obj("s", 300, "us")},
        }
        self.lists, self.probes, self.watches = Counter(), Counter(), Counter()
        self.rejection = None  # what every request is answered with
        self.denied = set()  # kinds whose lists are forbidden
        self.removed = set()  # kinds that are not served
        self.silent = False  # whether nothing is answered, and nothing is brought, without a word
        self._open = {}

    async def list(self, resource, *, namespace=None, field_selector="", limit=None, **options):
        (self.probes if limit == 1 else self.lists)[resource] += 1
        if self.silent:
            await asyncio.Event().wait()
        if self.rejection is not None:
            raise self.rejection
        if resource in self.denied:
            raise errors.Forbidden("not allowed")
        if resource in self.removed:
            raise errors.NotFound("the server could not find the requested resource", code=404)
        name = field_selector.removeprefix("metadata.name=")
        found = [each for each in self.objects[resource].values() if name in {"", each["metadata"]["name"]}]
        return ObjectList(found[:limit], str(self.version), "")

    async def watch(self, resource, *, resource_version, **options):
        self.watches[resource] += 1
        if self.silent:
            await asyncio.Event().wait()
        if self.rejection is not None:
            raise self.rejection
        yield WatchEvent("BOOKMARK", {"metadata": {"resourceVersion": resource_version}})
        queue = self._open[resource] = asyncio.Queue()
        while True:
            event = await queue.get()
            if event is None:
                return
            if isinstance(event, Exception):
                raise event
            if int(event.object["metadata"]["resourceVersion"]) > int(resource_version):
                yield event

    def restore(self, version):
        """Become a server restored from a backup of 500, which has counted on since."""
        self.version = version
        self.objects[CONFIG_MAPS] = {"a": obj("a", 400, "ua"), "c": obj("c", 510, "uc")}
        self.objects[SECRETS] = {"t": obj("t", 505, "ut")}

    def end_watch(self, resource, how):
        self._open[resource].put_nowait(how)


@asynccontextmanager
async def following(world, clock, resources=(CONFIG_MAPS, SECRETS), **options):
    history = History(clock, **({"probe_every": None, "relist_every": None} | options))
    informers = [Informer(world, resource, clock=clock, history=history) for resource in resources]
    async with AsyncExitStack() as stack:
        for informer in informers:
            task = asyncio.create_task(informer.run())
            stack.push_async_callback(_end, task)
        await eventually(lambda: all(world.watches[each] for each in resources))
        await eventually(lambda: all(each._heard for each in informers))
        yield history, informers


async def _end(task):
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def names(informer):
    return [key.name for key in informer.cache.keys("d")]


ENDS = {
    "refused": errors.Unreachable("connection refused"),
    "a polite end": None,
    "503": errors.ClusterError("no backend", code=503),
    "429": errors.Throttled("slow down", code=429),
    "timeout": errors.Timeout("no answer in time", code=0),
    "credentials": errors.Unauthorized("who are you?"),
}


@pytest.mark.parametrize("version", [510, 5000], ids=["behind", "ahead"])
@pytest.mark.parametrize("how", ENDS.values(), ids=ENDS)
async def test_another_server_is_noticed_after_every_kind_of_interruption(clock, how, version):
    world = World()
    async with following(world, clock) as (history, (maps, secrets)):
        assert names(maps) == ["a", "b"]
        world.restore(version)
        world.end_watch(CONFIG_MAPS, how)
        await eventually(lambda: names(maps) == ["a", "c"])
        await eventually(lambda: names(secrets) == ["t"], message="its own watch was not interrupted")
        await eventually(lambda: not history.in_doubt)
        assert maps.error is None


async def test_another_object_of_the_newest_ones_name_is_a_sign_of_another_server(clock):
    world = World()
    async with following(world, clock) as (_, (maps, secrets)):
        world.restore(5000)
        world.objects[CONFIG_MAPS] = {"a": obj("a", 400, "ua"), "b": obj("b", 4000, "another uid")}
        world.end_watch(CONFIG_MAPS, None)
        await eventually(lambda: maps.resource_version == "5000")
        await eventually(lambda: names(secrets) == ["t"], message="its own watch was not interrupted")


async def test_a_kind_that_is_not_served_any_more_does_not_make_the_others_list(clock):
    world = World()
    async with following(world, clock) as (history, (maps, _)):
        world.removed.add(CONFIG_MAPS)
        world.end_watch(CONFIG_MAPS, None)
        await eventually(lambda: isinstance(maps.error, errors.NotFound))
        assert not history.in_doubt
        assert world.lists[SECRETS] == 1
        world.removed.clear()
        await eventually(lambda: maps.error is None)
        assert (history.epoch, world.lists[SECRETS]) == (0, 1)


async def test_a_polite_end_on_the_same_server_costs_one_request(clock):
    world = World()
    async with following(world, clock) as (history, _):
        for count in range(2, 7):
            world.end_watch(CONFIG_MAPS, None)
            await eventually(lambda count=count: world.watches[CONFIG_MAPS] == count)
            await eventually(lambda: world._open)
            await asyncio.sleep(0)
        assert (world.lists[CONFIG_MAPS], world.lists[SECRETS]) == (1, 1)
        assert world.probes[CONFIG_MAPS] == 5
        assert history.epoch == 0


async def test_a_connection_that_breaks_costs_one_list_of_each_kind(clock):
    world = World()
    async with following(world, clock) as (history, _):
        world.end_watch(CONFIG_MAPS, errors.Unreachable("connection reset"))
        await eventually(lambda: world.watches == {CONFIG_MAPS: 2, SECRETS: 2} and not history.in_doubt)
        assert world.lists == {CONFIG_MAPS: 2, SECRETS: 2}


async def test_all_watches_that_break_at_once_cost_one_list_of_each_kind(clock):
    world = World()
    async with following(world, clock) as (history, _):
        for resource in (CONFIG_MAPS, SECRETS):
            world.end_watch(resource, errors.Unreachable("connection reset"))
        await eventually(lambda: world.watches == {CONFIG_MAPS: 2, SECRETS: 2} and not history.in_doubt)
        assert world.lists == {CONFIG_MAPS: 2, SECRETS: 2}


async def test_the_doubt_lasts_until_every_kind_is_listed(clock):
    world, reported = World(), []
    async with following(world, clock) as (history, (maps, _)):
        history.subscribe(reported.append)
        world.rejection = errors.Unreachable("connection refused")
        world.end_watch(CONFIG_MAPS, world.rejection)
        await eventually(lambda: maps.error is world.rejection and clock.monotonic() > 1000)
        assert history.in_doubt, "no answer is no reason to go on"
        world.rejection = None
        await eventually(lambda: not history.in_doubt)
    assert reported == [True, False]


async def test_a_kind_that_must_not_be_listed_holds_up_the_others_for_a_minute(clock, caplog):
    world, reported = World(), []
    async with following(world, clock) as (history, (maps, secrets)):
        world.denied.add(SECRETS)
        history.subscribe(lambda in_doubt: reported.append((in_doubt, clock.monotonic())))
        world.end_watch(CONFIG_MAPS, errors.Unreachable("connection reset"))
        await eventually(lambda: len(reported) == 2)
        (began, at), (lasts, until) = reported
        assert began
        assert not lasts
        assert until - at > 60
        assert not history.is_pending(maps)
        assert history.is_pending(secrets)
        assert "secrets: could not be listed within a minute" in caplog.text


async def test_a_kind_that_is_rejected_for_ever_does_not_make_the_others_list_for_ever(clock):
    world = World()
    async with following(world, clock) as (_, (maps, _)):
        world.denied.add(CONFIG_MAPS)
        world.end_watch(CONFIG_MAPS, errors.Forbidden("not allowed any more"))
        await eventually(lambda: maps.error is not None and world.lists[CONFIG_MAPS] > 20)
        assert world.lists[SECRETS] == 2


async def test_an_own_write_that_the_restored_server_does_not_have_is_not_read_for_ever(clock):
    world = World()
    async with following(world, clock) as (_, (maps, _)):
        maps.put(obj("a", 1001, "ua"))
        maps.put(obj("mine", 1002, "um"))
        world.restore(1500)  # past our writes
        world.end_watch(CONFIG_MAPS, errors.Unreachable("connection reset"))
        await eventually(lambda: names(maps) == ["a", "c"])
        assert maps.cache.resource_version(maps.cache.keys()[0]) == "400"


async def test_an_informer_that_joins_or_leaves_during_a_doubt_does_not_prolong_it(clock):
    world = World()
    async with following(world, clock, [CONFIG_MAPS]) as (history, _):
        task = asyncio.create_task(Informer(world, SECRETS, clock=clock, history=history).run())
        await eventually(lambda: world.watches[SECRETS])
        world.denied.add(SECRETS)
        world.end_watch(CONFIG_MAPS, errors.Unreachable("connection reset"))
        await eventually(lambda: world.lists[SECRETS] > 2)
        await _end(task)
        assert not history.in_doubt


async def test_every_kind_is_listed_now_and_then_and_nothing_is_reported_where_nothing_differs():
    world, clock, changes = World(), FakeClock(), []
    async with following(world, clock, relist_every=timedelta(hours=1)) as (_, (maps, _)):
        maps.subscribe(changes.append)
        changes.clear()
        await clock.advance(timedelta(hours=1.3))
        await clock.advance(1)
        await eventually(lambda: world.lists == {CONFIG_MAPS: 2, SECRETS: 2})
        assert not changes
        del world.objects[CONFIG_MAPS]["b"]  # nobody has told
        await clock.advance(timedelta(hours=1.3))
        await clock.advance(1)
        await eventually(lambda: names(maps) == ["a"])


async def test_a_silent_process_asks_for_one_object_now_and_then_however_many_kinds_it_follows():
    world, clock = World(), FakeClock()
    async with following(world, clock, probe_every=timedelta(seconds=15)):
        await clock.advance(60)
        assert 3 <= world.probes.total() <= 5
        assert world.lists == {CONFIG_MAPS: 1, SECRETS: 1}


async def test_a_server_that_does_not_answer_any_more_is_given_up_though_no_connection_ends():
    world, clock = World(), FakeClock()
    async with following(world, clock, probe_every=timedelta(seconds=15)) as (history, informers):
        world.silent = True
        await clock.advance(28)
        assert history.in_doubt
        assert any(each.silent_since is not None for each in informers)


async def test_another_server_behind_connections_that_stay_open_is_noticed():
    world, clock = World(), FakeClock()
    async with following(world, clock, probe_every=timedelta(seconds=15)) as (_, (maps, secrets)):
        world.restore(5000)
        await clock.advance(40)
        await eventually(lambda: (names(maps), names(secrets)) == (["a", "c"], ["t"]))


async def test_a_watch_that_brings_nothing_while_the_server_answers_is_opened_again():
    world, clock = World(), FakeClock()
    async with following(world, clock, [CONFIG_MAPS], probe_every=timedelta(seconds=15)):
        await clock.advance(92)
        await eventually(lambda: world.watches[CONFIG_MAPS] == 2)
        assert world.lists[CONFIG_MAPS] == 1
