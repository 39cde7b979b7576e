"""Leader election as a decision: what a replica does next about the Lease, from what it observed and the time.

What belongs here: the rules, as pure functions of values. What does not: reading and writing the Lease (`leases`), and
what only the leader runs (`engine`).

                       no record                        ┌─────────────┐
        ┌──────────────────────────────── Create ──────>│             │── retry period ── Renew ──┐
        │              released, or not renewed         │   LEADING   │<──────── written ─────────┘
    ┌─────────┐        for the lease duration           │             │
    │ STANDBY │────────────────────────── Take ────────>│             │── stop ── release ──> (ended)
    └─────────┘                                         └─────────────┘
      ^     │ another holder renews                        │ not renewed for the renew deadline,
      └─────┘ Wait                                         │ or another holder in the Lease
                                                           v
                                                         Lost: the process ends; it never returns to standby

Source: k8s.io/client-go/tools/leaderelection, whose rules these are:

- Only the monotonic clock of this replica counts, never a time that another one wrote: clocks of machines differ. A
  Lease is expired when this replica has seen the same record for the lease duration.
- A leader that could not renew for the renew deadline has lost the Lease. The renew deadline is shorter than the lease
  duration, so it ends before any standby may take over.

One rule is stricter than client-go's: a leader that finds another holder in the Lease has lost it at once, instead of
trying until the renew deadline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from operatorkit.settings import LeaderElection

__all__ = [
    "Create",
    "Lost",
    "Observed",
    "Record",
    "Renew",
    "Step",
    "Take",
    "Wait",
    "decide",
    "observe",
]


@dataclass(frozen=True, slots=True)
class Record:
    """What a Lease says: who holds it ("" for none) and the resourceVersion, which each renewal changes."""

    holder: str
    version: str


@dataclass(frozen=True, slots=True)
class Observed:
    """What this replica knows: the record (None where there is no Lease), and when it first saw just that record.

    `since` is a reading of the monotonic clock, as is `renewed`: when this replica began its last successful write of
    the Lease, None while it has not led.
    """

    record: Record | None
    since: float
    renewed: float | None = None


@dataclass(frozen=True, slots=True)
class Create:
    """Create the Lease, with this replica as its holder."""


@dataclass(frozen=True, slots=True)
class Take:
    """Become the holder: the Lease was released, expired, or still names this replica."""


@dataclass(frozen=True, slots=True)
class Renew:
    """Write the Lease again, as its holder."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again later; `holder` has the Lease."""

    holder: str


@dataclass(frozen=True, slots=True)
class Lost:
    """End the process. `cause` is the other holder, or that the Lease could not be renewed in time."""

    cause: Literal["another holder", "renew deadline"]
    holder: str = ""


Step = Create | Take | Renew | Wait | Lost


def observe(known: Observed, record: Record | None, now: float) -> Observed:
    """Return what is known after reading `record`: its age starts again only when the record changed."""
    if record == known.record:
        return known
    return Observed(record, now, known.renewed)


def decide(observed: Observed, *, identity: str, now: float, settings: LeaderElection) -> Step:
    """Return the next step of the replica `identity` at the monotonic time `now`."""
    record = observed.record
    if observed.renewed is not None:
        if record is not None and record.holder not in {"", identity}:
            return Lost("another holder", record.holder)
        if now - observed.renewed >= settings.renew_deadline.total_seconds():
            return Lost("renew deadline")
        return Create() if record is None else Renew()
    if record is None:
        return Create()
    if record.holder in {"", identity}:
        return Take()
    if now - observed.since >= settings.lease_duration.total_seconds():
        return Take()
    return Wait(record.holder)
