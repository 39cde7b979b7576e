"""Types for the fields of specs and statuses that Python has no word for.

What belongs here: durations and quantities as Kubernetes writes them, int-or-string, label
selectors. What does not: marks on fields (`operatorkit.crd.markers`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, PlainSerializer

from operatorkit.crd.model import Model
from operatorkit.crd.text import DURATION_PATTERN, QUANTITY_PATTERN, format_duration, parse_duration

__all__ = [
    "Duration",
    "IntOrString",
    "LabelSelector",
    "LabelSelectorRequirement",
    "Quantity",
    "SchemaOf",
]


@dataclass(frozen=True, slots=True)
class SchemaOf:
    """Put into `Annotated[...]`, it replaces the schema that would be made of the Python type."""

    schema: tuple[tuple[str, Any], ...]

    def __hash__(self) -> int:
        """Hash the schema though it holds lists: `X | None` is made by hashing what stands on X."""
        return hash(repr(self.schema))


def _read_duration(value: Any) -> Any:
    return parse_duration(value) if isinstance(value, str) else value


def _read_quantity(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Duration = Annotated[
    timedelta,
    BeforeValidator(_read_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json-unless-none"),
    SchemaOf((("type", "string"), ("maxLength", 32), ("pattern", DURATION_PATTERN))),
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
        (
            ("anyOf", [{"type": "integer"}, {"type": "string"}]),
            ("x-kubernetes-int-or-string", True),
        ),
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
