"""Label selectors, matched. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from kubernetes.client.models import V1LabelSelector

__all__ = ["matches"]


def matches(selector: V1LabelSelector, labels: Mapping[str, str]) -> bool:
    """Tell whether labels match a selector; an empty selector matches nothing here: it would claim every pod."""
    equal, needs = selector.match_labels or {}, selector.match_expressions or []
    if not equal and not needs:
        return False
    return all(labels.get(name) == value for name, value in equal.items()) and all(
        _meets(labels.get(need.key), need.operator, need.values or []) for need in needs
    )


def _meets(value: str | None, operator: str, values: list[str]) -> bool:
    match operator:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case _:
            return False
