"""How soon a Secret that was deleted or changed is repaired again.

What belongs here: the back-off of repairs. What does not: what needs a repair
(`operators.pki.plan`).
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta

__all__ = ["RepairBackOff"]


class RepairBackOff:
    """The first `at_once` repairs of one Secret for one cause are made at once, the next after 5 s doubling to 5 min.

    After `quiet` without a repair, the count starts again. Remembers the `remembered` most recently
    repaired.
    """

    def __init__(
        self,
        *,
        at_once: int = 3,
        base: timedelta = timedelta(seconds=5),
        limit: timedelta = timedelta(minutes=5),
        quiet: timedelta = timedelta(minutes=10),
        remembered: int = 10_000,
    ) -> None:
        self._at_once = at_once
        self._base = base
        self._limit = limit
        self._quiet = quiet
        self._remembered = remembered
        self._repairs: OrderedDict[tuple[str, str], tuple[int, datetime]] = OrderedDict()

    def allowed_at(self, uid: str, cause: str, now: datetime) -> datetime:
        """Return when the next repair of the Secret of `uid` for `cause` may be made; `now`, or earlier, is at once."""
        repairs = self.number(uid, cause, now)
        if repairs < self._at_once:
            return now
        last = self._repairs[uid, cause][1]
        return last + min(self._base * 2.0 ** min(repairs - self._at_once, 20), self._limit)

    def number(self, uid: str, cause: str, now: datetime) -> int:
        """Return how many repairs there were lately."""
        repairs, last = self._repairs.get((uid, cause), (0, now))
        return repairs if now - last < self._quiet else 0

    def count(self, uid: str, cause: str, now: datetime) -> None:
        """Remember a repair."""
        self._repairs[uid, cause] = (self.number(uid, cause, now) + 1, now)
        self._repairs.move_to_end((uid, cause))
        while len(self._repairs) > self._remembered:
            self._repairs.popitem(last=False)
