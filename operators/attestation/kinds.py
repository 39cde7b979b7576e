"""The kinds that admission covers, and where.

What belongs here: the list, which both webhooks share. What does not: finding images in them (`workloads`).
"""

from __future__ import annotations

from typing import Any, Final

from kubernetes.client.models import (
    V1CronJob,
    V1DaemonSet,
    V1Deployment,
    V1Job,
    V1Pod,
    V1PodTemplate,
    V1ReplicaSet,
    V1ReplicationController,
    V1StatefulSet,
)

from operators.attestation.external import PetSet

__all__ = ["EXCLUDED", "WORKLOADS"]

EXCLUDED: Final = {
    "matchExpressions": [
        {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]}
    ]
}
"""Where nothing is asked: by the one label that cannot be removed."""

WORKLOADS: Final[tuple[type[Any], ...]] = (
    V1Pod,
    V1Deployment,
    V1ReplicaSet,
    V1StatefulSet,
    V1DaemonSet,
    V1Job,
    V1CronJob,
    V1ReplicationController,
    V1PodTemplate,
    PetSet,
)
