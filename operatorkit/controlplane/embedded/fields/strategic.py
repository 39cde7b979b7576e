"""Strategic merge patch: a merge patch that knows by the type which lists are merged, by which key, in which order.

Directives: `$patch: replace | delete | merge`, `$deleteFromPrimitiveList/<field>`, `$setElementOrder/<field>`,
`$retainKeys`. Only built-in kinds have the strategies that this needs.

Source: https://git.k8s.io/community/contributors/devel/sig-api-machinery/strategic-merge-patch.md
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Final

from operatorkit.controlplane.embedded.errors.errors import ApiError, bad_request
from operatorkit.controlplane.embedded.fields.typed import equal
from operatorkit.crd.kubernetes import REF_PREFIX, definitions, kinds
from operatorkit.names import GroupVersionKind

__all__ = ["strategic_merge_patch"]

_PATCH: Final = "$patch"
_DELETE_PREFIX: Final = "$deleteFromPrimitiveList"
_ORDER_PREFIX: Final = "$setElementOrder"
_RETAIN: Final = "$retainKeys"


def strategic_merge_patch(
    kind: GroupVersionKind, obj: dict[str, Any], patch: Any
) -> dict[str, Any]:
    """Return an object of a built-in kind with a patch merged into it; the arguments stay as they are.

    Raises `ApiError`: 400 for a malformed patch, 415 for a kind not built in, 500 where Kubernetes says so.
    """
    name = kinds().get(kind)
    if name is None:
        text = "the body of the request was in an unknown format - accepted media types include: "
        accepted = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
        raise ApiError(415, "UnsupportedMediaType", text + accepted)
    if not isinstance(patch, dict):
        raise bad_request(
            "json: cannot unmarshal array into Go value of type map[string]interface {}"
        )
    return _merge_map(copy.deepcopy(obj), copy.deepcopy(patch), _Type(definitions()[name], name))


def _server_error(text: str) -> ApiError:
    """Return what kube-apiserver answers with for an error that has no status: 500, without a reason."""
    return ApiError(500, "", text)


def _bad_directive(directive: Any, patch: Any) -> ApiError:
    return _server_error(f"unknown patch type: {directive} in map: {_go_map(patch)}")


def _no_key(value: Any, key: str) -> ApiError:
    return _server_error(f"map: {_go_map(value)} does not contain declared merge key: {key}")


def _go_map(value: Any) -> str:
    """Write a value as Go's %v does."""
    match value:
        case dict():
            return (
                "map["
                + " ".join(f"{name}:{_go_map(it)}" for name, it in sorted(value.items()))
                + "]"
            )
        case list():
            return "[" + " ".join(_go_map(it) for it in value) + "]"
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
    return str(value)


@dataclass(frozen=True, slots=True)
class _Strategy:
    """How one field is patched."""

    type: _Type
    merge: bool
    replace: bool
    key: str


@dataclass(frozen=True, slots=True)
class _Type:
    """The schema of a map, and its name for messages."""

    schema: dict[str, Any]
    name: str

    def strategy(self, field: str) -> _Strategy:
        """Return how a field is patched. Raises `ApiError` for a field that the type does not have."""
        found = self.schema.get("properties", {}).get(field)
        if found is None:
            found = self.schema.get("additionalProperties")
        if not isinstance(found, dict):
            kind = self.name.rpartition(".")[2]
            raise _server_error(
                f'unable to find api field in struct {kind} for the json field "{field}"'
            )
        strategies = found.get("x-kubernetes-patch-strategy", "").split(",")
        below = found["items"] if found.get("type") == "array" else found
        type_ = self._resolved(below)
        key = found.get("x-kubernetes-patch-merge-key", "")
        return _Strategy(type_, "merge" in strategies, "replace" in strategies, key)

    def _resolved(self, schema: dict[str, Any]) -> _Type:
        name = schema.get("$ref")
        if not isinstance(name, str):
            return _Type(schema, self.name)
        name = name.removeprefix(REF_PREFIX)
        return _Type(definitions()[name], name)


def _merge_map(original: dict[str, Any], patch: dict[str, Any], type_: _Type) -> dict[str, Any]:
    """Merge a patch into a map, in place where there is no directive to do otherwise."""
    if _PATCH in patch:
        match patch.pop(_PATCH):
            case "replace":
                return patch
            case "delete":
                return {}
            case directive:
                raise _bad_directive(directive, {_PATCH: directive, **patch})
    _retain(original, patch)
    _order(original, patch, type_)
    for name, value in patch.items():
        if name.startswith(_DELETE_PREFIX):
            _delete_from_list(original, _field_of(name, _DELETE_PREFIX), value)
        elif value is None:
            original.pop(name, None)
        else:
            _merge_field(original, name, value, type_)
    return original


def _merge_field(original: dict[str, Any], name: str, value: Any, type_: _Type) -> None:
    before = original.get(name)
    if isinstance(before, dict) and isinstance(value, dict):
        strategy = type_.strategy(name)
        original[name] = value if strategy.replace else _merge_map(before, value, strategy.type)
    elif isinstance(before, list) and isinstance(value, list):
        strategy = type_.strategy(name)
        original[name] = _merge_list(before, value, strategy) if strategy.merge else value
    elif isinstance(value, dict) and _PATCH in value:
        original.pop(name, None)
    else:
        original[name] = _plain(value)


def _plain(value: Any) -> Any:
    """Return a value of a patch as it is stored where there was none: without nulls, without directives."""
    if isinstance(value, dict):
        return {
            name: _plain(it)
            for name, it in value.items()
            if it is not None and not (isinstance(it, dict) and _PATCH in it)
        }
    if isinstance(value, list):
        return [_plain(it) for it in value if not (isinstance(it, dict) and _PATCH in it)]
    return value


def _field_of(directive: str, prefix: str) -> str:
    head, _, field = directive.partition("/")
    if head != prefix or not field:
        what = "primitive list" if prefix == _DELETE_PREFIX else "setElementOrder list"
        raise bad_request(f"invalid patch format of {what}")
    return field


def _delete_from_list(original: dict[str, Any], name: str, unwanted: Any) -> None:
    before = original.get(name)
    if isinstance(before, list) and isinstance(unwanted, list):
        original[name] = [it for it in before if not _in(it, unwanted)]


def _in(value: Any, values: list[Any]) -> bool:
    return any(equal(value, it) for it in values)


def _retain(original: dict[str, Any], patch: dict[str, Any]) -> None:
    """Apply `$retainKeys`: fields of the original that are not named go."""
    if _RETAIN not in patch:
        return
    keys = patch.pop(_RETAIN)
    known = (_DELETE_PREFIX, _ORDER_PREFIX)
    if not isinstance(keys, list) or any(
        name not in keys
        for name, value in patch.items()
        if value is not None and not name.startswith(known)
    ):
        raise bad_request("invalid patch format of retainKeys")
    for name in [it for it in original if it not in keys]:
        del original[name]


def _order(original: dict[str, Any], patch: dict[str, Any], type_: _Type) -> None:
    """Apply each `$setElementOrder/<field>`, together with the list of that field."""
    for directive in [it for it in patch if it.startswith(_ORDER_PREFIX)]:
        order = patch.pop(directive)
        name = _field_of(directive, _ORDER_PREFIX)
        before, change = original.get(name), patch.get(name)
        if not all(isinstance(it, list) for it in (order, before or [], change or [])):
            raise bad_request("invalid patch format of setElementOrder list")
        strategy = type_.strategy(name)
        _check_order(change or [], order, strategy.key)
        if before is None and change is None:
            continue
        if before is None:
            merged = _plain(change)
        elif change is None:
            merged = before
        else:
            merged = _merge_list(list(before), change, strategy) if strategy.merge else change
        original[name] = _ordered(merged, order, before or [], strategy.key)
        patch.pop(name, None)


def _check_order(change: list[Any], order: list[Any], key: str) -> None:
    """Reject a list whose items come in another order than the directive says, or are not named there."""
    items = [it for it in change if not (isinstance(it, dict) and _PATCH in it)]
    if not items or not order:
        return
    places = iter(order)
    for it in items:
        if not any(equal(_identity(it, key), _identity(place, key)) for place in places):
            text = (
                f"The order in patch list:\n{_go_map(change)}\n"
                f" doesn't match {_ORDER_PREFIX} list:\n{_go_map(order)}\n"
            )
            raise _server_error(text)


def _identity(value: Any, key: str) -> Any:
    """Return by what an item is recognized: the value of the merge key, or the item itself."""
    if not key:
        return value
    if not isinstance(value, dict):
        raise _server_error(
            f"expected a map[string]interface {{}}, but received a {_go_map(value)}"
        )
    if key not in value:
        raise _no_key(value, key)
    return value[key]


def _find(items: list[Any], key: str, identity: Any) -> int | None:
    for position, it in enumerate(items):
        if isinstance(it, dict) and key in it and equal(it[key], identity):
            return position
    return None


def _merge_list(original: list[Any], patch: list[Any], strategy: _Strategy) -> list[Any]:
    if not original and not patch:
        return original
    if not all(isinstance(it, dict) for it in (*original, *patch)):
        return _merge_primitives(original, patch)
    if not strategy.key:
        raise _server_error(
            f"cannot merge lists without merge key for {strategy.type.name.rpartition('.')[2]}"
        )
    before = list(original)
    changes = []
    replace = False
    for it in patch:
        match it.get(_PATCH, _PATCH):
            case "$patch":
                changes.append(it)
            case "delete":
                identity = _identity(it, strategy.key)
                original = [old for old in original if not equal(old.get(strategy.key), identity)]
            case "replace":
                replace = True
            case "merge":
                raise _server_error("merging lists cannot yet be specified in the patch")
            case directive:
                raise _bad_directive(directive, it)
    if replace:
        return changes
    for it in changes:
        position = _find(original, strategy.key, _identity(it, strategy.key))
        if position is None:
            original = [*original, _plain(it)]
        else:
            original[position] = _merge_map(original[position], it, strategy.type)
    return _ordered(original, changes, before, strategy.key)


def _merge_primitives(original: list[Any], patch: list[Any]) -> list[Any]:
    merged: list[Any] = []
    for it in (*original, *patch):
        if not _in(it, merged):
            merged.append(it)
    return _ordered(merged, patch, original, "")


def _ordered(merged: list[Any], wanted: list[Any], before: list[Any], key: str) -> list[Any]:
    """Bring a list into order: what the patch names as it says, the rest around it as it was on the server."""
    order = [_identity(it, key) for it in wanted]
    known = [_identity(it, key) for it in before]

    def place(value: Any, places: list[Any]) -> int:
        identity = _identity(value, key)
        return next((at for at, it in enumerate(places) if equal(it, identity)), len(places))

    named = sorted(
        (it for it in merged if place(it, order) < len(order)), key=lambda it: place(it, order)
    )
    others = sorted(
        (it for it in merged if place(it, order) == len(order)), key=lambda it: place(it, known)
    )
    result = []
    while named and others:
        other, mine = place(others[0], known), place(named[0], known)
        both_known = other < len(known) and mine < len(known)
        result.append(others.pop(0) if both_known and other < mine else named.pop(0))
    return [*result, *named, *others]
