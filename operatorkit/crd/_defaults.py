"""Defaults of fields, as the schema has them.

What belongs here: which of Python's defaults the API server shall fill in, and how they look in JSON. What does not:
filling them in (`operatorkit.crd._prune`).
"""

from __future__ import annotations

from typing import Annotated, Any, Protocol

from pydantic import BaseModel, PydanticSchemaGenerationError, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from operatorkit.crd import official
from operatorkit.crd.model import Model, written
from operatorkit.errors import DefinitionError

__all__ = ["default_of"]


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
        return data if data or _has_defaults(schema) else None
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


def _has_defaults(schema: dict[str, Any]) -> bool:
    return any("default" in child for child in schema.get("properties", {}).values())
