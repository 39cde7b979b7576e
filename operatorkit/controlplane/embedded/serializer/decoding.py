"""The object that a request brings: whether it says that it is of the kind that its URL serves.

What belongs here: `apiVersion` and `kind` of a body, and the errors of bodies that have none or
others. What does not: media types (`negotiation`), and what an object of a kind may contain (`scheme`,
`registry`).

Built-in kinds may leave both out, since the URL says them; custom resources may not.
"""

from __future__ import annotations

from typing import Any

from operatorkit.controlplane.embedded.errors.errors import (
    ApiError,
    bad_request,
    unsupported_media_type,
)
from operatorkit.controlplane.embedded.scheme import codec
from operatorkit.controlplane.embedded.scheme.decode_error import DecodeError, Problem
from operatorkit.controlplane.embedded.serializer import syntax
from operatorkit.controlplane.embedded.serializer.negotiation import (
    JSON_AND_YAML,
    media_type,
    read_body,
)
from operatorkit.controlplane.embedded.serializer.protobuf import MEDIA_TYPE as PROTOBUF
from operatorkit.crd.kubernetes import kinds
from operatorkit.names import GroupVersionKind

__all__ = ["read_delete_options", "read_object", "require_built_in"]

Object = dict[str, Any]

_SHOWN_BYTES = 30
_TYPE_META = (
    'Go value of type struct { APIVersion string "json:\\"apiVersion,omitempty\\""; '
    'Kind string "json:\\"kind,omitempty\\"" }'
)
_SCHEME = 'in scheme "pkg/runtime/scheme.go:111"'


def read_object(data: bytes, content_type: str, gvk: GroupVersionKind, *, builtin: bool) -> Object:
    """Return the object in a body, which is, or by its URL is to be, of the kind `gvk`.

    Raises `ApiError`: 415 for a media type that the kind has not, custom resources have no protobuf; 400 for what
    cannot be read and for an object of another version or, where the kind is built in, of another kind.
    """
    if not builtin and media_type(content_type) == PROTOBUF:
        raise unsupported_media_type(JSON_AND_YAML)
    try:
        obj = read_body(data, content_type)
    except ApiError as error:
        if error.code != 400:
            raise
        if isinstance(error.__cause__, syntax.NumberTooLarge):
            raise DecodeError(gvk, problem=Problem.VALUE, detail=str(error.__cause__)) from None
        raise _unrecognized(gvk, error.message, data) from None
    if obj is None:
        obj = {}
    if not isinstance(obj, dict):
        raise _unrecognized(gvk, f"{_MISREAD}{codec.json_type(obj)} into {_TYPE_META}", data)
    _require_texts(obj, gvk, data)
    if builtin:
        require_built_in(obj, gvk)
        return obj
    if not obj.get("kind"):
        raise _unrecognized(
            gvk, f"Object 'Kind' is missing in '{data.decode(errors='replace')}'", data
        )
    _require_version(obj.get("apiVersion") or "", gvk)
    return obj


def read_delete_options(data: bytes, content_type: str) -> Object | None:
    """Return the DeleteOptions in a body; None for an empty one. Raises `ApiError` (400, 415)."""
    if not data.strip():
        return None
    obj = read_body(data, content_type)
    if obj is None:
        return {}
    if not isinstance(obj, dict):
        raise bad_request(f"{_MISREAD}{codec.json_type(obj)} into {_TYPE_META}")
    kind, version = obj.get("kind") or "DeleteOptions", obj.get("apiVersion") or "v1"
    if kind != "DeleteOptions":
        raise bad_request(f'no kind "{kind}" is registered for version "{version}" {_SCHEME}')
    return obj


_MISREAD = "couldn't get version/kind; json parse error: json: cannot unmarshal "


def _require_texts(obj: Object, gvk: GroupVersionKind, data: bytes) -> None:
    for field in ("apiVersion", "kind"):
        value = obj.get(field)
        if value is not None and not isinstance(value, str):
            text = (
                f"{_MISREAD}{codec.json_type(value)} into Go struct field .{field} of type string"
            )
            raise _unrecognized(gvk, text, data)
    version = obj.get("apiVersion") or ""
    if version.count("/") > 1:
        raise _unrecognized(gvk, f"unexpected GroupVersion string: {version}", data)


def require_built_in(obj: Object, gvk: GroupVersionKind) -> None:
    """Fill in what an object of a built-in kind leaves to the URL. Raises `ApiError` (400) for another kind."""
    obj["kind"], obj["apiVersion"] = (
        obj.get("kind") or gvk.kind,
        obj.get("apiVersion") or gvk.api_version,
    )
    given = GroupVersionKind.of(obj["apiVersion"], obj["kind"])
    if given == gvk:
        return
    if given not in kinds():
        detail = f'no kind "{given.kind}" is registered for version "{given.api_version}" {_SCHEME}'
        raise DecodeError(given, problem=Problem.KIND, detail=detail, into=gvk.kind)
    _require_version(given.api_version, gvk)
    package = gvk.group.partition(".")[0] or "core"
    detail = (
        f"converting ({gvk.version}.{given.kind}) to ({package}.{gvk.kind}): unknown conversion"
    )
    raise DecodeError(given, problem=Problem.KIND, detail=detail, into=gvk.kind)


def _require_version(api_version: str, gvk: GroupVersionKind) -> None:
    if api_version != gvk.api_version:
        raise bad_request(
            f"the API version in the data ({api_version}) does not match the expected API version ({gvk.api_version})"
        )


def _unrecognized(gvk: GroupVersionKind, why: str, data: bytes) -> ApiError:
    return bad_request(
        f"the object provided is unrecognized (must be of type {gvk.kind}): {why} ({_summary(data)})"
    )


def _summary(data: bytes) -> str:
    """Return the beginning of a body: as text if it begins as JSON does, otherwise as hexadecimal digits."""
    if not data:
        return "<empty>"
    head = data[:_SHOWN_BYTES]
    shown = head.decode(errors="replace") if head.startswith(b"{") else head.hex()
    return f"{shown} ..." if len(data) > _SHOWN_BYTES else shown
