"""What the server says of built-in objects that it accepts all the same.

What belongs here: the texts of Warning headers about one kind. What does not: errors (`validation`), and warnings about
any kind's metadata (`metadata`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from operatorkit.names import GroupVersionKind

__all__ = ["warnings"]

JSONObject = Mapping[str, Any]

_POD_SPECS: Mapping[tuple[str, str], str] = {
    ("", "Pod"): "spec",
    ("", "PodTemplate"): "template.spec",
    ("", "ReplicationController"): "spec.template.spec",
    **{
        ("apps", it): "spec.template.spec"
        for it in ("DaemonSet", "Deployment", "ReplicaSet", "StatefulSet")
    },
    ("batch", "Job"): "spec.template.spec",
    ("batch", "CronJob"): "spec.jobTemplate.spec.template.spec",
}


def warnings(kind: GroupVersionKind, obj: JSONObject, old: JSONObject | None) -> Iterator[str]:
    """Yield the warnings for the writer of an object: of pods only when something of them changes."""
    if kind == GroupVersionKind("", "v1", "Service"):
        yield from _service(obj.get("spec") or {})
    path = _POD_SPECS.get((kind.group, kind.kind))
    if path is not None and (old is None or _generation(old) != _generation(obj)):
        spec = obj
        for name in path.split("."):
            spec = spec.get(name) or {}
        yield from _pod_spec(path, spec)


def _generation(obj: JSONObject) -> Any:
    return obj["metadata"].get("generation")


def _pod_spec(path: str, spec: JSONObject) -> Iterator[str]:
    seconds = spec.get("terminationGracePeriodSeconds")
    if seconds is not None and seconds < 0:
        where = f"{path}.terminationGracePeriodSeconds"
        yield f"{where}: must be >= 0; negative values are invalid and will be treated as 1"
    for position, constraint in enumerate(spec.get("topologySpreadConstraints") or ()):
        if constraint.get("labelSelector") is None:
            where = f"{path}.topologySpreadConstraints[{position}].labelSelector"
            yield f"{where}: a null labelSelector results in matching no pod"


def _service(spec: JSONObject) -> Iterator[str]:
    external = spec.get("type") == "ExternalName"
    headless = spec.get("type") == "ClusterIP" and spec.get("clusterIP") == "None"
    if headless:
        if spec.get("loadBalancerIP"):
            yield "spec.loadBalancerIP is ignored for headless services"
        if spec.get("externalIPs"):
            yield "spec.externalIPs is ignored for headless services"
        if spec.get("sessionAffinity") != "None":
            yield "spec.SessionAffinity is ignored for headless services"
    elif spec.get("externalIPs"):
        yield (
            'spec.externalIPs is ignored when spec.type is "ExternalName"'
            if external
            else "spec.externalIPs is deprecated and may no longer be implemented in some clusters"
        )
    if spec.get("externalName") and not external:
        yield 'spec.externalName is ignored when spec.type is not "ExternalName"'
    if spec.get("trafficDistribution") == "PreferClose":
        yield 'spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"'
