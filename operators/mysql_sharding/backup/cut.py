"""A consistent cut across shards: the positions of all primaries while none of them commits.

What belongs here: the statements and their order. What does not: what is done with the positions
(`plan`).

    every primary: BACKUP STAGE BLOCK_COMMIT ──► every position is read ──► every connection ends

If a transaction of the cut was sent after another one was acknowledged, on any shard, the other one
is part of the cut, too: no primary commits between the first block and the last position. Commits
wait for as long as that takes, reads do not.

Source: https://mariadb.com/kb/en/backup-stage/
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from operatorkit.clock import Clock
from operators.mysql_sharding.sql import Connector, Login, Session, text_of

__all__ = ["Cut", "take_cut"]

_CONNECT_SECONDS: Final = 3.0
_BLOCK_SECONDS: Final = 3.0
"""A commit that waits for an acknowledgement delays the cut: it is given up, and tried again."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The position of each shard at one moment, and for how long commits waited."""

    at: datetime
    pause: timedelta
    positions: Mapping[str, str]


async def take_cut(connector: Connector, logins: Mapping[str, Login], clock: Clock) -> Cut:
    """Return the positions of the primaries, by shard, all at one moment. Raises SqlError.

    Guarantees: commits wait for 3 seconds at most; however it ends, they go on.
    """
    sessions: list[Session] = []
    try:
        for login in logins.values():
            session = await connector.connect(login, seconds=_CONNECT_SECONDS)
            sessions.append(session)  # at once: closed also if the next one cannot be reached
        await _on_all(sessions, "BACKUP STAGE START")
        began = clock.monotonic()
        await _on_all(sessions, "BACKUP STAGE BLOCK_COMMIT")
        at = clock.now()
        rows = await _on_all(sessions, "SELECT @@gtid_binlog_pos AS position")
        await _on_all(sessions, "BACKUP STAGE END")
        pause = timedelta(seconds=clock.monotonic() - began)
    finally:
        for session in sessions:
            session.close()  # the server releases its lock
    return Cut(at, pause, dict(zip(logins, rows, strict=True)))


async def _on_all(sessions: Sequence[Session], statement: str) -> list[str]:
    """Run a statement on all sessions at once; return the value that each returns, "" for none."""
    found = await asyncio.gather(
        *(session.rows(statement, seconds=_BLOCK_SECONDS) for session in sessions),
        return_exceptions=True,
    )
    for each in found:
        if isinstance(each, BaseException):
            raise each
    return [
        text_of(rows[0]["position"]) if rows else "" for rows in found if isinstance(rows, list)
    ]
