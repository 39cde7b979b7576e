"""Patches: the content types of PATCH, as changes that the write path carries out.

What belongs here: choosing the algorithm. What does not: the algorithms (`fields`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from operatorkit.controlplane.embedded import protobuf
from operatorkit.controlplane.embedded.builtin import codec
from operatorkit.controlplane.embedded.fields.patch import json_patch, merge_patch
from operatorkit.controlplane.embedded.fields.strategic import strategic_merge_patch
from operatorkit.controlplane.embedded.negotiation import PATCH_TYPES, media_type, read_body
from operatorkit.controlplane.embedded.options import Fault
from operatorkit.controlplane.embedded.registry import Served
from operatorkit.controlplane.embedded.status import ApiError, bad_request, invalid, unsupported_media_type
from operatorkit.errors import ClusterError

__all__ = [
    "APPLY",
    "STRATEGIC",
    "misfit",
    "patch_change",
    "read_patch",
    "require_kind",
    "require_patch",
    "unconvertible",
]

APPLY = "application/apply-patch+yaml"
_JSON: str = PATCH_TYPES[0]
_MERGE: str = PATCH_TYPES[1]
STRATEGIC: str = PATCH_TYPES[2]
_MISMATCH = re.compile(r"cannot unmarshal (\w+)\b.* into Go .* of type (string|bool|int32|int64|float64)$")

_DECODED = re.compile(r"^\S+ in version \"[^\"]*\" cannot be handled as a \S+: ")

Object = dict[str, Any]


def require_patch(served: Served, media: str) -> None:
    """Raise `ApiError` (415) for what is no patch, such as protobuf, which other requests may be in."""
    if media not in {*PATCH_TYPES, protobuf.MEDIA_TYPE}:
        raise ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", details={})
    if media == protobuf.MEDIA_TYPE:
        raise unsupported_media_type([it for it in PATCH_TYPES if served.builtin or it != STRATEGIC])


def read_patch(data: bytes, content_type: str) -> Any:
    """Decode the body of a PATCH. Raises `ApiError` (400) in the words of its kind of patch."""
    media = media_type(content_type)
    if media != APPLY:
        patch = read_body(data, content_type, refused="" if media == STRATEGIC else "error decoding patch: ")
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
        raise bad_request(f"error decoding YAML: error unmarshaling JSON: while decoding JSON: {text}")
    return applied


def misfit(patched: Object, error: ClusterError | ApiError) -> ApiError:
    """Return the refusal of a JSON or merge patch that leaves an object which cannot be decoded; it is shown whole."""
    shown = json.dumps({name: patched[name] for name in sorted(patched)}, separators=(",", ":"), ensure_ascii=False)
    why = _DECODED.sub("", error.message, count=1)
    message = f"Invalid value: {json.dumps(shown, ensure_ascii=False)}: {why}"
    return invalid("", "", "", [Fault("patch", "FieldValueInvalid", message)])


def require_kind(patched: Object) -> None:
    """Raise `ApiError` (422) for a custom object that a patch has left without its kind."""
    if not patched.get("kind"):
        text = json.dumps(patched, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        shown = json.dumps(text, ensure_ascii=False)
        message = f"Invalid value: {shown}: Object 'Kind' is missing in '{text}'"
        raise invalid("", "", "", [Fault("patch", "FieldValueInvalid", message)])


def patch_change(served: Served, media: str, patch: Any) -> Callable[[Object], Object]:
    """Return the change that a patch, other than an apply, asks for. Raises `ApiError` (415)."""
    if media == _JSON:
        return lambda live: json_patch(live, patch)
    if media == _MERGE:
        return lambda live: merge_patch(live, patch)
    if media == STRATEGIC and served.builtin:
        return lambda live: strategic_merge_patch(served.gvk, live, patch)
    raise unsupported_media_type([it for it in PATCH_TYPES if it != STRATEGIC])


def unconvertible(patch: Any, error: ClusterError) -> ClusterError | ApiError:
    """Return the refusal of a strategic merge patch with a value of the wrong type; other errors as they are.

    kube-apiserver does not decode the patched object from JSON but converts it, and shows the whole patch as Go does.
    """
    why = _DECODED.sub("", error.message, count=1)
    if mismatch := _MISMATCH.search(why):
        found = {"number": "int64", "object": "map[string]interface {}", "array": "[]interface {}"}
        why = f"cannot convert {found.get(mismatch[1], mismatch[1])} to {mismatch[2]}"
    elif why.startswith("illegal base64 data"):
        why = f"error decoding from json: {why}"
    elif not why.startswith("strict decoding error"):
        return error
    text = f'Invalid value: "{_go(patch)}": {why}'
    return invalid("", "", "", [Fault("patch", "FieldValueInvalid", text)])


def _go(value: Any) -> str:
    """Return a JSON value as Go's %+v prints it."""
    match value:
        case dict():
            return f"map[{' '.join(f'{key}:{_go(value[key])}' for key in sorted(value))}]"
        case list():
            return f"[{' '.join(map(_go, value))}]"
        case bool():
            return str(value).lower()
        case None:
            return "<nil>"
    return str(value)
