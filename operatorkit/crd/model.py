"""`Model`: the base of every typed piece of an object.

What belongs here: how pieces are read from JSON (tolerantly: what a newer version added is kept)
and written to it (only what was set). What does not: whole objects (`operatorkit.resource`) and
schemas (`operatorkit.crd.schema`).
"""

from __future__ import annotations

import difflib
import functools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    PlainSerializer,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    model_serializer,
)
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, PydanticSerializationError, core_schema

from operatorkit.clock import format_time
from operatorkit.crd import official
from operatorkit.crd._patterns import pattern_error
from operatorkit.crd.markers import Nullable, Rule
from operatorkit.crd.unknown import unsent
from operatorkit.errors import DefinitionError, InvalidObject

__all__ = ["Model", "Time", "written"]

_WRITE = object()


def _time(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise ValueError(
            f"{moment.isoformat()} has no time zone: use datetime.now(UTC) or the operator's clock"
        )
    return format_time(moment)


Time = Annotated[datetime, PlainSerializer(_time, return_type=str, when_used="json-unless-none")]
"""An aware moment, written in whole seconds and UTC as all of Kubernetes writes it."""


class Model(BaseModel):
    """A piece of an object: its spec, its status, or a part of them.

    Fields have their Python names in code and camelCase names in JSON (`Field(alias=...)` where
    that is not the name). Their docstrings become the descriptions that `kubectl explain` prints.
    `class_rules` are CEL rules on the whole.

    Guarantees: fields that the class does not know survive reading and writing; a field that was
    neither set nor changed is not written, and neither is None, unless the field is `Nullable()`.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        extra="allow",
        ser_json_inf_nan="constants",  # so that `written` sees, and rejects, what JSON does not have
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )

    class_rules: ClassVar[Sequence[Rule]] = ()
    """CEL rules that hold for the whole piece."""
    list_map_keys: ClassVar[tuple[str, ...]] = ()
    """The fields (JSON names) that distinguish the items of a list: such lists are maps, see `ListMap`."""
    atomic: ClassVar[bool] = False
    """Whether server-side apply replaces the piece as a whole."""
    absent: ClassVar[bool] = False
    """Whether the piece stands for nothing at all: it is in no schema (`NoSpec`, `NoStatus`)."""
    _in_schemas: ClassVar[frozenset[str] | None] = None
    """The only fields that are in schemas, by their Python names; None for all."""

    if not TYPE_CHECKING:

        def __new__(cls, *_: Any, **values: Any) -> Self:
            """Reject misspelt fields where a piece is made in code; reading calls this without values."""
            for name in values:
                if name not in _names_of(cls):
                    near = difflib.get_close_matches(name, cls.model_fields, n=1)
                    hint = (
                        f"did you mean {near[0]!r}?"
                        if near
                        else "read unknown fields with model_validate"
                    )
                    raise TypeError(f"{cls.__name__} has no field {name!r}: {hint}")
            return super().__new__(cls)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Reject patterns before pydantic does, and let fields that are official models be read leniently."""
        for name, field in cls.model_fields.items():
            _check_patterns([*field.metadata, field.annotation], f"{cls.__name__}, field {name}")
        schema = handler(source)
        readers = {
            key: reader
            for name, field in cls.model_fields.items()
            if (reader := official.reader_of(field.alias or name, field.annotation)) is not None
            for key in (name, field.alias or name)
        }
        if not readers:
            return schema

        def lenient(value: Any) -> Any:
            if not isinstance(value, dict):
                return value
            return {
                key: readers[key](item) if key in readers and item is not None else item
                for key, item in value.items()
            }

        return core_schema.no_info_before_validator_function(lenient, schema)

    @model_serializer(mode="wrap")
    def _serialize(self, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> Any:
        data = handler(self)
        if info.context is _WRITE:
            self._only_what_was_set(data)
        return data

    def _only_what_was_set(self, data: dict[str, Any]) -> None:
        explicit = self.model_fields_set
        for key in unsent(self):
            data.pop(key, None)
        for name, field in type(self).model_fields.items():
            key = field.serialization_alias or name
            value = self.__dict__.get(name)
            if value is None:
                if name not in explicit or not _is_nullable(field.metadata, field.annotation):
                    data.pop(key, None)
            elif name not in explicit and value == field.get_default(
                call_default_factory=True, validated_data={}
            ):
                data.pop(key, None)
            elif official.occurs_in(field.annotation):
                data[key] = official.plain(value)


@functools.cache
def _names_of(model: type[BaseModel]) -> frozenset[str]:
    aliases = {field.alias for field in model.model_fields.values() if field.alias}
    return frozenset(model.model_fields) | aliases


def _check_patterns(parts: Iterable[Any], where: str) -> None:
    """Raise DefinitionError for a regular expression, at any depth of an annotation, that RE2 does not know."""
    for part in parts:
        pattern = getattr(part, "pattern", None)
        text = pattern if isinstance(pattern, str) else getattr(pattern, "pattern", None)
        problem = pattern_error(text) if isinstance(text, str) else None
        if problem is not None:
            raise DefinitionError(
                f"{where}: the pattern {text!r} is not supported by the API server ({problem}): "
                "write it in RE2, which has no look-around and no back-references"
            )
        metadata = (
            part.metadata if isinstance(part, FieldInfo) else getattr(part, "__metadata__", ())
        )
        _check_patterns([*metadata, *get_args(part)], where)


def _is_nullable(metadata: Sequence[Any], annotation: Any) -> bool:
    return any(isinstance(mark, Nullable) for mark in (*metadata, *get_args(annotation)))


def written(model: Model, name: str = "", *, exclude: set[str] | None = None) -> dict[str, Any]:
    """Return a model as JSON: camelCase names, only what was set or changed, no None.

    Raises InvalidObject, which names the object as `name`, when a field was assigned a value that
    its type does not allow, or a number that JSON does not have.
    """
    try:
        data: dict[str, Any] = model.model_dump(
            mode="json", by_alias=True, context=_WRITE, warnings="error", exclude=exclude
        )
    except PydanticSerializationError as error:
        raise InvalidObject(
            f"{name or type(model).__name__} cannot be written: {_explained(str(error))}"
        ) from error
    odd = next(_not_finite(data, ""), None)
    if odd is not None:
        raise InvalidObject(
            f"{name or type(model).__name__} cannot be written: {odd[0]} is {odd[1]!r}, which JSON does not have: give "
            f"a finite number, or leave the field out (None)"
        )
    return data


def _not_finite(value: Any, path: str) -> Iterator[tuple[str, float]]:
    """Yield the places of NaN and infinities in JSON."""
    if isinstance(value, float):
        if not math.isfinite(value):
            yield path, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _not_finite(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from _not_finite(inner, f"{path}[{at}]")


def _explained(text: str) -> str:
    """Say in words what pydantic reports of a failed serialization."""
    errors = [
        f"{field}: expected {expected}, found {found}"
        for expected, field, found in re.findall(
            r"Expected `([^`]+)`.*?\[field_name='(\w+)', input_value=(.*?), input_type=\w+\]", text
        )
    ]
    return "; ".join(errors) or text.rpartition("Error: ")[2]
