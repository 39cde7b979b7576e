"""What is wrong with a value, and how the results of several checks are put together.

What belongs here: errors as values, their messages as the API server words them, and the rules by
which it merges them. What does not: the checks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from operatorkit.crd.golang import json_text, quote, value_text

__all__ = ["NO_PATH", "FieldError", "Result", "duplicate", "forbidden", "invalid", "not_supported", "required"]

NO_PATH = "<nil>"
"""What the API server prints as the path of an error that has none."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One fault: where (`spec.names[0]`), the reason word of the API, and the text that follows the path."""

    path: str
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


@dataclass(slots=True)
class Result:
    """Errors of a schema check, and how many checks matched: of an anyOf, the best alternative is reported.

    Each error comes with the text by which equal ones are recognised.
    """

    errors: list[tuple[str, FieldError]] = field(default_factory=list)
    matches: int = 0

    @property
    def valid(self) -> bool:
        """Whether nothing is wrong."""
        return not self.errors

    def add(self, text: str, error: FieldError) -> None:
        """Add an error, unless one with that text is there."""
        if all(text != known for known, _ in self.errors):
            self.errors.append((text, error))

    def merge(self, other: Result) -> None:
        """Add another result's errors and matches."""
        for text, error in other.errors:
            self.add(text, error)
        self.matches += other.matches


def _detailed(body: str, detail: str) -> str:
    return f"{body}: {detail}" if detail else body


def invalid(path: str, value: Any, detail: str, *, reason: str = "FieldValueInvalid") -> FieldError:
    """Return the error for a value that is malformed."""
    return FieldError(path, reason, _detailed(f"Invalid value: {value_text(value)}", detail))


def required(path: str, detail: str = "") -> FieldError:
    """Return the error for a value that is missing."""
    return FieldError(path, "FieldValueRequired", _detailed("Required value", detail))


def forbidden(path: str, detail: str) -> FieldError:
    """Return the error for a value that may not be there."""
    return FieldError(path, "FieldValueForbidden", _detailed("Forbidden", detail))


def duplicate(path: str, value: Any) -> FieldError:
    """Return the error for a value that is there twice."""
    return FieldError(path, "FieldValueDuplicate", f"Duplicate value: {value_text(value)}")


def not_supported(path: str, value: Any, allowed: list[Any]) -> FieldError:
    """Return the error for a value that is none of the allowed ones."""
    texts = [quote(one if isinstance(one, str) else json_text(one)) for one in allowed]
    detail = f"supported values: {', '.join(texts)}" if texts else ""
    return FieldError(path, "FieldValueNotSupported", _detailed(f"Unsupported value: {value_text(value)}", detail))
