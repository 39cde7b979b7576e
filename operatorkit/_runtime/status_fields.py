"""Which fields of a status an operator sends: those that it owns and those that its run changed, down to the leaf.

What belongs here: comparing a status before and after a run with what the operator owns of it and with the schema, all
of it values. What does not: reading and writing the status (`status`).

To send a field is to own it, and what has two owners stays when one of them withdraws it. So a field that another
manager wrote and the run left alone must not be sent, wherever it lies: next to an owned one in a map, in an item of a
list map that has several owners, or in a nested object. A list or map that the schema calls atomic is one leaf.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from operatorkit.applied import same

__all__ = ["own_fields", "without_empty", "would_change_nothing"]

_NOTHING = object()
_ABSENT = object()
_NO_SCHEMA: Mapping[str, Any] = {}


def own_fields(
    after: Any, before: Any, owned: Mapping[str, Any], schema: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the part of the status `after` a run to send, where it was `before` and the operator owns `owned`.

    `owned` is the tree of fieldsV1 below `f:status`; `schema` the structural schema of the status, if it is known.
    """
    found = _own(after, before, owned, schema or _NO_SCHEMA)
    return found if isinstance(found, dict) else {}


def without_empty(value: Any) -> Any:
    """Return a status without what is as good as absent in it: None, and empty lists and maps, as values of fields."""
    if isinstance(value, dict):
        inner = ((name, without_empty(each)) for name, each in value.items())
        return {name: each for name, each in inner if each is not None and each not in ({}, [])}
    if isinstance(value, list):
        return [without_empty(each) for each in value]
    return value


def would_change_nothing(
    sent: Mapping[str, Any], before: Mapping[str, Any], owned: Mapping[str, Any]
) -> bool:
    """Return whether the operator owns just what it would send, and the status has it, whatever others own."""
    return bool(owned) and same(owned, without_empty(sent), before)


def _own(
    after: Any, before: Any, owned: Mapping[str, Any] | None, schema: Mapping[str, Any]
) -> Any:
    """Return what to send of a value, or _NOTHING; `owned` is None where the operator owns nothing of it."""
    if isinstance(after, dict) and after and _is_granular(schema, before, owned):
        return _own_of_map(after, before if isinstance(before, dict) else {}, owned, schema)
    if isinstance(after, list) and after and isinstance(before, list):
        keys = _keys(schema, owned)
        if keys:
            return _own_of_list_map(after, before, owned, schema, keys)
        if _is_set(schema, owned):
            mine = [
                item
                for item in after
                if item not in before or f"v:{_compact(item)}" in (owned or {})
            ]
            return mine or _NOTHING
    changed = type(after) is not type(before) or after != before
    return after if changed or owned is not None else _NOTHING


def _own_of_map(
    after: dict[str, Any],
    before: dict[str, Any],
    owned: Mapping[str, Any] | None,
    schema: Mapping[str, Any],
) -> Any:
    kept = {}
    for name, value in after.items():
        below = schema.get("properties", _NO_SCHEMA).get(name) or schema.get("additionalProperties")
        part = _own(
            value,
            before.get(name, _ABSENT),
            (owned or {}).get(f"f:{name}"),
            below if isinstance(below, Mapping) else _NO_SCHEMA,
        )
        if part is not _NOTHING:
            kept[name] = part
    return kept or _NOTHING


def _own_of_list_map(
    after: list[Any],
    before: list[Any],
    owned: Mapping[str, Any] | None,
    schema: Mapping[str, Any],
    keys: tuple[str, ...],
) -> Any:
    items: Mapping[str, Any] = schema.get("items") or _NO_SCHEMA
    kept = []
    for item in after:
        known = next(
            (each for each in before if _identity(each, keys) == _identity(item, keys)), _ABSENT
        )
        part = _own(item, known, _owned_item(item, owned, keys), items)
        if part is _NOTHING:
            continue
        # without these the item is no item, or becomes an invalid one when another owner of it goes
        needed = {name: item[name] for name in (*keys, *items.get("required", ())) if name in item}
        kept.append(
            {**needed, **part} if isinstance(part, dict) and isinstance(item, dict) else part
        )
    return kept or _NOTHING


def _owned_item(
    item: Any, owned: Mapping[str, Any] | None, keys: tuple[str, ...]
) -> Mapping[str, Any] | None:
    for name, inner in (owned or {}).items():
        if name.startswith("k:") and _identity(json.loads(name[2:]), keys) == _identity(item, keys):
            return {each: below for each, below in inner.items() if each != "."}
    return None


def _identity(item: Any, keys: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(item.get(key) for key in keys) if isinstance(item, dict) else (item,)


def _is_granular(schema: Mapping[str, Any], before: Any, owned: Mapping[str, Any] | None) -> bool:
    """Return whether a map is owned by its fields: unless it is called atomic, or is owned as a whole."""
    if schema.get("x-kubernetes-map-type") == "atomic":
        return False
    return bool(schema) or owned is None or bool(owned) or not before


def _keys(schema: Mapping[str, Any], owned: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return the keys of a list map, from its schema or from what is owned of it; () for other lists."""
    if schema:
        is_map = schema.get("x-kubernetes-list-type") == "map"
        return tuple(schema.get("x-kubernetes-list-map-keys", ())) if is_map else ()
    return next((tuple(json.loads(name[2:])) for name in owned or () if name.startswith("k:")), ())


def _is_set(schema: Mapping[str, Any], owned: Mapping[str, Any] | None) -> bool:
    return schema.get("x-kubernetes-list-type") == "set" or any(
        name.startswith("v:") for name in owned or ()
    )


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
