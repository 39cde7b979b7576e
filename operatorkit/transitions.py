"""When a condition changes: the one rule on lastTransitionTime, for models and for the JSON of a status.

What belongs here: that rule, and setting a condition in JSON. What does not: the model `Condition` and the lists of
them that operators have (`operatorkit.conditions`).

Source: https://github.com/kubernetes/community/blob/main/contributors/devel/sig-architecture/api-conventions.md#typical-status-properties
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

__all__ = ["set_json_condition", "transition_time"]

T = TypeVar("T")


def transition_time(status: str, *, before: str | None, since: T | None, now: T) -> T:
    """Return when the status of a condition changed last: `since` while it is as `before`, else `now`."""
    return since if status == before and since is not None else now


def set_json_condition(
    conditions: list[dict[str, Any]], condition: Mapping[str, Any], *, now: str
) -> bool:
    """Set one condition in the JSON of a status, in place; return whether that changed anything.

    `condition` has everything but lastTransitionTime, and takes the place of the one of its type. `now` is a time as
    Kubernetes writes it.

    Guarantees: order is kept, and a new type goes to the end.
    """
    at = next((at for at, each in enumerate(conditions) if each["type"] == condition["type"]), None)
    old = {} if at is None else conditions[at]
    since = old.get("lastTransitionTime") or None
    moment = transition_time(condition["status"], before=old.get("status"), since=since, now=now)
    new = {**condition, "lastTransitionTime": moment}
    if new == old:
        return False
    if at is None:
        conditions.append(new)
    else:
        conditions[at] = new
    return True
