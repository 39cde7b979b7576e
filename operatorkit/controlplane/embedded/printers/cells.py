"""What the cells of all kinds have in common: names, ages, labels, selectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from operatorkit import selectors
from operatorkit.controlplane.embedded.printers.ages import age

__all__ = [
    "age_of",
    "created_at",
    "first_three",
    "labels_text",
    "name_and_age",
    "name_of",
    "names_and_images",
    "part",
    "selector_or_none",
    "selector_text",
]

JSONObject = Mapping[str, Any]


def part(obj: JSONObject, name: str) -> JSONObject:
    """Return a part of an object, empty where it is absent or null."""
    return obj.get(name) or {}


def name_of(obj: JSONObject) -> str:
    """Return an object's name."""
    return str(obj["metadata"]["name"])


def age_of(obj: JSONObject, now: datetime) -> str:
    """Return how long ago an object was created."""
    return age(obj["metadata"].get("creationTimestamp"), now)


def created_at(obj: JSONObject, _: datetime) -> list[Any]:
    """Return the cells of kinds that only say when they were created."""
    return [name_of(obj), obj["metadata"].get("creationTimestamp")]


def name_and_age(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of kinds that only say how old they are."""
    return [name_of(obj), age_of(obj, now)]


def labels_text(labels: JSONObject | None) -> str:
    """Write labels, or a selector that is only labels."""
    return ",".join(f"{name}={value}" for name, value in sorted((labels or {}).items())) or "<none>"


def selector_or_none(selector: JSONObject | None) -> str:
    """Write a label selector, `<none>` when it selects by nothing."""
    return selector_text(selector) or "<none>"


def selector_text(selector: JSONObject | None) -> str:
    """Write a label selector as a query."""
    return "" if selector is None else selectors.selector_text(selector)


def names_and_images(template: JSONObject) -> list[str]:
    """Return the names and the images of the containers of a pod template."""
    containers = part(template, "spec").get("containers") or ()
    return [",".join(it.get(field, "") for it in containers) for field in ("name", "image")]


def first_three(items: Sequence[str], *, nothing: str = "<none>") -> str:
    """Join up to three, and say how many more there are."""
    if not items:
        return nothing
    shown = ",".join(items[:3])
    return f"{shown} + {len(items) - 3} more..." if len(items) > 3 else shown
