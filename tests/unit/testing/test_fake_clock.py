"""The clock of tests: it stands until it is moved, for sleepers in any loop."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest

from operatorkit.clock import Clock
from operatorkit.testing import FakeClock, eventually


def test_it_is_a_clock_that_starts_where_it_was_set():
    clock = FakeClock(datetime(2030, 5, 6, tzinfo=UTC))
    assert isinstance(clock, Clock)
    assert (clock.now(), clock.monotonic()) == (datetime(2030, 5, 6, tzinfo=UTC), 0.0)


def test_a_start_without_a_time_zone_is_rejected():
    with pytest.raises(ValueError, match="aware start"):
        FakeClock(datetime(2030, 5, 6))  # noqa: DTZ001


async def test_sleepers_wake_in_order_each_at_the_time_it_asked_for():
    clock, woken = FakeClock(), []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((seconds, clock.monotonic()))

    async with asyncio.TaskGroup() as group:
        for seconds in (30, 10, 20):
            group.create_task(sleeper(seconds))
        await clock.advance(25)
        assert woken == [(10, 10.0), (20, 20.0)]
        assert clock.monotonic() == 25
        await clock.advance(timedelta(seconds=5))
    assert woken[-1] == (30, 30.0)


async def test_advance_lets_one_who_sleeps_again_and_again_run_at_every_deadline():
    clock, times = FakeClock(), []

    async def heartbeat() -> None:
        while True:
            await clock.sleep(10)
            times.append(clock.monotonic())

    task = asyncio.create_task(heartbeat())
    await clock.advance(60)
    assert times == [10, 20, 30, 40, 50, 60]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert clock.sleepers == 0


async def test_tick_wakes_once_however_far_the_jump():
    clock, times = FakeClock(), []

    async def heartbeat() -> None:
        for _ in range(2):
            await clock.sleep(10)
            times.append(clock.monotonic())

    task = asyncio.create_task(heartbeat())
    await asyncio.sleep(0)
    clock.tick(3600)
    await eventually(lambda: times)
    assert (times, clock.sleepers) == ([3600], 1)
    clock.tick(10)
    await task


async def test_a_cancelled_sleeper_is_forgotten():
    clock = FakeClock()
    task = asyncio.create_task(clock.sleep(5))
    await asyncio.sleep(0)
    assert (clock.sleepers, clock.next_wake) == (1, timedelta(seconds=5))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (clock.sleepers, clock.next_wake) == (0, None)


async def test_sleeping_for_nothing_yields_and_needs_no_tick():
    clock = FakeClock()
    await clock.sleep(0)
    await clock.sleep(-1)
    assert clock.sleepers == 0


async def test_it_wakes_sleepers_of_a_loop_in_another_thread_at_their_times():
    clock, times = FakeClock(), []

    async def heartbeat() -> None:
        for _ in range(3):
            await clock.sleep(10)
            times.append(clock.monotonic())

    thread = threading.Thread(target=lambda: asyncio.run(heartbeat()))
    thread.start()
    await eventually(lambda: clock.sleepers == 1)
    await clock.advance(30)
    await asyncio.to_thread(thread.join)
    assert times == [10, 20, 30]


async def test_a_sleeper_whose_loop_is_gone_disturbs_no_other():
    clock = FakeClock()

    def abandon() -> None:
        loop = asyncio.new_event_loop()
        task = loop.create_task(clock.sleep(1))
        loop.run_until_complete(asyncio.sleep(0))
        task._log_destroy_pending = False
        loop.close()
        kept.append(task)

    kept: list[object] = []
    thread = threading.Thread(target=abandon)
    thread.start()
    thread.join()
    await clock.advance(5)
    assert clock.sleepers == 0
    kept[0].get_coro().close()


def test_it_never_goes_back():
    with pytest.raises(ValueError, match="cannot go back"):
        FakeClock().tick(-1)


def test_it_shows_its_time_and_who_waits():
    assert repr(FakeClock()) == "<FakeClock 2026-01-01T00:00:00Z, none waiting>"


async def test_a_step_moves_the_wall_clock_alone():
    clock = FakeClock(datetime(2030, 5, 6, tzinfo=UTC))
    sleeping = asyncio.create_task(clock.sleep(10))
    await clock.advance(5)
    clock.step(-timedelta(hours=1))
    assert (clock.now(), clock.monotonic()) == (datetime(2030, 5, 5, 23, 0, 5, tzinfo=UTC), 5.0)
    clock.step(timedelta(days=2))
    assert not sleeping.done()
    await clock.advance(5)
    assert clock.now() == datetime(2030, 5, 7, 23, 0, 10, tzinfo=UTC)
    await sleeping
