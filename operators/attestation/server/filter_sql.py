"""From the tree of a filter to a condition of SQL.

What belongs here: which fields there are, by all their spellings, and how each is compared. What does not: the grammar
(`filters`). Needs the extra `attestation`.

Beside the columns, each field of v1's schema that is a single value can be named (`vulnerability.effectiveSeverity`).
Values are bound parameters, never text of the statement.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from sqlalchemy import ColumnElement, Float, Table, and_, cast, false, not_, or_, true

from operators.attestation.server.filters import And, Compare, FilterError, HasPrefix, Node, Not, Or
from operators.attestation.server.names import Collection
from operators.attestation.server.schema import field_type
from operators.attestation.server.tables import notes, occurrences

__all__ = ["condition", "micros"]

_TABLES: dict[Collection, Table] = {"notes": notes, "occurrences": occurrences}
_RESOURCE = "resource"
_COLUMNS: dict[Collection, dict[str, str]] = {
    "notes": {"name": "name", "kind": "kind"},
    "occurrences": {
        "name": "name",
        "kind": "kind",
        "noteName": "note",
        "note_name": "note",
        "resourceUri": _RESOURCE,
        "resource_uri": _RESOURCE,
        "resourceUrl": _RESOURCE,
        "resource_url": _RESOURCE,
        "resource.uri": _RESOURCE,
        "resource.url": _RESOURCE,
        "digest": "digest",
    },
}
_TIMES = {
    "createTime": "create_time",
    "create_time": "create_time",
    "updateTime": "update_time",
    "update_time": "update_time",
}
_OLD_KINDS = {  # v1alpha1's words
    "PACKAGE_VULNERABILITY": "VULNERABILITY",
    "BUILD_DETAILS": "BUILD",
    "IMAGE_BASIS": "IMAGE",
    "PACKAGE_MANAGER": "PACKAGE",
    "DEPLOYABLE": "DEPLOYMENT",
    "ATTESTATION_AUTHORITY": "ATTESTATION",
}
_COMPARE: dict[str, Callable[[Any, Any], ColumnElement[bool]]] = {
    "=": lambda left, right: left == right,
    "!=": lambda left, right: left.is_distinct_from(right),
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}
_NUMBERS = frozenset(
    {
        FieldDescriptor.CPPTYPE_INT32,
        FieldDescriptor.CPPTYPE_INT64,
        FieldDescriptor.CPPTYPE_UINT32,
        FieldDescriptor.CPPTYPE_UINT64,
        FieldDescriptor.CPPTYPE_FLOAT,
        FieldDescriptor.CPPTYPE_DOUBLE,
    }
)


def condition(collection: Collection, node: Node) -> ColumnElement[bool]:
    """Return what a filter means. Raises FilterError for a field or a value that cannot be."""
    match node:
        case And():
            return and_(*(condition(collection, term) for term in node.terms))
        case Or():
            return or_(*(condition(collection, term) for term in node.terms))
        case Not():
            # a field that is absent compares as NULL: it does not match, so its negation does
            return condition(collection, node.term).is_not(true())
        case HasPrefix():
            column, _ = _text_column(collection, node.field, node.position)
            found: ColumnElement[bool] = column.startswith(node.value, autoescape=True)
            return found
        case Compare():
            return _comparison(collection, node)


def micros(text: str) -> int:
    """Return microseconds since 1970 of an RFC 3339 time. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("it has no time zone")
    delta = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def _comparison(collection: Collection, node: Compare) -> ColumnElement[bool]:
    name = ".".join(node.field)
    table = _TABLES[collection]
    if name in _TIMES:
        return _time(table.c[_TIMES[name]], node)
    if collection == "occurrences" and name in {
        "noteProjectId",
        "note_project_id",
        "noteId",
        "note_id",
    }:
        return _part_of_note(name, node)
    column, field = _text_column(collection, node.field, node.position)
    if node.operator == ":":
        present: ColumnElement[bool] = (
            column == node.value if node.value != "*" else column.is_not(None)
        )
        return present
    value: Any = node.value
    if name == "kind":
        value = _OLD_KINDS.get(value, value)
    elif field is not None and field.cpp_type in _NUMBERS:
        return _COMPARE[node.operator](cast(column, Float()), _number(node))
    elif field is not None and field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return _boolean(table, collection, node)
    return _COMPARE[node.operator](column, value)


def _time(column: Any, node: Compare) -> ColumnElement[bool]:
    try:
        moment = micros(node.value)
    except ValueError as error:
        raise FilterError(
            f"{'.'.join(node.field)} is compared with {node.value!r}, which is not a time: write it as "
            '"2026-01-02T03:04:05Z"',
            node.position,
        ) from error
    return _COMPARE["=" if node.operator == ":" else node.operator](column, moment)


def _part_of_note(name: str, node: Compare) -> ColumnElement[bool]:
    if node.operator not in {"=", "!=", ":"}:
        raise FilterError(f"{name} can be compared with = and != only", node.position)
    if "/" in node.value:
        return false()
    if name in {"noteProjectId", "note_project_id"}:
        found = occurrences.c.note.startswith(f"projects/{node.value}/", autoescape=True)
    else:
        found = occurrences.c.note.endswith(f"/notes/{node.value}", autoescape=True)
    return not_(found) if node.operator == "!=" else found


def _text_column(
    collection: Collection, field: tuple[str, ...], position: int
) -> tuple[Any, FieldDescriptor | None]:
    name = ".".join(field)
    table = _TABLES[collection]
    column = _COLUMNS[collection].get(name)
    if column is not None:
        return table.c[column], None
    found = field_type(collection, field)
    if found is None or found[1].message_type is not None or found[1].is_repeated:
        known = ", ".join(sorted({*_COLUMNS[collection], *_TIMES}))
        raise FilterError(
            f"there is no field {name!r} to compare: use {known}, or a single value of v1", position
        )
    path, descriptor = found
    return table.c.body[path].as_string(), descriptor


def _number(node: Compare) -> float:
    try:
        return float(node.value)
    except ValueError as error:
        raise FilterError(
            f"{'.'.join(node.field)} is compared with {node.value!r}, which is not a number",
            node.position,
        ) from error


def _boolean(table: Table, collection: Collection, node: Compare) -> ColumnElement[bool]:
    found = field_type(collection, node.field)
    assert found is not None, "it was found before"
    if node.value.lower() not in {"true", "false"} or node.operator not in {"=", "!="}:
        raise FilterError(
            f"{'.'.join(node.field)} is true or false: compare it by = or !=", node.position
        )
    wanted = (node.value.lower() == "true") == (node.operator == "=")
    column = table.c.body[found[0]].as_boolean()
    matches: ColumnElement[bool] = column.is_(True) if wanted else column.is_not(True)
    return matches
