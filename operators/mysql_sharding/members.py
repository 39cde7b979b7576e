"""What is observed of a shard and its members, as values.

What belongs here: the facts that a decision needs. What does not: reading them (`observe`, `sql`)
and deciding (`failover`). Pure.

A reading of a member is taken on one connection, in this order: epoch, incarnation, read_only,
replication threads, semi-sync, sessions, and the positions last. A position is thus never older
than the state beside it: a reading that shows a stopped I/O thread shows a final position.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from operators.mysql_sharding.gtid import EMPTY, Gtid, Position, merged

__all__ = [
    "Change",
    "ChangeKind",
    "ChangeStep",
    "IoThread",
    "Member",
    "ObservedShard",
    "Pod",
    "Replication",
    "SemiSync",
    "Server",
    "ShardSpec",
    "ShardStatus",
    "Synced",
]


class IoThread(StrEnum):
    """Slave_IO_Running: the thread that receives transactions from the primary."""

    RUNNING = "Yes"
    CONNECTING = "Connecting"
    STOPPED = "No"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replication:
    """SHOW SLAVE STATUS of a member.

    `source` is the member it replicates from ("" for an address that is no member's). `received` is
    Gtid_IO_Pos. `applied_all` says that the SQL thread has applied the whole relay log
    (Slave_SQL_Running_State: "Slave has read all relay log").
    """

    source: str
    io_thread: IoThread
    sql_running: bool
    received: Position = EMPTY
    applied_all: bool = False
    io_error: str = ""
    sql_error: str = ""
    io_errno: int = 0
    lag: timedelta | None = None
    delay: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SemiSync:
    """Semi-synchronous replication of a member, in both roles.

    `primary` is rpl_semi_sync_master_enabled, `replica` rpl_semi_sync_slave_enabled,
    `acknowledging` Rpl_semi_sync_slave_status (the connection has agreed on it), and
    `acknowledgers` Rpl_semi_sync_master_clients.
    """

    primary: bool = False
    replica: bool = False
    acknowledging: bool = False
    acknowledgers: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One reading of a member's server.

    `observed_at` is when the reading began, by the operator's clock. `incarnation` changes whenever
    the relay log is lost: with each start of the process (which gives itself a UUID before it accepts
    a connection) and with each PointReplica and Reclone (a count that these steps raise in the
    server, beside the epoch). `known_since` is when the first reading of this incarnation
    ended. `epoch` is the highest epoch whose step the server has accepted (see `steps`).
    `executed` is gtid_binlog_state merged with gtid_slave_pos: every server of each domain.
    `tail_kept` says that it did not truncate its binary log when it started (see
    `failover.keeps_tail`). `sessions` counts sessions of application accounts.
    """

    observed_at: datetime
    server_id: int
    incarnation: str
    known_since: datetime
    epoch: int
    read_only: bool
    executed: Position
    replication: Replication | None = None
    semi_sync: SemiSync = SemiSync()
    sessions: int = 0
    tail_kept: bool = True

    @property
    def received(self) -> Position:
        """All that the member has, applied or not.

        Once its SQL thread is idle, that is what it has executed: the relay log holds nothing more,
        whatever Gtid_IO_Pos says.
        """
        if self.replication is None or self.replication.applied_all:
            return self.executed
        return merged([self.executed, self.replication.received])

    @property
    def io_stopped(self) -> bool:
        """Whether it receives nothing: its I/O thread is stopped, or it has none."""
        return self.replication is None or self.replication.io_thread is IoThread.STOPPED


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A member's pod: `role` is its role label, "" where it has none."""

    uid: str
    phase: str = "Running"
    ready: bool = False
    terminating: bool = False
    role: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member of a shard, whether or not it has a pod and whether or not it can be reached.

    `server` is the last reading, None where the last attempt failed; then `unreachable_since` is
    when the first of the failed attempts was made. `held` says that a user stopped its replication
    on purpose (annotation mysql.operatorkit.dev/hold-replication). `address` is host:port.
    """

    name: str
    address: str = ""
    pod: Pod | None = None
    server: Server | None = None
    unreachable_since: datetime | None = None
    held: bool = False

    @property
    def delayed(self) -> bool:
        """Whether it lags by choice, or its replication is stopped by choice."""
        replication = self.server.replication if self.server is not None else None
        return self.held or (replication is not None and replication.delay > timedelta(0))


class ChangeKind(StrEnum):
    """Why the primary changes."""

    BOOTSTRAP = "Bootstrap"
    FAILOVER = "Failover"
    SWITCHOVER = "Switchover"


class ChangeStep(StrEnum):
    """How far a change of the primary has come, as persisted; drawn in `failover`."""

    FENCING = "Fencing"
    APPLYING = "Applying"
    OPENING = "Opening"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """status.failover: a change of the primary that is under way.

    `required` is what the next primary must have executed, `target` which member that will be; both
    are known from Applying on. In a switchover, `target` is the requested one from the beginning.
    `old_pod` is the uid of the old primary's pod, where that pod is to be deleted.
    """

    kind: ChangeKind
    epoch: int
    old_primary: str
    started_at: datetime
    reason: str
    old_pod: str = ""
    step: ChangeStep = ChangeStep.FENCING
    target: str = ""
    required: Position = EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """A replica that has everything its earlier processes acknowledged.

    With MASTER_USE_GTID, MariaDB deletes the relay log when a thread starts while both are stopped,
    so also after each restart of the server. Until a replica has received again what the primary
    had by then, it may lack a transaction that it acknowledged before: it does not count for the
    fence. `received` is what it had when that was found.
    """

    member: str
    incarnation: str
    received: Position


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardSpec:
    """The part of the specification that concerns the primary.

    `members` counts the primary and its replicas. `acks` is how many replicas acknowledge a write
    before the client's commit returns. `allow_async` permits writes without acknowledgement.
    `switchover` names the member that a user wants as primary; "" for no wish.
    """

    members: int
    acks: int = 1
    allow_async: bool = False
    switchover: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardStatus:
    """The persisted state of a shard: written by resourceVersion only.

    `primary` is "" before the bootstrap. `incarnation` is that of the primary's process when it was
    promoted; a primary with another one has restarted and is not trusted with writes. `base` is the
    primary's position when it was promoted and `first` the first transaction that it writes then:
    since then, only it may have written. `switchover` is the last wish of `ShardSpec.switchover`
    that was fulfilled or given up.
    """

    primary: str = ""
    epoch: int = 0
    incarnation: str = ""
    base: Position = EMPTY
    first: Gtid | None = None
    synced: tuple[Synced, ...] = ()
    failover: Change | None = None
    switchover: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedShard:
    """A shard as it was observed at one moment.

    `members` holds one entry for each desired member and for each further pod of the shard, in the
    order of their ordinals. `failure` is the reason why the primary is considered failed
    (`detection`), "" while it is not. `proxied` is the primary that all proxies point to, None
    where there are no proxies.
    """

    name: str
    spec: ShardSpec
    status: ShardStatus
    members: tuple[Member, ...]
    now: datetime
    failure: str = ""
    proxied: str | None = None

    def member(self, name: str) -> Member | None:
        """Return the member of that name, None where there is none."""
        return next((each for each in self.members if each.name == name), None)
