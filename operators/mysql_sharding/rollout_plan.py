"""The ordered change of configuration and version within one shard: what to do next.

What belongs here: the gates, the order of the members, and verification. What does not: the order of
the shards (`rollout_cluster`), the execution of steps and their deadline (`rollout_shard`). Pure.

    gates ──► dynamic variables in place, read back ──► replicas, one at a time ──► switchover
      │                                                                                │
      ▼ not met: Hold                     probe write ◄── verify ◄── the old primary ◄─┘

A shard that begins while another is not healthy, or without an acknowledger to lose, could end
without one: the gates are checked before every step that takes a member away, not only at the start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from operators.mysql_sharding.server_variables import normalized, variables

__all__ = [
    "Done",
    "Failed",
    "Hold",
    "MemberState",
    "ProbeWrite",
    "RestartMember",
    "RolloutStep",
    "SetGlobal",
    "ShardState",
    "SwitchOver",
    "next_steps",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberState:
    """One member: `values` are SELECT @@GLOBAL of each configured variable, by normalized name.

    `template_current` says that its pod is of the update revision apart from variables, `caught_up`
    that it is the primary or a replica that acknowledges and has applied everything. `restarted`
    says that its pod was created for the update revision: another restart changes nothing.
    """

    name: str
    ordinal: int
    template_current: bool
    reachable: bool
    caught_up: bool
    values: Mapping[str, str]
    failure: str = ""
    restarted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardState:
    """One shard: `wanted` are the variables of the update revision, as the server prints them.

    A variable that was removed from the configuration is in `wanted` with its default. `busy` names
    what forbids a change, such as a backup or a failover; "" for nothing. `written` says that a
    probe write succeeded after the last change.
    """

    name: str
    index: int
    primary: str
    acks: int
    members: tuple[MemberState, ...]
    wanted: Mapping[str, str]
    busy: str = ""
    prefer_in_place: bool = True
    written: bool = False


@dataclass(frozen=True, slots=True)
class SetGlobal:
    """SET GLOBAL on a running member; the next observation reads it back."""

    member: str
    variable: str
    value: str


@dataclass(frozen=True, slots=True)
class RestartMember:
    """Replace the pod of a member that is not the primary."""

    member: str
    why: str


@dataclass(frozen=True, slots=True)
class SwitchOver:
    """Request a planned switchover to an updated replica (`failover`)."""

    target: str


@dataclass(frozen=True, slots=True)
class ProbeWrite:
    """Write one row through the entry point of the shard."""

    shard: str


@dataclass(frozen=True, slots=True)
class Hold:
    """A gate is not met; `reason` names the member and the gate."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The revision does not work on a member: the rollout stops, and may be reverted."""

    member: str
    reason: str


@dataclass(frozen=True, slots=True)
class Done:
    """Every member runs the revision, verified."""


RolloutStep = SetGlobal | RestartMember | SwitchOver | ProbeWrite | Hold | Failed | Done


def next_steps(shard: ShardState) -> tuple[RolloutStep, ...]:
    """Return what to do next to bring a shard to its update revision; never empty."""
    outdated = [each for each in shard.members if _is_outdated(shard, each)]
    if (failed := _failed(shard)) is not None:
        return (failed,)
    broken = next((each for each in outdated if each.failure and not each.reachable), None)
    if (
        broken is not None
    ):  # it does not run: to restart it takes nothing away; a failover may need it
        return (RestartMember(broken.name, f"it does not run: {broken.failure}"),)
    if shard.busy:
        return (Hold(f"{shard.name}: {shard.busy}"),)
    if (gate := _gate(shard)) is not None:
        return (gate,)
    if not outdated:
        return (Done(),) if shard.written else (ProbeWrite(shard.name),)
    return _in_place(shard, outdated) or (_replace_next(shard, outdated),)


def _failed(shard: ShardState) -> Failed | None:
    """Return the member on which the revision does not work, None where there is none."""
    for member in shard.members:
        if member.failure and not _is_outdated(shard, member):
            return Failed(member.name, member.failure)
        differences = _differences(shard, member)
        if member.restarted and not _can_set(shard, differences):
            return Failed(
                member.name,
                "it was restarted, and still "
                + "; ".join(
                    f"{name} is {member.values.get(name, 'unknown')!r} instead of {value!r}"
                    for name, value in differences.items()
                ),
            )
    return None


def _can_set(shard: ShardState, differences: Mapping[str, str]) -> bool:
    """Return whether all differences can be changed without a restart; True for none."""
    return not differences or (
        shard.prefer_in_place and all(_is_dynamic(name) for name in differences)
    )


def _is_outdated(shard: ShardState, member: MemberState) -> bool:
    return not member.template_current or bool(_differences(shard, member))


def _differences(shard: ShardState, member: MemberState) -> dict[str, str]:
    """Return the variables that the member runs with another value; none where it is unknown."""
    if not member.reachable:
        return {}
    wanted = {normalized(name): value for name, value in shard.wanted.items()}
    return {name: value for name, value in wanted.items() if member.values.get(name) != value}


def _in_place(shard: ShardState, outdated: list[MemberState]) -> tuple[SetGlobal, ...]:
    """Return the changes that no restart is needed for: all of a member, or none of it."""
    steps: list[SetGlobal] = []
    for member in sorted(outdated, key=lambda each: each.name == shard.primary):
        differences = _differences(shard, member)
        if member.template_current and _can_set(shard, differences):
            steps += [SetGlobal(member.name, name, value) for name, value in differences.items()]
    return tuple(steps)


def _is_dynamic(name: str) -> bool:
    known = variables().get(name)
    return known is not None and known.dynamic


def _gate(shard: ShardState) -> Hold | None:
    """Return what forbids to take a member away."""
    for member in shard.members:
        if not member.reachable:
            return Hold(f"{shard.name}: {member.name} cannot be reached")
        if not member.caught_up:
            return Hold(f"{shard.name}: {member.name} has not applied everything")
    replicas = len(shard.members) - 1
    if 0 < replicas < shard.acks:
        return Hold(f"{shard.name}: {replicas} replicas cannot give {shard.acks} acknowledgements")
    return None


def _replace_next(shard: ShardState, outdated: list[MemberState]) -> RolloutStep:
    """Return the next member to restart: replicas first, the highest ordinal before the others."""
    replicas = sorted(
        (each for each in outdated if each.name != shard.primary),
        key=lambda each: each.ordinal,
        reverse=True,
    )
    if replicas:
        return RestartMember(replicas[0].name, "it is of an older revision")
    updated = [each for each in shard.members if each.name != shard.primary]
    if updated:
        return SwitchOver(min(updated, key=lambda each: each.ordinal).name)
    return RestartMember(shard.primary, "it is of an older revision, and the only member")
