"""The columns of built-in kinds in Tables, which `kubectl get` prints, and the cells of an object in them.

Every column is filled, those of `-o wide` too: the client leaves out what it does not want, by priority.

Source: `columns.json`, the definitions as a server gives them, recorded by `tests/real/record_columns.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

from operatorkit.controlplane.embedded.builtin import access_cells, cluster_cells, network_cells, workload_cells
from operatorkit.controlplane.embedded.builtin.cells import created_at, name_and_age
from operatorkit.controlplane.embedded.builtin.pods import pod_cells, pod_row_conditions
from operatorkit.names import GroupVersionKind

__all__ = ["BuiltinColumns", "builtin_columns"]

JSONObject = Mapping[str, Any]
Cells = Callable[[JSONObject, datetime], list[Any]]


class BuiltinColumns:
    """The columns of one kind."""

    def __init__(self, definitions: Sequence[Mapping[str, Any]], cells: Cells, *, pods: bool) -> None:
        self.definitions = definitions
        self._cells = cells
        self._pods = pods

    def cells(self, obj: JSONObject, now: datetime) -> list[Any]:
        """Return the cells of one object, one for each definition."""
        return self._cells(obj, now)

    def conditions(self, obj: JSONObject) -> list[dict[str, Any]]:
        """Return the conditions of a row: a pod that has ended is `Completed`."""
        return pod_row_conditions(obj) if self._pods else []


@cache
def builtin_columns(kind: GroupVersionKind) -> BuiltinColumns | None:
    """Return the columns of a built-in kind, or None when it is not built in or cannot be listed."""
    definitions = _definitions().get(str(kind))
    if definitions is None:
        return None
    default = created_at if definitions[-1]["type"] == "date" else name_and_age
    cells = _CELLS.get(kind.kind, default)
    return BuiltinColumns(definitions, cells, pods=kind.kind == "Pod")


@cache
def _definitions() -> Mapping[str, list[dict[str, Any]]]:
    text = files("operatorkit.controlplane.embedded.builtin").joinpath("columns.json").read_text()
    names = ("name", "type", "format", "priority", "description")
    return {kind: [dict(zip(names, it, strict=True)) for it in columns] for kind, columns in json.loads(text).items()}


_CELLS: Mapping[str, Cells] = {
    "APIService": access_cells.api_service,
    "CSIDriver": cluster_cells.csi_driver,
    "CSINode": cluster_cells.csi_node,
    "CertificateSigningRequest": access_cells.signing_request,
    "ClusterRoleBinding": access_cells.binding,
    "ComponentStatus": access_cells.component_status,
    "ConfigMap": cluster_cells.config_map,
    "ControllerRevision": workload_cells.controller_revision,
    "CronJob": workload_cells.cron_job,
    "DaemonSet": workload_cells.daemon_set,
    "Deployment": workload_cells.deployment,
    "EndpointSlice": network_cells.endpoint_slice,
    "Endpoints": network_cells.endpoints,
    "Event": cluster_cells.event,
    "FlowSchema": access_cells.flow_schema,
    "HorizontalPodAutoscaler": workload_cells.autoscaler,
    "IPAddress": network_cells.ip_address,
    "Ingress": network_cells.ingress,
    "IngressClass": network_cells.ingress_class,
    "Job": workload_cells.job,
    "Lease": cluster_cells.lease,
    "MutatingAdmissionPolicy": access_cells.admission_policy,
    "MutatingAdmissionPolicyBinding": access_cells.admission_binding,
    "MutatingWebhookConfiguration": access_cells.webhooks,
    "Namespace": cluster_cells.namespace,
    "NetworkPolicy": network_cells.network_policy,
    "Node": cluster_cells.node,
    "PersistentVolume": cluster_cells.volume,
    "PersistentVolumeClaim": cluster_cells.claim,
    "Pod": pod_cells,
    "PodDisruptionBudget": workload_cells.disruption_budget,
    "PodTemplate": workload_cells.pod_template,
    "PriorityClass": cluster_cells.priority_class,
    "PriorityLevelConfiguration": access_cells.priority_level,
    "ReplicaSet": workload_cells.replicas,
    "ReplicationController": workload_cells.replicas,
    "ResourceClaim": access_cells.resource_claim,
    "ResourceQuota": cluster_cells.resource_quota,
    "ResourceSlice": access_cells.resource_slice,
    "RoleBinding": access_cells.binding,
    "RuntimeClass": cluster_cells.runtime_class,
    "Secret": cluster_cells.secret,
    "Service": network_cells.service,
    "ServiceCIDR": network_cells.service_cidr,
    "StatefulSet": workload_cells.stateful_set,
    "StorageClass": cluster_cells.storage_class,
    "ValidatingAdmissionPolicy": access_cells.admission_policy,
    "ValidatingAdmissionPolicyBinding": access_cells.admission_binding,
    "ValidatingWebhookConfiguration": access_cells.webhooks,
    "VolumeAttachment": cluster_cells.volume_attachment,
    "VolumeAttributesClass": cluster_cells.volume_attributes_class,
}
