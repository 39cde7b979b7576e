"""The entries of `metadata.managedFields`: read from an object, written into one.

What belongs here: the entries and their JSON form. What does not: which manager owns what after a write (`managed`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from operatorkit.controlplane.embedded.fields.sets import FieldSet

__all__ = [
    "Entry",
    "Managed",
    "Manager",
    "decode",
    "decode_or_none",
    "encode",
    "managed_for_update",
    "managed_of",
    "with_managed",
    "without_managed",
]

JSONObject = dict[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class Manager:
    """Who: the identity of an entry. The version counts for updates only."""

    name: str
    operation: Literal["Apply", "Update"]
    api_version: str
    subresource: str

    def describe(self) -> str:
        """Return the manager as the API server's conflict messages name it."""
        text = json.dumps(self.name, ensure_ascii=False)
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return f"{text} using {self.api_version}" if self.operation == "Update" else text


@dataclass(frozen=True, slots=True)
class Entry:
    """What: the fields, in the version in which they were written, and when."""

    fields: FieldSet
    api_version: str
    time: str | None = None


Managed = dict[Manager, Entry]


def decode(entries: Any) -> Managed:
    """Read `managedFields`. Raises ValueError when they are not as they should be."""
    result: Managed = {}
    for position, entry in enumerate(entries or []):
        operation = entry.get("operation")
        if operation not in {"Apply", "Update"}:
            raise ValueError("operation must be `Apply` or `Update`")
        version = entry.get("apiVersion")
        if not version:
            raise ValueError("apiVersion must not be empty")
        if entry.get("fieldsType") != "FieldsV1":
            kind = entry.get("fieldsType")
            problem = f'invalid fieldsType "{kind}"' if kind else "missing fieldsType"
            raise ValueError(f"{problem} in managed fields entry {position}")
        identity = version if operation == "Update" else ""
        manager = Manager(
            entry.get("manager", ""), operation, identity, entry.get("subresource", "")
        )
        result[manager] = Entry(
            FieldSet.decode(entry.get("fieldsV1") or {}), version, entry.get("time")
        )
    return result


def encode(managed: Managed) -> list[JSONObject]:
    """Return `managedFields`, in the order of the API server: operation, time, manager, version."""

    def order(pair: tuple[Manager, Entry]) -> tuple[str, ...]:
        manager, entry = pair
        return (
            manager.operation,
            entry.time or "",
            manager.name,
            entry.api_version,
            manager.subresource,
        )

    result = []
    for manager, entry in sorted(managed.items(), key=order):
        written: JSONObject = {"manager": manager.name} if manager.name else {}
        written |= {"operation": manager.operation, "apiVersion": entry.api_version}
        if entry.time:
            written["time"] = entry.time
        written |= {"fieldsType": "FieldsV1", "fieldsV1": entry.fields.encode()}
        if manager.subresource:
            written["subresource"] = manager.subresource
        result.append(written)
    return result


def without_managed(obj: JSONObject) -> JSONObject:
    """Return the object without its `managedFields`."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict) or "managedFields" not in metadata:
        return obj
    return {
        **obj,
        "metadata": {name: it for name, it in metadata.items() if name != "managedFields"},
    }


def with_managed(obj: JSONObject, managed: Managed) -> JSONObject:
    """Return the object with these entries; with those that it has when there are none."""
    if not managed:
        return dict(obj)
    return {**obj, "metadata": {**(obj.get("metadata") or {}), "managedFields": encode(managed)}}


def managed_of(obj: JSONObject) -> Any:
    """Return the `managedFields` of an object, whatever they are."""
    return (obj.get("metadata") or {}).get("managedFields")


def decode_or_none(obj: JSONObject) -> Managed:
    """Return the entries of an object; none when they cannot be decoded."""
    try:
        return decode(managed_of(obj))
    except (ValueError, AttributeError):
        return {}


def managed_for_update(live: JSONObject, new: JSONObject, subresource: str) -> Managed:
    """Return the entries an update starts from: a writer of the main resource may set or reset them."""
    if subresource:
        return decode_or_none(live)
    given = managed_of(new)
    if given in ([], [{}]):
        return {}
    return decode_or_none(new) or decode_or_none(live)
