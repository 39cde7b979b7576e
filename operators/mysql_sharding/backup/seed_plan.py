"""The next step of bringing data to the members that have none.

What belongs here: decisions. What does not: requests (`seeding`). Pure.

    restored: init container waits ──► seed pod ──► seeded; the init container goes on
    copied:   no data, and the primary lacks the first binary logs ──► donor pod ──► seed pod ──►
              seeded ──► the member's pod is deleted, and its next one starts with the data
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from operators.mysql_sharding.members import Member, ObservedShard
from operators.mysql_sharding.upkeep import donor, lacks_history

__all__ = [
    "CreateDonor",
    "CreateSeed",
    "DeleteMember",
    "End",
    "SeedPod",
    "SeedStep",
    "Seeds",
    "Source",
    "plan_seeds",
]

_ENDED: Final = frozenset({"Succeeded", "Failed"})


class Source(StrEnum):
    """Where the data of a member comes from."""

    BACKUP = "backup"
    DONOR = "donor"


@dataclass(frozen=True, slots=True)
class SeedPod:
    """A seed or donor pod: `retry` says that it failed long enough ago."""

    phase: str = "Pending"
    ip: str = ""
    message: str = ""
    retry: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeds:
    """What there is to decide from, beside the shard.

    `restores` says that the shard starts from a backup; `waiting` names the members whose init
    container waits for data. `seeds` and `donors` are the pods, by the member that they are for.
    """

    restores: bool = False
    waiting: frozenset[str] = frozenset()
    seeds: Mapping[str, SeedPod]
    donors: Mapping[str, SeedPod]


@dataclass(frozen=True, slots=True)
class CreateDonor:
    """Create the pod that sends the data of `donor` to `member`."""

    member: str
    donor: str


@dataclass(frozen=True, slots=True)
class CreateSeed:
    """Create the pod that brings data to `member`, from the donor pod at `donor_ip` or a backup."""

    member: str
    source: Source
    donor: str = ""
    donor_ip: str = ""


@dataclass(frozen=True, slots=True)
class DeleteMember:
    """Delete the pod of a member whose data is there: the next one starts with it."""

    member: str
    uid: str


@dataclass(frozen=True, slots=True)
class End:
    """Delete the seed and donor pods of a member, and report how it ended."""

    member: str
    failure: str = ""
    done: bool = False


SeedStep = CreateDonor | CreateSeed | DeleteMember | End


def plan_seeds(seen: ObservedShard, seeds: Seeds) -> list[SeedStep]:
    """Return what to do now: restores side by side, copies one member at a time."""
    steps: list[SeedStep] = []
    copying = set(seeds.donors)
    for member in seen.members:
        source = _source(seen, member, seeds)
        if source is None:
            steps += _finish(member, seeds)
        elif source is Source.BACKUP:
            steps += _restore(member, seeds)
        elif not copying - {member.name}:
            copying.add(member.name)
            steps += _copy(seen, member, seeds)
    return steps


def _source(seen: ObservedShard, member: Member, seeds: Seeds) -> Source | None:
    """Return where a member without data gets it from; None for one that may have data."""
    waits = member.name in seeds.waiting
    if seeds.restores and waits and not seen.status.primary:
        return Source.BACKUP
    primary = seen.member(seen.status.primary)
    if primary is None or primary.server is None or member.name == seen.status.primary:
        return None
    server = member.server
    if waits or (server is not None and lacks_history(server)):
        return Source.DONOR
    return None


def _restore(member: Member, seeds: Seeds) -> list[SeedStep]:
    pod = seeds.seeds.get(member.name)
    if pod is None:
        return [CreateSeed(member.name, Source.BACKUP)]
    if pod.phase == "Failed" and pod.retry:
        return [End(member.name, failure=_failure(pod))]
    return []


def _copy(seen: ObservedShard, member: Member, seeds: Seeds) -> list[SeedStep]:
    pod, sender = seeds.seeds.get(member.name), seeds.donors.get(member.name)
    for each in (pod, sender):
        if each is not None and each.phase == "Failed":
            return [End(member.name, failure=_failure(each))] if each.retry else []
    if pod is not None:
        if pod.phase == "Succeeded" and member.server is not None and member.pod is not None:
            return [DeleteMember(member.name, member.pod.uid)]
        return []
    source = donor(seen, member)
    if sender is None:
        return [CreateDonor(member.name, source)]
    if sender.phase == "Running" and sender.ip:
        return [CreateSeed(member.name, Source.DONOR, source, sender.ip)]
    return []


def _failure(pod: SeedPod) -> str:
    return pod.message or "its pod failed without a message"


def _finish(member: Member, seeds: Seeds) -> list[SeedStep]:
    """End the pods of a member that no longer waits for data, once that is known."""
    pod, sender = seeds.seeds.get(member.name), seeds.donors.get(member.name)
    if pod is None and sender is None:
        return []
    if pod is not None and pod.phase == "Succeeded":
        return [End(member.name, done=True)]
    known = member.server is not None
    if known or (pod is not None and pod.phase in _ENDED):
        return [End(member.name)]
    return []
