"""Watches: what happens to a selection of objects, from a revision on.

What belongs here: where a watch starts, what each change means for a selection, and bookmarks. What does not: writing
events to a connection (`server`) and the representations of objects
(`representation`).

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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from operatorkit.controlplane.embedded.endpoints.reading import Selection, too_old
from operatorkit.controlplane.embedded.endpoints.representation import Representation
from operatorkit.controlplane.embedded.errors.errors import too_large_revision
from operatorkit.controlplane.embedded.request.options import ListOptions
from operatorkit.controlplane.embedded.storage.store import Change, Record, Storage

__all__ = ["Event", "Watch", "WatchAnswer"]

BUFFER_LENGTH = 256
"""How many events wait for one watcher; what comes after them is read from the log when it has taken these."""
BUFFER_BYTES = 1024 * 1024
"""How much the objects of those events may hold together."""

EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]


@dataclass(frozen=True, slots=True)
class Event:
    """One event for one watcher. `record` is None for a bookmark; `initial_end` marks the end of initial events."""

    type: EventType
    record: Record | None
    revision: int
    initial_end: bool = False


class Watch:
    """The events of one selection, as batches; it ends when it is closed or falls too far behind.

    It is closed, too, when its resource is served no longer or otherwise than before: a CRD was deleted or changed.

         the objects at the start (`_initial`) ──► `_buffer` ──► take()
         the log, after `_position`, while `_behind` ──►  │
         each change, while not `_behind` ────────────────┘

    A watcher that does not read holds at most BUFFER_LENGTH events of its own; what follows them stays in the log,
    which all watchers share. When the log drops what it has not taken, the watch is closed, and `on_lost` is called:
    the client resumes where it was and gets 410 Gone there, as from a kube-apiserver that closes a slow watch.
    """

    def __init__(self, storage: Storage, selection: Selection, options: ListOptions) -> None:
        self.on_lost: Callable[[], None] = lambda: None
        self._storage = storage
        self._selection = selection
        self._collection = storage.collection(selection.served.collection)
        self._initial: Iterator[Event] = iter(())
        self._buffer: deque[Event] = deque()
        self._size = 0
        self._behind = False
        self._position = 0
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self._unsubscribe: Callable[[], None] = lambda: None
        self._start(options)
        self._unsubscribe = self._collection.subscribe(self._on_change, on_end=self.close)

    def _start(self, options: ListOptions) -> None:
        wanted = options.revision()
        current = self._storage.revision
        if options.send_initial_events is not None and wanted and wanted > current:
            raise too_large_revision(wanted, current)
        initial = options.send_initial_events or (
            options.send_initial_events is None and not wanted
        )
        self._position = current
        if initial:
            self._initial = self._present()
        elif wanted:
            if wanted < self._collection.forgotten:
                raise too_old(wanted, self._collection.forgotten)
            self._position = wanted
        if options.send_initial_events and options.bookmarks:
            self._initial = chain(
                self._initial, (Event("BOOKMARK", None, current, initial_end=True),)
            )
        self._behind = True
        self._refill()

    def _present(self) -> Iterator[Event]:
        """Yield the objects there are now, whatever happens to them before they are taken."""
        # Records never change, so holding them is a snapshot: whatever is written while the client
        # reads them comes afterwards, from the log.
        for record in list(self._selection.candidates(self._collection)):
            if self._selection.holds(record):
                yield Event("ADDED", record, record.revision)

    def _refill(self) -> None:
        """Fill the buffer with what is due: what was there at the start, then what the log has."""
        for event in self._initial:
            self._append(event)
            if self._is_full():
                return
        try:
            changes = self._collection.since(self._position)
        except LookupError:
            self._lose()
            return
        for change in changes:
            if self._is_full():
                return
            self._position = change.revision
            event_ = self._event(change)
            if event_ is not None:
                self._append(event_)
        self._behind = False

    def _append(self, event: Event) -> None:
        self._buffer.append(event)
        if event.record is not None:
            self._size += len(event.record.body)

    def _is_full(self) -> bool:
        return len(self._buffer) >= BUFFER_LENGTH or self._size >= BUFFER_BYTES

    def _on_change(self, change: Change) -> None:
        if self._behind:
            if self._position < self._collection.forgotten:
                self._lose()
        elif change.revision <= self._position:
            pass  # it was started from the future, and this is not later
        elif (event := self._event(change)) is not None:
            if self._is_full():
                # From here on the watcher reads from the shared log, from just before this change.
                # Appending past the limit instead would let one client that does not read hold
                # memory without bound; closing the watch at once would make each burst a
                # reconnection of all clients.
                self._behind, self._position = True, change.revision - 1
                return
            self._append(event)
            self._notify()

    def _event(self, change: Change) -> Event | None:
        now = change.type != "DELETED" and self._selection.holds(change.record)
        before = change.old is not None and self._selection.holds(change.old)
        if now:
            return Event("MODIFIED" if before else "ADDED", change.record, change.revision)
        if not before or change.old is None:
            return None
        # An object that leaves the selection is DELETED for this watcher. It is shown in its last
        # state that matched, as kube-apiserver does, but with the revision of this change: the
        # client resumes from there.
        last = change.record if change.type == "DELETED" else change.old.left_at(change.revision)
        return Event("DELETED", last, change.revision)

    def _lose(self) -> None:
        self.close()
        self.on_lost()

    def _notify(self) -> None:
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
            self._initial = iter(())
            self._unsubscribe()
            self._notify()

    def bookmark(self) -> Event:
        """Return a bookmark of now: everything up to it has been given out."""
        # The revision of the storage, not of the last event: in a quiet collection a client that
        # resumes from its last event would get 410 Gone when other collections have moved on and
        # the log was compacted. That is what bookmarks are for:
        # https://kubernetes.io/docs/reference/using-api/api-concepts/#watch-bookmarks
        return Event("BOOKMARK", None, self._storage.revision)

    def take(self) -> list[Event]:
        """Return the events that are due, at most BUFFER_LENGTH, without waiting."""
        events = list(self._buffer)
        self._buffer.clear()
        self._size = 0
        if self._behind and not self._closed:
            self._refill()
        return events

    async def next(self, timeout_seconds: float | None = None) -> list[Event]:
        """Wait for events and return them; none when the time is up, or the watch is closed and all are taken."""
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


@dataclass(frozen=True, slots=True)
class WatchAnswer:
    """An answer that goes on: the events of `watch`, in the representation of `representation`."""

    watch: Watch
    representation: Representation
    bookmarks: bool
    timeout_seconds: int | None
