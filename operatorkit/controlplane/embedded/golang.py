"""JSON values in the words of Go, which kube-apiserver's messages quote.

What belongs here: Go's `%v` and `%T`, and how it writes numbers. What does not: the messages.
"""

from __future__ import annotations

from typing import Any

__all__ = ["numbers", "shown", "type_name"]

_EXPONENT_FROM = 1e21


def shown(value: Any) -> str:
    """Return a JSON value as Go's %v prints it."""
    match value:
        case dict():
            return f"map[{' '.join(f'{key}:{shown(value[key])}' for key in sorted(value))}]"
        case list():
            return f"[{' '.join(map(shown, value))}]"
        case bool():
            return str(value).lower()
        case None:
            return "<nil>"
    return str(value)


def type_name(value: Any) -> str:
    """Return the Go type in which a JSON value is kept, as %T prints it."""
    match value:
        case dict():
            return "map[string]interface {}"
        case list():
            return "[]interface {}"
        case bool():
            return "bool"
        case int():
            return "int64"
        case float():
            return "float64"
        case str():
            return "string"
    return "<nil>"


def numbers(value: Any) -> Any:
    """Return a JSON value with its numbers as Go writes them: 1.0 is 1. Containers are changed in place."""
    if isinstance(value, dict):
        for key, inner in value.items():
            value[key] = numbers(inner)
    elif isinstance(value, list):
        value[:] = map(numbers, value)
    elif isinstance(value, float) and value.is_integer() and abs(value) < _EXPONENT_FROM:
        return int(value)
    return value
