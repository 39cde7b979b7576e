"""Defaults of fields, as the schema has them.

What belongs here: which of Python's defaults the API server shall fill in, and how they look in
JSON. What does not: filling them in (`operatorkit.crd._prune`).
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any

from pydantic import BaseModel, PydanticSchemaGenerationError, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from operatorkit.crd import _prune, official
from operatorkit.crd._node import parse
from operatorkit.crd._place import Place
from operatorkit.crd.model import Model, written

__all__ = ["default_of", "filled", "has_defaults"]

_CALLS = 8  # of a factory: two readings of a clock may be the same


def default_of(field: FieldInfo, schema: dict[str, Any], place: Place) -> Any:
    """Return the default to put into the schema, or None.

    What is empty (None, "", [], {}) is the same as absent, and not written into every object. A
    model as default becomes what was set in it, or {} if the defaults inside of it shall take
    effect.

    Raises DefinitionError for a value that is not of the field's type, and for a factory whose
    values differ.
    """
    value = _value_of(field, place)
    if value is PydanticUndefined or value is None:
        return None
    if isinstance(value, Model):
        data = written(value)
        return filled(data, schema) if data or has_defaults(schema) else None
    if isinstance(value, BaseModel):
        return official.plain(value) or None
    if value in ("", [], {}):
        return None
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(_annotated(field))
        return adapter.dump_python(value, mode="json", by_alias=True, warnings="error")
    except (PydanticSchemaGenerationError, ValueError) as error:
        raise place.error(
            f"the default {value!r} is not of the field's type",
            f"write a default of that type ({error})",
        ) from error


def _value_of(field: FieldInfo, place: Place) -> Any:
    """Return a field's default; that of a factory only if it always gives the same.

    The API server fills one value into all objects, for as long as the definition stands.
    """
    factory = field.default_factory
    if factory is None:
        return field.get_default()
    remedy = "write a default, or make the field optional and set it where objects are reconciled or mutated"
    if field.default_factory_takes_validated_data:
        raise place.error(
            "its default_factory takes the values of other fields, which a definition cannot express",
            remedy,
        )
    try:
        first, *others = [
            field.get_default(call_default_factory=True, validated_data={}) for _ in range(_CALLS)
        ]
    except Exception as error:
        raise place.error(
            f"its default_factory failed ({type(error).__name__}: {error})", remedy
        ) from error
    if any(other != first for other in others) or getattr(factory, "__self__", None) in {
        date,
        datetime,
    }:
        raise place.error(
            f"its default_factory returns a different value each time (such as {first!r}), and "
            f"the definition would set this one in all objects",
            remedy,
        )
    return first


def _annotated(field: FieldInfo) -> Any:
    if not field.metadata:
        return field.annotation
    return Annotated[(field.annotation, *field.metadata)]


def has_defaults(schema: dict[str, Any]) -> bool:
    """Return whether an empty object of this schema would get a field by default."""
    return any("default" in child for child in schema.get("properties", {}).values())


def filled(value: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return the default of an object, complete where rules look at it.

    The API server fills the defaults inside of a default in when it applies it, but evaluates rules
    on it as it stands.
    """
    if _has_rules(schema):
        _prune.default(value, parse(schema))
    return value


def _has_rules(schema: dict[str, Any]) -> bool:
    return "x-kubernetes-validations" in schema or any(
        map(_has_rules, schema.get("properties", {}).values())
    )
