"""Time as an argument.

What belongs here: the `Clock` protocol and the system's clock. What does not: the clock of tests
(`operatorkit.testing.FakeClock`), and any use of time. Nothing else in operatorkit asks the
operating system what time it is, so a test can hold every clock of an operator in its hand.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any, Final, Protocol, TypeVar, runtime_checkable

__all__ = [
    "SYSTEM_CLOCK",
    "Clock",
    "SystemClock",
    "format_micro_time",
    "format_time",
    "parse_time",
    "within",
]

T = TypeVar("T")


_CLOCK: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)


@runtime_checkable
class Clock(Protocol):
    """What time it is, and waiting for it to pass."""

    def now(self) -> datetime:
        """Return the wall-clock time, aware, in UTC."""

    def monotonic(self) -> float:
        """Return seconds since an arbitrary start; never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` of this clock's time; zero and less yield to the loop once."""


class SystemClock:
    """The operating system's time."""

    def now(self) -> datetime:
        """Return the wall-clock time, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds since an arbitrary start, with those of a suspended machine on Linux; never goes back."""
        return time.clock_gettime(_CLOCK) if _CLOCK is not None else time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`; zero and less yield to the loop once."""
        await asyncio.sleep(max(0.0, seconds))


SYSTEM_CLOCK: Clock = SystemClock()


async def within(clock: Clock, seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`, which is cancelled after `seconds` of the clock's time. Raises TimeoutError then.

    As `asyncio.timeout`, but by a clock that a test may hold.
    """
    working = asyncio.ensure_future(work)
    limiting = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait({working, limiting}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise TimeoutError
        return working.result()
    finally:
        for task in (working, limiting):
            task.cancel()
        await asyncio.gather(working, limiting, return_exceptions=True)


def format_time(moment: datetime) -> str:
    """Write an aware moment as Kubernetes' `Time` does: whole seconds, UTC, `2026-01-02T03:04:05Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_micro_time(moment: datetime) -> str:
    """Write an aware moment as Kubernetes' `MicroTime` does: six digits of fraction, UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime:
    """Read a `Time` or `MicroTime`; the answer is aware and in UTC. Raises ValueError for anything else."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(
            f"{text!r} has no time zone: write it as RFC 3339, for example 2026-01-02T03:04:05Z"
        )
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} lies outside of the years 1 to 9999") from None
