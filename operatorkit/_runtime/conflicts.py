"""Conflicts: which field manager changes what an operator sets, from managedFields, and what to do about it.

What belongs here: the fields of an applied body that an object has otherwise, and their managers. What does not: when
they are evaluated (`controller`) and how repairs are slowed (`budget`).

Why it is hard: managedFields record who owns a field, not who removed one. So a field with another value belongs to the
manager that owns it now; for a missing field the last writer is reported. docs/adr/0013-a-budget-of-repairs.md.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from operatorkit._runtime.budget import Written
from operatorkit._runtime.reasons import EngineReason
from operatorkit.children import read_whole
from operatorkit.cluster import ClusterAPI, JSONObject
from operatorkit.errors import ClusterError

__all__ = ["conflicts", "explained", "undone"]

_MOST_FIELDS = 3
_ABSENT = object()
_log = logging.getLogger("operatorkit.runtime")


def undone(contested: Written, live: JSONObject | None) -> bool:
    """Return, without a request, whether an object lacks what was last written to it."""
    return live is None or bool(
        [*_different(_as_answered(contested.body, contested.answer), live, "")]
    )


async def explained(contested: Written, api: ClusterAPI, manager: str) -> tuple[str, str] | None:
    """Return the reason and the message of an Event about what `manager` writes again and again.

    None if the object has it all at present, or cannot be read: then it is not known yet what goes on.
    """
    key, what = contested.key, f"{contested.resource.kind} {contested.key}"
    if contested.created:
        return EngineReason.CHILD_DELETED, (
            f"{what} is deleted as often as it is created: find out who deletes it (the audit "
            f"log of the API server names the user), and prevent that"
        )
    try:
        live = await read_whole(api, contested.resource, key)
    except ClusterError as error:
        _log.debug("%s cannot be read: %s", what, error)
        return None
    if live is None:
        return None
    found = conflicts(_as_answered(contested.body, contested.answer), live, manager)
    if found is None:
        return None
    other, fields = found
    shown = ", ".join(fields[:_MOST_FIELDS])
    if len(fields) > _MOST_FIELDS:
        shown += f" and {len(fields) - _MOST_FIELDS} more"
    return EngineReason.FIELD_CONFLICT, (
        f"{other or 'another program'} changes {shown} of {what} as often as {manager} sets it: let only one of the "
        f"two set it"
    )


def conflicts(body: JSONObject, live: JSONObject, manager: str) -> tuple[str, list[str]] | None:
    """Return who keeps the fields of `body` from having its values in `live`, and those fields; None if they have them.

    A field that another manager owns and that has another value is that manager's. One that is missing belongs to
    no manager: then the manager that wrote last is returned. "" is returned where managedFields name no other manager.
    """
    others = [
        entry
        for entry in live["metadata"].get("managedFields") or ()
        if (entry.get("manager"), entry.get("operation")) != (manager, "Apply")
    ]
    for entry in others:
        found = list(_owned(entry.get("fieldsV1") or {}, body, live, ""))
        if found:
            return str(entry.get("manager") or ""), found
    missing = list(_different(body, live, ""))
    if not missing:
        return None
    latest: Mapping[str, Any] = max(
        others, key=lambda entry: str(entry.get("time") or ""), default={}
    )
    return str(latest.get("manager") or ""), missing


def _owned(fields: Mapping[str, Any], wanted: Any, live: Any, path: str) -> Iterator[str]:
    """Yield the paths among `fields` (a tree as in fieldsV1) whose values are wanted otherwise."""
    for name, inner in fields.items():
        sigil, _, text = name.partition(":")
        if sigil == "f" and isinstance(wanted, dict) and text in wanted:
            mine, where = wanted[text], _joined(path, text)
            theirs = live.get(text, _ABSENT) if isinstance(live, dict) else _ABSENT
        elif sigil == "k" and isinstance(wanted, list) and isinstance(live, list):
            keys: dict[str, Any] = json.loads(text)
            mine, theirs = _item(wanted, keys), _item(live, keys)
            where = f"{path}[{','.join(f'{key}={value}' for key, value in keys.items())}]"
            if mine is _ABSENT:
                continue
        else:
            continue
        below = (
            {each: value for each, value in inner.items() if each != "."}
            if isinstance(inner, Mapping)
            else {}
        )
        if below:
            yield from _owned(below, mine, theirs, where)
        elif not isinstance(mine, dict) and mine != theirs:
            yield where


def _different(wanted: Any, live: Any, path: str) -> Iterator[str]:
    """Yield the paths at which `live` lacks, or has otherwise, what is wanted."""
    if isinstance(wanted, dict) and isinstance(live, dict):
        for name, value in wanted.items():
            yield from _different(value, live.get(name, _ABSENT), _joined(path, name))
    elif (
        isinstance(wanted, list)
        and isinstance(live, list)
        and all(isinstance(item, dict) for item in wanted)
    ):
        if not all(
            any(not [*_different(mine, theirs, path)] for theirs in live) for mine in wanted
        ):
            yield path
    elif wanted is not None and wanted != live:
        yield path


def _as_answered(sent: Any, answer: Any) -> Any:
    """Return what was sent with the values that the server made of it: it writes quantities, say, in its own way."""
    if isinstance(sent, dict) and isinstance(answer, dict):
        return {
            name: _as_answered(value, answer[name])
            for name, value in sent.items()
            if name in answer
        }
    if isinstance(sent, list) and isinstance(answer, list):
        if all(isinstance(item, dict) for item in (*sent, *answer)) and answer:
            return [
                _as_answered(item, min(answer, key=lambda each: len([*_different(item, each, "")])))
                for item in sent
            ]
        return answer
    return answer


def _item(items: list[Any], keys: Mapping[str, Any]) -> Any:
    """Return the item with these keys; one that leaves a key out, which servers fill in, has it too."""
    for item in items:
        if isinstance(item, dict) and all(
            item.get(key, value) == value for key, value in keys.items()
        ):
            return item
    return _ABSENT


def _joined(path: str, name: str) -> str:
    shown = name if name.replace("_", "").replace("-", "").isalnum() else f"[{name}]"
    return f"{path}.{shown}" if path and not shown.startswith("[") else f"{path}{shown}"
