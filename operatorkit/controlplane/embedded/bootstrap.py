"""The objects that every cluster begins with.

What belongs here: namespaces, the Service of the API itself, and putting RBAC's objects into storage. What does not:
which those are (`rbac_defaults`).
"""

from __future__ import annotations

import uuid
from typing import Any

from operatorkit.clock import format_time
from operatorkit.controlplane.embedded.auth.rbac_defaults import default_objects
from operatorkit.controlplane.embedded.endpoints.core import Core
from operatorkit.names import GroupVersionKind

__all__ = ["NAMESPACES", "bootstrap"]

NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")


def bootstrap(core: Core, *, client_ca: bytes = b"") -> None:
    """Create what is missing; `client_ca` is published for kubelets and aggregated API servers."""
    for name in NAMESPACES:
        _ensure(
            core,
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
                "spec": {"finalizers": ["kubernetes"]},
                "status": {"phase": "Active"},
            },
        )
    _ensure(core, _service())
    _ensure(core, _authentication(client_ca), replace=True)
    for obj in default_objects():
        _ensure(core, obj)


def _service() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "clusterIP": "10.96.0.1",
            "clusterIPs": ["10.96.0.1"],
            "internalTrafficPolicy": "Cluster",
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
            "sessionAffinity": "None",
            "type": "ClusterIP",
        },
        "status": {"loadBalancer": {}},
    }


def _authentication(client_ca: bytes) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
        "data": {"client-ca-file": client_ca.decode()} if client_ca else {},
    }


def _ensure(core: Core, obj: dict[str, Any], *, replace: bool = False) -> None:
    served = core.registry.by_kind(GroupVersionKind.of(obj["apiVersion"], obj["kind"]))
    assert served is not None
    collection = core.storage.collection(served.collection)
    metadata = obj["metadata"]
    namespace = metadata.get("namespace", "")
    held = collection.records.get(
        f"{namespace}/{metadata['name']}" if namespace else metadata["name"]
    )
    if held is not None and not replace:
        return
    metadata["uid"] = str(uuid.uuid4()) if held is None else held.uid
    metadata["creationTimestamp"] = format_time(core.clock.now())
    core.storage.put(collection, obj, held)
