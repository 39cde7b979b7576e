"""Executing the steps of a move: sessions to both primaries, and SQL on them.

What belongs here: how a step is done, and what is observed. What does not: which step is next
(`plan`), requests for the status and the nodes (`loop`), and rows (`copy`). Each step may run twice.

A session of another operator, whose process hangs, could send a late statement. Every session of a
move therefore holds a lock of its server (GET_LOCK), and who comes later ends the session that holds
it, before it reads anything. Rows are written by the account of the nodes: a server that is not the
primary any more has locked it, as those of applications.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from operatorkit.clock import Clock
from operators.mysql_sharding.api import MysqlCluster, MysqlTable
from operators.mysql_sharding.objects import OPERATOR_PORT, OPERATOR_USER
from operators.mysql_sharding.proxy.ddl import create_bucket_table, fingerprint
from operators.mysql_sharding.proxy.objects import PROXY_USER
from operators.mysql_sharding.proxy.shards import Primary, check_writable
from operators.mysql_sharding.reshard.api import BucketMove
from operators.mysql_sharding.reshard.copy import SESSION, Copier
from operators.mysql_sharding.reshard.plan import (
    CAUGHT_UP,
    ApplyChanges,
    CopyRows,
    DropSource,
    FenceSource,
    HoldTarget,
    OpenTarget,
    Prepare,
    SeenMove,
)
from operators.mysql_sharding.reshard.statements import TableMove
from operators.mysql_sharding.sql import Connector, Login, Row, Session, SqlError, quoted, text_of

__all__ = ["Mover", "SqlStep"]

SqlStep = Prepare | CopyRows | ApplyChanges | HoldTarget | FenceSource | OpenTarget | DropSource

_CONNECT_SECONDS: Final = 3.0
_SECONDS: Final = 10.0
_DDL_SESSION: Final = (
    "SET SESSION lock_wait_timeout = 1, innodb_lock_wait_timeout = 1, wait_timeout = 3600"
)
_IN_DOUBT_SECONDS: Final = 3.0
"""A transaction over several shards is prepared for milliseconds, unless its node has died."""
_RENAMINGS_THAT_WAIT: Final = (
    "SELECT COUNT(*) AS n FROM information_schema.PROCESSLIST"  # noqa: S608 - names of this package
    " WHERE STATE = 'Waiting for table metadata lock' AND INFO LIKE 'RENAME TABLE `%'"
    f" AND USER = '{OPERATOR_USER}'"
)
_POLL_SECONDS: Final = 0.005
_POLLS: Final = 150
_RENAMINGS: Final = 4
"""Each needs a session; the server has ten for the operator."""
_NO_SUCH_THREAD: Final = 1094


@dataclass(slots=True)
class _Sessions:
    """The sessions of one move. `owner` sends definitions, `rows` reads and writes rows."""

    source: Primary
    target: Primary
    source_owner: Session
    source_rows: Session
    target_owner: Session
    target_rows: Session
    hold: Session | None = None
    """The session that has locked the placeholders on the target."""

    def close(self) -> None:
        for one in (
            self.source_owner,
            self.source_rows,
            self.target_owner,
            self.target_rows,
            self.hold,
        ):
            if one is not None:
                one.close()

    @property
    def closed(self) -> bool:
        sessions = (self.source_owner, self.source_rows, self.target_owner, self.target_rows)
        return any(one.closed for one in sessions)


@dataclass(slots=True)
class Mover:
    """Moves the buckets of one cluster, one at a time. Close it at the end."""

    connector: Connector
    clock: Clock
    password: str = field(default="", repr=False)
    """Password of the account of the nodes."""
    _number: int = 0
    _sessions: _Sessions | None = None
    _prepared: bool = False
    _copied: set[str] = field(default_factory=set)
    _prepared_since: dict[str, float] = field(default_factory=dict)
    _at_first: set[str] | None = None
    _at_fence: set[str] | None = None

    def close(self) -> None:
        """Close all sessions: statements that wait at a target go on, or fail."""
        if self._sessions is not None:
            self._sessions.close()
        self._sessions = None
        self._prepared = False
        self._at_first = self._at_fence = None

    async def observe(
        self, cluster: MysqlCluster, move: BucketMove, source: Primary, target: Primary
    ) -> SeenMove:
        """Return what there is of a move on both shards. Raises SqlError, SchemaBlocked."""
        if self._number != move.number:
            self.close()
            self._copied.clear()
            self._prepared_since.clear()
            self._number = move.number
        tables = table_moves(cluster.spec.tables, move)
        sessions = await self._connected(source, target)
        schemas = sorted({one.schema for one in tables})
        on_source, on_target = await asyncio.gather(
            _tables(sessions.source_owner, schemas), _tables(sessions.target_owner, schemas)
        )
        backlog = 0
        switched = move.step in {"Opening", "Dropping"}
        for one in tables if not switched else ():
            if (one.schema, one.log) in on_source:
                statement = one.count_log(CAUGHT_UP + 1)
                [row] = await sessions.source_owner.rows(statement, seconds=_SECONDS)
                backlog += int(row["n"])
        hold = sessions.hold
        serves_source = any((one.schema, one.table.name) in on_source for one in tables)
        fenced = move.step == "Switching" and not serves_source
        return SeenMove(
            step=move.step,
            prepared=self._prepared,
            copied=self._copied >= {one.staged for one in tables},
            backlog=backlog,
            in_doubt="" if switched else await self._in_doubt(sessions.source_owner, fenced=fenced),
            held=not tables or (hold is not None and not hold.closed),
            serves_source=serves_source,
            serves_target=all(
                on_target.get((one.schema, one.table.name)) == fingerprint(one.table)
                for one in tables
            ),
            left=any(
                (one.schema, name) in on_source for one in tables for name in (one.fenced, one.log)
            )
            or any((one.schema, name) in on_target for one in tables for name in (one.replaced,)),
        )

    async def execute(self, cluster: MysqlCluster, move: BucketMove, step: SqlStep) -> None:
        """Execute a step after `observe`. Raises SqlError, InputError."""
        sessions, tables = self._sessions, table_moves(cluster.spec.tables, move)
        assert sessions is not None
        match step:
            case Prepare():
                await _prepare(sessions, tables)
                self._copied.clear()
                self._prepared = True
            case CopyRows():
                await self._copy(sessions, tables)
            case ApplyChanges():
                await self._apply(sessions, tables)
            case HoldTarget():
                await self._hold(sessions, tables)
            case FenceSource():
                await _fence(sessions, tables)
            case OpenTarget():
                await self._open(sessions, tables)
            case DropSource():
                await _drop(sessions, tables)

    # sessions --------------------------------------------------------------------------------------

    async def _connected(self, source: Primary, target: Primary) -> _Sessions:
        """Return sessions to these primaries, of these epochs."""
        known = self._sessions
        if (
            known is not None
            and not known.closed
            and (known.source, known.target) == (source, target)
        ):
            return known
        self.close()
        made: list[Session] = []
        try:
            for one in (source, target):
                made.append(await self._owner(one, "operatorkit-reshard"))
                made.append(await self._rows(one, made[-1]))
        except BaseException:
            for session in made:
                session.close()
            raise
        self._sessions = _Sessions(source, target, *made)
        return self._sessions

    async def _owner(self, one: Primary, lock: str) -> Session:
        login = Login(one.host, OPERATOR_PORT, OPERATOR_USER, one.password)
        session = await self.connector.connect(login, seconds=_CONNECT_SECONDS)
        try:
            await check_writable(session, one)
            await session.rows(_DDL_SESSION, seconds=_SECONDS)
            await _take(session, session, lock)
        except BaseException:
            session.close()
            raise
        return session

    async def _rows(self, one: Primary, owner: Session) -> Session:
        login = Login(one.host, OPERATOR_PORT, PROXY_USER, self.password)
        session = await self.connector.connect(login, seconds=_CONNECT_SECONDS)
        try:
            await session.rows(SESSION, seconds=_SECONDS)
            await _take(session, owner, "operatorkit-reshard-rows")
        except BaseException:
            session.close()
            raise
        return session

    async def _hold(self, sessions: _Sessions, tables: Sequence[TableMove]) -> None:
        """Lock the placeholders: a statement that arrives waits, and goes on with what is there then."""
        for one in tables:
            await sessions.target_owner.rows(one.create_placeholder(), seconds=_SECONDS)
        if not tables:
            return
        hold = await self._owner(sessions.target, "operatorkit-reshard-hold")
        try:
            names = ", ".join(f"{one.named(one.table.name)} WRITE" for one in tables)
            await hold.rows(f"LOCK TABLES {names}", seconds=_SECONDS)
        except BaseException:
            hold.close()
            raise
        if sessions.hold is not None:
            sessions.hold.close()
        sessions.hold = hold

    async def _open(self, sessions: _Sessions, tables: Sequence[TableMove]) -> None:
        """Put the copies in the place of the placeholders, before any statement that waits goes on.

        A renaming waits for the lock of the placeholder, and comes before the statements that wait for
        it, whichever was first. It waits at one table at a time, so that each table has one of its own,
        up to a limit of sessions.
        """
        there = await _tables(sessions.target_owner, sorted({one.schema for one in tables}))
        groups = _renamings(tables, there)
        if not groups:
            raise SqlError(f"{sessions.target.shard}: the copy of the bucket is not there")
        further: list[Session] = []
        try:
            for number in range(1, len(groups)):
                lock = f"operatorkit-reshard-open-{number}"
                further.append(await self._owner(sessions.target, lock))
            renaming = [
                asyncio.create_task(one.rows(f"RENAME TABLE {pairs}", seconds=_SECONDS))
                for one, pairs in zip([sessions.target_owner, *further], groups, strict=True)
            ]
            try:
                await self._release(sessions, renaming)
            finally:
                await asyncio.gather(*renaming, return_exceptions=True)
            for task in renaming:
                task.result()
        finally:
            for one in further:
                one.close()

    async def _release(
        self, sessions: _Sessions, renaming: Sequence[asyncio.Task[list[Row]]]
    ) -> None:
        """Release the placeholders, once all renamings wait for them."""
        hold, sessions.hold = sessions.hold, None
        if hold is None:
            return
        try:
            for _ in range(_POLLS):
                [row] = await hold.rows(_RENAMINGS_THAT_WAIT, seconds=_SECONDS)
                if int(row["n"]) >= len([one for one in renaming if not one.done()]):
                    break
                await self.clock.sleep(_POLL_SECONDS)
            await hold.rows("UNLOCK TABLES", seconds=_SECONDS)
        finally:
            hold.close()

    async def _in_doubt(self, session: Session, *, fenced: bool) -> str:
        """Return a transaction that has been prepared for longer than any that will be ended.

        Also one that was there in the first reading of this primary. Once the source is fenced: one that
        was prepared then, and may have changed rows of the bucket.
        """
        now = self.clock.monotonic()
        rows = await session.rows("XA RECOVER FORMAT='SQL'", seconds=_SECONDS)
        found = {text_of(row["data"]) for row in rows}
        self._prepared_since = {one: self._prepared_since.get(one, now) for one in found}
        if fenced:
            self._at_fence = found if self._at_fence is None else self._at_fence & found
            return min(self._at_fence, default="")
        self._at_first = found if self._at_first is None else self._at_first & found
        old = {s for s, since in self._prepared_since.items() if now - since >= _IN_DOUBT_SECONDS}
        return min(self._at_first | old, default="")

    # rows ------------------------------------------------------------------------------------------

    async def _copy(self, sessions: _Sessions, tables: Sequence[TableMove]) -> None:
        for one in tables:
            if one.staged in self._copied:
                continue
            copier = Copier(one, sessions.source_rows, sessions.target_rows, self.clock)
            if not await copier.copy():
                return
            self._copied.add(one.staged)

    async def _apply(self, sessions: _Sessions, tables: Sequence[TableMove]) -> None:
        there = await _tables(sessions.source_owner, sorted({one.schema for one in tables}))
        for one in tables:
            name = one.fenced if (one.schema, one.fenced) in there else one.table.name
            copier = Copier(one, sessions.source_rows, sessions.target_rows, self.clock)
            await copier.apply(name)


def table_moves(tables: Sequence[MysqlTable], move: BucketMove) -> list[TableMove]:
    """Return the tables of a move."""
    return [TableMove(table, move.bucket, move.number) for table in tables]


async def _take(session: Session, owner: Session, lock: str) -> None:
    """Take a lock of the server; a session that holds it is ended. Raises SqlError."""
    [row] = await session.rows("SELECT GET_LOCK(%s, 0) AS held", lock, seconds=_SECONDS)
    if row["held"] == 1:
        return
    [row] = await owner.rows("SELECT IS_USED_LOCK(%s) AS id", lock, seconds=_SECONDS)
    if row["id"] is not None:
        try:
            await owner.rows(f"KILL HARD CONNECTION {int(row['id'])}", seconds=_SECONDS)
        except SqlError as error:
            if error.code != _NO_SUCH_THREAD:
                raise
    [row] = await session.rows("SELECT GET_LOCK(%s, 1) AS held", lock, seconds=_SECONDS)
    if row["held"] != 1:
        raise SqlError(f"{lock}: an earlier session still holds it, and was ended: tried again")


async def _tables(session: Session, schemas: Sequence[str]) -> dict[tuple[str, str], str]:
    """Return the comment of each table, by schema and name."""
    if not schemas:
        return {}
    marks = ", ".join(["%s"] * len(schemas))
    rows = await session.rows(
        "SELECT TABLE_SCHEMA AS db, TABLE_NAME AS name, TABLE_COMMENT AS comment"  # noqa: S608
        f" FROM information_schema.TABLES WHERE TABLE_SCHEMA IN ({marks})",
        *schemas,
        seconds=_SECONDS,
    )
    return {(text_of(row["db"]), text_of(row["name"])): text_of(row["comment"]) for row in rows}


async def _prepare(sessions: _Sessions, tables: Sequence[TableMove]) -> None:
    """Create copy, log and triggers. A copy that is older than its log lacks changes: it begins again."""
    source, target = sessions.source_owner, sessions.target_owner
    on_source = await _tables(source, sorted({one.schema for one in tables}))
    for one in tables:
        triggers = await source.rows(
            "SELECT TRIGGER_NAME AS name FROM information_schema.TRIGGERS"
            " WHERE TRIGGER_SCHEMA = %s AND EVENT_OBJECT_TABLE = %s",
            one.schema,
            one.table.name,
            seconds=_SECONDS,
        )
        names = {text_of(row["name"]) for row in triggers}
        logged = (one.schema, one.log) in on_source and names >= one.triggers.keys()
        schema = f"CREATE DATABASE IF NOT EXISTS {quoted(one.schema)}"
        await target.rows(schema, seconds=_SECONDS)
        if not logged:
            await target.rows(f"DROP TABLE IF EXISTS {one.named(one.staged)}", seconds=_SECONDS)
        found = await _tables(target, [one.schema])
        if (one.schema, one.staged) not in found:
            statement = create_bucket_table(one.table, one.bucket, one.staged)
            await target.rows(statement, seconds=_SECONDS)
        if logged:
            continue
        if (one.schema, one.log) not in on_source:
            await source.rows(one.create_log(), seconds=_SECONDS)
        for name in one.triggers.keys() - names:
            await source.rows(one.triggers[name], seconds=_SECONDS)


def _renamings(tables: Sequence[TableMove], there: Mapping[tuple[str, str], str]) -> list[str]:
    """Return what is renamed on the target, in as many statements as there are sessions for."""
    found = []
    for one in tables:
        if (one.schema, one.staged) not in there:
            continue
        name, pairs = one.named(one.table.name), []
        if there.get((one.schema, one.table.name)) == one.mark:
            pairs.append(f"{name} TO {one.named(one.replaced)}")
        found.append(", ".join([*pairs, f"{one.named(one.staged)} TO {name}"]))
    last = found[_RENAMINGS - 1 :]
    return [*found[: _RENAMINGS - 1], *([", ".join(last)] if last else [])]


async def _fence(sessions: _Sessions, tables: Sequence[TableMove]) -> None:
    """Give the tables on the source names that no node uses. Waits for statements that run there."""
    there = await _tables(sessions.source_owner, sorted({one.schema for one in tables}))
    pairs = [
        f"{one.named(one.table.name)} TO {one.named(one.fenced)}"
        for one in tables
        if (one.schema, one.table.name) in there
    ]
    await sessions.source_owner.rows(f"RENAME TABLE {', '.join(pairs)}", seconds=_SECONDS)


async def _drop(sessions: _Sessions, tables: Sequence[TableMove]) -> None:
    """Drop the former copy and the log, and the placeholders; then schemas that hold nothing more."""
    for one in tables:
        for name in (one.log, one.fenced):
            statement = f"DROP TABLE IF EXISTS {one.named(name)}"
            await sessions.source_owner.rows(statement, seconds=_SECONDS)
        statement = f"DROP TABLE IF EXISTS {one.named(one.replaced)}"
        await sessions.target_owner.rows(statement, seconds=_SECONDS)
    for schema in sorted({one.schema for one in tables}):
        if not await _tables(sessions.source_owner, [schema]):
            statement = f"DROP DATABASE IF EXISTS {quoted(schema)}"
            await sessions.source_owner.rows(statement, seconds=_SECONDS)
