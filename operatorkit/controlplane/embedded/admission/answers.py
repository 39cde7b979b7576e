"""What a webhook answers, read as kube-apiserver reads it: field by field, each of its type.

What belongs here: the types of AdmissionReview's response and of Status, and the words for what is none of them. What
does not: whether an answer fits its review (`review`), and transport (`calling`).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from operatorkit.controlplane.embedded.scheme import codec
from operatorkit.controlplane.embedded.serializer import syntax

__all__ = ["ResponseError", "failure_in", "read_json", "read_response"]

Object = dict[str, Any]


class ResponseError(Exception):
    """An answer cannot be read; the text says why as Go's decoder does."""


@dataclass(frozen=True, slots=True)
class _Struct:
    """A type with fields: its name in Go, and what each field is: a type of Go, a list of one, a map, a struct."""

    name: str
    fields: Mapping[str, Any]


_INTEGERS = {"int32": 2**31, "int64": 2**63}
_CAUSE = _Struct("v1.StatusCause", {"reason": "string", "message": "string", "field": "string"})
_DETAILS = _Struct(
    "v1.StatusDetails",
    dict.fromkeys(("name", "group", "kind", "uid"), "string")
    | {"causes": [_CAUSE], "retryAfterSeconds": "int32"},
)
_LIST_META = _Struct(
    "v1.ListMeta",
    dict.fromkeys(("selfLink", "resourceVersion", "continue"), "string")
    | {"remainingItemCount": "int64"},
)
_STATUS = _Struct(
    "v1.Status",
    dict.fromkeys(("kind", "apiVersion", "status", "message", "reason"), "string")
    | {"metadata": _LIST_META, "details": _DETAILS, "code": "int32"},
)
_RESPONSE = _Struct(
    "v1.AdmissionResponse",
    {
        "uid": "string",
        "allowed": "bool",
        "status": _STATUS,
        "patch": "[]uint8",
        "patchType": "string",
        "auditAnnotations": {"": "string"},
        "warnings": ["string"],
    },
)


def read_json(body: bytes) -> Any:
    """Parse an answer. Raises `ResponseError`."""
    try:
        return syntax.loads(body.decode(errors="replace"))
    except (ValueError, RecursionError) as error:
        raise ResponseError(f"couldn't get version/kind; json parse error: {error}") from None


def read_response(answer: Object) -> Object | None:
    """Return the response of a review with what its type has, each of its type. Raises `ResponseError`."""
    given = answer.get("response")
    return None if given is None else _read(given, _RESPONSE, "AdmissionReview", "response")


def failure_in(answer: Any) -> str | None:
    """Return the message of a Status that comes with the code of a failure, unless it says that all went well.

    Raises `ResponseError`.
    """
    if not isinstance(answer, dict) or (answer.get("kind"), answer.get("apiVersion") or "v1") != (
        "Status",
        "v1",
    ):
        return None
    status = _read(answer, _STATUS, "Status", "")
    return None if status.get("status") == "Success" else str(status.get("message", ""))


def _read(value: Any, kind: Any, owner: str, path: str) -> Any:
    """Return a value of a type, without what the type does not have. Raises `ResponseError`."""
    match kind:
        case _Struct():
            found = _of_type(value, dict, kind.name, owner, path)
            short = kind.name.partition(".")[2]
            return {
                name: _read(found[name], of, short, f"{path}.{name}".lstrip("."))
                for name, of in kind.fields.items()
                if found.get(name) is not None
            }
        case [of]:
            name = of.name if isinstance(of, _Struct) else of
            return [
                _read(it, of, owner, path) for it in _of_type(value, list, f"[]{name}", owner, path)
            ]
        case dict():
            of = kind[""]
            found = _of_type(value, dict, f"map[string]{of}", owner, path)
            return {name: _read(it, of, owner, path) for name, it in found.items()}
        case "string":
            return _of_type(value, str, kind, owner, path)
        case "bool":
            return _of_type(value, bool, kind, owner, path)
        case "[]uint8":
            return _bytes(value, owner, path)
    return _integer(value, kind, owner, path)


def _of_type(value: Any, python: type, name: str, owner: str, path: str) -> Any:
    if value is None:
        return python()
    if not isinstance(value, python):
        raise _mismatch(codec.json_type(value), name, owner, path)
    return value


def _integer(value: Any, name: str, owner: str, path: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _mismatch(codec.json_type(value), name, owner, path)
    if isinstance(value, float) or not -_INTEGERS[name] <= value < _INTEGERS[name]:
        raise _mismatch(f"number {value}", name, owner, path)
    return value


def _bytes(value: Any, owner: str, path: str) -> bytes:
    if isinstance(value, list):
        return bytes(_octet(it, owner, path) for it in value)
    text = _of_type(value, str, "[]uint8", owner, path).replace("\n", "").replace("\r", "")
    wrong = re.search(r"[^A-Za-z0-9+/]", text.rstrip("="))
    if wrong:
        raise ResponseError(f"illegal base64 data at input byte {wrong.start()}")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ResponseError(f"illegal base64 data at input byte {len(text) // 4 * 4}") from None


def _octet(value: Any, owner: str, path: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _mismatch(codec.json_type(value), "uint8", owner, path)
    if isinstance(value, float) or not 0 <= value < 256:
        raise _mismatch(f"number {value}", "uint8", owner, path)
    return value


def _mismatch(found: str, name: str, owner: str, path: str) -> ResponseError:
    field = f"struct field {owner}.{path}" if path else "value"
    return ResponseError(f"json: cannot unmarshal {found} into Go {field} of type {name}")
