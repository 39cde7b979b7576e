"""The steps of a plan: what can be done for a shard, as values.

What belongs here: each kind of step, with all that its execution needs. What does not: choosing
them (`failover`) and executing them. Pure.

How they are executed:

- The steps of one plan may run at the same time; their order does not matter. What must follow
  another step is in the next plan.
- A status step (`StatusStep`) is alone in its plan. It is written by the resourceVersion of the
  object that the plan was made from. A conflict ends the sync: nothing else of it is done.
- A server step (`ServerStep`) carries the epoch. It runs on one connection, under GET_LOCK, and
  first compares the epoch with the one that the server keeps in a table (written with
  sql_log_bin=0): a lower epoch is rejected, a higher one is stored. A step that arrives late, of an
  operator that has lost its Lease, thus changes nothing.
- Each step may run twice. After an answer that was lost, the member is read again and a new plan is
  made from what it shows; nothing is undone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from operators.mysql_sharding.gtid import Gtid, Position
from operators.mysql_sharding.members import ChangeKind

__all__ = [
    "DeletePod",
    "EndSessions",
    "Finish",
    "OpenForWrites",
    "PodStep",
    "PointReplica",
    "Promote",
    "Reclone",
    "RecordPrimary",
    "RecordSynced",
    "RecordTarget",
    "RemoveRoleLabel",
    "RepointProxies",
    "ServerStep",
    "SetReadOnly",
    "SetRoleLabel",
    "StartApplier",
    "StatusStep",
    "Step",
    "StopReplication",
    "WaitFor",
    "WriteIntent",
]


@dataclass(frozen=True, slots=True)
class WriteIntent:
    """Begin a change of the primary: status.epoch and status.failover, step Fencing."""

    epoch: int
    old_primary: str
    kind: ChangeKind
    reason: str
    old_pod: str = ""
    target: str = ""


@dataclass(frozen=True, slots=True)
class RecordTarget:
    """Write which member becomes the primary and what it must have executed: step Applying."""

    epoch: int
    target: str
    required: Position


@dataclass(frozen=True, slots=True)
class RecordPrimary:
    """Write the new primary, before it is opened: step Opening; status.synced becomes empty.

    `incarnation` and `base` are those of its server, and `first` is the transaction that
    `OpenForWrites` writes: status keeps them.
    """

    epoch: int
    member: str
    incarnation: str
    base: Position
    first: Gtid


@dataclass(frozen=True, slots=True)
class Finish:
    """Clear status.failover; `switchover` is the wish that is done with, kept in the status."""

    epoch: int
    switchover: str = ""


@dataclass(frozen=True, slots=True)
class RecordSynced:
    """Write that this process of a replica has all that its earlier ones acknowledged."""

    epoch: int
    member: str
    incarnation: str
    received: Position


@dataclass(frozen=True, slots=True)
class StopReplication:
    """Stop the I/O thread: STOP SLAVE IO_THREAD. The SQL thread goes on, and applies the rest."""

    member: str
    epoch: int


@dataclass(frozen=True, slots=True)
class StartApplier:
    """Start the SQL thread: START SLAVE SQL_THREAD.

    Only while the I/O thread runs: with both stopped, MariaDB deletes the relay log at the start of
    either, and with it what the member has received and not applied.
    """

    member: str
    epoch: int


@dataclass(frozen=True, slots=True)
class SetReadOnly:
    """Reject writes: SET GLOBAL read_only=1, application accounts locked."""

    member: str
    epoch: int


@dataclass(frozen=True, slots=True)
class EndSessions:
    """End all sessions of application accounts."""

    member: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Promote:
    """Make a member ready to be the primary: STOP SLAVE, RESET SLAVE ALL, semi-sync roles.

    Its writes still wait: it becomes, or stays, read-only, where it replicated. The count of lost
    relay logs is raised where it had one. `semi_sync` is off in a shard with one member.
    """

    member: str
    epoch: int
    semi_sync: bool


@dataclass(frozen=True, slots=True)
class OpenForWrites:
    """Accept writes: SET GLOBAL read_only=0, application accounts unlocked.

    Before that, a server whose binary log ends before `first` writes a row into a table of the
    operator, with gtid_seq_no set to that of `first`, and with rpl_semi_sync_master_enabled off for
    as long: numbers of transactions that no replica has acknowledged are never used twice.

    Rejected by a process that is not `incarnation`: its semi-sync settings are not those of
    `Promote`, so its writes would be acknowledged by no replica.
    """

    member: str
    epoch: int
    incarnation: str
    first: Gtid | None


@dataclass(frozen=True, slots=True)
class PointReplica:
    """Replicate from `source` by GTID (slave_pos), read-only, both threads started.

    The relay log is lost: the server's count of that (see `members.Server.incarnation`) is raised
    first.

    This is the only path on which a member becomes an acknowledger: `acknowledge` sets
    rpl_semi_sync_slave_enabled before the I/O thread starts.
    """

    member: str
    source: str
    epoch: int
    acknowledge: bool


@dataclass(frozen=True, slots=True)
class Reclone:
    """Replace a member's data by a copy of the donor's, and with it gtid_slave_pos and gtid_binlog_state.

    Rejected by a server that is not `incarnation`. While it runs, the member answers no reading.
    """

    member: str
    donor: str
    epoch: int
    incarnation: str
    why: str


@dataclass(frozen=True, slots=True)
class RemoveRoleLabel:
    """Take a pod out of the Services <shard>-rw and <shard>-ro."""

    pod: str
    uid: str


@dataclass(frozen=True, slots=True)
class SetRoleLabel:
    """Put a pod into the Service of its role: primary or replica."""

    pod: str
    uid: str
    role: str


@dataclass(frozen=True, slots=True)
class DeletePod:
    """Delete a pod of this uid, without a grace period: its server restarts as a replica."""

    pod: str
    uid: str


@dataclass(frozen=True, slots=True)
class RepointProxies:
    """Point the proxies to the primary: CREATE OR REPLACE SERVER, FLUSH TABLES."""

    primary: str
    epoch: int


@dataclass(frozen=True, slots=True)
class WaitFor:
    """Nothing more can be done before something changes; `reason` names the members."""

    reason: str
    until: datetime | None = None


StatusStep = WriteIntent | RecordTarget | RecordPrimary | Finish | RecordSynced
ServerStep = (
    StopReplication
    | StartApplier
    | SetReadOnly
    | EndSessions
    | Promote
    | OpenForWrites
    | PointReplica
    | Reclone
)
PodStep = RemoveRoleLabel | SetRoleLabel | DeletePod
Step = StatusStep | ServerStep | PodStep | RepointProxies | WaitFor
