"""By which fields built-in objects can be selected.

Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/, and the conversion functions
of field labels in the API server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from operatorkit.names import GroupVersionKind

__all__ = ["selectable_fields", "unknown_field"]

JSONObject = Mapping[str, Any]


def _at(obj: JSONObject, path: str) -> str:
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _paths(*paths: str) -> Callable[[JSONObject], dict[str, str]]:
    return lambda obj: {path: _at(obj, path) for path in paths}


def _event(obj: JSONObject) -> dict[str, str]:
    involved = [
        f"involvedObject.{it}" for it in ("apiVersion", "fieldPath", "kind", "name", "namespace")
    ]
    involved += ["involvedObject.resourceVersion", "involvedObject.uid"]
    source = _at(obj, "source.component") or _at(obj, "reportingComponent")
    own = {"source": source, **_paths(*involved, "reason", "type")(obj)}
    return {**own, "reportingComponent": _at(obj, "reportingComponent")}


def _new_event(obj: JSONObject) -> dict[str, str]:
    regarding = [
        f"regarding.{it}" for it in ("apiVersion", "fieldPath", "kind", "name", "namespace")
    ]
    regarding += ["regarding.resourceVersion", "regarding.uid"]
    return _paths(*regarding, "reason", "reportingController", "type")(obj)


def _pod(obj: JSONObject) -> dict[str, str]:
    paths = (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "status.phase",
    )
    result = _paths(*paths, "status.nominatedNodeName")(obj)
    network = _at(obj, "spec.hostNetwork") or "false"
    addresses = (obj.get("status") or {}).get("podIPs") or [{"ip": _at(obj, "status.podIP")}]
    return {
        **result,
        "spec.hostNetwork": network,
        "status.podIP": str(addresses[0].get("ip", "")),
        "status.podIPs": "",
    }


def _node(obj: JSONObject) -> dict[str, str]:
    return {"spec.unschedulable": _at(obj, "spec.unschedulable") or "false"}


_FIELDS: Mapping[tuple[str, str], Callable[[JSONObject], dict[str, str]]] = {
    ("", "Event"): _event,
    ("events.k8s.io", "Event"): _new_event,
    ("", "Pod"): _pod,
    ("", "Node"): _node,
    ("", "Namespace"): _paths("status.phase"),
    ("", "Secret"): _paths("type"),
    ("", "Service"): _paths("spec.clusterIP", "spec.type"),
    ("", "ReplicationController"): _paths("status.replicas"),
    ("batch", "Job"): _paths("status.successful"),
    ("certificates.k8s.io", "CertificateSigningRequest"): _paths("spec.signerName"),
    ("resource.k8s.io", "ResourceSlice"): _paths("spec.nodeName", "spec.driver"),
}


def selectable_fields(
    kind: GroupVersionKind, obj: JSONObject, *, namespaced: bool
) -> dict[str, str]:
    """Return the fields by which an object can be selected, and their values."""
    own = _FIELDS.get((kind.group, kind.kind))
    if own is None:
        return _paths("metadata.name", "metadata.namespace")(obj)
    return {
        **_paths("metadata.name", *(("metadata.namespace",) if namespaced else ()))(obj),
        **own(obj),
    }


def unknown_field(kind: GroupVersionKind, name: str) -> str:
    """Return the error text of a selector by a field that the kind does not have."""
    match kind.group, kind.kind:
        case "batch", "Job":
            return f'field label "{name}" not supported for Job'
        case "resource.k8s.io", "ResourceSlice":
            return f"field label not supported for {kind.api_version}, Kind={kind.kind}: {name}"
        case group, kind_name if (group, kind_name) in _FIELDS:
            return f"field label not supported: {name}"
    return f'"{name}" is not a known field selector: only "metadata.name", "metadata.namespace"'
