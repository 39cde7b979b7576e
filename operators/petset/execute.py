"""Executing a plan: one request for each step, in order.

What belongs here: the requests, and the Event for each. What does not: choosing the steps (`plan`). A step that
has been done already, by a run that died, is done again without harm: names are fixed, deletions name the uid.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from kubernetes.client.models import (
    V1ControllerRevision,
    V1Node,
    V1PersistentVolumeClaim,
    V1Pod,
    V1StorageClass,
)

from operatorkit import Context
from operatorkit.cluster import PatchType
from operatorkit.errors import (
    AlreadyExists,
    ClusterError,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Throttled,
)
from operatorkit.events import Notice, Reference
from operatorkit.names import ApiResource
from operatorkit.resource import api_resource_of
from operators.petset import reasons
from operators.petset.api import Gate, PetSet, RollbackStatus
from operators.petset.gates import Verdict, evaluate
from operators.petset.identity import (
    ANNOTATION_OVERRIDE,
    ANNOTATION_REQUESTED,
    FINALIZER,
    LABEL_REVISION,
    claim_name,
)
from operators.petset.objects import (
    claim_of,
    identity_labels,
    owner_reference,
    pod_of,
    revision_object,
)
from operators.petset.plan import Plan
from operators.petset.snapshots import take
from operators.petset.state import Claim, Held, Member, Orphan, Snapshot
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
from operators.petset.template import overridden, template_of

__all__ = ["execute", "unprotect_all"]

_MANAGER = "petset"
_PODS = api_resource_of(V1Pod)
_NODES = api_resource_of(V1Node)
_CLAIMS = api_resource_of(V1PersistentVolumeClaim)
_CLASSES = api_resource_of(V1StorageClass)
_REVISIONS = api_resource_of(V1ControllerRevision)
_LARGEST_BATCH = 500


async def execute(pets: PetSet, seen: Snapshot, plan: Plan, ctx: Context) -> tuple[Held, ...]:
    """Execute the steps of a plan in order; consecutive creations of pods go in batches of 1, 2, 4 and so on.

    Returns the steps that cannot be taken now, because of a PodDisruptionBudget or a StorageClass: the others are
    executed all the same.

    Raises Conflict when an object changed meanwhile, and ClusterError, after an Event that names the object.
    """
    run = _Execution(pets, seen, plan, ctx)
    pending: list[CreateMember] = []
    for step in plan.steps:
        if isinstance(step, CreateMember):
            pending.append(step)
        elif not isinstance(step, WaitFor | CreateClaim | SetClaimOwner):
            await run.create_all(pending)
            pending = []
        if not isinstance(step, CreateMember):
            await run.execute(step)
    await run.create_all(pending)
    return tuple(run.held)


async def unprotect_all(pets: PetSet, seen: Snapshot, ctx: Context) -> None:
    """Remove the finalizers of all members, which are to run on without this set. Raises NotFound and Conflict.

    The garbage collector removes their owner references at the same time: they may have no owner already.
    """
    members: list[Member | Orphan] = [*seen.members.values(), *seen.strays, *seen.orphans]
    for member in members:
        if member.protected:
            metadata = {"uid": member.uid, "$deleteFromPrimitiveList/finalizers": [FINALIZER]}
            await ctx.api.patch(
                _PODS,
                member.pod,
                {"metadata": metadata},
                patch_type=PatchType.STRATEGIC,
                namespace=pets.metadata.namespace,
                field_manager=_MANAGER,
            )


class _Execution:
    """One run of a plan."""

    def __init__(self, pets: PetSet, seen: Snapshot, plan: Plan, ctx: Context) -> None:
        self._pets = pets
        self._seen = seen
        self._plan = plan
        self._ctx = ctx
        known = {revision.name: revision.data for revision in seen.revisions}
        self._data = {**known, plan.target.history.update.name: plan.target.history.update.data}
        self._namespace = pets.metadata.namespace
        self._may_adopt = False
        self._timed_out: str | None = None
        self.held: list[Held] = []

    async def create_all(self, steps: Sequence[CreateMember]) -> None:
        """Create pods in doubling batches, so that a quota or a bad template fails once and not 500 times."""
        done, size = 0, 1
        while done < len(steps):
            batch = steps[done : done + size]
            results = await asyncio.gather(
                *(self._create_member(step) for step in batch), return_exceptions=True
            )
            for result in results:
                if isinstance(result, BaseException):
                    raise result
            done, size = done + len(batch), min(size * 2, _LARGEST_BATCH)

    async def execute(self, step: Step) -> None:
        """Execute one step."""
        match step:
            case WaitFor():
                return
            case CreateRevision(revision):
                await self._create(_REVISIONS, revision_object(self._pets, revision))
            case RenumberRevision(revision):
                # a strategic merge would take the "$patch" in the stored data for a directive
                await self._patch(
                    _REVISIONS, revision.name, {"revision": revision.number}, PatchType.MERGE
                )
            case DeleteRevision(name):
                await self._delete(_REVISIONS, name)
            case CreateClaim(ordinal, template, name, owner):
                await self._create(_CLAIMS, claim_of(self._pets, template, ordinal, owner=owner))
                await self._record_event(
                    "Normal", reasons.SUCCESSFUL_CREATE, f"Created claim {name} of member {ordinal}"
                )
            case DeleteClaim(claim, why):
                await self._delete_claim(claim, why)
            case ExpandClaim(claim, size):
                await self._expand(claim, size)
            case SetClaimOwner():
                await self._set_claim_owner(step)
            case AdoptPod(orphan):
                await self._adopt(_PODS, orphan.pod, orphan.uid, PatchType.STRATEGIC)
            case AdoptRevision(orphan):
                # a strategic merge would take the "$patch" in the stored data for a directive
                await self._adopt(_REVISIONS, orphan.name, orphan.uid, PatchType.MERGE)
            case ReleasePod(member):
                await self._release(member)
            case RepairLabels(member):
                labels = identity_labels(self._pets.metadata.name, member.ordinal)
                await self._patch(
                    _PODS, member.pod, {"metadata": {"uid": member.uid, "labels": labels}}
                )
            case UpdateInPlace():
                await self._update_in_place(step)
            case EvictMember():
                await self._evict_gated(step)
            case DeleteMember(member, why):
                await self._delete_member(member, why)
            case UnprotectMember(member):
                await self._unprotect(member)
            case RollBack():
                await self._roll_back(step)
            case CreateMember():
                await self._create_member(step)

    # Pods

    async def _create_member(self, step: CreateMember) -> None:
        template = overridden(
            template_of(self._data[step.revision]), self._seen.patches(step.ordinal)
        )
        body = pod_of(
            self._pets, template, step.ordinal, revision=step.revision, override=step.override
        )
        await self._create(_PODS, body)
        await self._record_event(
            "Normal",
            reasons.SUCCESSFUL_CREATE,
            f"Created pod {step.pod} at revision {step.revision}",
        )

    async def _adopt(
        self, resource: ApiResource, name: str, uid: str, patch_type: PatchType
    ) -> None:
        """Adopt an orphan, after one live read proved that this set still exists and is not being deleted."""
        if not self._may_adopt:
            live = await self._ctx.api.get(
                PetSet.api_resource(), self._pets.metadata.name, namespace=self._namespace
            )
            if live["metadata"]["uid"] != self._pets.metadata.uid or live["metadata"].get(
                "deletionTimestamp"
            ):
                raise Conflict(
                    f"PetSet {self._pets.key} was replaced or is being deleted: it does not "
                    f"adopt pods"
                )
            self._may_adopt = True
        body = {"metadata": {"uid": uid, "ownerReferences": [owner_reference(self._pets)]}}
        await self._patch(resource, name, body, patch_type)

    async def _release(self, member: Member) -> None:
        reference = {"$patch": "delete", "uid": self._pets.metadata.uid}
        metadata: dict[str, Any] = {"uid": member.uid, "ownerReferences": [reference]}
        if member.protected:
            metadata["$deleteFromPrimitiveList/finalizers"] = [FINALIZER]
        await self._patch(_PODS, member.pod, {"metadata": metadata})

    async def _unprotect(self, member: Member) -> None:
        """Let go of a member's name; that its node is gone is proved by a live read: a cache may not show it yet."""
        if member.node_missing:
            try:
                await self._ctx.api.get(_NODES, member.node)
            except NotFound:
                pass
            else:
                raise Conflict(
                    f"node {member.node} of pod {member.pod} exists, which the cache did not "
                    f"contain"
                )
        await self._patch(
            _PODS,
            member.pod,
            {"metadata": {"uid": member.uid, "$deleteFromPrimitiveList/finalizers": [FINALIZER]}},
        )

    async def _update_in_place(self, step: UpdateInPlace) -> None:
        """Resize the containers first: the revision is the label of what a pod has."""
        member = step.member
        restarts = bool(step.change.patch.get("spec") or step.change.resize)
        if restarts and not (
            await self._may_disrupt(member) and await self._snapshotted(member, step.snapshot)
        ):
            return
        if step.change.resize and not await self._resize(step):
            return
        patch = dict(step.change.patch)
        metadata = dict(patch.get("metadata") or {})
        metadata["labels"] = {**(metadata.get("labels") or {}), LABEL_REVISION: step.revision}
        metadata["annotations"] = {
            **(metadata.get("annotations") or {}),
            ANNOTATION_OVERRIDE: step.override or None,
        }
        metadata["uid"] = member.uid
        await self._patch(_PODS, member.pod, {**patch, "metadata": metadata})
        message = f"Updated pod {member.pod} in place to revision {step.revision}"
        await self._record_event("Normal", reasons.UPDATED_IN_PLACE, message)

    async def _resize(self, step: UpdateInPlace) -> bool:
        """Change the resources of a running pod; return whether it has them. Raises Invalid where it must not go."""
        body = {"metadata": {"uid": step.member.uid}, **step.change.resize}
        try:
            await self._ctx.api.patch(
                _PODS,
                step.member.pod,
                body,
                patch_type=PatchType.STRATEGIC,
                namespace=self._namespace,
                subresource="resize",
                field_manager=_MANAGER,
            )
        except Invalid as error:
            if step.may_recreate:
                await self._evict(step.member, f"its resources cannot change in place: {error}")
                return False
            message = f"Set inPlace to IfPossible: the resources of pod {step.member.pod} cannot change: {error}"
            await self._record_event("Warning", reasons.FAILED_UPDATE, message)
            raise
        return True

    async def _may_disrupt(self, member: Member) -> bool:
        """Return whether every gate allows to disrupt a member; one that does not is waited for.

        A member that is not available has nothing to lose. After a timeout, no further gate is called in this sync:
        fifty members with a gate that hangs would occupy the worker for minutes.
        """
        gates = self._pets.spec.disruption.gates
        if not gates or not member.is_available(self._seen.now):
            return True
        if self._timed_out is not None:
            self.held.append(Held(member.pod, self._timed_out, "gate-failure"))
            return False
        for gate in gates:
            verdict = await evaluate(gate, self._pets, member.pod, self._ctx)
            if verdict.timed_out and gate.failure == "Deny":
                self._timed_out = f"gate {gate.name} of {member.pod} {verdict.message}"
            if not await self._passes(member, gate, verdict):
                return False
        return True

    async def _passes(self, member: Member, gate: Gate, verdict: Verdict) -> bool:
        """Report the answer of a gate and return whether it allows a disruption."""
        if verdict.allowed:
            return True
        text = f"gate {gate.name} {verdict.message}"
        if not verdict.failed:
            await self._record_event(
                "Normal", reasons.GATE_DENIED, f"Pod {member.pod} is kept: {text}"
            )
            self.held.append(Held(member.pod, text, "gate"))
            return False
        allows = gate.failure == "Allow"
        outcome = "is disrupted all the same, as failure is Allow" if allows else "is kept"
        await self._record_event(
            "Warning", reasons.GATE_FAILED, f"Pod {member.pod} {outcome}: {text}"
        )
        if not allows:
            self.held.append(Held(member.pod, text, "gate-failure"))
        return allows

    async def _evict_gated(self, step: EvictMember) -> None:
        """Evict a member that its gates allow to be disrupted; snapshots come last, so that they are recent."""
        member = step.member
        if await self._may_disrupt(member) and await self._snapshotted(member, step.snapshot):
            await self._evict(member, step.why)

    async def _evict(self, member: Member, why: str) -> None:
        """Evict a member; a budget that does not allow it now is waited for."""
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": member.pod, "namespace": self._namespace},
            "deleteOptions": {"preconditions": {"uid": member.uid}},
        }
        try:
            await self._ctx.api.create(
                _PODS, body, namespace=self._namespace, name=member.pod, subresource="eviction"
            )
        except NotFound:
            return
        except (Conflict, Throttled) as error:
            why_held = next(
                (cause.message for cause in error.causes if cause.reason == "DisruptionBudget"),
                None,
            )
            if why_held is None:
                raise
            self.held.append(Held(member.pod, why_held))
            return
        except ClusterError as error:
            await self._record_event(
                "Warning",
                reasons.FAILED_DELETE,
                f"Find out why pod {member.pod} cannot be evicted: {error}",
            )
            raise
        await self._record_event(
            "Normal", reasons.SUCCESSFUL_DELETE, f"Evicted pod {member.pod}: {why}"
        )

    async def _delete_member(self, member: Member, why: str) -> None:
        try:
            await self._ctx.api.delete(
                _PODS,
                member.pod,
                namespace=self._namespace,
                uid=member.uid,
                resource_version=member.resource_version,
            )
        except NotFound:
            return
        await self._record_event(
            "Normal", reasons.SUCCESSFUL_DELETE, f"Deleted pod {member.pod}: {why}"
        )

    # Claims

    async def _set_claim_owner(self, step: SetClaimOwner) -> None:
        claim = step.claim
        references: list[dict[str, Any]] = []
        if claim.owner:
            references.append({"$patch": "delete", "uid": claim.owner_uid})
        if step.owner == "set":
            references.append(owner_reference(self._pets, controller=False))
        elif step.owner == "pod":
            references.append(
                {"apiVersion": "v1", "kind": "Pod", "name": step.pod, "uid": step.pod_uid}
            )
        await self._patch(
            _CLAIMS, claim.name, {"metadata": {"uid": claim.uid, "ownerReferences": references}}
        )

    async def _delete_claim(self, claim: Claim, why: str) -> None:
        """Delete a claim that is still as it was observed; its data is lost."""
        try:
            await self._ctx.api.delete(
                _CLAIMS,
                claim.name,
                namespace=self._namespace,
                uid=claim.uid,
                resource_version=claim.resource_version,
            )
        except NotFound:
            return
        message = f"Deleted claim {claim.name} with its data: {why}"
        await self._record_event("Normal", reasons.SUCCESSFUL_DELETE, message)

    async def _snapshotted(self, member: Member, suffix: str) -> bool:
        """Return whether the claims of a member have their snapshots for this update; those are waited for."""
        if not suffix:
            return True
        own = [
            claim
            for template in self._pets.spec.volume_claim_templates
            if template.metadata is not None
            and (
                claim := self._seen.claims.get(
                    claim_name(template.metadata.name or "", self._seen.name, member.ordinal)
                )
            )
            is not None
            and claim.phase == "Bound"
        ]
        result = await take(self._pets, own, suffix, self._ctx.api)
        for message in result.requested:
            await self._record_event("Normal", reasons.SUCCESSFUL_SNAPSHOT, message)
        if result.waiting_for:
            self.held.append(Held(member.pod, result.waiting_for, "snapshot"))
        return not result.waiting_for

    async def _expand(self, claim: Claim, size: str) -> None:
        """Request more storage for a claim, where its StorageClass allows it; else say so and go on."""
        why = await self._why_not_expandable(claim)
        if why is None:
            body = {
                "metadata": {"uid": claim.uid, "annotations": {ANNOTATION_REQUESTED: size}},
                "spec": {"resources": {"requests": {"storage": size}}},
            }
            try:
                await self._patch(_CLAIMS, claim.name, body)
            except (Forbidden, Invalid) as error:
                why = str(error)
        if why is not None:
            self.held.append(Held(claim.name, why, "expansion"))
            return
        message = (
            f"Requested {size} for claim {claim.name}, which has {claim.size or claim.requested}"
        )
        await self._record_event("Normal", reasons.SUCCESSFUL_EXPAND, message)

    async def _why_not_expandable(self, claim: Claim) -> str | None:
        """Return why the StorageClass of a claim does not let it grow, or None."""
        if not claim.storage_class:
            return "it has no StorageClass: volumes that were not provisioned by one cannot grow"
        try:
            found = await self._ctx.api.get(_CLASSES, claim.storage_class)
        except NotFound:
            return f"its StorageClass {claim.storage_class} does not exist: create it with allowVolumeExpansion"
        if found.get("allowVolumeExpansion"):
            return None
        return f"StorageClass {claim.storage_class} does not allow it: set its allowVolumeExpansion to true"

    # Rollback

    async def _roll_back(self, step: RollBack) -> None:
        self._pets.status.rollback = RollbackStatus(
            from_=step.failed, to=step.to, at=self._ctx.clock.now(), reason=step.why
        )
        await self._record_event(
            "Warning",
            reasons.ROLLED_BACK,
            f"Change spec.template: revision {step.failed} made no progress and was rolled back "
            f"to {step.to} ({step.why})",
        )

    # Requests

    async def _create(self, resource: Any, body: dict[str, Any]) -> None:
        name = body["metadata"]["name"]
        try:
            await self._ctx.api.create(
                resource, body, namespace=self._namespace, field_manager=_MANAGER
            )
        except AlreadyExists as error:
            raise Conflict(
                f"{resource.kind} {name} exists, which the cache did not contain: {error}"
            ) from error
        except ClusterError as error:
            await self._record_event(
                "Warning",
                reasons.FAILED_CREATE,
                f"{resource.kind} {name} cannot be created: {error}",
            )
            raise

    async def _patch(
        self,
        resource: Any,
        name: str,
        body: dict[str, Any],
        patch_type: PatchType = PatchType.STRATEGIC,
    ) -> None:
        try:
            await self._ctx.api.patch(
                resource,
                name,
                body,
                patch_type=patch_type,
                namespace=self._namespace,
                field_manager=_MANAGER,
            )
        except NotFound as error:
            raise Conflict(
                f"{resource.kind} {name} was deleted, which the cache did not contain"
            ) from error

    async def _delete(self, resource: Any, name: str) -> None:
        try:
            await self._ctx.api.delete(resource, name, namespace=self._namespace)
        except NotFound:
            return

    async def _record_event(self, type_: Any, reason: str, message: str) -> None:
        notice = Notice(
            regarding=Reference.of(self._pets), type=type_, reason=reason, message=message
        )
        await self._ctx.events.record(notice)
