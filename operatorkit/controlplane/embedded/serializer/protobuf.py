"""Kubernetes' protobuf, read into JSON objects.

Clients that are written in Go send protobuf for built-in kinds and do not fall back to anything else when it is
rejected: `kubectl create configmap`, `kubectl auth can-i` and helm's releases are among them. So bodies may be
protobuf; answers are JSON, which all of these accept.

What belongs here: the wire format, the few types that JSON writes differently, and the envelope. What does not: what an
object may contain (`scheme.codec`), which also drops the zeros that Go always sends.

Source: the .proto files of Kubernetes' API, as `_data/protobuf.json.gz` by `tools/protobuf_data.py`; the envelope is
described at https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding.
"""

from __future__ import annotations

import base64
import gzip
import json
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any

from operatorkit.clock import format_micro_time, format_time
from operatorkit.controlplane.embedded.errors.go_text import numbers
from operatorkit.crd.kubernetes import kinds
from operatorkit.names import GroupVersionKind

__all__ = ["MEDIA_TYPE", "decode"]

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"

_MAGIC = b"k8s\x00"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_EXTENSIONS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_DEPTH = 100
# Kinds that requests carry in every group, under names of their own.
_META_KINDS = {"DeleteOptions", "CreateOptions", "UpdateOptions", "PatchOptions", "Status"}


def decode(data: bytes) -> dict[str, Any]:
    """Return the object in a body of `MEDIA_TYPE`. Raises ValueError, which says what is wrong with it."""
    if not data.startswith(_MAGIC):
        raise ValueError(
            "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
        )
    envelope = _message(data[len(_MAGIC) :], "io.k8s.apimachinery.pkg.runtime.Unknown", 0)
    type_meta = envelope.get("typeMeta", {})
    api_version, kind = type_meta.get("apiVersion", ""), type_meta.get("kind", "")
    name = _definition(GroupVersionKind.of(api_version, kind))
    if name is None:
        raise ValueError(f'no kind "{kind}" is registered for version "{api_version}"')
    return {
        "apiVersion": api_version,
        "kind": kind,
        **_message(base64.b64decode(envelope.get("raw", "")), name, 0),
    }


def _definition(gvk: GroupVersionKind) -> str | None:
    if gvk.kind in _META_KINDS:
        return _META + gvk.kind
    found = kinds().get(gvk)
    return found if found in _messages() else None


@cache
def _messages() -> dict[str, dict[int, tuple[str, str, str]]]:
    data = (
        files("operatorkit.controlplane.embedded.serializer")
        .joinpath("protobuf.json.gz")
        .read_bytes()
    )
    raw = json.loads(gzip.decompress(data))
    return {
        name: {int(number): tuple(field) for number, field in fields.items()}
        for name, fields in raw.items()
    }


def _message(data: bytes, name: str, depth: int) -> dict[str, Any]:
    """Decode one message field by field; fields that this version does not know are passed over."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"more than {_MAX_DEPTH} messages are nested in each other")
    fields = _messages()[name]
    result: dict[str, Any] = {}
    for number, value in _fields(data):
        known = fields.get(number)
        if known is None:
            continue
        field, type_, label = known
        match label:
            case "repeated":
                result.setdefault(field, []).append(_value(value, type_, depth))
            case "map":
                key, item = _entry(value, type_, depth)
                result.setdefault(field, {})[key] = item
            case "inline":
                result.update(_value(value, type_, depth))
            case _:
                result[field] = _value(value, type_, depth)
    return result


def _entry(value: int | bytes, type_: str, depth: int) -> tuple[str, Any]:
    """Decode an entry of a map: a message of a key, which is always text, and a value."""
    key, item = "", _zero(type_)
    for number, part in _fields(_bytes(value)):
        if number == 1:
            key = _bytes(part).decode()
        elif number == 2:
            item = _value(part, type_, depth)
    return key, item


def _zero(type_: str) -> Any:
    return {"string": "", "bytes": "", "bool": False, "int32": 0, "int64": 0, "double": 0.0}.get(
        type_, {}
    )


def _value(value: int | bytes, type_: str, depth: int) -> Any:
    match type_:
        case "string":
            return _bytes(value).decode()
        case "bytes":
            return base64.b64encode(_bytes(value)).decode()
        case "bool":
            return bool(_number(value))
        case "int32" | "int64":
            number = _number(value)
            return number - (1 << 64) if number >> 63 else number
        case "double":
            return numbers(struct.unpack("<d", struct.pack("<Q", _number(value)))[0])
    message = _message(_bytes(value), type_, depth + 1)
    special = _SPECIAL.get(type_)
    return message if special is None else special(message)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Cut a message into its fields: numbers, and bytes for whatever has a length."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        match tag & 7:
            case 0:
                value, position = _varint(data, position)
                yield tag >> 3, value
            case 2:
                length, position = _varint(data, position)
                if position + length > len(data):
                    raise ValueError("unexpected EOF")
                yield tag >> 3, data[position : position + length]
                position += length
            case 1 | 5 as wire:
                size = 8 if wire == 1 else 4
                if position + size > len(data):
                    raise ValueError("unexpected EOF")
                yield tag >> 3, int.from_bytes(data[position : position + size], "little")
                position += size
            case wire:
                raise ValueError(f"proto: illegal wireType {wire}")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    result = shift = 0
    while position < len(data) and shift < 70:
        byte = data[position]
        result |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return result & 0xFFFFFFFFFFFFFFFF, position
        shift += 7
    raise ValueError("unexpected EOF" if shift < 70 else "proto: integer overflow")


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("proto: wrong wireType = 0")  # noqa: TRY004 - an error of the body, reported to its sender
    return value


def _number(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ValueError("proto: wrong wireType = 2")  # noqa: TRY004
    return value


# -- types that JSON writes otherwise than as an object of their fields


def _moment(message: dict[str, Any]) -> datetime | None:
    if not message:
        return None
    try:
        return _EPOCH + timedelta(
            seconds=message.get("seconds", 0), microseconds=message.get("nanos", 0) // 1000
        )
    except OverflowError as error:
        raise ValueError(f"a time of {message} lies beyond the year 9999") from error


def _time(message: dict[str, Any]) -> str | None:
    moment = _moment(message)
    return None if moment is None else format_time(moment)


def _micro_time(message: dict[str, Any]) -> str | None:
    moment = _moment(message)
    return None if moment is None else format_micro_time(moment)


def _int_or_string(message: dict[str, Any]) -> int | str:
    text: str = message.get("strVal", "")
    number: int = message.get("intVal", 0)
    return text if message.get("type", 0) == 1 else number


def _raw(message: dict[str, Any]) -> Any:
    encoded = message.get("raw", message.get("Raw", ""))
    return json.loads(base64.b64decode(encoded)) if encoded else None


def _duration(message: dict[str, Any]) -> str:
    return f"{message.get('duration', 0) / 1e9:.9f}".rstrip("0").rstrip(".") + "s"


def _one_of(*names: str, default: Any = None) -> Callable[[dict[str, Any]], Any]:
    """Return the first of the fields that is there, as JSON has the union: without saying which it is."""

    def choose(message: dict[str, Any]) -> Any:
        return next((message[name] for name in names if message.get(name) is not None), default)

    return choose


def _without_zeros(*names: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a message without those fields that are zero: Go always sends them, and leaves them out of JSON.

    `scheme.codec` does so where OpenAPI knows the type; it does not for a schema inside `items` or
    `additionalProperties`, which are one of several types.
    """

    def stripped(message: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in message.items() if value or name not in names}

    return stripped


_items = _one_of("items")
_SPECIAL: dict[str, Callable[[dict[str, Any]], Any]] = {
    _META + "Time": _time,
    _META + "MicroTime": _micro_time,
    _META + "Duration": _duration,
    _META + "FieldsV1": _raw,
    _META + "Verbs": lambda message: _items(message) or [],
    "io.k8s.apimachinery.pkg.api.resource.Quantity": lambda message: message.get("string", "0"),
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": _int_or_string,
    "io.k8s.apimachinery.pkg.runtime.RawExtension": _raw,
    "io.k8s.api.authentication.v1.ExtraValue": lambda message: _items(message) or [],
    "io.k8s.api.authorization.v1.ExtraValue": lambda message: _items(message) or [],
    "io.k8s.api.certificates.v1.ExtraValue": lambda message: _items(message) or [],
    _EXTENSIONS + "JSON": _raw,
    _EXTENSIONS + "JSONSchemaProps": _without_zeros(
        "id",
        "$schema",
        "description",
        "type",
        "format",
        "title",
        "pattern",
        "uniqueItems",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "nullable",
        "x-kubernetes-embedded-resource",
        "x-kubernetes-int-or-string",
    ),
    _EXTENSIONS + "ValidationRule": _without_zeros("message", "messageExpression", "fieldPath"),
    _EXTENSIONS + "ExternalDocumentation": _without_zeros("description", "url"),
    _EXTENSIONS + "JSONSchemaPropsOrBool": _one_of("schema", "allows", default=False),
    _EXTENSIONS + "JSONSchemaPropsOrArray": _one_of("jSONSchemas", "schema"),
    _EXTENSIONS + "JSONSchemaPropsOrStringArray": _one_of("property", "schema"),
}
