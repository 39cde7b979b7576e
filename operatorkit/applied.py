"""What an operator owns of a live object by its own applies, and whether another apply would change it.

What belongs here: managedFields and values, compared. What does not: requests, and which objects are children
(`operatorkit.children`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from operatorkit.cluster import JSONObject
from operatorkit.cluster.managed_fields import is_handed_over

__all__ = [
    "applied_fields",
    "own_entry_only",
    "same",
    "update_manager",
    "would_change_nothing",
]

_ABSENT = object()


def update_manager(manager: str) -> str:
    """Return the field manager of what `ctx.update` sets: an object may be a child of the same operator, too.

    One manager for both would remove with each apply what the other sets. No operator has a name with a slash.
    """
    return f"{manager}/update"


def own_entry_only(obj: JSONObject, manager: str, former: Collection[str] = ()) -> JSONObject:
    """Strip `managedFields` down to what `manager` itself applied; changes and returns `obj`.

    Entries of the managers `former` that are to be handed over to `manager` stay too.
    """
    meta = obj.get("metadata")
    if isinstance(meta, dict) and "managedFields" in meta:
        own = [
            entry
            for entry in meta["managedFields"] or ()
            if (
                entry.get("manager") in {manager, update_manager(manager)}
                and entry.get("operation") == "Apply"
            )
            or (former and is_handed_over(entry, former))
        ]
        if own:
            meta["managedFields"] = own
        else:
            del meta["managedFields"]
    return obj


def would_change_nothing(body: JSONObject, live: JSONObject, manager: str) -> bool:
    """Return, without a request, whether applying `body` to `live` is certain to change nothing.

    Guarantees: True only if `manager` owns exactly the fields that `body` has, by its own entry in managedFields, and
    each has the value of `body` in `live`. False is no promise: for example, the server may have written a quantity
    in another way.
    """
    fields = applied_fields(live, manager)
    if fields is None:
        return False
    wanted = {
        name: value
        for name, value in body.items()
        if name not in {"apiVersion", "kind", "metadata"}
    }
    meta = {
        name: value for name, value in body["metadata"].items() if name not in {"name", "namespace"}
    }
    if meta:
        wanted["metadata"] = meta
    return same(fields, wanted, live)


def same(fields: Mapping[str, Any], wanted: Any, live: Any) -> bool:
    """Return whether the fields of a fieldsV1 tree are just those of `wanted`, and `live` has them with its values.

    The keys of the tree say which lists are maps or sets (`k:`, `v:`).
    """
    below = {name: value for name, value in fields.items() if name != "."}
    if not below:
        return _within(wanted, live)
    if isinstance(wanted, dict):
        return (
            isinstance(live, dict)
            and below.keys() == {f"f:{name}" for name in wanted}
            and all(
                same(below[f"f:{name}"], value, live.get(name, _ABSENT))
                for name, value in wanted.items()
            )
        )
    if isinstance(wanted, list):
        return (
            isinstance(live, list)
            and len(below) == len(wanted)
            and all(_same_item(name, inner, wanted, live) for name, inner in below.items())
        )
    return False


def _same_item(name: str, inner: Mapping[str, Any], wanted: list[Any], live: list[Any]) -> bool:
    """Compare one item of a list map (`k:{"name":"a"}`) or of a set (`v:"a"`)."""
    sigil, _, text = name.partition(":")
    if sigil == "v":
        value = json.loads(text)
        return value in wanted and value in live
    if sigil != "k":
        return False
    keys: dict[str, Any] = json.loads(text)
    # a key that we left out, such as a port's protocol, was filled in by the server
    mine = [
        item
        for item in wanted
        if isinstance(item, dict) and all(item.get(k, v) == v for k, v in keys.items())
    ]
    theirs = [
        item
        for item in live
        if isinstance(item, dict) and all(item.get(k) == v for k, v in keys.items())
    ]
    if len(mine) != 1 or len(theirs) != 1:
        return False
    return same(_with_given_keys(inner, keys, mine[0]), mine[0], theirs[0])


def _with_given_keys(
    inner: Mapping[str, Any], keys: Iterable[str], item: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Leave out of an item's fields those keys that the server filled in and recorded under this manager."""
    filled = {f"f:{key}" for key in keys if key not in item}
    return {name: value for name, value in inner.items() if name not in filled}


def _within(wanted: Any, live: Any) -> bool:
    """Compare what is owned as a whole: the server may have added defaults, but changed nothing."""
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(
            _within(value, live.get(name, _ABSENT)) for name, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(live, list)
            and len(wanted) == len(live)
            and all(_within(mine, theirs) for mine, theirs in zip(wanted, live, strict=True))
        )
    return isinstance(wanted, bool) == isinstance(live, bool) and bool(wanted == live)


def _is_own(entry: Mapping[str, Any], manager: str) -> bool:
    return (
        entry.get("manager") == manager
        and entry.get("operation") == "Apply"
        and not entry.get("subresource")
    )


def applied_fields(live: Mapping[str, Any], manager: str) -> Mapping[str, Any] | None:
    """Return the fields that `manager` has applied, as a tree of fieldsV1; None if there are none."""
    for entry in live["metadata"].get("managedFields") or ():
        if _is_own(entry, manager):
            fields = entry.get("fieldsV1")
            return fields if isinstance(fields, dict) else None
    return None
