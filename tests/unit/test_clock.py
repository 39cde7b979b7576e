"""Time as an argument: waiting with a limit."""

from __future__ import annotations

import asyncio

import pytest

from operatorkit.clock import within
from operatorkit.testing import FakeClock, eventually


async def result() -> str:
    return "done"


async def fails() -> None:
    raise ValueError("its own error")


async def test_work_that_is_done_in_time_is_returned_or_raised() -> None:
    assert await within(FakeClock(), 1, result()) == "done"
    with pytest.raises(ValueError, match="its own error"):
        await within(FakeClock(), 1, fails())


async def test_work_is_cancelled_after_the_time_of_the_clock_and_not_before() -> None:
    clock, ended = FakeClock(), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.create_task(within(clock, 5, work()))
    await clock.advance(4)
    assert not waiting.done()
    await clock.advance(2)
    with pytest.raises(TimeoutError):
        await waiting
    assert ended.is_set()


async def test_a_wait_that_is_cancelled_cancels_its_work() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.create_task(within(FakeClock(), 5, work()))
    await eventually(begun.is_set)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()
