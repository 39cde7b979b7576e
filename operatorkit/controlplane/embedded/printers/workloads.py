"""The cells of workloads: what runs pods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from operatorkit.clock import parse_time
from operatorkit.controlplane.embedded.printers.ages import age, human_duration
from operatorkit.controlplane.embedded.printers.cells import (
    age_of,
    labels_text,
    name_of,
    names_and_images,
    part,
    selector_or_none,
    selector_text,
)

__all__ = [
    "autoscaler",
    "controller_revision",
    "cron_job",
    "daemon_set",
    "deployment",
    "disruption_budget",
    "job",
    "pod_template",
    "replicas",
    "stateful_set",
]

JSONObject = Mapping[str, Any]


def replicas(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of what keeps a number of replicas."""
    spec, status = part(obj, "spec"), part(obj, "status")
    counts = [spec.get("replicas", 0), status.get("replicas", 0), status.get("readyReplicas", 0)]
    selector = spec.get("selector")
    text = (
        labels_text(selector)
        if obj.get("kind") == "ReplicationController"
        else selector_or_none(selector)
    )
    return [
        name_of(obj),
        *counts,
        age_of(obj, now),
        *names_and_images(part(spec, "template")),
        text,
    ]


def deployment(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of a deployment."""
    spec, status = part(obj, "spec"), part(obj, "status")
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}"
    counts = [status.get("updatedReplicas", 0), status.get("availableReplicas", 0)]
    names = names_and_images(part(spec, "template"))
    return [
        name_of(obj),
        ready,
        *counts,
        age_of(obj, now),
        *names,
        selector_text(spec.get("selector")),
    ]


def stateful_set(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of a stateful set."""
    spec, status = part(obj, "spec"), part(obj, "status")
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}"
    return [name_of(obj), ready, age_of(obj, now), *names_and_images(part(spec, "template"))]


def daemon_set(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of a daemon set."""
    spec, status = part(obj, "spec"), part(obj, "status")
    fields = (
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
    )
    counts = [status.get(it, 0) for it in (*fields, "numberAvailable")]
    template = part(spec, "template")
    nodes = labels_text(part(template, "spec").get("nodeSelector"))
    return [
        name_of(obj),
        *counts,
        nodes,
        age_of(obj, now),
        *names_and_images(template),
        selector_or_none(spec.get("selector")),
    ]


def job(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of a job."""
    spec, status = part(obj, "spec"), part(obj, "status")
    succeeded, parallel = status.get("succeeded", 0), spec.get("parallelism", 0)
    if "completions" in spec:
        completions = f"{succeeded}/{spec['completions']}"
    else:
        completions = f"{succeeded}/1 of {parallel}" if parallel > 1 else f"{succeeded}/1"
    took = ""
    if status.get("startTime"):
        end = parse_time(status["completionTime"]) if status.get("completionTime") else now
        took = human_duration(end - parse_time(status["startTime"]))
    names = names_and_images(part(spec, "template"))
    state = _job_status(obj, status)
    return [
        name_of(obj),
        state,
        completions,
        took,
        age_of(obj, now),
        *names,
        selector_or_none(spec.get("selector")),
    ]


def _job_status(obj: JSONObject, status: JSONObject) -> str:
    true = {it["type"] for it in status.get("conditions") or () if it.get("status") == "True"}
    for condition in ("Complete", "Failed"):
        if condition in true:
            return condition
    if "deletionTimestamp" in obj["metadata"]:
        return "Terminating"
    return next(
        (it for it in ("Suspended", "FailureTarget", "SuccessCriteriaMet") if it in true), "Running"
    )


def cron_job(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of a cron job."""
    spec, status = part(obj, "spec"), part(obj, "status")
    last = age(status["lastScheduleTime"], now) if status.get("lastScheduleTime") else "<none>"
    suspend = {True: "True", False: "False", None: "<unset>"}[spec.get("suspend")]
    job = part(part(spec, "jobTemplate"), "spec")
    return [
        name_of(obj),
        spec.get("schedule", ""),
        spec.get("timeZone", "<none>"),
        suspend,
        len(status.get("active") or ()),
        last,
        age_of(obj, now),
        *names_and_images(part(job, "template")),
        selector_or_none(job.get("selector")),
    ]


def pod_template(obj: JSONObject, _: datetime) -> list[Any]:
    """Return the cells of a pod template."""
    template = part(obj, "template")
    return [
        name_of(obj),
        *names_and_images(template),
        labels_text(part(template, "metadata").get("labels")),
    ]


def controller_revision(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of a controller revision."""
    owner = next(
        (it for it in obj["metadata"].get("ownerReferences", ()) if it.get("controller")), None
    )
    text = "<none>"
    if owner:
        group = owner["apiVersion"].rpartition("/")[0]
        text = f"{owner['kind']}.{group}".rstrip(".").lower() + f"/{owner['name']}"
    return [name_of(obj), text, obj.get("revision", 0), age_of(obj, now)]


def autoscaler(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of an autoscaler."""
    spec, status = part(obj, "spec"), part(obj, "status")
    target = part(spec, "scaleTargetRef")
    metrics = [
        _metric(it, at, status.get("currentMetrics") or ())
        for at, it in enumerate(spec.get("metrics") or ())
    ]
    if "targetCPUUtilizationPercentage" in spec:
        current = status.get("currentCPUUtilizationPercentage")
        known = "<unknown>" if current is None else f"{current}%"
        metrics.insert(0, f"cpu: {known}/{spec['targetCPUUtilizationPercentage']}%")
    shown = ", ".join(metrics[:2]) or "<none>"
    if len(metrics) > 2:
        shown += f" + {len(metrics) - 2} more..."
    least = str(spec["minReplicas"]) if "minReplicas" in spec else "<unset>"
    counts = [spec.get("maxReplicas", 0), status.get("currentReplicas", 0)]
    return [
        name_of(obj),
        f"{target.get('kind')}/{target.get('name')}",
        shown,
        least,
        *counts,
        age_of(obj, now),
    ]


_METRIC_FIELDS = {
    "External": "external",
    "Pods": "pods",
    "Object": "object",
    "Resource": "resource",
    "ContainerResource": "containerResource",
}


def _metric(metric: JSONObject, position: int, statuses: Sequence[JSONObject]) -> str:
    field = _METRIC_FIELDS.get(metric.get("type", ""))
    if field is None:
        return "<unknown type>"
    source = part(metric, field)
    target = part(source, "target")
    status = part(statuses[position], field) if position < len(statuses) else {}
    current = part(status, "current")
    prefix = f"{source.get('name', '')}: " if field in {"resource", "containerResource"} else ""
    if "averageValue" in target:
        suffix = " (avg)" if field in {"external", "object"} else ""
        return (
            f"{prefix}{current.get('averageValue', '<unknown>')}/{target['averageValue']}{suffix}"
        )
    if prefix:
        known = (
            f"{current['averageUtilization']}%" if "averageUtilization" in current else "<unknown>"
        )
        wanted = f"{target['averageUtilization']}%" if "averageUtilization" in target else "<auto>"
        return f"{prefix}{known}/{wanted}"
    return f"{current.get('value', '<unknown>')}/{target.get('value', '0')}"


def disruption_budget(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of a disruption budget."""
    spec = part(obj, "spec")
    limits = [str(spec.get(it, "N/A")) for it in ("minAvailable", "maxUnavailable")]
    return [
        name_of(obj),
        *limits,
        part(obj, "status").get("disruptionsAllowed", 0),
        age_of(obj, now),
    ]
