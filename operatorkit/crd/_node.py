"""A structural schema, taken apart once so that objects can be checked against it many times.

What belongs here: the parsed form of an OpenAPI v3 schema. What does not: whether it is structural
(`operatorkit.crd._check`) and what is done with it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["METADATA_FIELDS", "Node", "kind_error", "parse"]

METADATA_FIELDS = frozenset({"apiVersion", "kind", "metadata"})

# Formats that CRDs may use; others are ignored. Dashes in names do not count.
_STRING_FORMATS = frozenset(
    [
        "bsonobjectid",
        "uri",
        "email",
        "hostname",
        "ipv4",
        "ipv6",
        "cidr",
        "mac",
        "uuid",
        "uuid3",
        "uuid4",
        "uuid5",
        "isbn",
        "isbn10",
        "isbn13",
        "creditcard",
        "ssn",
        "hexcolor",
        "rgbcolor",
        "byte",
        "password",
        "date",
        "duration",
        "datetime",
        "k8sshortname",
        "k8slongname",
    ]
)
_FORMATS = {
    "integer": frozenset({"int32", "int64"}),
    "number": frozenset({"float", "double"}),
    "string": _STRING_FORMATS,
    "": _STRING_FORMATS,
}


# What each keyword must be, in the words of the API; what is something else has no meaning.
_KINDS: dict[str, tuple[type, ...]] = {
    "a string": (str,),
    "true or false": (bool,),
    "a number": (int, float),
    "an integer": (int,),
    "a list": (list,),
    "an object": (Mapping,),
}
_KEYWORDS = {
    "a string": "type format pattern title description id $schema $ref x-kubernetes-list-type x-kubernetes-map-type",
    "true or false": "nullable exclusiveMaximum exclusiveMinimum uniqueItems x-kubernetes-int-or-string "
    "x-kubernetes-embedded-resource x-kubernetes-preserve-unknown-fields",
    "a number": "maximum minimum multipleOf",
    "an integer": "maxLength minLength maxItems minItems maxProperties minProperties",
    "a list": "enum required allOf anyOf oneOf x-kubernetes-list-map-keys x-kubernetes-validations",
    "an object": "properties patternProperties definitions dependencies not",
}
_KIND_OF = {keyword: kind for kind, keywords in _KEYWORDS.items() for keyword in keywords.split()}


def kind_error(keyword: str, value: Any) -> str | None:
    """Say what a keyword's value must be, or None when it is that; null is the same as absent."""
    kind = _KIND_OF.get(keyword)
    if kind is None or value is None:
        return None
    if isinstance(value, bool) and kind != "true or false":
        return kind
    return None if isinstance(value, _KINDS[kind]) else kind


@dataclass(slots=True)
class Node:
    """One schema. Empty `types` means any; `int-or-string` has two."""

    types: tuple[str, ...] = ()
    nullable: bool = False
    format: str = ""
    default: Any = None
    enum: list[Any] = field(default_factory=list)
    maximum: float | None = None
    exclusive_maximum: bool = False
    minimum: float | None = None
    exclusive_minimum: bool = False
    multiple_of: float | None = None
    max_length: int | None = None
    min_length: int | None = None
    pattern: str = ""
    max_items: int | None = None
    min_items: int | None = None
    unique_items: bool = False
    max_properties: int | None = None
    min_properties: int | None = None
    required: tuple[str, ...] = ()
    items: Node | None = None
    properties: dict[str, Node] = field(default_factory=dict)
    has_additional: bool = False
    additional_forbidden: bool = False
    additional: Node | None = None
    all_of: tuple[Node, ...] = ()
    any_of: tuple[Node, ...] = ()
    one_of: tuple[Node, ...] = ()
    negated: Node | None = None
    preserve_unknown: bool = False
    embedded: bool = False
    list_type: str = ""
    list_map_keys: tuple[str, ...] = ()
    rules: tuple[Mapping[str, Any], ...] = ()


def parse(schema: Any, *, of_default: bool = False) -> Node:
    """Take a schema apart. Keywords of wrong types are ignored: `check` reports them.

    The API server checks defaults by a slightly different reading of the schema (`of_default`):
    formats that it does not know still count, and int-or-string is not a type.
    """
    schema = schema if isinstance(schema, Mapping) else {}
    schema = {keyword: value for keyword, value in schema.items() if not kind_error(keyword, value)}
    type_ = schema.get("type") or ""
    types: tuple[str, ...] = (type_,) if type_ else ()
    if schema.get("x-kubernetes-int-or-string") and not of_default:
        types = ("integer", "string")
    format_ = schema.get("format") or ""
    below = functools.partial(parse, of_default=of_default)
    additional = schema.get("additionalProperties")
    return Node(
        types=types,
        nullable=bool(schema.get("nullable")),
        format=format_ if of_default else _supported_format(format_, types),
        default=schema.get("default"),
        enum=schema.get("enum") or [],
        maximum=_as_float64(schema.get("maximum")),
        exclusive_maximum=bool(schema.get("exclusiveMaximum")),
        minimum=_as_float64(schema.get("minimum")),
        exclusive_minimum=bool(schema.get("exclusiveMinimum")),
        multiple_of=schema.get("multipleOf"),
        max_length=schema.get("maxLength"),
        min_length=schema.get("minLength"),
        pattern=schema.get("pattern") or "",
        max_items=schema.get("maxItems"),
        min_items=schema.get("minItems"),
        unique_items=bool(schema.get("uniqueItems")),
        max_properties=schema.get("maxProperties"),
        min_properties=schema.get("minProperties"),
        required=tuple(schema.get("required") or ()),
        items=below(schema["items"]) if isinstance(schema.get("items"), Mapping) else None,
        properties={name: below(each) for name, each in (schema.get("properties") or {}).items()},
        has_additional=additional is not None,
        additional_forbidden=additional is False,
        additional=below(additional) if isinstance(additional, Mapping) else None,
        all_of=tuple(map(below, schema.get("allOf") or ())),
        any_of=tuple(map(below, schema.get("anyOf") or ())),
        one_of=tuple(map(below, schema.get("oneOf") or ())),
        negated=below(schema["not"]) if isinstance(schema.get("not"), Mapping) else None,
        preserve_unknown=bool(schema.get("x-kubernetes-preserve-unknown-fields")),
        embedded=bool(schema.get("x-kubernetes-embedded-resource")),
        list_type=schema.get("x-kubernetes-list-type") or "",
        list_map_keys=tuple(schema.get("x-kubernetes-list-map-keys") or ()),
        rules=tuple(
            rule
            for rule in schema.get("x-kubernetes-validations") or ()
            if isinstance(rule, Mapping)
        ),
    )


def _as_float64(bound: Any) -> Any:
    """Return a bound as the API server keeps it: a whole number of more than 53 bits is rounded.

    One that is rounded out of the range of int64 rejects every value.
    """
    # Go decodes JSON numbers of a schema into *float64 (apiextensions v1.JSONSchemaProps), whose
    # mantissa has 53 bits; Python keeps integers exact, so the loss is made here.
    if not isinstance(bound, int) or abs(bound) >= 2**1023:
        return bound
    rounded = float(bound)
    return bound if rounded == bound else rounded


def _supported_format(name: str, types: tuple[str, ...]) -> str:
    known = _FORMATS.get(types[0] if len(types) == 1 else "", frozenset())
    return name if name.replace("-", "") in known else ""
