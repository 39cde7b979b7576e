"""What is reported of a shard: the members in its status, conditions, and Events of steps.

What belongs here: these words. What does not: sending them (`shards`). Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from operatorkit.conditions import set_condition
from operators.mysql_sharding import reasons
from operators.mysql_sharding.api import MemberStatus, MysqlDatabase
from operators.mysql_sharding.fence import errant
from operators.mysql_sharding.members import (
    ChangeKind,
    IoThread,
    Member,
    ObservedShard,
)
from operators.mysql_sharding.steps import (
    Finish,
    Reclone,
    RecordSynced,
    Step,
    WaitFor,
    WriteIntent,
)

__all__ = ["Notable", "Report", "event_of", "report"]

_LAG_STEP: Final = timedelta(seconds=10)
"""A lag is reported in steps: a status that changes with every second is of no use."""


@dataclass(frozen=True, slots=True)
class Notable:
    """An Event."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Report:
    """A shard with a new status, and whether that says anything new."""

    shard: MysqlDatabase
    changed: bool


def event_of(seen: ObservedShard, step: Step) -> Notable | None:
    """Return the Event of a step that was done, None where it deserves none."""
    match step:
        case WriteIntent(kind=ChangeKind.FAILOVER):
            return Notable(
                "Warning", reasons.FAILOVER_STARTED, f"epoch {step.epoch}: {step.reason}"
            )
        case WriteIntent(kind=ChangeKind.SWITCHOVER):
            return Notable(
                "Normal", reasons.SWITCHOVER_STARTED, f"epoch {step.epoch}: {step.reason}"
            )
        case Finish():
            return _finished(seen, step)
        case RecordSynced():
            message = f"{step.member} replicates from {seen.status.primary} and lacks nothing"
            return Notable("Normal", reasons.MEMBER_REJOINED, message)
        case Reclone():
            message = f"the data of {step.member} is copied again: {step.why}"
            return Notable("Warning", reasons.MEMBER_RECLONED, message)
    return None


def _finished(seen: ObservedShard, step: Finish) -> Notable | None:
    change, primary = seen.status.failover, seen.status.primary
    if change is None:
        return None
    if change.kind is ChangeKind.BOOTSTRAP:
        return Notable(
            "Normal", reasons.BOOTSTRAPPED, f"{primary} is the primary of epoch {step.epoch}"
        )
    seconds = (seen.now - change.started_at).total_seconds()
    reason = (
        reasons.FAILOVER_COMPLETED
        if change.kind is ChangeKind.FAILOVER
        else reasons.SWITCHOVER_COMPLETED
    )
    moved = f"from {change.old_primary} to {primary}"
    return Notable("Normal", reason, f"{moved} in {seconds:.1f} s, epoch {step.epoch}")


def report(shard: MysqlDatabase, seen: ObservedShard, steps: Sequence[Step]) -> Report:
    """Return the shard with what is observed in its status."""
    changed = shard.model_copy(deep=True)
    status = changed.status
    status.observed_generation = shard.metadata.generation
    status.members = [_member(seen, each) for each in seen.members]
    status.ready_members = sum(1 for each in status.members if each.role)
    _set_conditions(changed, seen, steps)
    new = _without_positions(changed) != _without_positions(shard)
    primary = seen.member(seen.status.primary)
    if primary is not None and primary.server is not None:
        status.gtid = _last(primary)
    return Report(changed, new)


def _without_positions(shard: MysqlDatabase) -> MysqlDatabase:
    """Return a copy without what changes with every transaction."""
    copy = shard.model_copy(deep=True)
    copy.status.gtid = ""
    for member in copy.status.members:
        member.gtid = ""
    return copy


def _last(member: Member) -> str:
    """Return the last transaction of each domain that a member has executed."""
    assert member.server is not None
    executed = member.server.executed
    return ",".join(str(executed.last(domain)) for domain in executed.domains())


def _member(seen: ObservedShard, member: Member) -> MemberStatus:
    server = member.server
    role = member.pod.role if member.pod is not None else ""
    found = MemberStatus(name=member.name, phase=_phase(seen, member))
    if role in {"primary", "replica"}:
        found.role = "primary" if role == "primary" else "replica"
    if server is not None:
        found.gtid = _last(member)
        found.errant = bool(errant(seen, server))
        lag = server.replication.lag if server.replication is not None else None
        if lag is not None:
            found.lag_seconds = int(lag / _LAG_STEP) * int(_LAG_STEP.total_seconds())
    return found


def _phase(seen: ObservedShard, member: Member) -> str:
    server = member.server
    if member.pod is None:
        return "Missing"
    if server is None:
        return "Unreachable" if member.pod.ready else "Starting"
    if member.name == seen.status.primary:
        return "Stopped" if server.read_only else "Serving"
    replication = server.replication
    running = replication is not None and replication.sql_running
    if replication is not None and running and replication.io_thread is IoThread.RUNNING:
        return "Replicating"
    return "Stopped"


def _set_conditions(shard: MysqlDatabase, seen: ObservedShard, steps: Sequence[Step]) -> None:
    waits = "; ".join(step.reason for step in steps if isinstance(step, WaitFor))
    primary = seen.member(seen.status.primary)
    server = primary.server if primary is not None else None
    problem = waits
    if server is not None and not server.read_only and seen.status.failover is None:
        alone = server.semi_sync.primary and not server.semi_sync.acknowledgers
        problem = "no replica acknowledges writes: they wait" if alone else ""
    elif not problem:
        problem = "the primary does not answer"
    lacking = [each.name for each in shard.status.members if each.phase not in _HEALTHY]
    conditions = [
        (
            "Available",
            not problem,
            _reason(seen) if problem else reasons.PRIMARY_SERVES,
            problem or f"{seen.status.primary} accepts writes",
        ),
        (
            "Degraded",
            bool(lacking),
            reasons.MEMBERS_MISSING if lacking else reasons.ALL_MEMBERS_REPLICATE,
            f"not healthy: {', '.join(lacking)}" if lacking else "",
        ),
    ]
    for type_, holds, reason, message in conditions:
        set_condition(
            shard.status.conditions,
            type_,
            holds,
            reason,
            message,
            now=seen.now,
            observed_generation=shard.metadata.generation,
        )


_HEALTHY: Final = frozenset(("Serving", "Replicating"))


def _reason(seen: ObservedShard) -> str:
    return reasons.NO_PRIMARY if seen.status.primary else reasons.BOOTSTRAPPING
