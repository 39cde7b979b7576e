"""Kubernetes' own kinds, as every API server serves them.

What belongs here: an `ApiResource` for each built-in kind that operatorkit reads or writes itself.
What does not: custom resources, whose class knows how they are served, and kinds that only
discovery knows (`ClusterAPI.resolve`).

Source: https://kubernetes.io/docs/reference/kubernetes-api/
"""

from __future__ import annotations

from operatorkit.names import ApiResource

__all__ = [
    "CLUSTER_ROLES",
    "CONFIG_MAPS",
    "CUSTOM_RESOURCE_DEFINITIONS",
    "DEPLOYMENTS",
    "EVENTS",
    "JOBS",
    "LEASES",
    "MUTATING_WEBHOOK_CONFIGURATIONS",
    "NAMESPACES",
    "NODES",
    "PERSISTENT_VOLUMES",
    "PERSISTENT_VOLUME_CLAIMS",
    "PODS",
    "POD_DISRUPTION_BUDGETS",
    "REPLICA_SETS",
    "SECRETS",
    "SERVICES",
    "SERVICE_ACCOUNTS",
    "STORAGE_CLASSES",
    "SUBJECT_ACCESS_REVIEWS",
    "TOKEN_REVIEWS",
    "VALIDATING_WEBHOOK_CONFIGURATIONS",
]

CONFIG_MAPS = ApiResource("", "v1", "ConfigMap", "configmaps", namespaced=True)
EVENTS = ApiResource("", "v1", "Event", "events", namespaced=True)
NAMESPACES = ApiResource("", "v1", "Namespace", "namespaces", namespaced=False)
NODES = ApiResource("", "v1", "Node", "nodes", namespaced=False)
PERSISTENT_VOLUME_CLAIMS = ApiResource(
    "", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", namespaced=True
)
PODS = ApiResource("", "v1", "Pod", "pods", namespaced=True)
SECRETS = ApiResource("", "v1", "Secret", "secrets", namespaced=True)
SERVICES = ApiResource("", "v1", "Service", "services", namespaced=True)
SERVICE_ACCOUNTS = ApiResource("", "v1", "ServiceAccount", "serviceaccounts", namespaced=True)

DEPLOYMENTS = ApiResource("apps", "v1", "Deployment", "deployments", namespaced=True)
REPLICA_SETS = ApiResource("apps", "v1", "ReplicaSet", "replicasets", namespaced=True)
LEASES = ApiResource("coordination.k8s.io", "v1", "Lease", "leases", namespaced=True)
POD_DISRUPTION_BUDGETS = ApiResource(
    "policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", namespaced=True
)

CUSTOM_RESOURCE_DEFINITIONS = ApiResource(
    "apiextensions.k8s.io",
    "v1",
    "CustomResourceDefinition",
    "customresourcedefinitions",
    namespaced=False,
)
MUTATING_WEBHOOK_CONFIGURATIONS = ApiResource(
    "admissionregistration.k8s.io",
    "v1",
    "MutatingWebhookConfiguration",
    "mutatingwebhookconfigurations",
    namespaced=False,
)
VALIDATING_WEBHOOK_CONFIGURATIONS = ApiResource(
    "admissionregistration.k8s.io",
    "v1",
    "ValidatingWebhookConfiguration",
    "validatingwebhookconfigurations",
    namespaced=False,
)
SUBJECT_ACCESS_REVIEWS = ApiResource(
    "authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews", namespaced=False
)
TOKEN_REVIEWS = ApiResource(
    "authentication.k8s.io", "v1", "TokenReview", "tokenreviews", namespaced=False
)

JOBS = ApiResource("batch", "v1", "Job", "jobs", namespaced=True)
CLUSTER_ROLES = ApiResource(
    "rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", namespaced=False
)
PERSISTENT_VOLUMES = ApiResource(
    "", "v1", "PersistentVolume", "persistentvolumes", namespaced=False
)
STORAGE_CLASSES = ApiResource(
    "storage.k8s.io", "v1", "StorageClass", "storageclasses", namespaced=False
)
