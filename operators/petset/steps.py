"""The steps of a plan: what can be done for a PetSet, as values.

What belongs here: each kind of step, with all that its execution needs. What does not: choosing them (`plan`) and
executing them (`execute`). Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from operatorkit.revisions import Revision
from operators.petset.in_place import InPlaceChange
from operators.petset.state import Claim, ClaimOwner, Member, Orphan, OrphanRevision

__all__ = [
    "AdoptPod",
    "AdoptRevision",
    "CreateClaim",
    "CreateMember",
    "CreateRevision",
    "DeleteClaim",
    "DeleteMember",
    "DeleteRevision",
    "EvictMember",
    "ExpandClaim",
    "ReleasePod",
    "RenumberRevision",
    "RepairLabels",
    "RollBack",
    "SetClaimOwner",
    "Step",
    "UnprotectMember",
    "UpdateInPlace",
    "WaitFor",
]


@dataclass(frozen=True, slots=True)
class AdoptPod:
    """Become the controller of a pod without a controller."""

    orphan: Orphan


@dataclass(frozen=True, slots=True)
class AdoptRevision:
    """Become the controller of a ControllerRevision that has no controller."""

    orphan: OrphanRevision


@dataclass(frozen=True, slots=True)
class ReleasePod:
    """Stop being the controller of a pod that is not a member any more."""

    member: Member


@dataclass(frozen=True, slots=True)
class CreateRevision:
    """Record a new template."""

    revision: Revision


@dataclass(frozen=True, slots=True)
class RenumberRevision:
    """Make an old template the newest: a rollback."""

    revision: Revision


@dataclass(frozen=True, slots=True)
class DeleteRevision:
    """Delete a revision beyond revisionHistoryLimit."""

    name: str


@dataclass(frozen=True, slots=True)
class CreateClaim:
    """Create a member's claim from the template of that name."""

    ordinal: int
    template: str
    name: str
    owner: ClaimOwner


@dataclass(frozen=True, slots=True)
class SetClaimOwner:
    """Make the set or a member's pod the owner with which a claim is collected, or neither."""

    claim: Claim
    owner: ClaimOwner
    pod: str = ""
    pod_uid: str = ""


@dataclass(frozen=True, slots=True)
class ExpandClaim:
    """Request the larger amount of its template for a bound claim."""

    claim: Claim
    size: str


@dataclass(frozen=True, slots=True)
class DeleteClaim:
    """Delete a claim, with its data, that its template differs from; no pod uses it."""

    claim: Claim
    why: str


@dataclass(frozen=True, slots=True)
class CreateMember:
    """Create a member's pod."""

    ordinal: int
    pod: str
    revision: str
    override: str


@dataclass(frozen=True, slots=True)
class RepairLabels:
    """Restore the identity labels of a member's pod."""

    member: Member


@dataclass(frozen=True, slots=True)
class UpdateInPlace:
    """Bring a member to a revision without recreating its pod.

    `may_recreate` allows to evict a member whose change of resources the API server rejects. `snapshot` is what the
    names of snapshots of its claims end in, "" for none.
    """

    member: Member
    revision: str
    override: str
    change: InPlaceChange
    may_recreate: bool = False
    snapshot: str = ""


@dataclass(frozen=True, slots=True)
class EvictMember:
    """Delete a member that is available: by the Eviction API, so that PodDisruptionBudgets hold.

    `snapshot` is what the names of snapshots of its claims end in, which are taken before; "" for none.
    """

    member: Member
    why: str
    snapshot: str = ""


@dataclass(frozen=True, slots=True)
class DeleteMember:
    """Delete a member that is not available, if it is still as it was observed."""

    member: Member
    why: str


@dataclass(frozen=True, slots=True)
class UnprotectMember:
    """Let go of the name of a terminating member whose containers are stopped (memberSafety Strict)."""

    member: Member


@dataclass(frozen=True, slots=True)
class RollBack:
    """Replace a rollout that does not progress by the last revision that completed."""

    failed: str
    to: str
    why: str


@dataclass(frozen=True, slots=True)
class WaitFor:
    """Nothing more is done before something changes, or before `until`; `reason` is a condition's."""

    what: str
    reason: str
    until: datetime | None = None


Step = (
    AdoptPod
    | AdoptRevision
    | ReleasePod
    | CreateRevision
    | RenumberRevision
    | DeleteRevision
    | CreateClaim
    | SetClaimOwner
    | ExpandClaim
    | DeleteClaim
    | CreateMember
    | RepairLabels
    | UpdateInPlace
    | EvictMember
    | DeleteMember
    | UnprotectMember
    | RollBack
    | WaitFor
)
