"""What the server does with a built-in object before it is stored, beyond defaults.

Which fields an endpoint resets (status on the main one, spec on /status), when `metadata.generation` moves, what a new
object begins with. The same functions serve custom resources, with `custom=True`.

Source: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md, and what a server answers.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from operatorkit.controlplane import _quantity as quantity
from operatorkit.controlplane.embedded.fields.managed import FieldFilter, excluding, only
from operatorkit.controlplane.embedded.fields.typed import equal
from operatorkit.crd.kubernetes import definitions, kinds
from operatorkit.names import GroupVersionKind

__all__ = [
    "allocate_cluster_ip",
    "complete",
    "field_filter",
    "generate_job_selector",
    "prepare_create",
    "prepare_update",
]

JSONObject = dict[str, Any]

# Kinds whose metadata.generation counts changes of the desired state; where that is not spec, its field is named.
_GENERATION: dict[tuple[str, str], tuple[str, ...]] = {
    **{
        ("apps", kind): ("spec",)
        for kind in ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet")
    },
    **{("batch", kind): ("spec",) for kind in ("Job", "CronJob")},
    **{
        ("networking.k8s.io", kind): ("spec",)
        for kind in ("Ingress", "IngressClass", "NetworkPolicy")
    },
    ("", "ReplicationController"): ("spec",),
    ("", "Pod"): ("spec",),
    ("policy", "PodDisruptionBudget"): ("spec",),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): ("spec",),
    ("scheduling.k8s.io", "PriorityClass"): ("value",),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): ("webhooks",),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): ("webhooks",),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"): ("spec",),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"): ("spec",),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"): ("spec",),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"): ("spec",),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"): ("spec",),
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"): ("spec",),
    ("storage.k8s.io", "VolumeAttachment"): ("spec",),
    ("discovery.k8s.io", "EndpointSlice"): ("addressType", "endpoints", "ports"),
    ("", "PodTemplate"): ("template",),
}
_LABELS_KEPT_BY_STATUS = {("apps", "Deployment"), ("apps", "DaemonSet"), ("apps", "StatefulSet")}
_KEPT_BY_STATUS: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "Pod"): ("metadata.deletionTimestamp", "metadata.ownerReferences"),
    ("apps", "Deployment"): ("metadata.labels",),
}
_NOT_READY = [
    {
        "effect": "NoExecute",
        "key": f"node.kubernetes.io/{key}",
        "operator": "Exists",
        "tolerationSeconds": 300,
    }
    for key in ("not-ready", "unreachable")
]


def _has_status(kind: GroupVersionKind) -> bool:
    return "status" in definitions()[kinds()[kind]].get("properties", {})


def field_filter(
    kind: GroupVersionKind, subresource: str = "", *, custom: bool = False
) -> FieldFilter:
    """Return what an endpoint takes away from the fields that a writer there can own."""
    if subresource == "status":
        kept = _KEPT_BY_STATUS.get((kind.group, kind.kind), ())
        return only("status") if custom else excluding("spec", *kept)
    if subresource == "scale":
        return only("spec.replicas")
    if custom or _has_status(kind):
        return excluding("status")
    return lambda fields: fields


def prepare_create(
    kind: GroupVersionKind, obj: JSONObject, *, custom: bool = False, status: bool = True
) -> None:
    """Bring a new object, with its defaults, into the state in which it begins. In place.

    `status` says, for a custom resource, whether it has the status subresource.
    """
    metadata = obj.setdefault("metadata", {})
    metadata.pop("generation", None)
    if custom:
        metadata["generation"] = 1
        if status:
            obj.pop("status", None)
        return
    if (kind.group, kind.kind) in _GENERATION:
        metadata["generation"] = 1
    _reset_status(kind, obj)
    _BEGIN.get((kind.group, kind.kind), _nothing)(obj)


def _nothing(_: JSONObject) -> None:
    """Begin as given."""


_KEEP_STATUS = {("", "Node"), ("", "Event"), ("events.k8s.io", "Event")}


def _reset_status(kind: GroupVersionKind, obj: JSONObject) -> None:
    if not _has_status(kind) or (kind.group, kind.kind) in _KEEP_STATUS:
        return
    match kind.group, kind.kind:
        case "", "Namespace":
            obj["status"] = {"phase": "Active"}
        case "", ("PersistentVolumeClaim" | "PersistentVolume"):
            obj["status"] = {"phase": "Pending"}
        case "", "Service":
            obj["status"] = {"loadBalancer": {}}
        case "networking.k8s.io", "Ingress":
            obj["status"] = {"loadBalancer": {}}
        case "apiextensions.k8s.io", "CustomResourceDefinition":
            stored = obj.get("status", {}).get("storedVersions", [])
            obj["status"] = {
                "acceptedNames": {"kind": "", "plural": ""},
                "conditions": None,
                "storedVersions": stored,
            }
        case "policy", "PodDisruptionBudget":
            counts = ("currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods")
            obj["status"] = dict.fromkeys(counts, 0)
        case "apps", "DaemonSet":
            counts = (
                "currentNumberScheduled",
                "desiredNumberScheduled",
                "numberMisscheduled",
                "numberReady",
            )
            obj["status"] = dict.fromkeys(counts, 0)
        case "apps", "ReplicaSet" | "StatefulSet":
            obj["status"] = {
                "replicas": 0,
                **({"availableReplicas": 0} if kind.kind == "StatefulSet" else {}),
            }
        case "", "ReplicationController":
            obj["status"] = {"replicas": 0}
        case "autoscaling", "HorizontalPodAutoscaler":
            current = {"currentReplicas": 0} if kind.version == "v1" else {"currentMetrics": None}
            obj["status"] = {**current, "desiredReplicas": 0}
        case _:
            obj["status"] = {}


def _begin_namespace(obj: JSONObject) -> None:
    finalizers = obj.setdefault("spec", {}).setdefault("finalizers", [])
    if "kubernetes" not in finalizers:
        finalizers.append("kubernetes")


def complete(kind: GroupVersionKind, obj: JSONObject) -> None:
    """Give a new object what admission plugins fill in. In place, and the second time without effect."""
    if kind != GroupVersionKind("", "v1", "Pod"):
        return
    spec = obj.setdefault("spec", {})
    spec.setdefault("serviceAccountName", "default")
    spec.setdefault("serviceAccount", spec["serviceAccountName"])
    spec.setdefault("priority", 0)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    _tolerate_lost_nodes(spec)


def _tolerate_lost_nodes(spec: JSONObject) -> None:
    """Let a pod stay for a while on a node that is not heard of, unless it says something of that itself."""
    tolerations = spec.get("tolerations") or []
    for wanted in _NOT_READY:
        if not any(_tolerates(it, wanted["key"]) for it in tolerations):
            tolerations.append(copy.deepcopy(wanted))
    spec["tolerations"] = tolerations


def _begin_pod(obj: JSONObject) -> None:
    spec = obj.setdefault("spec", {})
    if spec.get("terminationGracePeriodSeconds", 0) < 0:
        spec["terminationGracePeriodSeconds"] = 1
    obj["status"] = {"phase": "Pending", "qosClass": _quality(spec)}


def _tolerates(toleration: JSONObject, key: Any) -> bool:
    return toleration.get("key", "") in {"", key} and toleration.get("effect", "") in {
        "",
        "NoExecute",
    }


def _quality(spec: JSONObject) -> str:
    """Return the pod's quality-of-service class, by the cpu and memory of its containers."""
    guaranteed, any_set = True, False
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        resources = container.get("resources", {})
        limits, requests = resources.get("limits", {}), resources.get("requests", {})
        for name in ("cpu", "memory"):
            limit, request = (quantity.parse(str(it.get(name, "0"))) for it in (limits, requests))
            any_set = any_set or bool(limit) or bool(request)
            guaranteed = guaranteed and bool(limit) and limit == request
    if not any_set:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def generate_job_selector(obj: JSONObject) -> None:
    """Give a new Job and its pods the labels by which it finds them, in place; `metadata.uid` must be set.

    Nothing happens to a Job that selects by hand. Doing it twice changes nothing.
    """
    spec = obj.get("spec") or {}
    metadata = obj.get("metadata", {})
    if spec.get("manualSelector") or not metadata.get("uid"):
        return
    labels = {
        "batch.kubernetes.io/controller-uid": metadata["uid"],
        "batch.kubernetes.io/job-name": metadata.get("name", ""),
        "controller-uid": metadata["uid"],
        "job-name": metadata.get("name", ""),
    }
    spec.setdefault("template", {}).setdefault("metadata", {}).setdefault("labels", {}).update(
        labels
    )
    selector = spec.setdefault("selector", {}).setdefault("matchLabels", {})
    selector["batch.kubernetes.io/controller-uid"] = metadata["uid"]


def _begin_volume(obj: JSONObject) -> None:
    _protect(obj, "kubernetes.io/pv-protection")


def _begin_claim(obj: JSONObject) -> None:
    _protect(obj, "kubernetes.io/pvc-protection")


def _protect(obj: JSONObject, finalizer: str) -> None:
    finalizers = obj["metadata"].setdefault("finalizers", [])
    if finalizer not in finalizers:
        finalizers.append(finalizer)


def _begin_daemon_set(obj: JSONObject) -> None:
    obj["metadata"].setdefault("annotations", {})["deprecated.daemonset.template.generation"] = "1"


def _begin_node(obj: JSONObject) -> None:
    """Keep pods away until the node says that it is ready."""
    taint = {"effect": "NoSchedule", "key": "node.kubernetes.io/not-ready"}
    taints = obj.setdefault("spec", {}).setdefault("taints", [])
    if taint not in taints:
        taints.append(taint)


_BEGIN = {
    ("", "PersistentVolume"): _begin_volume,
    ("", "PersistentVolumeClaim"): _begin_claim,
    ("", "Node"): _begin_node,
    ("apps", "DaemonSet"): _begin_daemon_set,
    ("", "Namespace"): _begin_namespace,
    ("", "Pod"): _begin_pod,
}


def allocate_cluster_ip(
    service: JSONObject, used: Iterable[str], *, network: str = "10.96.0"
) -> None:
    """Give a Service that needs one a cluster IP out of 254 that is not in `used`, in place.

    Raises OverflowError when none is left.
    """
    spec = service.setdefault("spec", {})
    if spec.get("type") == "ExternalName":
        return
    if not spec.get("clusterIP"):
        taken = set(used)
        free = (f"{network}.{number}" for number in range(2, 255))
        chosen = next((it for it in free if it not in taken), None)
        if chosen is None:
            raise OverflowError("range is full")
        spec["clusterIP"] = chosen
    spec["clusterIPs"] = spec.get("clusterIPs") or [spec["clusterIP"]]
    spec.setdefault("ipFamilies", ["IPv6" if ":" in spec["clusterIP"] else "IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")


def prepare_update(
    kind: GroupVersionKind,
    new: JSONObject,
    old: JSONObject,
    *,
    subresource: str = "",
    custom: bool = False,
    status: bool = True,
) -> None:
    """Take back what an endpoint may not change, and count the generation. In place.

    `status` says, for a custom resource, whether it has the status subresource.
    """
    if subresource == "status":
        _keep_all_but_status(kind, new, old, custom=custom)
        return
    if (status if custom else _has_status(kind)) and (kind.group, kind.kind) not in _KEEP_STATUS:
        _keep(new, old, "status")
    if kind == GroupVersionKind("", "v1", "Namespace"):
        _keep(new.setdefault("spec", {}), old.get("spec", {}), "finalizers")
    if kind == GroupVersionKind("", "v1", "Service"):
        _update_addresses(new, old)
    if kind == GroupVersionKind("", "v1", "Pod") and not subresource:
        spec, before = new.setdefault("spec", {}), old.get("spec", {})
        for name in ("priority", "preemptionPolicy"):
            if name in before:
                spec.setdefault(name, before[name])
        _tolerate_lost_nodes(spec)
    _count_generation(kind, new, old, custom=custom, status=status)


_OUTSIDE = frozenset({"LoadBalancer", "NodePort"})
"""The types of Services that clients outside the cluster reach by ports of nodes."""


def _update_addresses(new: JSONObject, old: JSONObject) -> None:
    """Keep what was allocated where an update leaves it out, and drop what only the former type has."""
    after, before = new.setdefault("spec", {}), old.get("spec", {})
    _drop_node_ports(after, before)
    if after.get("type") == "ExternalName" or before.get("type") == "ExternalName":
        return
    if not after.get("clusterIP"):
        for name in ("clusterIP", "clusterIPs"):
            _keep(after, before, name)
    for name in ("ipFamilies", "ipFamilyPolicy", "clusterIPs"):
        if name not in after:
            _keep(after, before, name)
    if after.get("type") in _OUTSIDE:
        _keep_node_ports(after, before)


def _drop_node_ports(after: JSONObject, before: JSONObject) -> None:
    """Drop what a Service had for clients outside the cluster, if it is no longer for them and leaves it as it was."""
    if before.get("type") not in _OUTSIDE or after.get("type") in _OUTSIDE:
        return
    if after.get("externalIPs"):
        return
    if after.get("externalTrafficPolicy") == before.get("externalTrafficPolicy"):
        after.pop("externalTrafficPolicy", None)
    for port, was in zip(after.get("ports", ()), before.get("ports", ()), strict=False):
        if port.get("nodePort") == was.get("nodePort"):
            port.pop("nodePort", None)


def _keep_node_ports(after: JSONObject, before: JSONObject) -> None:
    """Keep the node port of each port that is sent without one."""
    known = before.get("ports", ())
    for port in after.get("ports", ())[: len(known)]:
        same = [it for it in known if it.get("port") == port.get("port")]
        if same and same[0].get("nodePort") and not port.get("nodePort"):
            port["nodePort"] = same[0]["nodePort"]


def _keep(new: JSONObject, old: JSONObject, name: str) -> None:
    if name in old:
        new[name] = copy.deepcopy(old[name])
    else:
        new.pop(name, None)


def _keep_all_but_status(
    kind: GroupVersionKind, new: JSONObject, old: JSONObject, *, custom: bool
) -> None:
    before, after = old.get("metadata", {}), new.setdefault("metadata", {})
    if custom:
        for name in [
            it for it in (*new, *old) if it not in {"status", "metadata", "apiVersion", "kind"}
        ]:
            _keep(new, old, name)
        managed = after.get("managedFields")
        new["metadata"] = {
            name: copy.deepcopy(it) for name, it in before.items() if name != "managedFields"
        }
        if managed is not None:
            new["metadata"]["managedFields"] = managed
        if "resourceVersion" in after:
            new["metadata"]["resourceVersion"] = after["resourceVersion"]
        return
    _keep(new, old, "spec")
    _keep(after, before, "generation")
    _keep(after, before, "deletionTimestamp")
    if (kind.group, kind.kind) in _LABELS_KEPT_BY_STATUS:
        _keep(after, before, "labels")
    if kind == GroupVersionKind("", "v1", "Pod"):
        _keep(after, before, "ownerReferences")


def _count_generation(
    kind: GroupVersionKind, new: JSONObject, old: JSONObject, *, custom: bool, status: bool
) -> None:
    before, after = old.get("metadata", {}), new.setdefault("metadata", {})
    generation = before.get("generation", 0)
    if custom:
        ignored = {"metadata", "status"} if status else {"metadata"}
        names = tuple({it for it in (*new, *old) if it not in ignored})
    else:
        names = _GENERATION.get((kind.group, kind.kind), ())
    changed = any(not equal(new.get(name), old.get(name)) for name in names)
    if (kind.group, kind.kind) == (
        "apps",
        "Deployment",
    ):  # whose annotations its controller acts on
        changed = changed or not equal(after.get("annotations"), before.get("annotations"))
    if changed:
        generation += 1
    if generation:
        after["generation"] = generation
    else:
        after.pop("generation", None)
