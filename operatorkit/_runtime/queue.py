"""The work queue: a set of dirty keys, each held by one worker at most.

What belongs here: which key runs next, and when. What does not: what the keys mean and who works on them.

               add                     get                     done
    (absent) ───────> dirty, waiting ───────> running ───────────────────> (absent)
        │                  ^                     │ add: dirty again            ^
        │ add_after, add_at│ due                 └──────> running and dirty ───┘ done: waiting again
        └──────> delayed ──┘

A key that is added while it waits is not added twice: a burst of changes is one run. One that is added while it runs
waits until that run is done: no key ever runs twice at once, and no change is lost.

Where keys belong to groups (the controllers': their namespaces), the groups take turns within a priority: a tenant with
thousands of dirty keys delays another's by one run for each worker, not by thousands.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections.abc import Callable, Hashable
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final, Generic, TypeVar

from operatorkit.clock import Clock
from operatorkit.fairness import FairQueue
from operatorkit.metrics import NoMetrics, QueueMetrics
from operatorkit.settings import BackOff

__all__ = ["Priority", "QueueClosed", "WorkQueue"]

K = TypeVar("K", bound=Hashable)
_When = TypeVar("_When", float, datetime)

_SPARE_TIMERS: Final = 64
_LOOK_EVERY_SECONDS: Final = 60.0
_RETRIES_PER_SECOND: Final = 10.0
_RETRY_BURST: Final = 100


class Priority(IntEnum):
    """Which of the waiting keys goes first: changes, then what is merely looked at again."""

    CHANGE = 0
    RESYNC = 1


class QueueClosed(Exception):  # noqa: N818 - a signal, like StopAsyncIteration
    """The queue was closed: the worker that waits for a key ends."""


class WorkQueue(Generic[K]):
    """Keyed, deduplicating, with delays and per-key exponential back-off; for one event loop, no locks.

    Guarantees: no key is handed out twice before `done`; a key added while it runs is handed out again; within a
    priority, the groups take turns, and within a group, first come, first served (without `group`, all keys are of
    one); `close` ends every wait. `run` must be running for delayed keys to fall due.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        back_off: BackOff | None = None,
        rng: random.Random | None = None,
        group: Callable[[K], Hashable] | None = None,
        metrics: QueueMetrics | None = None,
    ) -> None:
        self._clock = clock
        self._back_off = back_off or BackOff()
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not a secret
        self._metrics: QueueMetrics = metrics or NoMetrics()
        self._added: dict[K, float] = {}  # the waiting keys, and since when
        self._order = itertools.count()
        self._waiting: dict[K, Priority] = {}
        self._ready: dict[Priority, FairQueue[K]] = {
            priority: FairQueue(group) for priority in Priority
        }
        self._running: dict[K, float] = {}  # and since when
        self._again: dict[K, Priority] = {}
        self._due: dict[K, tuple[float, Priority]] = {}
        self._timers: list[tuple[float, int, K]] = []
        self._calendar: list[tuple[datetime, int, K]] = []
        self._last_turn = float("-inf")
        self._moments: dict[K, tuple[datetime, Priority]] = {}
        self._failures: dict[K, int] = {}
        self._getters: list[asyncio.Future[None]] = []
        self._closed = False
        self._held = False
        self.handed_out = 0  # how often a key was handed out: who waits for quiet sees what came and went meanwhile
        self._earlier = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, key: K, priority: Priority = Priority.CHANGE) -> None:
        """Mark `key` dirty; of two priorities the more urgent counts. A delayed add of the key is superseded."""
        if self._closed:
            return
        self._due.pop(key, None)
        self._moments.pop(key, None)
        if key in self._running:
            # A running key must not wait in a queue as well: another worker would take it, and two
            # runs of one object would overwrite each other. So a change that comes during a run is
            # kept here, and `done` adds it: the run may have read the state from before the change
            # (the "dirty" set of client-go's workqueue).
            self._again[key] = min(priority, self._again.get(key, priority))
            return
        known = self._waiting.get(key)
        if known is not None and known <= priority:
            return
        if known is not None:
            self._ready[known].discard(key)
        else:
            self._added[key] = self._clock.monotonic()
            self._metrics.added()
        self._waiting[key] = priority
        self._ready[priority].push(key)
        self._idle.clear()
        self._notify_one()

    def add_after(self, key: K, delay: timedelta, priority: Priority = Priority.CHANGE) -> None:
        """Mark `key` dirty when `delay` has passed, unless something does so before; the earliest of several counts."""
        seconds = delay.total_seconds()
        if seconds <= 0:
            self.add(key, priority)
            return
        if self._closed or key in self._waiting or key in self._again:
            return
        due = self._clock.monotonic() + seconds
        known = self._due.get(key)
        # Of several delays the earliest wins, so a timer is never moved. A superseded one stays in
        # the heap, where removing it would cost a search, and is recognised by its time when it
        # comes up (`_release`).
        if known is not None and known[0] <= due:
            return
        self._due[key] = (due, priority)
        heapq.heappush(self._timers, (due, next(self._order), key))
        if due <= self._timers[0][0]:
            self._earlier.set()
        if len(self._timers) > 2 * len(self._due) + _SPARE_TIMERS:
            self._timers = self._without_superseded(self._due)

    # Delays and moments are two heaps because they are two clocks: a delay must pass even when the
    # wall clock is set back, and a moment, such as the end of a certificate, must come earlier when
    # the clock is set forward.
    def add_at(self, key: K, moment: datetime, priority: Priority = Priority.CHANGE) -> None:
        """Mark `key` dirty when the wall clock shows `moment`, unless something does so before; the earliest counts.

        Beside a delay of `add_after`, whichever comes first counts.
        """
        if moment <= self._clock.now():
            self.add(key, priority)
            return
        if self._closed or key in self._waiting or key in self._again:
            return
        known = self._moments.get(key)
        if known is None or moment < known[0]:
            self._moments[key] = (moment, priority)
            heapq.heappush(self._calendar, (moment, next(self._order), key))
            if moment <= self._calendar[0][0]:
                self._earlier.set()
            if len(self._calendar) > 2 * len(self._moments) + _SPARE_TIMERS:
                self._calendar = self._without_superseded(self._moments)

    def retry(self, key: K, *, at_least: float = 0.0, at_most: float | None = None) -> timedelta:
        """Mark `key` dirty after its next back-off, and return how long that is.

        `at_least` seconds are what a server asked for (Retry-After); `at_most` is a lower limit than that of the
        settings, for errors that pass by themselves.

        Why two limits: the back-off of a key protects from its own errors. When the API server rejects the requests of
        all keys at once, 10,000 keys would each retry within milliseconds. So all keys together are retried at most ten
        times a second, after a burst of a hundred. Source: client-go's default rate limiter, which takes the longer of
        the two, too.
        """
        self._metrics.retried()
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        limit = self._back_off.limit.total_seconds()
        limit = limit if at_most is None else min(limit, at_most)
        try:
            seconds = min(
                limit, self._back_off.base.total_seconds() * self._back_off.factor**failures
            )
        except OverflowError:
            seconds = limit
        seconds *= 1 + self._back_off.jitter * self._rng.uniform(-1, 1)
        delay = timedelta(seconds=max(seconds, at_least, self._turn_in_seconds()))
        self.add_after(key, delay)
        return delay

    def _turn_in_seconds(self) -> float:
        """Take a turn of those that all keys share, and return when it is."""
        now = self._clock.monotonic()
        # A token bucket without tokens: the time of the last turn says how full it is. Turns that
        # were not used within ten seconds make up the burst; older ones are lost.
        earliest = now - _RETRY_BURST / _RETRIES_PER_SECOND
        self._last_turn = max(self._last_turn, earliest) + 1 / _RETRIES_PER_SECOND
        return max(0.0, self._last_turn - now)

    def forget(self, key: K) -> None:
        """Let the next failure of `key` be its first."""
        self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        """Return how often `retry` was called since the last `forget`."""
        return self._failures.get(key, 0)

    def drop(self, key: K) -> None:
        """Forget all that is delayed for `key`, and its failures: there is nothing to come back to."""
        self._due.pop(key, None)
        self._moments.pop(key, None)
        self._failures.pop(key, None)

    async def get(self) -> K:
        """Wait for the next key and hand it out; the caller must call `done`. Raises QueueClosed."""
        while True:
            if self._closed:
                raise QueueClosed
            key = self._pop() if not self._held else None
            if key is not None:
                now = self._running[key] = self._clock.monotonic()
                self._metrics.started(now - self._added.pop(key, now))
                self.handed_out += 1
                return key
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._getters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                # One notification is for one key. A worker that is cancelled between the
                # notification and its turn would take it along, and the key would wait although
                # other workers are free.
                if waiter.done() and not waiter.cancelled():
                    self._notify_one()  # this waiter was notified: pass it on
                raise
            finally:
                if waiter in self._getters:
                    self._getters.remove(waiter)

    def done(self, key: K) -> None:
        """Take `key` back from its worker; if it was added meanwhile, it waits again."""
        since = self._running.pop(key, None)
        if since is not None:
            self._metrics.finished(self._clock.monotonic() - since)
        again = self._again.pop(key, None)
        if again is not None:
            self.add(key, again)
        if not self._waiting and not self._running:
            self._idle.set()

    def hold(self) -> None:
        """Hand out no key until `release`; keys that run now run on."""
        self._held = True

    def release(self) -> None:
        """Hand out keys again."""
        self._held = False
        for _ in range(len(self._waiting)):
            self._notify_one()

    @property
    def idle(self) -> bool:
        """True when nothing waits or runs; delayed keys do not count."""
        return self._idle.is_set()

    async def wait_idle(self) -> None:
        """Return when nothing waits or runs."""
        await self._idle.wait()

    def busy(self) -> dict[K, str]:
        """Return the keys that run or wait, and which of the two."""
        return {**dict.fromkeys(self._waiting, "waits"), **dict.fromkeys(self._running, "runs")}

    def running(self) -> dict[K, timedelta]:
        """Return the keys that run, and for how long."""
        now = self._clock.monotonic()
        return {key: timedelta(seconds=now - since) for key, since in self._running.items()}

    def ahead(self, key: K) -> int | None:
        """Return how many keys are handed out before this one, or None if it does not wait; takes linear time."""
        before = 0
        for priority in Priority:
            found = self._ready[priority].ahead(key)
            if found is not None:
                return before + found
            before += len(self._ready[priority])
        return None

    def runs_again(self, key: K) -> bool:
        """Return whether a key that runs was added meanwhile."""
        return key in self._again

    @property
    def held(self) -> bool:
        """Whether keys are not handed out, see `hold`."""
        return self._held

    def delayed(self) -> dict[K, timedelta]:
        """Return the keys that wait for time to pass, and how long from now."""
        now, today = self._clock.monotonic(), self._clock.now()
        found = {key: timedelta(seconds=max(0.0, due - now)) for key, (due, _) in self._due.items()}
        for key, (moment, _) in self._moments.items():
            wait = max(timedelta(0), moment - today)
            found[key] = min(wait, found.get(key, wait))
        return found

    def __len__(self) -> int:
        return len(self._waiting)

    def close(self) -> None:
        """Hand out no more keys; every waiting `get` raises QueueClosed. Running keys may still be `done`."""
        self._closed = True
        self._waiting.clear()
        self._added.clear()
        for ready in self._ready.values():
            ready.clear()
        self._again.clear()
        self._due.clear()
        self._moments.clear()
        self._earlier.set()
        if not self._running:
            self._idle.set()
        for waiter in self._getters:
            if not waiter.done():
                waiter.set_result(None)

    async def run(self) -> None:
        """Move delayed keys to the waiting ones as they fall due, until `close`."""
        while not self._closed:
            self._earlier.clear()
            due = self._release(self._timers, self._due, self._clock.monotonic())
            moment = self._release(self._calendar, self._moments, self._clock.now())
            # never for long: that a machine was suspended, or its clock set, shows only to who looks again
            pauses = [_LOOK_EVERY_SECONDS] if due is not None or moment is not None else []
            if due is not None:
                pauses.append(due - self._clock.monotonic())
            if moment is not None:
                pauses.append((moment - self._clock.now()).total_seconds())
            if pauses:
                await self._sleep_or_earlier(min(pauses))
            else:
                await self._earlier.wait()

    def _release(
        self, timers: list[tuple[_When, int, K]], due: dict[K, tuple[_When, Priority]], now: _When
    ) -> _When | None:
        """Add what is due by `now`; return when the next is, or None when nothing is delayed."""
        while timers:
            when, _, key = timers[0]
            known = due.get(key)
            if known is None or known[0] != when:  # superseded
                heapq.heappop(timers)
                continue
            if when > now:
                return when
            heapq.heappop(timers)
            self.add(key, known[1])
        return None

    def _without_superseded(
        self, due: dict[K, tuple[_When, Priority]]
    ) -> list[tuple[_When, int, K]]:
        """Return the timers that count: those of a key that changes often and asks for tomorrow pile up."""
        timers = [(when, next(self._order), key) for key, (when, _) in due.items()]
        heapq.heapify(timers)
        return timers

    async def _sleep_or_earlier(self, seconds: float) -> None:
        sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
        waiting = asyncio.ensure_future(self._earlier.wait())
        try:
            await asyncio.wait({sleeping, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sleeping, waiting):
                task.cancel()
            await asyncio.gather(sleeping, waiting, return_exceptions=True)

    def _pop(self) -> K | None:
        for priority in Priority:
            key = self._ready[priority].pop()
            if key is not None:
                del self._waiting[key]
                return key
        return None

    def _notify_one(self) -> None:
        for waiter in self._getters:
            if not waiter.done():
                waiter.set_result(None)
                return
