"""Claims that differ from their templates: which is to grow or to be replaced next.

What belongs here: the decision, one member at a time. What does not: requests (`execute`), and claims that are created
or deleted with members (`plan`). Pure.

    template requests more ──► ExpandClaim ──► capacity reached ───────────────────────► the next member
                                    │                                                       ▲
                                    └──► FileSystemResizePending for 30 s ──► evict once ───┘

Source: https://kubernetes.io/docs/concepts/storage/persistent-volumes/#expanding-persistent-volumes-claims
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from typing import Any

from operatorkit.resource import write
from operators.petset.identity import claim_name
from operators.petset.state import Claim, Member, Snapshot
from operators.petset.steps import EvictMember, ExpandClaim
from operators.petset.template import amount_of

__all__ = [
    "Expansion",
    "difference",
    "next_expansion",
    "outdated_claims",
    "replaceable",
    "requested_sizes",
]

_RESTART_AFTER = timedelta(seconds=30)
"""How long a kubelet has to grow a file system that is in use: most drivers can, and no restart is needed."""


@dataclass(frozen=True, slots=True)
class Expansion:
    """What the growth of claims needs now: a step, if any, what is waited for, and when time alone changes that."""

    waiting_for: str
    step: ExpandClaim | EvictMember | None = None
    recheck_at: datetime | None = None


def requested_sizes(seen: Snapshot) -> dict[str, str]:
    """Return the storage that each claim template requests, by its name."""
    sizes = {}
    for template in seen.spec.volume_claim_templates:
        body = write(template)
        name = (body.get("metadata") or {}).get("name")
        requests = ((body.get("spec") or {}).get("resources") or {}).get("requests") or {}
        if name and requests.get("storage"):
            sizes[name] = str(requests["storage"])
    return sizes


def next_expansion(seen: Snapshot, desired: Sequence[int]) -> Expansion | None:
    """Return what the growth of claims needs now, None where all have what their templates request."""
    sizes = requested_sizes(seen)
    for ordinal, (template, size) in product(desired, sizes.items()):
        claim = seen.claims.get(claim_name(template, seen.name, ordinal))
        if claim is None or claim.phase != "Bound" or claim.terminating:
            continue
        requested = amount_of(claim.requested)
        if requested < amount_of(size):
            return Expansion(f"claim {claim.name} to grow to {size}", ExpandClaim(claim, size))
        # A claim whose capacity is not reported counts as grown.
        if claim.size and amount_of(claim.size) < requested:
            return _growing(seen, claim, seen.members.get(ordinal))
    return None


def _growing(seen: Snapshot, claim: Claim, member: Member | None) -> Expansion:
    waiting = f"claim {claim.name} to grow from {claim.size} to {claim.requested}"
    since = claim.resize_pending_since
    if since is None or member is None or not member.is_available(seen.now):
        return Expansion(waiting)
    if member.created_at is not None and member.created_at > since:
        return Expansion(waiting)  # restarted already: another restart would not help
    restart_at = since + _RESTART_AFTER
    if seen.now < restart_at:
        return Expansion(waiting, recheck_at=restart_at)
    return Expansion(
        waiting,
        EvictMember(
            member, f"the file system of claim {claim.name} grows when the pod is recreated"
        ),
    )


def replaceable(seen: Snapshot) -> dict[str, Mapping[str, Any]]:
    """Return the specs of the claim templates whose claims may be replaced, by name: none without Recreate."""
    if seen.spec.volume_update != "Recreate":
        return {}
    bodies = [write(template) for template in seen.spec.volume_claim_templates]
    return {
        (body.get("metadata") or {}).get("name") or "": body.get("spec") or {} for body in bodies
    }


def outdated_claims(
    seen: Snapshot, ordinal: int, specs: Mapping[str, Mapping[str, Any]]
) -> list[tuple[Claim, str]]:
    """Return the claims of a member that are to be replaced, each with why; `specs` are those of `replaceable`."""
    found = []
    for name, spec in specs.items():
        claim = seen.claims.get(claim_name(name, seen.name, ordinal))
        if claim is not None and not claim.terminating and (why := difference(claim, spec)):
            found.append((claim, why))
    return found


def difference(claim: Claim, wanted: Mapping[str, Any]) -> str:
    """Return how a claim differs from its template in a way that only another claim can have; "" for not at all.

    A claim that is larger because a user enlarged it is kept: only what the set itself requested shrinks.
    """
    storage_class = wanted.get("storageClassName")
    if storage_class is not None and storage_class != claim.storage_class:
        return (
            f"its class is {claim.storage_class or 'none'}, and {storage_class or 'none'} is wanted"
        )
    modes = frozenset(wanted.get("accessModes") or ())
    if modes and modes != claim.access_modes:
        have, want = ", ".join(sorted(claim.access_modes)), ", ".join(sorted(modes))
        return f"its access modes are {have}, and {want} is wanted"
    mode = wanted.get("volumeMode") or "Filesystem"
    if mode != (claim.volume_mode or "Filesystem"):
        return f"its volume mode is {claim.volume_mode}, and {mode} is wanted"
    size = ((wanted.get("resources") or {}).get("requests") or {}).get("storage")
    by_set = claim.requested_by_set
    if size and by_set and amount_of(by_set) == amount_of(claim.requested) > amount_of(size):
        return f"it requests {claim.requested}, and {size} is wanted"
    return ""
