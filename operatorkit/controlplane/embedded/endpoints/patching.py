"""Patches: the content types of PATCH, as changes that the write path carries out.

What belongs here: choosing the algorithm. What does not: the algorithms (`fields`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

from operatorkit.controlplane.embedded.errors.errors import (
    ApiError,
    bad_request,
    invalid,
    unsupported_media_type,
)
from operatorkit.controlplane.embedded.errors.go_text import numbers, shown
from operatorkit.controlplane.embedded.fields.patch import json_patch, merge_patch
from operatorkit.controlplane.embedded.fields.strategic import strategic_merge_patch
from operatorkit.controlplane.embedded.registry.table import Served
from operatorkit.controlplane.embedded.scheme import codec
from operatorkit.controlplane.embedded.scheme.decode_error import DecodeError, Problem
from operatorkit.controlplane.embedded.serializer import protobuf
from operatorkit.controlplane.embedded.serializer.negotiation import (
    PATCH_TYPES,
    media_type,
    read_body,
)
from operatorkit.crd.field_errors import FieldError
from operatorkit.crd.kubernetes import definitions
from operatorkit.names import GroupVersionKind

__all__ = [
    "APPLY",
    "STRATEGIC",
    "apply_conversion_error",
    "patch_change",
    "patched_decode_error",
    "read_patch",
    "require_kind",
    "require_patch",
    "strategic_conversion_error",
]

APPLY = "application/apply-patch+yaml"
_JSON: str = PATCH_TYPES[0]
_MERGE: str = PATCH_TYPES[1]
STRATEGIC: str = PATCH_TYPES[2]
_METADATA = (
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
)
_KINDS = {"object": "map", "array": "slice", "number": "int64"}

Object = dict[str, Any]


def require_patch(served: Served, media: str) -> None:
    """Raise `ApiError` (415) for what is no patch, such as protobuf, which other requests may be in."""
    if media not in {*PATCH_TYPES, protobuf.MEDIA_TYPE}:
        raise ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", details={})
    if media == protobuf.MEDIA_TYPE:
        raise unsupported_media_type(
            [it for it in PATCH_TYPES if served.builtin or it != STRATEGIC]
        )


def read_patch(data: bytes, content_type: str) -> Any:
    """Decode the body of a PATCH. Raises `ApiError` (400) in the words of its kind of patch."""
    media = media_type(content_type)
    if media != APPLY:
        patch = read_body(
            data, content_type, prefix="" if media == STRATEGIC else "error decoding patch: "
        )
        if patch is not None:
            return patch
        if media == _MERGE:
            raise bad_request("Invalid JSON Patch")
        return [] if media == _JSON else {}  # to Go, null is an empty one
    try:
        applied = read_body(data, content_type)
    except ApiError as error:
        raise bad_request(f"error decoding YAML: {error.message}") from None
    if applied is None:
        raise bad_request("invalid object type: /, Kind=")
    if not isinstance(applied, dict):
        text = f"json: cannot unmarshal {codec.json_type(applied)} into Go value of type map[string]interface {{}}"
        raise bad_request(
            f"error decoding YAML: error unmarshaling JSON: while decoding JSON: {text}"
        )
    numbers(applied)
    return applied


def patched_decode_error(
    patched: Object, patch: Any, error: ApiError, *, builtin: bool
) -> ApiError:
    """Return the error of a JSON or merge patch that leaves an object which cannot be decoded; it is shown whole."""
    touched = patch if isinstance(patch, dict) else _touched(patch)
    shape = _reordered(_struct(patched), touched) if builtin else patched
    whole = json.dumps(shape, separators=(",", ":"), ensure_ascii=False, sort_keys=not builtin)
    why = error.why if isinstance(error, DecodeError) else error.message
    message = f"Invalid value: {json.dumps(whole, ensure_ascii=False)}: {why}"
    return invalid("", "", "", [FieldError("patch", "FieldValueInvalid", message)])


def _struct(obj: Object) -> Object:
    """Return an object with its metadata in the order of Go's struct."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        return obj
    names = {name: position for position, name in enumerate(_METADATA)}
    return obj | {
        "metadata": dict(sorted(metadata.items(), key=lambda it: names.get(it[0], len(names))))
    }


def _touched(operations: Any) -> Object:
    """Return the paths of a JSON patch as a tree."""
    tree: Object = {}
    for operation in operations:
        for name in ("path", "from"):
            branch = tree
            for part in str(operation.get(name, "")).split("/")[1:]:
                branch = branch.setdefault(part.replace("~1", "/").replace("~0", "~"), {})
    return tree


def _reordered(value: Any, touched: Any) -> Any:
    """Return an object with its keys sorted where a patch has touched it: those parts the server has written again."""
    if not isinstance(value, dict) or not isinstance(touched, dict):
        return value
    return {name: _reordered(value[name], touched.get(name)) for name in sorted(value)}


def apply_conversion_error(kind: GroupVersionKind, applied: Object, error: DecodeError) -> ApiError:
    """Return the error of an apply that leaves an object with a value that its type cannot have."""
    why = f"error decoding from json: {error.why}" if error.problem is Problem.BASE64 else error.why
    group = f"{kind.group}/{kind.version}, Kind={kind.kind}"
    metadata = applied.get("metadata") or {}
    return ApiError(
        500,
        "",
        f"failed to convert new object ({metadata.get('namespace', '')}/{metadata.get('name', '')}; {group}) to "
        "proper version: "
        f"unable to convert unstructured object to {group}: {why}",
    )


def require_kind(patched: Object) -> None:
    """Raise `ApiError` (422) for a custom object that a patch has left without its kind."""
    if not patched.get("kind"):
        text = json.dumps(patched, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        message = f"Invalid value: {json.dumps(text, ensure_ascii=False)}: Object 'Kind' is missing in '{text}'"
        raise invalid("", "", "", [FieldError("patch", "FieldValueInvalid", message)])


def patch_change(served: Served, media: str, patch: Any) -> Callable[[Object], Object]:
    """Return the change that a patch, other than an apply, asks for. Raises `ApiError` (415)."""
    if media == _JSON:
        return lambda live: json_patch(live, patch)
    if media == _MERGE:
        return lambda live: merge_patch(live, patch)
    if media == STRATEGIC and served.builtin:
        return lambda live: strategic_merge_patch(served.gvk, live, patch)
    raise unsupported_media_type([it for it in PATCH_TYPES if it != STRATEGIC])


def strategic_conversion_error(patch: Any, error: DecodeError) -> ApiError:
    """Return the error of a strategic merge patch with a value of the wrong type; others as they are.

    kube-apiserver does not decode the patched object from JSON but converts it, and shows the whole patch as Go does.
    """
    match error.problem:
        case Problem.TYPE:
            why = _converter_text(error.got, error.number, error.expected)
        case Problem.BASE64:
            why = f"error decoding from json: {error.why}"
        case Problem.STRICT:
            why = error.why
        case Problem.VALUE | Problem.KIND:
            return error
    text = f'Invalid value: "{shown(patch)}": {why}'
    return invalid("", "", "", [FieldError("patch", "FieldValueInvalid", text)])


def _converter_text(got: str, number: float | None, expected: str) -> str:
    """Return the text of Go's converter for a value of one type where another is expected."""
    found = "float64" if isinstance(number, float) else _KINDS.get(got, got)
    if expected.startswith("map["):
        return f"cannot restore map from {found}"
    if expected.startswith("[]"):
        return f"cannot restore slice from {found}"
    if expected in {"bool", "int32", "int64", "float64"}:
        return f"unrecognized type: {expected}"
    if expected.startswith("v1.") and _is_struct(expected[3:]):
        return f"cannot restore struct from: {found}"
    return f"cannot convert {found} to string" if found == "int64" else "unrecognized type: string"


@cache
def _is_struct(name: str) -> bool:
    return any(
        path.endswith(f".{name}") and it.get("type") == "object"
        for path, it in definitions().items()
    )
