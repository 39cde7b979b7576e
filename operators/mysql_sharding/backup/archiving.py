"""Archiving binary logs: one pod after the other copies the closed logs of a member.

What belongs here: statements, requests, and the status. What does not: which files are needed
(`archive`), and what the pods do (`scripts`).

    due ──► time and position of the primary ──► a replica has applied it, and closes its log
        ──► pod beside the replica copies the closed logs ──► recorded in status.archives
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Final

from kubernetes.client.models import V1Pod, V1Secret

from operatorkit import Context, Requeue
from operators.mysql_sharding import reasons
from operators.mysql_sharding.api import MysqlCluster, MysqlDatabase
from operators.mysql_sharding.backup.archive import Log, files_after, parse_segment, text_of_time
from operators.mysql_sharding.backup.manifest import ManifestError
from operators.mysql_sharding.backup.plan import Wait, choose
from operators.mysql_sharding.backup.pods import (
    Copied,
    Placed,
    archive_pod,
    archive_pod_name,
    message_of,
)
from operators.mysql_sharding.backup.spec import ShardArchive
from operators.mysql_sharding.gtid import Position
from operators.mysql_sharding.objects import OPERATOR_PORT, OPERATOR_USER, accounts_secret_name
from operators.mysql_sharding.sql import Asyncmy, Login, Session, SqlError, text_of

__all__ = ["archive_logs", "login_of"]

_CONNECT_SECONDS: Final = 3.0
_SECONDS: Final = 5.0
_APPLY_SECONDS: Final = 3
_AGAIN: Final = timedelta(seconds=5)


def login_of(shard: MysqlDatabase, member: str, ctx: Context) -> Login | None:
    """Return how a member of a shard is reached, None while that is not known."""
    pod = ctx.get(V1Pod, member) if member else None
    secret = ctx.get(V1Secret, accounts_secret_name(shard))
    address = pod.status.pod_ip if pod is not None and pod.status is not None else None
    password = ((secret.data if secret is not None else None) or {}).get("operator")
    if not address or password is None:
        return None
    return Login(address, OPERATOR_PORT, OPERATOR_USER, base64.b64decode(password).decode())


async def archive_logs(cluster: MysqlCluster, ctx: Context) -> Requeue | None:
    """Archive what each shard has written. Returns when to look again.

    One pod runs at a time, so that a volume for one node at a time can follow.
    """
    policy = cluster.spec.backup
    if policy is None or policy.archive is None:
        cluster.status.archives = []
        return None
    every = timedelta(seconds=policy.archive.every_seconds)
    known = {one.shard: one for one in cluster.status.archives}
    found: list[ShardArchive] = []
    soon = busy = False
    for number in range(cluster.spec.shards):
        name = f"{cluster.metadata.name}{number}"
        archive = known.get(name)
        shard = ctx.get(MysqlDatabase, name)
        if archive is not None and (copied := await _follow(cluster, archive, number, ctx)):
            busy = busy or copied == "running"
        now = ctx.clock.now()
        due = archive is None or now - archive.checked_at >= every
        if shard is not None and due and not busy:
            try:
                archive, started = await _advance(cluster, shard, archive, number, ctx)
                busy = started
                if archive is None:
                    soon = True  # its primary is not known yet
            except SqlError as error:
                ctx.log.warning("the binary logs of %s are not archived now: %s", name, error)
                soon = True
        if archive is not None:
            found.append(archive)
    cluster.status.archives = found
    if busy:
        return Requeue(after=every)  # or sooner: the pod enqueues the cluster
    if soon or not found:
        return Requeue(after=_AGAIN)
    return Requeue(at=min(one.checked_at for one in found) + every)


async def _follow(cluster: MysqlCluster, archive: ShardArchive, number: int, ctx: Context) -> str:
    """Record what the pod of the next segment has copied, and return how it is; "" without one."""
    pod = ctx.get(V1Pod, archive_pod_name(cluster, number, archive.segments + 1))
    if pod is None:
        return ""
    phase = pod.status.phase if pod.status is not None else None
    if phase == "Succeeded":
        try:
            segment = parse_segment(message_of(pod))
        except ManifestError as error:
            await ctx.events.warning(cluster, reasons.ARCHIVE_FAILED, f"{archive.shard}: {error}")
        else:
            archive.segments, archive.ends = segment.number, segment.ends
            archive.through = segment.through
        await ctx.delete(pod)
        return "ended"
    if phase == "Failed":
        why = message_of(pod) or "its pod failed without a message"
        await ctx.events.warning(cluster, reasons.ARCHIVE_FAILED, f"{archive.shard}: {why}")
        await ctx.delete(pod)
        return "ended"
    return "running"


async def _advance(
    cluster: MysqlCluster,
    shard: MysqlDatabase,
    archive: ShardArchive | None,
    number: int,
    ctx: Context,
) -> tuple[ShardArchive | None, bool]:
    """Begin an archive, or its next segment; return it, and whether a pod was created.

    Raises SqlError.
    """
    primary = login_of(shard, shard.status.primary, ctx)
    if primary is None:
        return archive, False
    through, position = await _position(primary)
    now = ctx.clock.now()
    if archive is None:
        new = ShardArchive(
            shard=shard.metadata.name,
            begins=position,
            ends=position,
            since=through,
            through=through,
            checked_at=now,
        )
        return new, False
    archive.checked_at = now
    done = Position.parse(archive.ends)
    if done.contains(Position.parse(position)):
        archive.through = through  # nothing was written
        return archive, False
    member = choose(shard)
    if isinstance(member, Wait):
        return archive, False
    login = login_of(shard, member, ctx)
    pod = ctx.get(V1Pod, member)
    node = pod.spec.node_name if pod is not None and pod.spec is not None else None
    if login is None or not node:
        return archive, False
    logs = await _close_logs(login, position, done, follows=member != shard.status.primary)
    files = files_after(done, logs) if logs else []
    if files is None:
        text = f"{shard.metadata.name}: {member} has no binary logs from {archive.ends} on"
        more = "moments before the next backup, from now on, cannot be restored"
        await ctx.events.warning(cluster, reasons.ARCHIVE_INTERRUPTED, f"{text}: {more}")
        archive.begins = archive.ends = position
        archive.since = archive.through = through
        return archive, False
    if not files:
        return archive, False
    copied = Copied(
        number=archive.segments + 1,
        begins=archive.ends,
        ends=position,
        through=text_of_time(through),
        files=files,
    )
    await ctx.create(archive_pod(cluster, shard, number, Placed(member, node), copied))
    return archive, True


async def _position(login: Login) -> tuple[datetime, str]:
    """Return the time of a primary, and its position, which is read after it."""
    session = await Asyncmy().connect(login, seconds=_CONNECT_SECONDS)
    try:
        [time] = await session.rows("SELECT UTC_TIMESTAMP() AS time", seconds=_SECONDS)
        [row] = await session.rows("SELECT @@gtid_binlog_pos AS position", seconds=_SECONDS)
    finally:
        session.close()
    at = time["time"]
    at = at if isinstance(at, datetime) else datetime.fromisoformat(text_of(at))
    return at.replace(tzinfo=UTC), text_of(row["position"])


async def _close_logs(login: Login, position: str, done: Position, *, follows: bool) -> list[Log]:
    """Close the current log of a member that has applied `position`.

    Returns its last logs, back to the one that holds what follows `done`; none while it has not
    applied that position.
    """
    session = await Asyncmy().connect(login, seconds=_CONNECT_SECONDS)
    try:
        if follows:
            wait = "SELECT MASTER_GTID_WAIT(%s, %s) AS result"
            [row] = await session.rows(
                wait, position, _APPLY_SECONDS, seconds=_SECONDS + _APPLY_SECONDS
            )
            if row["result"] != 0:
                return []
        await session.rows("FLUSH NO_WRITE_TO_BINLOG BINARY LOGS", seconds=_SECONDS)
        return await _last_logs(session, done)
    finally:
        session.close()


async def _last_logs(session: Session, done: Position) -> list[Log]:
    names = [
        text_of(row["Log_name"]) for row in await session.rows("SHOW BINARY LOGS", seconds=_SECONDS)
    ]
    logs: list[Log] = []
    for name in reversed(names):  # there may be thousands: binary logs do not expire
        statement = "SELECT BINLOG_GTID_POS(%s, 4) AS position"
        [row] = await session.rows(statement, name, seconds=_SECONDS)
        logs.insert(0, Log(name, Position.parse(text_of(row["position"]))))
        if logs[1:] and done.contains(logs[0].begins):
            break
    return logs
