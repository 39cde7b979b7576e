"""Conditions: what an object says about its own state, and when that changed.

What belongs here: the `Condition` of Kubernetes' API conventions, and functions over lists of them,
to which time is an argument. What does not: which conditions a kind has (its operator) and writing
them (`operatorkit.context`).

Source: https://github.com/kubernetes/community/blob/main/contributors/devel/sig-architecture/api-conventions.md#typical-status-properties
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, Field

from operatorkit.crd.model import Model, Time
from operatorkit.errors import REASON_MAX_LENGTH, REASON_PATTERN, DefinitionError, reason_error
from operatorkit.names import DNS_SUBDOMAIN_PATTERN
from operatorkit.transitions import transition_time

__all__ = ["Condition", "ConditionStatus", "get_condition", "is_true", "set_condition"]

ConditionStatus = Literal["True", "False", "Unknown"]

MESSAGE_MAX_LENGTH = 32768
TYPE_MAX_LENGTH = 316
_WORDS: dict[bool | None, ConditionStatus] = {True: "True", False: "False", None: "Unknown"}
_QUALIFIED_NAME = (
    rf"^({DNS_SUBDOMAIN_PATTERN}/)?"
    r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
)
# Times of Kubernetes' own conditions that say when the condition, not only its status, was last set to something new.
_TIMES_OF_UPDATE = ("last_update_time", "last_heartbeat_time", "last_probe_time")


def _cut(message: Any) -> Any:
    """Return a message as long as a condition can hold it, its end replaced by an ellipsis."""
    if not isinstance(message, str) or len(message) <= MESSAGE_MAX_LENGTH:
        return message
    return message[: MESSAGE_MAX_LENGTH - 1] + "…"


class Condition(Model):
    """One aspect of the current state of an object."""

    # The docstring becomes the description in definitions. Made in code, a message that is too long is cut, and a type
    # or a reason that API servers would reject raises DefinitionError, which names value and rule.

    list_map_keys: ClassVar[tuple[str, ...]] = ("type",)

    type: Annotated[str, Field(max_length=TYPE_MAX_LENGTH, pattern=_QUALIFIED_NAME)]
    """Name of the condition, in CamelCase or in foo.example.com/CamelCase."""
    status: ConditionStatus
    """True, False or Unknown."""
    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The metadata.generation that the condition was set for: an older one than the object's is out of date."""
    last_transition_time: Time
    """When the status changed last."""
    reason: Annotated[
        str, Field(min_length=1, max_length=REASON_MAX_LENGTH, pattern=REASON_PATTERN)
    ]
    """Why the status is what it is: one CamelCase word, stable, for programs."""
    message: Annotated[str, BeforeValidator(_cut), Field(max_length=MESSAGE_MAX_LENGTH)]
    """Details, for people."""

    if not TYPE_CHECKING:

        def __new__(cls, *arguments: Any, **values: Any) -> Self:
            """Check type and reason where a condition is made in code; reading calls this without values."""
            if "type" in values and "reason" in values:
                _check(values["type"], values["reason"])
            return super().__new__(cls, *arguments, **values)


def get_condition(conditions: Iterable[Condition], type: str) -> Condition | None:  # noqa: A002 - the API's own word
    """Return the condition of that type, or None."""
    return next((condition for condition in conditions if condition.type == type), None)


def is_true(conditions: Iterable[Condition], type: str) -> bool:  # noqa: A002
    """Return whether the condition of that type is there and True."""
    condition = get_condition(conditions, type)
    return condition is not None and condition.status == "True"


def set_condition(
    conditions: list[Any],
    type: str,  # noqa: A002
    status: bool | ConditionStatus | None,
    reason: str,
    message: str = "",
    *,
    now: datetime,
    observed_generation: int | None = None,
    model: type[BaseModel] = Condition,
) -> bool:
    """Set one condition in a list, in place; return whether that changed anything. None as `status` means Unknown.

    `model` is the type of the list's items: `Condition`, or one of Kubernetes' own, such as
    V1DeploymentCondition. It is given those fields that it has: not each knows observedGeneration,
    and some have a time of the last update, which moves when anything in the condition changes. A
    message longer than 32,768 characters is cut.

    Guarantees: order is kept, and a new type goes to the end; `last_transition_time` moves only
    when the status does, so that setting what is already so changes nothing; fields that other
    programs added to the condition survive.

    Raises DefinitionError for a type or a reason that API servers would reject.
    """
    _check(type, reason)
    now = now.replace(microsecond=0)
    word = status if isinstance(status, str) else _WORDS[status]
    old: Any = get_condition(conditions, type)
    values: dict[str, Any] = {
        "type": type,
        "status": word,
        "reason": reason,
        "message": _cut(message),
    }
    values["observed_generation"] = observed_generation
    since = getattr(old, "last_transition_time", None)
    before = None if old is None else old.status
    values["last_transition_time"] = transition_time(word, before=before, since=since, now=now)
    values = {name: value for name, value in values.items() if name in model.model_fields}
    changed = old is None or any(getattr(old, name) != value for name, value in values.items())
    if changed:
        values |= {name: now for name in _TIMES_OF_UPDATE if name in model.model_fields}
    checked = model(**values)
    if old is None:
        conditions.append(checked)
    elif changed:
        new = old.model_copy(update={name: getattr(checked, name) for name in values})
        conditions[next(at for at, each in enumerate(conditions) if each is old)] = new
    return changed


def _check(type_: Any, reason: Any) -> None:
    if not isinstance(type_, str) or not re.search(_QUALIFIED_NAME, type_) or "\n" in type_:
        raise DefinitionError(
            f"a condition of type {type_!r}: the type must be letters, digits, '-', '_' and '.', beginning and ending "
            f"with a letter or a digit, with a DNS name and '/' before it if need be: Ready, or foo.example.com/Ready"
        )
    if len(type_) > TYPE_MAX_LENGTH:
        raise DefinitionError(
            f"a condition of type {type_[:40]!r}...: the type must be no more than {TYPE_MAX_LENGTH} characters, this "
            f"has {len(type_)}"
        )
    error = reason_error(reason)
    if error is not None:
        raise DefinitionError(
            f"the condition {type_} with reason={reason!r:.200}: the reason {error}"
        )
