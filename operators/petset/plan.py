"""What to do next for a PetSet: one pure decision, an ordered list of named steps.

What belongs here: the order of things and what blocks what. What does not: observing (`observe`), executing (`execute`)
and the status (`status`). Pure: time is in the snapshot.

                 deleted ──► remove members, highest ordinal first ──► (gone)
                 │
    snapshot ──► adopt, release ──► revisions ──► recreate? ──► create, ascending ──► scale down, descending
                                                      │                │ blocked             │ blocked
                                                      │                ▼                     ▼
                                                      │         repair one stuck member of an old revision
                                                      ▼
                                                   delete all old    expand claims ──► update, descending ──► truncate

A phase that blocks ends the plan with a WaitFor, but for the repair: in a set whose first member cannot start, a
corrected template would otherwise never reach it (kubernetes/kubernetes#67250).

Source: https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from operatorkit.revisions import truncated
from operatorkit.rollout import Decision, Phase, Policy, Unit, decide, is_stalled, scaled
from operators.petset import reasons
from operators.petset.identity import claim_name
from operators.petset.in_place import InPlaceChange, in_place_change
from operators.petset.state import Claim, ClaimOwner, Member, Snapshot
from operators.petset.steps import (
    AdoptPod,
    AdoptRevision,
    CreateClaim,
    CreateMember,
    CreateRevision,
    DeleteClaim,
    DeleteMember,
    DeleteRevision,
    EvictMember,
    ReleasePod,
    RenumberRevision,
    RepairLabels,
    RollBack,
    SetClaimOwner,
    Step,
    UnprotectMember,
    UpdateInPlace,
    WaitFor,
)
from operators.petset.target import Target, target_of
from operators.petset.template import (
    overridden,
    override_hash,
    template_of,
)
from operators.petset.volumes import next_expansion, outdated_claims, replaceable

__all__ = ["Plan", "plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The steps, in order, and what the status says of them."""

    steps: tuple[Step, ...]
    target: Target
    decision: Decision
    desired: tuple[int, ...]
    current: str
    stalled: bool = False
    recheck_at: datetime | None = None

    @property
    def waiting(self) -> WaitFor | None:
        """What blocks, if anything does."""
        return next((step for step in self.steps if isinstance(step, WaitFor)), None)


@dataclass(slots=True)
class _Draft:
    """A plan in the making."""

    seen: Snapshot
    target: Target
    desired: list[int]
    steps: list[Step] = field(default_factory=list)
    wanted: frozenset[int] = frozenset()
    recheck: list[datetime] = field(default_factory=list)
    replaceable: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def ordered(self) -> bool:
        return self.seen.spec.pod_management_policy == "OrderedReady"

    @property
    def partition(self) -> int:
        strategy = self.seen.spec.update_strategy
        return strategy.rolling_update.partition if strategy.type == "RollingUpdate" else 0

    def wait(
        self, what: str, reason: str = reasons.PROGRESSING, until: datetime | None = None
    ) -> bool:
        """Note what blocks; always True."""
        if until is not None:
            self.recheck.append(until)
        self.steps.append(WaitFor(what, reason, until))
        return True


def plan(seen: Snapshot) -> Plan:
    """Return what to do next for a PetSet as it was observed; with nothing to do, only a WaitFor or no step."""
    target = target_of(seen)
    desired = seen.desired()
    draft = _Draft(seen, target, desired, wanted=frozenset(desired), replaceable=replaceable(seen))
    _unprotect(draft)
    if seen.deleting:
        _remove_all(draft)
        return _finished(
            draft, Decision(phase=Phase.ROLLING, message="the PetSet is being deleted")
        )
    _adopt_and_release(draft)
    _record_revisions(draft)
    decision = decide(_units(draft), _policy(draft), now=seen.now)
    blocked = _recreate(draft, decision) or _create(draft) or _scale_down(draft)
    if blocked:
        _repair(draft, decision)
    else:
        _expand(draft)
        _replace_claims(draft)
        _update(draft, decision)
    stalled = _deadline(draft, decision)
    _truncate(draft)
    return _finished(draft, decision, stalled=stalled)


def _finished(draft: _Draft, decision: Decision, *, stalled: bool = False) -> Plan:
    """Return the plan; a rollout that is complete makes its revision the current one."""
    seen, target = draft.seen, draft.target
    complete = not seen.deleting and _is_complete(draft)
    return Plan(
        steps=tuple(draft.steps),
        target=target,
        decision=decision,
        desired=tuple(draft.desired),
        current=target.update.name if complete else target.current,
        stalled=stalled,
        recheck_at=min(draft.recheck, default=None),
    )


def _is_complete(draft: _Draft) -> bool:
    """Return whether all members, whatever the partition, are at the update revision and available."""
    seen = draft.seen
    wanted = [seen.members.get(ordinal) for ordinal in draft.desired]
    return len(seen.members) == len(wanted) and all(
        member is not None and _is_updated(draft, member) and member.is_available(seen.now)
        for member in wanted
    )


# Adoption and revisions -----------------------------------------------------------------------------------------------


def _unprotect(draft: _Draft) -> None:
    """Let go of terminating members whose containers are stopped, whatever else blocks."""
    for member in (*draft.seen.members.values(), *draft.seen.strays):
        lenient = draft.seen.spec.member_safety != "Strict"
        if member.protected and member.terminating and (member.releasable or lenient):
            draft.steps.append(UnprotectMember(member))


def _adopt_and_release(draft: _Draft) -> None:
    draft.steps += [AdoptRevision(orphan) for orphan in draft.seen.orphan_revisions]
    draft.steps += [AdoptPod(orphan) for orphan in draft.seen.orphans]
    draft.steps += [ReleasePod(member) for member in draft.seen.strays if not member.terminating]


def _record_revisions(draft: _Draft) -> None:
    history = draft.target.history
    if history.create:
        draft.steps.append(CreateRevision(history.update))
    elif history.renumber:
        draft.steps.append(RenumberRevision(history.update))


def _truncate(draft: _Draft) -> None:
    """Delete old revisions that nothing refers to."""
    seen, target = draft.seen, draft.target
    used = {target.update.name, target.history.update.name, target.current}
    used |= {member.revision for member in seen.members.values()}
    limit = seen.spec.revision_history_limit
    draft.steps += [
        DeleteRevision(old.name) for old in truncated(seen.revisions, used=used, limit=limit)
    ]


# Deletion -------------------------------------------------------------------------------------------------------------


def _remove_all(draft: _Draft) -> None:
    """Remove the members of a deleted set: highest ordinal first and one by one, or all at once."""
    members = sorted(draft.seen.members.values(), key=lambda member: member.ordinal, reverse=True)
    for member in members:
        if not member.terminating:
            draft.steps.append(DeleteMember(member, "the PetSet is deleted"))
        if draft.seen.spec.deletion == "Ordered":
            draft.wait(f"{member.pod} to be deleted", reasons.TERMINATING)
            return
    if members:
        draft.wait(
            f"{', '.join(member.pod for member in members)} to be deleted", reasons.TERMINATING
        )


# Creation -------------------------------------------------------------------------------------------------------------


def _create(draft: _Draft) -> bool:
    """Create missing members and repair the others, ascending; return whether that blocks.

    Parallel never blocks: what is unavailable counts against the budget of the update.
    """
    for rank, ordinal in enumerate(draft.desired):
        member = draft.seen.members.get(ordinal)
        waits = _create_one(draft, rank, ordinal) if member is None else _keep_one(draft, member)
        if waits and draft.ordered:
            return True
    return False


def _create_one(draft: _Draft, rank: int, ordinal: int) -> bool:
    """Create the claims and the pod of a member that does not exist."""
    seen = draft.seen
    pod = seen.pod(ordinal)
    if pod in seen.occupied:
        return draft.wait(
            f"pod {pod}, which another owner controls, to be deleted", reasons.NAME_CONFLICT
        )
    for template in _claim_templates(seen):
        name = claim_name(template, seen.name, ordinal)
        claim = seen.claims.get(name)
        if claim is not None and claim.terminating:
            return draft.wait(f"claim {name}, which is being deleted, to be deleted")
        if claim is not None and (why := _why_replaced(draft, ordinal, claim)):
            draft.steps.append(DeleteClaim(claim, why))
            return draft.wait(f"claim {name}, which is replaced, to be deleted")
        if claim is None:
            draft.steps.append(CreateClaim(ordinal, template, name, _claim_owner(seen)))
        elif (
            claim.owner == "pod"
        ):  # left by a pod that was scaled down: it would be collected below its new one
            draft.steps.append(SetClaimOwner(claim, _claim_owner(seen)))
    revision = draft.target.current if rank < draft.partition else draft.target.update.name
    draft.steps.append(CreateMember(ordinal, pod, revision, override_hash(seen.patches(ordinal))))
    return draft.wait(f"{pod} to become available")


def _why_replaced(draft: _Draft, ordinal: int, claim: Claim) -> str:
    """Return why the claim of a member that has no pod is to be replaced now, "" where it is kept.

    A claim with data is kept while another member is unavailable, which may need this one's copy.
    """
    seen = draft.seen
    outdated = outdated_claims(seen, ordinal, draft.replaceable)
    why = next((why for old, why in outdated if old is claim), "")
    return why if why and (claim.phase != "Bound" or _others_available(draft, ordinal)) else ""


def _others_available(draft: _Draft, ordinal: int) -> bool:
    """Return whether all desired members but one are available."""
    members = draft.seen.members
    return all(
        (member := members.get(each)) is not None and member.is_available(draft.seen.now)
        for each in draft.desired
        if each != ordinal
    )


def _keep_one(draft: _Draft, member: Member) -> bool:
    """Repair what an existing member lacks; return whether it is not available."""
    seen = draft.seen
    if member.terminating:
        return draft.wait(f"{member.pod}, which is terminating, to be deleted")
    if member.finished:
        draft.steps.append(DeleteMember(member, f"its pod has ended ({member.phase})"))
        return draft.wait(f"{member.pod} to be deleted")
    if not member.labels_correct:
        draft.steps.append(RepairLabels(member))
    for template in _claim_templates(seen):
        name = claim_name(template, seen.name, member.ordinal)
        claim = seen.claims.get(name)
        if claim is None and member.phase == "Pending":
            draft.steps.append(CreateClaim(member.ordinal, template, name, _claim_owner(seen)))
        elif claim is not None:
            _set_claim_owner(draft, claim, _claim_owner(seen), member)
    if member.is_available(seen.now):
        return False
    until = (
        member.available_at
        if member.available_at is not None and member.available_at > seen.now
        else None
    )
    return draft.wait(f"{member.pod} to become available{_because(member)}", until=until)


def _because(member: Member) -> str:
    return f" ({member.failure})" if member.failure is not None else ""


def _claim_templates(seen: Snapshot) -> Iterator[str]:
    for template in seen.spec.volume_claim_templates:
        if template.metadata is not None and template.metadata.name:
            yield template.metadata.name


def _claim_owner(seen: Snapshot) -> ClaimOwner:
    """Return with whom the claim of a wanted member is collected."""
    return (
        "set" if seen.spec.persistent_volume_claim_retention_policy.when_deleted == "Delete" else ""
    )


def _set_claim_owner(draft: _Draft, claim: Claim, owner: ClaimOwner, member: Member) -> None:
    wanted_uid = {"": "", "set": draft.seen.uid, "pod": member.uid}[owner]
    if (claim.owner, claim.owner_uid) != (owner, wanted_uid) and not claim.terminating:
        draft.steps.append(SetClaimOwner(claim, owner, member.pod, member.uid))


# Scale-down -----------------------------------------------------------------------------------------------------------


def _scale_down(draft: _Draft) -> bool:
    """Remove members that are not wanted, descending; return whether that blocks."""
    seen = draft.seen
    condemned = [
        member for ordinal, member in sorted(seen.members.items()) if ordinal not in draft.wanted
    ]
    for member in reversed(condemned):
        _release_claims(draft, member)
        if not member.terminating:
            if draft.ordered and (others := _unavailable_but(draft, member)):
                return draft.wait(
                    f"{', '.join(others)} to become available before {member.pod} is removed"
                )
            draft.steps.append(_removal(draft, member, f"replicas is {seen.spec.replicas}"))
        if draft.ordered:
            return draft.wait(f"{member.pod} to be deleted")
    return bool(condemned) and draft.wait(
        f"{', '.join(member.pod for member in condemned)} to be deleted"
    )


def _release_claims(draft: _Draft, member: Member) -> None:
    """Let the claims of a member that goes be collected with its pod, where the policy says so: before the pod goes."""
    seen = draft.seen
    with_pod = seen.spec.persistent_volume_claim_retention_policy.when_scaled == "Delete"
    for template in _claim_templates(seen):
        claim = seen.claims.get(claim_name(template, seen.name, member.ordinal))
        if claim is not None:
            _set_claim_owner(draft, claim, "pod" if with_pod else _claim_owner(seen), member)


def _unavailable_but(draft: _Draft, but: Member) -> list[str]:
    """Return the other members that are waited for before one is removed.

    StatefulSet waits for unwanted members that cannot start too, and so for ever where there are two of them.
    """
    return [
        each.pod
        for each in draft.seen.members.values()
        if each is not but
        and not each.is_available(draft.seen.now)
        and (each.ordinal in draft.wanted or not _is_stuck(each))
    ]


def _removal(draft: _Draft, member: Member, why: str, snapshot: str = "") -> Step:
    """Return how a member is removed: an available one is evicted, so that budgets hold."""
    if member.is_available(draft.seen.now):
        return EvictMember(member, why, snapshot)
    return DeleteMember(member, why)


# Updates --------------------------------------------------------------------------------------------------------------


def _units(draft: _Draft) -> list[Unit]:
    return [_unit(draft, rank, ordinal) for rank, ordinal in enumerate(draft.desired)]


def _unit(draft: _Draft, rank: int, ordinal: int) -> Unit:
    seen = draft.seen
    member = seen.members.get(ordinal)
    if member is None:
        return Unit(name=seen.pod(ordinal), rank=rank, updated=True, available=False, exists=False)
    return Unit(
        name=member.pod,
        rank=rank,
        updated=_is_updated(draft, member),
        available=member.is_available(seen.now),
        terminating=member.terminating,
        stuck=_is_stuck(member),
    )


def _is_stuck(member: Member) -> bool:
    """Return whether a member has ended, never became ready at its revision, or is known to be unable to."""
    return (
        member.finished or member.failure is not None or (not member.ready and member.never_ready)
    )


def _is_updated(draft: _Draft, member: Member) -> bool:
    wanted = override_hash(draft.seen.patches(member.ordinal))
    return member.revision == draft.target.update.name and member.override == wanted


def _policy(draft: _Draft) -> Policy:
    spec = draft.seen.spec
    rolling = spec.update_strategy.rolling_update
    return Policy(
        partition=draft.partition,
        max_unavailable=scaled(rolling.max_unavailable, spec.replicas),
        paused=rolling.paused or spec.update_strategy.type == "OnDelete",
        recreate=spec.update_strategy.type == "Recreate",
    )


def _recreate(draft: _Draft, decision: Decision) -> bool:
    """With Recreate, delete all old members and wait until none is left before any is created."""
    if draft.seen.spec.update_strategy.type != "Recreate" or decision.phase is not Phase.ROLLING:
        return False
    by_name = {member.pod: member for member in draft.seen.members.values()}
    old = [by_name[name] for name in decision.replace]
    draft.steps += [
        _removal(draft, member, _why_updated(draft), _snapshot(draft, member)) for member in old
    ]
    leaving = [*old, *(member for member in by_name.values() if member.terminating)]
    return bool(leaving) and draft.wait(
        f"{', '.join(member.pod for member in leaving)} to be deleted"
    )


def _repair(draft: _Draft, decision: Decision) -> None:
    """Replace one stuck member of an old revision, though another phase blocks."""
    member = next(
        (each for each in draft.seen.members.values() if each.pod == decision.repair), None
    )
    taken = any(isinstance(step, DeleteMember | EvictMember) for step in draft.steps)
    if member is not None and not taken:
        why = f"it cannot become available at revision {member.revision}{_because(member)}"
        draft.steps.append(DeleteMember(member, why))


def _update(draft: _Draft, decision: Decision) -> None:
    """Replace members of old revisions, highest rank first, within the budget."""
    if draft.seen.spec.update_strategy.type == "Recreate":
        return
    _repair(draft, decision)
    by_name = {member.pod: member for member in draft.seen.members.values()}
    for name in decision.replace:
        _replace(draft, by_name[name])
    if decision.until is not None:
        draft.wait(decision.message, until=decision.until)


def _replace(draft: _Draft, member: Member) -> None:
    """Bring one member to the update revision: in place where that is asked for and possible, else by a new pod."""
    in_place = draft.seen.spec.update_strategy.rolling_update.in_place
    if in_place != "Never":
        change = _in_place_change(draft, member)
        if change is not None:
            override = override_hash(draft.seen.patches(member.ordinal))
            may_recreate = in_place == "IfPossible"
            draft.steps.append(
                UpdateInPlace(
                    member,
                    draft.target.update.name,
                    override,
                    change,
                    may_recreate,
                    _snapshot(draft, member),
                )
            )
            return
        if in_place == "Only":
            draft.wait(
                f"a change that can be made in place: {member.pod} would have to be recreated, "
                f"since not only images, resources, labels and annotations change; set inPlace "
                f"to IfPossible",
                reasons.IN_PLACE_ONLY,
            )
            return
    draft.steps.append(EvictMember(member, _why_updated(draft), _snapshot(draft, member)))


def _snapshot(draft: _Draft, member: Member) -> str:
    """Return what the names of snapshots before this update of a member end in, "" where none are wanted.

    The number of a revision is another one for each rollout, also for one that goes back.
    """
    if not draft.seen.spec.snapshot_before_update:
        return ""
    override = override_hash(draft.seen.patches(member.ordinal))
    number = str(draft.target.history.update.number)
    back = "-rollback" if draft.target.rolled_back else ""
    return f"{number}{back}" + (f"-{override}" if override else "")


def _in_place_change(draft: _Draft, member: Member) -> InPlaceChange | None:
    """Return the patches of a member's pod, or None where the change needs a new pod.

    What the member's pod was made from is known only while its override is the one that it still has.
    """
    old = next((each for each in draft.seen.revisions if each.name == member.revision), None)
    patches = draft.seen.patches(member.ordinal)
    if old is None or member.override != override_hash(patches):
        return None
    new = overridden(template_of(draft.target.update.data), patches)
    return in_place_change(overridden(template_of(old.data), patches), new)


def _why_updated(draft: _Draft) -> str:
    return f"it is updated to revision {draft.target.update.name}"


# Volumes --------------------------------------------------------------------------------------------------------------


def _expand(draft: _Draft) -> None:
    """Let the claims of one member grow; its restart, where the file system needs one, waits for the others."""
    expansion = next_expansion(draft.seen, draft.desired)
    if expansion is None:
        return
    if expansion.recheck_at is not None:
        draft.recheck.append(expansion.recheck_at)
    if isinstance(expansion.step, EvictMember) and _unavailable_but(draft, expansion.step.member):
        draft.wait(
            f"all members to be available before {expansion.step.member.pod} is restarted",
            reasons.EXPANDING,
        )
        return
    if expansion.step is not None:
        draft.steps.append(expansion.step)
    draft.wait(expansion.waiting_for, reasons.EXPANDING)


def _replace_claims(draft: _Draft) -> None:
    """Remove one member whose claims are to be replaced, highest ordinal first; they are deleted when it is gone."""
    for ordinal in reversed(draft.desired) if draft.replaceable else ():
        outdated = outdated_claims(draft.seen, ordinal, draft.replaceable)
        member = draft.seen.members.get(ordinal)
        if not outdated or member is None or member.terminating:
            continue
        if any(claim.phase == "Bound" for claim, _ in outdated) and not _others_available(
            draft, ordinal
        ):
            draft.wait(
                f"all members to be available before the claims of {member.pod} are replaced",
                reasons.REPLACING_CLAIMS,
            )
            return
        claim, why = outdated[0]
        draft.steps.append(
            _removal(
                draft, member, f"claim {claim.name} is replaced: {why}", _snapshot(draft, member)
            )
        )
        draft.wait(f"claim {claim.name} to be replaced ({why})", reasons.REPLACING_CLAIMS)
        return


# The deadline ---------------------------------------------------------------------------------------------------------


def _deadline(draft: _Draft, decision: Decision) -> bool:
    """Return whether the rollout is stalled; roll back where that is asked for, and look again when it may be."""
    seen, target = draft.seen, draft.target
    rolling = seen.spec.update_strategy.rolling_update
    deadline = timedelta(seconds=rolling.progress_deadline_seconds)
    progressed_at = seen.status.last_progress_time
    if progressed_at is None or decision.phase is not Phase.ROLLING:
        return False
    if not is_stalled(decision, progressed_at=progressed_at, deadline=deadline, now=seen.now):
        draft.recheck.append(progressed_at + deadline)
        return False
    if rolling.auto_rollback and not target.rolled_back and target.current != target.update.name:
        failures = [
            f"{each.pod}: {each.failure}"
            for each in seen.members.values()
            if each.failure is not None
        ]
        why = "; ".join(failures) or decision.message
        draft.steps.append(RollBack(target.update.name, target.current, why))
    return True
