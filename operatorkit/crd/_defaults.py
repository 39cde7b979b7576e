"""Defaults of fields, as the schema has them.

What belongs here: which of Python's defaults the API server shall fill in, and how they look in JSON. What does not:
filling them in (`operatorkit.crd._prune`).
"""

from __future__ import annotations

from typing import Annotated, Any, Protocol

from pydantic import BaseModel, PydanticSchemaGenerationError, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from operatorkit.crd import _prune, official
from operatorkit.crd._node import parse
from operatorkit.crd.model import Model, written
from operatorkit.errors import DefinitionError

__all__ = ["default_of", "filled", "has_defaults"]


class _Place(Protocol):
    def error(self, found: str, remedy: str) -> DefinitionError: ...


def default_of(field: FieldInfo, schema: dict[str, Any], place: _Place) -> Any:
    """Return the default to put into the schema, or None.

    What is empty (None, "", [], {}) is the same as absent, and not written into every object. A model as default
    becomes what was set in it, or {} if the defaults inside of it shall take effect.
    """
    value = field.get_default(call_default_factory=True, validated_data={})
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
            f"the default {value!r} is not of the field's type", f"give it one that is ({error})"
        ) from error


def _annotated(field: FieldInfo) -> Any:
    if not field.metadata:
        return field.annotation
    return Annotated[(field.annotation, *field.metadata)]


def has_defaults(schema: dict[str, Any]) -> bool:
    """Tell whether an empty object of this schema would get a field by default."""
    return any("default" in child for child in schema.get("properties", {}).values())


def filled(value: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return the default of an object, complete where rules look at it.

    The API server fills the defaults inside of a default in when it applies it, but evaluates rules on it as it stands.
    """
    if _has_rules(schema):
        _prune.default(value, parse(schema))
    return value


def _has_rules(schema: dict[str, Any]) -> bool:
    return "x-kubernetes-validations" in schema or any(map(_has_rules, schema.get("properties", {}).values()))
