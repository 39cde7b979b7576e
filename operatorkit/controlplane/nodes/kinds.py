"""The kinds that schedulers and kubelets work with, as every API server serves them."""

from __future__ import annotations

from operatorkit.names import ApiResource

__all__ = ["CONFIG_MAPS", "LEASES", "NODES", "PODS", "SECRETS", "SERVICES"]

PODS = ApiResource("", "v1", "Pod", "pods", namespaced=True)
NODES = ApiResource("", "v1", "Node", "nodes", namespaced=False)
SECRETS = ApiResource("", "v1", "Secret", "secrets", namespaced=True)
CONFIG_MAPS = ApiResource("", "v1", "ConfigMap", "configmaps", namespaced=True)
LEASES = ApiResource("coordination.k8s.io", "v1", "Lease", "leases", namespaced=True)
SERVICES = ApiResource("", "v1", "Service", "services", namespaced=True)
