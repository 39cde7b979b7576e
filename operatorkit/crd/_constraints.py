"""Constraints and marks on a type, as keywords of its schema.

What belongs here: bounds, lengths, patterns, list and map types, rules. What does not: the types
themselves (`operatorkit.crd.schema`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from annotated_types import Ge, GroupedMetadata, Gt, Le, Len, Lt, MaxLen, MinLen, MultipleOf
from pydantic.fields import FieldInfo
from pydantic.types import StringConstraints

from operatorkit.crd._patterns import pattern_error
from operatorkit.crd._place import Place
from operatorkit.crd.markers import (
    Atomic,
    Embedded,
    ListMap,
    ListSet,
    Nullable,
    PreserveUnknown,
    Rule,
)
from operatorkit.crd.text import format_duration

__all__ = ["apply_marks", "flatten", "rules_of"]

Schema = dict[str, Any]

_LENGTHS = {
    "string": ("minLength", "maxLength"),
    "array": ("minItems", "maxItems"),
    "object": ("minProperties", "maxProperties"),
}


_BOUNDS: tuple[tuple[type, str, str, str, str], ...] = (
    (Ge, "ge", "minimum", "", ">="),
    (Gt, "gt", "minimum", "exclusiveMinimum", ">"),
    (Le, "le", "maximum", "", "<="),
    (Lt, "lt", "maximum", "exclusiveMaximum", "<"),
    (MultipleOf, "multiple_of", "multipleOf", "", "a multiple of"),
)
_INT64 = 2**63
_WORDS = {">=": "at least", ">": "more than", "<=": "at most", "<": "less than"}


def flatten(marks: Iterable[Any]) -> list[Any]:
    """Take grouped constraints apart, and those that pydantic keeps in a `Field(...)`."""
    flat: list[Any] = []
    for mark in marks:
        if isinstance(mark, FieldInfo):
            flat += [*flatten(mark.metadata), mark]
        elif isinstance(mark, StringConstraints):
            flat.append(mark)
        elif isinstance(mark, GroupedMetadata):
            flat += flatten(mark)
        else:
            flat.append(mark)
    return flat


def apply_marks(schema: Schema, marks: Sequence[Any], place: Place) -> None:
    """Add to a schema what the marks say. What is Python's alone, such as validators, says nothing."""
    for mark in marks:
        _bound(schema, mark, place)
        _length(schema, mark, place)
        _pattern(schema, mark, place)
        _structure(schema, mark, place)
    rules = rules_of([mark for mark in marks if isinstance(mark, Rule)], place)
    if rules:
        schema["x-kubernetes-validations"] = [*schema.get("x-kubernetes-validations", ()), *rules]


def _bound(schema: Schema, mark: Any, place: Place) -> None:
    for type_, attribute, keyword, exclusive, sign in _BOUNDS:
        if not isinstance(mark, type_):
            continue
        limit = getattr(mark, attribute)
        if isinstance(limit, timedelta):
            _duration_bound(schema, limit, sign)
        elif schema.get("type") in {"integer", "number"} and isinstance(limit, int | float):
            _check_precision(limit, sign, schema, place)
            schema[keyword] = limit
            if exclusive:
                schema[exclusive] = True
        else:
            raise place.error(
                f"the bound {sign} {limit!r} is set on something that is not a number",
                'use Field(min_length=...) for lengths, or a rule such as Rule("self > ...")',
            )


def _check_precision(limit: float, sign: str, schema: Schema, place: Place) -> None:
    """Raise DefinitionError for a bound that an API server, which keeps bounds as float64, makes another of.

    One that is rounded out of the range of int64 makes a real one reject every value, defaults
    included.
    """
    if not isinstance(limit, int):
        if not math.isfinite(limit):
            raise place.error(f"the bound {sign} {limit!r} is not a number in JSON", "leave it out")
        return
    kept = float(limit) if abs(limit) < 2**1023 else math.inf
    if kept == limit and (schema["type"] == "number" or -_INT64 <= kept < _INT64):
        return
    whole = (
        f"which the API server keeps as {kept:.0f}"
        if math.isfinite(kept)
        else "which no API server can keep"
    )
    raise place.error(
        f"the bound {sign} {limit} is a whole number of more than 53 bits, {whole}",
        "leave it out where it is that of an int64, which int always has, or write one that float64 can hold, such as "
        f"{_nearest(limit)}",
    )


def _nearest(limit: int) -> int:
    """Return the largest whole number in magnitude, at most `limit` and in int64, that float64 holds."""
    bounded = max(-_INT64, min(limit, _INT64 - 1))
    kept = float(bounded)
    if abs(int(kept)) > abs(bounded):
        kept = math.nextafter(kept, 0.0)
    return int(kept)


def _duration_bound(schema: Schema, limit: timedelta, sign: str) -> None:
    """Hold a duration, which is text to the API server, to a bound by a rule."""
    text = format_duration(limit)
    rule = {
        "rule": f"duration(self) {sign} duration('{text}')",
        "message": f"must be {_WORDS[sign]} {text}",
    }
    schema["x-kubernetes-validations"] = [*schema.get("x-kubernetes-validations", ()), rule]


def _length(schema: Schema, mark: Any, place: Place) -> None:
    shortest = longest = None
    if isinstance(mark, MinLen):
        shortest = mark.min_length
    elif isinstance(mark, MaxLen):
        longest = mark.max_length
    elif isinstance(mark, Len):
        shortest, longest = mark.min_length or None, mark.max_length
    elif isinstance(mark, StringConstraints):
        shortest, longest = mark.min_length, mark.max_length
    if shortest is None and longest is None:
        return
    names = _LENGTHS.get(schema.get("type", ""))
    if names is None:
        raise place.error(
            "a length is set on a value without length", "only str, list and dict have a length"
        )
    schema.update(
        {
            name: limit
            for name, limit in zip(names, (shortest, longest), strict=True)
            if limit is not None
        }
    )


def _pattern(schema: Schema, mark: Any, place: Place) -> None:
    pattern = getattr(mark, "pattern", None)
    if pattern is None or isinstance(mark, FieldInfo):
        return
    text = pattern if isinstance(pattern, str) else pattern.pattern
    problem = pattern_error(text)
    if problem is not None:
        raise place.error(
            f"the pattern {text!r} is not supported by the API server ({problem})",
            "write it in RE2, which has no look-around and no back-references",
        )
    schema["pattern"] = text


def _structure(schema: Schema, mark: Any, place: Place) -> None:
    if isinstance(mark, Nullable):
        schema["nullable"] = True
    elif isinstance(mark, PreserveUnknown):
        if schema.get("type") != "object":
            raise place.error(
                "PreserveUnknown is set on a value without fields",
                "use it on a dict or on a model",
            )
        schema["x-kubernetes-preserve-unknown-fields"] = True
    elif isinstance(mark, Embedded) and not schema.get("x-kubernetes-embedded-resource"):
        raise place.error(
            "Embedded is set on something that is not an object",
            "use Annotated[dict[str, Any], Embedded()]",
        )
    elif isinstance(mark, Atomic):
        key = {"array": "x-kubernetes-list-type", "object": "x-kubernetes-map-type"}.get(
            schema.get("type", "")
        )
        if key is None:
            raise place.error(
                "Atomic is set on a single value", "single values are atomic: leave it out"
            )
        schema[key] = "atomic"
    elif isinstance(mark, ListSet):
        _list_set(schema, place)
    elif isinstance(mark, ListMap):
        _list_map(schema, mark, place)


def _list_set(schema: Schema, place: Place) -> None:
    if schema.get("type") != "array":
        raise place.error(
            "ListSet is set on something that is not a list", "use it on list[str] or list[int]"
        )
    items = schema["items"]
    if items.get("type") == "object" and items.get("x-kubernetes-map-type") != "atomic":
        raise place.error(
            "ListSet is set on a list of objects",
            "use ListMap with the fields that distinguish them",
        )
    schema["x-kubernetes-list-type"] = "set"


def _list_map(schema: Schema, mark: ListMap, place: Place) -> None:
    items = schema.get("items", {})
    properties = items.get("properties", {})
    if schema.get("type") != "array" or items.get("type") != "object":
        raise place.error(
            "ListMap is set on something that is not a list of objects", "use it on list[YourModel]"
        )
    if not mark.keys:
        raise place.error(
            "ListMap names no key", 'name the fields that distinguish items: ListMap("name")'
        )
    for key in mark.keys:
        if key not in properties:
            raise place.error(
                f"ListMap names {key!r}, which the items do not have",
                f"they have {', '.join(properties)}",
            )
        if key not in items.get("required", ()) and "default" not in properties[key]:
            raise place.error(
                f"the key {key!r} of ListMap may be absent",
                "give the field no default, or one that is not empty",
            )
    schema["x-kubernetes-list-type"] = "map"
    schema["x-kubernetes-list-map-keys"] = list(mark.keys)


def rules_of(rules: Iterable[Rule], place: Place) -> list[Schema]:
    """Return rules as `x-kubernetes-validations` has them."""
    return [_rule(rule, place) for rule in rules]


def _rule(rule: Rule, place: Place) -> Schema:
    text = rule.rule.strip()
    if not text:
        raise place.error("a rule is empty", 'write it in CEL: Rule("self.min <= self.max")')
    if "\n" in text and not rule.message:
        raise place.error("a rule of several lines has no message", "add message=")
    if "\n" in rule.message.strip():
        raise place.error("the message of a rule has several lines", "write it in one")
    written: Schema = {"rule": text}
    if rule.message:
        written["message"] = rule.message.strip()
    if rule.message_expression:
        written["messageExpression"] = rule.message_expression
    if rule.reason is not None:
        written["reason"] = rule.reason
    if rule.field_path:
        written["fieldPath"] = rule.field_path
    if rule.optional_old_self is not None:
        written["optionalOldSelf"] = rule.optional_old_self
    return written
