"""The work queue: nothing runs twice at once, nothing is lost, nothing comes before its time."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from operatorkit._runtime.queue import Priority, QueueClosed, WorkQueue
from operatorkit.settings import BackOff
from operatorkit.testing import FakeClock


def ms(number: float) -> timedelta:
    return timedelta(milliseconds=number)


@pytest.fixture
def queue(clock) -> WorkQueue[str]:
    return WorkQueue(clock=clock, back_off=BackOff(jitter=0))


async def test_a_burst_of_adds_is_one_run(queue):
    for _ in range(5):
        queue.add("a")
    assert await queue.get() == "a"
    queue.done("a")
    assert queue.idle


async def test_a_key_added_while_it_runs_waits_until_it_is_done(queue):
    queue.add("a")
    queue.add("b")
    assert await queue.get() == "a"
    queue.add("a")
    assert await queue.get() == "b"
    waiting = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    assert not waiting.done()
    queue.done("a")
    assert await waiting == "a"


async def test_changes_go_before_what_is_merely_looked_at_again(queue):
    queue.add("old", Priority.RESYNC)
    queue.add("older", Priority.RESYNC)
    queue.add("new")
    queue.add("older")
    assert [await queue.get() for _ in range(3)] == ["new", "older", "old"]


async def test_the_back_off_doubles_up_to_its_limit_and_begins_again_after_success(queue):
    waits = [queue.retry("a") for _ in range(20)]
    assert waits[:4] == [ms(5), ms(10), ms(20), ms(40)]
    assert waits[-1] == timedelta(seconds=1000)
    assert queue.failures("a") == 20
    queue.forget("a")
    assert queue.retry("a") == ms(5)


async def test_the_back_off_survives_a_thousand_failures(queue):
    for _ in range(2000):
        wait = queue.retry("a")
    assert wait == timedelta(seconds=1000)


async def test_the_jitter_spreads_the_waits(clock):
    queue: WorkQueue[int] = WorkQueue(clock=clock, back_off=BackOff(), rng=random.Random(1))
    waits = {queue.retry(key) for key in range(50)}
    assert len(waits) > 40
    assert ms(4.5) <= min(waits) < max(waits) <= ms(5.5)


async def test_a_delayed_key_comes_when_its_time_has_come(queue, clock):
    timers = asyncio.ensure_future(queue.run())
    queue.add_after("late", ms(200))
    queue.add_after("soon", ms(100))
    await clock.advance(ms(99))
    assert len(queue) == 0
    await clock.advance(ms(1))
    assert await queue.get() == "soon"
    assert queue.delayed() == {"late": ms(100)}
    await clock.advance(ms(100))
    assert await queue.get() == "late"
    queue.close()
    await timers


async def test_a_shorter_delay_is_not_kept_waiting_by_a_longer_one_that_is_waited_for(queue, clock):
    timers = asyncio.ensure_future(queue.run())
    queue.add_after("late", ms(200))
    await clock.advance(ms(10))
    queue.add_after("soon", ms(90))
    await clock.advance(ms(90))
    assert len(queue) == 1
    assert await queue.get() == "soon"
    queue.close()
    await timers


async def test_the_earliest_of_several_delays_counts_and_an_add_counts_more(queue, clock):
    queue.add_after("a", ms(100))
    queue.add_after("a", ms(300))
    assert queue.delayed() == {"a": ms(100)}
    queue.add_after("a", ms(50))
    assert queue.delayed() == {"a": ms(50)}
    queue.add("a")
    assert queue.delayed() == {}
    assert len(queue) == 1


async def test_delays_that_were_overtaken_do_not_pile_up(queue, clock):
    """A certificate is looked at again in hours, and its key changes all the time."""
    timers = asyncio.ensure_future(queue.run())
    for _ in range(2000):
        queue.add("a")
        queue.done(await queue.get())
        queue.add_after("a", timedelta(hours=3))
        queue.add_after("b", timedelta(hours=4))
    assert len(queue._timers) < 100
    assert queue.delayed() == {"a": timedelta(hours=3), "b": timedelta(hours=4)}
    await clock.advance(timedelta(hours=3))
    assert await queue.get() == "a"
    queue.close()
    await timers


async def test_a_delay_that_was_overtaken_does_not_cut_a_later_one_short(queue, clock):
    timers = asyncio.ensure_future(queue.run())
    queue.add_after("a", ms(50))
    await clock.advance(ms(10))  # the timers wait for the 50 ms now
    queue.add("a")
    queue.done(await queue.get())
    queue.add_after("a", ms(190))
    await clock.advance(ms(90))
    assert queue.delayed() == {"a": ms(100)}
    queue.close()
    await timers


async def test_closing_ends_all_waits_and_lets_running_keys_be_done(queue):
    queue.add("a")
    assert await queue.get() == "a"
    waiters = [asyncio.ensure_future(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    queue.close()
    results = await asyncio.gather(*waiters, return_exceptions=True)
    assert [type(result) for result in results] == [QueueClosed] * 3
    queue.done("a")
    await queue.wait_idle()


async def test_a_cancelled_waiter_passes_its_notification_on(queue):
    first, second = (asyncio.ensure_future(queue.get()) for _ in range(2))
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()
    assert await asyncio.wait_for(second, 30) == "a"
    await asyncio.wait({first})


KEYS = st.sampled_from("abcd")


class QueueMachine(RuleBasedStateMachine):
    """The queue against a model of two sets and a table of due times."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.queue: WorkQueue[str] = WorkQueue(clock=self.clock, back_off=BackOff(jitter=0))
        self.dirty: set[str] = set()
        self.running: set[str] = set()
        self.due: dict[str, float] = {}
        self.failures: Counter[str] = Counter()
        self.now = 0.0

    def step(self, work):
        async def go():
            return await work

        return asyncio.run(go())

    @rule(key=KEYS, priority=st.sampled_from(Priority))
    def add(self, key, priority):
        self.queue.add(key, priority)
        self.dirty.add(key)
        self.due.pop(key, None)

    @rule(key=KEYS, delay=st.integers(1, 50))
    def add_after(self, key, delay):
        self.queue.add_after(key, timedelta(seconds=delay))
        if key not in self.dirty:
            self.due[key] = min(self.due.get(key, float("inf")), self.now + delay)

    @rule(seconds=st.integers(1, 30))
    def time_passes(self, seconds):
        async def advance():
            timers = asyncio.ensure_future(self.queue.run())
            await asyncio.sleep(0)
            await self.clock.advance(timedelta(seconds=seconds))
            for _ in range(5):
                await asyncio.sleep(0)
            timers.cancel()
            await asyncio.wait({timers})

        self.step(advance())
        self.now += seconds
        for key in [key for key, due in self.due.items() if due <= self.now]:
            del self.due[key]
            self.dirty.add(key)

    @precondition(lambda self: self.dirty - self.running)
    @rule()
    def get(self):
        key = self.step(self.queue.get())
        assert key in self.dirty, "it was not dirty"
        assert key not in self.running, "it runs twice at once"
        self.dirty.discard(key)
        self.running.add(key)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def done(self, data):
        key = data.draw(st.sampled_from(sorted(self.running)))
        self.queue.done(key)
        self.running.discard(key)

    @invariant()
    def nothing_is_lost_and_nothing_is_early(self):
        assert len(self.queue) == len(self.dirty - self.running)
        assert self.queue.delayed().keys() == self.due.keys()
        assert self.queue.idle == (not self.dirty and not self.running)


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


async def test_namespaces_take_turns_within_a_priority(clock):
    queue = WorkQueue(clock=clock, group=lambda key: key[0])
    for number in range(1000):
        queue.add(f"a{number}")
    queue.add("b0")
    queue.add("c0", Priority.RESYNC)
    handed_out = [await queue.get() for _ in range(3)]
    assert handed_out == ["a0", "b0", "a1"]
    queue.add("c0")  # more urgent now
    assert [await queue.get() for _ in range(2)] == ["a2", "c0"]
    assert len(queue) == 1000 - 3


def test_what_the_server_asks_for_is_the_least_wait(queue):
    assert queue.retry("a", at_least=7) == timedelta(seconds=7)
    assert queue.retry("a") == ms(10)


def test_what_passes_by_itself_is_not_waited_for_long(queue):
    waits = [queue.retry("a", at_most=10) for _ in range(20)]
    assert max(waits) == timedelta(seconds=10)


def test_an_error_that_all_keys_share_makes_no_storm(queue):
    waits = [queue.retry(str(number)) for number in range(300)]
    assert max(waits[:100]) == ms(5)
    assert waits[-1] == timedelta(seconds=20)


@asynccontextmanager
async def running(queue):
    task = asyncio.create_task(queue.run())
    try:
        yield
    finally:
        queue.close()
        await task


async def test_a_moment_comes_by_the_wall_clock(queue, clock):
    async with running(queue):
        queue.add_at("a", clock.now() + timedelta(hours=3))
        await clock.advance(timedelta(hours=2, minutes=59))
        assert not len(queue)
        await clock.advance(timedelta(minutes=1))
        assert await queue.get() == "a"


async def test_a_clock_that_is_set_forth_is_noticed_within_a_minute(queue, clock):
    async with running(queue):
        queue.add_at("a", clock.now() + timedelta(days=30))
        await clock.advance(1)
        clock.step(timedelta(days=31))
        await clock.advance(60)
        assert await queue.get() == "a"


async def test_a_clock_that_is_set_back_puts_a_moment_off_and_no_delay(queue, clock):
    async with running(queue):
        queue.add_at("moment", clock.now() + timedelta(minutes=10))
        queue.add_after("delay", timedelta(minutes=10))
        await clock.advance(1)
        clock.step(-timedelta(hours=1))
        await clock.advance(timedelta(minutes=10))
        assert await queue.get() == "delay"
        assert not len(queue)
        await clock.advance(timedelta(hours=1))
        assert await queue.get() == "moment"


async def test_of_several_moments_and_delays_the_earliest_counts_and_a_change_supersedes_all(queue, clock):
    async with running(queue):
        queue.add_at("a", clock.now() + timedelta(minutes=9))
        queue.add_at("a", clock.now() + timedelta(minutes=5))
        queue.add_at("a", clock.now() + timedelta(minutes=7))
        queue.add_after("a", timedelta(minutes=6))
        assert queue.delayed() == {"a": timedelta(minutes=5)}
        await clock.advance(timedelta(minutes=5))
        assert await queue.get() == "a"
        queue.done("a")
        assert queue.delayed() == {}
        queue.add_at("a", clock.now() + timedelta(minutes=1))
        queue.add("a")
        assert await queue.get() == "a"
        queue.done("a")
        await clock.advance(timedelta(minutes=2))
        assert queue.idle


async def test_a_moment_that_has_passed_is_at_once(queue, clock):
    queue.add_at("a", clock.now())
    assert await queue.get() == "a"


async def test_moments_of_many_keys_that_are_put_off_again_and_again_do_not_pile_up(queue, clock):
    for number in range(1000):
        queue.add_at("a", clock.now() + timedelta(days=1, minutes=-number / 100))
    assert len(queue._calendar) < 100


async def test_what_waits_for_tomorrow_is_looked_at_each_minute(queue, clock):
    async with running(queue):
        queue.add_after("a", timedelta(days=1))
        await clock.advance(0)
        assert clock.next_wake == timedelta(minutes=1)


async def test_a_queue_that_is_held_hands_out_nothing_and_loses_nothing(queue):
    queue.hold()
    queue.add("a")
    queue.add("b")
    waiting = [asyncio.ensure_future(queue.get()) for _ in range(3)]
    for _ in range(3):
        await asyncio.sleep(0)
    assert not any(each.done() for each in waiting)
    assert not queue.idle
    queue.release()
    assert [await waiting[0], await waiting[1]] == ["a", "b"]
    queue.close()
    with pytest.raises(QueueClosed):
        await waiting[2]
