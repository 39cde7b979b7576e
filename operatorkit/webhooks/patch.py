"""The JSON patch (RFC 6902) from an object to what a function made of its typed copy.

What belongs here: comparing and patching JSON. What does not: types. Pure.

A class may not know all fields of an object, and may write what it knows in another form (a
quantity that was a number, a time in another zone). So what counts is what changed between the
typed object before and after, and only that is carried over to the original.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Any

from operatorkit.crd.golang import json_text

__all__ = ["carried_over", "json_patch"]

_MISSING = object()


def json_patch(original: Any, changed: Any) -> list[dict[str, Any]]:
    """Return the operations that make `changed` of `original`: applied in order, they give exactly that."""
    return list(_operations(original, changed, ""))


def carried_over(original: Any, before: Any, after: Any) -> Any:
    """Return `original` with the changes between `before` and `after`, two other ways to write it.

    Guarantees: what is equal in `before` and `after` is in the result as it is in `original`, known
    or not.
    """
    if isinstance(original, dict) and isinstance(before, dict) and isinstance(after, dict):
        return _carried_over_fields(original, before, after)
    if _same(before, after):
        return original
    if (
        isinstance(original, list)
        and isinstance(before, list)
        and isinstance(after, list)
        and len(original) == len(before)
    ):
        return _carried_over_items(original, before, after)
    return after


def _carried_over_fields(
    original: dict[str, Any], before: dict[str, Any], after: dict[str, Any]
) -> dict[str, Any]:
    """Go down both at once, so that nothing is compared twice; what has not changed is the original itself."""
    changed: dict[str, Any] = {}
    for key, value in after.items():
        if key not in before:
            changed[key] = value
            continue
        known = original.get(key, _MISSING)
        result = carried_over(known, before[key], value)
        if result is not known:
            changed[key] = result
    removed = [key for key in before if key not in after and key in original]
    if not changed and not removed:
        return original
    return {key: value for key, value in original.items() if key not in removed} | changed


def _carried_over_items(original: list[Any], before: list[Any], after: list[Any]) -> list[Any]:
    """Align the items: those that are equal are taken from the original; changed ones are paired in order."""
    one, other = [json_text(item) for item in before], [json_text(item) for item in after]
    result: list[Any] = []
    for tag, i1, i2, j1, j2 in SequenceMatcher(a=one, b=other, autojunk=False).get_opcodes():
        if tag == "equal":
            result += original[i1:i2]
        elif tag == "replace" and i2 - i1 == j2 - j1:
            result += [
                carried_over(original[i], before[i], after[j])
                for i, j in zip(range(i1, i2), range(j1, j2), strict=True)
            ]
        else:
            result += after[j1:j2]
    return result


def _same(one: Any, other: Any) -> bool:
    """Compare as JSON does: true is not 1, and the order of keys does not count."""
    if one is other:
        return True
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            _same(value, other[key]) for key, value in one.items()
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and bool(one == other)


def _operations(original: Any, changed: Any, path: str) -> Iterator[dict[str, Any]]:
    if _same(original, changed):
        return
    if isinstance(original, dict) and isinstance(changed, dict):
        for key in original:
            if key not in changed:
                yield {"op": "remove", "path": f"{path}/{_escaped(key)}"}
        for key, value in changed.items():
            if key in original:
                yield from _operations(original[key], value, f"{path}/{_escaped(key)}")
            else:
                yield {"op": "add", "path": f"{path}/{_escaped(key)}", "value": value}
    elif isinstance(original, list) and isinstance(changed, list):
        yield from _list_operations(original, changed, path)
    else:
        yield {"op": "replace", "path": path, "value": changed}


def _list_operations(
    original: list[Any], changed: list[Any], path: str
) -> Iterator[dict[str, Any]]:
    """Leave the common beginning and end alone; change, remove and add what lies between."""
    shorter = min(len(original), len(changed))
    head = next((at for at in range(shorter) if not _same(original[at], changed[at])), shorter)
    tail = next(
        (
            back
            for back in range(shorter - head)
            if not _same(original[-1 - back], changed[-1 - back])
        ),
        shorter - head,
    )
    old, new = original[head : len(original) - tail], changed[head : len(changed) - tail]
    both = min(len(old), len(new))
    for at in range(both):
        yield from _operations(old[at], new[at], f"{path}/{head + at}")
    for at in reversed(range(both, len(old))):
        yield {"op": "remove", "path": f"{path}/{head + at}"}
    for at in range(both, len(new)):
        yield {"op": "add", "path": f"{path}/{head + at}", "value": new[at]}


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
