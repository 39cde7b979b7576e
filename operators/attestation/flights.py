"""Look-ups that are under way, so that the same one is not sent twice at a time.

What belongs here: joining a look-up that runs. What does not: what is looked up (`facts`, `registry`), and what is
remembered afterwards (`memory`): when a look-up ends, nothing of it is kept here, neither a value nor an error.

    a review at 0.0 s  ──── request ────────────> value
    a review at 0.4 s       joins ──────────────> the same value, if it suffices
                                                  else one more request, which all who wait for it share

A value that was requested before the review came can be outdated. So it must have been requested at most SECONDS
earlier, and the caller says whether it suffices: what would deny is looked up again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

__all__ = ["SECONDS", "Flights"]

T = TypeVar("T")

SECONDS: Final = 1.0
"""How long before a review a look-up may have begun that the review joins."""


@dataclass
class _Flight:
    task: asyncio.Task[Any]
    begun: float
    waiting: int = 0


class Flights:
    """The look-ups of one running operator, by their keys."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, _Flight] = {}

    async def join(
        self,
        key: Hashable,
        look_up: Callable[[], Coroutine[Any, Any, T]],
        *,
        suffices: Callable[[T], bool] = lambda _: True,
    ) -> T:
        """Return what the look-up under a key returns, or raise what it raises; begin it if none can be joined.

        Guarantees: a look-up that is cancelled for one caller goes on for the others, and ends with the last one. A
        value that does not suffice was requested after the call of `join`.
        """
        came = asyncio.get_running_loop().time()
        while True:
            flight = self._under_way.get(key)
            if flight is None or came - flight.begun > SECONDS:
                flight = self._begin(key, look_up)
            found: T = await self._landed(flight)
            if flight.begun >= came or suffices(found):
                return found

    def _begin(self, key: Hashable, look_up: Callable[[], Coroutine[Any, Any, T]]) -> _Flight:
        task = asyncio.create_task(look_up(), name=f"look-up of {key}")
        flight = _Flight(task, asyncio.get_running_loop().time())
        self._under_way[key] = flight

        def forget(_: asyncio.Task[Any]) -> None:
            if self._under_way.get(key) is flight:
                del self._under_way[key]

        task.add_done_callback(forget)
        return flight

    async def _landed(self, flight: _Flight) -> Any:
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if flight.waiting == 0 and not flight.task.done():
                flight.task.cancel()
                with suppress(asyncio.CancelledError):
                    await flight.task
