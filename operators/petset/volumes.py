"""Claims that are to grow: which is next, and when its member has to be restarted.

What belongs here: the decision, one member at a time. What does not: requests (`execute`), and claims that are created
or deleted with members (`plan`). Pure.

    template requests more ──► ExpandClaim ──► capacity reached ───────────────────────► the next member
                                    │                                                       ▲
                                    └──► FileSystemResizePending for 30 s ──► evict once ───┘

Source: https://kubernetes.io/docs/concepts/storage/persistent-volumes/#expanding-persistent-volumes-claims
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from operatorkit.resource import write
from operators.petset.identity import claim_name
from operators.petset.state import Claim, Member, Snapshot
from operators.petset.steps import EvictMember, ExpandClaim
from operators.petset.template import amount_of

__all__ = ["Expansion", "next_expansion", "requested_sizes"]

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
    for ordinal in desired:
        for claim, size in _claims(seen, sizes, ordinal):
            wanted = amount_of(size)
            if amount_of(claim.requested) < wanted:
                return Expansion(f"claim {claim.name} to grow to {size}", ExpandClaim(claim, size))
            if _is_growing(claim):
                return _growing(seen, claim, seen.members.get(ordinal))
    return None


def _claims(seen: Snapshot, sizes: dict[str, str], ordinal: int) -> Iterator[tuple[Claim, str]]:
    """Yield the bound claims of a member with the amounts that their templates request."""
    for template, size in sizes.items():
        claim = seen.claims.get(claim_name(template, seen.name, ordinal))
        if claim is not None and claim.phase == "Bound" and not claim.terminating:
            yield claim, size


def _is_growing(claim: Claim) -> bool:
    """Return whether a claim has less than it asks for; one whose capacity is not reported counts as grown."""
    return bool(claim.size) and amount_of(claim.size) < amount_of(claim.requested)


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
