"""One Event object as far as this process knows it, and how much of a subject may still be written.

What belongs here: counts, and flood control. What does not: requests (`recorder`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from operatorkit.clock import parse_time
from operatorkit.events.notices import FloodLimits, Notice

__all__ = ["Series", "Subject"]


@dataclass(slots=True, eq=False)
class Series:
    """One Event object, as far as this process knows it.

    `live` says that `resource_version` may be patched, `held` that its cause lasts, `over` that it
    did and does no longer; `tries` counts the failures to write it since the last success.
    `granted` says that the next write has its token: one that failed, or waits for a sender, needs
    no second one. `unanswered` has what was sent since the last answer, and how many occurrences each
    adds: an API that answers too late may have written it.
    """

    name: str
    notice: Notice
    pending: int = 0
    count: int = 0
    first: datetime | None = None
    resource_version: str = ""
    live: bool = False
    written: datetime | None = None
    over: bool = False
    held: bool = False
    granted: bool = False
    tries: int = 0
    unanswered: list[tuple[Mapping[str, Any], int]] = field(default_factory=list)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing of it is being written, or waits for that."""
        return not self.held and (self.over or not self.pending) and not self.lock.locked()

    def may_write(self, subject: Subject, now: float, limits: FloodLimits) -> bool:
        """Return whether flood control allows the next write; it takes one token of `subject` for it."""
        self.granted = self.granted or subject.take(now, limits)
        return self.granted

    def learn(self, event: Mapping[str, Any]) -> None:
        """Take in the Event as the server has it."""
        self.count = max(int(event.get("count") or 0), 1)
        self.resource_version = event["metadata"]["resourceVersion"]
        written = event.get("eventTime") or event.get("firstTimestamp")
        self.first = parse_time(written) if written else None
        self.live = True

    def arrived(self, event: Mapping[str, Any]) -> int:
        """Return how many occurrences the server has from a write without an answer; each is returned once."""
        added = next(
            (added for body, added in self.unanswered if _is_written_by(event, body)),
            0,
        )
        self.unanswered.clear()
        return added


def _is_written_by(event: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    """Return whether the last write of an Event was that of `body`: of that process, count and microsecond."""
    marks = ("eventTime", "lastTimestamp", "count", "series", "reportingInstance")
    return all(event.get(name) == body[name] for name in marks if name in body)


@dataclass(slots=True, eq=False)
class Subject:
    """What may still be sent about one subject: a token bucket, and the recent messages of each reason."""

    tokens: float
    at: float
    recent: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)

    def take(self, now: float, limits: FloodLimits) -> bool:
        """Take a token out of the bucket, if there is one."""
        # The spam filter of client-go's EventCorrelator: a burst of 25 for each subject, then one in 300 s.
        # https://pkg.go.dev/k8s.io/client-go/tools/record#CorrelatorOptions
        self.tokens = min(
            limits.burst, self.tokens + (now - self.at) / limits.refill.total_seconds()
        )
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def combines(self, notice: Notice, key: str, now: float, limits: FloodLimits) -> bool:
        """Say whether `key` comes when its reason has had `combine_at` - 1 other keys of late."""
        # Its aggregator: from the tenth distinct message of one reason within ten minutes, one combined
        # Event. Messages that differ by a time or a number only share a `key`.
        window = limits.combine_within.total_seconds()
        slot = (notice.type, notice.reason)
        recent = {seen: at for seen, at in self.recent.get(slot, {}).items() if now - at <= window}
        self.recent[slot] = recent
        if key in recent or len(recent) < limits.combine_at - 1:
            recent[key] = now
            return False
        return True
