"""Fields that a class does not know: kept when an object is read, and whether they are sent.

What belongs here: marking the unknown fields of an external kind as read, so that writing sends
only those that were set. What does not: reading and writing themselves (`operatorkit.crd.model`,
`operatorkit.crd.official`).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

__all__ = ["mark_as_read", "unsent"]


class _ReadFields(dict[str, Any]):
    """The unknown fields of one piece of an object, and what they were when it was read."""

    as_read: dict[str, Any]


def mark_as_read(value: Any) -> None:
    """Remember which unknown fields `value`, a model or a container of models, was read with."""
    if isinstance(value, BaseModel):
        extra = value.__pydantic_extra__
        if extra:
            fields = _ReadFields(extra)
            fields.as_read = copy.deepcopy(extra)
            object.__setattr__(value, "__pydantic_extra__", fields)
        for part in vars(value).values():
            mark_as_read(part)
    elif isinstance(value, Mapping):
        for part in value.values():
            mark_as_read(part)
    elif isinstance(value, list | tuple):
        for part in value:
            mark_as_read(part)


def unsent(model: BaseModel) -> frozenset[str]:
    """Return the names (in JSON) of the unknown fields that were read and are unchanged: writing leaves them out.

    Guarantees: empty for an object of a kind that is not external.
    """
    extra = model.__pydantic_extra__
    if not isinstance(extra, _ReadFields):
        return frozenset()
    return frozenset(
        key for key, value in extra.as_read.items() if key in extra and extra[key] == value
    )
