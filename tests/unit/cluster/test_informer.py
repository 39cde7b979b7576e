"""The informer against an API whose lists and watches are scripted: each fault at the moment the test chooses."""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import asynccontextmanager, suppress

import pytest

from operatorkit import errors
from operatorkit.cluster import History, Informer, ObjectList, WatchEvent
from operatorkit.names import ObjectKey
from operatorkit.testing import eventually

A, B = ObjectKey("ns", "a"), ObjectKey("ns", "b")


def pod(name, version):
    return {"kind": "Pod", "metadata": {"name": name, "namespace": "ns", "resourceVersion": str(version)}}


def added(name, version):
    return WatchEvent("ADDED", pod(name, version))


def modified(name, version):
    return WatchEvent("MODIFIED", pod(name, version))


def deleted(name, version):
    return WatchEvent("DELETED", pod(name, version))


def bookmark(version):
    return WatchEvent("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": str(version)}})


def page(version, *objects, token=""):
    return ObjectList(list(objects), str(version), token)


class ScriptedAPI:
    """Plays lists and watches in order; a watch is a list of events, ended by an error or by its end.

    When the script of watches is over, the last watch hangs, as a quiet cluster does. A probe (a list of one) finds the
    object that was brought last; `probes` are answers to it that come first.
    """

    def __init__(self, lists, watches=(), probes=()):
        self.lists, self.watches, self.probes = list(lists), list(watches), list(probes)
        self.objects = {}
        self.asked: list[str] = []
        self.open_watches = 0
        self.running = 0

    async def list(self, resource, *, limit=None, continue_token="", **options):
        if limit == 1:
            self.asked.append("probe")
            if self.probes:
                answer = self.probes.pop(0)
                if isinstance(answer, Exception):
                    raise answer
                return answer
            name = options["field_selector"].removeprefix("metadata.name=")
            return ObjectList([self.objects[name]] if name in self.objects else [], "1000000")
        self.asked.append(f"list {limit or 'all'}{' ' + continue_token if continue_token else ''}")
        self.running += 1
        assert self.running == 1, "two requests at a time"
        await asyncio.sleep(0)
        self.running -= 1
        answer = self.lists.pop(0)
        if isinstance(answer, Exception):
            raise answer
        self.objects |= {obj["metadata"]["name"]: obj for obj in answer.items if "metadata" in obj}
        return answer

    async def watch(self, resource, *, resource_version, **options):
        self.asked.append(f"watch {resource_version}")
        self.open_watches += 1
        try:
            if not self.watches:
                await asyncio.Event().wait()
            for event in self.watches.pop(0):
                await asyncio.sleep(0)
                if isinstance(event, Exception):
                    raise event
                self.objects[event.object["metadata"].get("name")] = event.object
                if event.type == "DELETED":
                    self.objects.pop(event.object["metadata"].get("name"))
                yield event
        finally:
            self.open_watches -= 1


def quiet(clock):
    """A history without probes and lists of its own accord: this clock does not stand still."""
    return History(clock, probe_every=None, relist_every=None)


@pytest.fixture
def following(pods, clock):
    @asynccontextmanager
    async def follow(api, until=None, **options):
        options.setdefault("history", quiet(clock))
        informer = Informer(api, pods, clock=clock, **options)
        changes = []
        informer.subscribe(
            lambda change: changes.append(
                (change.type, change.key.name, (change.new or change.old)["metadata"]["resourceVersion"])
            )
        )
        task = asyncio.create_task(informer.run())
        try:
            await informer.synced()
            await eventually(lambda: not api.watches and not api.lists)
            yield informer, changes
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    return follow


async def test_a_list_fills_the_cache_and_the_watch_keeps_it(following):
    api = ScriptedAPI([page(5, pod("a", 3))], [[modified("a", 6), added("b", 7), deleted("a", 8), bookmark(9)]])
    async with following(api) as (informer, changes):
        await eventually(lambda: informer.resource_version == "9")
        assert informer.cache.keys("ns") == [B]
        assert changes == [("ADDED", "a", "3"), ("MODIFIED", "a", "6"), ("ADDED", "b", "7"), ("DELETED", "a", "8")]
        await eventually(lambda: len(api.asked) == 4)
    assert api.asked == ["list 500", "watch 5", "probe", "watch 9"]


async def test_a_long_list_comes_in_pages(following):
    api = ScriptedAPI([page(5, pod("a", 3), token="t1"), page(5, pod("b", 4))])
    async with following(api) as (informer, _):
        assert informer.cache.keys() == [A, B]
    assert api.asked[:2] == ["list 500", "list 500 t1"]


async def test_a_list_that_expires_between_pages_is_taken_in_one_piece(following):
    api = ScriptedAPI([page(5, pod("a", 3), token="t1"), errors.Gone("expired"), page(8, pod("b", 4))])
    async with following(api) as (informer, _):
        assert informer.cache.keys() == [B]
    assert api.asked[:3] == ["list 500", "list 500 t1", "list all"]


async def test_an_expired_watch_lists_again_at_once_and_sweeps_ghosts(following, clock):
    api = ScriptedAPI(
        [page(5, pod("a", 3), pod("b", 4)), page(90, pod("b", 80))],
        [[bookmark(6), errors.Gone("too old resource version: 6 (70)")]],
    )
    async with following(api) as (informer, changes):
        await eventually(lambda: informer.resource_version == "90")
        assert informer.cache.keys() == [B]
        assert changes[2:] == [("MODIFIED", "b", "80"), ("DELETED", "a", "3")]
    assert clock.slept == []
    assert informer.error is None


async def test_a_server_that_expires_every_watch_is_not_asked_without_pause(following, clock):
    api = ScriptedAPI([page(5)] * 6, [[errors.Gone("expired")]] * 5)
    async with following(api):
        pass
    assert len(clock.slept) >= 3
    assert clock.slept == sorted(clock.slept) or max(clock.slept) > 0.3


async def test_a_busy_server_that_expires_every_watch_is_not_listed_without_pause(following, clock):
    """Each list has a later version than the one before, and is of no use all the same."""
    api = ScriptedAPI([page(version) for version in range(5, 15)], [[errors.Gone("expired")]] * 9)
    async with following(api):
        pass
    assert len(clock.slept) >= 7
    assert sum(clock.slept) > 5


async def test_watches_that_end_at_once_are_spaced_out_more_and_more(following, clock):
    api = ScriptedAPI([page(5)], [[]] * 12)
    async with following(api):
        pass
    assert len(clock.slept) == 12
    assert all(0.05 <= seconds <= 30 for seconds in clock.slept)
    assert sum(clock.slept) > 60, "twelve useless watches must take more than a minute"


async def test_a_watch_that_brought_something_is_resumed_soon_where_it_was(following, clock):
    api = ScriptedAPI([page(5)], [[], [], [added("a", 9)], [bookmark(11)]])
    async with following(api):
        await eventually(lambda: len(api.asked) == 10)
    assert api.asked[5:] == ["watch 5", "probe", "watch 9", "probe", "watch 11"]
    assert len(clock.slept) == 4
    assert max(clock.slept[2:]) <= 0.11


async def test_a_failure_is_logged_once_and_so_is_its_end(following, clock, caplog):
    caplog.set_level(logging.INFO)
    rejected = errors.Unreachable("cannot reach the API server at https://h:1: connection refused")
    api = ScriptedAPI(
        [rejected, rejected, rejected, page(5), page(6), page(6)],
        [[bookmark(6)], [rejected], [rejected], [bookmark(7)]],
    )
    async with following(api) as (informer, _):
        await eventually(lambda: informer.resource_version == "7")
        assert informer.error is None
    assert [record.message for record in caplog.records if record.name == "operatorkit.cluster"] == [
        f"pods: {rejected}; trying again",
        "pods: following the API server again",
    ] * 2
    assert api.asked[4:10] == ["watch 5", "probe", "watch 6", "list 500", "watch 6", "list 500"]
    assert api.asked[10:] == ["watch 6", "probe", "watch 7"]


async def test_the_trouble_of_now_can_be_asked_for(pods, clock):
    denied = errors.Forbidden('pods is forbidden: User "joe" cannot list resource "pods"')
    api = ScriptedAPI([denied] * 1000)
    informer = Informer(api, pods, clock=clock, history=quiet(clock))
    task = asyncio.create_task(informer.run())
    await eventually(lambda: informer.error is denied)
    assert not informer.has_synced
    assert informer.resource_version == ""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    "rejected",
    [
        errors.Unreachable("connection refused"),
        errors.Unreachable("certificate verify failed: unable to get local issuer certificate"),
        errors.NotFound("the server could not find the requested resource", code=404),
    ],
    ids=["away", "not trusted", "definition deleted"],
)
async def test_it_reports_since_when_there_is_no_contact(pods, clock, rejected):
    api = ScriptedAPI([page(5), *[rejected] * 100_000], [[errors.Gone("expired")]])
    informer = Informer(api, pods, clock=clock, history=quiet(clock))
    task = asyncio.create_task(informer.run())
    await informer.synced()
    assert informer.silent_since is None
    await eventually(lambda: informer.error is rejected)
    since = informer.silent_since
    assert since is not None
    await eventually(lambda: clock.monotonic() > since + 100)
    assert informer.silent_since == since
    api.lists[:] = [page(6)]
    await eventually(lambda: informer.resource_version == "6")
    assert informer.silent_since is None
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("end", [errors.Timeout("silent"), errors.Unreachable("the connection broke")])
async def test_a_watch_that_fell_silent_or_broke_off_after_a_while_is_no_failure(following, caplog, end):
    api = ScriptedAPI([page(5), page(6)], [[bookmark(6), end], [added("a", 7)]])
    async with following(api) as (informer, _):
        await eventually(lambda: A in informer.cache)
    assert api.asked[:4] == ["list 500", "watch 5", "list 500", "watch 6"]
    assert caplog.records == []


async def test_a_frame_that_cannot_be_read_again_and_again_is_stepped_over_by_a_list(following):
    poison = errors.ClusterError("a frame of the watch cannot be read", reason="UnreadableFrame")
    api = ScriptedAPI([page(5), page(9, pod("a", 8))], [[poison], [poison], [added("b", 10)]])
    async with following(api) as (informer, _):
        await eventually(lambda: B in informer.cache)
        assert informer.cache.keys() == [A, B]
    assert api.asked[:5] == ["list 500", "watch 5", "watch 5", "list 500", "watch 9"]


async def test_an_object_that_cannot_be_read_does_not_disturb_the_others(following, caplog):
    nameless = {"kind": "Pod", "metadata": {"resourceVersion": "7"}}
    api = ScriptedAPI(
        [page(5, {"kind": "Pod"}, pod("a", 3))],
        [[WatchEvent("ADDED", nameless), WatchEvent("DELETED", nameless), added("b", 8)]],
    )
    async with following(api) as (informer, _):
        await eventually(lambda: B in informer.cache)
        assert informer.cache.keys() == [A, B]
    assert sum("without metadata.name" in record.message for record in caplog.records) == 3


async def test_an_object_that_can_be_read_no_more_is_not_taken_for_deleted(following, caplog):
    broken = {"kind": "Pod", "metadata": {"name": "a", "namespace": "ns", "resourceVersion": "8"}}
    broken["spec"] = object()  # what no JSON decoder gives, and what no encoder takes
    api = ScriptedAPI([page(5, pod("a", 3)), page(9, broken, pod("b", 7))], [[errors.Gone("expired")]])
    async with following(api) as (informer, changes):
        await eventually(lambda: B in informer.cache)
        assert informer.cache.resource_version(A) == "3"
        assert ("DELETED", "a", "3") not in changes
    assert "pods: ns/a cannot be read" in caplog.text


async def test_a_server_whose_history_was_reset_is_believed(following, caplog):
    future = errors.Timeout(
        "Too large resource version: 500, current: 7", causes=[errors.Cause("", "ResourceVersionTooLarge", "")]
    )
    api = ScriptedAPI([page(500, pod("a", 499), pod("b", 400)), page(7, pod("b", 6))], [[future], [modified("b", 8)]])
    async with following(api) as (informer, changes):
        await eventually(lambda: informer.cache.resource_version(B) == "8")
        assert informer.cache.keys() == [B]
        assert informer.resource_version == "8"
    assert "history of the API server was reset" in caplog.text
    assert changes[2:] == [("MODIFIED", "b", "6"), ("DELETED", "a", "499"), ("MODIFIED", "b", "8")]


@pytest.mark.parametrize(
    "sign", [[errors.Unreachable("connection refused")], [bookmark(3)]], ids=["it was away", "the watch goes back"]
)
async def test_a_reset_is_noticed_when_the_server_was_away_or_the_watch_goes_back(following, sign):
    api = ScriptedAPI([page(500, pod("a", 499)), page(7, pod("b", 6))], [sign, [added("a", 8)]])
    async with following(api) as (informer, changes):
        await eventually(lambda: informer.cache.resource_version(A) == "8")
        assert informer.cache.keys() == [A, B]
    assert changes == [("ADDED", "a", "499"), ("ADDED", "b", "6"), ("DELETED", "a", "499"), ("ADDED", "a", "8")]


async def test_an_object_recreated_by_a_reset_server_is_a_change_even_at_the_same_version(following):
    def of(uid):
        return {"kind": "Pod", "metadata": {"name": "a", "namespace": "ns", "resourceVersion": "4", "uid": uid}}

    api = ScriptedAPI([page(5, of("first")), page(6, of("second"))], [[errors.Gone("expired")]])
    async with following(api) as (informer, changes):
        assert informer.cache.get(A)["metadata"]["uid"] == "second"
        assert changes == [("ADDED", "a", "4"), ("DELETED", "a", "4"), ("ADDED", "a", "4")]


async def test_a_subscriber_that_comes_late_begins_with_what_is_there_and_can_leave(following):
    api = ScriptedAPI([page(5, pod("a", 3))])
    async with following(api) as (informer, _):
        late = []
        leave = informer.subscribe(late.append)
        assert [(change.type, change.key) for change in late] == [("ADDED", A)]
        leave()
        leave()
        informer._on_event(modified("a", 6))
        assert len(late) == 1


async def test_a_subscriber_that_raises_does_not_keep_others_from_being_notified(following, caplog):
    api = ScriptedAPI([page(5)])
    async with following(api) as (informer, changes):

        def broken(change):
            raise RuntimeError("a bug of the subscriber")

        informer.subscribe(broken)
        second = []
        informer.subscribe(second.append)
        informer._on_event(added("a", 6))
        assert len(second) == len(changes) == 1
    assert "a subscriber failed on ADDED ns/a" in caplog.text


async def test_waiting_for_a_version_ends_when_the_watch_is_past_it(following):
    api = ScriptedAPI([page(5)])
    async with following(api) as (informer, _):
        await informer.wait_for("5")
        waiting = asyncio.create_task(informer.wait_for("8"))
        abandoned = asyncio.create_task(informer.wait_for("9"))
        await asyncio.sleep(0)
        informer._on_event(added("a", 7))
        await asyncio.sleep(0)
        assert not waiting.done()
        abandoned.cancel()
        informer._on_event(bookmark(12))
        await waiting
        with pytest.raises(asyncio.CancelledError):
            await abandoned
        assert informer._waiters == []


async def test_an_own_write_is_taken_only_if_the_informer_follows_the_object(following):
    api = ScriptedAPI([page(5)])
    async with following(api, namespace="other") as (informer, _):
        assert not informer.put(pod("a", 9))
    api = ScriptedAPI([page(5, pod("a", 3))])
    async with following(api, label_selector="app=x") as (informer, changes):
        assert informer.put(pod("a", 9))
        assert not informer.put(pod("b", 10))
        assert informer.cache.resource_version(A) == "9"
        assert changes == [("ADDED", "a", "3")]


async def test_an_answer_that_comes_after_a_bookmark_is_out_of_date(following):
    api = ScriptedAPI([page(5)], [[bookmark(9)]])
    async with following(api) as (informer, _):
        await eventually(lambda: informer.resource_version == "9")
        assert not informer.put(pod("a", 7)), "the watch is past it and does not know it: it was deleted"
        assert informer.put(pod("a", 10))


async def test_stopping_closes_the_watch_and_starting_again_lists_what_was_missed(pods, clock):
    api = ScriptedAPI([page(5, pod("a", 3))] * 2)
    informer = Informer(api, pods, clock=clock, history=quiet(clock))
    for watched in (1, 2):
        task = asyncio.create_task(informer.run())
        await eventually(lambda watched=watched: api.asked.count("watch 5") == watched)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert api.open_watches == 0
    assert api.asked == ["list 500", "watch 5"] * 2


async def test_pauses_leave_the_generator_of_the_program_alone(pods, clock):
    """Informers run in threads beside programs that have seeded `random`."""
    state = random.getstate()
    api = ScriptedAPI([errors.Unreachable("refused")] * 3 + [page(5)], [[]])
    informer = Informer(api, pods, clock=clock, history=History(clock))
    task = asyncio.create_task(informer.run())
    await informer.synced()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert len([each for each in api.asked if each.startswith("list")]) > 3
    assert random.getstate() == state
