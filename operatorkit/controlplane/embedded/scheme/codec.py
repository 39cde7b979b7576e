"""Objects of built-in kinds as the server's own types see them: checked on the way in, and written in one form.

A Go server decodes JSON into structs and encodes these again. What that does to an object is part of the API: a wrong
type is rejected, with the name of the struct; unknown fields go, with a warning or an error if the client asks for it;
empty optional fields go; required ones appear with their zero; quantities are written in their canonical form.

Source: `go_fields.json.gz`, made by `tools/kubernetes_data.py` from the types of Kubernetes' API.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from operatorkit.clock import format_micro_time, format_time, parse_time
from operatorkit.controlplane import _quantity as quantity
from operatorkit.controlplane.embedded.scheme.decode_error import DecodeError, Problem
from operatorkit.crd.kubernetes import REF_PREFIX, definitions, kinds
from operatorkit.names import GroupVersionKind

__all__ = ["Decoded", "compact", "decode", "json_type", "loads"]

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
_TIMES = {
    _META + "Time": "2006-01-02T15:04:05Z07:00",
    _META + "MicroTime": "2006-01-02T15:04:05.000000Z07:00",
}
_OPEN = {_META + "FieldsV1", _META + "Patch", "io.k8s.apimachinery.pkg.runtime.RawExtension"}
_MAX_UNEXPECTED = 100
_MICROS = re.compile(r"\.[0-9]{6}(?![0-9])")
_PACKAGE = re.compile(r"\b[a-z0-9]+v\d+\.")


class _Duplicated(dict[str, Any]):
    """An object some of whose keys were there more than once in the text."""

    duplicates: frozenset[str] = frozenset()


def loads(
    text: bytes | str,
    *,
    parse_constant: Callable[[str], Any] | None = None,
    parse_float: Callable[[str], float] | None = None,
    parse_int: Callable[[str], int] | None = None,
) -> Any:
    """Parse JSON; objects remember which of their keys were there twice, which `decode` reports. Raises ValueError.

    `parse_constant` is asked what NaN and Infinity are, which Python reads and JSON does not have, `parse_float` what
    number a text with a fraction or an exponent is, `parse_int` what number one without is.
    """
    return json.loads(
        text,
        object_pairs_hook=_object,
        parse_constant=parse_constant,
        parse_float=parse_float,
        parse_int=parse_int,
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) == len(pairs):
        return result
    seen: set[str] = set()
    marked = _Duplicated(result)
    marked.duplicates = frozenset(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
    return marked


@dataclass(slots=True)
class Decoded:
    """An object as it will be stored, and what strict decoding rejects: `unknown field "spec.foo"`."""

    object: dict[str, Any]
    unexpected: list[str] = field(default_factory=list)

    def strict_error(self, kind: GroupVersionKind) -> DecodeError:
        """Return the error of an object with such fields, for a request with `fieldValidation=Strict`."""
        detail = "strict decoding error: " + ", ".join(self.unexpected)
        return DecodeError(kind, problem=Problem.STRICT, detail=detail)


class _Undecodable(Exception):  # noqa: N818 - becomes a DecodeError, which also has the kind
    """A value that does not fit its Go type."""

    def __init__(
        self,
        path: str = "",
        expected: str = "",
        got: str = "",
        *,
        number: float | None = None,
        problem: Problem = Problem.TYPE,
        detail: str = "",
    ) -> None:
        super().__init__(detail)
        self.path, self.expected, self.got, self.number = path, expected, got, number
        self.problem, self.detail = problem, detail


class _GoField(NamedTuple):
    """How Go writes one field."""

    type: str
    omit_empty: bool
    omit_zero: bool
    via: str

    @property
    def pointer(self) -> bool:
        return self.type.startswith("*")

    @property
    def collection(self) -> bool:
        return self.type.startswith(("[]", "map[")) or self.type.endswith(
            ("ResourceList", ".FinalizerName")
        )


_PLAIN = _GoField("string", omit_empty=True, omit_zero=False, via="")


@cache
def _go_fields() -> Mapping[str, Mapping[str, _GoField]]:
    packed = (
        files("operatorkit.controlplane.embedded.scheme").joinpath("go_fields.json.gz").read_bytes()
    )
    return {
        name: {field_name: _go_field(text) for field_name, text in fields.items()}
        for name, fields in json.loads(gzip.decompress(packed)).items()
    }


def _go_field(text: str) -> _GoField:
    type_, flags, *via = text.split()
    return _GoField(type_, "o" in flags, "z" in flags, via[0] if via else "")


def _shown(go_type: str) -> str:
    """Write a Go type as messages do."""
    text = _PACKAGE.sub("v1.", go_type.lstrip("*"))
    return text.replace("[]byte", "[]uint8")


def decode(kind: GroupVersionKind, obj: Any) -> Decoded:
    """Return an object of a built-in kind as the server would read and write it; the argument stays as it is.

    Raises DecodeError when a value does not fit the type of its field.
    """
    result = Decoded({})
    try:
        result.object = _struct(
            kinds()[kind], obj, _Place(kind.kind, kind.kind, "", ""), result.unexpected
        )
    except _Undecodable as error:
        raise DecodeError(
            kind,
            error.path,
            error.expected,
            error.got,
            number=error.number,
            problem=error.problem,
            detail=error.detail,
        ) from None
    rest = {name: it for name, it in result.object.items() if name not in {"apiVersion", "kind"}}
    result.object = {"kind": kind.kind, "apiVersion": kind.api_version, **rest}
    return result


def compact(kind: GroupVersionKind, obj: dict[str, Any]) -> None:
    """Write an empty list as null where Go always writes the field: in storage they are one."""
    for name, go in _go_fields().get(kinds()[kind], {}).items():
        if not go.omit_empty and go.type.startswith("[]") and obj.get(name) == []:
            obj[name] = None


class _Place(NamedTuple):
    """Where a value is: the struct and Go type for messages, the path in Go's form and in that of strict decoding."""

    struct: str
    type: str
    go_path: str
    path: str

    def mismatch(
        self, value: Any, type_: str | None = None, *, literal: bool = False
    ) -> _Undecodable:
        path = f"{self.struct}.{self.go_path}" if self.go_path else ""
        number = value if literal else None
        return _Undecodable(path, type_ or _shown(self.type), json_type(value), number=number)

    def at(self, index: int) -> _Place:
        return self._replace(path=f"{self.path}[{index}]")

    def entry(self, name: str, type_: str) -> _Place:
        return self._replace(type=type_, path=f"{self.path}.{name}" if self.path else name)

    def child(self, struct: str, name: str, go: _GoField) -> _Place:
        step = f"{go.via}.{name}" if go.via else name
        go_path = f"{self.go_path}.{step}" if self.go_path else step
        return _Place(struct, go.type, go_path, f"{self.path}.{name}" if self.path else name)


def json_type(value: Any) -> str:
    """Return what Go's decoder calls the type of a JSON value."""
    match value:
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "string"
    return "array" if isinstance(value, list) else "object"


def _report(unexpected: list[str], text: str) -> None:
    if len(unexpected) < _MAX_UNEXPECTED and text not in unexpected:
        unexpected.append(text)


def _struct(name: str, value: Any, place: _Place, unexpected: list[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise place.mismatch(value)
    properties = definitions()[name].get("properties", {})
    go_fields = _go_fields().get(name, {})
    struct = name.rpartition(".")[2]
    duplicates = getattr(value, "duplicates", ())
    result = {}
    for field_name, it in value.items():
        below = properties.get(field_name)
        go = go_fields.get(field_name, _PLAIN)
        here = place.child(struct, field_name, go)
        if below is None:
            _report(unexpected, f'unknown field "{here.path}"')
            continue
        if field_name in duplicates:
            _report(unexpected, f'duplicate field "{here.path}"')
        if it is not None:
            written = _value(below, it, here, unexpected)
            if not _omitted(go, written):
                result[field_name] = written
    return _with_zeros(go_fields, properties, result)


def _omitted(go: _GoField, value: Any) -> bool:
    """Whether Go leaves a field out for its value."""
    if go.pointer:
        return False
    if not go.omit_empty or value not in ({}, [], "", 0, False):
        return False
    return go.collection or not isinstance(value, dict)


def _with_zeros(
    go_fields: Mapping[str, _GoField], properties: Mapping[str, Any], value: dict[str, Any]
) -> dict[str, Any]:
    """Add what Go always writes: structs, and fields that are not optional."""
    for name, go in go_fields.items():
        if name in value or go.pointer or name not in properties or go.omit_zero:
            continue
        schema = properties[name]
        target = str(schema.get("$ref", "")).removeprefix(REF_PREFIX)
        if target and target not in _OPEN and not go.collection:
            zero = _zero_of(target, omit_empty=go.omit_empty)
            if zero is not _NOTHING:
                value[name] = zero
        elif not go.omit_empty and not target:
            value[name] = None if go.collection else _ZEROS.get(schema.get("type", ""))
    return value


_NOTHING = object()
_ZEROS: dict[str, Any] = {"string": "", "integer": 0, "number": 0, "boolean": False}


def _zero_of(definition: str, *, omit_empty: bool) -> Any:
    if definition in _TIMES:
        return None
    if definition == _QUANTITY:
        return "0"
    if definition == _INT_OR_STRING:
        return 0
    schema = definitions()[definition]
    if schema.get("type") == "string":
        return _NOTHING if omit_empty else ""
    if schema.get("type") != "object":
        return _NOTHING
    return _with_zeros(_go_fields().get(definition, {}), schema.get("properties", {}), {})


def _value(schema: Mapping[str, Any], value: Any, place: _Place, unexpected: list[str]) -> Any:
    target = schema.get("$ref")
    if isinstance(target, str):
        return _named(target.removeprefix(REF_PREFIX), value, place, unexpected)
    match schema.get("type"):
        case "object":
            return _map(schema, value, place, unexpected)
        case "array":
            if not isinstance(value, list):
                raise place.mismatch(value)
            item = place._replace(type=place.type.removeprefix("[]"))
            below = schema["items"]
            return [
                _zero_item(below) if it is None else _value(below, it, item.at(i), unexpected)
                for i, it in enumerate(value)
            ]
        case "string":
            return _text(schema, value, place)
        case "integer":
            return _integer(schema, value, place)
        case "number":
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise place.mismatch(value)
        case "boolean":
            if not isinstance(value, bool):
                raise place.mismatch(value)
    return value


def _map(schema: Mapping[str, Any], value: Any, place: _Place, unexpected: list[str]) -> Any:
    if not isinstance(value, dict):
        raise place.mismatch(value)
    below = schema.get("additionalProperties")
    if not isinstance(below, dict):
        return dict(value)
    type_ = place.type.partition("]")[2]
    duplicates = getattr(value, "duplicates", ())
    result = {}
    for name, it in value.items():
        here = place.entry(name, type_)
        if name in duplicates:
            _report(unexpected, f'duplicate field "{here.path}"')
        if it is not None:
            result[name] = _value(below, it, here, unexpected)
        elif below.get("type") == "string":
            result[name] = ""
    return result


def _zero_item(schema: Mapping[str, Any]) -> Any:
    """Return what null is in a list: the zero of its items' type."""
    target = str(schema.get("$ref", "")).removeprefix(REF_PREFIX)
    if not target:
        return _ZEROS.get(schema.get("type", ""))
    zero = _zero_of(target, omit_empty=False)
    return None if zero is _NOTHING else zero


def _text(schema: Mapping[str, Any], value: Any, place: _Place) -> str:
    if not isinstance(value, str):
        raise place.mismatch(value)
    if schema.get("format") == "byte":
        return _base64(value)
    return value


def _base64(value: str) -> str:
    """Check and rewrite base64 as Go does. The position in the error is that of the first wrong character."""
    text = value.replace("\n", "").replace("\r", "")
    try:
        return base64.b64encode(base64.b64decode(text, validate=True)).decode()
    except (binascii.Error, ValueError):
        wrong = re.search(r"[^A-Za-z0-9+/]", text.rstrip("="))
        position = wrong.start() if wrong else len(text) // 4 * 4
        detail = f"illegal base64 data at input byte {position}"
        raise _Undecodable(problem=Problem.BASE64, detail=detail) from None


def _integer(schema: Mapping[str, Any], value: Any, place: _Place) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise place.mismatch(value)
    bits = 31 if schema.get("format") == "int32" else 63
    if isinstance(value, float) or not -(2**bits) <= value < 2**bits:
        raise place.mismatch(value, literal=True)
    return value


def _named(name: str, value: Any, place: _Place, unexpected: list[str]) -> Any:
    if name == _QUANTITY:
        return _quantity(value)
    if name in _TIMES:
        return _time(name, value, place)
    if name == _INT_OR_STRING:
        if isinstance(value, str):
            return value
        return _integer({"format": "int32"}, value, place._replace(type="int32"))
    if name in _OPEN:
        return value
    schema = definitions()[name]
    if schema.get("type") == "object" and "properties" in schema:
        return _struct(name, value, place, unexpected)
    return _value(schema, value, place, unexpected)


def _quantity(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        value = json.dumps(value)
    try:
        return quantity.canonical(str(value).strip())
    except ValueError as error:
        raise _Undecodable(problem=Problem.VALUE, detail=str(error)) from None


def _time(name: str, value: Any, place: _Place) -> str:
    if not isinstance(value, str):
        raise place.mismatch(value, "string")
    try:
        moment: datetime = parse_time(value)
    except ValueError:
        layout = _TIMES[name]
        detail = f'parsing time "{value}" as "{layout}": cannot parse "{value}" as "2006"'
        raise _Undecodable(problem=Problem.VALUE, detail=detail) from None
    if not name.endswith("MicroTime"):
        return format_time(moment)
    rest = value[len("2006-01-02T15:04:05") :]
    if not _MICROS.match(rest):
        detail = f'parsing time "{value}" as "{_TIMES[name]}": cannot parse "{rest}" as ".000000"'
        raise _Undecodable(problem=Problem.VALUE, detail=detail)
    return format_micro_time(moment)
