"""Reconciling a PetSet: observe, plan, execute, report."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from kubernetes.client.models import (
    V1ControllerRevision,
    V1Node,
    V1PersistentVolumeClaim,
    V1Pod,
    V1PodDisruptionBudget,
    V1Service,
)

from operatorkit import Context, Requeue, TerminalError, Watch
from operatorkit.events import Notice, Reference
from operators.petset import reasons
from operators.petset.admission import check_spec, describe
from operators.petset.adoption import adopt_stateful_set
from operators.petset.api import PetSet
from operators.petset.app import app
from operators.petset.execute import execute, unprotect_all
from operators.petset.objects import budget_of, selector_text, service_of
from operators.petset.observe import (
    NODE_INDEX,
    POD_INDEX,
    REVISION_INDEX,
    allows_more,
    node_index,
    observe,
    pod_index,
    revision_index,
    sets_of_budget,
    sets_of_claim,
    sets_of_node,
    sets_of_pod,
    taints_changed,
)
from operators.petset.plan import Plan, plan
from operators.petset.state import Held, Snapshot
from operators.petset.status import conditions_of, fill_status
from operators.petset.steps import DeleteMember, EvictMember, ExpandClaim, RollBack, WaitFor

__all__ = ["finalize_petset", "reconcile_petset"]

_RETRY = timedelta(seconds=15)
_SHORTEST = timedelta(milliseconds=100)
_ORPHAN = "orphan"
"""The finalizer by which the garbage collector removes owner references before the owner is deleted."""

app.index(V1Pod, POD_INDEX, pod_index)
app.index(V1Pod, NODE_INDEX, node_index)
app.index(V1ControllerRevision, REVISION_INDEX, revision_index)


@app.reconcile(
    PetSet,
    owns=[V1Pod, V1PersistentVolumeClaim, V1ControllerRevision, V1Service, V1PodDisruptionBudget],
    watches=[
        Watch(V1Pod, to=sets_of_pod),
        Watch(V1PersistentVolumeClaim, to=sets_of_claim),
        Watch(V1PodDisruptionBudget, to=sets_of_budget, predicate=allows_more),
        Watch(V1Node, to=sets_of_node, predicate=taints_changed),
    ],
    workers=8,
)
async def reconcile_petset(pets: PetSet, ctx: Context) -> Requeue | None:
    """Bring the members of a PetSet in line with its spec, one safe step at a time."""
    if problems := check_spec(pets):
        message = describe(problems)
        ctx.condition("Progressing", False, reasons.INVALID_SPEC, message)
        raise TerminalError(message, reason=reasons.INVALID_SPEC)
    if (waiting := await adopt_stateful_set(pets, ctx)) is not None:
        return waiting
    await _apply_service_and_budget(pets, ctx)
    return await _sync(pets, ctx)


@app.finalize(PetSet)
async def finalize_petset(pets: PetSet, ctx: Context) -> Requeue | None:
    """Remove the members of a deleted PetSet in order; its claims follow the retention policy.

    One that is deleted with propagation Orphan keeps its members: only their finalizers are removed. The garbage
    collector may have removed its own finalizer before this is called: then its members have no owner any more, and a
    deletion from an outdated cache fails, because it names the resource version.
    """
    if _ORPHAN not in (pets.metadata.finalizers or ()):
        await _sync(pets, ctx)
        if observe(pets, ctx, ctx.clock.now()).members:
            return Requeue(after=_RETRY)
    await unprotect_all(pets, observe(pets, ctx, ctx.clock.now()), ctx)
    return None


async def _sync(pets: PetSet, ctx: Context) -> Requeue | None:
    """Run one sync; the status is written also when a step fails."""
    seen = observe(pets, ctx, ctx.clock.now())
    decided = plan(seen)
    held: tuple[Held, ...] = ()
    try:
        held = await execute(pets, seen, decided, ctx)
    finally:
        await _report(pets, seen, decided, held, ctx)
    return _requeue(seen, decided, held)


async def _report(
    pets: PetSet, seen: Snapshot, decided: Plan, held: Sequence[Held], ctx: Context
) -> None:
    fill_status(
        pets.status,
        seen,
        decided,
        selector=selector_text(pets),
        generation=pets.metadata.generation,
    )
    notices = []
    for report in conditions_of(seen, decided, held):
        ctx.condition(report.type, report.status, report.reason, report.message)
        if report.type == "Degraded" and report.status:
            notices.append(
                Notice(
                    regarding=Reference.of(pets),
                    type="Warning",
                    reason=report.reason,
                    message=report.message,
                )
            )
    await ctx.events.hold((PetSet.api_resource(), ctx.key), notices)


def _requeue(seen: Snapshot, decided: Plan, held: Sequence[Held]) -> Requeue | None:
    """Come back at once after a rollback, when time alone changes something, and where there may be no event."""
    if any(isinstance(step, RollBack) for step in decided.steps):
        return Requeue()
    moments = [decided.recheck_at] if decided.recheck_at is not None else []
    names_taken = any(
        isinstance(step, WaitFor) and step.reason == reasons.NAME_CONFLICT for step in decided.steps
    )
    if (
        names_taken
        or held
        or any(isinstance(step, EvictMember | DeleteMember | ExpandClaim) for step in decided.steps)
    ):
        moments.append(seen.now + _RETRY)
    return Requeue(at=max(min(moments), seen.now + _SHORTEST)) if moments else None


async def _apply_service_and_budget(pets: PetSet, ctx: Context) -> None:
    """Apply the headless Service, unless another owner made one, and the PodDisruptionBudget."""
    children: list[object] = []
    name = pets.spec.service_name
    if name:
        found = ctx.get(V1Service, name)
        owners = (
            (found.metadata.owner_references or ())
            if found is not None and found.metadata is not None
            else ()
        )
        if found is None or any(owner.uid == pets.metadata.uid for owner in owners):
            children.append(service_of(pets))
    if pets.spec.disruption.budget is not None:
        children.append(budget_of(pets))
    await ctx.apply(*children)
