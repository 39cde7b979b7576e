"""The environment and the command line of a container, as a kubelet makes them.

What belongs here: pure functions of a pod and of what its references hold. What does not: objects
that are missing (`operatorkit.controlplane.nodes.references` reports those first).

Source: https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from operatorkit.cluster.api import JSONObject
from operatorkit.controlplane.nodes.process.images import Image
from operatorkit.controlplane.nodes.references import Lookup

__all__ = ["PodFacts", "command_line", "environment", "expand", "field_value", "resource_value"]

_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SUFFIXES = {
    "": Fraction(1),
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    **{letter: Fraction(1000**power) for power, letter in enumerate("kMGTPE", start=1)},
    **{f"{letter}i": Fraction(1024**power) for power, letter in enumerate("KMGTPE", start=1)},
}
_QUANTITY = re.compile(r"([+-]?[0-9.]+)(?:[eE]([+-]?[0-9]+)|([a-zA-Z]*))")


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What a pod is given by its node: the addresses, what the node has, and the API server."""

    pod_ip: str
    host_ip: str
    allocatable: Mapping[str, str]
    api_host: str
    api_port: int


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace each `$(NAME)` that is known; `$$` is a dollar sign, and unknown ones stay."""

    def replacement(match: re.Match[str]) -> str:
        name = match.group(1)
        return "$" if name is None else variables.get(name, match.group())

    return _REFERENCE.sub(replacement, text)


def environment(
    pod: JSONObject, container: Mapping[str, Any], image: Image, facts: PodFacts, lookup: Lookup
) -> dict[str, str]:
    """Return the environment of a container. References that are missing are left out."""
    services = {
        "KUBERNETES_SERVICE_HOST": facts.api_host,
        "KUBERNETES_SERVICE_PORT": str(facts.api_port),
        "KUBERNETES_SERVICE_PORT_HTTPS": str(facts.api_port),
    }
    own: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        own |= _all_keys(source, lookup)
    for variable in container.get("env") or ():
        if source := variable.get("valueFrom"):
            value = _value_from(pod, container, source, facts, lookup)
            if value is None:
                continue
        else:
            value = expand(variable.get("value", ""), {**services, **own})
        own[variable["name"]] = value
    base = {"PATH": _PATH, "HOSTNAME": pod["metadata"]["name"], "HOME": "/"}
    return {**base, **image.env, **services, **own}


def command_line(
    container: Mapping[str, Any], image: Image | None, variables: Mapping[str, str]
) -> list[str]:
    """Return what is executed: command and args of the container, or those of its image.

    As in Kubernetes, a command of the container makes the image's default arguments void.
    """
    command, args = container.get("command") or (), container.get("args") or ()
    given = [expand(word, variables) for word in (*command, *args)]
    if command or image is None:
        return given
    return [*image.command, *(given or image.args)]


def _decoded(obj: JSONObject, key: str) -> str | None:
    """Return one value of a ConfigMap or Secret as text."""
    data = obj.get("data") or {}
    if key not in data:
        return None
    if obj.get("kind") == "Secret":
        return base64.b64decode(data[key]).decode(errors="replace")
    return str(data[key])


def _all_keys(source: Mapping[str, Any], lookup: Lookup) -> dict[str, str]:
    prefix = source.get("prefix", "")
    reference = source.get("configMapRef")
    if reference is not None:
        obj = lookup("ConfigMap", reference.get("name", ""))
    else:
        obj = lookup("Secret", (source.get("secretRef") or {}).get("name", ""))
    if obj is None:
        return {}
    obj = {"kind": "ConfigMap" if reference is not None else "Secret", **obj}
    return {f"{prefix}{key}": _decoded(obj, key) or "" for key in sorted(obj.get("data") or {})}


def _value_from(
    pod: JSONObject,
    container: Mapping[str, Any],
    source: Mapping[str, Any],
    facts: PodFacts,
    lookup: Lookup,
) -> str | None:
    if reference := source.get("fieldRef"):
        return field_value(pod, reference["fieldPath"], facts)
    if reference := source.get("resourceFieldRef"):
        return resource_value(pod, reference, facts, default=container)
    if reference := source.get("configMapKeyRef"):
        obj = lookup("ConfigMap", reference.get("name", ""))
        return None if obj is None else _decoded({"kind": "ConfigMap", **obj}, reference["key"])
    if reference := source.get("secretKeyRef"):
        obj = lookup("Secret", reference.get("name", ""))
        return None if obj is None else _decoded({"kind": "Secret", **obj}, reference["key"])
    return None


def field_value(pod: JSONObject, path: str, facts: PodFacts) -> str:
    """Return a field of the downward API; "" for one that the pod does not have."""
    metadata, spec = pod["metadata"], pod["spec"]
    match = re.fullmatch(r"metadata\.(labels|annotations)\['(.*)'\]", path)
    if match:
        return str((metadata.get(match.group(1)) or {}).get(match.group(2), ""))
    values: dict[str, Any] = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "metadata.labels": _lines(metadata.get("labels")),
        "metadata.annotations": _lines(metadata.get("annotations")),
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "status.hostIP": facts.host_ip,
        "status.hostIPs": facts.host_ip,
        "status.podIP": facts.pod_ip,
        "status.podIPs": facts.pod_ip,
    }
    return str(values.get(path, ""))


def _lines(mapping: Mapping[str, str] | None) -> str:
    def quoted(text: str) -> str:
        return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    return "\n".join(f'{key}="{quoted(value)}"' for key, value in sorted((mapping or {}).items()))


def resource_value(
    pod: JSONObject, reference: Mapping[str, Any], facts: PodFacts, *, default: Mapping[str, Any]
) -> str:
    """Return a request or limit, in units of its divisor, rounded up.

    A container without that limit has what the node has.
    """
    name = reference.get("containerName")
    containers = (*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"])
    container = next((one for one in containers if one["name"] == name), default)
    kind, _, resource = str(reference["resource"]).partition(".")
    resources = container.get("resources") or {}
    amount = (resources.get(kind) or {}).get(resource)
    if amount is None and kind == "limits":
        amount = facts.allocatable.get(resource)
    divisor = _number(str(reference.get("divisor") or "1")) or Fraction(1)
    return str(math.ceil(_number(str(amount or "0")) / divisor))


def _number(text: str) -> Fraction:
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return Fraction(0)
    digits, exponent, suffix = match.groups()
    scale = Fraction(10) ** int(exponent) if exponent else _SUFFIXES.get(suffix or "", Fraction(1))
    return Fraction(digits) * scale
