"""Executing steps: SQL under the epoch of a server, and requests for pods and the status.

What belongs here: how one step is done. What does not: which step is next (`failover`). Each may run twice.

Accounts of applications are locked by an attribute of their own, `locked_by`, so that a lock which a user has set
stays. While a server is not the primary, accounts whose privileges pass read_only stay locked: what they write is lost.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from operatorkit.clock import Clock
from operatorkit.cluster import ClusterAPI, PatchType
from operatorkit.errors import NotFound
from operatorkit.kinds import PERSISTENT_VOLUME_CLAIMS, PODS
from operators.mysql_sharding.api import MysqlDatabase
from operators.mysql_sharding.gtid import Position
from operators.mysql_sharding.objects import (
    CLIENT_PORT,
    LABEL_ROLE,
    LOCK_ALL,
    NOT_LOCKED,
    REPLICATION_USER,
    SYSTEM_USERS,
    member_host,
)
from operators.mysql_sharding.observe import Observer
from operators.mysql_sharding.sql import Session, SqlError, quoted, text_of
from operators.mysql_sharding.status import apply_step
from operators.mysql_sharding.steps import (
    DeletePod,
    EndSessions,
    OpenForWrites,
    PodStep,
    PointReplica,
    Promote,
    Reclone,
    ServerStep,
    SetReadOnly,
    SetRoleLabel,
    StartApplier,
    StatusStep,
    StopReplication,
)

__all__ = ["FIELD_MANAGER", "Executor"]

FIELD_MANAGER: Final = "mysql-sharding-shards"
"""Of the status of a shard and the labels of its pods: apart from what the reconcile functions apply."""

_SECONDS: Final = 5.0
_SUPER: Final = 1 << 15
_READ_ONLY_ADMIN: Final = 1 << 33

_UNLOCK: Final = (
    "UPDATE mysql.global_priv SET Priv = JSON_REMOVE(Priv, '$.account_locked', '$.locked_by')"
    " WHERE JSON_VALUE(Priv, '$.locked_by') = 'operatorkit'"
)
_PRIVILEGED: Final = f"COALESCE(JSON_VALUE(Priv, '$.access'), 0) & {_SUPER | _READ_ONLY_ADMIN} <> 0"
_UNLOCK_READERS: Final = f"{_UNLOCK} AND NOT {_PRIVILEGED}"
_UNLOCKED_PRIVILEGED: Final = (
    f"SELECT User AS name FROM mysql.global_priv {NOT_LOCKED} AND {_PRIVILEGED}"  # noqa: S608
)
_SESSIONS: Final = (
    "SELECT ID AS id FROM information_schema.PROCESSLIST WHERE USER NOT IN ("  # noqa: S608
    + ", ".join(repr(name) for name in (*SYSTEM_USERS, "system user", "event_scheduler"))
    + ")"
)
_PROBE_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS operatorkit.rollouts"
    " (id INT PRIMARY KEY, revision VARCHAR(64) NOT NULL) ENGINE=InnoDB"
)
_NO_SUCH_THREAD: Final = 1094
_INCARNATION: Final = (
    "SELECT (SELECT started_as FROM operatorkit.process WHERE id = 1) AS started_as,"
    " (SELECT relays FROM operatorkit.epoch WHERE id = 1) AS relays"
)


class StaleStepError(SqlError):
    """A server has accepted a step of a later epoch, or is another process than the step is for."""


@dataclass(slots=True)
class Executor:
    """Executes the steps of one shard, on the connections of its observer."""

    api: ClusterAPI
    observer: Observer
    clock: Clock

    async def write(self, shard: MysqlDatabase, step: StatusStep) -> None:
        """Write a status step by the resourceVersion of `shard`. Raises Conflict, ClusterError."""
        changed = shard.model_copy(deep=True)
        apply_step(changed.status, step, self.clock.now())
        await self.replace_status(changed)

    async def replace_status(self, shard: MysqlDatabase) -> None:
        """Write a status, if the object is still what was read. Raises Conflict, ClusterError."""
        await self.api.replace(
            MysqlDatabase.api_resource(),
            shard.metadata.name,
            shard.write(),
            namespace=shard.metadata.namespace,
            subresource="status",
            field_manager=FIELD_MANAGER,
        )

    async def change_pod(self, shard: MysqlDatabase, step: PodStep) -> None:
        """Label or delete a pod of this uid; one that no longer exists is done. Raises ClusterError."""
        namespace = shard.metadata.namespace
        try:
            if isinstance(step, DeletePod):
                await self.api.delete(
                    PODS, step.pod, namespace=namespace, grace_period_seconds=1, uid=step.uid
                )
                return
            role = step.role if isinstance(step, SetRoleLabel) else None
            metadata = {"uid": step.uid, "labels": {LABEL_ROLE: role}}
            await self.api.patch(
                PODS,
                step.pod,
                {"metadata": metadata},
                patch_type=PatchType.MERGE,
                namespace=namespace,
                field_manager=FIELD_MANAGER,
            )
        except NotFound:
            return

    async def change_server(
        self, shard: MysqlDatabase, step: ServerStep, replication_password: str
    ) -> None:
        """Execute a step on a member's server. Raises SqlError, ClusterError."""
        session = self._session(step.member)
        async with _accepted(session, step.epoch):
            match step:
                case StopReplication():
                    if await session.rows("SHOW SLAVE STATUS", seconds=_SECONDS):
                        await _run(session, "STOP SLAVE IO_THREAD")
                case StartApplier():
                    await _run(session, "START SLAVE SQL_THREAD")
                case SetReadOnly():
                    await _close(session)
                case EndSessions():
                    await _end_sessions(session)
                case Promote():
                    await _promote(session, semi_sync=step.semi_sync)
                case OpenForWrites():
                    await _check_incarnation(session, step.incarnation, step.member)
                    await _open(session, step, semi_sync=_waits(shard))
                case PointReplica():
                    source = member_host(shard, step.source)
                    await _point(session, source, replication_password, step.acknowledge)
                case Reclone():
                    await _check_incarnation(session, step.incarnation, step.member)
                    await self._delete_data(shard, step.member)

    async def set_global(
        self, member: str, epoch: int, variable: str, value: str | int | None
    ) -> None:
        """Set a global variable, with None to its default; not in the binary log. Raises SqlError."""
        session = self._session(member)
        statement = f"SET GLOBAL {quoted(variable)} = "
        async with _accepted(session, epoch):
            if value is None:
                await _run(session, f"{statement}DEFAULT")
            else:
                await session.rows(f"{statement}%s", value, seconds=_SECONDS)

    async def probe_write(self, member: str, epoch: int, revision: str) -> None:
        """Write a row as a client would: it is replicated, and waits for the acknowledgement. Raises SqlError."""
        session = self._session(member)
        async with _accepted(session, epoch):
            await _run(session, "SET SESSION sql_log_bin = 1")
            try:
                await _run(session, _PROBE_TABLE)
                await session.rows(
                    "REPLACE INTO operatorkit.rollouts VALUES (1, %s)", revision, seconds=_SECONDS
                )
            finally:
                if not session.closed:
                    await _run(session, "SET SESSION sql_log_bin = 0")

    def _session(self, member: str) -> Session:
        session = self.observer.session(member)
        if session is None:
            raise SqlError(f"{member}: there is no connection to its server")
        return session

    async def lock_privileged(self, member: str) -> int:
        """Lock the accounts on a replica whose privileges pass read_only; return how many were not. Raises SqlError.

        Such an account arrives by replication, unlocked, after the replica was pointed to its source.
        """
        session = self.observer.session(member)
        if session is None:
            return 0
        found = await session.rows(_UNLOCKED_PRIVILEGED, seconds=_SECONDS)
        if found:
            await _run(session, f"{LOCK_ALL} AND {_PRIVILEGED}", "FLUSH PRIVILEGES")
            await _end_sessions(session)
        return len(found)

    async def _delete_data(self, shard: MysqlDatabase, member: str) -> None:
        """Delete a member's claim and pod: it starts with no data and replicates everything."""
        namespace = shard.metadata.namespace
        for resource, name in ((PERSISTENT_VOLUME_CLAIMS, f"data-{member}"), (PODS, member)):
            try:
                await self.api.delete(resource, name, namespace=namespace)
            except NotFound:
                continue


@asynccontextmanager
async def _accepted(session: Session, epoch: int) -> AsyncIterator[None]:
    """Hold the server's lock while a step of `epoch` runs, and let it remember the epoch.

    Raises StaleStepError where it has accepted a later one.
    """
    [row] = await session.rows("SELECT GET_LOCK('operatorkit', 1) AS held", seconds=_SECONDS)
    if row["held"] != 1:
        raise SqlError("another step holds the lock of the server: it is tried again")
    try:
        found = await session.rows(
            "SELECT epoch FROM operatorkit.epoch WHERE id = 1", seconds=_SECONDS
        )
        known = int(found[0]["epoch"]) if found else 0
        if known > epoch:
            raise StaleStepError(f"the server is in epoch {known}: a step of {epoch} is too late")
        if known < epoch:
            await session.rows(
                "INSERT INTO operatorkit.epoch (id, epoch) VALUES (1, %s)"
                " ON DUPLICATE KEY UPDATE epoch = GREATEST(epoch, VALUES(epoch))",
                epoch,
                seconds=_SECONDS,
            )
        yield
    finally:
        if not session.closed:
            await session.rows("SELECT RELEASE_LOCK('operatorkit')", seconds=_SECONDS)


async def _run(session: Session, *statements: str) -> None:
    for statement in statements:
        await session.rows(statement, seconds=_SECONDS)


def _waits(shard: MysqlDatabase) -> bool:
    """Return whether writes of a shard wait for the acknowledgement of a replica."""
    return shard.spec.replicas > 1 and not shard.spec.durability.allow_async


async def _open(session: Session, step: OpenForWrites, *, semi_sync: bool) -> None:
    """Write the first transaction of the epoch, which waits for none, and then accept those of clients."""
    if step.first is not None:
        [row] = await session.rows("SELECT @@gtid_binlog_pos AS position", seconds=_SECONDS)
        last = Position.parse(text_of(row["position"])).last(step.first.domain)
        if last is None or last.sequence < step.first.sequence:
            await _run(session, "SET GLOBAL rpl_semi_sync_master_enabled = 0")
            await _run(session, f"SET SESSION sql_log_bin = 1, gtid_seq_no = {step.first.sequence}")
            await session.rows(
                "REPLACE INTO operatorkit.promotions VALUES (%s)", step.epoch, seconds=_SECONDS
            )
            await _run(session, "SET SESSION sql_log_bin = 0")
    await _run(
        session,
        f"SET GLOBAL rpl_semi_sync_master_enabled = {int(semi_sync)}",
        "SET GLOBAL read_only = 0",
        _UNLOCK,
        "FLUSH PRIVILEGES",
    )


async def _check_incarnation(session: Session, incarnation: str, member: str) -> None:
    [row] = await session.rows(_INCARNATION, seconds=_SECONDS)
    found = f"{text_of(row['started_as'])}.{row['relays'] or 0}"
    if found != incarnation:
        raise StaleStepError(f"the server of {member} has restarted: a step for {incarnation}")


async def _close(session: Session) -> None:
    """Lock accounts first, so that no session begins; then reject writes."""
    await _run(session, LOCK_ALL, "FLUSH PRIVILEGES", "SET GLOBAL read_only = 1")


async def _end_sessions(session: Session) -> None:
    for row in await session.rows(_SESSIONS, seconds=_SECONDS):
        try:
            await session.rows(f"KILL CONNECTION {int(row['id'])}", seconds=_SECONDS)
        except SqlError as error:
            if error.code != _NO_SUCH_THREAD:
                raise


async def _lose_relay_log(session: Session) -> None:
    """Count that what was received and not applied is lost with the next statement."""
    await _run(session, "UPDATE operatorkit.epoch SET relays = relays + 1 WHERE id = 1")


async def _promote(session: Session, *, semi_sync: bool) -> None:
    if await session.rows("SHOW SLAVE STATUS", seconds=_SECONDS):
        await _close(session)
        await _lose_relay_log(session)
        await _run(session, "STOP SLAVE", "RESET SLAVE ALL")
    await _run(
        session,
        "SET GLOBAL rpl_semi_sync_slave_enabled = 0",
        f"SET GLOBAL rpl_semi_sync_master_enabled = {int(semi_sync)}",
    )


async def _point(session: Session, source: str, password: str, acknowledge: bool) -> None:
    """Make a server a replica. The sessions of one that was the primary end before semi-sync is off.

    A write that waits for an acknowledgement is never acknowledged: its connection is closed by then.
    """
    [was] = await session.rows(
        "SELECT @@read_only AS read_only, @@rpl_semi_sync_master_enabled AS semi_sync",
        seconds=_SECONDS,
    )
    if not was["read_only"] or was["semi_sync"]:
        await _run(session, LOCK_ALL, "FLUSH PRIVILEGES")
        await _end_sessions(session)
        await _run(session, "SET GLOBAL read_only = 1")
    if await session.rows("SHOW SLAVE STATUS", seconds=_SECONDS):
        await _lose_relay_log(session)
        await _run(session, "STOP SLAVE")
    await _run(
        session,
        "SET GLOBAL rpl_semi_sync_master_enabled = 0",
        f"SET GLOBAL rpl_semi_sync_slave_enabled = {int(acknowledge)}",
    )
    [row] = await session.rows(
        "SELECT @@gtid_current_pos AS now, @@gtid_slave_pos AS slave", seconds=_SECONDS
    )
    if row["now"] != row["slave"]:
        await session.rows("SET GLOBAL gtid_slave_pos = %s", row["now"], seconds=_SECONDS)
    await session.rows(
        "CHANGE MASTER TO MASTER_HOST = %s, MASTER_PORT = %s, MASTER_USER = %s,"
        " MASTER_PASSWORD = %s, MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1,"
        " MASTER_HEARTBEAT_PERIOD = 0.5",
        source,
        CLIENT_PORT,
        REPLICATION_USER,
        password,
        seconds=_SECONDS,
    )
    await _run(session, "START SLAVE", _UNLOCK_READERS, "FLUSH PRIVILEGES")
