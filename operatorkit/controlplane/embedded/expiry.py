"""Events do not live for ever.

What belongs here: deleting Events when their time is up, counted from their last write, by the server's clock. What
does not: keeping an Event alive that still matters, which is up to its recorder (`operatorkit.events`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import datetime, timedelta

from operatorkit.clock import Clock
from operatorkit.controlplane.embedded.storage.store import Change, Record, Storage

__all__ = ["EventExpiry"]


class EventExpiry:
    """Deletes each Event `ttl` after its last write."""

    def __init__(self, storage: Storage, clock: Clock, ttl: timedelta) -> None:
        self._storage = storage
        self._clock = clock
        self._ttl = ttl
        self._events = storage.collection("events")
        self._due: deque[tuple[datetime, Record]] = (
            deque()
        )  # by time, for the time to live is one for all
        self._some = asyncio.Event()
        self._unsubscribe = self._events.subscribe(self._on_change)
        for record in self._events.records.values():
            self._expect(record)

    def _on_change(self, change: Change) -> None:
        if change.type != "DELETED":
            self._expect(change.record)

    def _expect(self, record: Record) -> None:
        self._due.append((self._clock.now() + self._ttl, record))
        self._some.set()

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            while True:
                if not self._due:
                    self._some.clear()
                    await self._some.wait()
                moment, record = self._due[0]
                wait = (moment - self._clock.now()).total_seconds()
                if wait > 0:
                    await self._clock.sleep(wait)
                    continue
                self._due.popleft()
                if self._events.records.get(record.key) is record:
                    self._storage.remove(self._events, record)
        finally:
            self._unsubscribe()
