"""Conditions: what an object says about its own state, and when that changed.

What belongs here: the `Condition` of Kubernetes' API conventions, and functions over lists of them, to which time is
an argument. What does not: which conditions a kind has (its operator) and writing them (`operatorkit.context`).

Source: https://github.com/kubernetes/community/blob/main/contributors/devel/sig-architecture/api-conventions.md#typical-status-properties
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from operatorkit.crd.model import Model, Time

__all__ = ["Condition", "ConditionStatus", "get_condition", "is_true", "set_condition"]

ConditionStatus = Literal["True", "False", "Unknown"]

_WORDS: dict[bool | None, ConditionStatus] = {True: "True", False: "False", None: "Unknown"}
_QUALIFIED_NAME = (
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
    r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
)


class Condition(Model):
    """One aspect of the current state of an object."""

    list_map_keys: ClassVar[tuple[str, ...]] = ("type",)

    type: Annotated[str, Field(max_length=316, pattern=_QUALIFIED_NAME)]
    """Name of the condition, in CamelCase or in foo.example.com/CamelCase."""
    status: ConditionStatus
    """True, False or Unknown."""
    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The metadata.generation that the condition was set for: an older one than the object's is out of date."""
    last_transition_time: Time
    """When the status changed last."""
    reason: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
    """Why the status is what it is: one CamelCase word, stable, for programs."""
    message: Annotated[str, Field(max_length=32768)]
    """Details, for people."""


def get_condition(conditions: Iterable[Condition], type: str) -> Condition | None:  # noqa: A002 - the API's own word
    """Return the condition of that type, or None."""
    return next((condition for condition in conditions if condition.type == type), None)


def is_true(conditions: Iterable[Condition], type: str) -> bool:  # noqa: A002
    """Tell whether the condition of that type is there and True."""
    condition = get_condition(conditions, type)
    return condition is not None and condition.status == "True"


def set_condition(
    conditions: list[Condition],
    type: str,  # noqa: A002
    status: bool | ConditionStatus | None,
    reason: str,
    message: str = "",
    *,
    now: datetime,
    observed_generation: int | None = None,
) -> bool:
    """Set one condition in a list, in place; tell whether that changed anything. None as `status` means Unknown.

    Guarantees: order is kept, and a new type goes to the end; `last_transition_time` moves only when the status does,
    so that setting what is already so changes nothing; fields that other programs added to the condition survive.
    """
    word = status if isinstance(status, str) else _WORDS[status]
    old = get_condition(conditions, type)
    unchanged = old is not None and old.status == word
    new = Condition(
        type=type,
        status=word,
        observed_generation=observed_generation,
        last_transition_time=old.last_transition_time if old is not None and unchanged else now.replace(microsecond=0),
        reason=reason,
        message=message,
    )
    if old is not None and old.model_extra:
        new = new.model_copy(update=old.model_extra)
    if old is None:
        conditions.append(new)
        return True
    conditions[conditions.index(old)] = new
    return new != old
