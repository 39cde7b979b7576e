"""A model of a cluster with one PetSet: it executes plans, and its pods start and stop as time passes.

What belongs here: what each step does to a snapshot, and what a kubelet does then. What does not: a cluster. `plan`
shows people what a change would do by it, and tests run it with failures. Pure: time is a counter of seconds.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from operatorkit.revisions import Revision
from operators.petset.api import PetSet, RollbackStatus
from operators.petset.objects import claim_of, selector_text
from operators.petset.plan import Plan, plan
from operators.petset.state import Claim, Member, Snapshot
from operators.petset.status import fill_status
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
    ExpandClaim,
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

__all__ = ["Simulation", "describe"]


class Simulation:
    """A PetSet and its pods, from a snapshot on.

    `log` holds what happened to pods and claims, in order: "create web-0", "delete web-2", "deleted web-2".
    """

    def __init__(self, pets: PetSet, seen: Snapshot) -> None:
        self.pets = pets.model_copy(deep=True)
        self.now = seen.now
        self.members: dict[int, Member] = dict(seen.members)
        self.claims: dict[str, Claim] = dict(seen.claims)
        self.revisions: dict[str, Revision] = {
            revision.name: revision for revision in seen.revisions
        }
        self.log: list[str] = []
        self.last: Plan | None = None
        self._strays = {stray.pod: stray for stray in seen.strays}
        self._orphans = {orphan.pod: orphan for orphan in seen.orphans}
        self._occupied = seen.occupied
        self._orphan_revisions = {orphan.name: orphan for orphan in seen.orphan_revisions}
        self._serial = 0
        self._written: tuple[object, dict[str, Any]] | None = None

    def snapshot(self) -> Snapshot:
        """Return what `observe` would."""
        return Snapshot(
            name=self.pets.metadata.name,
            uid=self.pets.metadata.uid or "",
            spec=self.pets.spec,
            status=self.pets.status,
            template=self._template(),
            now=self.now,
            deleting=self.pets.metadata.deletion_timestamp is not None,
            members=dict(self.members),
            strays=tuple(self._strays.values()),
            orphans=tuple(self._orphans.values()),
            claims=dict(self.claims),
            revisions=tuple(self.revisions.values()),
            orphan_revisions=tuple(self._orphan_revisions.values()),
            occupied=self._occupied,
        )

    def _template(self) -> dict[str, Any]:
        """Return the template as JSON; it is written once for each object."""
        template = self.pets.spec.template
        if self._written is None or self._written[0] is not template:
            self._written = (template, self.pets.write()["spec"]["template"])
        return self._written[1]

    def sync(self) -> Plan:
        """Plan once, execute the plan, and write the status."""
        seen = self.snapshot()
        decided = plan(seen)
        for step in decided.steps:
            self.execute(step)
        fill_status(
            self.pets.status,
            seen,
            decided,
            selector=selector_text(self.pets),
            generation=self.pets.metadata.generation,
        )
        self.last = decided
        return decided

    def execute(self, step: Step) -> None:
        """Do what a step says."""
        match step:
            case CreateRevision(revision) | RenumberRevision(revision):
                self.revisions[revision.name] = revision
            case DeleteRevision(name):
                del self.revisions[name]
            case CreateClaim():
                self.create_claim(step)
            case SetClaimOwner(claim=claim, owner=owner, pod_uid=pod_uid):
                owner_uid = {"": "", "set": self.pets.metadata.uid or "", "pod": pod_uid}[owner]
                self.claims[claim.name] = replace(claim, owner=owner, owner_uid=owner_uid)
            case ExpandClaim(claim=claim, size=size):
                self.claims[claim.name] = replace(claim, requested=size, size=size)
                self.log.append(f"expand claim {claim.name} to {size}")
            case DeleteClaim(claim=claim):
                self.claims.pop(claim.name, None)
                self.log.append(f"delete claim {claim.name}")
            case CreateMember():
                self.create(step)
            case UpdateInPlace(member=member, revision=revision, override=override):
                self.members[member.ordinal] = replace(
                    member, revision=revision, override=override, ready=False, available_at=None
                )
                self.log.append(f"update {member.pod} in place")
            case EvictMember(member=member) | DeleteMember(member=member):
                self.members[member.ordinal] = replace(member, terminating=True)
                self.log.append(f"delete {member.pod}")
            case UnprotectMember(member=member):
                if member.ordinal in self.members:
                    self.members[member.ordinal] = replace(
                        self.members[member.ordinal], protected=False
                    )
            case RollBack(failed=failed, to=to, why=why):
                self.pets.status.rollback = RollbackStatus(
                    from_=failed, to=to, at=self.now, reason=why
                )
                self.log.append(f"roll back to {to}")
            case AdoptPod(orphan):
                del self._orphans[orphan.pod]
                self.log.append(f"adopt {orphan.pod}")
            case AdoptRevision(orphan):
                del self._orphan_revisions[orphan.name]
            case ReleasePod(member):
                del self._strays[member.pod]
                self.log.append(f"release {member.pod}")
            case RepairLabels(member):
                self.members[member.ordinal] = replace(member, labels_correct=True)
            case WaitFor():
                pass

    def create_claim(self, step: CreateClaim) -> None:
        """Create a claim that has what its template wants."""
        spec = claim_of(self.pets, step.template, step.ordinal, owner=step.owner)["spec"]
        size = str(((spec.get("resources") or {}).get("requests") or {}).get("storage") or "")
        self.claims[step.name] = Claim(
            name=step.name,
            uid=self.uid(),
            owner=step.owner,
            owner_uid=self.pets.metadata.uid or "" if step.owner == "set" else "",
            requested=size,
            requested_by_set=size,
            storage_class=spec.get("storageClassName") or "",
            access_modes=frozenset(spec.get("accessModes") or ()),
            volume_mode=spec.get("volumeMode") or "",
        )
        self.log.append(f"create claim {step.name}")

    def create(self, step: CreateMember) -> None:
        """Create a member; it becomes ready as time passes."""
        self.members[step.ordinal] = Member(
            pod=step.pod,
            ordinal=step.ordinal,
            uid=self.uid(),
            resource_version="1",
            revision=step.revision,
            override=step.override,
            protected=self.pets.spec.member_safety == "Strict",
        )
        self.log.append(f"create {step.pod}")

    def uid(self) -> str:
        """Return a uid that no object has."""
        self._serial += 1
        return f"simulated-{self._serial}"

    def pass_time(self, seconds: int = 1) -> bool:
        """Let terminating pods go and the others become ready; return whether anything changed."""
        self.now += timedelta(seconds=seconds)
        before = dict(self.members)
        for ordinal, member in before.items():
            after = self.after_a_while(member)
            if after is None:
                del self.members[ordinal]
                self._collect(member)
                self.log.append(f"deleted {member.pod}")
            else:
                self.members[ordinal] = after
        return before != self.members

    def after_a_while(self, member: Member) -> Member | None:
        """Return a pod as its kubelet has it a moment later; None when it is gone."""
        if member.terminating:
            return replace(member, releasable=True) if member.protected else None
        if member.ready or member.finished:
            return member
        available = self.now + timedelta(seconds=self.pets.spec.min_ready_seconds)
        return replace(
            member,
            phase="Running",
            ready=True,
            available_at=available,
            never_ready=False,
            failure=None,
        )

    def run(self, *, rounds: int = 200) -> list[str]:
        """Sync and let time pass until nothing changes; return what happened."""
        begin, quiet = len(self.log), 0
        for _ in range(rounds):
            before: tuple[Any, ...] = (len(self.log), dict(self.revisions))
            self.sync()
            changed = self.pass_time() or before != (len(self.log), self.revisions)
            quiet = 0 if changed else quiet + 1
            if quiet > self.pets.spec.min_ready_seconds + 2:
                break
        return self.log[begin:]

    def _collect(self, member: Member) -> None:
        for name, claim in list(self.claims.items()):
            if claim.owner == "pod" and claim.owner_uid == member.uid:
                del self.claims[name]
                self.log.append(f"collect claim {name}")


def describe(pets: PetSet, seen: Snapshot, *, rounds: int = 10_000) -> list[str]:
    """Return what a PetSet's spec would cause from a snapshot on, if every new pod became ready, in order."""
    return Simulation(pets, seen).run(rounds=rounds)
