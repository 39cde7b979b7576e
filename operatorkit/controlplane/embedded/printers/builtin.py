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

from operatorkit.controlplane.embedded.printers import access, cluster, network, workloads
from operatorkit.controlplane.embedded.printers.cells import created_at, name_and_age
from operatorkit.controlplane.embedded.printers.pods import pod_cells, pod_row_conditions
from operatorkit.names import GroupVersionKind

__all__ = ["BuiltinColumns", "builtin_columns"]

JSONObject = Mapping[str, Any]
Cells = Callable[[JSONObject, datetime], list[Any]]


class BuiltinColumns:
    """The columns of one kind."""

    def __init__(
        self, definitions: Sequence[Mapping[str, Any]], cells: Cells, *, pods: bool
    ) -> None:
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
    text = files("operatorkit.controlplane.embedded.printers").joinpath("columns.json").read_text()
    names = ("name", "type", "format", "priority", "description")
    return {
        kind: [dict(zip(names, it, strict=True)) for it in columns]
        for kind, columns in json.loads(text).items()
    }


_CELLS: Mapping[str, Cells] = {
    "APIService": access.api_service,
    "CSIDriver": cluster.csi_driver,
    "CSINode": cluster.csi_node,
    "CertificateSigningRequest": access.signing_request,
    "ClusterRoleBinding": access.binding,
    "ComponentStatus": access.component_status,
    "ConfigMap": cluster.config_map,
    "ControllerRevision": workloads.controller_revision,
    "CronJob": workloads.cron_job,
    "DaemonSet": workloads.daemon_set,
    "Deployment": workloads.deployment,
    "EndpointSlice": network.endpoint_slice,
    "Endpoints": network.endpoints,
    "Event": cluster.event,
    "FlowSchema": access.flow_schema,
    "HorizontalPodAutoscaler": workloads.autoscaler,
    "IPAddress": network.ip_address,
    "Ingress": network.ingress,
    "IngressClass": network.ingress_class,
    "Job": workloads.job,
    "Lease": cluster.lease,
    "MutatingAdmissionPolicy": access.admission_policy,
    "MutatingAdmissionPolicyBinding": access.admission_binding,
    "MutatingWebhookConfiguration": access.webhooks,
    "Namespace": cluster.namespace,
    "NetworkPolicy": network.network_policy,
    "Node": cluster.node,
    "PersistentVolume": cluster.volume,
    "PersistentVolumeClaim": cluster.claim,
    "Pod": pod_cells,
    "PodDisruptionBudget": workloads.disruption_budget,
    "PodTemplate": workloads.pod_template,
    "PriorityClass": cluster.priority_class,
    "PriorityLevelConfiguration": access.priority_level,
    "ReplicaSet": workloads.replicas,
    "ReplicationController": workloads.replicas,
    "ResourceClaim": access.resource_claim,
    "ResourceQuota": cluster.resource_quota,
    "ResourceSlice": access.resource_slice,
    "RoleBinding": access.binding,
    "RuntimeClass": cluster.runtime_class,
    "Secret": cluster.secret,
    "Service": network.service,
    "ServiceCIDR": network.service_cidr,
    "StatefulSet": workloads.stateful_set,
    "StorageClass": cluster.storage_class,
    "ValidatingAdmissionPolicy": access.admission_policy,
    "ValidatingAdmissionPolicyBinding": access.admission_binding,
    "ValidatingWebhookConfiguration": access.webhooks,
    "VolumeAttachment": cluster.volume_attachment,
    "VolumeAttributesClass": cluster.volume_attributes_class,
}
