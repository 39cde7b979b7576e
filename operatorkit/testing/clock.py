"""A clock that stands still until the test moves it.

What belongs here: `FakeClock`. What does not: waiting for something to become true
(`operatorkit.testing.polling`), which goes by the real time because networks and servers do.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
import weakref
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

__all__ = ["FakeClock"]

_START = datetime(2026, 1, 1, tzinfo=UTC)
_ROUNDS_PER_STEP = (
    25  # how often each loop turns after its sleepers woke: enough for a chain of that many awaits
)

_clocks: weakref.WeakSet[FakeClock] = weakref.WeakSet()


@dataclass(order=True, slots=True)
class _Sleeper:
    deadline: float
    number: int
    loop: asyncio.AbstractEventLoop = field(compare=False)
    waiter: asyncio.Future[None] = field(compare=False)


class FakeClock:
    """A `Clock` whose time passes only when `advance` or `tick` says so.

    One clock may serve several threads and event loops, for example a test, the engine in it and an
    embedded server in a thread of its own. A coroutine that awaits `sleep` is a sleeper; moving the
    clock wakes sleepers in the order of their deadlines, each at the time it asked for.
    """

    def __init__(self, start: datetime = _START) -> None:
        if start.tzinfo is None:
            raise ValueError(
                "FakeClock needs an aware start, for example datetime(2026, 1, 1, tzinfo=UTC)"
            )
        self._start = start.astimezone(UTC)
        self._elapsed = 0.0
        self._stepped = timedelta(0)
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._sleepers: list[_Sleeper] = []
        _clocks.add(self)

    def now(self) -> datetime:
        """Return the time that the test chose, aware, in UTC."""
        return self._start + timedelta(seconds=self._elapsed) + self._stepped

    def monotonic(self) -> float:
        """Return the seconds that have passed since the clock was made."""
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        """Return once the clock was moved by `seconds`; zero and less yield to the loop once."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        with self._lock:
            sleeper = _Sleeper(
                self._elapsed + seconds, next(self._numbers), loop, loop.create_future()
            )
            heapq.heappush(self._sleepers, sleeper)
        try:
            await sleeper.waiter
        finally:
            with self._lock, suppress(ValueError):
                self._sleepers.remove(sleeper)
                heapq.heapify(self._sleepers)

    @property
    def sleepers(self) -> int:
        """How many coroutines wait for this clock."""
        with self._lock:
            return len(self._sleepers)

    @property
    def next_wake(self) -> timedelta | None:
        """How far the clock must move to wake the next sleeper; None without sleepers."""
        with self._lock:
            return (
                timedelta(seconds=self._sleepers[0].deadline - self._elapsed)
                if self._sleepers
                else None
            )

    def tick(self, seconds: float | timedelta) -> None:
        """Move the clock in one jump and wake everyone whose time has come; return before any of them has run.

        Callable from any thread, without an event loop. Someone who sleeps one second again and
        again is woken once, however far the jump: use `advance` where the steps between matter.
        """
        target = self._elapsed + _seconds(seconds)
        self._move(target)

    def step(self, by: timedelta) -> None:
        """Set the wall clock forth or, with a negative span, back, as a correction of the machine's time does.

        `monotonic` goes on as before, and no sleeper wakes: a coroutine that waits for a time of
        day has to check again.
        """
        self._stepped += by

    async def advance(self, seconds: float | timedelta) -> None:
        """Move the clock step by step, stopping at each deadline so that those who wake can run and sleep again.

        Guarantees: whoever sleeps in this loop, or in another loop that is running, wakes at the
        time it asked for, and gets to run before the clock moves on. What is waiting for a network
        or a thread is not waited for: `eventually` is for that.
        """
        target = self._elapsed + _seconds(seconds)
        await self._let_run(())
        while True:
            with self._lock:
                deadline = self._sleepers[0].deadline if self._sleepers else None
            if deadline is None or deadline > target:
                break
            await self._let_run(self._move(max(deadline, self._elapsed)))
        await self._let_run(self._move(target))

    def _move(self, target: float) -> set[asyncio.AbstractEventLoop]:
        with self._lock:
            self._elapsed = target
            woken = []
            while self._sleepers and self._sleepers[0].deadline <= target:
                woken.append(heapq.heappop(self._sleepers))
        for sleeper in woken:
            with suppress(RuntimeError):  # that loop is closed, and so is its sleeper
                sleeper.loop.call_soon_threadsafe(_wake, sleeper.waiter)
        return {sleeper.loop for sleeper in woken}

    async def _let_run(self, loops: set[asyncio.AbstractEventLoop] | tuple[()]) -> None:
        here = asyncio.get_running_loop()
        for _ in range(_ROUNDS_PER_STEP):
            await asyncio.sleep(0)
        for loop in loops:
            if loop is not here and loop.is_running():
                await _turned(loop, _ROUNDS_PER_STEP)

    def __repr__(self) -> str:
        wake = self.next_wake
        waiting = (
            f"{self.sleepers} waiting, the next for {wake}" if wake is not None else "none waiting"
        )
        return f"<FakeClock {self.now():%Y-%m-%dT%H:%M:%SZ}, {waiting}>"


def standing_clocks() -> Iterator[FakeClock]:
    """Yield each FakeClock with sleepers: in a test that hangs, one of them has to be advanced."""
    for clock in list(_clocks):
        if clock.sleepers:
            yield clock


async def _turned(loop: asyncio.AbstractEventLoop, rounds: int) -> None:
    """Return when `loop`, which runs in another thread, has turned so often, or has ended."""
    here = asyncio.get_running_loop()
    done = asyncio.Event()

    def turn(left: int) -> None:
        if left:
            loop.call_soon(turn, left - 1)
        else:
            with suppress(RuntimeError):  # the test's own loop is closed
                here.call_soon_threadsafe(done.set)

    with suppress(RuntimeError):
        loop.call_soon_threadsafe(turn, rounds)
        while not done.is_set() and loop.is_running():
            with suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), 0.02)


def _seconds(span: float | timedelta) -> float:
    seconds = span.total_seconds() if isinstance(span, timedelta) else span
    if seconds < 0:
        raise ValueError(f"a clock cannot go back: advance({seconds}) needs a positive span")
    return seconds


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
