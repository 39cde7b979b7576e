"""Ordered rolling updates as a decision: which units are replaced next, and what is waited for.

What belongs here: order, partition, budget, the repair of stuck units, canary and bake, pause,
deadline. What does not: what a unit is, how it is replaced, and how its state is observed (an
operator); the history of revisions (`operatorkit.revisions`). Pure: time is an argument.

              ┌────────────────────────── paused ──────────────────────────┐
              ▼                                                            │
    Paused  Rolling ── a stuck unit of an old revision ──► replace it, outside the budget
              │    ── the canary is not proved yet ──────► wait (until, if it bakes)
              │    ── budget is used up ─────────────────► wait for the unavailable units
              │    ── budget is left ────────────────────► replace available units, highest rank first
              ├────── all at or above the partition ─────► Partitioned
              └────── all units updated and available ───► Complete

A unit that was available and is briefly not, as in a network partition, is never replaced outside
the budget: to do so could take the quorum of a cluster that would have healed by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

__all__ = ["Decision", "Phase", "Policy", "Unit", "decide", "is_stalled", "scaled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One unit of a rollout: a member of a set, or a shard.

    `rank` is its position; higher ranks are updated first. A unit that does not exist has `exists`
    False and counts as unavailable. `stuck` says that it cannot become available at its revision
    without being replaced. `available_since` is when it became available, where a canary has to
    bake.
    """

    name: str
    rank: int
    updated: bool
    available: bool
    exists: bool = True
    terminating: bool = False
    stuck: bool = False
    available_since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How a rollout goes on.

    Units with a rank below `partition` keep their revision. At most `max_unavailable` units are
    unavailable because of the rollout. The first `canary` units must be available for `bake` before
    any other is replaced. With `recreate`, all are replaced at once.
    """

    partition: int = 0
    max_unavailable: int = 1
    paused: bool = False
    recreate: bool = False
    canary: int = 0
    bake: timedelta = timedelta(0)


class Phase(StrEnum):
    """Where a rollout stands."""

    COMPLETE = "Complete"
    PARTITIONED = "Partitioned"
    ROLLING = "Rolling"
    PAUSED = "Paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do next.

    `repair` names the stuck unit that is replaced outside the budget, `replace` the available units
    to replace now, in order; `waiting_for` the units whose availability is waited for, and `until`
    when a bake is over. `message` says the same in a sentence.
    """

    phase: Phase
    repair: str | None = None
    replace: tuple[str, ...] = ()
    waiting_for: tuple[str, ...] = ()
    until: datetime | None = None
    message: str = ""


def decide(units: Iterable[Unit], policy: Policy, *, now: datetime) -> Decision:
    """Decide the next steps of a rollout; the order of `units` does not matter."""
    ordered = sorted(units, key=lambda unit: unit.rank, reverse=True)
    unavailable = tuple(unit.name for unit in ordered if _is_unavailable(unit))
    if not unavailable and all(unit.updated for unit in ordered):
        return Decision(phase=Phase.COMPLETE, message="all units are updated and available")
    if policy.paused:
        return Decision(
            phase=Phase.PAUSED, waiting_for=unavailable, message="the rollout is paused"
        )
    outdated = [
        unit
        for unit in ordered
        if unit.rank >= policy.partition and unit.exists and not unit.updated
    ]
    if not outdated and not unavailable:
        message = (
            f"all units at or above the partition {policy.partition} are updated and available"
        )
        return Decision(phase=Phase.PARTITIONED, message=message)
    if policy.recreate:
        return _recreate(ordered, outdated, unavailable)
    repair = _repair(ordered, outdated)
    if repair is not None:
        return Decision(
            phase=Phase.ROLLING,
            repair=repair,
            waiting_for=unavailable,
            message=f"{repair} cannot become available at its revision and is replaced",
        )
    canaries = [unit for unit in ordered if unit.rank >= policy.partition][: policy.canary]
    if any(not unit.updated for unit in canaries):
        outdated = [unit for unit in outdated if unit in canaries]
    elif outdated and (held := _held_by_canary(canaries, policy, now)) is not None:
        return held
    allowed = max(1, policy.max_unavailable) - len(unavailable)
    candidates = [unit.name for unit in outdated if not _is_unavailable(unit)]
    chosen = tuple(candidates[: max(0, allowed)])
    return Decision(
        phase=Phase.ROLLING,
        replace=chosen,
        waiting_for=unavailable,
        message=_message(chosen, unavailable),
    )


def is_stalled(
    decision: Decision, *, progressed_at: datetime, deadline: timedelta, now: datetime
) -> bool:
    """Return whether a rollout that is under way has made no progress for `deadline`."""
    return decision.phase is Phase.ROLLING and now - progressed_at >= deadline


def scaled(value: int | str, total: int) -> int:
    """Return a number, or a percentage of `total` such as "25%", rounded down; at least 1.

    Raises ValueError for any other text.
    """
    if isinstance(value, str):
        digits = value.removesuffix("%")
        if digits == value or not digits.isascii() or not digits.isdecimal():
            raise ValueError(f'{value!r} is neither a number nor a percentage such as "25%"')
        value = int(digits) * total // 100
    return max(1, value)


def _is_unavailable(unit: Unit) -> bool:
    return unit.terminating or not unit.exists or not unit.available


def _recreate(
    ordered: Sequence[Unit], outdated: Sequence[Unit], unavailable: tuple[str, ...]
) -> Decision:
    chosen = tuple(unit.name for unit in outdated if not unit.terminating)
    leaving = tuple(unit.name for unit in ordered if unit.terminating)
    message = _message(chosen, leaving or unavailable)
    return Decision(
        phase=Phase.ROLLING, replace=chosen, waiting_for=leaving or unavailable, message=message
    )


def _repair(ordered: Sequence[Unit], outdated: Sequence[Unit]) -> str | None:
    """Return the stuck unit to replace: one at a time, so nothing else may be on its way out."""
    if any(unit.terminating for unit in ordered):
        return None
    return next((unit.name for unit in outdated if unit.stuck and not unit.available), None)


def _held_by_canary(canaries: Sequence[Unit], policy: Policy, now: datetime) -> Decision | None:
    """Return what is waited for while the first updated units have to prove themselves."""
    unproved = tuple(unit.name for unit in canaries if _is_unavailable(unit))
    if unproved:
        message = f"waiting for the canary {', '.join(unproved)} to become available"
        return Decision(phase=Phase.ROLLING, waiting_for=unproved, message=message)
    since = max((unit.available_since or now for unit in canaries), default=now)
    until = since + policy.bake
    if until <= now:
        return None
    names = tuple(unit.name for unit in canaries)
    return Decision(
        phase=Phase.ROLLING,
        waiting_for=names,
        until=until,
        message=f"the canary {', '.join(names)} must stay available for {policy.bake.total_seconds():g} s",
    )


def _message(chosen: tuple[str, ...], unavailable: tuple[str, ...]) -> str:
    if chosen:
        return f"replacing {', '.join(chosen)}"
    if unavailable:
        return f"waiting for {', '.join(unavailable)} to become available"
    return "no unit is to be replaced"
