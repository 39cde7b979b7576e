"""JSON patch and merge patch, the two patches that need no schema; `strategic` has the third.

Both take an object and a decoded patch, and return the patched object; arguments stay as they are. Where Kubernetes'
library is more lenient than the RFC (a `replace` of a field that is not there, a negative index), so are these.

Source: RFC 6902, RFC 7386
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from operatorkit.controlplane.embedded.errors.errors import ApiError, bad_request
from operatorkit.controlplane.embedded.fields.typed import equal

__all__ = ["json_patch", "merge_patch"]

_MAX_OPERATIONS = 10000
_MAX_COPIED_BYTES = 3 * 1024 * 1024
"""How much all copies of one patch may add: each may double an object, and a patch may hold many."""

_NO_VALUE = "missing value"


class _Inapplicable(Exception):  # noqa: N818 - becomes the same API error for every operation
    """An operation does not apply to the object; the words are those of Kubernetes' library."""


def json_patch(obj: dict[str, Any], operations: Any) -> dict[str, Any]:
    """Return an object after a list of operations, all or none.

    Raises `ApiError`: 400 for a malformed patch, 422 for one that does not apply (a failed `test`, a path to nothing,
    copies of more than 3 MiB), 413 for more than 10000 operations.
    """
    _check_operations(operations)
    result: Any = copy.deepcopy(obj)
    copied = 0
    try:
        for operation in operations:
            copied += _copied_bytes(result, operation, _MAX_COPIED_BYTES - copied)
            result = _operate(result, operation)
    except _Inapplicable as error:
        # The server does not pass on which operation failed, and why; the exception's cause does.
        raise _rejected() from error
    if not isinstance(result, dict):
        raise _rejected()
    return result


def _rejected() -> ApiError:
    text = "the server rejected our request due to an error in our request"
    return ApiError(422, "Invalid", text, details={})


def _check_operations(operations: Any) -> None:
    if not isinstance(operations, list):
        text = f"json: cannot unmarshal {_json_type(operations)} into Go value of type []handlers.jsonPatchOp"
        raise bad_request(f"error decoding patch: {text}")
    for operation in operations:
        if not isinstance(operation, dict):
            text = f"json: cannot unmarshal {_json_type(operation)} into Go value of type handlers.jsonPatchOp"
            raise bad_request(f"error decoding patch: {text}")
    if len(operations) > _MAX_OPERATIONS:
        text = f"The allowed maximum operations in a JSON patch is {_MAX_OPERATIONS}, got {len(operations)}"
        raise ApiError(
            413, "RequestEntityTooLarge", f"Request entity too large: {text}", details={}
        )


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


def _copied_bytes(document: Any, operation: dict[str, Any], most: int) -> int:
    """Return how much an operation copies, 0 if it cannot. Raises _Inapplicable for more than `most`."""
    if operation.get("op") != "copy":
        return 0
    try:
        container, last = _container(document, _pointer(operation, "from"), "")
        size = len(json.dumps(_get(container, last)))
    except _Inapplicable:  # which the operation itself has the words for
        return 0
    if size > most:
        total = _MAX_COPIED_BYTES - most + size
        text = f"Unable to complete the copy, the accumulated size increase of copy is {total}, exceeding the limit"
        raise _Inapplicable(f"{text} {_MAX_COPIED_BYTES}")
    return size


def _pointer(operation: dict[str, Any], field: str) -> str:
    pointer = operation.get(field)
    if pointer is None:
        missing = {"path": "operation missing path field", "from": "operation, missing from field"}[
            field
        ]
        raise _Inapplicable(f"{missing}: {_NO_VALUE}")
    if not isinstance(pointer, str):
        raise _Inapplicable(
            f"json: cannot unmarshal {_json_type(pointer)} into Go value of type string"
        )
    return pointer


def _operate(document: Any, operation: dict[str, Any]) -> Any:
    """Return the document after one operation; containers in it are changed in place."""
    match operation.get("op"):
        case "add":
            _add(document, operation)
        case "replace":
            return _replace(document, operation)
        case "remove":
            _remove(document, operation)
        case "move":
            _move(document, operation)
        case "copy":
            _copy(document, operation)
        case "test":
            _test(document, operation)
        case unknown:
            raise _Inapplicable(
                f"Unexpected kind: {unknown if isinstance(unknown, str) else 'unknown'}"
            )
    return document


def _add(document: Any, operation: dict[str, Any]) -> None:
    with _reported_as("add operation failed to decode path", whole=_NO_VALUE):
        path = _pointer(operation, "path")
    container, last = _container(
        document, path, f'add operation does not apply: doc is missing path: "{path}"'
    )
    with _reported_as(f"error in add for path: '{path}'"):
        _insert(container, last, copy.deepcopy(operation.get("value")))


def _remove(document: Any, operation: dict[str, Any]) -> None:
    with _reported_as("remove operation failed to decode path", whole=_NO_VALUE):
        path = _pointer(operation, "path")
    container, last = _container(
        document, path, f'remove operation does not apply: doc is missing path: "{path}"'
    )
    with _reported_as(f"error in remove for path: '{path}'"):
        _take(container, last)


def _replace(document: Any, operation: dict[str, Any]) -> Any:
    with _reported_as("replace operation failed to decode path"):
        path = _pointer(operation, "path")
    value = copy.deepcopy(operation.get("value"))
    if not path:
        return value
    container, last = _container(
        document, path, f"replace operation does not apply: doc is missing path: {path}"
    )
    with _reported_as(
        f"replace operation does not apply: doc is missing key: {path}", whole=_NO_VALUE
    ):
        _get(container, last)
    container[last if isinstance(container, dict) else _position(last, len(container))] = value
    return document


def _move(document: Any, operation: dict[str, Any]) -> None:
    with _reported_as("move operation failed to decode from"):
        source = _pointer(operation, "from")
    container, last = _container(
        document, source, f"move operation does not apply: doc is missing from path: {source}"
    )
    with _reported_as(f"error in move for path: '{last}'"):
        value = _get(container, last)
        _take(container, last)
    with _reported_as("move operation failed to decode path"):
        path = _pointer(operation, "path")
    missing = f"move operation does not apply: doc is missing destination path: {path}"
    container, last = _container(document, path, missing)
    with _reported_as(f"error in move for path: '{path}'"):
        _insert(container, last, value)


def _copy(document: Any, operation: dict[str, Any]) -> None:
    with _reported_as("copy operation failed to decode from"):
        source = _pointer(operation, "from")
    container, last = _container(
        document, source, f"copy operation does not apply: doc is missing from path: {source}"
    )
    with _reported_as(f"error in copy for from: '{source}'"):
        value = copy.deepcopy(_get(container, last))
    with _reported_as("copy operation failed to decode path", whole=_NO_VALUE):
        path = _pointer(operation, "path")
    missing = f"copy operation does not apply: doc is missing destination path: {path}"
    container, last = _container(document, path, missing)
    with _reported_as("error while adding value during copy"):
        _insert(container, last, value)


def _test(document: Any, operation: dict[str, Any]) -> None:
    with _reported_as("test operation failed to decode path"):
        path = _pointer(operation, "path")
    found = document
    if path:
        container, last = _container(
            document, path, f"test operation does not apply: is missing path: {path}"
        )
        with _reported_as(f"error in test for path: '{path}'"):
            found = _get(container, last)
    if not equal(found, operation.get("value")):
        raise _Inapplicable(f"testing value {path} failed: test failed")


@contextmanager
def _reported_as(what: str, *, whole: str = "") -> Iterator[None]:
    """Say of a failure what it was a failure of; `whole` is all that is then said of why."""
    try:
        yield
    except _Inapplicable as error:
        raise _Inapplicable(f"{what}: {whole or error}") from None


def _container(document: Any, pointer: str, missing: str) -> tuple[Any, str]:
    """Return what holds the end of a path, and that end."""
    _, *parts = (it.replace("~1", "/").replace("~0", "~") for it in pointer.split("/"))
    for part in parts[:-1]:
        try:
            document = _get(document, part)
        except _Inapplicable:
            document = None
    if not parts or not isinstance(document, dict | list):
        raise _Inapplicable(f"{missing}: {_NO_VALUE}")
    return document, parts[-1]


def _position(part: str, length: int, *, to_insert: bool = False) -> int:
    """Return an index into a list; a negative one counts from the end."""
    if not part.isascii() or not part.removeprefix("-").isdigit():
        text = f'strconv.Atoi: parsing "{part}": invalid syntax'
        raise _Inapplicable(
            f"value was not a proper array index: '{part}': {text}" if to_insert else text
        )
    position = int(part)
    if not -length <= position < length:
        raise _Inapplicable(f"Unable to access invalid index: {part}: invalid index referenced")
    return position % length


def _get(container: Any, key: str) -> Any:
    match container:
        case dict():
            return container.get(key)
        case list():
            return container[_position(key, len(container))]
    raise _Inapplicable(_NO_VALUE)


def _insert(container: Any, key: str, value: Any) -> None:
    if isinstance(container, dict):
        container[key] = value
    elif key == "-":
        container.append(value)
    else:  # one past the end is a place to insert at, too
        container.insert(_position(key, len(container) + 1, to_insert=True), value)


def _take(container: Any, key: str) -> None:
    if isinstance(container, list):
        del container[_position(key, len(container))]
    elif key not in container:
        raise _Inapplicable(f"Unable to remove nonexistent key: {key}: {_NO_VALUE}")
    else:
        del container[key]


def merge_patch(obj: dict[str, Any], patch: Any) -> dict[str, Any]:
    """Return an object with the values of a patch; null removes. Raises `ApiError` (400) unless it is an object."""
    if not isinstance(patch, dict):
        text = f"json: cannot unmarshal {_json_type(patch)} into Go value of type map[string]interface {{}}"
        raise bad_request(f"error decoding patch: {text}")
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
