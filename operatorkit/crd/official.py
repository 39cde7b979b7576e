"""Reading and writing the official client's models (`kubernetes.client.models`) without losing anything.

Those models are strict: a quantity written as a number (`cpu: 1`) or a field of a newer Kubernetes
is rejected, and their own `from_dict` drops what it does not know. What belongs here: the one way
around that. What does not: importing that package; the models come from a caller who did.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from operatorkit.clock import format_micro_time, format_time
from operatorkit.crd import field_errors
from operatorkit.crd.unknown import unsent
from operatorkit.errors import Cause, InvalidObject

__all__ = ["causes", "first_error", "is_official", "occurs_in", "plain", "read", "reader_of"]

_MOST_CAUSES = 20
_LONGEST_VALUE = 80
_M = TypeVar("_M", bound=BaseModel)
_Reader = Callable[[Any], Any]

# Fields of type MicroTime, which the API server reads only with exactly six digits of fraction; all others are Time.
_MICRO_TIMES = frozenset(
    {
        ("CoreV1Event", "event_time"),
        ("CoreV1EventSeries", "last_observed_time"),
        ("EventsV1Event", "event_time"),
        ("EventsV1EventSeries", "last_observed_time"),
        ("V1LeaseSpec", "acquire_time"),
        ("V1LeaseSpec", "renew_time"),
        ("V1alpha2LeaseCandidateSpec", "ping_time"),
        ("V1alpha2LeaseCandidateSpec", "renew_time"),
        ("V1beta1LeaseCandidateSpec", "ping_time"),
        ("V1beta1LeaseCandidateSpec", "renew_time"),
    }
)


def is_official(type_: Any) -> bool:
    """Return whether a type is a model of the official client."""
    return (
        isinstance(type_, type) and issubclass(type_, BaseModel) and hasattr(type_, "openapi_types")
    )


@cache
def _keys(model: type[BaseModel]) -> Mapping[str, str]:
    """Return field names by their names in JSON."""
    return {
        field.serialization_alias or field.alias or name: name
        for name, field in model.model_fields.items()
    }


class _ConversionError(ValueError):
    """A value of a wrong shape inside of an official model: where, what is wrong, and what was found."""

    def __init__(self, path: tuple[str | int, ...], reason: str, found: Any) -> None:
        super().__init__(reason)
        self.path = path
        self.reason = reason
        self.found = found


def read(model: type[_M], obj: Mapping[str, Any]) -> _M:
    """Read an object leniently: numbers where the model wants text are taken, unknown fields are kept.

    Guarantees: `plain(read(model, obj))` has every field of `obj`. Raises InvalidObject, with the
    path, for a value of a wrong shape.
    """
    try:
        return model.model_validate(obj)
    except ValidationError:
        pass  # most objects pass at once; those that do not are gone through piece by piece
    try:
        return _read(model, obj, ())
    except _ConversionError as error:
        raise InvalidObject(
            f"{model.__name__} cannot be read: {_conversion_error(error.path, error)}",
            causes=(_cause(error.path, error),),
        ) from error


def first_error(error: ValidationError) -> str:
    """Say where in an object the first error is, what is wrong, and what was found."""
    detail = error.errors(include_url=False)[0]
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, _ConversionError):
        return _conversion_error((*detail["loc"], *cause.path), cause)
    return _conversion_error(detail["loc"], _ConversionError((), detail["msg"], detail["input"]))


def causes(error: ValidationError) -> tuple[Cause, ...]:
    """Return the field errors of an object, worded as an API server words its own; of very many, the first."""
    found: list[Cause] = []
    for detail in error.errors(include_url=False)[:_MOST_CAUSES]:
        inner = detail.get("ctx", {}).get("error")
        if isinstance(inner, _ConversionError):
            found.append(_cause((*detail["loc"], *inner.path), inner))
        elif detail["type"] == "missing":
            found.append(field_errors.required(_field(detail["loc"])).cause)
        else:
            found.append(
                field_errors.invalid(
                    _field(detail["loc"]), _short(detail["input"]), detail["msg"]
                ).cause
            )
    return tuple(found)


def _cause(path: tuple[str | int, ...], error: _ConversionError) -> Cause:
    return field_errors.invalid(_field(path), _short(error.found), error.reason).cause


def _short(value: Any) -> Any:
    """Return what an answer can repeat of a value; of an object or a list, only that it is one, as API servers do."""
    if isinstance(value, Mapping):
        return "object"
    if isinstance(value, list):
        return "array"
    return (
        value
        if not isinstance(value, str) or len(value) <= _LONGEST_VALUE
        else f"{value[:_LONGEST_VALUE]}..."
    )


def _field(path: tuple[str | int, ...]) -> str:
    """Write a path as an API server does: `spec.names[0]`."""
    return "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in path
    ).removeprefix(".")


def _conversion_error(path: tuple[str | int, ...], error: _ConversionError) -> str:
    found = repr(error.found)
    where = ".".join(map(str, path)) or "the object"
    return f"{where}: {error.reason}, found {found if len(found) <= 80 else found[:77] + '...'}"


def _read(model: type[_M], obj: Any, path: tuple[str | int, ...]) -> _M:
    known, unknown = obj, {}
    if isinstance(obj, Mapping):
        keys = _keys(model)
        unknown = {key: value for key, value in obj.items() if key not in keys}
        known = {
            key: _convert(model.model_fields[keys[key]].annotation, value, (*path, key))
            for key, value in obj.items()
            if key in keys
        }
    try:
        result = model.model_validate(known)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        raise _ConversionError((*path, *detail["loc"]), detail["msg"], detail["input"]) from error
    if unknown:
        # the slot in which pydantic itself keeps what extra="allow" lets through
        object.__setattr__(result, "__pydantic_extra__", unknown)
    return result


def _convert(annotation: Any, value: Any, path: tuple[str | int, ...]) -> Any:
    """Bring a JSON value into the form that a strict annotation accepts, as far as that is without doubt."""
    if value is None:
        return _empty(annotation)
    if is_official(annotation):
        return _read(annotation, value, path)
    origin = get_origin(annotation)
    if origin is Literal:
        return value
    if origin is list and isinstance(value, list):
        (item,) = get_args(annotation)
        return [_convert(item, each, (*path, at)) for at, each in enumerate(value)]
    if origin is dict and isinstance(value, Mapping):
        item = get_args(annotation)[1]
        return {key: _convert(item, each, (*path, key)) for key, each in value.items()}
    choices = [one for one in _choices(annotation) if one is not type(None)]
    if len(choices) == 1 and choices[0] is not annotation:
        return _convert(choices[0], value, path)
    if annotation is str and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value


def _empty(annotation: Any) -> Any:
    """Return what null stands for: an empty list or map where one is required, as Go writes a nil one."""
    if hasattr(annotation, "__metadata__"):
        return _empty(annotation.__origin__)
    origin = get_origin(annotation)
    return origin() if origin in {list, dict} else None


def _choices(annotation: Any) -> tuple[Any, ...]:
    origin = get_origin(annotation)
    if origin in {Union, types.UnionType}:
        return get_args(annotation)
    if hasattr(annotation, "__metadata__"):
        return (annotation.__origin__,)
    return (annotation,)


def occurs_in(annotation: Any) -> bool:
    """Return whether an annotation is, or contains, a model of the official client."""
    try:
        return _known_to_occur_in(annotation)
    except TypeError:  # a mark on it cannot be hashed
        return _occurs_in(annotation)


@cache
def _known_to_occur_in(annotation: Any) -> bool:
    return _occurs_in(annotation)


def _occurs_in(annotation: Any) -> bool:
    if is_official(annotation):
        return True
    return any(
        occurs_in(part)
        for part in get_args(annotation)
        if not isinstance(part, str | int | bool | list)
    )


def reader_of(name: str, annotation: Any) -> _Reader | None:
    """Return what reads a field of this name leniently, or None when no official model is in its annotation."""
    if not occurs_in(annotation):
        return None
    return lambda value: _convert(annotation, value, (name,))


def plain(value: Any) -> Any:
    """Return a model of the official client, or a container of them, as JSON.

    Names are those of JSON; only fields that were set are there, and no None; unknown fields that
    were read are.
    """
    if isinstance(value, BaseModel):
        return _plain_model(value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return format_time(value)
    if isinstance(value, bytes):
        return value.decode("ascii")
    return value


def _plain_model(model: BaseModel) -> Any:
    if not is_official(type(model)):
        return model.model_dump(mode="json", by_alias=True, exclude_unset=True)
    kind = type(model).__name__
    data: dict[str, Any] = {}
    for key, name in _keys(type(model)).items():
        value = getattr(model, name)
        if value is None:
            continue
        data[key] = format_micro_time(value) if (kind, name) in _MICRO_TIMES else plain(value)
    left_out = unsent(model)
    data.update(
        {
            key: value
            for key, value in (model.__pydantic_extra__ or {}).items()
            if key not in left_out
        }
    )
    return data
