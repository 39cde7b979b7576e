"""What is persisted of a shard: the status of its MysqlDatabase, as the values that decisions take, and back.

What belongs here: this translation, and what a status step writes. What does not: sending it (`execute`). Pure.
"""

from __future__ import annotations

from datetime import datetime

from operators.mysql_sharding.api import (
    FailoverStatus,
    MysqlDatabase,
    MysqlDatabaseStatus,
    SyncedStatus,
)
from operators.mysql_sharding.gtid import Gtid, Position
from operators.mysql_sharding.members import (
    Change,
    ChangeKind,
    ChangeStep,
    ShardSpec,
    ShardStatus,
    Synced,
)
from operators.mysql_sharding.steps import (
    Finish,
    RecordPrimary,
    RecordSynced,
    RecordTarget,
    StatusStep,
    WriteIntent,
)

__all__ = ["apply_step", "spec_of", "status_of"]


def spec_of(shard: MysqlDatabase) -> ShardSpec:
    """Return the part of the specification that concerns the primary."""
    return ShardSpec(
        members=shard.spec.replicas,
        acks=0 if shard.spec.durability.allow_async else 1,
        allow_async=shard.spec.durability.allow_async,
        switchover=shard.spec.switchover_to,
    )


def status_of(status: MysqlDatabaseStatus) -> ShardStatus:
    """Return the persisted state. Raises GtidError for a position that a user has spoiled."""
    change = status.failover
    return ShardStatus(
        primary=status.primary,
        epoch=status.epoch,
        incarnation=status.incarnation,
        base=Position.parse(status.base),
        first=Gtid.parse(status.first) if status.first else None,
        synced=tuple(
            Synced(
                member=each.member,
                incarnation=each.incarnation,
                received=Position.parse(each.received),
            )
            for each in status.synced
        ),
        failover=_change(change) if change is not None else None,
        switchover=status.switchover,
    )


def _change(change: FailoverStatus) -> Change:
    return Change(
        kind=ChangeKind(change.kind),
        epoch=change.epoch,
        old_primary=change.old_primary,
        started_at=change.started_at,
        reason=change.reason,
        old_pod=change.old_pod,
        step=ChangeStep(change.step),
        target=change.target,
        required=Position.parse(change.required),
    )


def apply_step(status: MysqlDatabaseStatus, step: StatusStep, now: datetime) -> None:
    """Change a status, in place, as a step says."""
    change = status.failover
    match step:
        case WriteIntent():
            status.epoch = step.epoch
            status.failover = FailoverStatus(
                kind=step.kind.value,
                epoch=step.epoch,
                old_primary=step.old_primary,
                started_at=now,
                reason=step.reason,
                old_pod=step.old_pod,
                target=step.target,
            )
        case RecordTarget():
            assert change is not None
            change.step, change.target = "Applying", step.target
            change.required = str(step.required)
        case RecordPrimary():
            assert change is not None
            change.step = "Opening"
            status.primary, status.incarnation = step.member, step.incarnation
            status.base, status.first = str(step.base), str(step.first)
            status.synced = []
        case Finish():
            status.failover = None
            status.switchover = step.switchover
        case RecordSynced():
            others = [each for each in status.synced if each.member != step.member]
            entry = SyncedStatus(
                member=step.member, incarnation=step.incarnation, received=str(step.received)
            )
            status.synced = [*others, entry]
