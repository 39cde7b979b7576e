"""A network on which anything may happen to a request, and a watch may end, lag, repeat itself or lose its place.

What belongs here: faults, drawn at random, between a client and a cluster. What does not: who uses them.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

from operatorkit.cluster import ClusterAPI, ObjectList, WatchEvent
from operatorkit.errors import ClusterError, Conflict, Gone, Throttled, Timeout, Unreachable

__all__ = ["Faults", "Network"]

_Make = Callable[[], ClusterError]
_LOST: Sequence[_Make] = (lambda: Timeout("no answer"), lambda: Unreachable("connection reset"))
_REJECTED: Sequence[_Make] = (
    *_LOST,
    lambda: ClusterError("etcd is not well", code=500),
    lambda: Throttled("slow down", code=429),
)


@dataclass(slots=True, kw_only=True)
class Faults:
    """How likely each fault is, and how long things take, in seconds."""

    rejected: float = 0.0
    conflict: float = 0.0
    lost: float = 0.0
    late: float = 0.0
    watch_end: float = 0.0
    watch_gone: float = 0.0
    watch_deaf: float = 0.0
    watch_silent: float = 0.0
    repeat: float = 0.0
    page_expired: float = 0.0
    latency: float = 0.001
    lag: float = 0.001
    down: bool = False

    @classmethod
    def drawn(cls, rng: random.Random) -> Faults:
        """Draw faults for a history: most of the possible ones not at all, or nothing would come to an end."""

        def maybe(most: float) -> float:
            return rng.random() * most if rng.random() < 0.5 else 0.0

        return cls(
            rejected=maybe(0.3),
            conflict=maybe(0.2),
            lost=maybe(0.4),
            late=maybe(0.2),
            watch_end=maybe(0.4),
            watch_gone=maybe(0.4),
            watch_deaf=maybe(0.4),
            watch_silent=maybe(0.02),
            repeat=maybe(0.1),
            page_expired=maybe(0.5),
            latency=rng.choice([0.0, 0.001, 0.02, 0.05]),
            lag=rng.choice([0.0, 0.001, 0.02, 0.1]),
        )


class _Watch:
    """An open watch: `end` is set when its server is replaced, `silent` if that does not show."""

    def __init__(self) -> None:
        self.end = asyncio.Event()
        self.silent = False


async def _until(watch: _Watch, events: Any) -> AsyncGenerator[WatchEvent, None]:
    """Yield what a watch brings until its server is replaced."""
    ended = asyncio.ensure_future(watch.end.wait())
    following = None
    try:
        while True:
            following = asyncio.ensure_future(anext(events))
            await asyncio.wait({ended, following}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                if watch.silent:
                    await asyncio.Event().wait()
                raise Unreachable("connection reset")
            try:
                yield following.result()
            except StopAsyncIteration:
                return
    finally:
        for task in (ended, following):
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in (ended, following) if task is not None), return_exceptions=True)
        await events.aclose()


class Network:
    """What an operator has between itself and its cluster; `faults` may be changed at any time."""

    def __init__(self, api: ClusterAPI, rng: random.Random, faults: Faults) -> None:
        self.api = api
        self.rng = rng
        self.faults = faults
        self.seen: Counter[str] = Counter()
        self.calls = 0
        self._underway: set[asyncio.Task[Any]] = set()
        self._watches: set[_Watch] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.api, name)

    def happens(self, what: str) -> bool:
        """Draw whether a fault happens now."""
        if self.rng.random() >= getattr(self.faults, what):
            return False
        self.seen[what] += 1
        return True

    def replace(self, api: ClusterAPI, *, silent: bool) -> None:
        """Let another server answer from now on; watches of the first one end, or bring nothing any more."""
        self.api = api
        for watch in self._watches:
            watch.silent = silent
            watch.end.set()

    async def quiet(self) -> None:
        """Return when no request is on its way any more that its sender has given up."""
        if self._underway:
            await asyncio.wait(self._underway)

    async def _takes(self, mean: float) -> None:
        if mean:
            await asyncio.sleep(self.rng.expovariate(1 / mean))

    async def _read(self, request: Callable[[], Awaitable[Any]]) -> Any:
        self.calls += 1
        await self._takes(self.faults.latency)
        if self.faults.down:
            raise Unreachable("connection refused")
        if self.happens("rejected"):
            make = self.rng.choice(_REJECTED)
            raise make()
        answer = await request()
        await self._takes(self.faults.latency)
        return answer

    async def _write(self, request: Callable[[], Awaitable[Any]], *, conflicts: bool = True) -> Any:
        self.calls += 1
        await self._takes(self.faults.latency)
        if self.faults.down:
            raise Unreachable("connection refused")
        if self.happens("rejected"):
            make = self.rng.choice(_REJECTED)
            raise make()
        if conflicts and self.happens("conflict"):
            raise Conflict("the object has been modified", code=409)
        if self.happens("late"):
            task = asyncio.create_task(self._later(request))
            self._underway.add(task)
            task.add_done_callback(self._underway.discard)
            raise Timeout("no answer yet")
        answer = await request()
        await self._takes(self.faults.latency)
        if self.happens("lost"):
            make = self.rng.choice(_LOST)
            raise make()
        return answer

    async def _later(self, request: Callable[[], Awaitable[Any]]) -> None:
        await self._takes(0.3)
        try:
            await request()
        except ClusterError:
            return

    async def get(self, *args: Any, **options: Any) -> Any:
        return await self._read(lambda: self.api.get(*args, **options))

    async def list(self, resource: Any, *, limit: int | None = None, **options: Any) -> ObjectList:
        if options.get("continue_token") and self.happens("page_expired"):
            raise Gone("the provided continue parameter is too old", code=410)
        short = limit and min(limit, 3)
        page: ObjectList = await self._read(lambda: self.api.list(resource, limit=short, **options))
        return page

    async def patch(self, *args: Any, **options: Any) -> Any:
        return await self._write(lambda: self.api.patch(*args, **options))

    async def create(self, *args: Any, **options: Any) -> Any:
        return await self._write(lambda: self.api.create(*args, **options), conflicts=False)

    async def delete(self, *args: Any, **options: Any) -> Any:
        return await self._write(lambda: self.api.delete(*args, **options), conflicts=False)

    async def watch(self, resource: Any, **options: Any) -> AsyncIterator[WatchEvent]:
        self.calls += 1
        await self._takes(self.faults.latency)
        if self.faults.down:
            raise Unreachable("connection refused")
        if self.happens("watch_gone"):
            raise Gone("too old resource version", code=410)
        watch = _Watch()
        self._watches.add(watch)
        try:
            async with aclosing(self._brought(watch, resource, options)) as events:
                async for event in events:
                    yield event
        finally:
            self._watches.discard(watch)

    async def _brought(self, watch: _Watch, resource: Any, options: Any) -> AsyncGenerator[WatchEvent, None]:
        async with aclosing(_until(watch, cast("Any", self.api.watch(resource, **options)))) as events:
            async for event in events:
                await self._takes(self.faults.lag)
                if self.faults.down:
                    raise Unreachable("connection reset")
                if self.happens("watch_deaf"):  # what happens from here on is seen by a list only
                    await self._takes(2.0)
                    raise Gone("too old resource version", code=410)
                if self.happens("watch_silent"):
                    await asyncio.Event().wait()
                if self.happens("watch_end"):
                    self._end()
                    return
                if self.happens("repeat"):
                    yield event
                yield event

    def _end(self) -> None:
        """End a watch: politely, or not."""
        how = self.rng.randrange(4)
        if how == 1:
            raise Unreachable("connection reset")
        if how == 2:
            raise Timeout("silence")
        if how == 3:
            raise Gone("too old resource version", code=410)
