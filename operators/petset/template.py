"""Pod templates as JSON: defaults, overrides, equality.

What belongs here: what two templates have in common. What does not: changes that are made in place (`in_place`), pods
made of templates (`objects`), and when members get them (`plan`). Pure; no argument is changed.

A revision holds a template as its author wrote it. Kubernetes' own StatefulSet stores it with defaults filled in, so a
template that gains an explicit default, or that was adopted from a StatefulSet, must still be the same revision:
`same_template` compares with defaults filled in and quantities in one form.

Source: https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/ (merge keys)
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

__all__ = [
    "amount_of",
    "containers_of",
    "normalised",
    "overridden",
    "override_hash",
    "quantities",
    "same_template",
    "template_of",
    "to_data",
]

JSON = dict[str, Any]

_MERGE_KEYS: Final = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "env": "name",
    "envFrom": None,
    "hostAliases": "ip",
    "imagePullSecrets": "name",
    "ports": "containerPort",
    "resourceClaims": "name",
    "schedulingGates": "name",
    "tolerations": None,
    "topologySpreadConstraints": "topologyKey",
    "volumeDevices": "devicePath",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
_SUFFIXES: Final = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}


# Revisions ------------------------------------------------------------------------------------------------------------


def to_data(template: Mapping[str, Any]) -> JSON:
    """Return the data of a ControllerRevision, as StatefulSet has it: a patch that replaces the template."""
    return {"spec": {"template": {**copy.deepcopy(dict(template)), "$patch": "replace"}}}


def template_of(data: Mapping[str, Any]) -> JSON:
    """Return the template that the data of a ControllerRevision holds, an adopted StatefulSet's included."""
    template = (data.get("spec") or {}).get("template") or {}
    return {name: copy.deepcopy(value) for name, value in template.items() if name != "$patch"}


def same_template(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two data of ControllerRevisions mean the same pods."""
    return normalised(template_of(one)) == normalised(template_of(other))


# Overrides ------------------------------------------------------------------------------------------------------------


def override_hash(patches: Iterable[Mapping[str, Any]]) -> str:
    """Return eight hexadecimal digits for the patches of one member, or "" when it has none."""
    merged = list(patches)
    if not merged:
        return ""
    text = json.dumps(merged, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def overridden(template: Mapping[str, Any], patches: Iterable[Mapping[str, Any]]) -> JSON:
    """Return a template after strategic merge patches: lists with a merge key are merged, others replaced.

    `null` removes a field, `$patch: delete` an item, `$patch: replace` a whole object.
    """
    result = copy.deepcopy(dict(template))
    for patch in patches:
        result = _merged(result, patch)
    return result


def _merged(target: Mapping[str, Any], patch: Mapping[str, Any]) -> JSON:
    if patch.get("$patch") == "replace":
        return {name: copy.deepcopy(value) for name, value in patch.items() if name != "$patch"}
    result = dict(target)
    for name, value in patch.items():
        known = result.get(name)
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping):
            result[name] = _merged(known if isinstance(known, Mapping) else {}, value)
        elif isinstance(value, list) and (key := _MERGE_KEYS.get(name)) and isinstance(known, list):
            result[name] = _merged_list(known, value, key)
        else:
            result[name] = copy.deepcopy(value)
    return result


def _merged_list(known: list[Any], patch: list[Any], key: str) -> list[Any]:
    items = list(known)
    for change in patch:
        place = next(
            (index for index, item in enumerate(items) if item.get(key) == change.get(key)), None
        )
        if change.get("$patch") == "delete":
            if place is not None:
                del items[place]
        elif place is None:
            items.append(_merged({}, change))
        else:
            items[place] = _merged(items[place], change)
    return items


# Equality -------------------------------------------------------------------------------------------------------------


def normalised(template: Mapping[str, Any]) -> JSON:
    """Return a template with Kubernetes' defaults filled in, empty values left out, and quantities in one form."""
    result = copy.deepcopy(dict(template))
    metadata = result.get("metadata") or {}
    result["metadata"] = {
        name: value for name, value in metadata.items() if name != "creationTimestamp"
    }
    spec = result.setdefault("spec", {})
    _fill_pod(spec)
    for container in containers_of(spec):
        _fill_container(container)
    for volume in spec.get("volumes") or ():
        _fill_volume(volume)
    cleaned: JSON = _without_empty(result)
    return cleaned


def _fill_pod(spec: JSON) -> None:
    account = spec.pop("serviceAccountName", None) or spec.get("serviceAccount")
    spec.pop("serviceAccount", None)
    if account:
        spec["serviceAccountName"] = account
    for name, value in {
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        "terminationGracePeriodSeconds": 30,
        "enableServiceLinks": True,
    }.items():
        spec.setdefault(name, value)
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(name) is False:
            del spec[name]
    spec["overhead"] = quantities(spec.get("overhead"))


def _fill_container(container: JSON) -> None:
    image = str(container.get("image") or "")
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("imagePullPolicy", "Always" if _is_latest(image) else "IfNotPresent")
    for port in container.get("ports") or ():
        port.setdefault("protocol", "TCP")
    for variable in container.get("env") or ():
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if reference is not None:
            reference.setdefault("apiVersion", "v1")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(name):
            _fill_probe(container[name])
    resources = container.get("resources") or {}
    limits, requests = quantities(resources.get("limits")), quantities(resources.get("requests"))
    container["resources"] = {**resources, "limits": limits, "requests": {**limits, **requests}}


def _fill_probe(probe: JSON) -> None:
    for name, value in {
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }.items():
        probe.setdefault(name, value)
    if probe.get("httpGet"):
        probe["httpGet"].setdefault("path", "/")
        probe["httpGet"].setdefault("scheme", "HTTP")


def _fill_volume(volume: JSON) -> None:
    for name in ("configMap", "secret", "downwardAPI", "projected"):
        if isinstance(volume.get(name), dict):
            volume[name].setdefault("defaultMode", 0o644)


def containers_of(spec: Mapping[str, Any]) -> Iterator[JSON]:
    """Yield the init containers and the containers of a pod's spec."""
    for name in ("initContainers", "containers"):
        yield from spec.get(name) or ()


def _is_latest(image: str) -> bool:
    if "@" in image:
        return False
    _, colon, tag = image.rpartition("/")[2].partition(":")
    return not colon or tag == "latest"


def quantities(amounts: Mapping[str, Any] | None) -> dict[str, str]:
    """Return amounts in one form, so that equal ones are equal: "1000m" and 1 are "1"."""
    return {name: _quantity(value) for name, value in (amounts or {}).items()}


def _quantity(value: Any) -> str:
    try:
        return format(amount_of(value).normalize(), "f")
    except ValueError:
        return str(value)


def amount_of(value: Any) -> Decimal:
    """Return the number that a quantity such as "1Gi" means; "" means 0. Raises ValueError for one that is none."""
    text = str(value)
    number = text.rstrip("numkMGTPEi")
    try:
        return (
            Decimal(number or 0) * _SUFFIXES[text[len(number) :]]
            if text[len(number) :]
            else Decimal(number or 0)
        )
    except (InvalidOperation, KeyError) as error:
        raise ValueError(f'{text!r} is not a quantity: write one such as "10Gi"') from error


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        cleaned = {name: _without_empty(inner) for name, inner in value.items()}
        return {name: inner for name, inner in cleaned.items() if inner not in (None, {}, [])}
    if isinstance(value, list):
        return [_without_empty(item) for item in value]
    return value
