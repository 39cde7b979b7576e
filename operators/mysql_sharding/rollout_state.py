"""The persisted state of a rollout within a shard: how it begins, goes on, fails and ends.

What belongs here: each transition of status.rollout and status.current, and what of them the next
step needs to know. What does not: the next step (`rollout_plan`) and writing (`rollout_shard`).
Pure. Every transition is written by resourceVersion, and what follows from it may be done twice.

    (none) ──adopt──► Complete ◄────────────────── finish ─────────────────┐
                         │ another image, configuration or resources       │
                         └─begin──► Waiting ──► Setting ──────────► Verifying
                                       │ ▲  └─► Restarting ◄─► SwitchingOver ─┘
                                       ▼ │ another generation of the spec
                                      Failed
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from operators.mysql_sharding.api import MysqlDatabase, ShardRevision, ShardRollout
from operators.mysql_sharding.revision import (
    active_rollout,
    config_of,
    data_of,
    digest_of,
    revision_of,
)
from operators.mysql_sharding.server_variables import variables

__all__ = [
    "adopt",
    "await_copy",
    "begin",
    "changed_names",
    "fail",
    "finish",
    "hold",
    "is_overdue",
    "may_start_with_former_file",
    "move",
    "turn",
]

_FILE_ARRIVES_WITHIN: Final = timedelta(minutes=10)
Step = Literal["Waiting", "Setting", "Restarting", "SwitchingOver", "Verifying"]


def adopt(shard: MysqlDatabase) -> bool:
    """Record what the members were created with; return whether that changed anything.

    Until there is a first primary, a corrected configuration is what they were created with.
    """
    status, digest = shard.status, digest_of(shard.spec)
    if status.current is not None and (status.primary or status.current.digest == digest):
        return False
    status.current = revision_of(shard.spec, number=0)
    return True


def begin(shard: MysqlDatabase, labels: Collection[str], now: datetime) -> bool:
    """Begin a rollout, or try one again; return whether anything changed.

    `labels` are the revisions that the pods carry. A rollout begins where the specification, or a
    pod, has another revision than the completed one.
    """
    status, generation = shard.status, shard.metadata.generation or 0
    current, digest, rollout = status.current, digest_of(shard.spec), active_rollout(shard)
    assert current is not None
    if rollout is not None:
        if rollout.generation == generation:
            return False
        rollout.generation, rollout.progressed_at = generation, now
        if rollout.step == "Failed":
            rollout.step, rollout.reason, rollout.pod = "Waiting", "", ""
        return True
    last = status.rollout
    unfinished = last is not None and last.step != "Complete"
    if current.digest == digest and not unfinished and set(labels) <= {digest, ""}:
        return False
    in_place = _in_place(shard, current, labels)
    highest = max(current.number, last.number if last is not None else 0)
    status.rollout = ShardRollout(
        revision=digest,
        generation=generation,
        started_at=now,
        progressed_at=now,
        in_place=in_place,
        number=current.number if in_place else highest + 1,
        names=sorted(
            {
                *current.config,
                *shard.spec.config,
                *(last.names if last is not None and unfinished else ()),
            }
        ),
    )
    return True


def _in_place(shard: MysqlDatabase, current: ShardRevision, labels: Collection[str]) -> bool:
    """Return whether SET GLOBAL is enough for all members that have the completed revision."""
    digest = digest_of(shard.spec)
    if digest == current.digest:
        return True
    known = variables()
    old, new = data_of(current), data_of(shard.spec)
    return (
        shard.spec.update_strategy.prefer_in_place
        and all(old.get(part) == new.get(part) for part in ("image", "resources"))
        and set(labels) <= {"", current.digest, digest}
        and all(
            name in known and known[name].dynamic
            for name in changed_names(config_of(current), config_of(shard.spec))
        )
    )


def changed_names(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return the variables that differ between two configurations, sorted."""
    return sorted(name for name in {*old, *new} if old.get(name) != new.get(name))


def turn(shard: MysqlDatabase, member: str, now: datetime) -> bool:
    """Let a member start with the revision from now on; return whether it did not before."""
    rollout = shard.status.rollout
    assert rollout is not None
    if member in rollout.updated:
        return False
    rollout.updated = [*rollout.updated, member]
    return move(shard, "Restarting", member, now)


def move(shard: MysqlDatabase, step: Step, pod: str, now: datetime) -> bool:
    """Record progress; return whether anything changed."""
    rollout = shard.status.rollout
    assert rollout is not None
    if (rollout.step, rollout.pod) == (step, pod):
        return False
    rollout.step, rollout.pod, rollout.progressed_at, rollout.reason = step, pod, now, ""
    return True


def hold(shard: MysqlDatabase, reason: str) -> bool:
    """Record what is waited for; return whether that is another reason."""
    rollout = shard.status.rollout
    assert rollout is not None
    if rollout.reason == reason:
        return False
    rollout.reason = reason
    return True


def await_copy(shard: MysqlDatabase, reason: str, now: datetime) -> bool:
    """Record that a backup or a restore is waited for; return whether anything changed.

    It may take longer than the deadline of a rollout, which begins again when it has ended.
    """
    rollout, changed = shard.status.rollout, hold(shard, reason)
    assert rollout is not None
    deadline = timedelta(seconds=shard.spec.update_strategy.progress_deadline_seconds)
    if now - rollout.progressed_at >= deadline / 4:
        rollout.progressed_at = now
        return True
    return changed


def is_overdue(shard: MysqlDatabase, now: datetime) -> bool:
    """Return whether the rollout has made no progress for longer than its deadline."""
    rollout = shard.status.rollout
    assert rollout is not None
    deadline = timedelta(seconds=shard.spec.update_strategy.progress_deadline_seconds)
    return now - rollout.progressed_at >= deadline


def fail(shard: MysqlDatabase, pod: str, reason: str) -> None:
    """Stop the rollout until the specification changes."""
    rollout = shard.status.rollout
    assert rollout is not None
    rollout.step, rollout.pod, rollout.reason = "Failed", pod, reason


def finish(shard: MysqlDatabase, now: datetime) -> None:
    """Record that all members have the revision."""
    rollout = shard.status.rollout
    assert rollout is not None
    shard.status.current = revision_of(shard.spec, number=rollout.number)
    rollout.step, rollout.pod, rollout.reason = "Complete", "", ""
    rollout.finished_at, rollout.updated = now, []
    if not rollout.in_place:
        rollout.names = []


def may_start_with_former_file(shard: MysqlDatabase, now: datetime) -> ShardRollout | None:
    """Return the rollout after which a server that restarts may still read the former variables.

    The ConfigMap of a change in place is written when all members run it, and a kubelet brings it to
    the pods later: after a minute or two, by its documentation.
    """
    rollout = shard.status.rollout
    if rollout is None or rollout.finished_at is None or not rollout.in_place:
        return None
    complete = rollout.step == "Complete" and rollout.revision == digest_of(shard.spec)
    return rollout if complete and now - rollout.finished_at < _FILE_ARRIVES_WITHIN else None
