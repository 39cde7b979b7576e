"""An application of the demo that writes rows to a shard, and remembers those that were acknowledged.

What belongs here: finding the primary, writing and reading. What does not: what is printed about it (`shard`).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from asyncmy.connection import Connection
from asyncmy.errors import MySQLError

from operatorkit.cluster import ClusterAPI, JSONObject
from operatorkit.errors import ClusterError
from operatorkit.kinds import PODS

__all__ = ["Acknowledged", "Application"]

_CREATE = "CREATE TABLE IF NOT EXISTS shop.orders (n BIGINT PRIMARY KEY)"
_SQL_ERRORS = (MySQLError, OSError, asyncio.IncompleteReadError, TimeoutError, RuntimeError)
_PAUSE_SECONDS = 0.005
_AGAIN_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """When a row was acknowledged, in seconds of the monotonic clock, and by which member."""

    at: float
    member: str


class Application:
    """Inserts numbers into shop.orders of the primary, one transaction each, while it is entered.

    It finds the primary as the Service <shard>-rw does. A row whose answer was lost is not
    remembered, and not written again: the next one has the next number.
    """

    def __init__(self, api: ClusterAPI, namespace: str, shard: str, *, password: str) -> None:
        self._api = api
        self._namespace = namespace
        self._shard = shard
        self._password = password
        self._task: asyncio.Task[None] | None = None
        self._number = 0
        self.acknowledged: dict[int, Acknowledged] = {}

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._write())
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def has_written(self, count: int) -> bool:
        """Return whether so many rows were acknowledged. Raises what has ended the application."""
        assert self._task is not None
        if self._task.done():
            await self._task
        return len(self.acknowledged) >= count

    def first_by(self, member: str, *, after: float) -> float:
        """Return when a member acknowledged its first row after a moment, both in seconds of the monotonic clock."""
        found = (each for each in self.acknowledged.values() if each.member == member)
        return min(each.at for each in found if each.at > after)

    async def rows_of(self, member: str) -> set[int] | None:
        """Return the numbers that a member has; None while it cannot be read."""
        pod = await self._api.get(PODS, member, namespace=self._namespace)
        try:
            async with self._connected(pod) as session:
                return {row[0] for row in await _execute(session, "SELECT n FROM shop.orders")}
        except _SQL_ERRORS:
            return None

    async def _write(self) -> None:
        while True:
            with contextlib.suppress(ClusterError, *_SQL_ERRORS):
                if (pod := await self._primary()) is not None:
                    async with self._connected(pod) as session:
                        await _execute(session, _CREATE)
                        await self._insert(session, pod["metadata"]["name"])
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _insert(self, session: Any, member: str) -> None:
        """Insert rows until the connection breaks."""
        while True:
            self._number += 1
            await _execute(session, "INSERT INTO shop.orders VALUES (%s)", self._number)
            self.acknowledged[self._number] = Acknowledged(time.monotonic(), member)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _primary(self) -> JSONObject | None:
        """Return the pod that the Service <shard>-rw selects."""
        labels = {"shard": self._shard, "role": "primary"}
        selector = ",".join(f"mysql.operatorkit.dev/{key}={each}" for key, each in labels.items())
        found = (
            await self._api.list(PODS, namespace=self._namespace, label_selector=selector)
        ).items
        ready = [pod for pod in found if _is_ready(pod)]
        return ready[0] if len(ready) == 1 else None

    @contextlib.asynccontextmanager
    async def _connected(self, pod: JSONObject) -> AsyncIterator[Any]:
        session = Connection(  # type: ignore[no-untyped-call]
            host=(pod.get("status") or {}).get("podIP") or "",
            user="app",
            password=self._password,
            autocommit=True,
            init_command="SET SESSION sql_notes = 0",  # the driver logs notes as warnings
            connect_timeout=1,
        )
        try:
            async with asyncio.timeout(1):
                await session.connect()
            yield session
        finally:
            session.close()


async def _execute(session: Any, statement: str, *values: object) -> Sequence[Any]:
    async with asyncio.timeout(2), session.cursor() as cursor:
        await cursor.execute(statement, values or None)
        return await cursor.fetchall() if cursor.description else ()


def _is_ready(pod: JSONObject) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
