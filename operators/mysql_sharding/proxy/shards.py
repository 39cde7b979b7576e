"""The buckets on the shards: schemas, tables and the account of the nodes, on each primary, by SQL.

What belongs here: finding the primaries, reading what their buckets hold, and changing it. What does
not: the statements (`ddl`), and when this is done (`loop`).

A change is read and checked on all shards before the first statement is sent. One that is
interrupted goes on with what the buckets lack; the nodes serve the former definition until no bucket
lacks anything, which works as before, since a change only adds.
"""

from __future__ import annotations

import asyncio
import base64
from collections import defaultdict
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from kubernetes.client.models import V1Pod, V1Secret

from operatorkit.context import Reader
from operatorkit.errors import InputError, OperatorKitError
from operators.mysql_sharding.api import MysqlCluster, MysqlDatabase, MysqlTable
from operators.mysql_sharding.objects import (
    OPERATOR_PORT,
    OPERATOR_USER,
    accounts_secret_name,
)
from operators.mysql_sharding.proxy.buckets import mapped, moving, schema_of
from operators.mysql_sharding.proxy.ddl import BucketTable, bucket_statement, digest_of_tables
from operators.mysql_sharding.proxy.objects import PROXY_USER
from operators.mysql_sharding.sql import Connector, Login, Session, SqlError, quoted, text_of

__all__ = ["Primary", "SchemaBlocked", "Schemas", "check_writable", "primaries"]

_CONNECT_SECONDS: Final = 1.0
_READ_SECONDS: Final = 5.0
_CHANGE_SECONDS: Final = 60.0
_NODE_RIGHTS: Final = "SELECT, INSERT, UPDATE, DELETE"
_WRITES: Final = "SELECT @@read_only AS read_only, @@rpl_semi_sync_master_enabled AS semi_sync"
_ACKNOWLEDGERS: Final = "SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_master_clients'"
_OTHERS: Final = "('mysql', 'sys', 'information_schema', 'performance_schema', 'operatorkit')"
_TABLES: Final = f"""
SELECT TABLE_SCHEMA AS db, TABLE_NAME AS name, TABLE_COMMENT AS comment
 FROM information_schema.TABLES WHERE TABLE_SCHEMA NOT IN {_OTHERS}
"""  # noqa: S608 - names of this module
_COLUMNS: Final = f"""
SELECT TABLE_SCHEMA AS db, TABLE_NAME AS name, COLUMN_NAME AS col
 FROM information_schema.COLUMNS WHERE TABLE_SCHEMA NOT IN {_OTHERS} ORDER BY ORDINAL_POSITION
"""  # noqa: S608 - names of this module
_KEYS: Final = f"""
SELECT TABLE_SCHEMA AS db, TABLE_NAME AS name, INDEX_NAME AS idx
 FROM information_schema.STATISTICS WHERE TABLE_SCHEMA NOT IN {_OTHERS}
"""  # noqa: S608 - names of this module

_T = TypeVar("_T")


class SchemaBlocked(OperatorKitError):  # noqa: N818 - a state, which a condition reports
    """A shard cannot take a change of the tables; the message names it."""


@dataclass(frozen=True, slots=True)
class Primary:
    """The primary of a shard. `host` is "" while its pod has no address, or there is no primary."""

    number: int
    shard: str
    member: str
    host: str
    epoch: int
    changing: bool
    password: str = field(default="", repr=False)


def primaries(reader: Reader, cluster: MysqlCluster) -> list[Primary]:
    """Return the primary of each shard, by number, as the caches have it."""
    found = []
    for number in range(cluster.spec.shards):
        name = f"{cluster.metadata.name}{number}"
        shard = reader.get(MysqlDatabase, name, namespace=cluster.metadata.namespace)
        status = shard.status if shard is not None else None
        member = status.primary if status is not None else ""
        host = _address(reader, cluster, member) if member else ""
        changing = status is None or status.failover is not None
        epoch = status.epoch if status is not None else 0
        password = _password(reader, shard) if shard is not None else ""
        found.append(Primary(number, name, member, host, epoch, changing, password))
    return found


def _address(reader: Reader, cluster: MysqlCluster, member: str) -> str:
    pod = reader.get(V1Pod, member, namespace=cluster.metadata.namespace)
    status = pod.status if pod is not None else None
    return (status.pod_ip if status is not None else None) or ""


def _password(reader: Reader, shard: MysqlDatabase) -> str:
    name = accounts_secret_name(shard)
    secret = reader.get(V1Secret, name, namespace=shard.metadata.namespace)
    data = (secret.data if secret is not None else None) or {}
    return base64.b64decode(data.get("operator", "")).decode()


@dataclass(frozen=True, slots=True)
class _Goal:
    """What all shards of a cluster shall have."""

    tables: tuple[MysqlTable, ...]
    buckets: Mapping[int, tuple[int, ...]]
    """The buckets of each shard."""
    password: str = field(repr=False)

    @classmethod
    def of(cls, cluster: MysqlCluster, password: str) -> _Goal:
        """Return it; raises InputError for a map that does not hold.

        A bucket that is being moved is left out: its tables have other names on both shards.
        """
        buckets: dict[int, list[int]] = defaultdict(list)
        left_out = moving(cluster.status)
        for bucket, shard in enumerate(mapped(cluster.status.bucket_map, cluster.spec.buckets)):
            if bucket != left_out:
                buckets[shard].append(bucket)
        held = {shard: tuple(found) for shard, found in buckets.items()}
        return cls(tuple(cluster.spec.tables), held, password)


@dataclass(slots=True)
class Schemas:
    """Keeps the buckets of one cluster; does nothing while nothing has changed."""

    connector: Connector
    _applied: _Goal | None = None
    _epochs: dict[int, int] = field(default_factory=dict)

    def is_applied(self, cluster: MysqlCluster, password: str) -> bool:
        """Return whether every bucket has been found to hold what it shall."""
        return self._applied == _Goal.of(cluster, password)

    def reached(self, one: Primary) -> bool:
        """Return whether the account of the nodes was created on this primary, or one before it."""
        return self._epochs.get(one.number) == one.epoch

    async def restored(self, cluster: MysqlCluster, found: Sequence[Primary]) -> dict[int, int]:
        """Return the shard of each bucket of restored data: the buckets of that cluster may have moved.

        Raises SchemaBlocked while a shard has no primary, InputError for a bucket on two shards.
        """
        for one in found:
            if one.changing or not one.host or not one.password:
                raise SchemaBlocked(f"shard {one.shard} has no primary that accepts writes")
        sessions = await self._connect(found)
        try:
            tables = [await _tables(session) for session in sessions]
        finally:
            for session in sessions:
                session.close()
        held: dict[int, int] = {}
        for one, there in zip(found, tables, strict=True):
            for bucket in range(cluster.spec.buckets):
                names = {(schema_of(t.database, bucket), t.name) for t in cluster.spec.tables}
                if names & there.keys() and held.setdefault(bucket, one.number) != one.number:
                    raise InputError(f"bucket {bucket} is on two shards: restore another backup")
        return held

    async def keep(self, cluster: MysqlCluster, found: Sequence[Primary], password: str) -> None:
        """Bring the buckets to what spec.tables says: all of them, or none.

        Raises SchemaBlocked while a shard cannot take it, InputError.
        """
        move = cluster.status.reshard.move if cluster.status.reshard is not None else None
        if move is not None and move.tables != digest_of_tables(cluster.spec.tables):
            raise SchemaBlocked(f"bucket {move.bucket} is being moved")
        goal = _Goal.of(cluster, password)
        new = goal != self._applied
        stale = [one for one in found if new or self._epochs.get(one.number) != one.epoch]
        if not stale:
            return
        for one in stale:
            if one.changing or not one.host or not one.password:
                raise SchemaBlocked(f"shard {one.shard} has no primary that accepts writes")
        sessions = await self._connect(stale)
        try:
            await self._change(goal, stale, sessions)
        finally:
            for session in sessions:
                session.close()
        self._applied = goal
        self._epochs |= {one.number: one.epoch for one in stale}

    async def _connect(self, found: Sequence[Primary]) -> list[Session]:
        """Return a session to each primary, or to none."""
        tasks = [asyncio.create_task(_named(one, self._session(one))) for one in found]
        try:
            return await _all(tasks)
        except BaseException:
            for task in tasks:
                if task.done() and not task.cancelled() and task.exception() is None:
                    task.result().close()
            raise

    async def _session(self, one: Primary) -> Session:
        login = Login(one.host, OPERATOR_PORT, OPERATOR_USER, one.password)
        session = await self.connector.connect(login, seconds=_CONNECT_SECONDS)
        try:
            await check_writable(session, one)
            await session.rows("SET SESSION lock_wait_timeout = 5", seconds=_READ_SECONDS)
        except BaseException:
            session.close()
            raise
        return session

    async def _change(
        self, goal: _Goal, found: Sequence[Primary], sessions: Sequence[Session]
    ) -> None:
        pairs = list(zip(found, sessions, strict=True))
        plans = await _all(
            [asyncio.create_task(_named(one, _plan(goal, one, each))) for one, each in pairs]
        )
        await _all(
            [
                asyncio.create_task(_named(one, _apply(each, goal.password, plan)))
                for (one, each), plan in zip(pairs, plans, strict=True)
            ]
        )


async def _all(tasks: Sequence[asyncio.Task[_T]]) -> list[_T]:
    """Return the results, once every task has ended. Raises the first error."""
    try:
        await asyncio.wait(tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    return [task.result() for task in tasks]


async def _named(one: Primary, work: Awaitable[_T]) -> _T:
    """Return a result; an error names the shard."""
    try:
        return await work
    except (SqlError, InputError) as error:
        raise SchemaBlocked(f"shard {one.shard}: {error}") from error


async def check_writable(session: Session, one: Primary) -> None:
    """Raise SchemaBlocked where a statement would be rejected, or wait for an acknowledgement."""
    [row] = await session.rows(_WRITES, seconds=_READ_SECONDS)
    [acknowledgers] = await session.rows(_ACKNOWLEDGERS, seconds=_READ_SECONDS)
    if row["read_only"] or (row["semi_sync"] and not int(acknowledgers["Value"])):
        raise SchemaBlocked(f"shard {one.shard}: {one.member} accepts no writes now")


@dataclass(frozen=True, slots=True)
class _Plan:
    """What one shard lacks."""

    schemas: tuple[str, ...]
    statements: tuple[str, ...]
    databases: tuple[str, ...]


async def _plan(goal: _Goal, one: Primary, session: Session) -> _Plan:
    """Return what a shard lacks, and change nothing."""
    databases = tuple(sorted({table.database for table in goal.tables}))
    buckets = goal.buckets.get(one.number, ())
    wanted = [schema_of(database, bucket) for database in databases for bucket in buckets]
    rows = await session.rows(
        "SELECT SCHEMA_NAME AS name FROM information_schema.SCHEMATA", seconds=_READ_SECONDS
    )
    there = {text_of(row["name"]) for row in rows}
    tables = await _tables(session)
    statements = [
        statement
        for table in goal.tables
        for bucket in buckets
        if (
            statement := bucket_statement(
                table, bucket, tables.get((schema_of(table.database, bucket), table.name))
            )
        )
    ]
    missing = tuple(name for name in wanted if name not in there)
    return _Plan(missing, tuple(statements), databases)


async def _tables(session: Session) -> dict[tuple[str, str], BucketTable]:
    """Return the tables that have a comment of the operator, or a name that a bucket's may have."""
    columns: dict[tuple[str, str], list[str]] = defaultdict(list)
    keys: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in await session.rows(_COLUMNS, seconds=_READ_SECONDS):
        columns[text_of(row["db"]), text_of(row["name"])].append(text_of(row["col"]))
    for row in await session.rows(_KEYS, seconds=_READ_SECONDS):
        keys[text_of(row["db"]), text_of(row["name"])].add(text_of(row["idx"]).lower())
    found = {}
    for row in await session.rows(_TABLES, seconds=_READ_SECONDS):
        name = (text_of(row["db"]), text_of(row["name"]))
        found[name] = BucketTable(
            tuple(columns[name]), frozenset(keys[name]), text_of(row["comment"])
        )
    return found


async def _apply(session: Session, password: str, plan: _Plan) -> None:
    """Send what a shard lacks. May be interrupted anywhere, and repeated."""
    for schema in plan.schemas:
        await session.rows(
            f"CREATE DATABASE IF NOT EXISTS {quoted(schema)}", seconds=_CHANGE_SECONDS
        )
    for statement in plan.statements:
        await session.rows(statement, seconds=_CHANGE_SECONDS)
    for statement in ("CREATE USER IF NOT EXISTS", "ALTER USER"):
        await session.rows(
            f"{statement} {PROXY_USER}@'%%' IDENTIFIED BY %s", password, seconds=_CHANGE_SECONDS
        )
    for database in plan.databases:
        pattern = quoted(database.replace("_", "\\_") + "\\_b__")
        grant = f"GRANT {_NODE_RIGHTS} ON {pattern}.* TO {PROXY_USER}@'%'"
        await session.rows(grant, seconds=_CHANGE_SECONDS)
