"""Ending transactions over several shards that stayed prepared, by SQL.

What belongs here: finding them, the fence, reading the binary logs, and the statements. What does
not: the rule (`transactions`), and when this is done (`loop`).

    XA RECOVER on every primary ── none, or none for longer than _GRACE ──> nothing
          │
          v
    fence       end the sessions of nodes with a transaction from before; wait until they have ended
    confirm     a write on every primary, acknowledged: what is read below is not that of a former one
    read        XA RECOVER, and the binary logs back to before the transaction
    end         COMMIT everywhere if one shard has committed, ROLLBACK everywhere if none has

Each step may be interrupted and repeated: the rule gives the same decision, because a commit stays in
the binary log and nothing but this module can commit behind the fence.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from operators.mysql_sharding.gtid import EMPTY, Position
from operators.mysql_sharding.objects import OPERATOR_PORT, OPERATOR_USER
from operators.mysql_sharding.proxy.objects import PROXY_USER
from operators.mysql_sharding.proxy.shards import Primary, check_writable
from operators.mysql_sharding.proxy.transactions import (
    Branch,
    Outcome,
    Verb,
    Xid,
    logged_event,
    outcome,
    start_of_file,
    statement,
)
from operators.mysql_sharding.sql import Connector, Login, Session, SqlError, text_of

__all__ = ["GRACE", "Resolved", "Resolver"]

GRACE: Final = timedelta(seconds=10)
"""For how long a transaction may be prepared before its node is taken for one that will not end it."""
_EVERY: Final = timedelta(seconds=5)
_CONNECT_SECONDS: Final = 1.0
_SECONDS: Final = 5.0
_PAGE: Final = 1000
"""Events of one answer: the server lets no transaction commit while it reads them."""
_FENCE_ATTEMPTS: Final = 40
_FENCE_PAUSE: Final = 0.1
_NO_SUCH_THREAD: Final = 1094
_UNKNOWN_XID: Final = 1397
_T = TypeVar("_T")
_PREPARE: Final = (
    "SET SESSION sql_log_bin = 0, lock_wait_timeout = 3, wait_timeout = 3600, time_zone = 'SYSTEM'"
)
"""trx_started is in the time zone of the system, whatever default_time_zone says."""
_OLD_SESSIONS: Final = """
SELECT p.ID AS id FROM information_schema.PROCESSLIST p
 JOIN information_schema.INNODB_TRX t ON t.trx_mysql_thread_id = p.ID
 WHERE p.USER = %s AND (p.INFO IS NULL OR LOWER(p.INFO) LIKE 'xa %%')
 AND t.trx_started <= NOW() - INTERVAL %s SECOND
"""
"""Sessions that may prepare, commit or roll back a transaction from before; not those amid a query."""
_BARRIER_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS operatorkit.resolutions"
    " (id INT PRIMARY KEY, token CHAR(36) NOT NULL) ENGINE=InnoDB"
)
_BARRIER: Final = "REPLACE INTO operatorkit.resolutions VALUES (1, UUID())"


@dataclass(frozen=True, slots=True)
class Resolved:
    """A transaction, how it ends, and on which shards it was prepared."""

    xid: Xid
    outcome: Outcome
    shards: tuple[str, ...]


@dataclass(slots=True)
class _Pending:
    """A prepared transaction: since when it is seen, and what the shards had written before it."""

    since: datetime
    before: Mapping[int, Position]


@dataclass(slots=True)
class Resolver:
    """Ends what stays prepared on the shards of one cluster. Close it at the end."""

    connector: Connector
    _pending: dict[Xid, _Pending] = field(default_factory=dict)
    _before: Mapping[int, Position] = field(default_factory=dict)
    _sessions: dict[int, tuple[Primary, Session]] = field(default_factory=dict)
    _next: datetime | None = None

    async def sync(self, found: Sequence[Primary], now: datetime) -> list[Resolved]:
        """Look for prepared transactions, and end those that are older than GRACE.

        Returns those that were ended, and those that cannot be. Raises SqlError, SchemaBlocked.
        """
        if self._next is not None and now < self._next:
            return []
        self._next = now + _EVERY
        ready = [one for one in found if one.host and one.password and not one.changing]
        await self._look(ready, now, complete=len(ready) == len(found))
        overdue = {xid for xid, one in self._pending.items() if now - one.since >= GRACE}
        if not overdue or len(ready) < len(found):
            return []
        return await self._resolve(found, overdue, now)

    def close(self) -> None:
        """Close all connections."""
        for _, session in self._sessions.values():
            session.close()
        self._sessions.clear()

    async def _look(self, found: Sequence[Primary], now: datetime, *, complete: bool) -> None:
        """Note what is prepared, and the positions that are surely before what comes next."""
        sessions = await _all(self._session(one) for one in found)
        positions = await _all(_written(session) for session in sessions)
        before = {one.number: each for one, each in zip(found, positions, strict=True)}
        seen = set().union(*await _all(_prepared(session) for session in sessions))
        for xid in seen - self._pending.keys():
            self._pending[xid] = _Pending(now, self._before)
        if complete:
            self._before = before
            for xid in self._pending.keys() - seen:
                del self._pending[xid]

    async def _resolve(
        self, found: Sequence[Primary], overdue: set[Xid], now: datetime
    ) -> list[Resolved]:
        age = now - max(self._pending[xid].since for xid in overdue)
        sessions = {one.number: await self._session(one) for one in found}
        for one in found:
            await check_writable(sessions[one.number], one)
        await _all(_fence(sessions[one.number], age) for one in found)
        await _all(_confirm(sessions[one.number], one) for one in found)
        branches: dict[Xid, list[tuple[Primary, Branch]]] = {xid: [] for xid in overdue}
        for one in found:
            bounds = {xid: self._pending[xid].before.get(one.number, EMPTY) for xid in overdue}
            for xid, branch in (await _read(sessions[one.number], one, bounds)).items():
                branches[xid].append((one, branch))
        resolved = []
        for xid in sorted(overdue):
            known = [branch for _, branch in branches[xid]]
            decided = outcome(known)
            held = [(one, branch) for one, branch in branches[xid] if branch.prepared]
            if decided.decision is not None:
                for one, branch in held:
                    text, replicated = statement(xid, branch, decided.decision)
                    await _end(sessions[one.number], text, replicated=replicated)
                del self._pending[xid]
            names = tuple(one.shard for one, _ in held)
            if names:
                resolved.append(Resolved(xid, decided, names))
        return resolved

    async def _session(self, one: Primary) -> Session:
        known = self._sessions.get(one.number)
        if known is not None and known[0] == one and not known[1].closed:
            return known[1]
        if known is not None:
            known[1].close()
        login = Login(one.host, OPERATOR_PORT, OPERATOR_USER, one.password)
        session = await self.connector.connect(login, seconds=_CONNECT_SECONDS)
        self._sessions[one.number] = (one, session)
        await session.rows(_PREPARE, seconds=_SECONDS)
        return session


async def _all(work: Iterable[Coroutine[Any, Any, _T]]) -> list[_T]:
    """Return the results, once all have ended. Raises the first error."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for each in results:
        if isinstance(each, BaseException):
            raise each
    return [each for each in results if not isinstance(each, BaseException)]


async def _written(session: Session) -> Position:
    [row] = await session.rows("SELECT @@gtid_binlog_state AS state", seconds=_SECONDS)
    return Position.parse(text_of(row["state"]))


async def _prepared(session: Session) -> set[Xid]:
    rows = await session.rows("XA RECOVER", seconds=_SECONDS)
    return {xid for row in rows if (xid := Xid.recovered(row)) is not None}


async def _fence(session: Session, age: timedelta) -> None:
    """End the sessions that may still change a transaction which was prepared `age` ago.

    All its branches began before it was prepared on the first shard, and a node sends what ends one
    on the connection that began it, never on another.
    """
    seconds = max(0, int(age.total_seconds()) - 1)
    for _ in range(_FENCE_ATTEMPTS):
        rows = await session.rows(_OLD_SESSIONS, PROXY_USER, seconds, seconds=_SECONDS)
        if not rows:
            return
        for row in rows:
            await _kill(session, int(row["id"]))
        await asyncio.sleep(_FENCE_PAUSE)
    raise SqlError("sessions of nodes that were ended are still there: it is tried again")


async def _kill(session: Session, number: int) -> None:
    try:
        await session.rows(f"KILL HARD CONNECTION {number}", seconds=_SECONDS)
    except SqlError as error:
        if error.code != _NO_SUCH_THREAD:
            raise


@asynccontextmanager
async def _replicated(session: Session) -> AsyncIterator[None]:
    """Let statements into the binary log, and so wait for the acknowledgement of a replica."""
    await session.rows("SET SESSION sql_log_bin = 1", seconds=_SECONDS)
    try:
        yield
    finally:
        if not session.closed:
            await session.rows("SET SESSION sql_log_bin = 0", seconds=_SECONDS)


async def _confirm(session: Session, one: Primary) -> None:
    """Write a row: behind it, everything before it is on a replica, and this is the primary."""
    [row] = await session.rows(
        "SELECT COALESCE(MAX(epoch), 0) AS epoch FROM operatorkit.epoch", seconds=_SECONDS
    )
    if int(row["epoch"]) != one.epoch:
        raise SqlError(f"{one.member} is in epoch {row['epoch']}, and status says {one.epoch}")
    async with _replicated(session):
        await session.rows(_BARRIER_TABLE, seconds=_SECONDS)
        await session.rows(_BARRIER, seconds=_SECONDS)


async def _end(session: Session, text: str, *, replicated: bool) -> None:
    try:
        if not replicated:
            await session.rows(text, seconds=_SECONDS)
            return
        async with _replicated(session):
            await session.rows(text, seconds=_SECONDS)
    except SqlError as error:
        if error.code != _UNKNOWN_XID:  # ended meanwhile, by the same rule
            raise


async def _read(
    session: Session, one: Primary, bounds: Mapping[Xid, Position]
) -> dict[Xid, Branch]:
    """Return what a shard knows of transactions, whose beginning is after `bounds`."""
    held = await _prepared(session)
    logged: dict[Xid, set[Verb]] = {xid: set() for xid in bounds}
    complete: set[Xid] = set()
    files = await session.rows("SHOW BINARY LOGS", seconds=_SECONDS)
    for name in reversed([text_of(row["Log_name"]) for row in files]):
        start = await _scan(session, name, logged)
        complete |= {xid for xid, verbs in logged.items() if "PREPARE" in verbs}
        complete |= {x for x in bounds if (EMPTY if x in held else bounds[x]).contains(start)}
        if complete >= bounds.keys():
            break
    return {
        xid: Branch(one.shard, xid in held, frozenset(logged[xid]), xid in complete)
        for xid in bounds
    }


async def _scan(session: Session, name: str, logged: Mapping[Xid, set[Verb]]) -> Position:
    """Note what one binary log says of transactions; return the position at which it begins."""
    start, position = EMPTY, 4
    while True:
        rows = await session.rows(
            f"SHOW BINLOG EVENTS IN %s FROM {position} LIMIT {_PAGE}", name, seconds=_SECONDS
        )
        for row in rows:
            info = text_of(row["Info"])
            if text_of(row["Event_type"]) == "Gtid_list":
                start = start_of_file(info)
            event = logged_event(info)
            if event is not None and event[0] in logged:
                logged[event[0]].add(event[1])
        if len(rows) < _PAGE:
            return start
        position = int(rows[-1]["End_log_pos"])
