"""The columns of built-in kinds in Tables, which `kubectl get` prints, and the cells of an object in them.

Every column is filled, those of `-o wide` too: the client leaves out what it does not want, by priority.

Source: `columns.json`, the definitions as a server gives them, recorded by `tests/real/record_columns.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any

from operatorkit.clock import parse_time
from operatorkit.controlplane.embedded.builtin.ages import age, human_duration
from operatorkit.controlplane.embedded.builtin.pods import pod_cells, pod_row_conditions
from operatorkit.names import GroupVersionKind

__all__ = ["BuiltinColumns", "builtin_columns"]

JSONObject = Mapping[str, Any]
Cells = Callable[[JSONObject, datetime], list[Any]]

_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


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
    default = _created_at if definitions[-1]["type"] == "date" else _name_and_age
    cells = _CELLS.get(kind.kind, default)
    return BuiltinColumns(definitions, cells, pods=kind.kind == "Pod")


@cache
def _definitions() -> Mapping[str, list[dict[str, Any]]]:
    text = files("operatorkit.controlplane.embedded.builtin").joinpath("columns.json").read_text()
    names = ("name", "type", "format", "priority", "description")
    return {kind: [dict(zip(names, it, strict=True)) for it in columns] for kind, columns in json.loads(text).items()}


def _part(obj: JSONObject, name: str) -> JSONObject:
    return obj.get(name) or {}


def _name(obj: JSONObject) -> str:
    return str(obj["metadata"]["name"])


def _age(obj: JSONObject, now: datetime) -> str:
    return age(obj["metadata"].get("creationTimestamp"), now)


def _created_at(obj: JSONObject, _: datetime) -> list[Any]:
    return [_name(obj), obj["metadata"].get("creationTimestamp")]


def _name_and_age(obj: JSONObject, now: datetime) -> list[Any]:
    return [_name(obj), _age(obj, now)]


def _labels(labels: JSONObject | None) -> str:
    return ",".join(f"{name}={value}" for name, value in sorted((labels or {}).items())) or "<none>"


def _selector(selector: JSONObject | None) -> str:
    return _selector_text(selector) or "<none>"


def _selector_text(selector: JSONObject | None) -> str:
    """Write a label selector as a query."""
    if selector is None:
        return ""
    parts = {name: f"{name}={value}" for name, value in _part(selector, "matchLabels").items()}
    for rule in selector.get("matchExpressions") or ():
        values = ",".join(sorted(rule.get("values") or ()))
        texts = {
            "In": f"{rule['key']} in ({values})",
            "NotIn": f"{rule['key']} notin ({values})",
            "Exists": rule["key"],
            "DoesNotExist": f"!{rule['key']}",
        }
        parts[rule["key"]] = texts.get(rule.get("operator", ""), rule["key"])
    return ",".join(parts[name] for name in sorted(parts))


def _containers(template: JSONObject) -> list[str]:
    containers = _part(template, "spec").get("containers") or ()
    return [",".join(it.get(field, "") for it in containers) for field in ("name", "image")]


def _some(items: Sequence[str], *, nothing: str = "<none>") -> str:
    """Join up to three, and say how many more there are."""
    if not items:
        return nothing
    shown = ",".join(items[:3])
    return f"{shown} + {len(items) - 3} more..." if len(items) > 3 else shown


# ------------------------------------------------------------------------------------------------------------ workloads


def _replicas(obj: JSONObject, now: datetime) -> list[Any]:
    spec, status = _part(obj, "spec"), _part(obj, "status")
    counts = [spec.get("replicas", 0), status.get("replicas", 0), status.get("readyReplicas", 0)]
    selector = spec.get("selector")
    text = _labels(selector) if obj.get("kind") == "ReplicationController" else _selector(selector)
    return [_name(obj), *counts, _age(obj, now), *_containers(_part(spec, "template")), text]


def _deployment(obj: JSONObject, now: datetime) -> list[Any]:
    spec, status = _part(obj, "spec"), _part(obj, "status")
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}"
    counts = [status.get("updatedReplicas", 0), status.get("availableReplicas", 0)]
    names = _containers(_part(spec, "template"))
    return [_name(obj), ready, *counts, _age(obj, now), *names, _selector_text(spec.get("selector"))]


def _stateful_set(obj: JSONObject, now: datetime) -> list[Any]:
    spec, status = _part(obj, "spec"), _part(obj, "status")
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}"
    return [_name(obj), ready, _age(obj, now), *_containers(_part(spec, "template"))]


def _daemon_set(obj: JSONObject, now: datetime) -> list[Any]:
    spec, status = _part(obj, "spec"), _part(obj, "status")
    fields = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled")
    counts = [status.get(it, 0) for it in (*fields, "numberAvailable")]
    template = _part(spec, "template")
    nodes = _labels(_part(template, "spec").get("nodeSelector"))
    return [_name(obj), *counts, nodes, _age(obj, now), *_containers(template), _selector(spec.get("selector"))]


def _job(obj: JSONObject, now: datetime) -> list[Any]:
    spec, status = _part(obj, "spec"), _part(obj, "status")
    succeeded, parallel = status.get("succeeded", 0), spec.get("parallelism", 0)
    if "completions" in spec:
        completions = f"{succeeded}/{spec['completions']}"
    else:
        completions = f"{succeeded}/1 of {parallel}" if parallel > 1 else f"{succeeded}/1"
    took = ""
    if status.get("startTime"):
        end = parse_time(status["completionTime"]) if status.get("completionTime") else now
        took = human_duration(end - parse_time(status["startTime"]))
    names = _containers(_part(spec, "template"))
    state = _job_status(obj, status)
    return [_name(obj), state, completions, took, _age(obj, now), *names, _selector(spec.get("selector"))]


def _job_status(obj: JSONObject, status: JSONObject) -> str:
    true = {it["type"] for it in status.get("conditions") or () if it.get("status") == "True"}
    for condition in ("Complete", "Failed"):
        if condition in true:
            return condition
    if "deletionTimestamp" in obj["metadata"]:
        return "Terminating"
    return next((it for it in ("Suspended", "FailureTarget", "SuccessCriteriaMet") if it in true), "Running")


def _cron_job(obj: JSONObject, now: datetime) -> list[Any]:
    spec, status = _part(obj, "spec"), _part(obj, "status")
    last = age(status["lastScheduleTime"], now) if status.get("lastScheduleTime") else "<none>"
    suspend = {True: "True", False: "False", None: "<unset>"}[spec.get("suspend")]
    job = _part(_part(spec, "jobTemplate"), "spec")
    return [
        _name(obj),
        spec.get("schedule", ""),
        spec.get("timeZone", "<none>"),
        suspend,
        len(status.get("active") or ()),
        last,
        _age(obj, now),
        *_containers(_part(job, "template")),
        _selector(job.get("selector")),
    ]


def _pod_template(obj: JSONObject, _: datetime) -> list[Any]:
    template = _part(obj, "template")
    return [_name(obj), *_containers(template), _labels(_part(template, "metadata").get("labels"))]


def _controller_revision(obj: JSONObject, now: datetime) -> list[Any]:
    owner = next((it for it in obj["metadata"].get("ownerReferences", ()) if it.get("controller")), None)
    text = "<none>"
    if owner:
        group = owner["apiVersion"].rpartition("/")[0]
        text = f"{owner['kind']}.{group}".rstrip(".").lower() + f"/{owner['name']}"
    return [_name(obj), text, obj.get("revision", 0), _age(obj, now)]


def _autoscaler(obj: JSONObject, now: datetime) -> list[Any]:
    spec, status = _part(obj, "spec"), _part(obj, "status")
    target = _part(spec, "scaleTargetRef")
    metrics = [_metric(it, at, status.get("currentMetrics") or ()) for at, it in enumerate(spec.get("metrics") or ())]
    if "targetCPUUtilizationPercentage" in spec:
        current = status.get("currentCPUUtilizationPercentage")
        known = "<unknown>" if current is None else f"{current}%"
        metrics.insert(0, f"cpu: {known}/{spec['targetCPUUtilizationPercentage']}%")
    shown = ", ".join(metrics[:2]) or "<none>"
    if len(metrics) > 2:
        shown += f" + {len(metrics) - 2} more..."
    least = str(spec["minReplicas"]) if "minReplicas" in spec else "<unset>"
    counts = [spec.get("maxReplicas", 0), status.get("currentReplicas", 0)]
    return [_name(obj), f"{target.get('kind')}/{target.get('name')}", shown, least, *counts, _age(obj, now)]


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
    source = _part(metric, field)
    target = _part(source, "target")
    status = _part(statuses[position], field) if position < len(statuses) else {}
    current = _part(status, "current")
    prefix = f"{source.get('name', '')}: " if field in {"resource", "containerResource"} else ""
    if "averageValue" in target:
        suffix = " (avg)" if field in {"external", "object"} else ""
        return f"{prefix}{current.get('averageValue', '<unknown>')}/{target['averageValue']}{suffix}"
    if prefix:
        known = f"{current['averageUtilization']}%" if "averageUtilization" in current else "<unknown>"
        wanted = f"{target['averageUtilization']}%" if "averageUtilization" in target else "<auto>"
        return f"{prefix}{known}/{wanted}"
    return f"{current.get('value', '<unknown>')}/{target.get('value', '0')}"


def _disruption_budget(obj: JSONObject, now: datetime) -> list[Any]:
    spec = _part(obj, "spec")
    limits = [str(spec.get(it, "N/A")) for it in ("minAvailable", "maxUnavailable")]
    return [_name(obj), *limits, _part(obj, "status").get("disruptionsAllowed", 0), _age(obj, now)]


# -------------------------------------------------------------------------------------------------------------- network


def _addresses(status: JSONObject) -> list[str]:
    ingress = _part(status, "loadBalancer").get("ingress") or ()
    return sorted({it.get("ip") or it.get("hostname") or "" for it in ingress} - {""})


def _service(obj: JSONObject, now: datetime) -> list[Any]:
    spec = _part(obj, "spec")
    external = list(spec.get("externalIPs") or ())
    match spec.get("type"):
        case "ClusterIP" | "NodePort":
            outside = ",".join(external) or "<none>"
        case "LoadBalancer":
            outside = ",".join([*_addresses(_part(obj, "status")), *external]) or "<pending>"
        case "ExternalName":
            outside = spec.get("externalName", "")
        case _:
            outside = "<unknown>"
    ports = [
        f"{it['port']}:{it['nodePort']}/{it['protocol']}" if it.get("nodePort") else f"{it['port']}/{it['protocol']}"
        for it in spec.get("ports") or ()
    ]
    inside = (spec.get("clusterIPs") or ["<none>"])[0]
    own = [spec.get("type", ""), inside, outside, ",".join(ports) or "<none>"]
    return [_name(obj), *own, _age(obj, now), _labels(spec.get("selector"))]


def _ingress(obj: JSONObject, now: datetime) -> list[Any]:
    spec = _part(obj, "spec")
    hosts = [it["host"] for it in spec.get("rules") or () if it.get("host")]
    ports = "80, 443" if spec.get("tls") else "80"
    address = ",".join(_addresses(_part(obj, "status")))
    own = [spec.get("ingressClassName", "<none>"), _some(hosts, nothing="*"), address, ports]
    return [_name(obj), *own, _age(obj, now)]


def _ingress_class(obj: JSONObject, now: datetime) -> list[Any]:
    spec = _part(obj, "spec")
    name = _name(obj)
    if _part(obj["metadata"], "annotations").get("ingressclass.kubernetes.io/is-default-class") == "true":
        name += " (default)"
    parameters = spec.get("parameters")
    text = "<none>"
    if parameters:
        text = f"{parameters['kind']}.{parameters.get('apiGroup', '')}".rstrip(".") + f"/{parameters['name']}"
    return [name, spec.get("controller", ""), text, _age(obj, now)]


def _endpoints(obj: JSONObject, now: datetime) -> list[Any]:
    found = []
    for subset in obj.get("subsets") or ():
        addresses = [it["ip"] for it in subset.get("addresses") or ()]
        for port in subset.get("ports") or (None,):
            for ip in addresses:
                shown = f"[{ip}]" if ":" in ip and port else ip
                found.append(f"{shown}:{port['port']}" if port else ip)
    return [_name(obj), _some(found), _age(obj, now)]


def _endpoint_slice(obj: JSONObject, now: datetime) -> list[Any]:
    ports = [str(it.get("port") or it.get("name") or "*") for it in obj.get("ports") or ()]
    found = [ip for it in obj.get("endpoints") or () for ip in it.get("addresses") or ()]
    shown = [_some(it, nothing="<unset>") for it in (ports, found)]
    return [_name(obj), obj.get("addressType", ""), *shown, _age(obj, now)]


def _network_policy(obj: JSONObject, now: datetime) -> list[Any]:
    return [_name(obj), _selector(_part(obj, "spec").get("podSelector")), _age(obj, now)]


def _service_cidr(obj: JSONObject, now: datetime) -> list[Any]:
    return [_name(obj), ",".join(_part(obj, "spec").get("cidrs") or ()), _age(obj, now)]


def _ip_address(obj: JSONObject, _: datetime) -> list[Any]:
    parent = _part(obj, "spec").get("parentRef")
    if not parent:
        return [_name(obj), "<none>"]
    resource = f"{parent.get('resource', '')}.{parent.get('group', '')}".rstrip(".").lower()
    return [_name(obj), "/".join(filter(None, (resource, parent.get("namespace"), parent.get("name"))))]


# ------------------------------------------------------------------------------------------------- configuration, nodes


def _config_map(obj: JSONObject, now: datetime) -> list[Any]:
    return [_name(obj), len(_part(obj, "data")) + len(_part(obj, "binaryData")), _age(obj, now)]


def _secret(obj: JSONObject, now: datetime) -> list[Any]:
    return [_name(obj), obj.get("type", ""), len(_part(obj, "data")), _age(obj, now)]


def _namespace(obj: JSONObject, now: datetime) -> list[Any]:
    return [_name(obj), _part(obj, "status").get("phase", ""), _age(obj, now)]


def _node(obj: JSONObject, now: datetime) -> list[Any]:
    status = _part(obj, "status")
    ready = [it for it in status.get("conditions") or () if it.get("type") == "Ready"]
    words = [("" if it.get("status") == "True" else "Not") + "Ready" for it in ready[-1:]] or ["Unknown"]
    if _part(obj, "spec").get("unschedulable"):
        words.append("SchedulingDisabled")
    info = _part(status, "nodeInfo")
    kernel = info.get("kernelVersion") or "<unknown>"
    if info.get("architecture"):
        kernel += f" ({info['architecture']})"
    addresses = {it.get("type"): it.get("address") for it in reversed(status.get("addresses") or [])}
    return [
        _name(obj),
        ",".join(words),
        ",".join(sorted(_roles(obj["metadata"].get("labels") or {}))) or "<none>",
        _age(obj, now),
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
    return roles | ({labels["kubernetes.io/role"]} - {""} if "kubernetes.io/role" in labels else set())


def _event(obj: JSONObject, now: datetime) -> list[Any]:
    new = obj.get("apiVersion") == "events.k8s.io/v1"
    about = _part(obj, "regarding" if new else "involvedObject")
    source = _part(obj, "deprecatedSource" if new else "source")
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
    where = [source.get("component") or reporter or "", source.get("host") or obj.get("reportingInstance") or ""]
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
        _name(obj),
    ]


def _resource_quota(obj: JSONObject, now: datetime) -> list[Any]:
    status = _part(obj, "status")
    used = _part(status, "used")
    texts = {name: f"{name}: {used.get(name, '0')}/{hard}" for name, hard in sorted(_part(status, "hard").items())}
    limits = [text for name, text in texts.items() if name.startswith("limits.")]
    requests = [text for name, text in texts.items() if not name.startswith("limits.")]
    return [_name(obj), ", ".join(requests), ", ".join(limits), _age(obj, now)]


def _lease(obj: JSONObject, now: datetime) -> list[Any]:
    return [_name(obj), _part(obj, "spec").get("holderIdentity", ""), _age(obj, now)]


def _priority_class(obj: JSONObject, now: datetime) -> list[Any]:
    own = [obj.get("value", 0), obj.get("globalDefault", False)]
    return [_name(obj), *own, _age(obj, now), obj.get("preemptionPolicy", "")]


def _runtime_class(obj: JSONObject, now: datetime) -> list[Any]:
    return [_name(obj), obj.get("handler", ""), _age(obj, now)]


# -------------------------------------------------------------------------------------------------------------- storage


def _storage_class_of(obj: JSONObject) -> str:
    annotations = _part(obj["metadata"], "annotations")
    return str(annotations.get(_CLASS_ANNOTATION, _part(obj, "spec").get("storageClassName", "")))


def _modes(modes: Sequence[str] | None) -> str:
    return ",".join(short for mode, short in _MODES.items() if mode in (modes or ()))


def _phase(obj: JSONObject) -> str:
    return "Terminating" if "deletionTimestamp" in obj["metadata"] else str(_part(obj, "status").get("phase", ""))


def _volume(obj: JSONObject, now: datetime) -> list[Any]:
    spec = _part(obj, "spec")
    claim = spec.get("claimRef")
    return [
        _name(obj),
        _part(spec, "capacity").get("storage", "0"),
        _modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy", ""),
        _phase(obj),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        _storage_class_of(obj),
        spec.get("volumeAttributesClassName", "<unset>"),
        _part(obj, "status").get("reason", ""),
        _age(obj, now),
        spec.get("volumeMode", "<unset>"),
    ]


def _claim(obj: JSONObject, now: datetime) -> list[Any]:
    spec, status = _part(obj, "spec"), _part(obj, "status")
    bound = bool(spec.get("volumeName"))
    return [
        _name(obj),
        _phase(obj),
        spec.get("volumeName", ""),
        _part(status, "capacity").get("storage", "0") if bound else "",
        _modes(status.get("accessModes")) if bound else "",
        _storage_class_of(obj),
        spec.get("volumeAttributesClassName", "<unset>"),
        _age(obj, now),
        spec.get("volumeMode", "<unset>"),
    ]


def _storage_class(obj: JSONObject, now: datetime) -> list[Any]:
    name = _name(obj)
    if _part(obj["metadata"], "annotations").get("storageclass.kubernetes.io/is-default-class") == "true":
        name += " (default)"
    own = [obj.get("provisioner", ""), obj.get("reclaimPolicy", "Delete"), obj.get("volumeBindingMode", "Immediate")]
    return [name, *own, obj.get("allowVolumeExpansion", False), _age(obj, now)]


def _csi_driver(obj: JSONObject, now: datetime) -> list[Any]:
    spec = _part(obj, "spec")
    flags = [spec.get("attachRequired", True), spec.get("podInfoOnMount", False), spec.get("storageCapacity", False)]
    tokens = spec.get("tokenRequests")
    audiences = "<unset>" if tokens is None else ",".join(it.get("audience", "") for it in tokens)
    modes = ",".join(spec.get("volumeLifecycleModes") or ()) or "<none>"
    return [_name(obj), *flags, audiences, spec.get("requiresRepublish", False), modes, _age(obj, now)]


def _csi_node(obj: JSONObject, now: datetime) -> list[Any]:
    return [_name(obj), len(_part(obj, "spec").get("drivers") or ()), _age(obj, now)]


def _volume_attachment(obj: JSONObject, now: datetime) -> list[Any]:
    spec = _part(obj, "spec")
    volume = _part(spec, "source").get("persistentVolumeName", "")
    attached = _part(obj, "status").get("attached", False)
    return [_name(obj), spec.get("attacher", ""), volume, spec.get("nodeName", ""), attached, _age(obj, now)]


def _volume_attributes_class(obj: JSONObject, now: datetime) -> list[Any]:
    return [_name(obj), obj.get("driverName", ""), _age(obj, now)]


# ------------------------------------------------------------------------------------------------- access and extension


def _binding(obj: JSONObject, now: datetime) -> list[Any]:
    role, subjects = _part(obj, "roleRef"), obj.get("subjects") or ()
    names = [", ".join(it["name"] for it in subjects if it.get("kind") == kind) for kind in ("User", "Group")]
    accounts = [f"{it.get('namespace', '')}/{it['name']}" for it in subjects if it.get("kind") == "ServiceAccount"]
    return [_name(obj), f"{role.get('kind')}/{role.get('name')}", _age(obj, now), *names, ", ".join(accounts)]


def _signing_request(obj: JSONObject, now: datetime) -> list[Any]:
    spec, status = _part(obj, "spec"), _part(obj, "status")
    types = {it.get("type") for it in status.get("conditions") or ()}
    words = ["Denied" if "Denied" in types else "Approved" if "Approved" in types else "Pending"]
    words += ["Failed"] if "Failed" in types else []
    words += ["Issued"] if status.get("certificate") else []
    seconds = spec.get("expirationSeconds")
    lasting = "<none>" if seconds is None else human_duration(timedelta(seconds=seconds))
    own = [spec.get("signerName") or "<none>", spec.get("username", ""), lasting]
    return [_name(obj), _age(obj, now), *own, ",".join(words)]


def _api_service(obj: JSONObject, now: datetime) -> list[Any]:
    service = _part(obj, "spec").get("service")
    available = next((it for it in _part(obj, "status").get("conditions") or () if it.get("type") == "Available"), {})
    status = available.get("status", "Unknown")
    if status == "False" and available.get("reason"):
        status = f"False ({available['reason']})"
    where = f"{service['namespace']}/{service['name']}" if service else "Local"
    return [_name(obj), where, status, _age(obj, now)]


def _webhooks(obj: JSONObject, now: datetime) -> list[Any]:
    return [_name(obj), len(obj.get("webhooks") or ()), _age(obj, now)]


def _admission_policy(obj: JSONObject, now: datetime) -> list[Any]:
    spec = _part(obj, "spec")
    parameters = spec.get("paramKind")
    kind = f"{parameters.get('apiVersion', '')}/{parameters.get('kind', '')}" if parameters else "<unset>"
    rules = spec.get("validations") or spec.get("mutations") or ()
    return [_name(obj), len(rules), kind, _age(obj, now)]


def _admission_binding(obj: JSONObject, now: datetime) -> list[Any]:
    spec = _part(obj, "spec")
    parameters = spec.get("paramRef") or {}
    text = "<unset>"
    if parameters.get("name"):
        text = f"{parameters.get('namespace') or '*'}/{parameters['name']}"
    elif parameters.get("selector"):
        text = _selector(parameters["selector"])
    return [_name(obj), spec.get("policyName", ""), text, _age(obj, now)]


def _flow_schema(obj: JSONObject, now: datetime) -> list[Any]:
    spec = _part(obj, "spec")
    dangling = [it["status"] for it in _part(obj, "status").get("conditions") or () if it.get("type") == "Dangling"]
    level = _part(spec, "priorityLevelConfiguration").get("name", "")
    method = _part(spec, "distinguisherMethod").get("type", "<none>")
    return [_name(obj), level, spec.get("matchingPrecedence", 0), method, _age(obj, now), (dangling or ["?"])[0]]


def _priority_level(obj: JSONObject, now: datetime) -> list[Any]:
    spec = _part(obj, "spec")
    limited = spec.get("limited") or {}
    queuing = _part(limited, "limitResponse").get("queuing") or {}
    shares = limited.get("nominalConcurrencyShares", "<none>")
    queues = [queuing.get(it, "<none>") for it in ("queues", "handSize", "queueLengthLimit")]
    return [_name(obj), spec.get("type", ""), shares, *queues, _age(obj, now)]


def _resource_claim(obj: JSONObject, now: datetime) -> list[Any]:
    status = _part(obj, "status")
    words = ["deleted"] if "deletionTimestamp" in obj["metadata"] else []
    words += ["allocated"] if status.get("allocation") else ["pending"] if not words else []
    words += ["reserved"] if status.get("reservedFor") else []
    return [_name(obj), ",".join(words), _age(obj, now)]


def _resource_slice(obj: JSONObject, now: datetime) -> list[Any]:
    spec = _part(obj, "spec")
    own = [spec.get("nodeName", "<unset>"), spec.get("driver", ""), _part(spec, "pool").get("name", "")]
    return [_name(obj), *own, _age(obj, now)]


def _component_status(obj: JSONObject, _: datetime) -> list[Any]:
    healthy = next((it for it in obj.get("conditions") or () if it.get("type") == "Healthy"), {})
    status = {"True": "Healthy", "False": "Unhealthy"}.get(healthy.get("status", ""), "Unknown")
    return [_name(obj), status, healthy.get("message", ""), healthy.get("error", "")]


_CELLS: Mapping[str, Cells] = {
    "APIService": _api_service,
    "CSIDriver": _csi_driver,
    "CSINode": _csi_node,
    "CertificateSigningRequest": _signing_request,
    "ClusterRoleBinding": _binding,
    "ComponentStatus": _component_status,
    "ConfigMap": _config_map,
    "ControllerRevision": _controller_revision,
    "CronJob": _cron_job,
    "DaemonSet": _daemon_set,
    "Deployment": _deployment,
    "EndpointSlice": _endpoint_slice,
    "Endpoints": _endpoints,
    "Event": _event,
    "FlowSchema": _flow_schema,
    "HorizontalPodAutoscaler": _autoscaler,
    "IPAddress": _ip_address,
    "Ingress": _ingress,
    "IngressClass": _ingress_class,
    "Job": _job,
    "Lease": _lease,
    "MutatingAdmissionPolicy": _admission_policy,
    "MutatingAdmissionPolicyBinding": _admission_binding,
    "MutatingWebhookConfiguration": _webhooks,
    "Namespace": _namespace,
    "NetworkPolicy": _network_policy,
    "Node": _node,
    "PersistentVolume": _volume,
    "PersistentVolumeClaim": _claim,
    "Pod": pod_cells,
    "PodDisruptionBudget": _disruption_budget,
    "PodTemplate": _pod_template,
    "PriorityClass": _priority_class,
    "PriorityLevelConfiguration": _priority_level,
    "ReplicaSet": _replicas,
    "ReplicationController": _replicas,
    "ResourceClaim": _resource_claim,
    "ResourceQuota": _resource_quota,
    "ResourceSlice": _resource_slice,
    "RoleBinding": _binding,
    "RuntimeClass": _runtime_class,
    "Secret": _secret,
    "Service": _service,
    "ServiceCIDR": _service_cidr,
    "StatefulSet": _stateful_set,
    "StorageClass": _storage_class,
    "ValidatingAdmissionPolicy": _admission_policy,
    "ValidatingAdmissionPolicyBinding": _admission_binding,
    "ValidatingWebhookConfiguration": _webhooks,
    "VolumeAttachment": _volume_attachment,
    "VolumeAttributesClass": _volume_attributes_class,
}
