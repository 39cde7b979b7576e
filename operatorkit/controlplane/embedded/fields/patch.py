"""JSON patch and merge patch, the two patches that need no schema; `strategic` has the third.

Both take an object and a decoded patch, and return the patched object; arguments stay as they are. Where Kubernetes'
library is more lenient than the RFC (a `replace` of a field that is not there, a negative index), so are these.

Source: RFC 6902, RFC 7386
"""

from __future__ import annotations

import copy
from typing import Any

from operatorkit.controlplane.embedded.fields.typed import equal
from operatorkit.errors import ClusterError, Invalid, TooLarge

__all__ = ["json_patch", "merge_patch"]

_MAX_OPERATIONS = 10000
_MISSING = object()


class _Inapplicable(Exception):  # noqa: N818 - becomes one and the same refusal, whatever it says
    """An operation does not apply to the object."""


def json_patch(obj: dict[str, Any], operations: Any) -> dict[str, Any]:
    """Return an object after a list of operations, all or none.

    Raises ClusterError with code 400 for a malformed patch, Invalid for one that does not apply (a failed `test`, a
    path into nothing), TooLarge for more than 10000 operations.
    """
    _check_operations(operations)
    result: Any = copy.deepcopy(obj)
    try:
        for operation in operations:
            result = _operate(result, operation)
    except _Inapplicable as error:
        # The server does not pass on which operation failed, and why; the exception's cause does.
        raise Invalid("the server rejected our request due to an error in our request") from error
    if not isinstance(result, dict):
        raise Invalid("the server rejected our request due to an error in our request")
    return result


def _check_operations(operations: Any) -> None:
    if not isinstance(operations, list):
        text = f"json: cannot unmarshal {_json_type(operations)} into Go value of type []handlers.jsonPatchOp"
        raise ClusterError(f"error decoding patch: {text}", code=400, reason="BadRequest")
    for operation in operations:
        if not isinstance(operation, dict):
            text = f"json: cannot unmarshal {_json_type(operation)} into Go value of type handlers.jsonPatchOp"
            raise ClusterError(f"error decoding patch: {text}", code=400, reason="BadRequest")
    if len(operations) > _MAX_OPERATIONS:
        text = f"The allowed maximum operations in a JSON patch is {_MAX_OPERATIONS}, got {len(operations)}"
        raise TooLarge(f"Request entity too large: {text}")


def _json_type(value: Any) -> str:
    match value:
        case dict():
            return "object"
        case list():
            return "array"
        case str():
            return "string"
        case bool():
            return "bool"
        case None:
            return "null"
    return "number"


def _parts(pointer: Any) -> list[str]:
    if not isinstance(pointer, str):
        raise _Inapplicable("the operation has no path")
    if pointer and not pointer.startswith("/"):
        raise _Inapplicable(f"not a pointer: {pointer}")
    return [it.replace("~1", "/").replace("~0", "~") for it in pointer.split("/")[1:]]


def _operate(document: Any, operation: dict[str, Any]) -> Any:
    """Return the document after one operation; containers in it are changed in place."""
    path = _parts(operation.get("path"))
    match operation.get("op"):
        case "add":
            return _put(document, path, copy.deepcopy(operation.get("value")), insert=True)
        case "replace":
            _get(document, path)
            return _put(document, path, copy.deepcopy(operation.get("value")), insert=False)
        case "remove":
            _take(document, path)
            return document
        case "move":
            return _put(document, path, _take(document, _parts(operation.get("from"))), insert=True)
        case "copy":
            return _put(document, path, copy.deepcopy(_get(document, _parts(operation.get("from")))), insert=True)
        case "test":
            if not equal(_get(document, path), operation.get("value")):
                raise _Inapplicable(f"testing value {operation.get('path')} failed")
            return document
        case unknown:
            raise _Inapplicable(f"unexpected kind: {unknown}")


def _container(document: Any, path: list[str]) -> Any:
    """Return what holds the end of a path."""
    for part in path[:-1]:
        match document:
            case dict():
                document = document.get(part, _MISSING)
            case list():
                document = document[_position(part, len(document))]
            case _:
                document = _MISSING
    if not isinstance(document, dict | list):
        raise _Inapplicable(f"doc is missing path: /{'/'.join(path)}")
    return document


def _position(part: str, length: int) -> int:
    """Return an index into a list; a negative one counts from the end."""
    try:
        position = int(part)
    except ValueError:
        raise _Inapplicable(f"value was not a proper array index: '{part}'") from None
    if not -length <= position < length:
        raise _Inapplicable(f"Unable to access invalid index: {part}")
    return position % length


def _get(document: Any, path: list[str]) -> Any:
    if not path:
        return document
    container, last = _container(document, path), path[-1]
    return container.get(last) if isinstance(container, dict) else container[_position(last, len(container))]


def _put(document: Any, path: list[str], value: Any, *, insert: bool) -> Any:
    if not path:
        return value
    container, last = _container(document, path), path[-1]
    if isinstance(container, dict):
        container[last] = value
    elif not insert:
        container[_position(last, len(container))] = value
    elif last == "-":
        container.append(value)
    else:
        # One past the end is a place to insert at, too.
        container.insert(_position(last, len(container) + 1), value)
    return document


def _take(document: Any, path: list[str]) -> Any:
    if not path:
        raise _Inapplicable("the whole document cannot be removed")
    container, last = _container(document, path), path[-1]
    if isinstance(container, list):
        return container.pop(_position(last, len(container)))
    if last not in container:
        raise _Inapplicable(f"Unable to remove nonexistent key: {last}")
    return container.pop(last)


def merge_patch(obj: dict[str, Any], patch: Any) -> dict[str, Any]:
    """Return an object with the values of a patch; null removes. Raises ClusterError (400) unless it is an object."""
    if not isinstance(patch, dict):
        text = f"json: cannot unmarshal {_json_type(patch)} into Go value of type map[string]interface {{}}"
        raise ClusterError(f"error decoding patch: {text}", code=400, reason="BadRequest")
    result: dict[str, Any] = _merged(obj, patch)
    return result


def _merged(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), value)
    return result
