"""Adopting the members of a StatefulSet: its object is deleted, and its pods, claims and revisions stay.

What belongs here: the requests, in order. What does not: taking what has no owner any more (`plan`), and which specs
agree (`conversion`).

    annotation ──► same spec? ──► status.adoption ──► delete the StatefulSet (Orphan) ──► gone? ──► plan
                      │ no                                                                  │ no
                      ▼                                                                     ▼
                 InvalidSpec                                                         check again soon

Members are not written before the StatefulSet is gone: its controller and this one never act at the same time. The
current revision is stored before the deletion, because only the StatefulSet has it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from kubernetes.client.models import V1StatefulSet

from operatorkit import Context, Requeue, TerminalError
from operatorkit.errors import NotFound
from operatorkit.events import Notice, Reference
from operatorkit.resource import api_resource_of
from operators.petset import reasons
from operators.petset.api import Adoption, PetSet
from operators.petset.conversion import adoption_problems
from operators.petset.identity import ANNOTATION_ADOPT

__all__ = ["adopt_stateful_set"]

_STATEFUL_SETS = api_resource_of(V1StatefulSet)
_SOON = timedelta(milliseconds=500)


async def adopt_stateful_set(pets: PetSet, ctx: Context) -> Requeue | None:
    """Make the members of the StatefulSet that the annotation names ownerless; return when to look again, None if done.

    Raises TerminalError where the PetSet would change the members that it adopts.
    """
    name = (pets.metadata.annotations or {}).get(ANNOTATION_ADOPT)
    if not name or (pets.status.adoption is not None and pets.status.adoption.completed):
        return None
    try:
        found = await ctx.api.get(
            _STATEFUL_SETS, pets.metadata.name, namespace=pets.metadata.namespace
        )
    except NotFound:
        if pets.status.adoption is not None:
            pets.status.adoption.completed = True
        return None
    if not found["metadata"].get("deletionTimestamp"):
        _check(pets, found, ctx)
        await _orphan(pets, found, ctx)
    ctx.condition(
        "Progressing", True, reasons.ADOPTING, f"Waiting for StatefulSet {name} to release its pods"
    )
    return Requeue(after=_SOON)


def _check(pets: PetSet, stateful_set: dict[str, Any], ctx: Context) -> None:
    """Raise TerminalError unless the PetSet keeps the members of a StatefulSet as they are."""
    problems = adoption_problems(pets.write(), stateful_set)
    if problems:
        message = "; ".join(map(str, problems))
        ctx.condition("Progressing", False, reasons.INVALID_SPEC, message)
        raise TerminalError(message, reason=reasons.INVALID_SPEC)


async def _orphan(pets: PetSet, stateful_set: dict[str, Any], ctx: Context) -> None:
    """Store what only the StatefulSet has; once that is stored, delete it without its pods."""
    metadata = stateful_set["metadata"]
    adoption = pets.status.adoption
    if adoption is None or adoption.uid != metadata["uid"]:
        pets.status.current_revision = (stateful_set.get("status") or {}).get(
            "currentRevision"
        ) or ""
        pets.status.adoption = Adoption(
            uid=metadata["uid"], at=ctx.clock.now().replace(microsecond=0)
        )
        return
    await ctx.api.delete(
        _STATEFUL_SETS,
        metadata["name"],
        namespace=metadata["namespace"],
        propagation="Orphan",
        uid=metadata["uid"],
    )
    message = f"Deleted StatefulSet {metadata['name']} and kept its pods, claims and revisions"
    await ctx.events.record(
        Notice(regarding=Reference.of(pets), type="Normal", reason=reasons.ADOPTED, message=message)
    )
