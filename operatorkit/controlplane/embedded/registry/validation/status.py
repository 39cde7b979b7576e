"""What the status of a workload must be like, in the API server's words.

What belongs here: the rules of `/status`. What does not: those of the rest of an object (`workloads`).

Source: k8s.io/kubernetes/pkg/apis/apps/validation
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from operatorkit.controlplane.embedded.registry.validation.checks import natural
from operatorkit.crd.field_errors import FieldErrors, forbidden, invalid

__all__ = ["STATUS_RULES"]

JSONObject = Mapping[str, Any]

# Counts that are part of status.replicas, by kind, in the order in which they are reported.
_PARTS: Mapping[str, Sequence[str]] = {
    "Deployment": ("updatedReplicas", "readyReplicas", "availableReplicas"),
    "ReplicaSet": ("fullyLabeledReplicas", "readyReplicas", "availableReplicas"),
    "StatefulSet": ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"),
}
_OTHERS: Mapping[str, Sequence[str]] = {
    "Deployment": (
        "observedGeneration",
        "unavailableReplicas",
        "terminatingReplicas",
        "collisionCount",
    ),
    "ReplicaSet": ("observedGeneration", "terminatingReplicas"),
    "StatefulSet": ("observedGeneration", "collisionCount"),
}


def _replicas(kind: str) -> Callable[[JSONObject], FieldErrors]:
    def rule(obj: JSONObject) -> FieldErrors:
        status = obj.get("status") or {}
        for name in ("replicas", *_PARTS[kind], *_OTHERS[kind]):
            yield from natural(f"status.{name}", status.get(name, 0))
        for name in _PARTS[kind]:
            if status.get(name, 0) > status.get("replicas", 0):
                yield invalid(
                    f"status.{name}", status.get(name, 0), "cannot be greater than status.replicas"
                )
        available, ready = status.get("availableReplicas", 0), status.get("readyReplicas", 0)
        if available > ready:
            which = "status.readyReplicas" if kind == "StatefulSet" else "readyReplicas"
            yield invalid("status.availableReplicas", available, f"cannot be greater than {which}")

    return rule


def _service(obj: JSONObject) -> FieldErrors:
    balancer = (obj.get("status") or {}).get("loadBalancer") or {}
    if balancer.get("ingress") and (obj.get("spec") or {}).get("type") != "LoadBalancer":
        yield forbidden(
            "status.loadBalancer.ingress", "may only be used when `spec.type` is 'LoadBalancer'"
        )


STATUS_RULES: Mapping[tuple[str, str], Callable[[JSONObject], FieldErrors]] = {
    ("", "Service"): _service,
    **{("apps", kind): _replicas(kind) for kind in _PARTS},
}
"""The rule of each kind that has one."""
