"""Field errors: what is wrong with one field of an object, in the API server's words.

What belongs here: the one type that every check returns, a function for each kind of error, and the
rules by which the API server merges the results of several checks. What does not: the checks.

Source: k8s.io/apimachinery/pkg/util/validation/field
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from operatorkit.crd.golang import json_text, quote, value_text
from operatorkit.errors import Cause

__all__ = [
    "NO_PATH",
    "FieldError",
    "FieldErrors",
    "Result",
    "duplicate",
    "forbidden",
    "invalid",
    "not_found",
    "not_supported",
    "required",
    "too_long",
]

NO_PATH = "<nil>"
"""What the API server prints as the path of an error that has none."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One error in an object: the field, the API's word for the kind of error, and the message.

    `path` is written as in `spec.names[0]`, `reason` as in `FieldValueInvalid`, and `message` is
    what follows the path in the text.
    """

    path: str
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"

    @property
    def cause(self) -> Cause:
        """The error as an entry of `details.causes` in a Status."""
        return Cause(field=self.path, reason=self.reason, message=self.message)


FieldErrors = Iterator[FieldError]


@dataclass(slots=True)
class Result:
    """Errors of a schema check, and how many checks matched: of an anyOf, the best one is reported.

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
    """Return the error for a malformed value."""
    return FieldError(path, reason, _detailed(f"Invalid value: {value_text(value)}", detail))


def required(path: str, detail: str = "") -> FieldError:
    """Return the error for a missing value."""
    return FieldError(path, "FieldValueRequired", _detailed("Required value", detail))


def forbidden(path: str, detail: str) -> FieldError:
    """Return the error for a field that must not be set, or must not change."""
    return FieldError(path, "FieldValueForbidden", _detailed("Forbidden", detail))


def duplicate(path: str, value: Any) -> FieldError:
    """Return the error for a value that occurs twice."""
    return FieldError(path, "FieldValueDuplicate", f"Duplicate value: {value_text(value)}")


def not_found(path: str, value: Any) -> FieldError:
    """Return the error for a reference to something that does not exist."""
    return FieldError(path, "FieldValueNotFound", f"Not found: {value_text(value)}")


def not_supported(path: str, value: Any, allowed: Sequence[Any]) -> FieldError:
    """Return the error for a value that is none of the allowed ones, which it lists in order."""
    texts = [quote(one if isinstance(one, str) else json_text(one)) for one in allowed]
    detail = f"supported values: {', '.join(texts)}" if texts else ""
    message = _detailed(f"Unsupported value: {value_text(value)}", detail)
    return FieldError(path, "FieldValueNotSupported", message)


def too_long(path: str, limit: int) -> FieldError:
    """Return the error for a value of more than `limit` bytes."""
    message = f"Too long: may not be more than {limit} bytes"
    return FieldError(path, "FieldValueTooLong", message)
