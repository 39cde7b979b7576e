"""Changes of a pod template that a running pod can get without being recreated.

What belongs here: which changes these are, and the patches that make them. What does not: when they are made (`plan`).
Pure; no argument is changed.

    labels, annotations, images       a patch of the pod
    cpu and memory of containers      a patch of the subresource resize: nothing removed, and the same QoS class
    anything else                     a new pod

Source: https://kubernetes.io/docs/tasks/configure-pod-container/resize-container-resources/
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from operators.petset.template import containers_of, normalised

__all__ = ["InPlaceChange", "in_place_change"]

JSON = dict[str, Any]

_RESIZABLE = frozenset({"cpu", "memory"})


@dataclass(frozen=True, slots=True)
class InPlaceChange:
    """Strategic merge patches that bring a pod from one template to another; each is empty where nothing changes."""

    patch: JSON = field(default_factory=dict)
    resize: JSON = field(default_factory=dict)


def in_place_change(old: Mapping[str, Any], new: Mapping[str, Any]) -> InPlaceChange | None:
    """Return the patches of a pod for a change of a template; None for a change that needs a new pod."""
    before, after = normalised(old), normalised(new)
    if _fixed_parts(before) != _fixed_parts(after) or not _is_resizable(
        before["spec"], after["spec"]
    ):
        return None
    patch: JSON = {}
    metadata = {
        part: _map_change(
            (before.get("metadata") or {}).get(part), (after.get("metadata") or {}).get(part)
        )
        for part in ("labels", "annotations")
    }
    if any(metadata.values()):
        patch["metadata"] = {part: change for part, change in metadata.items() if change}
    images = _changed_containers(before["spec"], after["spec"], "image")
    if images:
        patch["spec"] = images
    resources = _changed_containers(before["spec"], new.get("spec") or {}, "resources")
    return InPlaceChange(patch, {"spec": resources} if resources else {})


def _changed_containers(before: Mapping[str, Any], after: Mapping[str, Any], name: str) -> JSON:
    """Return a patch of the containers that differ in one field, compared in normal form and sent as it is written."""
    normal = normalised({"spec": after})["spec"]
    changes = {
        kind: [
            {"name": sent["name"], name: sent.get(name)}
            for was, now, sent in zip(
                before.get(kind) or (), normal.get(kind) or (), after.get(kind) or (), strict=True
            )
            if was.get(name) != now.get(name)
        ]
        for kind in ("initContainers", "containers")
    }
    return {kind: changed for kind, changed in changes.items() if changed}


def _fixed_parts(template: Mapping[str, Any]) -> JSON:
    """Return a template without what a running pod may change; the pull policy follows the tag of the image."""
    fixed = copy.deepcopy(dict(template))
    for part in ("labels", "annotations"):
        fixed.get("metadata", {}).pop(part, None)
    for container in containers_of(fixed.get("spec") or {}):
        container.pop("image", None)
        container.pop("imagePullPolicy", None)
        for amounts in (container.get("resources") or {}).values():
            if isinstance(amounts, dict):
                for name in _RESIZABLE & amounts.keys():
                    del amounts[name]
    return normalised(fixed)


def _is_resizable(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Return whether the amounts of cpu and memory may change in a running pod: in containers, and none removed."""
    if _qos_class(before) != _qos_class(after):
        return False
    init = [each.get("resources") for each in before.get("initContainers") or ()]
    if init != [each.get("resources") for each in after.get("initContainers") or ()]:
        return False
    return all(
        (was.get("resources") or {}).get(kind, {}).keys()
        <= (now.get("resources") or {}).get(kind, {}).keys()
        for was, now in zip(
            before.get("containers") or (), after.get("containers") or (), strict=True
        )
        for kind in ("limits", "requests")
    )


def _qos_class(spec: Mapping[str, Any]) -> str:
    """Return the quality-of-service class of a pod of that spec, in normal form; a resize may not change it."""
    resources = [each.get("resources") or {} for each in containers_of(spec)]
    if not any(each.get("limits") or each.get("requests") for each in resources):
        return "BestEffort"
    guaranteed = all(
        each.get("limits", {}).keys() >= _RESIZABLE and each.get("limits") == each.get("requests")
        for each in resources
    )
    return "Guaranteed" if guaranteed else "Burstable"


def _map_change(old: Mapping[str, str] | None, new: Mapping[str, str] | None) -> JSON:
    before, after = old or {}, new or {}
    removed = dict.fromkeys(before.keys() - after.keys())
    return {
        **removed,
        **{name: value for name, value in after.items() if before.get(name) != value},
    }
