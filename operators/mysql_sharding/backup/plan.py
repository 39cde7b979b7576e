"""The next step of a backup: which shard is read, from which member, and when it is complete.

What belongs here: decisions. What does not: requests (`reconcile`). Pure.

    Pending ──► Running: shard 0, 1, ... one after the other ──► Completed
                   │     several shards: the cut, then shard 0, 1, ... up to it
                   │ a pod fails
                   ▼
                 Failed
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from operators.mysql_sharding.api import MemberStatus, MysqlDatabase
from operators.mysql_sharding.backup.api import ShardBackup

__all__ = [
    "Complete",
    "Fail",
    "Record",
    "RecordLogs",
    "RunLogs",
    "RunPod",
    "SeenPod",
    "Step",
    "TakeCut",
    "Wait",
    "choose",
    "plan",
]


@dataclass(frozen=True, slots=True)
class SeenPod:
    """The pod of a shard's backup: its phase, and its termination message."""

    phase: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class RunPod:
    """Create the pod that reads `member` of the shard `number`."""

    number: int
    member: str


@dataclass(frozen=True, slots=True)
class Record:
    """The pod of the shard `number` has succeeded: record what its manifest says."""

    number: int
    message: str


@dataclass(frozen=True, slots=True)
class TakeCut:
    """All shards are recorded: read all their positions at one moment."""


@dataclass(frozen=True, slots=True)
class RunLogs:
    """Create the pod that adds to the backup of the shard `number` its transactions up to the cut."""

    number: int
    member: str


@dataclass(frozen=True, slots=True)
class RecordLogs:
    """The pod of `RunLogs` has succeeded."""

    number: int
    message: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing can be done before something changes."""

    phase: Literal["Pending", "Running"]
    why: str


@dataclass(frozen=True, slots=True)
class Fail:
    """The backup has failed for good."""

    why: str


@dataclass(frozen=True, slots=True)
class Complete:
    """All shards are recorded."""


Step = RunPod | Record | TakeCut | RunLogs | RecordLogs | Wait | Fail | Complete


def plan(
    shards: Sequence[MysqlDatabase | None],
    recorded: Mapping[str, ShardBackup],
    pods: Mapping[int, SeenPod],
    names: Sequence[str],
    logs: Mapping[int, SeenPod],
) -> Step:
    """Return the next step. `shards` and `names` are those of the cluster, by number.

    `recorded` is what status.shards has, by name; `pods` read data, and `logs` binary logs.
    """
    for number, (shard, name) in enumerate(zip(shards, names, strict=True)):
        if name in recorded:
            continue
        pod = pods.get(number)
        if pod is not None:
            return _follow(number, name, pod)
        if shard is None:
            return Wait("Pending", f"the shard {name} does not exist yet")
        member = choose(shard)
        if isinstance(member, Wait):
            return member
        return RunPod(number, member)
    if len(names) == 1:
        return Complete()
    if not all(recorded[name].cut for name in names):
        return TakeCut()
    return _plan_logs(shards, recorded, names, logs)


def _plan_logs(
    shards: Sequence[MysqlDatabase | None],
    recorded: Mapping[str, ShardBackup],
    names: Sequence[str],
    logs: Mapping[int, SeenPod],
) -> Step:
    for number, (shard, name) in enumerate(zip(shards, names, strict=True)):
        known = recorded[name]
        if known.log_sha256 or known.cut == known.gtid:
            continue
        pod = logs.get(number)
        if pod is not None:
            return _follow(number, name, pod, record=RecordLogs)
        member = choose(shard) if shard is not None else Wait("Running", f"{name} is missing")
        return member if isinstance(member, Wait) else RunLogs(number, member)
    return Complete()


def _follow(
    number: int, name: str, pod: SeenPod, *, record: type[Record | RecordLogs] = Record
) -> Step:
    if pod.phase == "Succeeded":
        return record(number, pod.message)
    if pod.phase == "Failed":
        return Fail(f"{name}: {pod.message or 'its pod failed without a message'}")
    return Wait("Running", f"the shard {name} is being read")


def choose(shard: MysqlDatabase) -> str | Wait:
    """Return the member that is read: the replica that lags least, or a shard's only member."""
    name = shard.metadata.name
    if shard.spec.replicas == 1:
        primary = shard.status.primary
        serving = any(
            one.name == primary and one.phase == "Serving" for one in shard.status.members
        )
        return primary if serving else Wait("Pending", f"the primary of {name} does not serve")
    replicas = [one for one in shard.status.members if _is_readable(one)]
    if not replicas:
        return Wait("Pending", f"no replica of {name} is current: the primary is not read")
    return min(replicas, key=lambda one: (one.lag_seconds or 0, one.name)).name


def _is_readable(member: MemberStatus) -> bool:
    return member.role == "replica" and member.phase == "Replicating" and not member.errant
