"""The revisions in play for a set: which one members get, and which one the last completed rollout brought.

What belongs here: the choice among revisions. What does not: when members get them (`plan`). Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from operatorkit.revisions import Resolution, Revision, record
from operators.petset.state import Snapshot
from operators.petset.template import same_template, to_data

__all__ = ["Target", "target_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The revisions in play: that of the template, the one that members get, and the last that completed.

    `update` differs from `history.update` while a failed rollout is replaced by an older revision.
    """

    history: Resolution
    update: Revision
    current: str
    rolled_back: bool


def target_of(seen: Snapshot) -> Target:
    """Return the revisions in play."""
    history = record(
        seen.name,
        to_data(seen.template),
        seen.revisions,
        taken=seen.occupied_revisions,
        collision_count=seen.status.collision_count or 0,
        equal=same_template,
    )
    known = {revision.name: revision for revision in seen.revisions}
    rollback = seen.status.rollback
    if rollback is not None and rollback.from_ == history.update.name and rollback.to in known:
        update, rolled_back = known[rollback.to], True
    else:
        update, rolled_back = history.update, False
    current = seen.status.current_revision
    if current not in known:
        current = update.name
    return Target(history=history, update=update, current=current, rolled_back=rolled_back)
