"""Builders of observed shards: three members db-0, db-1 and db-2, of which db-0 is the primary."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from operators.mysql_sharding.gtid import Gtid, Position
from operators.mysql_sharding.members import (
    Change,
    ChangeKind,
    ChangeStep,
    IoThread,
    Member,
    ObservedShard,
    Pod,
    Replication,
    SemiSync,
    Server,
    ShardSpec,
    ShardStatus,
    Synced,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
P = Position.parse


def replication(**changes: Any) -> Replication:
    """Return the replication of a replica that is current."""
    healthy = Replication(
        source="db-0",
        io_thread=IoThread.RUNNING,
        sql_running=True,
        received=P("0-1-100"),
        applied_all=True,
    )
    return replace(healthy, **changes)


def server(number: int, **changes: Any) -> Server:
    """Return a reading of db-<number>: a replica, but for db-0."""
    healthy = Server(
        observed_at=NOW,
        server_id=number + 1,
        incarnation="1",
        known_since=NOW - timedelta(seconds=60),
        epoch=1,
        read_only=number != 0,
        executed=P("0-1-100"),
        replication=replication() if number else None,
        semi_sync=SemiSync(
            primary=number == 0,
            replica=number != 0,
            acknowledging=number != 0,
            acknowledgers=2 if number == 0 else 0,
        ),
    )
    return replace(healthy, **changes)


def member(number: int, **changes: Any) -> Member:
    """Return the member db-<number>, with a pod and a server as `changes` say."""
    healthy = Member(
        name=f"db-{number}",
        pod=Pod(uid=f"u{number}", ready=True, role="replica" if number else "primary"),
        server=server(number),
    )
    return replace(healthy, **changes)


def gone(number: int) -> Member:
    """Return a member that does not answer."""
    return member(number, server=None, unreachable_since=NOW)


def synced(number: int, received: str = "0-1-90") -> Synced:
    return Synced(member=f"db-{number}", incarnation="1", received=P(received))


STATUS = ShardStatus(
    primary="db-0",
    epoch=1,
    incarnation="1",
    base=P("0-1-10"),
    first=Gtid(0, 1, 11),
    synced=(synced(1), synced(2)),
)


def shard(*members: Member, **changes: Any) -> ObservedShard:
    """Return a shard of three healthy members, with these in the place of their namesakes."""
    known = {each.name: each for each in (member(0), member(1), member(2))}
    known |= {each.name: each for each in members}
    healthy = ObservedShard(
        name="db",
        spec=ShardSpec(members=3),
        status=STATUS,
        members=tuple(known.values()),
        now=NOW,
    )
    return replace(healthy, **changes)


def change(step: ChangeStep = ChangeStep.FENCING, **changes: Any) -> Change:
    """Return a failover from db-0 in the epoch 2."""
    begun = Change(
        kind=ChangeKind.FAILOVER,
        epoch=2,
        old_primary="db-0",
        started_at=NOW,
        reason="3 probes failed",
        old_pod="u0",
        step=step,
    )
    return replace(begun, **changes)


def changing(*members: Member, change: Change, status: dict[str, Any] | None = None, **changes: Any) -> ObservedShard:
    """Return a shard with a change of the primary under way."""
    persisted = replace(STATUS, epoch=change.epoch, failover=change, **(status or {}))
    return shard(*members, status=persisted, **changes)


def fenced(number: int, received: str = "0-1-100", **changes: Any) -> Member:
    """Return a replica whose I/O thread was stopped in the epoch 2."""
    stopped = replication(io_thread=IoThread.STOPPED, received=P(received), applied_all=False)
    settings: dict[str, Any] = {"epoch": 2, "replication": stopped, "executed": P("0-1-90")}
    return member(number, server=server(number, **(settings | changes)))
