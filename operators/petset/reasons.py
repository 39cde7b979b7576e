"""The reasons of conditions and Events of PetSets.

What belongs here: each word, once, and what it means. They are part of the stable interface: never renamed.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ADOPTED",
    "ADOPTING",
    "ALL_MEMBERS_AVAILABLE",
    "COMPLETE",
    "DEGRADED",
    "DISRUPTION_BUDGET",
    "EXPANDING",
    "EXPANSION_BLOCKED",
    "FAILED_CREATE",
    "FAILED_DELETE",
    "FAILED_UPDATE",
    "GATE_DENIED",
    "GATE_FAILED",
    "HEALTHY",
    "INVALID_SPEC",
    "IN_PLACE_ONLY",
    "MEMBERS_UNAVAILABLE",
    "NAME_CONFLICT",
    "PAUSED",
    "PROGRESSING",
    "PROGRESS_DEADLINE_EXCEEDED",
    "REPLACING_CLAIMS",
    "ROLLED_BACK",
    "SNAPSHOTTING",
    "SUCCESSFUL_CREATE",
    "SUCCESSFUL_DELETE",
    "SUCCESSFUL_EXPAND",
    "SUCCESSFUL_SNAPSHOT",
    "TERMINATING",
    "UPDATED_IN_PLACE",
]

ADOPTED: Final = "Adopted"
"""A StatefulSet was deleted without its pods, claims and revisions, which this PetSet has adopted or will adopt."""
ADOPTING: Final = "Adopting"
"""Condition Progressing: the StatefulSet of the annotation adopt-statefulset still owns the members."""
ALL_MEMBERS_AVAILABLE: Final = "AllMembersAvailable"
"""Condition Available: every desired member is available."""
MEMBERS_UNAVAILABLE: Final = "MembersUnavailable"
"""Condition Available: some desired members are not; the message names them."""
PROGRESSING: Final = "Progressing"
"""Condition Progressing: members are being created, updated or removed."""
COMPLETE: Final = "Complete"
"""Condition Progressing: every desired member is at the update revision and available."""
PAUSED: Final = "Paused"
"""Condition Progressing: spec.updateStrategy.rollingUpdate.paused is true."""
PROGRESS_DEADLINE_EXCEEDED: Final = "ProgressDeadlineExceeded"
"""The rollout made no progress for progressDeadlineSeconds; the message names pod, container and reason."""
DEGRADED: Final = "MemberFailing"
"""Condition Degraded: a member cannot start or crashes; the message names pod, container and reason."""
HEALTHY: Final = "Healthy"
"""Condition Degraded is False: no member fails."""
DISRUPTION_BUDGET: Final = "DisruptionBudget"
"""Condition Progressing: a PodDisruptionBudget does not allow an eviction now; the message names pod and budget."""
GATE_DENIED: Final = "GateDenied"
"""A gate does not allow a member to be disrupted now; the message names pod, gate and answer."""
GATE_FAILED: Final = "GateFailed"
"""A gate could not be evaluated; the message names pod, gate and error, and whether that allows the disruption."""
TERMINATING: Final = "Terminating"
"""Condition Progressing: the PetSet is being deleted and its members are removed in order."""
ROLLED_BACK: Final = "RolledBack"
"""A rollout that did not progress was rolled back to the last complete revision."""
IN_PLACE_ONLY: Final = "InPlaceOnly"
"""The change cannot be made in place, and inPlace is Only: no member is updated."""
INVALID_SPEC: Final = "InvalidSpec"
"""The spec is invalid; the message names the field, its value and the remedy."""
NAME_CONFLICT: Final = "NameConflict"
"""A pod or claim that a member needs has another owner; it is not changed."""
SUCCESSFUL_CREATE: Final = "SuccessfulCreate"
"""A pod or claim of a member was created."""
SUCCESSFUL_DELETE: Final = "SuccessfulDelete"
"""A pod of a member was deleted; the message says why."""
FAILED_CREATE: Final = "FailedCreate"
"""A pod or claim could not be created; the message contains the API server's."""
FAILED_DELETE: Final = "FailedDelete"
"""A pod could not be deleted or evicted; the message contains the API server's."""
FAILED_UPDATE: Final = "FailedUpdate"
"""A pod could not be updated in place; the message contains the API server's."""
UPDATED_IN_PLACE: Final = "UpdatedInPlace"
"""A pod got a new revision without being recreated."""
EXPANDING: Final = "Expanding"
"""Condition Progressing: the claims of a member are growing to the request of their templates."""
EXPANSION_BLOCKED: Final = "ExpansionBlocked"
"""Condition Progressing: a claim cannot grow; the message says why, such as a StorageClass that forbids it."""
SUCCESSFUL_EXPAND: Final = "SuccessfulExpand"
"""More storage was requested for a claim."""
REPLACING_CLAIMS: Final = "ReplacingClaims"
"""Condition Progressing: volumeUpdate Recreate replaces the claims of a member, and their data is lost."""
SNAPSHOTTING: Final = "Snapshotting"
"""Condition Progressing: an update waits for the snapshots of a member's claims; the message names one and why."""
SUCCESSFUL_SNAPSHOT: Final = "SuccessfulSnapshot"
"""A snapshot of a claim was requested before its member is updated."""
