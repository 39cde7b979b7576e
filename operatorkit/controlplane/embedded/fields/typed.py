"""Walking values of a type: check, fields of, merge, compare, remove.

Guarantees: nothing here changes its arguments; results may share parts with them, so copy before changing those.

Source: https://github.com/kubernetes-sigs/structured-merge-diff (the results, not the code)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from operatorkit.controlplane.embedded.errors.go_text import shown, type_name
from operatorkit.controlplane.embedded.fields import sets
from operatorkit.controlplane.embedded.fields.schema import ListType, MapType, Scalar, TypeSchema
from operatorkit.controlplane.embedded.fields.sets import FieldSet, Path

__all__ = [
    "ABSENT",
    "Comparison",
    "TypedError",
    "check",
    "compare",
    "equal",
    "fields_of",
    "merge",
    "remove",
    "with_named_fields",
]


class TypedError(ValueError):
    """A value does not have its type; the message says where and how."""


class _Absent(Enum):
    ABSENT = "absent"


ABSENT: Final = _Absent.ABSENT
"""No value at all, which is not the same as null."""

_Form = Scalar | ListType | MapType


def _form(schema: TypeSchema, value: Any) -> _Form:
    """Return which form of a type a value takes; if none fits, the one that its message will be about."""
    if isinstance(value, str | int | float) and schema.scalar:
        return schema.scalar
    if isinstance(value, list) and schema.list:
        return schema.list
    if isinstance(value, dict) and schema.map:
        return schema.map
    form = schema.map or schema.scalar or schema.list
    if form is None:
        raise TypedError("schema error: invalid atom: inlined")
    return form


def equal(left: Any, right: Any) -> bool:
    """Whether two JSON values are equal; unlike in Python, true is not 1."""
    if isinstance(left, dict):
        return (
            isinstance(right, dict)
            and left.keys() == right.keys()
            and all(equal(value, right[name]) for name, value in left.items())
        )
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(map(equal, left, right))
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)


def element_of(items: ListType, value: Any) -> str:
    """Return the path element of an item of an associative list or a set."""
    if not items.keys:
        match value:
            case dict():
                raise TypedError("associative list without keys has an element that's a map type")
            case list():
                raise TypedError("not supported: associative list with lists as elements")
            case None:
                raise TypedError(
                    "associative list without keys has an element that's an explicit null"
                )
        return sets.item(value)
    if value is None:
        raise TypedError("associative list with keys may not have a null element")
    if not isinstance(value, dict):
        raise TypedError("associative list with keys may not have non-map elements")
    keys = {}
    for name in items.keys:
        declared = items.items.map.fields.get(name) if items.items.map else None
        if name in value:
            keys[name] = value[name]
        elif declared and declared.default is not None:
            keys[name] = declared.default
    if not keys:
        names = " ".join(f'"{name}"' for name in items.keys)
        raise TypedError(
            f"associative list with keys has an element that omits all key fields [{names}]"
            " (and doesn't have default values for any key fields)"
        )
    return sets.key(keys)


# ---------------------------------------------------------------------------------------------------------------- check


def check(schema: TypeSchema, value: Any, *, duplicates: bool = False) -> None:
    """Raise TypedError unless a value has the type. With `duplicates`, lists may have several items of one key."""
    errors = list(_errors(schema, value, (), duplicates))
    if len(errors) == 1:
        raise TypedError(errors[0])
    if errors:
        raise TypedError("\n".join(["errors:", *(f"  {it}" for it in errors)]))


def _error(path: Path, text: str) -> str:
    return f"{sets.path_text(path)}: {text}" if path else text


def _errors(schema: TypeSchema, value: Any, path: Path, duplicates: bool) -> Iterator[str]:
    form = _form(schema, value)
    if isinstance(form, MapType):
        if value is not None and not isinstance(value, dict):
            yield _error(path, f"expected map, got &{{{shown(value)}}}")
        for name, it in (value or {}).items() if isinstance(value, dict) else ():
            below = (*path, sets.field(name))
            type_ = form.at(name)
            if type_ is None:
                yield _error(below, "field not declared in schema")
                return
            yield from _errors(type_, it, below, duplicates)
    elif isinstance(form, ListType):
        if value is not None and not isinstance(value, list):
            yield _error(path, f"expected list, got &{{{shown(value)}}}")
        else:
            yield from _list_errors(form, value or [], path, duplicates)
    elif value is not None:
        yield from _scalar_errors(form, value, path)


def _list_errors(form: ListType, value: list[Any], path: Path, duplicates: bool) -> Iterator[str]:
    seen = set()
    for position, it in enumerate(value):
        element = sets.index(position)
        if not form.atomic:
            try:
                element = element_of(form, it)
            except TypedError as error:
                yield _error(path, f"element {position}: {error}")
                return
            if element in seen and not duplicates:
                yield _error(path, f"duplicate entries for key {sets.path_text((element,))}")
            seen.add(element)
        yield from _errors(form.items, it, (*path, element), duplicates)


def _scalar_errors(scalar: Scalar, value: Any, path: Path) -> Iterator[str]:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match scalar:
        case "numeric" if not number:
            yield _error(path, f"expected numeric (int or float), got {type_name(value)}")
        case "string" if not isinstance(value, str):
            yield _error(
                path,
                f"expected string, got &value.valueUnstructured{{Value:{sets.value_text(value)}}}",
            )
        case "boolean" if not isinstance(value, bool):
            yield _error(path, f"expected boolean, got &{{{shown(value)}}}")
        case "untyped" if not isinstance(value, str | int | float):
            yield _error(path, f"expected any scalar, got &{{{shown(value)}}}")


# ------------------------------------------------------------------------------------------------------------ fields of


def fields_of(schema: TypeSchema, value: Any) -> FieldSet:
    """Return every leaf of a value, every item of its lists and every entry of its open maps."""
    result = FieldSet()
    _collect(schema, value, (), result)
    return result


def _collect(schema: TypeSchema, value: Any, path: Path, result: FieldSet) -> None:
    form = _form(schema, value)
    if isinstance(form, str) or form.atomic:
        result.insert(path)
    elif isinstance(form, MapType) and isinstance(value, dict):
        for name, it in value.items():
            below = (*path, sets.field(name))
            type_ = form.at(name)
            if type_ is not None:
                _collect(type_, it, below, result)
            if it is None or it == {} or name not in form.fields:
                result.insert(below)
    elif isinstance(form, ListType) and isinstance(value, list):
        elements = [element_of(form, it) for it in value]
        for element, it in zip(elements, value, strict=True):
            below = (*path, element)
            if elements.count(element) == 1:
                _collect(form.items, it, below, result)
            result.insert(below)


# ---------------------------------------------------------------------------------------------------------------- merge


def merge(schema: TypeSchema, live: Any, applied: Any) -> Any:
    """Return `live` with everything that `applied` says; nothing is removed. Either may be ABSENT.

    Lists merged by key come in the order of `live` where `applied` does not say otherwise, else in that of `applied`.
    """
    form = _form(schema, live if applied is ABSENT else applied)
    if isinstance(form, str):
        return live if applied is ABSENT else applied
    kind: type[Any] = dict if isinstance(form, MapType) else list
    left: Any = live if isinstance(live, kind) else kind()
    right: Any = applied if isinstance(applied, kind) else kind()
    if form.atomic or (not left and not right):
        return live if applied is ABSENT else applied
    if isinstance(form, MapType):
        return _merge_map(form, left, right) or ABSENT
    return _merge_list(form, left, right) or ABSENT


def _merge_map(form: MapType, live: dict[str, Any], applied: dict[str, Any]) -> dict[str, Any]:
    result = {}
    for name in (*live, *(it for it in applied if it not in live)):
        type_ = form.at(name)
        if type_ is None:
            raise TypedError(f".{name}: field not declared in schema")
        merged = merge(type_, live.get(name, ABSENT), applied.get(name, ABSENT))
        if merged is not ABSENT:
            result[name] = merged
    return result


@dataclass(slots=True)
class _Side:
    """The items of one side of a merge by key; an item whose key is there twice cannot be merged with another."""

    elements: list[str]
    values: dict[str, Any]

    @classmethod
    def of(cls, form: ListType, items: list[Any]) -> _Side:
        elements = [element_of(form, it) for it in items]
        values: dict[str, Any] = {}
        for element, it in zip(elements, items, strict=True):
            values[element] = None if element in values else it
        return cls(elements, values)


def _merge_list(form: ListType, live: list[Any], applied: list[Any]) -> list[Any]:
    """Merge by key, walking both lists at once, so that the order of each is kept where it can be."""
    left, right = _Side.of(form, live), _Side.of(form, applied)
    shared = [it for it in right.elements if it in left.values]
    next_shared = iter([*shared[1:], None]) if shared else iter([None])
    wanted = shared[0] if shared else None
    merged: set[str] = set()
    result: list[Any] = []

    def take(old: Any, new: Any) -> None:
        value = merge(form.items, old, new)
        if value is not ABSENT:
            result.append(value)

    at_left = at_right = 0
    while at_left < len(left.elements) or at_right < len(right.elements):
        mine = left.elements[at_left] if at_left < len(left.elements) else None
        theirs = right.elements[at_right] if at_right < len(right.elements) else None
        if mine is not None and theirs is not None:
            if mine == theirs:
                merged.add(mine)
                take(left.values[mine], right.values[mine])
                at_left, at_right, wanted = at_left + 1, at_right + 1, next(next_shared, None)
                continue
            if mine in right.values and wanted is not None and wanted != mine:
                at_left += 1
                continue
        if mine is not None:
            if mine not in right.values:
                take(live[at_left], ABSENT)
                at_left += 1
                continue
            if mine in merged:
                at_left += 1
        if theirs is not None:
            merged.add(theirs)
            take(left.values.get(theirs, ABSENT), right.values[theirs])
            at_right += 1
            if wanted == theirs:
                wanted = next(next_shared, None)
    return result


# -------------------------------------------------------------------------------------------------------------- compare


@dataclass(slots=True)
class Comparison:
    """What differs between two values, as sets of paths."""

    removed: FieldSet = field(default_factory=FieldSet)
    modified: FieldSet = field(default_factory=FieldSet)
    added: FieldSet = field(default_factory=FieldSet)


def compare(schema: TypeSchema, old: Any, new: Any) -> Comparison:
    """Return what has to be removed from, changed in and added to `old` to get `new`."""
    result = Comparison()
    _compare(schema, old, new, (), result)
    return result


def _compare(schema: TypeSchema, old: Any, new: Any, path: Path, result: Comparison) -> None:
    if isinstance(new, dict | list) and old == new and equal(old, new):
        return  # most of an object is as it was: no need to walk it by its type
    if new is ABSENT:
        leaf = _compare_as(_form(schema, old), old, new, path, result)
    else:
        form = _form(schema, new)
        if old is not ABSENT and (other := _form(schema, old)) is not form and other != form:
            _compare_as(other, old, new, path, result)
        leaf = _compare_as(form, old, new, path, result)
    if not leaf:
        if old is ABSENT:
            result.added.insert(path)
        elif new is ABSENT:
            result.removed.insert(path)


def _compare_as(form: _Form, old: Any, new: Any, path: Path, result: Comparison) -> bool:
    """Compare two values as one form; return whether they were compared as a whole."""
    if isinstance(form, MapType):
        left, right = (it if isinstance(it, dict) else {} for it in (old, new))
        if not form.atomic and (left or right):
            for name in (*left, *(it for it in right if it not in left)):
                type_ = form.at(name)
                if type_ is None:
                    raise TypedError(
                        _error((*path, sets.field(name)), "field not declared in schema")
                    )
                below = (*path, sets.field(name))
                _compare(type_, left.get(name, ABSENT), right.get(name, ABSENT), below, result)
            return False
    elif isinstance(form, ListType):
        before, after = (it if isinstance(it, list) else [] for it in (old, new))
        if not form.atomic and (before or after):
            _compare_lists(form, before, after, path, result)
            return False
    if old is ABSENT:
        result.added.insert(path)
    elif new is ABSENT:
        result.removed.insert(path)
    elif not equal(old, new):
        result.modified.insert(path)
    return True


def _grouped(form: ListType, items: list[Any]) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = {}
    for it in items:
        groups.setdefault(element_of(form, it), []).append(it)
    return groups


def _compare_lists(
    form: ListType, old: list[Any], new: list[Any], path: Path, result: Comparison
) -> None:
    """Compare item by item; items that share a key are compared as one."""
    before, after = _grouped(form, old), _grouped(form, new)
    for element in (*before, *(it for it in after if it not in before)):
        left, right = before.get(element, []), after.get(element, [])
        below = (*path, element)
        if len(left) <= 1 and len(right) <= 1:
            _compare(
                form.items,
                left[0] if left else ABSENT,
                right[0] if right else ABSENT,
                below,
                result,
            )
        elif len(left) > 1 and len(right) > 1:
            if not equal(left, right):
                result.modified.insert(below)
        elif len(left) > 1:
            if right:
                _compare(form.items, ABSENT, right[0], below, result)
            result.removed.insert(below)
        else:
            if left:
                _compare(form.items, left[0], ABSENT, below, result)
            result.added.insert(below)


# --------------------------------------------------------------------------------------------------------------- remove


def remove(schema: TypeSchema, value: Any, unwanted: FieldSet) -> Any:
    """Return a value without some items of lists and entries of maps; None where nothing is left."""
    form = _form(schema, value)
    if isinstance(form, MapType) and isinstance(value, dict) and not form.atomic:
        return _remove_entries(form, value, unwanted) or None
    if isinstance(form, ListType) and isinstance(value, list) and not form.atomic:
        return _remove_items(form, value, unwanted) or None
    return value if isinstance(form, str) else None


def _remove_entries(form: MapType, value: dict[str, Any], unwanted: FieldSet) -> dict[str, Any]:
    result = {}
    for name, it in value.items():
        element = sets.field(name)
        if element in unwanted.members:
            continue
        type_, below = form.at(name), unwanted.below(element)
        # What is left of a value that loses all its parts is null, as it is in a real server.
        result[name] = remove(type_, it, below) if below and type_ is not None else it
    return result


def _remove_items(form: ListType, value: list[Any], unwanted: FieldSet) -> list[Any]:
    result = []
    for it in value:
        element = element_of(form, it)
        if element in unwanted.members:
            continue
        below = unwanted.below(element)
        result.append(remove(form.items, it, below) if below else it)
    return result


def with_named_fields(schema: TypeSchema | None, fields: FieldSet) -> FieldSet:
    """Return a set with the declared fields in the middle of its paths as members, too."""
    members, children = set(fields.members), {}
    for element, child in fields.children.items():
        below: TypeSchema | None = None
        if element[0] == "f" and schema and schema.map:
            below = schema.map.at(element[2:])
            if element[2:] in schema.map.fields:
                members.add(element)
        elif element[0] == "k" and schema and schema.list:
            below = schema.list.items
        children[element] = with_named_fields(below, child)
    return FieldSet(members, children)
