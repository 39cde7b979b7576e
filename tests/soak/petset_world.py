"""A model of a cluster with one PetSet: it executes plans, and its pods live or fail as a test says.

Time is a counter of seconds; `log` holds what happened to pods and claims, in order.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from operatorkit.revisions import Revision
from operators.petset.api import PetSet, RollbackStatus
from operators.petset.identity import claim_name
from operators.petset.objects import selector_text
from operators.petset.plan import Plan, plan
from operators.petset.state import Claim, Failure, Member, Snapshot
from operators.petset.status import fill_status
from operators.petset.steps import (
    CreateClaim,
    CreateMember,
    CreateRevision,
    DeleteMember,
    DeleteRevision,
    EvictMember,
    RenumberRevision,
    RollBack,
    SetClaimOwner,
    UnprotectMember,
    UpdateInPlace,
)
from operators.petset.template import template_of

START = datetime(2026, 1, 1, tzinfo=UTC)


def petset(name: str = "web", **spec: Any) -> PetSet:
    """Return a PetSet; `image` is that of its one container."""
    image = spec.pop("image", "web:1")
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": image}]}}
    body = {"replicas": 3, "selector": {"matchLabels": labels}, "template": template, **spec}
    return PetSet.read(
        {
            "apiVersion": PetSet.api_version,
            "kind": "PetSet",
            "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}", "generation": 1},
            "spec": body,
        }
    )


class World:
    """A PetSet and its pods; `broken` are images that never become ready."""

    def __init__(self, pets: PetSet, *, broken: set[str] | None = None) -> None:
        self.pets = pets
        self.broken = broken or set()
        self.now = START
        self.members: dict[int, Member] = {}
        self.images: dict[str, str] = {}
        self.claims: dict[str, Claim] = {}
        self.revisions: dict[str, Revision] = {}
        self.log: list[str] = []
        self.last: Plan | None = None
        self._serial = 0

    def change(self, **spec: Any) -> None:
        """Change fields of the spec; `image` changes the template."""
        written = self.pets.write()
        if "image" in spec:
            written["spec"]["template"]["spec"]["containers"][0]["image"] = spec.pop("image")
        written["spec"].update(spec)
        status = self.pets.status
        self.pets = PetSet.read(written)
        self.pets.status = status

    def delete(self) -> None:
        """Delete the PetSet: its finalizer keeps it."""
        self.pets.metadata.deletion_timestamp = self.now

    def snapshot(self) -> Snapshot:
        """Return what `observe` would."""
        return Snapshot(
            name=self.pets.metadata.name,
            uid=self.pets.metadata.uid or "",
            spec=self.pets.spec,
            status=self.pets.status,
            template=self.pets.write()["spec"]["template"],
            now=self.now,
            deleting=self.pets.metadata.deletion_timestamp is not None,
            members=dict(self.members),
            claims=dict(self.claims),
            revisions=tuple(self.revisions.values()),
        )

    def sync(self) -> Plan:
        """Plan once and execute the plan."""
        seen = self.snapshot()
        decided = plan(seen)
        for step in decided.steps:
            self.execute(step)
        fill_status(self.pets.status, seen, decided, selector=selector_text(self.pets), generation=1)
        self.last = decided
        return decided

    def execute(self, step: object) -> None:
        """Do what a step says."""
        match step:
            case CreateRevision(revision) | RenumberRevision(revision):
                self.revisions[revision.name] = revision
            case DeleteRevision(name):
                del self.revisions[name]
            case CreateClaim(ordinal=ordinal, template=template, name=name, owner=owner):
                assert name == claim_name(template, self.pets.metadata.name, ordinal)
                uid = self.pets.metadata.uid or "" if owner == "set" else ""
                self.claims[name] = Claim(name=name, uid=self.uid(), owner=owner, owner_uid=uid)
                self.log.append(f"create claim {name}")
            case SetClaimOwner(claim=claim, owner=owner, pod_uid=pod_uid):
                uid = {"": "", "set": self.pets.metadata.uid or "", "pod": pod_uid}[owner]
                self.claims[claim.name] = replace(claim, owner=owner, owner_uid=uid)
            case CreateMember():
                self.create(step)
            case UpdateInPlace(member=member, revision=revision, override=override):
                self.members[member.ordinal] = replace(
                    member, revision=revision, override=override, ready=False, available_at=None
                )
                self.images[member.uid] = self.image_of(revision)
                self.log.append(f"update {member.pod}")
            case EvictMember(member=member) | DeleteMember(member=member):
                assert self.members[member.ordinal].uid == member.uid
                self.members[member.ordinal] = replace(member, terminating=True)
                self.log.append(f"delete {member.pod}")
            case UnprotectMember(member=member):
                self.members[member.ordinal] = replace(self.members[member.ordinal], protected=False)
            case RollBack(failed=failed, to=to, why=why):
                self.pets.status.rollback = RollbackStatus(from_=failed, to=to, at=self.now, reason=why)

    def create(self, step: CreateMember) -> None:
        assert step.ordinal not in self.members, f"two pods named {step.pod}"
        uid = self.uid()
        self.members[step.ordinal] = Member(
            pod=step.pod,
            ordinal=step.ordinal,
            uid=uid,
            resource_version="1",
            revision=step.revision,
            override=step.override,
            protected=self.pets.spec.member_safety == "Strict",
        )
        self.images[uid] = self.image_of(step.revision)
        self.log.append(f"create {step.pod}")

    def image_of(self, revision: str) -> str:
        return template_of(self.revisions[revision].data)["spec"]["containers"][0]["image"]

    def uid(self) -> str:
        self._serial += 1
        return f"uid-{self._serial}"

    def kubelet(self, seconds: int = 1) -> bool:
        """Let time pass: terminating pods go, others become ready, but for broken ones; tell whether any changed."""
        self.now += timedelta(seconds=seconds)
        before = dict(self.members)
        for ordinal, member in before.items():
            if member.terminating:
                if member.protected:
                    self.members[ordinal] = replace(member, releasable=True)
                    continue
                del self.members[ordinal]
                self.collect(member)
                self.log.append(f"gone {member.pod}")
            elif self.images[member.uid] in self.broken:
                failure = Failure("ImagePullBackOff", "no such image", "app")
                self.members[ordinal] = replace(member, failure=failure)
            elif not member.ready and not member.finished:
                available = self.now + timedelta(seconds=self.pets.spec.min_ready_seconds)
                self.members[ordinal] = replace(
                    member, phase="Running", ready=True, available_at=available, never_ready=False, failure=None
                )
        return before != self.members

    def collect(self, member: Member) -> None:
        for name, claim in list(self.claims.items()):
            if claim.owner == "pod" and claim.owner_uid == member.uid:
                del self.claims[name]
                self.log.append(f"collect claim {name}")

    def run(self, *, rounds: int = 200) -> list[str]:
        """Sync and let time pass until nothing changes; return what happened."""
        begin = len(self.log)
        quiet = 0
        for _ in range(rounds):
            size, steps = len(self.log), len(self.revisions)
            self.sync()
            changed = self.kubelet() or len(self.log) != size or len(self.revisions) != steps
            quiet = 0 if changed else quiet + 1
            if quiet > self.pets.spec.min_ready_seconds + 2:
                break
        return self.log[begin:]

    def states(self) -> dict[str, str]:
        """Return the image of each member, or what is wrong with it."""
        return {
            member.pod: self.images[member.uid] if member.ready else f"{self.images[member.uid]} not ready"
            for _, member in sorted(self.members.items())
        }
