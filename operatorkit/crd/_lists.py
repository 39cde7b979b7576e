"""Lists that are sets, or maps by keys: no two items may be the same.

What belongs here: finding the items that are there twice. What does not: merging such lists
(server-side apply).
"""

from __future__ import annotations

from typing import Any

from operatorkit.crd._node import Node
from operatorkit.crd.field_errors import FieldError, duplicate, invalid
from operatorkit.crd.golang import json_text

__all__ = ["duplicates"]


def duplicates(node: Node, value: Any, path: str = "") -> list[FieldError]:
    """Return an error for each second occurrence of an item, at any depth."""
    if isinstance(value, list):
        errors: list[FieldError] = []
        if node.list_type == "set":
            errors += [duplicate(f"{path}[{at}]", value[at]) for at in _repeated(value)]
        elif node.list_type == "map":
            errors += _of_map(node, value, path)
        if node.items is not None:
            for index, item in enumerate(value):
                errors += duplicates(node.items, item, f"{path}[{index}]")
        return errors
    if isinstance(value, dict):
        return _of_fields(node, value, path)
    return []


def _of_fields(node: Node, value: dict[str, Any], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if node.additional is not None:
        for key, item in value.items():
            errors += duplicates(node.additional, item, f"{path}[{key}]")
    for key, child in node.properties.items():
        if key in value:
            errors += duplicates(child, value[key], f"{path}.{key}" if path else key)
    return errors


def _of_map(node: Node, value: list[Any], path: str) -> list[FieldError]:
    for index, item in enumerate(value):
        if item is not None and not isinstance(item, dict):
            return [
                invalid(f"{path}[{index}]", item, "must be an object for an array of list-type map")
            ]
    keys = [
        {name: item[name] for name in node.list_map_keys if name in item} if item else {}
        for item in value
    ]
    return [duplicate(f"{path}[{at}]", keys[at]) for at in _repeated(keys)]


def _repeated(values: list[Any]) -> list[int]:
    """Return the positions at which values occur for the second time; the third time is not reported."""
    counts: dict[tuple[str, str], int] = {}
    found = []
    for at, value in enumerate(values):
        key = (type(value).__name__, json_text(value))
        counts[key] = counts.get(key, 0) + 1
        if counts[key] == 2:
            found.append(at)
    return found
