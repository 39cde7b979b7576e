"""A work queue: each key is processed once at a time, and failures are retried with back-off.

What belongs here: the queue of the controllers and nodes of a control plane. What does not: the queue
of operators (`operatorkit._runtime`), which must also be fair, bounded and observable.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Generic, TypeVar

from operatorkit.clock import Clock
from operatorkit.errors import ClusterError, Conflict, NotFound

__all__ = ["WorkQueue"]

_log = logging.getLogger("operatorkit.controlplane")

_FIRST_RETRY_SECONDS = 0.01
_LONGEST_RETRY_SECONDS = 10.0

K = TypeVar("K")


class WorkQueue(Generic[K]):
    """Calls `sync` for every key added; it may return after how long the key is to be added again.

    Guarantees: never two calls for one key at a time; a key added during its call is processed once
    more after it. A `ClusterError` is retried: at once after a conflict, otherwise after a pause that
    doubles.

    The waits that `sync` returns pass on `clock`, the pauses between retries on `pace`: where a test
    holds the one still, the other should go on.
    """

    def __init__(
        self,
        sync: Callable[[K], Awaitable[timedelta | None]],
        *,
        clock: Clock,
        pace: Clock,
        workers: int = 4,
        name: str,
    ) -> None:
        self._sync = sync
        self._clock = clock
        self._pace = pace
        self._workers = workers
        self._name = name
        self._waiting: dict[K, None] = {}
        self._busy: set[K] = set()
        self._again: set[K] = set()
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.Task[None]] = {}
        self._work = asyncio.Event()
        self._idle = asyncio.Event()

    def add(self, key: K) -> None:
        """Add a key, unless it waits already."""
        if key in self._busy:
            self._again.add(key)
        else:
            self._waiting[key] = None
            self._work.set()

    def forget(self, key: K) -> None:
        """Drop the retry and the wait of a key, if it has any."""
        self._failures.pop(key, None)
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    async def idle(self) -> None:
        """Return when no key is queued or in progress; keys that wait for a later time do not count."""
        while self._waiting or self._busy:
            self._idle.clear()
            await self._idle.wait()

    async def run(self) -> None:
        """Work until cancelled; timers end with it."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._workers):
                    group.create_task(self._run_worker())
        finally:
            timers = list(self._timers.values())
            for timer in timers:
                timer.cancel()
            await asyncio.gather(*timers, return_exceptions=True)

    async def _run_worker(self) -> None:
        while True:
            while not self._waiting:
                self._work.clear()
                await self._work.wait()
            key = next(iter(self._waiting))
            del self._waiting[key]
            self._busy.add(key)
            try:
                await self._sync_one(key)
            finally:
                self._busy.discard(key)
                if key in self._again:
                    self._again.discard(key)
                    self.add(key)
                if not self._waiting and not self._busy:
                    self._idle.set()

    async def _sync_one(self, key: K) -> None:
        try:
            wait = await self._sync(key)
        except NotFound:
            self.forget(key)  # deleted meanwhile: the watch reports that, too
        except ClusterError as error:
            self._retry(key, error)
        except Exception:  # noqa: BLE001 - the outermost loop: a key that fails must not stop the others
            _log.exception("%s: %s", self._name, key)
            self.forget(key)
        else:
            self.forget(key)
            if wait is not None:
                self._add_later(key, wait.total_seconds(), self._clock)

    def _retry(self, key: K, error: ClusterError) -> None:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        if isinstance(error, Conflict) and failures == 0:
            self._again.add(key)
            return
        _log.debug("%s: %s: %s; retrying", self._name, key, error)
        pause_seconds = min(_LONGEST_RETRY_SECONDS, _FIRST_RETRY_SECONDS * 2 ** min(failures, 20))
        self._add_later(key, pause_seconds, self._pace)

    def _add_later(self, key: K, seconds: float, clock: Clock) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        self._timers[key] = asyncio.create_task(self._add_after(key, seconds, clock))

    async def _add_after(self, key: K, seconds: float, clock: Clock) -> None:
        await clock.sleep(seconds)
        self._timers.pop(key, None)
        self.add(key)
