"""The columns of Tables, for every kind.

What belongs here: the default columns, and those of CRDs. What does not: the columns of built-in kinds
(`builtin`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from operatorkit.controlplane.embedded.errors import go_text
from operatorkit.controlplane.embedded.errors.jsonpath import JSONPath
from operatorkit.controlplane.embedded.printers.ages import age
from operatorkit.controlplane.embedded.printers.builtin import builtin_columns
from operatorkit.controlplane.embedded.registry.table import Served
from operatorkit.controlplane.embedded.serializer.json import encode

__all__ = ["Columns", "columns_of"]

Object = dict[str, Any]
_NAME = {
    "name": "Name",
    "type": "string",
    "format": "name",
    "description": "Name must be unique within a namespace. Is required when creating resources, although some "
    "resources may allow a client to request the generation of an appropriate name automatically.",
    "priority": 0,
}
_CREATED_TEXT = (
    "CreationTimestamp is a timestamp representing the server time when this object was created."
)
_CREATED = {
    "name": "Created At",
    "type": "date",
    "format": "",
    "description": _CREATED_TEXT,
    "priority": 0,
}

_AGE_ONLY = (
    {
        "name": "Age",
        "type": "date",
        "jsonPath": ".metadata.creationTimestamp",
        "description": _CREATED_TEXT,
    },
)


class Columns(Protocol):
    """The columns of one kind."""

    @property
    def definitions(self) -> Sequence[Mapping[str, Any]]:
        """The `columnDefinitions` of the Table."""

    def cells(self, obj: Object, now: datetime) -> list[Any]:
        """Return the cells of one object."""

    def conditions(self, obj: Object) -> list[Object]:
        """Return the conditions of a row, such as `Completed`."""


class _Default:
    """The columns of kinds that have none of their own."""

    definitions: Sequence[Mapping[str, Any]] = (_NAME, _CREATED)

    def cells(self, obj: Object, now: datetime) -> list[Any]:
        del now
        metadata = obj["metadata"]
        return [metadata["name"], metadata.get("creationTimestamp")]

    def conditions(self, obj: Object) -> list[Object]:
        del obj
        return []


class _Printed(_Default):
    """The columns that a CRD asks for; the name comes first whether it asks or not."""

    def __init__(self, columns: Sequence[Mapping[str, Any]]) -> None:
        self.definitions = (_NAME, *(_definition(it) for it in columns))
        self._paths = [(it["type"], JSONPath(it["jsonPath"])) for it in columns]

    def cells(self, obj: Object, now: datetime) -> list[Any]:
        return [
            obj["metadata"]["name"],
            *(_cell(type_, path.find(obj), now) for type_, path in self._paths),
        ]


def _definition(column: Mapping[str, Any]) -> Mapping[str, Any]:
    text = f"Custom resource definition column (in JSONPath format): {column['jsonPath']}"
    return {
        "name": column["name"],
        "type": column["type"],
        "format": column.get("format", ""),
        "description": column.get("description") or text,
        "priority": column.get("priority", 0),
    }


def _cell(type_: str, values: Sequence[Any], now: datetime) -> Any:
    """Return a cell as kube-apiserver makes it: several strings joined, other values only of their type."""
    if not values:
        return None
    value = values[0]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match type_:
        case "integer":
            if not number:
                return None
            # As Go converts it: what an int64 does not hold becomes the smallest.
            return int(value) if int(value) in go_text.INT64 else go_text.INT64[0]
        case "number":
            return go_text.numbers(float(value)) if number else None
        case "boolean":
            return value if isinstance(value, bool) else None
        case "date":
            return age(value, now) if isinstance(value, str) else None
    return ",".join(map(_text, values))


def _text(value: Any) -> str:
    if value is None:
        return "<no value>"
    return value if isinstance(value, str) else encode(value).decode()


_KNOWN: WeakKeyDictionary[Served, Columns] = WeakKeyDictionary()


def columns_of(served: Served) -> Columns:
    """Return the columns of a resource."""
    found = _KNOWN.get(served)
    if found is None:
        found = _KNOWN[served] = _columns(served)
    return found


def _columns(served: Served) -> Columns:
    if served.builtin:
        return builtin_columns(served.gvk) or _Default()
    columns = served.definition.get("additionalPrinterColumns") or _AGE_ONLY
    try:
        return _Printed(columns)
    except ValueError:  # a path that is none: kube-apiserver too then prints the default
        return _Default()
