"""Built-in objects that several groups or versions serve: the same object, in the words of each.

There are two: Events of the core group and of events.k8s.io, and HorizontalPodAutoscalers v1 and v2, whose fields that
v1 does not have travel in annotations.

Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/ and
https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/horizontal-pod-autoscaler-v1/
"""

from __future__ import annotations

import json
from typing import Any

from operatorkit.names import GroupVersionKind

__all__ = ["convert"]

JSONObject = dict[str, Any]

# Names of an Event's fields in the core group, and in events.k8s.io.
_EVENT = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_METRICS = "autoscaling.alpha.kubernetes.io/metrics"
_BEHAVIOR = "autoscaling.alpha.kubernetes.io/behavior"
_CURRENT = "autoscaling.alpha.kubernetes.io/current-metrics"
_CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"


def convert(obj: JSONObject, kind: GroupVersionKind) -> JSONObject:
    """Return an object as `kind`, the same kind in another group or version; the argument stays as it is.

    Raises ValueError when there is no such conversion.
    """
    source = GroupVersionKind.of(obj.get("apiVersion", ""), obj.get("kind", ""))
    head = {"kind": kind.kind, "apiVersion": kind.api_version}
    rest = {name: it for name, it in obj.items() if name not in head}
    match source.api_version, kind.api_version, kind.kind:
        case before, after, _ if before == after:
            return {**head, **rest}
        case "v1", "events.k8s.io/v1", "Event":
            return {**head, **_renamed(rest, _EVENT)}
        case "events.k8s.io/v1", "v1", "Event":
            return {**head, **_renamed(rest, {new: old for old, new in _EVENT.items()})}
        case "autoscaling/v1", "autoscaling/v2", "HorizontalPodAutoscaler":
            return {**head, **_to_v2(rest)}
        case "autoscaling/v2", "autoscaling/v1", "HorizontalPodAutoscaler":
            return {**head, **_to_v1(rest)}
    raise ValueError(f"{source} cannot be converted to {kind}")


def _renamed(obj: JSONObject, names: dict[str, str]) -> JSONObject:
    return {names.get(name, name): it for name, it in obj.items()}


def _is_cpu(metric: JSONObject) -> bool:
    resource = metric.get("resource", {})
    target = resource.get("target", {})
    return (
        metric.get("type") == "Resource"
        and resource.get("name") == "cpu"
        and "averageUtilization" in target
    )


def _to_v1(obj: JSONObject) -> JSONObject:
    spec, status = dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    kept: dict[str, Any] = {}
    others = []
    for metric in spec.pop("metrics", None) or ():
        if _is_cpu(metric) and "targetCPUUtilizationPercentage" not in spec:
            spec["targetCPUUtilizationPercentage"] = metric["resource"]["target"][
                "averageUtilization"
            ]
        else:
            others.append(metric)
    kept |= {_METRICS: others, _BEHAVIOR: spec.pop("behavior", None)}
    current = []
    for metric in status.pop("currentMetrics", None) or ():
        resource = metric.get("resource", {})
        if resource.get("name") == "cpu" and "averageUtilization" in resource.get("current", {}):
            status["currentCPUUtilizationPercentage"] = resource["current"]["averageUtilization"]
        else:
            current.append(metric)
    kept |= {_CURRENT: current, _CONDITIONS: status.pop("conditions", None)}
    status.setdefault("currentReplicas", 0)
    metadata = dict(obj.get("metadata") or {})
    written = {name: json.dumps(it, separators=(",", ":")) for name, it in kept.items() if it}
    if written:
        metadata["annotations"] = {**metadata.get("annotations", {}), **written}
    return {**obj, "metadata": metadata, "spec": spec, "status": status}


def _to_v2(obj: JSONObject) -> JSONObject:
    spec, status = dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    metadata = dict(obj.get("metadata") or {})
    annotations = dict(metadata.get("annotations") or {})
    kept = {
        name: _parsed(annotations.pop(name, None))
        for name in (_METRICS, _BEHAVIOR, _CURRENT, _CONDITIONS)
    }
    metrics = list(kept[_METRICS] or ())
    percentage = spec.pop("targetCPUUtilizationPercentage", None)
    if percentage is not None:
        metrics.insert(0, _cpu("target", {"type": "Utilization", "averageUtilization": percentage}))
    if metrics:
        spec["metrics"] = metrics
    if kept[_BEHAVIOR]:
        spec["behavior"] = kept[_BEHAVIOR]
    current = list(kept[_CURRENT] or ())
    percentage = status.pop("currentCPUUtilizationPercentage", None)
    if percentage is not None:
        current.insert(0, _cpu("current", {"averageUtilization": percentage}))
    status["currentMetrics"] = current or None
    if kept[_CONDITIONS]:
        status["conditions"] = kept[_CONDITIONS]
    if annotations:
        metadata["annotations"] = annotations
    else:
        metadata.pop("annotations", None)
    return {**obj, "metadata": metadata, "spec": spec, "status": status}


def _cpu(name: str, value: JSONObject) -> JSONObject:
    return {"type": "Resource", "resource": {"name": "cpu", name: value}}


def _parsed(text: str | None) -> Any:
    """Read an annotation; a malformed one counts as absent."""
    try:
        return json.loads(text) if text else None
    except ValueError:
        return None
