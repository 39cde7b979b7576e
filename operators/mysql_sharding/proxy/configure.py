"""One node of the proxy, by SQL: what it lacks, and the mark that it is configured.

What belongs here: a connection that stays open, and the order of the statements. What does not: what
a node shall have (`nodes`).

The order: server objects, databases, tables, accounts, mark. A node without the mark is not ready, and
one without accounts serves no client, so that no client meets a node that has only a part.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from operators.mysql_sharding.objects import OPERATOR_PORT, OPERATOR_USER, SYSTEM_USERS
from operators.mysql_sharding.proxy.nodes import (
    NODE_PRIVILEGES,
    NodeUser,
    Server,
    Wanted,
    digest,
    server_statements,
)
from operators.mysql_sharding.sql import Connector, Login, Session, SqlError, quoted, text_of

__all__ = ["Node"]

_CONNECT_SECONDS: Final = 1.0
_SECONDS: Final = 5.0
_SYSTEM_SCHEMAS: Final = ("information_schema", "mysql", "operatorkit", "performance_schema", "sys")
_NO_SUCH_TABLE: Final = 1146
_NO_SUCH_THREAD: Final = 1094
_IN_USE: Final = 1205
_MARK: Final = "SELECT fingerprint FROM operatorkit.configured WHERE id = 1"
_SESSIONS: Final = (
    "SELECT ID AS id FROM information_schema.PROCESSLIST WHERE USER NOT IN ("  # noqa: S608
    + ", ".join(repr(name) for name in (*SYSTEM_USERS, "system user", "event_scheduler"))
    + ")"
)
_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS operatorkit.tables (db VARCHAR(64), name VARCHAR(64),"
    " statement CHAR(32) NOT NULL, PRIMARY KEY (db, name)) ENGINE=InnoDB"
)
_SERVERS: Final = (
    "SELECT Server_name AS name, Host AS host, Port AS port, Username AS user,"
    " Password AS password FROM mysql.servers"
)


@dataclass(slots=True)
class Node:
    """One node, whose address is `host`. Close it at the end."""

    connector: Connector
    host: str
    error: str = "it was not configured yet"
    """Why it is not configured; "" once it is."""
    _session: Session | None = None
    _users: tuple[NodeUser, ...] | None = None
    """The accounts that this process created since the server started."""
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def keep(self, wanted: Callable[[], Wanted], password: str) -> None:
        """Bring it to what `wanted` returns; `error` says whether that was possible.

        `wanted` is called when the node is not being changed by another task: a later call never
        brings back what an earlier one has read.
        """
        async with self._lock:
            try:
                await self._keep(wanted(), password)
            except SqlError as error:
                self.error = str(error)
                self.close()
            else:
                self.error = ""

    def close(self) -> None:
        """Close the connection."""
        if self._session is not None:
            self._session.close()
            self._session = None

    async def _keep(self, wanted: Wanted, password: str) -> None:
        if self._session is None or self._session.closed:
            login = Login(self.host, OPERATOR_PORT, OPERATOR_USER, password)
            self._session = await self.connector.connect(login, seconds=_CONNECT_SECONDS)
            prepare = "SET SESSION lock_wait_timeout = 3, wait_timeout = 3600"
            await self._session.rows(prepare, seconds=_SECONDS)
        session = self._session
        mark = await _mark(session)
        if mark == wanted.fingerprint:
            return
        await _keep_servers(session, wanted)
        await session.rows(_TABLES, seconds=_SECONDS)
        await _flush(session)
        for name in wanted.databases:
            await session.rows(f"CREATE DATABASE IF NOT EXISTS {quoted(name)}", seconds=_SECONDS)
        if wanted.tables is None and mark is None:
            raise SqlError("the tables are not on all shards yet")
        if wanted.tables is not None:
            await _keep_tables(session, wanted)
        if mark is None or self._users != wanted.users:  # a client meets no account without rights
            await _keep_users(session, wanted.users)
            self._users = wanted.users
        await session.rows(
            "CREATE TABLE IF NOT EXISTS operatorkit.configured"
            " (id INT PRIMARY KEY, fingerprint CHAR(32) NOT NULL) ENGINE=InnoDB",
            seconds=_SECONDS,
        )
        await session.rows(
            "REPLACE INTO operatorkit.configured VALUES (1, %s)",
            wanted.fingerprint,
            seconds=_SECONDS,
        )


async def _mark(session: Session) -> str | None:
    """Return the fingerprint of what was configured, None since the last start of the server."""
    try:
        rows = await session.rows(_MARK, seconds=_SECONDS)
    except SqlError as error:
        if error.code == _NO_SUCH_TABLE:
            return None
        raise
    return text_of(rows[0]["fingerprint"]) if rows else None


async def _keep_servers(session: Session, wanted: Wanted) -> None:
    found = {
        text_of(row["name"]): Server(
            host=text_of(row["host"]),
            port=int(row["port"]),
            user=text_of(row["user"]),
            password=text_of(row["password"]),
        )
        for row in await session.rows(_SERVERS, seconds=_SECONDS)
    }
    for statement, values in server_statements(wanted, found):
        await session.rows(statement, *values, seconds=_SECONDS)


async def _flush(session: Session) -> None:
    """Make statements use the server objects that there are now: close the tables of the node.

    They are named, because FLUSH TABLES without names leaves a table open that is in use, and further
    statements open it again before it is free: a node under load would never be repointed. With names it
    waits, and statements that come meanwhile wait behind it. Sessions that use a table for longer than a
    second are ended: a statement may wait for a server that hangs.
    """
    known = await _known(session)
    there = [table for table, statement in known.items() if statement]
    names = ", ".join(f"{quoted(db)}.{quoted(name)}" for db, name in there)
    if not names:
        return
    await session.rows("SET SESSION lock_wait_timeout = 1", seconds=_SECONDS)
    try:
        await session.rows(f"FLUSH TABLES {names}", seconds=_SECONDS)
    except SqlError as error:
        if error.code != _IN_USE:
            raise
        await _end_sessions(session)
        await session.rows(f"FLUSH TABLES {names}", seconds=_SECONDS)
    await session.rows("SET SESSION lock_wait_timeout = 3", seconds=_SECONDS)


async def _end_sessions(session: Session) -> None:
    for row in await session.rows(_SESSIONS, seconds=_SECONDS):
        try:
            await session.rows(f"KILL HARD CONNECTION {int(row['id'])}", seconds=_SECONDS)
        except SqlError as error:
            if error.code != _NO_SUCH_THREAD:
                raise


async def _known(session: Session) -> dict[tuple[str, str], str]:
    """Return the tables of the node, each with the digest of its statement, "" while it is changed."""
    rows = await session.rows(
        "SELECT db, name, statement FROM operatorkit.tables", seconds=_SECONDS
    )
    return {(text_of(row["db"]), text_of(row["name"])): text_of(row["statement"]) for row in rows}


async def _keep_tables(session: Session, wanted: Wanted) -> None:
    """Create tables whose statement differs from the one that created them, and drop others."""
    assert wanted.tables is not None
    known = await _known(session)
    for (database, name), statement in wanted.tables.items():
        if known.get((database, name)) != digest(statement):
            await _note(session, database, name, "")
            await session.rows(statement, seconds=_SECONDS)
            await _note(session, database, name, digest(statement))
    for database, name in known.keys() - wanted.tables.keys():
        await _note(session, database, name, "")
        await session.rows(
            f"DROP TABLE IF EXISTS {quoted(database)}.{quoted(name)}", seconds=_SECONDS
        )
        await session.rows(
            "DELETE FROM operatorkit.tables WHERE db = %s AND name = %s",
            database,
            name,
            seconds=_SECONDS,
        )


async def _note(session: Session, database: str, name: str, statement: str) -> None:
    """Note which statement created a table; "" while it may be there or not."""
    await session.rows(
        "REPLACE INTO operatorkit.tables VALUES (%s, %s, %s)",
        database,
        name,
        statement,
        seconds=_SECONDS,
    )


async def _keep_users(session: Session, users: tuple[NodeUser, ...]) -> None:
    """Create the accounts of applications with exactly their privileges, and drop others."""
    system = ", ".join(repr(name) for name in (*SYSTEM_USERS, "root"))
    rows = await session.rows(
        f"SELECT User AS name FROM mysql.global_priv WHERE User NOT IN ({system})",  # noqa: S608
        seconds=_SECONDS,
    )
    for name in {text_of(row["name"]) for row in rows} - {user.name for user in users}:
        await session.rows("DROP USER IF EXISTS %s@'%%'", name, seconds=_SECONDS)
    for user in users:
        for statement in ("CREATE USER IF NOT EXISTS", "ALTER USER"):
            await session.rows(
                f"{statement} %s@'%%' IDENTIFIED BY %s", user.name, user.password, seconds=_SECONDS
            )
        await session.rows(
            "REVOKE ALL PRIVILEGES, GRANT OPTION FROM %s@'%%'", user.name, seconds=_SECONDS
        )
        rights = ", ".join(one for one in NODE_PRIVILEGES if one in user.privileges)
        for database in user.databases if rights else ():
            name = quoted(database.replace("_", "\\_"))
            await session.rows(
                f"GRANT {rights} ON {name}.* TO %s@'%%'", user.name, seconds=_SECONDS
            )
