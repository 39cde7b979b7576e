"""The cells of configuration, nodes, events and storage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from operatorkit.controlplane.embedded.printers.ages import age
from operatorkit.controlplane.embedded.printers.cells import age_of, name_of, part

__all__ = [
    "claim",
    "config_map",
    "csi_driver",
    "csi_node",
    "event",
    "lease",
    "namespace",
    "node",
    "priority_class",
    "resource_quota",
    "runtime_class",
    "secret",
    "storage_class",
    "volume",
    "volume_attachment",
    "volume_attributes_class",
]

JSONObject = Mapping[str, Any]
_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def config_map(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of a config map."""
    return [name_of(obj), len(part(obj, "data")) + len(part(obj, "binaryData")), age_of(obj, now)]


def secret(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of a secret."""
    return [name_of(obj), obj.get("type", ""), len(part(obj, "data")), age_of(obj, now)]


def namespace(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of a namespace."""
    return [name_of(obj), part(obj, "status").get("phase", ""), age_of(obj, now)]


def node(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of a node."""
    status = part(obj, "status")
    ready = [it for it in status.get("conditions") or () if it.get("type") == "Ready"]
    words = [("" if it.get("status") == "True" else "Not") + "Ready" for it in ready[-1:]] or [
        "Unknown"
    ]
    if part(obj, "spec").get("unschedulable"):
        words.append("SchedulingDisabled")
    info = part(status, "nodeInfo")
    kernel = info.get("kernelVersion") or "<unknown>"
    if info.get("architecture"):
        kernel += f" ({info['architecture']})"
    addresses = {
        it.get("type"): it.get("address") for it in reversed(status.get("addresses") or [])
    }
    return [
        name_of(obj),
        ",".join(words),
        ",".join(sorted(_roles(obj["metadata"].get("labels") or {}))) or "<none>",
        age_of(obj, now),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", "<none>"),
        addresses.get("ExternalIP", "<none>"),
        info.get("osImage") or "<unknown>",
        kernel,
        info.get("containerRuntimeVersion") or "<unknown>",
    ]


def _roles(labels: JSONObject) -> Iterable[str]:
    prefix = "node-role.kubernetes.io/"
    roles = {name.removeprefix(prefix) for name in labels if name.startswith(prefix)} - {""}
    return roles | (
        {labels["kubernetes.io/role"]} - {""} if "kubernetes.io/role" in labels else set()
    )


def event(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of an event."""
    new = obj.get("apiVersion") == "events.k8s.io/v1"
    about = part(obj, "regarding" if new else "involvedObject")
    source = part(obj, "deprecatedSource" if new else "source")
    old = ("firstTimestamp", "lastTimestamp", "count")
    names = tuple(f"deprecated{it[0].upper()}{it[1:]}" for it in old) if new else old
    first_seen, last_seen, count = (obj.get(it) for it in names)
    first = age(first_seen or obj.get("eventTime"), now)
    last = age(last_seen, now) if last_seen else first
    series = obj.get("series")
    if series:
        last, count = age(series.get("lastObservedTime"), now), series.get("count", 0)
    kind = about.get("kind", "").lower()
    reporter = obj.get("reportingController" if new else "reportingComponent")
    where = [
        source.get("component") or reporter or "",
        source.get("host") or obj.get("reportingInstance") or "",
    ]
    return [
        last,
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{kind}/{about['name']}" if about.get("name") else kind,
        about.get("fieldPath", ""),
        ", ".join(filter(None, where)),
        (obj.get("note" if new else "message") or "").strip(),
        first,
        count or 1,
        name_of(obj),
    ]


def resource_quota(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of a resource quota."""
    status = part(obj, "status")
    used = part(status, "used")
    texts = {
        name: f"{name}: {used.get(name, '0')}/{hard}"
        for name, hard in sorted(part(status, "hard").items())
    }
    limits = [text for name, text in texts.items() if name.startswith("limits.")]
    requests = [text for name, text in texts.items() if not name.startswith("limits.")]
    return [name_of(obj), ", ".join(requests), ", ".join(limits), age_of(obj, now)]


def lease(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of a lease."""
    return [name_of(obj), part(obj, "spec").get("holderIdentity", ""), age_of(obj, now)]


def priority_class(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of a priority class."""
    own = [obj.get("value", 0), obj.get("globalDefault", False)]
    return [name_of(obj), *own, age_of(obj, now), obj.get("preemptionPolicy", "")]


def runtime_class(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of a runtime class."""
    return [name_of(obj), obj.get("handler", ""), age_of(obj, now)]


def _storage_class_of(obj: JSONObject) -> str:
    annotations = part(obj["metadata"], "annotations")
    return str(annotations.get(_CLASS_ANNOTATION, part(obj, "spec").get("storageClassName", "")))


def _modes(modes: Sequence[str] | None) -> str:
    return ",".join(short for mode, short in _MODES.items() if mode in (modes or ()))


def _phase(obj: JSONObject) -> str:
    return (
        "Terminating"
        if "deletionTimestamp" in obj["metadata"]
        else str(part(obj, "status").get("phase", ""))
    )


def volume(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of a volume."""
    spec = part(obj, "spec")
    claim = spec.get("claimRef")
    return [
        name_of(obj),
        part(spec, "capacity").get("storage", "0"),
        _modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy", ""),
        _phase(obj),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        _storage_class_of(obj),
        spec.get("volumeAttributesClassName", "<unset>"),
        part(obj, "status").get("reason", ""),
        age_of(obj, now),
        spec.get("volumeMode", "<unset>"),
    ]


def claim(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of a claim."""
    spec, status = part(obj, "spec"), part(obj, "status")
    bound = bool(spec.get("volumeName"))
    return [
        name_of(obj),
        _phase(obj),
        spec.get("volumeName", ""),
        part(status, "capacity").get("storage", "0") if bound else "",
        _modes(status.get("accessModes")) if bound else "",
        _storage_class_of(obj),
        spec.get("volumeAttributesClassName", "<unset>"),
        age_of(obj, now),
        spec.get("volumeMode", "<unset>"),
    ]


def storage_class(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of a storage class."""
    name = name_of(obj)
    if (
        part(obj["metadata"], "annotations").get("storageclass.kubernetes.io/is-default-class")
        == "true"
    ):
        name += " (default)"
    own = [
        obj.get("provisioner", ""),
        obj.get("reclaimPolicy", "Delete"),
        obj.get("volumeBindingMode", "Immediate"),
    ]
    return [name, *own, obj.get("allowVolumeExpansion", False), age_of(obj, now)]


def csi_driver(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of a csi driver."""
    spec = part(obj, "spec")
    flags = [
        spec.get("attachRequired", True),
        spec.get("podInfoOnMount", False),
        spec.get("storageCapacity", False),
    ]
    tokens = spec.get("tokenRequests")
    audiences = "<unset>" if tokens is None else ",".join(it.get("audience", "") for it in tokens)
    modes = ",".join(spec.get("volumeLifecycleModes") or ()) or "<none>"
    return [
        name_of(obj),
        *flags,
        audiences,
        spec.get("requiresRepublish", False),
        modes,
        age_of(obj, now),
    ]


def csi_node(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of a csi node."""
    return [name_of(obj), len(part(obj, "spec").get("drivers") or ()), age_of(obj, now)]


def volume_attachment(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of a volume attachment."""
    spec = part(obj, "spec")
    volume = part(spec, "source").get("persistentVolumeName", "")
    attached = part(obj, "status").get("attached", False)
    return [
        name_of(obj),
        spec.get("attacher", ""),
        volume,
        spec.get("nodeName", ""),
        attached,
        age_of(obj, now),
    ]


def volume_attributes_class(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of a volume attributes class."""
    return [name_of(obj), obj.get("driverName", ""), age_of(obj, now)]
