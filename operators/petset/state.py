"""What is observed of a PetSet, as values: members, claims, revisions.

What belongs here: the input of `plan`. What does not: reading it from a cluster (`observe`). Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from operatorkit.revisions import Revision
from operators.petset.api import PetSetSpec, PetSetStatus
from operators.petset.identity import pod_name
from operators.petset.ordinals import desired_ordinals, parse_ranges

__all__ = [
    "Claim",
    "ClaimOwner",
    "Failure",
    "Held",
    "Member",
    "Orphan",
    "OrphanRevision",
    "Snapshot",
]

ClaimOwner = Literal["", "set", "pod"]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a member does not run, in the words of the kubelet or the scheduler; `container` is "" for the pod."""

    reason: str
    message: str
    container: str = ""

    def __str__(self) -> str:
        where = f"container {self.container}: " if self.container else ""
        return f"{where}{self.reason}: {self.message}" if self.message else f"{where}{self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A pod that this set controls.

    `available_at` is when it is, or was, ready for minReadySeconds; None while it is not ready. `never_ready` says
    that it never was since it was created. `releasable` says that a terminating pod's containers are known to be
    stopped, so that its name may be used again; `node_missing` that this follows from a node that is not in the cache.
    """

    pod: str
    ordinal: int
    uid: str
    resource_version: str
    revision: str
    override: str = ""
    phase: str = "Pending"
    ready: bool = False
    available_at: datetime | None = None
    never_ready: bool = True
    terminating: bool = False
    failure: Failure | None = None
    labels_correct: bool = True
    protected: bool = False
    releasable: bool = False
    created_at: datetime | None = None
    node: str = ""
    node_missing: bool = False

    @property
    def finished(self) -> bool:
        """Whether its containers have ended and will not be restarted."""
        return self.phase in {"Failed", "Succeeded"}

    def is_available(self, now: datetime) -> bool:
        """Return whether it has been ready for minReadySeconds and is not terminating."""
        return not self.terminating and self.available_at is not None and self.available_at <= now


@dataclass(frozen=True, slots=True)
class Held:
    """A step that cannot be taken now, and why, in the API server's words.

    `what` is "eviction" for a member that a PodDisruptionBudget keeps, "gate" for one that a gate
    denies, "gate-failure" for one whose gate failed, "snapshot" for one whose claims are being
    snapshotted, or "expansion" for a claim that cannot grow;
    `name` is the pod's or the claim's.
    """

    name: str
    why: str
    what: Literal["eviction", "gate", "gate-failure", "snapshot", "expansion"] = "eviction"


@dataclass(frozen=True, slots=True)
class Orphan:
    """A pod without a controller that has the name and the labels of a member."""

    pod: str
    uid: str
    resource_version: str
    protected: bool = False


@dataclass(frozen=True, slots=True)
class OrphanRevision:
    """A ControllerRevision without a controller that has the labels of the set's own."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A claim of a member, with the owner reference by which it is collected.

    `requested` is the amount that it asks for, `size` the one that it has, and `requested_by_set` the
    amount that the set last requested. `resize_pending_since` is since when its file system waits for
    its pod to be restarted.
    """

    name: str
    uid: str
    resource_version: str = ""
    owner: ClaimOwner = ""
    owner_uid: str = ""
    terminating: bool = False
    phase: str = "Pending"
    size: str = ""
    requested: str = ""
    requested_by_set: str = ""
    storage_class: str = ""
    access_modes: frozenset[str] = frozenset()
    volume_mode: str = ""
    resize_pending_since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A PetSet and all that belongs to it at one moment.

    `members` are its pods whose name and labels are those of a member; `strays` its pods whose are not any more.
    `revisions` are those that the set controls or will have adopted, which `orphan_revisions` names.
    `occupied` are names of pods and claims that others control.
    """

    name: str
    uid: str
    spec: PetSetSpec
    status: PetSetStatus
    template: Mapping[str, Any]
    now: datetime
    deleting: bool = False
    members: Mapping[int, Member] = field(default_factory=dict)
    strays: tuple[Member, ...] = ()
    orphans: tuple[Orphan, ...] = ()
    claims: Mapping[str, Claim] = field(default_factory=dict)
    revisions: tuple[Revision, ...] = ()
    orphan_revisions: tuple[OrphanRevision, ...] = ()
    occupied: frozenset[str] = frozenset()
    occupied_revisions: frozenset[str] = frozenset()

    def desired(self) -> list[int]:
        """Return the ordinals that members are wanted for, ascending."""
        spec = self.spec
        reserved = parse_ranges(spec.reserve_ordinals)
        return desired_ordinals(spec.replicas, start=spec.ordinals.start, reserved=reserved)

    def pod(self, ordinal: int) -> str:
        """Return the name of a member's pod."""
        return pod_name(self.name, ordinal)

    def patches(self, ordinal: int) -> list[Mapping[str, Any]]:
        """Return the overrides of a member's template, in order."""
        return [
            override.template
            for override in self.spec.overrides
            if any(ordinal in numbers for numbers in parse_ranges(override.ordinals))
        ]
