"""What workloads, and what stands in front of them, must be like: Deployments and their kin, Jobs, Ingresses, budgets.

Source: k8s.io/kubernetes/pkg/apis/{apps,batch,networking,policy,autoscaling}/validation
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from operatorkit.controlplane import _quantity as quantity
from operatorkit.controlplane.embedded.fields.typed import equal
from operatorkit.controlplane.embedded.registry.validation.checks import (
    label_1123,
    label_selector,
    labels,
    natural,
    port,
    port_name,
    subdomain,
)
from operatorkit.controlplane.embedded.registry.validation.pods import pod_spec
from operatorkit.crd.field_errors import FieldErrors, forbidden, invalid, not_supported, required
from operatorkit.crd.golang import Struct
from operatorkit.selectors import matches

__all__ = ["CHANGES", "RULES", "claim_spec"]

JSONObject = Mapping[str, Any]

_PERCENT_TEXT = (
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for "
    "validation is '[0-9]+%')"
)

_STATEFUL_FREE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)
_STATEFUL_FIXED = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)
_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_MACROS = {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}


# ------------------------------------------------------------------------------------------------------------ templates


def _matches(selector: JSONObject, given: JSONObject) -> bool:
    """Return whether labels satisfy a selector; an operator that does not exist is reported by another check."""
    known = [
        it for it in selector.get("matchExpressions") or () if it.get("operator") in _OPERATORS
    ]
    return matches({**selector, "matchExpressions": known}, given)


def _template_labels(template: JSONObject) -> dict[str, Any]:
    return dict((template.get("metadata") or {}).get("labels") or {})


def _selected(spec: JSONObject, noun: str, *, needs_selector: bool = True) -> FieldErrors:
    """Check a selector and that the template's labels match it."""
    selector = spec.get("selector")
    errors = list(label_selector("spec.selector", selector))
    yield from errors
    if selector is None:
        if needs_selector:
            yield required("spec.selector")
    elif errors:
        yield invalid("spec.selector", Struct(selector), "invalid label selector")
        return
    elif not selector.get("matchLabels") and not selector.get("matchExpressions"):
        yield invalid("spec.selector", {}, f"empty selector is invalid for {noun}")
        return
    given = _template_labels(spec.get("template") or {})
    # What selects nothing matches nothing: a missing selector is reported for the template, too.
    if selector is None or not _matches(selector, given):
        path = "spec.template.metadata.labels"
        yield invalid(path, given or None, "`selector` does not match template `labels`")


def _template(template: JSONObject, path: str = "spec.template") -> FieldErrors:
    yield from labels(f"{path}.labels", _template_labels(template))
    yield from pod_spec(f"{path}.spec", template.get("spec") or {})


def _always(template: JSONObject, kind: str = "ReplicaSet") -> FieldErrors:
    spec = template.get("spec") or {}
    policy = spec.get("restartPolicy")
    if policy in {"OnFailure", "Never"}:
        yield not_supported("spec.template.spec.restartPolicy", policy, ("Always",))
    if spec.get("activeDeadlineSeconds") is not None:
        path = "spec.template.spec.activeDeadlineSeconds"
        yield forbidden(path, f"activeDeadlineSeconds in {kind} is not Supported")


def _replicated(spec: JSONObject, noun: str) -> FieldErrors:
    yield from natural("spec.replicas", spec.get("replicas"))
    yield from natural("spec.minReadySeconds", spec.get("minReadySeconds"))
    yield from natural("spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"))
    yield from _selected(spec, noun)
    yield from _template(spec.get("template") or {})
    yield from _always(
        spec.get("template") or {}, "StatefulSet" if noun == "statefulset" else "ReplicaSet"
    )


def _share(path: str, value: Any) -> FieldErrors:
    """Check a number or a percentage."""
    if isinstance(value, str):
        if not re.fullmatch(r"[0-9]+%", value):
            yield invalid(path, value, _PERCENT_TEXT)
        elif int(value[:-1]) > 100 and path.endswith("maxUnavailable"):
            yield invalid(path, value, "must not be greater than 100%")
    elif value is not None:
        yield from natural(path, value)


def _pod_template(obj: JSONObject) -> FieldErrors:
    yield from _template(obj.get("template") or {}, "template")


def _replication_controller(obj: JSONObject) -> FieldErrors:
    spec = obj.get("spec") or {}
    yield from natural("spec.minReadySeconds", spec.get("minReadySeconds"))
    selector, template = spec.get("selector") or {}, spec.get("template")
    if not selector:
        yield required("spec.selector")
    yield from natural("spec.replicas", spec.get("replicas"))
    if template is None:
        yield required("spec.template")
        return
    given = _template_labels(template)
    if selector and any(given.get(name) != value for name, value in selector.items()):
        path = "spec.template.metadata.labels"
        yield invalid(path, given or None, "`selector` does not match template `labels`")
    yield from _template(template)
    yield from _always(template, "ReplicationController")


def _deployment(obj: JSONObject) -> FieldErrors:
    spec = obj.get("spec") or {}
    yield from _replicated(spec, "deployment")
    yield from _deployment_strategy(spec.get("strategy") or {})
    deadline, ready = spec.get("progressDeadlineSeconds"), spec.get("minReadySeconds", 0)
    yield from natural("spec.progressDeadlineSeconds", deadline)
    if deadline is not None and deadline <= ready:
        yield invalid(
            "spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds"
        )


def _deployment_strategy(strategy: JSONObject) -> FieldErrors:
    path, rolling = "spec.strategy", strategy.get("rollingUpdate")
    match strategy.get("type"):
        case "Recreate":
            if rolling is not None:
                yield forbidden(
                    f"{path}.rollingUpdate",
                    "may not be specified when strategy `type` is 'Recreate'",
                )
        case "RollingUpdate":
            rolling = rolling or {}
            yield from _share(f"{path}.rollingUpdate.maxUnavailable", rolling.get("maxUnavailable"))
            yield from _share(f"{path}.rollingUpdate.maxSurge", rolling.get("maxSurge"))
            if all(rolling.get(it) in {0, "0%"} for it in ("maxUnavailable", "maxSurge")):
                here = f"{path}.rollingUpdate.maxUnavailable"
                yield invalid(here, rolling["maxUnavailable"], "may not be 0 when `maxSurge` is 0")
        case type_:
            yield not_supported(path, _written(type_, rolling), ("Recreate", "RollingUpdate"))


def _written(type_: Any, rolling: Any) -> Struct:
    return Struct({"Type": type_, "RollingUpdate": rolling})


def _replica_set(obj: JSONObject) -> FieldErrors:
    yield from _replicated(obj.get("spec") or {}, "replica set")


def _stateful_set(obj: JSONObject) -> FieldErrors:
    spec = obj.get("spec") or {}
    policy = spec.get("podManagementPolicy")
    if policy not in {"OrderedReady", "Parallel"}:
        yield invalid("spec.podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'")
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") not in {"RollingUpdate", "OnDelete"}:
        written = _written(strategy.get("type"), strategy.get("rollingUpdate"))
        yield invalid("spec.updateStrategy", written, "must be 'RollingUpdate' or 'OnDelete'")
    yield from natural(
        "spec.updateStrategy.rollingUpdate.partition",
        (strategy.get("rollingUpdate") or {}).get("partition"),
    )
    yield from _replicated(spec, "statefulset")


def _daemon_set(obj: JSONObject) -> FieldErrors:
    spec = obj.get("spec") or {}
    yield from _selected(spec, "daemonset", needs_selector=False)
    yield from _template(spec.get("template") or {})
    yield from _always(spec.get("template") or {}, "DaemonSet")
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") not in {"RollingUpdate", "OnDelete"}:
        written = _written(strategy.get("type"), strategy.get("rollingUpdate"))
        yield not_supported("spec.updateStrategy", written, ("RollingUpdate", "OnDelete"))


def _selector_change(new: JSONObject, old: JSONObject) -> FieldErrors:
    selector = (new.get("spec") or {}).get("selector")
    if not equal(selector, (old.get("spec") or {}).get("selector")):
        yield invalid("spec.selector", _struct(selector), "field is immutable")


def _stateful_set_change(new: JSONObject, old: JSONObject) -> FieldErrors:
    specs = [
        {name: it for name, it in (obj.get("spec") or {}).items() if name not in _STATEFUL_FREE}
        for obj in (new, old)
    ]
    if not equal(*specs):
        yield forbidden("spec", _STATEFUL_FIXED)


def _job_spec(path: str, spec: JSONObject) -> FieldErrors:
    for field in (
        "parallelism",
        "completions",
        "backoffLimit",
        "activeDeadlineSeconds",
        "ttlSecondsAfterFinished",
    ):
        yield from natural(f"{path}.{field}", spec.get(field))
    template = spec.get("template") or {}
    yield from _template(template, f"{path}.template")
    policy = (template.get("spec") or {}).get("restartPolicy")
    here = f"{path}.template.spec.restartPolicy"
    if policy in {"", None, "Always"}:
        yield required(here, 'valid values: "OnFailure", "Never"')
    elif policy not in {"OnFailure", "Never"}:
        yield not_supported(here, policy, ("OnFailure", "Never"))


def _job(obj: JSONObject) -> FieldErrors:
    yield from _job_spec("spec", obj.get("spec") or {})


def _struct(value: Any) -> Any:
    return Struct(value) if isinstance(value, Mapping) else value


def _job_change(new: JSONObject, old: JSONObject) -> FieldErrors:
    after, before = new.get("spec") or {}, old.get("spec") or {}
    for field in (
        "completions",
        "selector",
        "template",
        "completionMode",
        "podFailurePolicy",
        "backoffLimitPerIndex",
    ):
        if field == "template" and before.get("suspend"):
            continue
        if not equal(after.get(field), before.get(field)):
            yield invalid(f"spec.{field}", _struct(after.get(field)), "field is immutable")


def _cron_job(obj: JSONObject) -> FieldErrors:
    spec = obj.get("spec") or {}
    schedule = spec.get("schedule", "")
    if len(obj["metadata"].get("name", "")) > 52:
        yield invalid(
            "metadata.name", obj["metadata"]["name"], "must be no more than 52 characters"
        )
    if not schedule:
        yield required("spec.schedule")
    elif schedule not in _MACROS and not schedule.startswith("@every "):
        fields = schedule.split()
        if len(fields) != 5:
            text = f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]"
            yield invalid("spec.schedule", schedule, text)
    if spec.get("concurrencyPolicy") not in {"Allow", "Forbid", "Replace"}:
        yield not_supported(
            "spec.concurrencyPolicy", spec.get("concurrencyPolicy"), ("Allow", "Forbid", "Replace")
        )
    yield from _job_spec("spec.jobTemplate.spec", (spec.get("jobTemplate") or {}).get("spec") or {})


# ------------------------------------------------------------------------------------------------ around the workloads


def claim_spec(path: str, spec: JSONObject, modes: Sequence[str]) -> FieldErrors:
    """Check the spec of a PersistentVolumeClaim."""
    if not spec.get("accessModes"):
        yield required(f"{path}.accessModes", "at least 1 access mode is required")
    for mode in spec.get("accessModes") or ():
        if mode not in modes:
            yield not_supported(f"{path}.accessModes", mode, modes)
    size = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if size is None:
        yield required(f"{path}.resources[storage]")
    elif quantity.parse(str(size)) <= 0:
        yield invalid(f"{path}.resources[storage]", str(size), "must be greater than zero")
    if spec.get("storageClassName"):
        yield from subdomain(f"{path}.storageClassName", spec["storageClassName"])


def _backend(path: str, backend: JSONObject) -> FieldErrors:
    service, resource = backend.get("service"), backend.get("resource")
    if service is None and resource is None:
        yield invalid(path, "", "resource or service backend is required")
    elif service is not None and resource is not None:
        yield invalid(path, "", "cannot set both resource and service backends")
    elif service is not None:
        if not service.get("name"):
            yield required(f"{path}.service.name")
        else:
            yield from label_1123(f"{path}.service.name", service["name"])
        given = service.get("port") or {}
        if given.get("name"):
            yield from port_name(f"{path}.service.port.name", given["name"])
        elif given.get("number"):
            yield from port(f"{path}.service.port.number", given["number"])
        else:
            yield required(path, "port name or number is required")


def _ingress(obj: JSONObject) -> FieldErrors:
    spec = obj.get("spec") or {}
    rules = spec.get("rules") or ()
    if not rules and "defaultBackend" not in spec:
        yield invalid("spec", None, "either `defaultBackend` or `rules` must be specified")
    if "defaultBackend" in spec:
        yield from _backend("spec.defaultBackend", spec["defaultBackend"] or {})
    for position, rule in enumerate(rules):
        here = f"spec.rules[{position}]"
        if rule.get("host"):
            yield from subdomain(f"{here}.host", rule["host"].removeprefix("*."))
        for index, path in enumerate((rule.get("http") or {}).get("paths") or ()):
            yield from _ingress_path(f"{here}.http.paths[{index}]", path)


def _ingress_path(here: str, path: JSONObject) -> FieldErrors:
    text, type_ = path.get("path", ""), path.get("pathType")
    if type_ is None:
        yield required(f"{here}.pathType", "pathType must be specified")
    elif type_ not in _PATH_TYPES:
        yield not_supported(f"{here}.pathType", type_, _PATH_TYPES)
    elif (type_ != "ImplementationSpecific" or text) and not text.startswith("/"):
        yield invalid(f"{here}.path", text, "must be an absolute path")
    yield from _backend(f"{here}.backend", path.get("backend") or {})


def _network_policy(obj: JSONObject) -> FieldErrors:
    spec = obj.get("spec") or {}
    yield from label_selector("spec.podSelector", spec.get("podSelector"))
    for position, type_ in enumerate(spec.get("policyTypes") or ()):
        if type_ not in {"Ingress", "Egress"}:
            yield not_supported(f"spec.policyTypes[{position}]", type_, ("Ingress", "Egress"))


def _budget(obj: JSONObject) -> FieldErrors:
    spec = obj.get("spec") or {}
    fields = ("minAvailable", "maxUnavailable")
    if all(it in spec for it in fields):
        shown = ("minAvailable", "selector", "maxUnavailable", "unhealthyPodEvictionPolicy")
        written = {f"{it[0].upper()}{it[1:]}": spec.get(it) for it in shown}
        yield invalid("spec", Struct(written), "minAvailable and maxUnavailable cannot be both set")
    for field in fields:
        yield from _share(f"spec.{field}", spec.get(field))
    yield from label_selector("spec.selector", spec.get("selector"))


def _revision(obj: JSONObject) -> FieldErrors:
    data = obj.get("data")
    if data is None:
        yield required("data", "data is mandatory")
    elif not isinstance(data, dict):
        yield required("data", "data must be a valid JSON object")
    yield from natural("revision", obj.get("revision"))


def _revision_change(new: JSONObject, old: JSONObject) -> FieldErrors:
    """Compare by value; kube-apiserver compares bytes, so that there the order of keys is a change, too."""
    if not equal(new.get("data"), old.get("data")):
        yield invalid("data", new.get("data"), "field is immutable")


def _autoscaler(obj: JSONObject) -> FieldErrors:
    spec = obj.get("spec") or {}
    least, most = spec.get("minReplicas"), spec.get("maxReplicas", 0)
    if least is not None and least < 1:
        yield invalid("spec.minReplicas", least, "must be greater than or equal to 1")
    if most < 1:
        yield required("spec.maxReplicas", "must be set and greater than 0")
    if least is not None and most < least:
        yield invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")
    target = spec.get("scaleTargetRef") or {}
    for field in ("kind", "name"):
        if not target.get(field):
            yield required(f"spec.scaleTargetRef.{field}")
    if not target.get("apiVersion"):
        yield invalid("spec.scaleTargetRef.apiVersion", "", "apiVersion must specify API group")


RULES: Mapping[tuple[str, str], Callable[[JSONObject], FieldErrors]] = {
    ("", "PodTemplate"): _pod_template,
    ("", "ReplicationController"): _replication_controller,
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _replica_set,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "ControllerRevision"): _revision,
    ("batch", "Job"): _job,
    ("batch", "CronJob"): _cron_job,
    ("networking.k8s.io", "Ingress"): _ingress,
    ("networking.k8s.io", "NetworkPolicy"): _network_policy,
    ("policy", "PodDisruptionBudget"): _budget,
    ("autoscaling", "HorizontalPodAutoscaler"): _autoscaler,
}
"""The checks of each kind."""

CHANGES: Mapping[tuple[str, str], Callable[[JSONObject, JSONObject], FieldErrors]] = {
    ("apps", "Deployment"): _selector_change,
    ("apps", "ReplicaSet"): _selector_change,
    ("apps", "DaemonSet"): _selector_change,
    ("apps", "StatefulSet"): _stateful_set_change,
    ("apps", "ControllerRevision"): _revision_change,
    ("batch", "Job"): _job_change,
}
"""What of each kind may not change."""
