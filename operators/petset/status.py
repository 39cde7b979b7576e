"""The status of a PetSet: counts, members, and what its conditions say.

What belongs here: what a snapshot and a plan mean to a reader. What does not: writing it. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from operatorkit.resource import write
from operatorkit.rollout import Phase
from operators.petset import reasons
from operators.petset.api import ClaimStatus, MemberStatus, PetSetStatus, RollbackStatus
from operators.petset.identity import claim_name
from operators.petset.plan import Plan
from operators.petset.state import Held, Member, Snapshot

__all__ = ["Report", "conditions_of", "fill_status"]

_MOST_MEMBERS = 500


@dataclass(frozen=True, slots=True)
class Report:
    """One condition, as `Context.condition` takes it."""

    type: str
    status: bool | None
    reason: str
    message: str


def fill_status(
    status: PetSetStatus, seen: Snapshot, plan: Plan, *, selector: str, generation: int | None
) -> None:
    """Fill a status with what was observed and decided; only `status` is changed."""
    before = _progress_marks(status)
    members = sorted(seen.members.values(), key=lambda member: member.ordinal)
    update, now = plan.target.update.name, seen.now
    status.observed_generation = generation
    status.replicas = len(members)
    status.ready_replicas = sum(member.ready and not member.terminating for member in members)
    status.available_replicas = sum(member.is_available(now) for member in members)
    status.current_revision = plan.current
    status.update_revision = update
    status.current_replicas = sum(
        member.revision == plan.current and not member.terminating for member in members
    )
    status.updated_replicas = sum(
        member.revision == update and not member.terminating for member in members
    )
    status.collision_count = plan.target.history.collision_count or None
    status.label_selector = selector
    ordinals = _shown(seen, plan)
    status.members = [_member_status(seen, ordinal) for ordinal in ordinals]
    status.volumes = list(_volumes(seen, ordinals))
    if not plan.target.rolled_back and not _rolls_back(status.rollback, plan):
        status.rollback = None
    if status.last_progress_time is None or _progress_marks(status) != before:
        status.last_progress_time = now.replace(microsecond=0)


def _rolls_back(rollback: RollbackStatus | None, plan: Plan) -> bool:
    """Return whether this plan has just decided on a rollback, which the next one will follow."""
    return rollback is not None and rollback.from_ == plan.target.history.update.name


def _progress_marks(status: PetSetStatus) -> tuple[object, ...]:
    """Return what changes when a rollout makes progress."""
    return (
        status.update_revision,
        status.replicas,
        status.ready_replicas,
        status.available_replicas,
        status.updated_replicas,
    )


def _member_status(seen: Snapshot, ordinal: int) -> MemberStatus:
    member = seen.members.get(ordinal)
    if member is None:
        return MemberStatus(ordinal=ordinal, pod=seen.pod(ordinal), phase="Missing")
    return MemberStatus(
        ordinal=ordinal,
        pod=member.pod,
        revision=member.revision,
        node=member.node,
        phase="Terminating" if member.terminating else member.phase,
        ready=member.ready and not member.terminating,
        reason=member.failure.reason if member.failure is not None else "",
    )


def _shown(seen: Snapshot, plan: Plan) -> list[int]:
    """Return the ordinals that the status lists: all, or in a large set those that are not as they are wanted.

    An object may have 1.5 MB: 5,000 members, with the managed fields of each, would be more.
    """
    ordinals = sorted({*plan.desired, *seen.members})
    if len(ordinals) <= _MOST_MEMBERS:
        return ordinals
    wanted = set(plan.desired)
    odd = (ordinal for ordinal in ordinals if ordinal not in wanted or _is_odd(seen, plan, ordinal))
    return list(islice(odd, _MOST_MEMBERS))


def _is_odd(seen: Snapshot, plan: Plan, ordinal: int) -> bool:
    member = seen.members.get(ordinal)
    return (
        member is None
        or not member.is_available(seen.now)
        or member.revision != plan.target.update.name
    )


def _volumes(seen: Snapshot, ordinals: Sequence[int]) -> Iterator[ClaimStatus]:
    bodies = [write(template) for template in seen.spec.volume_claim_templates]
    for ordinal in ordinals:
        for body in bodies:
            name = claim_name((body.get("metadata") or {}).get("name") or "", seen.name, ordinal)
            requests = ((body.get("spec") or {}).get("resources") or {}).get("requests") or {}
            claim = seen.claims.get(name)
            yield ClaimStatus(
                claim=name,
                size=claim.size if claim is not None else "",
                requested=str(requests.get("storage") or ""),
                phase=claim.phase if claim is not None else "Missing",
            )


def conditions_of(seen: Snapshot, plan: Plan, held: Sequence[Held] = ()) -> list[Report]:
    """Return Available, Progressing and Degraded; `held` are the steps that were not possible."""
    return [_available(seen, plan), _progressing(seen, plan, held), _degraded(seen, plan)]


def _available(seen: Snapshot, plan: Plan) -> Report:
    missing = [
        seen.pod(ordinal)
        for ordinal in plan.desired
        if (member := seen.members.get(ordinal)) is None or not member.is_available(seen.now)
    ]
    if missing:
        message = (
            f"{len(missing)} of {len(plan.desired)} members are not available: {_listed(missing)}"
        )
        return Report("Available", False, reasons.MEMBERS_UNAVAILABLE, message)
    return Report(
        "Available",
        True,
        reasons.ALL_MEMBERS_AVAILABLE,
        f"All {len(plan.desired)} members are available",
    )


def _progressing(seen: Snapshot, plan: Plan, held: Sequence[Held]) -> Report:
    if seen.deleting:
        waiting = plan.waiting
        message = (
            f"Waiting for {waiting.what}" if waiting is not None else "The members are removed"
        )
        return Report("Progressing", True, reasons.TERMINATING, message)
    if plan.stalled:
        limit = seen.spec.update_strategy.rolling_update.progress_deadline_seconds
        message = (
            f"No progress for {limit} s: {_failures(seen) or _held(held) or plan.decision.message}"
        )
        return Report("Progressing", False, reasons.PROGRESS_DEADLINE_EXCEEDED, message)
    if held:
        return Report("Progressing", True, _held_reason(held), f"Waiting for {_held(held)}")
    waiting = plan.waiting
    if plan.decision.phase is Phase.PAUSED and seen.spec.update_strategy.rolling_update.paused:
        return Report(
            "Progressing",
            None,
            reasons.PAUSED,
            "The update is paused: set rollingUpdate.paused to false",
        )
    if waiting is not None:
        return Report("Progressing", True, waiting.reason, f"Waiting for {waiting.what}")
    if plan.decision.phase is Phase.ROLLING:
        return Report("Progressing", True, reasons.PROGRESSING, plan.decision.message.capitalize())
    return Report("Progressing", True, reasons.COMPLETE, plan.decision.message.capitalize())


def _degraded(seen: Snapshot, plan: Plan) -> Report:
    failures = _failures(seen)
    if failures:
        return Report("Degraded", True, reasons.DEGRADED, failures)
    if plan.stalled:
        return Report("Degraded", True, reasons.PROGRESS_DEADLINE_EXCEEDED, plan.decision.message)
    return Report("Degraded", False, reasons.HEALTHY, "No member fails")


_REASONS_HELD = {
    "eviction": reasons.DISRUPTION_BUDGET,
    "gate": reasons.GATE_DENIED,
    "gate-failure": reasons.GATE_FAILED,
    "snapshot": reasons.SNAPSHOTTING,
    "expansion": reasons.EXPANSION_BLOCKED,
}


def _held_reason(held: Sequence[Held]) -> str:
    first = next((each for each in held if each.what != "expansion"), held[0])
    return _REASONS_HELD[first.what]


def _held(held: Sequence[Held]) -> str:
    """Return which evictions are waited for, else which claims, and why; "" for none."""
    evictions = [each for each in held if each.what != "expansion"]
    if evictions:
        return f"the eviction of {_listed([each.name for each in evictions])} to be allowed ({evictions[0].why})"
    return "; ".join(f"claim {each.name} to be expandable ({each.why})" for each in held[:1])


def _failures(seen: Snapshot) -> str:
    """Return the pods that fail, each with container, reason and message."""
    failing: list[Member] = [
        member for member in seen.members.values() if member.failure is not None
    ]
    return "; ".join(f"{member.pod}: {member.failure}" for member in failing[:3])


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
