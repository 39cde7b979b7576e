"""The next step of a rollout, as a pure decision.

What belongs here: the arithmetic of RollingUpdate and Recreate. What does not: ReplicaSets as objects, and writes.

Unlike Kubernetes, a change of the number of replicas in the middle of a rollout is not spread over old and new sets in
proportion: the new set takes the difference as far as surge allows.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#strategy
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

__all__ = ["Limits", "Size", "recreate", "rolling_update"]


@dataclass(frozen=True, slots=True)
class Size:
    """One ReplicaSet: how many pods it is asked for, has, and has available."""

    name: str
    wanted: int
    actual: int = 0
    available: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """What a Deployment asks for, and how far a rollout may stray from it."""

    desired: int
    surge: int
    unavailable: int

    @property
    def most(self) -> int:
        """How many pods there may be."""
        return self.desired + self.surge

    @property
    def least_available(self) -> int:
        """How many pods must be available."""
        return self.desired - self.unavailable


def rolling_update(limits: Limits, new: Size, old: Sequence[Size]) -> Mapping[str, int]:
    """Return the new sizes, by name, of the sets that change now; `old` is sorted from oldest to newest."""
    grown = _grow(limits, new, old)
    if grown != new.wanted:
        return {new.name: grown}
    return _shrink(limits, new, old)


def _grow(limits: Limits, new: Size, old: Sequence[Size]) -> int:
    if new.wanted >= limits.desired:
        return limits.desired
    left = limits.most - new.wanted - sum(one.wanted for one in old)
    return min(limits.desired, new.wanted + max(0, left))


def _shrink(limits: Limits, new: Size, old: Sequence[Size]) -> Mapping[str, int]:
    total = new.wanted + sum(one.wanted for one in old)
    may_go = total - limits.least_available - max(0, new.wanted - new.available)
    if may_go <= 0:
        return {}
    # Pods that are not available go first: nothing is lost with them.
    sizes = []
    for one in old:
        sick = min(may_go, max(0, one.wanted - one.available))
        may_go -= sick
        sizes.append(replace(one, wanted=one.wanted - sick))
    spare = (
        new.available
        + sum(min(one.available, one.wanted) for one in sizes)
        - limits.least_available
    )
    result = {}
    for before, one in zip(old, sizes, strict=True):
        step = min(one.wanted, max(0, spare))
        spare -= step
        if one.wanted - step != before.wanted:
            result[one.name] = one.wanted - step
    return result


def recreate(desired: int, new: Size | None, old: Sequence[Size]) -> Mapping[str, int]:
    """Return the new sizes: nothing of the old before anything of the new."""
    running = {one.name: 0 for one in old if one.wanted}
    if running or any(one.actual for one in old):
        return running
    return {new.name: desired} if new is not None and new.wanted != desired else {}
