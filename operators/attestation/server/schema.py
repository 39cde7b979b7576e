"""The schema of the API: the messages of the official `grafeas` package, in JSON.

What belongs here: reading the JSON of a note or an occurrence of v1 strictly, which kinds there are, and the fields
that masks and filters may name. What does not: other versions (`versions`). Needs the extra `attestation`.

A kind is the upper-case name of a field of the oneof: nothing here lists kinds, so a newer package brings its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from grafeas.grafeas_v1 import types

from operators.attestation.server.errors import ApiError
from operators.attestation.server.names import Collection

__all__ = [
    "DETAILS",
    "OUTPUT_ONLY",
    "checked",
    "describe_kinds",
    "field_type",
    "kind_of",
    "message_type",
    "to_json",
]

JSONObject = dict[str, Any]

OUTPUT_ONLY: Final = ("name", "createTime", "updateTime")
_ONEOF = {"notes": "type", "occurrences": "details"}
_CLASSES: dict[str, Any] = {"notes": types.Note, "occurrences": types.Occurrence}
_MAX_TEXT_ERROR = 500


def message_type(collection: Collection) -> Any:
    """Return the protobuf class of the messages of a collection."""
    return _CLASSES[collection].pb()


@cache
def _descriptor(collection: Collection) -> Descriptor:
    found: Descriptor = message_type(collection).DESCRIPTOR
    return found


def _details(collection: Collection) -> dict[str, str]:
    oneof = _descriptor(collection).oneofs_by_name[_ONEOF[collection]]
    return {field.name.upper(): field.json_name for field in oneof.fields}


DETAILS: Final[dict[Collection, dict[str, str]]] = {
    "notes": _details("notes"),
    "occurrences": _details("occurrences"),
}
"""For each collection, the JSON name of the field that holds what is particular to a kind."""


def describe_kinds(collection: Collection) -> str:
    """Return the names of the fields of which an object has exactly one."""
    return ", ".join(DETAILS[collection].values())


def kind_of(collection: Collection, body: Mapping[str, Any]) -> str:
    """Return the kind of a body, by the one field that is set for it. Raises ApiError."""
    found = [kind for kind, field in DETAILS[collection].items() if body.get(field) is not None]
    thing = collection.removesuffix("s")
    if len(found) != 1:
        what = " and ".join(DETAILS[collection][kind] for kind in found) or "none of them"
        raise ApiError(
            "INVALID_ARGUMENT",
            f"a {thing} has exactly one of {describe_kinds(collection)}: found {what}",
        )
    said = body.get("kind")
    if said not in (None, found[0], "NOTE_KIND_UNSPECIFIED"):
        raise ApiError(
            "INVALID_ARGUMENT",
            f"kind is {said!r}, but the {thing} has {DETAILS[collection][found[0]]}: write {found[0]!r}, "
            "or leave it out",
        )
    return found[0]


def checked(collection: Collection, body: Mapping[str, Any]) -> JSONObject:
    """Return a body of v1 in canonical JSON, `kind` set, without fields that only the server sets.

    Raises ApiError for an unknown field, a value of another type, and a body that is not of exactly one kind.
    """
    kind = kind_of(collection, body)
    message = message_type(collection)()
    given = {
        key: value
        for key, value in body.items()
        if key not in OUTPUT_ONLY and key not in _SNAKE_OUTPUT_ONLY
    }
    try:
        json_format.ParseDict({**given, "kind": kind}, message)
    except (json_format.ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        text = " ".join(str(error).split())[:_MAX_TEXT_ERROR]
        raise ApiError(
            "INVALID_ARGUMENT", f"the {collection.removesuffix('s')} is invalid: {text}"
        ) from error
    return to_json(message)


_SNAKE_OUTPUT_ONLY = ("create_time", "update_time")


def to_json(message: Message) -> JSONObject:
    """Return a message as JSON, in camel case and without defaults."""
    found: JSONObject = json_format.MessageToDict(message)
    return found


def field_type(
    collection: Collection, path: tuple[str, ...]
) -> tuple[tuple[str, ...], FieldDescriptor] | None:
    """Resolve a path in camel or snake case to JSON names and the descriptor of its end; None if there is none.

    A path does not go through lists: one value cannot be meant there.
    """
    descriptor: Descriptor | None = _descriptor(collection)
    names: list[str] = []
    field: FieldDescriptor | None = None
    for part in path:
        if descriptor is None or (field is not None and field.is_repeated):
            return None
        field = descriptor.fields_by_name.get(part) or descriptor.fields_by_camelcase_name.get(part)
        if field is None:
            return None
        names.append(field.json_name)
        descriptor = field.message_type
    return None if field is None else (tuple(names), field)
