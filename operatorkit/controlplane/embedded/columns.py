"""The columns of Tables, for every kind.

What belongs here: the default columns, and those of CRDs. What does not: the columns of built-in kinds
(`builtin.columns`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from operatorkit.controlplane.embedded.registry import Served

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
_CREATED = {
    "name": "Created At",
    "type": "date",
    "format": "",
    "description": "CreationTimestamp is a timestamp representing the server time when this object was created.",
    "priority": 0,
}


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

    definitions = (_NAME, _CREATED)

    def cells(self, obj: Object, now: datetime) -> list[Any]:
        del now
        metadata = obj["metadata"]
        return [metadata["name"], metadata.get("creationTimestamp")]

    def conditions(self, obj: Object) -> list[Object]:
        del obj
        return []


def columns_of(served: Served) -> Columns:
    """Return the columns of a resource."""
    del served
    return _Default()
