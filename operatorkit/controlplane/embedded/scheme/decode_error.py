"""Decode errors, as data: what of an object does not fit its kind.

What belongs here: the error, and its text for those who create or update an object. What does not: the
texts for patches (`endpoints.patching`) and for webhooks (`admission`), which are made from the same
data.
"""

from __future__ import annotations

from enum import Enum, auto

from operatorkit.controlplane.embedded.errors.errors import ApiError
from operatorkit.names import GroupVersionKind

__all__ = ["DecodeError", "Problem"]


class Problem(Enum):
    """What sort of problem a decode error is; the audiences differ in how they word each."""

    TYPE = auto()
    """A value of another JSON type than the field's."""
    BASE64 = auto()
    VALUE = auto()
    """Text that is no quantity or no time."""
    STRICT = auto()
    """Unknown or duplicate fields, where the request asks for strict validation."""
    KIND = auto()
    """An object of a kind that cannot be converted."""


class DecodeError(ApiError):
    """An object cannot be decoded as its kind: 400, in the words of a create or an update.

    `path` is the field as Go names it (`Pod.spec.nodeName`, empty for the object itself), `expected`
    its Go type, and `got` the JSON type that was found; `number` is the number that the type cannot
    hold, where that is what is wrong. `detail` is the text of problems other than TYPE. `into` is the kind that was
    expected, where that is not the kind that the object says it has.
    """

    def __init__(
        self,
        kind: GroupVersionKind,
        path: str = "",
        expected: str = "",
        got: str = "",
        *,
        number: float | None = None,
        problem: Problem = Problem.TYPE,
        detail: str = "",
        into: str = "",
    ) -> None:
        self.kind = kind
        self.path = path
        self.expected = expected
        self.got = got
        self.number = number
        self.problem = problem
        where = f"Go struct field {path}" if path else "Go value"
        found = got if number is None else f"{got} {number}"
        self.why: str = detail or f"json: cannot unmarshal {found} into {where} of type {expected}"
        what = f'{kind.kind} in version "{kind.version}" cannot be handled as a {into or kind.kind}'
        super().__init__(400, "BadRequest", f"{what}: {self.why}")
