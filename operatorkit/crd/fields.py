"""Types for the fields of specs and statuses that Python has no word for.

What belongs here: durations and quantities as Kubernetes writes them, int-or-string, label selectors. What does not:
marks on fields (`operatorkit.crd.markers`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, PlainSerializer

from operatorkit.crd.model import Model

__all__ = [
    "DURATION_PATTERN",
    "Duration",
    "IntOrString",
    "LabelSelector",
    "LabelSelectorRequirement",
    "Quantity",
    "SchemaOf",
    "format_duration",
    "parse_duration",
]

DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$"
QUANTITY_PATTERN = (
    r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))"
    r"(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
)

_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h)")
_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}


@dataclass(frozen=True, slots=True)
class SchemaOf:
    """Put into `Annotated[...]`, it replaces the schema that would be made of the Python type."""

    schema: tuple[tuple[str, Any], ...]


def parse_duration(text: str) -> timedelta:
    """Read a duration as Go writes it: `1h30m`, `720h`, `250ms`. Raises ValueError for anything else.

    Negative durations are refused, and what is finer than a microsecond is lost.
    """
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration: write it like 90s, 1h30m or 720h")
    nanoseconds = sum(Decimal(number) * _NANOSECONDS[unit] for number, unit in parts)
    return timedelta(microseconds=int(nanoseconds) // 1_000)


def format_duration(duration: timedelta) -> str:
    """Write a duration as Go does: `1h30m0s`, `250ms`. Raises ValueError for a negative one."""
    microseconds = duration // timedelta(microseconds=1)
    if microseconds < 0:
        raise ValueError(f"{duration} is negative")
    if microseconds == 0:
        return "0s"
    if microseconds < 1_000:
        return f"{microseconds}µs"
    if microseconds < 1_000_000:
        return f"{_trimmed(microseconds, 1_000)}ms"
    minutes, rest = divmod(microseconds, 60_000_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h" if hours else ""
    text += f"{minutes}m" if hours or minutes else ""
    return f"{text}{_trimmed(rest, 1_000_000)}s"


def _trimmed(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    fraction = f"{rest:0{len(str(unit)) - 1}d}".rstrip("0")
    return f"{whole}.{fraction}" if fraction else str(whole)


def _read_duration(value: Any) -> Any:
    return parse_duration(value) if isinstance(value, str) else value


def _read_quantity(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Duration = Annotated[
    timedelta,
    BeforeValidator(_read_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json-unless-none"),
    SchemaOf((("type", "string"), ("pattern", DURATION_PATTERN))),
]
"""A span of time, written as Go does (`1h30m0s`), and a timedelta in Python."""

Quantity = Annotated[
    str,
    BeforeValidator(_read_quantity),
    SchemaOf(
        (
            ("anyOf", [{"type": "integer"}, {"type": "string"}]),
            ("pattern", QUANTITY_PATTERN),
            ("x-kubernetes-int-or-string", True),
        )
    ),
]
"""An amount as Kubernetes writes it: `500m`, `1Gi`, `2`. Numbers are taken; in Python it is text."""

IntOrString = Annotated[
    int | str,
    SchemaOf(
        (("anyOf", [{"type": "integer"}, {"type": "string"}]), ("x-kubernetes-int-or-string", True)),
    ),
]
"""A number or a text, such as a port or `25%`."""


class LabelSelectorRequirement(Model):
    """A label selector requirement is a selector that contains values, a key, and an operator that relates them."""

    key: str
    """The label key that the selector applies to."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How the key relates to the values."""
    values: list[str] = []
    """The values; must be empty for Exists and DoesNotExist, and not empty for In and NotIn."""


class LabelSelector(Model):
    """Selects objects by their labels: all of match_labels and match_expressions must hold.

    An empty one selects all objects.
    """

    atomic: ClassVar[bool] = True

    match_labels: dict[str, str] = {}
    """Labels that objects must have, with these values."""
    match_expressions: list[LabelSelectorRequirement] = []
    """Requirements on labels."""
