"""The identity of a member: its names and labels, and the way back from a name to an ordinal.

What belongs here: names that StatefulSet gives, so that tools which know it keep working. Pure.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#stable-network-id
"""

from __future__ import annotations

from operators.petset.api import GROUP

__all__ = [
    "ANNOTATION_ADOPT",
    "ANNOTATION_OVERRIDE",
    "ANNOTATION_REQUESTED",
    "ANNOTATION_RESTARTED_AT",
    "FINALIZER",
    "LABEL_POD_INDEX",
    "LABEL_POD_NAME",
    "LABEL_REVISION",
    "claim_name",
    "ordinal_of",
    "pod_name",
    "template_of_claim",
]

LABEL_REVISION = "controller-revision-hash"
LABEL_POD_NAME = "statefulset.kubernetes.io/pod-name"
LABEL_POD_INDEX = "apps.kubernetes.io/pod-index"
ANNOTATION_ADOPT = f"{GROUP}/adopt-statefulset"
ANNOTATION_OVERRIDE = f"{GROUP}/override"
ANNOTATION_REQUESTED = f"{GROUP}/requested-storage"
ANNOTATION_RESTARTED_AT = f"{GROUP}/restarted-at"
FINALIZER = f"{GROUP}/member"


def pod_name(set_name: str, ordinal: int) -> str:
    """Return the name of a member's pod."""
    return f"{set_name}-{ordinal}"


def claim_name(template: str, set_name: str, ordinal: int) -> str:
    """Return the name of a member's claim."""
    return f"{template}-{set_name}-{ordinal}"


def ordinal_of(pod: str, set_name: str) -> int | None:
    """Return the ordinal of a pod of that name, or None when the name is not one of the set's.

    Only the form that `pod_name` writes counts: `web-01` is not a member of `web`.
    """
    head, dash, tail = pod.rpartition("-")
    if not dash or head != set_name or not tail.isascii() or not tail.isdecimal():
        return None
    ordinal = int(tail)
    return ordinal if pod_name(set_name, ordinal) == pod else None


def template_of_claim(claim: str, set_name: str, ordinal: int) -> str | None:
    """Return the name of the template that a member's claim was made from, or None."""
    suffix = f"-{set_name}-{ordinal}"
    return claim.removesuffix(suffix) if claim.endswith(suffix) and claim != suffix else None
