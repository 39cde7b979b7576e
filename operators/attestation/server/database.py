"""The database of the metadata server: opened, brought to the schema of today, and closed.

What belongs here: engines for SQLite and PostgreSQL, their settings, migrations and transactions. What does not:
queries (`store`). Needs the extra `attestation`.

SQLite works in WAL mode and syncs each commit: an acknowledged write survives a crash of the machine. One process
writes at a time. PostgreSQL is for several replicas.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, Row, Select, create_engine, event, insert, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from operatorkit.errors import InputError
from operators.attestation.server.errors import ApiError
from operators.attestation.server.tables import settings

__all__ = ["Database", "database_url"]

_DRIVERS: Final = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
}
_MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 0x6F6B6174  # for PostgreSQL's advisory locks, as the one below
_AUDIT_LOCK = 0x6F6B6175
_PAGE_KEY = "page-key"
_READERS = 4


def database_url(text_: str) -> URL:
    """Read the URL of a database, with the driver that this server uses. Raises InputError."""
    try:
        url = make_url(text_)
    except (ArgumentError, ValueError) as error:
        raise InputError(f"--database {text_!r} is not a URL: {_EXAMPLES}") from error
    driver = _DRIVERS.get(url.drivername.partition("+")[0])
    if driver is None:
        raise InputError(f"--database has {url.drivername!r}, which is not supported: {_EXAMPLES}")
    return url.set(drivername=driver)


_EXAMPLES = "write sqlite:///path/attest.db, or postgresql://user:password@host/database"


class Database:
    """One database: `open` it, then read and write in transactions, and `close` it."""

    def __init__(self, engine: AsyncEngine, page_key: bytes, reads: Engine | None = None) -> None:
        self._engine = engine
        self.page_key = page_key
        self._reads = reads
        self._threads = ThreadPoolExecutor(_READERS, thread_name_prefix="reads of SQLite")

    @property
    def is_sqlite(self) -> bool:
        """Whether one process at a time may write."""
        return self._engine.dialect.name == "sqlite"

    @classmethod
    async def open(cls, url: URL, *, pool_size: int = 8) -> Database:
        """Connect and migrate. Raises InputError when the database cannot be reached or is of a newer server."""
        if url.get_backend_name() == "sqlite":
            engine = create_async_engine(url, pool_size=pool_size)
            event.listen(engine.sync_engine, "connect", _set_up_sqlite)
            event.listen(engine.sync_engine, "begin", _begin_sqlite)
        else:
            engine = create_async_engine(url, pool_size=pool_size, pool_pre_ping=True)
        try:
            async with engine.connect() as connection:
                await connection.execution_options(writes=True)
                await connection.run_sync(_migrate)
                key = await _page_key(connection)
                await connection.commit()
        except (DBAPIError, OSError) as error:
            await engine.dispose()
            cause = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise InputError(
                f"the database {url.render_as_string()} cannot be used: {cause}"
            ) from error
        return cls(engine, key, _reading_engine(url))

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection that only reads. Raises ApiError when the database is not there."""
        try:
            async with self._engine.connect() as connection:
                yield connection
        except (DBAPIError, OSError) as error:
            raise _unavailable(error) from error

    async def fetch(self, query: Select[Any]) -> list[Row[Any]]:
        """Return the rows of one query. Raises ApiError when the database is not there.

        With SQLite this is one visit to a thread, where a connection of `read` takes five: for a short query, that is
        most of the time.
        """
        reads = self._reads
        if reads is None:
            async with self.read() as connection:
                return list((await connection.execute(query)).all())

        def rows() -> list[Row[Any]]:
            with reads.connect() as connection:
                return list(connection.execute(query).all())

        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, rows)
        except (DBAPIError, OSError) as error:
            raise _unavailable(error) from error

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that writes: committed, to the disk, when the block ends well. Raises ApiError.

        Writers wait for each other, so that changes become visible in the order of their numbers.
        """
        try:
            async with self._engine.connect() as connection:
                await connection.execution_options(writes=True)
                async with connection.begin():
                    if not self.is_sqlite:
                        await connection.execute(
                            text(f"SELECT pg_advisory_xact_lock({_AUDIT_LOCK})")
                        )
                    yield connection
        except IntegrityError:
            raise
        except (DBAPIError, OSError) as error:
            raise _unavailable(error) from error

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.to_thread(self._threads.shutdown)
        if self._reads is not None:
            self._reads.dispose()
        await self._engine.dispose()


def _reading_engine(url: URL) -> Engine | None:
    """Return an engine for the threads of reads; None for PostgreSQL, and for a database that is in memory only."""
    if url.get_backend_name() != "sqlite" or url.database in {None, "", ":memory:"}:
        return None
    engine = create_engine(
        url.set(drivername="sqlite"), pool_size=_READERS, connect_args={"check_same_thread": False}
    )
    event.listen(engine, "connect", _set_up_sqlite)
    return engine


def _unavailable(error: Exception) -> ApiError:
    cause = str(getattr(error, "orig", None) or error).splitlines()[0]
    return ApiError("UNAVAILABLE", f"the database cannot be used now: {cause}; try again")


def _set_up_sqlite(connection: Any, record: Any) -> None:
    del record
    connection.isolation_level = None  # we begin transactions ourselves, see below
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock at once: a reader that becomes a writer may be rejected.

    A reader begins nothing: each of its statements sees one state, and a statement less is a third of a short read.
    """
    if connection.get_execution_options().get("writes", False):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _migrate(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def _page_key(connection: AsyncConnection) -> bytes:
    """Return the key that signs page tokens, the same for all replicas."""
    found = (
        await connection.execute(select(settings.c.value).where(settings.c.name == _PAGE_KEY))
    ).scalar()
    if found is None:
        found = secrets.token_hex(32)
        await connection.execute(insert(settings).values(name=_PAGE_KEY, value=found))
    return bytes.fromhex(found)
