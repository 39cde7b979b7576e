"""An event loop whose time is a number: it moves on when nothing is left to do at the moment.

What belongs here: the loop, and a clock that shows its time. What does not: what runs in it.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

__all__ = ["LoopClock", "run"]

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    """Waits for nothing: where a loop would wait, its time is moved on instead."""

    loop: _Loop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("nothing will ever happen any more: everybody waits for somebody else")
        if not ready and timeout:
            self.loop.passed += timeout
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.passed = 0.0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.passed


class LoopClock:
    """The time of the running loop, as an operator's clock, whose wall clock may be set."""

    def __init__(self) -> None:
        self.stepped = timedelta(0)

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.monotonic()) + self.stepped

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end in such a loop. Raises RuntimeError when everything in it waits for ever."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(main)
