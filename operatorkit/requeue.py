"""What a reconcile function returns to be called again.

What belongs here: the value. What does not: when the engine acts on it (`operatorkit._runtime`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

__all__ = ["Requeue"]


@dataclass(frozen=True, slots=True)
class Requeue:
    """Returned by a reconcile function: run me again later, or sooner when something changes.

    `after` is a duration from now, `at` a moment of the wall clock, with a time zone; one of the two, and none is at
    once. Use `at` for what is due by the calendar (a certificate's renewal, a schedule).

    Guarantees: the operator looks at least once a minute whether `at` has come, so that it runs then though the machine
    was suspended or its clock was set; a moment that has passed is at once. `after` counts the time of a suspended
    machine where the system has such a clock (Linux).

    Raises ValueError for both, a negative duration, and a moment without a time zone.
    """

    after: timedelta | None = None
    at: datetime | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.at is not None and self.after is not None:
            raise ValueError(
                f"Requeue(after={self.after!r}, at={self.at!r}) has both: give one of them"
            )
        if self.at is not None and self.at.utcoffset() is None:
            raise ValueError(
                f"Requeue(at={self.at!r}) has no time zone: give an aware datetime, such as"
                " ctx.clock.now() + timedelta(days=1), or .replace(tzinfo=UTC) if it is UTC"
            )
        if self.after is not None and self.after < timedelta(0):
            raise ValueError(
                f"Requeue(after={self.after!r}) lies in the past: give a duration of zero or more"
            )
