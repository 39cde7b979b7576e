"""Rows of one bucket, from one shard to another: in the order of the key, then the changed ones.

What belongs here: reading, writing, and in which order. What does not: when (`plan`), and whose
sessions these are (`execute`).

Why the copy is exact. A trigger writes the key of each changed row into the log, in the transaction of
the change. A changed key is copied by reading the row as it is now, so neither the order of changes
nor their number matters, and each may be copied again. A key leaves the log only after the target has
acknowledged the row; what is committed between the reading and that has a number of its own in the log. So
a row of the copy that is older than that of the source has its key in the log, always.

A unique key apart from the primary one may collide with such an older row. REPLACE deletes that row;
its key is in the log.

Rows are read by statements of their own, without a snapshot that would be held for hours, and memory
holds one batch of about a megabyte.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from operatorkit.clock import Clock
from operators.mysql_sharding.reshard.statements import Literal, TableMove
from operators.mysql_sharding.sql import Row, Session, text_of

__all__ = ["SESSION", "Copier"]

SESSION: Final = (
    "SET SESSION time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,ALLOW_INVALID_DATES',"
    " lock_wait_timeout = 3, tx_isolation = 'READ-COMMITTED', wait_timeout = 3600"
)
"""What a session needs so that values arrive as they were: the same time zone, zero dates, no truncation."""

_SLICE_SECONDS: Final = 1.0
_SECONDS: Final = 20.0
_BATCH_ROWS: Final = 500
_BATCH_BYTES: Final = 1 << 20
_ROW_BYTES: Final = (
    "SELECT COALESCE(MAX(AVG_ROW_LENGTH), 0) AS n FROM information_schema.TABLES"
    " WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
)


@dataclass(slots=True)
class Copier:
    """Copies one table. `read` and `write` are sessions of source and target, prepared by `SESSION`."""

    move: TableMove
    read: Session
    write: Session
    clock: Clock

    async def copy(self) -> bool:
        """Copy rows for about a second; return whether the last one was read. Raises SqlError.

        It begins behind the greatest key that the copy has: in this phase, nothing else writes there.
        """
        ends = self.clock.monotonic() + _SLICE_SECONDS
        last = await self._rows(self.write, self.move.last_key(self.move.staged))
        after = self.move.key(_values(last[0], "k")) if last else None
        limit = await self._first_limit(self.move.table.name)
        while True:
            statement = self.move.select(self.move.table.name, after=after, limit=limit)
            rows = await self._read(statement)
            for batch in _batches(rows):
                await self._rows(self.write, self.move.replace(self.move.staged, batch))
            if len(rows) < limit:
                return True
            after = self.move.key_of(rows[-1])
            limit = _next_limit(limit, rows)
            if self.clock.monotonic() >= ends:
                return False

    async def apply(self, name: str) -> None:
        """Copy changed rows for about a second, or until the log is empty; `name` is that on the source.

        Raises SqlError. May be interrupted anywhere, and repeated.
        """
        ends = self.clock.monotonic() + _SLICE_SECONDS
        limit = await self._first_limit(name)
        while True:
            logged = await self._rows(self.read, self.move.read_log(limit))
            if not logged:
                return
            keys = list(dict.fromkeys(self.move.key(_values(row, "k")) for row in logged))
            rows = await self._read(self.move.select_keys(name, keys))
            await self._rows(self.write, "BEGIN")
            await self._rows(self.write, self.move.delete(self.move.staged, keys))
            for batch in _batches(rows):
                await self._rows(self.write, self.move.replace(self.move.staged, batch))
            await self._rows(self.write, "COMMIT")
            await self._rows(self.read, self.move.forget(int(row["id"]) for row in logged))
            if len(logged) < limit or self.clock.monotonic() >= ends:
                return
            limit = _next_limit(limit, rows)

    async def _first_limit(self, name: str) -> int:
        values = (self.move.schema, name)
        [row] = await self.read.rows(_ROW_BYTES, *values, seconds=_SECONDS)
        return max(1, min(_BATCH_ROWS, _BATCH_BYTES // max(1, int(row["n"]))))

    async def _read(self, statement: str) -> list[list[Literal]]:
        return [self.move.row(_values(row, "c")) for row in await self._rows(self.read, statement)]

    @staticmethod
    async def _rows(session: Session, statement: str) -> list[Row]:
        return await session.rows(statement, seconds=_SECONDS)


def _values(row: Row, prefix: str) -> list[str | None]:
    """Return the columns `c0`, `c1`, ... of a row, as text."""
    names = [name for name in row if name.startswith(prefix)]
    return [None if row[name] is None else text_of(row[name]) for name in names]


def _next_limit(limit: int, rows: Sequence[Sequence[Literal]]) -> int:
    """Return how many rows are read next, so that a batch has about a megabyte."""
    size = sum(len(value) for row in rows for value in row)
    return max(1, limit // 2) if size > _BATCH_BYTES else min(_BATCH_ROWS, limit * 2)


def _batches(rows: Sequence[list[Literal]]) -> Iterator[list[list[Literal]]]:
    """Return rows in statements of a limited length."""
    batch: list[list[Literal]] = []
    length = 0
    for row in rows:
        size = sum(len(value) for value in row)
        if batch and length + size > 2 * _BATCH_BYTES:
            yield batch
            batch, length = [], 0
        batch.append(row)
        length += size
    if batch:
        yield batch
