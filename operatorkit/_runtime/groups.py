"""Runnable groups: the parts of an engine start in order, stop in reverse, and end together.

What belongs here: starting, supervising and stopping runnables, whatever they do. What does not: which runnables there
are and in which group (`engine`), and the process around them (`host`).

    start    HTTP_SERVERS ──> CACHES ──> WEBHOOKS ──> OTHERS ──> LEADER_ONLY
    stop     HTTP_SERVERS <── CACHES <── WEBHOOKS <── OTHERS <── LEADER_ONLY

Source: the order of controller-runtime's pkg/manager/runnable_group.go, with one difference. There, webhooks start
before caches, because conversion webhooks may have to serve before a cache can sync. Here, validate functions read from
the caches, so the caches come first.

One cause: the first runnable that ends, though it was not stopped, ends all. Its error is raised; if it has none,
because it returned or another task cancelled it, the error names it. Errors of the others are logged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from typing import Any

from operatorkit.errors import OperatorKitError

__all__ = ["Group", "Groups", "Runnable"]

_log = logging.getLogger("operatorkit.runtime")


class Group(IntEnum):
    """When a runnable starts: those of lower groups first."""

    HTTP_SERVERS = 0
    """Probes, which have to respond while everything else starts."""
    CACHES = 1
    WEBHOOKS = 2
    OTHERS = 3
    """What every replica runs: Events, leader election."""
    LEADER_ONLY = 4
    """What one replica at a time runs: the controllers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runnable:
    """One part of an engine; `run` is its work, in a task of its own.

    `start` is awaited before `run` begins, and `synced` before the next group starts. `stop` asks `run` to return; it
    then has a grace period. Without `stop`, `run` is cancelled. `close` is awaited when `run` is over, also after
    a failure, and whenever `start` was called.
    """

    name: str
    run: Callable[[], Coroutine[Any, Any, None]]
    start: Callable[[], Awaitable[None]] | None = None
    synced: Callable[[], Awaitable[None]] | None = None
    stop: Callable[[], None] | None = None
    close: Callable[[], Awaitable[None]] | None = None


@dataclass(slots=True)
class _Started:
    runnable: Runnable
    task: asyncio.Task[None] | None = None


class Groups:
    """The runnables of one engine, whose name is `owner`."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._started: dict[Group, list[_Started]] = {group: [] for group in Group}
        self._ended: list[asyncio.Task[None]] = []
        self._stopping: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    async def start(self, group: Group, runnables: Iterable[Runnable]) -> None:
        """Start runnables, and return when all of them have synced.

        Raises the cause when a runnable that was started, now or before, ends meanwhile.
        """
        waits = []
        for runnable in runnables:
            started = _Started(runnable)
            # Before it has started: `stop` must close also what failed half-way.
            self._started[group].append(started)
            if runnable.start is not None:
                await self.until(runnable.start)
            name = f"{self._owner}: {runnable.name}"
            started.task = asyncio.create_task(runnable.run(), name=name)
            started.task.add_done_callback(self._on_end)
            if runnable.synced is not None:
                waits.append(runnable.synced)
        if waits:
            await self.until(lambda: asyncio.gather(*(synced() for synced in waits)))

    async def until(self, awaited: Callable[[], Awaitable[object]]) -> None:
        """Return when what `awaited` returns is done; raise the cause when a runnable ends before that."""
        waiting = asyncio.ensure_future(_finished(awaited))
        try:
            while not self._ended and not waiting.done():
                self._changed.clear()
                change = asyncio.ensure_future(self._changed.wait())
                try:
                    await asyncio.wait({waiting, change}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    change.cancel()
            self._raise_cause()
            await waiting
        finally:
            waiting.cancel()
            await asyncio.wait({waiting})

    async def stop(self, group: Group, *, grace: timedelta) -> None:
        """Stop the runnables of one group; those with `stop` have `grace` to return before they are cancelled."""
        started = self._started[group]
        tasks = {each.task for each in started if each.task is not None}
        self._stopping |= tasks
        for each in started:
            if each.runnable.stop is not None and grace:
                each.runnable.stop()
            elif each.task is not None:
                each.task.cancel()
        if tasks and grace:
            _, late = await asyncio.wait(tasks, timeout=grace.total_seconds())
            for task in late:
                _log.warning(
                    "%s did not finish within %g s: cancelled",
                    task.get_name(),
                    grace.total_seconds(),
                )
                task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._started[group] = []
        for each in reversed(started):
            if each.runnable.close is not None:
                await each.runnable.close()

    async def stop_all(self, *, grace: timedelta = timedelta(0)) -> None:
        """Stop all groups that were started, the last one first."""
        for group in reversed(Group):
            await self.stop(group, grace=grace)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        if task in self._stopping:
            if not task.cancelled() and task.exception() is not None:
                self._also_failed(task)
            return
        self._ended.append(task)
        self._changed.set()

    def _raise_cause(self) -> None:
        """Raise what ended the first runnable that was not stopped; log what ended others."""
        if not self._ended:
            return
        first, *others = self._ended
        for other in others:
            if not other.cancelled() and other.exception() is not None:
                self._also_failed(other)
        if first.cancelled() or first.exception() is None:
            raise OperatorKitError(f"{first.get_name()} ended unexpectedly")
        cause, *rest = _causes(first.exception())
        for error in rest:
            _log.error("%s: also failed: %r", self._owner, error)
        raise cause from None

    def _also_failed(self, task: asyncio.Task[None]) -> None:
        for error in _causes(task.exception()):
            _log.error("%s: also failed: %r", self._owner, error)


def _causes(error: BaseException | None) -> list[BaseException]:
    """Return the errors that a task group collected in one, in their order."""
    if isinstance(error, BaseExceptionGroup):
        return [cause for each in error.exceptions for cause in _causes(each)]
    return [] if error is None else [error]


async def _finished(awaited: Callable[[], Awaitable[object]]) -> None:
    await awaited()
