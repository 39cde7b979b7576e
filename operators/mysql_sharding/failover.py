"""What to do next for one shard: one pure decision, made again after every step.

What belongs here: the order of steps while the primary changes. What does not: who is chosen
(`fence`), the repairs while it does not change (`upkeep`), when it has failed (`detection`), and
the execution of steps. Pure: time is in the observation.

                     no primary ── bootstrap ──┐
                 failed, or restarted ─────────┤
    ┌──────┐          switchover wanted ───────┤ WriteIntent: epoch + 1
    │ Idle │ ────────────────────────────────► ▼
    │      │                             ┌───────────┐  stop the I/O threads of all replicas;
    │      │                             │  Fencing  │  drop the label, delete the pod. In a
    │      │                             └─────┬─────┘  switchover: read_only, end sessions
    │      │        RecordTarget: who, and what│it must have executed
    │      │                             ┌─────▼─────┐
    │      │            RecordTarget ┌──►│ Applying  │  wait until the target has applied it;
    │      │       (another target)  └───┤           │  swap its semi-sync roles
    │      │                             └─────┬─────┘
    │      │     RecordPrimary: status.primary │
    │      │                             ┌─────▼─────┐
    │      │ ◄───────── Finish ───────── │  Opening  │  open for writes; repoint replicas,
    └──────┘                             └───────────┘  labels and proxies

A primary that fails or restarts in Opening, or in a switchover, begins again with Fencing and the
next epoch. Each arrow is one write of the status by resourceVersion, alone in its plan, before the
SQL that follows from it: an operator that crashes anywhere resumes from the status, and of two
operators one gets a conflict. All that lies between two arrows may be done twice.

Explanation, step by step: docs/explanation/mysql-failover.md.
"""

from __future__ import annotations

from datetime import timedelta

from operators.mysql_sharding import upkeep
from operators.mysql_sharding.fence import (
    Choice,
    choose,
    choose_first,
    errant,
    fence,
    holder,
    is_fenced,
)
from operators.mysql_sharding.gtid import Gtid
from operators.mysql_sharding.members import (
    Change,
    ChangeKind,
    ChangeStep,
    Member,
    ObservedShard,
    ShardStatus,
)
from operators.mysql_sharding.steps import (
    DeletePod,
    EndSessions,
    Finish,
    PointReplica,
    Promote,
    RecordPrimary,
    RecordTarget,
    RemoveRoleLabel,
    SetReadOnly,
    StartApplier,
    Step,
    StopReplication,
    WaitFor,
)

__all__ = ["EPOCH_GAP", "keeps_tail", "plan"]

EPOCH_GAP = 1_000_000
"""How far the sequence of a new primary's first transaction is above that of its last.

An old primary may have written transactions that no replica received. Were their numbers used
again, a member that has the old ones could not be recognized. More than this many cannot wait for
an acknowledgement at once: each needs a session.
"""

SWITCHOVER_DEADLINE = timedelta(seconds=30)
"""A switchover whose target has not applied everything by then is given up."""


def plan(seen: ObservedShard) -> tuple[Step, ...]:
    """Return what to do next for a shard as it was observed; nothing where all is well.

    The steps of one plan may be executed at the same time. A status step is alone.
    """
    change = seen.status.failover
    if change is None:
        return upkeep.plan(seen)
    if change.step is ChangeStep.FENCING:
        if change.kind is ChangeKind.SWITCHOVER:
            return _drain(seen, change)
        return _fence(seen, change)
    if change.step is ChangeStep.APPLYING:
        return _apply(seen, change)
    return _open(seen, change)


def keeps_tail(status: ShardStatus, member: str) -> bool:
    """Return whether a member that starts now keeps the tail of its binary log.

    True: it starts with --init-rpl-role=MASTER, and recovery commits what is in its binary log.
    False: with SLAVE, and recovery truncates the transactions that the engine has not committed.
    Those may have been acknowledged to a client, as InnoDB's commit record is not flushed: only a
    member beside a recorded primary, which has them all, may truncate.
    """
    change = status.failover
    choosing = change is not None and change.step is not ChangeStep.OPENING
    return choosing or status.primary in {"", member}


# Fencing -------------------------------------------------------------------------------------------


def _fence(seen: ObservedShard, change: Change) -> tuple[Step, ...]:
    """Fence every reachable member, then choose: 3 and 4."""
    steps = [*_fence_members(seen, change), *_retire(seen, change)]
    first = change.kind is ChangeKind.BOOTSTRAP
    choice = choose_first(seen, change) if first else choose(seen, change)
    if isinstance(choice, Choice):
        return (RecordTarget(change.epoch, choice.target, choice.required),)
    if steps:
        return tuple(steps)
    return (WaitFor(choice or _why_incomplete(seen, change)),)


def _why_incomplete(seen: ObservedShard, change: Change) -> str:
    known = fence(seen, change)
    if known.complete:
        return "no member that is free of errant transactions has every acknowledged write"
    missing = ", ".join(known.missing) or "none is left"
    return (
        f"{len(known.counted)} of the {known.needed} replicas that must be fenced are: without "
        f"{missing}; or {change.old_primary}, which has everything"
    )


def _fence_members(seen: ObservedShard, change: Change) -> list[Step]:
    """Stop what each reachable member receives, and make it read-only."""
    steps: list[Step] = []
    for member in seen.members:
        server = member.server
        if server is None:
            continue
        if member.name == change.old_primary and server.sessions:
            steps.append(EndSessions(member.name, change.epoch))
        if is_fenced(change, server):
            continue
        if change.step is ChangeStep.APPLYING and member.name == change.target:
            continue
        if not server.read_only:
            steps.append(SetReadOnly(member.name, change.epoch))
        if _would_lose_relay_log(member):
            steps.append(StartApplier(member.name, change.epoch))
        elif server.epoch != change.epoch or not server.io_stopped:
            steps.append(StopReplication(member.name, change.epoch))
    return steps


def _would_lose_relay_log(member: Member) -> bool:
    """Return whether only the I/O thread runs, and the other one can be started."""
    replication = member.server.replication if member.server is not None else None
    return (
        replication is not None
        and not member.held
        and not replication.sql_running
        and not replication.sql_error
        and bool(member.server and not member.server.io_stopped)
    )


def _retire(seen: ObservedShard, change: Change) -> list[Step]:
    """Take the old primary out of its Service, and restart its server."""
    member = seen.member(change.old_primary)
    if member is None or member.pod is None:
        return []
    steps: list[Step] = []
    if member.pod.role:
        steps.append(RemoveRoleLabel(member.name, member.pod.uid))
    if member.pod.uid == change.old_pod and not member.pod.terminating:
        steps.append(DeletePod(member.name, member.pod.uid))
    return steps


# Switchover ----------------------------------------------------------------------------------------


def _drain(seen: ObservedShard, change: Change) -> tuple[Step, ...]:
    """Make the old primary read-only and end its sessions; its position is then final."""
    old = seen.member(change.old_primary)
    if (lost := upkeep.lost_primary(seen)) is not None:
        return (lost,)
    if old is None or old.server is None:
        return (WaitFor(f"{change.old_primary} does not answer: the switchover waits"),)
    server, steps = old.server, list[Step]()
    if not server.read_only or server.epoch != change.epoch:
        steps.append(SetReadOnly(old.name, change.epoch))
    if server.sessions:
        steps.append(EndSessions(old.name, change.epoch))
    if old.pod is not None and old.pod.role:
        steps.append(RemoveRoleLabel(old.name, old.pod.uid))
    if steps:
        return tuple(steps)
    problem = upkeep.why_no_switchover(seen, change.target)
    target = old.name if problem else change.target
    return (RecordTarget(change.epoch, target, server.executed),)


def _abandon(seen: ObservedShard, change: Change) -> RecordTarget | None:
    """Return to the old primary of a switchover whose target does not get ready."""
    old = seen.member(change.old_primary)
    target = seen.member(change.target)
    if change.target == change.old_primary or old is None or old.server is None:
        return None
    late = seen.now - change.started_at > SWITCHOVER_DEADLINE
    if target is not None and target.server is not None and not late:
        return None
    return RecordTarget(change.epoch, old.name, old.server.executed)


# Applying ------------------------------------------------------------------------------------------


def _apply(seen: ObservedShard, change: Change) -> tuple[Step, ...]:
    """Wait until the target has everything, prepare it, and record it: 5 and 6."""
    switchover = change.kind is ChangeKind.SWITCHOVER
    fencing = [] if switchover else [*_fence_members(seen, change), *_retire(seen, change)]
    target = seen.member(change.target)
    if _has_all(seen, target, change):
        assert target is not None
        if not switchover and (more := _required_more(seen, change, target)) is not None:
            return (more,)
        prepare = _promote(target, change, semi_sync=upkeep.semi_sync(seen))
        return (*fencing, prepare) if prepare else (_record_primary(target, change),)
    if switchover:
        if (lost := upkeep.lost_primary(seen)) is not None:
            return (lost,)
        abandoned = _abandon(seen, change)
        return (abandoned or WaitFor(f"{change.target} applies what it has received"),)
    if target is not None and _gets_there(seen, target, change):
        return (*fencing, WaitFor(f"{change.target} applies what it has received"))
    choice = choose(seen, change)
    if choice is not None and choice != Choice(change.target, change.required):
        return (RecordTarget(change.epoch, choice.target, choice.required),)
    return (*fencing, *_catch_up(seen, change))


def _required_more(seen: ObservedShard, change: Change, target: Member) -> RecordTarget | None:
    """Return the correction of a requirement that a false position made too small.

    The fenced members are read again before the target is promoted: two readings must agree.
    """
    if not fence(seen, change).complete:
        return None
    choice = choose(seen, change)
    server = target.server
    if choice is None or server is None or server.executed.contains(choice.required):
        return None
    return RecordTarget(change.epoch, choice.target, choice.required)


def _has_all(seen: ObservedShard, target: Member | None, change: Change) -> bool:
    """Return whether the target has executed all that is required.

    A target that has written by itself since it was chosen has not: its last number says nothing.
    """
    server = target.server if target is not None else None
    if server is None or errant(seen, server):
        return False
    return server.executed.contains(change.required)


def _gets_there(seen: ObservedShard, target: Member, change: Change) -> bool:
    """Return whether the target's relay log holds all that is required, and is being applied."""
    server = target.server
    return (
        server is not None
        and not errant(seen, server)
        and server.received.contains(change.required)
        and server.replication is not None
        and server.replication.sql_running
    )


def _catch_up(seen: ObservedShard, change: Change) -> tuple[Step, ...]:
    """Let a target that lacks something receive it from a member that has it."""
    target, source = seen.member(change.target), holder(seen, change)
    if target is None or target.server is None:
        return (WaitFor(f"{change.target} was chosen and does not answer; no other has all"),)
    if errant(seen, target.server):
        return (WaitFor(f"{target.name} was chosen and has errant transactions; no other has all"),)
    if source is None:
        missing = target.server.executed.missing(change.required)
        return (WaitFor(f"no reachable member has executed {missing}"),)
    replication = target.server.replication
    if (
        replication is not None
        and replication.source == source.name
        and replication.sql_running
        and not target.server.io_stopped
    ):
        return (WaitFor(f"{target.name} receives from {source.name} what it lacks"),)
    return (PointReplica(target.name, source.name, change.epoch, acknowledge=False),)


def _promote(target: Member, change: Change, *, semi_sync: bool) -> Promote | None:
    """Prepare the target, unless it is."""
    server = target.server
    ready = (
        server is not None
        and server.replication is None
        and server.semi_sync.primary == semi_sync
        and server.epoch == change.epoch
        and server.read_only
    )
    return None if ready else Promote(target.name, change.epoch, semi_sync)


def _record_primary(target: Member, change: Change) -> RecordPrimary:
    server = target.server
    assert server is not None
    last = server.executed.last(0)
    first = Gtid(0, server.server_id, (last.sequence if last is not None else 0) + EPOCH_GAP)
    return RecordPrimary(
        change.epoch, target.name, server.incarnation, base=server.executed, first=first
    )


# Opening -------------------------------------------------------------------------------------------


def _open(seen: ObservedShard, change: Change) -> tuple[Step, ...]:
    """Open the recorded primary, then point replicas, labels and proxies to it: 6 to 8."""
    if (lost := upkeep.lost_primary(seen)) is not None:
        return (lost,)
    primary = seen.member(seen.status.primary)
    if primary is None or primary.server is None:
        return (WaitFor(f"{seen.status.primary} does not answer; it is probed"),)
    steps = (
        upkeep.open_primary(seen)
        or upkeep.record_synced(seen)
        or [*upkeep.point_replicas(seen), *upkeep.point_clients(seen)]
    )
    if steps:
        return tuple(steps)
    done = change.kind is ChangeKind.SWITCHOVER
    return (Finish(change.epoch, seen.spec.switchover if done else seen.status.switchover),)
