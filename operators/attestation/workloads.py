"""The images of Pods and of objects with a pod template.

What belongs here: finding each image in an object as it was sent. What does not: what it needs (`policy`). Pure.

Objects are read as plain JSON: a typed model drops fields that are newer than it, and with them an image.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["ImageUse", "images_in", "with_images"]

_TEMPLATES = {
    "Pod": ("spec",),
    "PodTemplate": ("template", "spec"),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
}
_TEMPLATE = ("spec", "template", "spec")
_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")


@dataclass(frozen=True, slots=True)
class ImageUse:
    """An image as it is written, and the field that has it."""

    image: str
    field: str


def images_in(kind: str, obj: Mapping[str, Any] | None) -> list[ImageUse]:
    """Return each image of an object of a kind, in the order of its fields; the same one in two fields twice.

    An image that is absent or not text is the empty one, which no policy admits.
    """
    if obj is None:
        return []
    path = _TEMPLATES.get(kind, _TEMPLATE)
    spec: Any = obj
    for part in path:
        spec = spec.get(part) if isinstance(spec, Mapping) else None
    return list(_images(spec, ".".join(path))) if isinstance(spec, Mapping) else []


def with_images(kind: str, obj: Mapping[str, Any], images: Mapping[str, str]) -> dict[str, Any]:
    """Return a copy of an object in which images are replaced, by their texts."""
    changed: dict[str, Any] = copy.deepcopy(dict(obj))
    spec: Any = changed
    for part in _TEMPLATES.get(kind, _TEMPLATE):
        spec = spec.get(part) if isinstance(spec, dict) else None
    if isinstance(spec, dict):
        for holder, name in _holders(spec):
            text = _text(holder, name)
            if text in images:
                holder[name] = images[text]
    return changed


def _holders(spec: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield what has an image, and under which name."""
    for name in _CONTAINERS:
        yield from (
            (container, "image")
            for container in _items(spec.get(name))
            if isinstance(container, dict)
        )
    for volume in _items(spec.get("volumes")):
        source = volume.get("image") if isinstance(volume, dict) else None
        if isinstance(source, dict):
            yield source, "reference"


def _images(spec: Mapping[str, Any], path: str) -> Iterator[ImageUse]:
    for name in _CONTAINERS:
        found = spec.get(name)
        if found is not None and not isinstance(found, list):
            yield ImageUse(
                "", f"{path}.{name}"
            )  # nothing that a runtime could run, and nothing to admit
        for index, container in enumerate(_items(found)):
            yield ImageUse(_text(container, "image"), f"{path}.{name}[{index}].image")
    for index, volume in enumerate(_items(spec.get("volumes"))):
        source = volume.get("image") if isinstance(volume, Mapping) else None
        if source is not None:
            yield ImageUse(_text(source, "reference"), f"{path}.volumes[{index}].image.reference")


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any, name: str) -> str:
    found = value.get(name) if isinstance(value, Mapping) else None
    return found if isinstance(found, str) else ""
