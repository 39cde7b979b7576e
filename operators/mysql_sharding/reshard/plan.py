"""The next step of a bucket's move: a decision about what is observed. Pure.

What belongs here: the order. What does not: how a step is done (`execute`), and which bucket moves
(`balance`).

    Copying    rows and changes are copied; HoldTarget: the name on the target is a placeholder that
       │       is locked, so that statements of the bucket wait there
       ▼
    Switching  PointNodes: nodes point to the target ─> FenceSource ─> drain ──┐
       │                                                                       │ status.bucketMap
       ▼                                                                       ▼
    Opening    OpenTarget: the copy takes the place of the placeholder, and statements go on
       │
       ▼
    Dropping   all nodes are verified ─> DropSource ─> Finish

Each of the four words is written to the status, by resourceVersion, before the first statement of its
steps. A crash at any point leads back to the same word, and what is observed then says what is left:

- Until FenceSource, the source has every write; a node that still points there loses nothing.
- After FenceSource, no node can write at the source, because the tables have other names. What was
  written before is in the tables, and each changed key in the log of changes.
- The map changes when the log is empty, and only then does the target serve.

Where the source cannot be fenced within a second, because a statement or a prepared transaction holds
its tables, the word is Copying again: the nodes return to the source, and statements wait no longer.

So there is no moment at which both shards accept a write to the bucket.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, assert_never

__all__ = [
    "ApplyChanges",
    "CopyRows",
    "DropSource",
    "FenceSource",
    "Finish",
    "Hold",
    "HoldTarget",
    "MoveStep",
    "OpenTarget",
    "PointNodes",
    "Prepare",
    "Record",
    "RecordMoved",
    "SeenMove",
    "next_step",
]

MoveWord = Literal["Copying", "Switching", "Opening", "Dropping"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenMove:
    """A move as it was observed at one moment.

    `blocked` says why no statement can be sent to the primaries of source and target, "" where they
    can. `prepared` says that the tables and triggers of the move were found after the last change of
    a primary, `copied` that every row was read once since then. `backlog` counts changes that the
    target lacks, up to a limit. `in_doubt` names a transaction on the source that was prepared and
    not ended. `held` says that statements wait at the target, `pointed` that the nodes were pointed
    there by this process, `unfenced` why the source could not be fenced last time and the next attempt
    is not due, and `unverified` names nodes of which that is not known. `serves_source`
    and `serves_target` say that the tables have the names that nodes use, `left` that there are
    tables of the move which are of no use any more.
    """

    step: MoveWord
    blocked: str = ""
    prepared: bool = False
    copied: bool = False
    backlog: int = 0
    in_doubt: str = ""
    held: bool = False
    pointed: bool = False
    unfenced: str = ""
    unverified: str = ""
    serves_source: bool = False
    serves_target: bool = False
    left: bool = False


@dataclass(frozen=True, slots=True)
class Prepare:
    """Create the copy on the target, and on the source the log of changes, with triggers that fill it.

    Where the log is not complete, the copy begins again.
    """


@dataclass(frozen=True, slots=True)
class CopyRows:
    """Copy rows in the order of the primary key, for about a second."""


@dataclass(frozen=True, slots=True)
class ApplyChanges:
    """Copy again the rows whose keys are in the log of changes, for about a second."""


@dataclass(frozen=True, slots=True)
class HoldTarget:
    """Create the placeholder on the target, and lock it: statements that arrive there wait."""


@dataclass(frozen=True, slots=True)
class PointNodes:
    """Point all nodes that answer to the target."""


@dataclass(frozen=True, slots=True)
class FenceSource:
    """Rename the tables on the source: no node can write there."""


@dataclass(frozen=True, slots=True)
class OpenTarget:
    """Rename the copy on the target to the name that nodes use, and release those that wait."""


@dataclass(frozen=True, slots=True)
class DropSource:
    """Drop what is left of the bucket on the source."""


@dataclass(frozen=True, slots=True)
class Record:
    """Write the next word to the status."""

    step: MoveWord


@dataclass(frozen=True, slots=True)
class RecordMoved:
    """Write the map in which the bucket is on the target, and the word Opening, at once."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Write that the move is over."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing can be done before something changes."""

    reason: str


MoveStep = (
    Prepare
    | CopyRows
    | ApplyChanges
    | HoldTarget
    | PointNodes
    | FenceSource
    | OpenTarget
    | DropSource
    | Record
    | RecordMoved
    | Finish
    | Hold
)

CAUGHT_UP = 100
"""Changes that are applied within a fraction of a second, while statements wait."""


def next_step(seen: SeenMove) -> MoveStep:
    """Return what to do next."""
    if seen.blocked:
        return Hold(seen.blocked)
    match seen.step:
        case "Copying":
            return _copying(seen)
        case "Switching":
            return _switching(seen)
        case "Opening":
            return Record("Dropping") if seen.serves_target else OpenTarget()
        case "Dropping":
            if seen.unverified:
                return Hold(
                    f"the former copy is kept until every node is pointed: {seen.unverified}"
                )
            return DropSource() if seen.left else Finish()
    assert_never(seen.step)


def _copying(seen: SeenMove) -> MoveStep:
    if not seen.prepared:
        return Prepare()
    if not seen.copied:
        return CopyRows()
    if seen.backlog > CAUGHT_UP:
        return ApplyChanges()
    if seen.in_doubt:
        return Hold(f"a transaction is prepared and not ended on the source: {seen.in_doubt}")
    if seen.unfenced:
        return Hold(f"the switch is tried again later: {seen.unfenced}")
    if seen.unverified:
        return Hold(f"a node is not configured: {seen.unverified}")
    if not seen.held:  # from Switching on, the loop of the nodes may point them at any moment
        return HoldTarget()
    return Record("Switching")


def _switching(seen: SeenMove) -> MoveStep:
    if seen.serves_source and seen.unfenced:
        return Record("Copying")
    if not seen.held:
        return HoldTarget()
    if not seen.pointed:
        return PointNodes()
    if seen.serves_source:
        return FenceSource()
    if seen.in_doubt:
        return Hold(f"a transaction is prepared and not ended on the source: {seen.in_doubt}")
    return ApplyChanges() if seen.backlog else RecordMoved()
