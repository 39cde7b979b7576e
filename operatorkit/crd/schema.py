"""Structural schemas from pydantic models.

What belongs here: what each Python type means in OpenAPI v3 as custom resources have it: no `$ref`,
no tuples, and never more than the API server can hold to. What does not: constraints and marks
(`operatorkit.crd._constraints`), unions (`operatorkit.crd._unions`), Kubernetes' own types
(`operatorkit.crd._builtin`) and the manifest around a schema (`operatorkit.crd.definition`).
"""

from __future__ import annotations

import enum
import inspect
import ipaddress
import types
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import AnyUrl, Base64Bytes, BaseModel
from pydantic.fields import FieldInfo

from operatorkit.crd import official
from operatorkit.crd._builtin import official_part, schema_of_official
from operatorkit.crd._constraints import apply_marks, flatten, rules_of
from operatorkit.crd._defaults import default_of
from operatorkit.crd._place import Place
from operatorkit.crd._unions import discriminated, merged
from operatorkit.crd.fields import SchemaOf
from operatorkit.crd.markers import Atomic, Embedded, ListMap, ListSet, PreserveUnknown
from operatorkit.crd.model import Model

__all__ = ["Place", "description_of", "field_schema", "in_order", "official_part", "schema_of"]

Schema = dict[str, Any]

_SCALARS: dict[type, Schema] = {
    bool: {"type": "boolean"},
    int: {"type": "integer", "format": "int64"},
    float: {"type": "number"},
    str: {"type": "string"},
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
    uuid.UUID: {"type": "string", "format": "uuid"},
    ipaddress.IPv4Address: {"type": "string", "format": "ipv4"},
    ipaddress.IPv6Address: {"type": "string", "format": "ipv6"},
    ipaddress.IPv4Network: {"type": "string", "format": "cidr"},
    ipaddress.IPv6Network: {"type": "string", "format": "cidr"},
    AnyUrl: {"type": "string", "format": "uri"},
}
_REMEDIES: dict[Any, str] = {
    timedelta: "use operatorkit.resource.Duration, which is written as 1h30m",
    Decimal: "use operatorkit.resource.Quantity, or str with a pattern",
    bytes: "use pydantic.Base64Bytes: JSON has no bytes",
    time: "use str with a pattern",
    tuple: "use list[...], or a model with a field for each part: custom resources have no tuples",
    set: "use Annotated[list[...], ListSet()]: JSON has no sets, and their order would differ from run to run",
    frozenset: "use Annotated[list[...], ListSet()]: JSON has no sets, and their order would differ from run to run",
    complex: "use two numbers",
}
_LISTS = (list, Sequence)
_MAPPINGS = (dict, Mapping)


def schema_of(model: type[BaseModel], place: Place) -> Schema:
    """Return the schema of a model's objects. Raises DefinitionError."""
    if model in place.models:
        raise place.error(
            f"{model.__name__} contains itself",
            "a schema cannot be recursive: use Annotated[dict[str, Any], PreserveUnknown()] at some depth",
        )
    place = replace(place, models=(*place.models, model))
    schema: Schema = {"type": "object"}
    description = description_of(model)
    if description:
        schema["description"] = description
    properties: Schema = {}
    required = []
    for name, field in model.model_fields.items():
        if field.exclude or not _is_in_schemas(model, name):
            continue
        key = field.serialization_alias or field.alias or name
        if key in properties:
            raise place.error(
                f"two fields of {model.__name__} are {key} in JSON",
                f"rename {name}, or the other one",
            )
        properties[key] = field_schema(field, place.below(key))
        if field.is_required():
            required.append(key)
    if properties:
        schema["properties"] = properties
    else:
        schema["x-kubernetes-preserve-unknown-fields"] = True
    if required:
        schema["required"] = required
    if issubclass(model, Model):
        if model.atomic:
            schema["x-kubernetes-map-type"] = "atomic"
        rules = rules_of(model.class_rules, place)
        if rules:
            schema["x-kubernetes-validations"] = rules
    return in_order(schema)


def _is_in_schemas(model: type[BaseModel], name: str) -> bool:
    only = getattr(model, "_in_schemas", None)
    return only is None or name in only


def description_of(model: type) -> str:
    """Return what a class says about itself, and not what it inherits."""
    return inspect.cleandoc(model.__dict__.get("__doc__") or "")


def field_schema(field: FieldInfo, place: Place) -> Schema:
    """Return the schema of a field, with its description and its default. Raises DefinitionError."""
    schema = _type(
        field.annotation,
        [*flatten(field.metadata), *([field] if field.discriminator else ())],
        place,
    )
    if field.description:
        schema["description"] = inspect.cleandoc(field.description)
    default = default_of(field, schema, place)
    if default is not None:
        schema["default"] = default
    if isinstance(field.json_schema_extra, dict):
        schema.update(field.json_schema_extra)
    return in_order(schema)


def _type(annotation: Any, marks: list[Any], place: Place) -> Schema:
    """Return the schema of a type with the constraints and marks that stand on it."""
    annotation, more = _unwrapped(annotation)
    marks = [*more, *marks]
    choices = get_args(annotation) if get_origin(annotation) in {Union, types.UnionType} else ()
    if type(None) in choices:
        rest = tuple(choice for choice in choices if choice is not type(None))
        return _type(rest[0] if len(rest) == 1 else Union[rest], marks, place)  # noqa: UP007 - built at run time
    replacement = next((mark for mark in reversed(marks) if isinstance(mark, SchemaOf)), None)
    discriminator = next(
        (mark.discriminator for mark in marks if isinstance(mark, FieldInfo)), None
    )
    if discriminator is not None:
        schema = discriminated(annotation, discriminator, place, schema_of)
    elif replacement is not None:
        schema = dict(replacement.schema)
    elif choices:
        schema = _union(choices, place)
    else:
        schema = _plain(annotation, marks, place)
    description = next(
        (mark.description for mark in marks if isinstance(mark, FieldInfo) and mark.description),
        None,
    )
    if description:
        schema["description"] = inspect.cleandoc(description)
    apply_marks(schema, marks, place)
    return in_order(schema)


def _unwrapped(annotation: Any) -> tuple[Any, list[Any]]:
    """Take `Annotated` and type aliases off; return the type and the marks."""
    marks: list[Any] = []
    while True:
        if hasattr(annotation, "__metadata__"):
            marks = [*flatten(annotation.__metadata__), *marks]
            annotation = annotation.__origin__
        elif hasattr(annotation, "__value__") and not isinstance(annotation, type):
            annotation = annotation.__value__
        else:
            return annotation, marks


def _union(choices: Sequence[Any], place: Place) -> Schema:
    if set(choices) == {int, str}:
        return {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": True,
        }
    if set(choices) == {int, float}:
        return {"type": "number"}
    return merged([_type(choice, [], place) for choice in choices], choices, place)


def _plain(annotation: Any, marks: list[Any], place: Place) -> Schema:
    origin = get_origin(annotation) or annotation
    if annotation is Any or annotation is object:
        return {"x-kubernetes-preserve-unknown-fields": True}
    if isinstance(annotation, TypeVar):
        raise place.error(
            f"the type variable {annotation} was not filled in", "write the type in square brackets"
        )
    if _is_base64(annotation, marks):
        return {"type": "string", "format": "byte"}
    if origin is Literal:
        return _choice(list(get_args(annotation)), place)
    if origin in _LISTS:
        return _list(annotation, marks, place)
    if origin in _MAPPINGS:
        return _mapping(annotation, marks, place)
    if origin in _REMEDIES:
        raise place.error(f"{_name(annotation)} cannot be in a custom resource", _REMEDIES[origin])
    if inspect.isclass(annotation):
        return _class(annotation, place)
    raise place.error(
        f"{annotation!r} has no schema", "use a pydantic model, or a type that JSON has"
    )


def _class(type_: type[Any], place: Place) -> Schema:
    if official.is_official(type_):
        return (
            schema_of_official(type_, place)
            if place.official
            else {"x-kubernetes-preserve-unknown-fields": True}
        )
    if issubclass(type_, Model):
        return schema_of(type_, place)
    if issubclass(type_, BaseModel):
        raise place.error(
            f"{type_.__name__} is a plain pydantic model, which drops fields of newer versions",
            f"derive it from operatorkit.Model: class {type_.__name__}(Model)",
        )
    if issubclass(type_, enum.Enum):
        return _choice([member.value for member in type_], place)
    for scalar, schema in _SCALARS.items():
        if type_ is scalar or (
            scalar in {str, AnyUrl, int, float} and scalar is not bool and issubclass(type_, scalar)
        ):
            return dict(schema)
    raise place.error(
        f"{type_.__name__} has no schema", "use a pydantic model, or a type that JSON has"
    )


def _is_base64(annotation: Any, marks: list[Any]) -> bool:
    encoded = Base64Bytes.__metadata__[0]  # type: ignore[attr-defined]
    return annotation is bytes and encoded in marks


def _choice(values: list[Any], place: Place) -> Schema:
    kinds = {type(value) for value in values}
    if kinds == {str}:
        return {"type": "string", "enum": values}
    if kinds == {int}:
        return {"type": "integer", "enum": values}
    if kinds == {bool}:
        return {"type": "boolean", "enum": values}
    raise place.error(
        f"the choices {values!r} are of several types", "make them all str, or all int"
    )


def _list(annotation: Any, marks: list[Any], place: Place) -> Schema:
    arguments = get_args(annotation)
    if not arguments:
        raise place.error(
            f"{_name(annotation)} has no item type", "write list[str], or list[YourModel]"
        )
    schema: Schema = {"type": "array", "items": _type(arguments[0], [], place.at("[]"))}
    item = _unwrapped(arguments[0])[0]
    keys = item.list_map_keys if inspect.isclass(item) and issubclass(item, Model) else ()
    if keys and not any(isinstance(mark, Atomic | ListMap | ListSet) for mark in marks):
        apply_marks(schema, [ListMap(*keys)], place)
    return schema


def _mapping(annotation: Any, marks: list[Any], place: Place) -> Schema:
    if any(isinstance(mark, Embedded) for mark in marks):
        return {
            "type": "object",
            "x-kubernetes-embedded-resource": True,
            "x-kubernetes-preserve-unknown-fields": True,
        }
    key, value = get_args(annotation) or (str, Any)
    key = _unwrapped(key)[0]
    if key is not str:
        raise place.error(
            f"{_name(annotation)} has keys that are not str",
            "keys in JSON are strings: use dict[str, ...]",
        )
    if value is Any or any(isinstance(mark, PreserveUnknown) for mark in marks):
        return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {"type": "object", "additionalProperties": _type(value, [], place.at("{}"))}


def _name(annotation: Any) -> str:
    return (
        annotation.__name__
        if inspect.isclass(annotation) and not get_args(annotation)
        else str(annotation)
    )


_ORDER = (
    "description",
    "type",
    "format",
    "nullable",
    "default",
    "enum",
    "properties",
    "required",
    "items",
)


def in_order(schema: Schema) -> Schema:
    """Return a schema with its keywords in the one order in which they are always written."""
    first = {key: schema[key] for key in _ORDER if key in schema}
    return {**first, **{key: schema[key] for key in sorted(schema) if key not in first}}
