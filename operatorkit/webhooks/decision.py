"""What a webhook may answer: a denial is a value, not an exception.

What belongs here: the answers, and the causes of a denial as Kubernetes' own validation words them.
What does not: how they travel (`operatorkit.webhooks.dispatch`). Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from operatorkit.crd import field_errors
from operatorkit.errors import Cause

__all__ = ["Allowed", "Decision", "Denied", "Mutated", "invalid", "not_supported", "required"]

T = TypeVar("T")

_CODES = {
    "BadRequest": 400,
    "Unauthorized": 401,
    "Forbidden": 403,
    "NotFound": 404,
    "AlreadyExists": 409,
    "Conflict": 409,
    "Invalid": 422,
    "TooManyRequests": 429,
    "InternalError": 500,
    "Timeout": 504,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """The request may go on. Each of `warnings` is shown to the caller, by kubectl as `Warning: ...`."""

    warnings: Sequence[str] = ()

    def __post_init__(self) -> None:
        _check_warnings(self)


@dataclass(frozen=True, slots=True, init=False)
class Denied:
    """The request is rejected.

    A cause is text, or a `Cause` that names a field. `reason` is a word of Kubernetes' Status
    objects; it decides the HTTP code. Without one it is Invalid (422) where a cause names a field,
    and Forbidden (403) otherwise.
    """

    causes: tuple[Cause | str, ...]
    reason: str
    warnings: tuple[str, ...]

    def __init__(
        self, *causes: Cause | str, reason: str | None = None, warnings: Sequence[str] = ()
    ) -> None:
        if not causes:
            raise ValueError(
                "Denied() has no cause: give at least one, as text or as a Cause with a field"
            )
        names_a_field = any(isinstance(cause, Cause) and cause.field for cause in causes)
        object.__setattr__(self, "causes", causes)
        object.__setattr__(self, "reason", reason or ("Invalid" if names_a_field else "Forbidden"))
        object.__setattr__(
            self, "warnings", warnings if isinstance(warnings, str) else tuple(warnings)
        )
        _check_warnings(self)

    @property
    def code(self) -> int:
        """The HTTP code that goes with the reason; 403 for a reason that Kubernetes does not know."""
        return _CODES.get(self.reason, 403)


@dataclass(frozen=True, slots=True)
class Mutated(Generic[T]):
    """The request may go on with `obj`, the object as it was given and then changed.

    Fields that its class does not know stay as they are in the request.
    """

    obj: T
    warnings: Sequence[str] = ()

    def __post_init__(self) -> None:
        _check_warnings(self)


def _check_warnings(decision: Allowed | Denied | Mutated[Any]) -> None:
    """Reject a text where several are expected: it would be shown letter by letter."""
    if isinstance(decision.warnings, str):
        text = f"{type(decision).__name__}(warnings={decision.warnings!r}): give a list of texts"
        raise TypeError(text)


Decision = Allowed | Denied | Mutated[Any]


def invalid(field: str, value: Any, detail: str) -> Cause:
    """Return the cause for a malformed value: `spec.names[0]: Invalid value: "x": detail`."""
    return field_errors.invalid(field, value, detail).cause


def required(field: str, detail: str = "") -> Cause:
    """Return the cause for a missing value: `spec.name: Required value: detail`."""
    return field_errors.required(field, detail).cause


def not_supported(field: str, value: Any, allowed: Sequence[Any]) -> Cause:
    """Return the cause for a value that is none of the allowed ones, which it lists."""
    return field_errors.not_supported(field, value, allowed).cause
