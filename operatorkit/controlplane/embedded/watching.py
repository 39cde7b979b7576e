"""Watches: what happens to a selection of objects, from a revision on.

What belongs here: where a watch starts, what each change means for a selection, and bookmarks. What does not: writing
events to a connection (`server`) and the forms of objects (`forms`).

    resourceVersion          first come                                then
    none                     ADDED for each object now                 what happens
    "0"                      ADDED for each object now                 what happens
    N                        what happened since N (or 410)            what happens
    sendInitialEvents        ADDED for each object, then a BOOKMARK    what happens
                             with k8s.io/initial-events-end

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from operatorkit.controlplane.embedded.options import ListOptions
from operatorkit.controlplane.embedded.reading import Selection, too_old
from operatorkit.controlplane.embedded.status import too_large_revision
from operatorkit.controlplane.embedded.storage import Change, Record, Storage

__all__ = ["Event", "Watch"]

BUFFER_LENGTH = 20_000
"""A watcher that lags this many events behind is cut off: it can resume from where it was."""

EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]


@dataclass(frozen=True, slots=True)
class Event:
    """One event for one watcher. `record` is None for a bookmark; `initial_end` marks the end of initial events."""

    type: EventType
    record: Record | None
    revision: int
    initial_end: bool = False


class Watch:
    """The events of one selection, as an asynchronous iterator of batches; ends when it is closed or lags behind."""

    def __init__(self, storage: Storage, selection: Selection, options: ListOptions) -> None:
        self._storage = storage
        self._selection = selection
        self._collection = storage.collection(selection.served.collection)
        self._buffer: deque[Event] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self._unsubscribe: Callable[[], None] = lambda: None
        self._start(options)
        self._unsubscribe = self._collection.subscribe(self._on_change)

    def _start(self, options: ListOptions) -> None:
        wanted = options.revision()
        current = self._storage.revision
        if options.send_initial_events is not None and wanted and wanted > current:
            raise too_large_revision(wanted, current)
        initial = options.send_initial_events or (options.send_initial_events is None and not wanted)
        if initial:
            for record in self._selection.candidates(self._collection):
                if self._selection.holds(record):
                    self._buffer.append(Event("ADDED", record, record.revision))
        elif wanted:
            try:
                changes = self._collection.since(wanted)
            except LookupError:
                raise too_old(wanted, self._collection.forgotten) from None
            for change in changes:
                event = self._event(change)
                if event is not None:
                    self._buffer.append(event)
        if options.send_initial_events and options.bookmarks:
            self._buffer.append(Event("BOOKMARK", None, current, initial_end=True))

    def _on_change(self, change: Change) -> None:
        event = self._event(change)
        if event is None:
            return
        if len(self._buffer) >= BUFFER_LENGTH:
            self.close()
            return
        self._buffer.append(event)
        self._wake()

    def _event(self, change: Change) -> Event | None:
        now = change.type != "DELETED" and self._selection.holds(change.record)
        before = change.old is not None and self._selection.holds(change.old)
        if now:
            return Event("MODIFIED" if before else "ADDED", change.record, change.revision)
        if not before or change.old is None:
            return None
        last = change.record if change.type == "DELETED" else change.old.renumbered(change.revision)
        return Event("DELETED", last, change.revision)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    @property
    def closed(self) -> bool:
        """Whether no more events will come."""
        return self._closed

    def close(self) -> None:
        """End the watch. May be called twice."""
        if not self._closed:
            self._closed = True
            self._unsubscribe()
            self._wake()

    def bookmark(self) -> Event:
        """Return a bookmark of now: everything up to it has been given out."""
        return Event("BOOKMARK", None, self._storage.revision)

    def take(self) -> list[Event]:
        """Return the events that are due, without waiting."""
        events = list(self._buffer)
        self._buffer.clear()
        return events

    async def next(self, timeout_seconds: float | None = None) -> list[Event]:
        """Wait for events and return them; none when the time is up or the watch is closed."""
        if not self._buffer and not self._closed:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(timeout_seconds):
                    await self._waiter
            except TimeoutError:
                return []
            finally:
                self._waiter = None
        return self.take()
