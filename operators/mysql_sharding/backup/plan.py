"""The next step of a backup: which shard is read, from which member, and when it is complete.

What belongs here: decisions. What does not: requests (`reconcile`). Pure.

    Pending ──► Running: shard 0, 1, ... one after the other ──► Completed
                   │ a pod fails
                   ▼
                 Failed
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from operators.mysql_sharding.api import MemberStatus, MysqlDatabase

__all__ = ["Complete", "Fail", "Record", "RunPod", "SeenPod", "Step", "Wait", "choose", "plan"]


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


Step = RunPod | Record | Wait | Fail | Complete


def plan(
    shards: Sequence[MysqlDatabase | None],
    recorded: frozenset[str],
    pods: Mapping[int, SeenPod],
    names: Sequence[str],
) -> Step:
    """Return the next step. `shards` and `names` are those of the cluster, by number."""
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
    return Complete()


def _follow(number: int, name: str, pod: SeenPod) -> Step:
    if pod.phase == "Succeeded":
        return Record(number, pod.message)
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
