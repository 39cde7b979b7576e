"""Label selectors: the LabelSelector of Kubernetes' API, matched against labels and written as text.

What belongs here: the meaning of a selector that is an object. What does not: parsing the text of a
query parameter (the embedded control plane does), and what an absent selector selects, which each
field of an API defines for itself.

Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["Requirement", "Selector", "is_empty", "matches", "requirements", "selector_text"]


class Selector(Protocol):
    """A LabelSelector as a model: `operatorkit.crd.fields.LabelSelector`, or `V1LabelSelector` of the client."""

    @property
    def match_labels(self) -> Any:
        """Labels with the values that they must have, or None."""

    @property
    def match_expressions(self) -> Any:
        """Requirements with `key`, `operator` and `values`, or None."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """A condition on one label. `operator` is In, NotIn, Exists or DoesNotExist; node selectors have Gt and Lt, too."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Return whether labels meet the condition; NotIn and DoesNotExist hold where the label is absent.

        Gt and Lt hold for integers only. An unknown operator never holds.
        """
        value = labels.get(self.key)
        match self.operator:
            case "In":
                return value in self.values
            case "NotIn":
                return value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
            case "Gt":
                return value is not None and _integer(value) > _integer(self.values[0])
            case "Lt":
                return value is not None and _integer(value) < _integer(self.values[0])
        return False

    def __str__(self) -> str:
        match self.operator:
            case "In":
                return f"{self.key} in ({','.join(sorted(self.values))})"
            case "NotIn":
                return f"{self.key} notin ({','.join(sorted(self.values))})"
            case "DoesNotExist":
                return f"!{self.key}"
        return self.key


def requirements(expressions: Iterable[Any] | None) -> list[Requirement]:
    """Return the requirements of `matchExpressions`, which are JSON objects or models."""
    return [
        Requirement(each.get("key", ""), each.get("operator", ""), tuple(each.get("values") or ()))
        if isinstance(each, Mapping)
        else Requirement(each.key, each.operator, tuple(each.values or ()))
        for each in expressions or ()
    ]


def matches(selector: Mapping[str, Any] | Selector, labels: Mapping[str, str]) -> bool:
    """Return whether labels meet all of a selector, a JSON object or a model; an empty one selects everything."""
    equal, expressions = _parts(selector)
    return all(labels.get(key) == value for key, value in equal.items()) and all(
        requirement.holds(labels) for requirement in requirements(expressions)
    )


def is_empty(selector: Mapping[str, Any] | Selector) -> bool:
    """Return whether a selector has no condition, and so selects everything."""
    return not any(_parts(selector))


def selector_text(selector: Mapping[str, Any] | Selector) -> str:
    """Return a selector as `kubectl get --selector` and the query parameter have it, ordered by key."""
    equal, expressions = _parts(selector)
    terms = [(key, f"{key}={value}") for key, value in equal.items()]
    terms += [(requirement.key, str(requirement)) for requirement in requirements(expressions)]
    return ",".join(text for _, text in sorted(terms))


def _parts(selector: Mapping[str, Any] | Selector) -> tuple[Mapping[str, str], Any]:
    if isinstance(selector, Mapping):
        return selector.get("matchLabels") or {}, selector.get("matchExpressions") or ()
    return selector.match_labels or {}, selector.match_expressions or ()


def _integer(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        return float("nan")  # compares as false with every number
