from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from operatorkit.controlplane.controllers.work_queue import WorkQueue
from operatorkit.errors import ClusterError, Conflict, NotFound
from operatorkit.testing import FakeClock


@asynccontextmanager
async def _running(
    handle: Callable[[str], Awaitable[timedelta | None]], clock: FakeClock, pace: FakeClock, workers: int = 4
) -> AsyncIterator[WorkQueue[str]]:
    queue: WorkQueue[str] = WorkQueue(handle, clock=clock, pace=pace, workers=workers, name="test")
    task = asyncio.create_task(queue.run())
    try:
        yield queue
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_key_is_handled_once_at_a_time_and_once_more_for_all_that_came_meanwhile() -> None:
    clock, seen, running = FakeClock(), [], 0
    started, proceed = asyncio.Event(), asyncio.Event()

    async def handle(key: str) -> None:
        nonlocal running
        running += 1
        assert running == 1
        seen.append(key)
        started.set()
        await proceed.wait()
        running -= 1

    async with _running(handle, clock, clock) as queue:
        queue.add("a")
        await started.wait()
        for _ in range(5):
            queue.add("a")
        proceed.set()
        await queue.idle()

    assert seen == ["a", "a"]


async def test_different_keys_are_handled_side_by_side() -> None:
    clock = FakeClock()
    both = asyncio.Barrier(2)

    async def handle(key: str) -> None:
        del key
        await both.wait()

    async with _running(handle, clock, clock) as queue:
        queue.add("a")
        queue.add("b")
        await asyncio.wait_for(queue.idle(), 60)


async def test_a_failure_is_tried_again_after_a_pause_that_doubles() -> None:
    clock, pace, times = FakeClock(), FakeClock(), []

    async def handle(key: str) -> None:
        times.append(pace.monotonic())
        raise ClusterError(f"{key} fails")

    async with _running(handle, clock, pace) as queue:
        queue.add("a")
        await queue.idle()
        await pace.advance(1)

    gaps = [round(after - before, 3) for before, after in itertools.pairwise(times)]
    assert gaps == [0.01, 0.02, 0.04, 0.08, 0.16, 0.32]


async def test_a_conflict_is_tried_again_at_once_and_a_second_one_is_not() -> None:
    clock, calls = FakeClock(), 0

    async def handle(key: str) -> None:
        nonlocal calls
        calls += 1
        raise Conflict(f"{key} changed")

    async with _running(handle, clock, clock) as queue:
        queue.add("a")
        await queue.idle()

    assert calls == 2


async def test_an_object_that_is_gone_is_let_go() -> None:
    clock, calls = FakeClock(), 0

    async def handle(key: str) -> None:
        nonlocal calls
        calls += 1
        raise NotFound(f"{key} not found")

    async with _running(handle, clock, clock) as queue:
        queue.add("a")
        await queue.idle()
        await clock.advance(3600)

    assert calls == 1


async def test_a_wait_that_was_asked_for_passes_on_the_clock_and_not_on_the_pace() -> None:
    clock, pace, calls = FakeClock(), FakeClock(), 0

    async def handle(key: str) -> timedelta | None:
        del key
        nonlocal calls
        calls += 1
        return timedelta(minutes=1) if calls == 1 else None

    async with _running(handle, clock, pace) as queue:
        queue.add("a")
        await queue.idle()
        await pace.advance(3600)
        assert calls == 1
        await clock.advance(60)
        await queue.idle()

    assert calls == 2


async def test_a_bug_is_logged_and_stops_no_other_run(caplog: pytest.LogCaptureFixture) -> None:
    clock, seen = FakeClock(), []

    async def handle(key: str) -> None:
        seen.append(key)
        if key == "bad":
            raise ValueError("a bug")

    with caplog.at_level(logging.ERROR):
        async with _running(handle, clock, clock, workers=1) as queue:
            queue.add("bad")
            queue.add("good")
            await queue.idle()

    assert seen == ["bad", "good"]
    assert "test: bad" in caplog.text
