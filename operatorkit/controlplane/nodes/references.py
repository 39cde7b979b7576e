"""The Secrets and ConfigMaps that a pod needs before its containers can start, and the words for one that is missing.

What belongs here: pure functions of a pod and of what exists. What does not: looking things up in a cluster.
The messages are the kubelet's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from operatorkit.cluster.api import JSONObject

__all__ = ["Lookup", "SourceKind", "config_failure", "mount_failures", "references"]

SourceKind = Literal["Secret", "ConfigMap"]

Lookup = Callable[[SourceKind, str], JSONObject | None]
"""Returns the object of a kind and name in the pod's namespace, or None."""

_LOWER: dict[SourceKind, str] = {"Secret": "secret", "ConfigMap": "configmap"}


def _all_containers(pod: JSONObject) -> Iterator[Mapping[str, Any]]:
    yield from pod["spec"].get("initContainers") or ()
    yield from pod["spec"].get("containers") or ()


def _volume_source(
    volume: Mapping[str, Any],
) -> Iterator[tuple[SourceKind, str, Mapping[str, Any]]]:
    """Yield (kind, name, source) for each object that a volume is made of."""
    if secret := volume.get("secret"):
        yield "Secret", secret.get("secretName", ""), secret
    if config_map := volume.get("configMap"):
        yield "ConfigMap", config_map.get("name", ""), config_map
    for source in (volume.get("projected") or {}).get("sources") or ():
        if secret := source.get("secret"):
            yield "Secret", secret.get("name", ""), secret
        if config_map := source.get("configMap"):
            yield "ConfigMap", config_map.get("name", ""), config_map


def _environment(
    container: Mapping[str, Any],
) -> Iterator[tuple[SourceKind, str, str | None, bool]]:
    """Yield (kind, name, key or None for all keys, optional) in the order in which the kubelet reads them."""
    for source in container.get("envFrom") or ():
        if reference := source.get("configMapRef"):
            yield "ConfigMap", reference.get("name", ""), None, bool(reference.get("optional"))
        if reference := source.get("secretRef"):
            yield "Secret", reference.get("name", ""), None, bool(reference.get("optional"))
    for variable in container.get("env") or ():
        source = variable.get("valueFrom") or {}
        if reference := source.get("configMapKeyRef"):
            yield (
                "ConfigMap",
                reference.get("name", ""),
                reference["key"],
                bool(reference.get("optional")),
            )
        if reference := source.get("secretKeyRef"):
            yield (
                "Secret",
                reference.get("name", ""),
                reference["key"],
                bool(reference.get("optional")),
            )


def references(pod: JSONObject) -> set[tuple[SourceKind, str]]:
    """Return the kind and name of everything that volumes and variables of a pod are made of, optional or not."""
    found: set[tuple[SourceKind, str]] = set()
    for volume in pod["spec"].get("volumes") or ():
        found |= {(kind, name) for kind, name, _ in _volume_source(volume)}
    for container in _all_containers(pod):
        found |= {(kind, name) for kind, name, _, _ in _environment(container)}
    return found


def mount_failures(pod: JSONObject, lookup: Lookup) -> list[str]:
    """Return one message, as FailedMount has it, for each volume that cannot be set up; in the order of the spec."""
    messages = []
    for volume in pod["spec"].get("volumes") or ():
        problems = [
            problem
            for kind, name, source in _volume_source(volume)
            if (problem := _source_problem(kind, name, source, lookup)) is not None
        ]
        if problems:
            # Several problems of a projected volume come as one list.
            text = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
            messages.append(f'MountVolume.SetUp failed for volume "{volume["name"]}" : {text}')
    return messages


def _source_problem(
    kind: SourceKind, name: str, source: Mapping[str, Any], lookup: Lookup
) -> str | None:
    optional = bool(source.get("optional"))
    obj = lookup(kind, name)
    if obj is None:
        return None if optional else _not_found(kind, name)
    keys = _keys(obj)
    for item in source.get("items") or ():
        if item["key"] not in keys and not optional:
            what = "references non-existent secret key" if kind == "Secret" else None
            return f"{what or 'configmap references non-existent config key'}: {item['key']}"
    return None


def config_failure(pod: JSONObject, container: Mapping[str, Any], lookup: Lookup) -> str | None:
    """Return why a container's environment cannot be made, as CreateContainerConfigError has it, or None."""
    for kind, name, key, optional in _environment(container):
        obj = lookup(kind, name)
        if obj is None:
            if not optional:
                return _not_found(kind, name)
        elif key is not None and key not in _keys(obj) and not optional:
            return f"couldn't find key {key} in {kind} {pod['metadata']['namespace']}/{name}"
    return None


def _not_found(kind: SourceKind, name: str) -> str:
    return f'{_LOWER[kind]} "{name}" not found'


def _keys(obj: JSONObject) -> set[str]:
    return {*(obj.get("data") or ()), *(obj.get("binaryData") or ())}
