"""The order of a change over the shards of a cluster: which shards get the update revision now.

What belongs here: shards as units of a rollout, their order, and what is reported of it. What does
not: order, canary, bake, partition and budget in general (`operatorkit.rollout`), the change within
a shard (`rollout_plan`), and writing objects (`rollout_shards`). Pure: time is an argument.

A shard counts as updated once it is assigned the update revision, and as available once it is
healthy and has completed and verified the change. So the next shard begins only when the one before
is done. A shard whose change has failed is stuck: another revision reaches it before all others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from operatorkit.rollout import Decision, Phase, Policy, Unit, decide
from operators.mysql_sharding.api import ClusterRollback, ClusterRollout, UpdateStrategy

__all__ = ["ClusterPlan", "RollingShard", "plan_rollout", "policy_of", "units", "waits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RollingShard:
    """One shard, as its rollout sees it.

    `assigned` says that its specification is of the update revision, `done` that its members run
    what it is assigned, verified, `healthy` that it accepts writes and all members replicate.
    `failure` is why the change failed, "" where it did not; `pod` and `reason` are those of its
    rollout. `done_at` is when it was done.
    """

    name: str
    index: int
    assigned: bool
    done: bool
    healthy: bool
    failure: str = ""
    pod: str = ""
    reason: str = ""
    done_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterPlan:
    """What to do: `assign` names the shards that get the update revision now, in order.

    `complete` says that all shards have it. `failed` is a shard whose change to the update revision
    has failed: no further one is changed. `until` is when a bake is over.
    """

    assign: tuple[str, ...]
    complete: bool
    failed: RollingShard | None
    rollout: ClusterRollout
    until: datetime | None = None


def policy_of(strategy: UpdateStrategy) -> Policy:
    """Return the policy of a cluster for its shards as units."""
    return Policy(
        partition=strategy.partition,
        max_unavailable=strategy.max_unavailable_shards,
        paused=strategy.paused,
        canary=strategy.canary.shards,
        bake=timedelta(seconds=strategy.canary.bake_seconds),
    )


def units(
    shards: Iterable[RollingShard], order: Literal["Decreasing", "Increasing"]
) -> tuple[Unit, ...]:
    """Return the shards as units of `operatorkit.rollout`: by default the last one is the first."""
    known = sorted(shards, key=lambda shard: shard.index)
    return tuple(
        Unit(
            name=shard.name,
            rank=shard.index if order == "Decreasing" else len(known) - 1 - shard.index,
            updated=shard.assigned,
            available=shard.healthy and (not shard.assigned or shard.done),
            stuck=bool(shard.failure) and not shard.assigned,
            available_since=shard.done_at,
        )
        for shard in known
    )


def plan_rollout(
    shards: Sequence[RollingShard],
    strategy: UpdateStrategy,
    *,
    last: ClusterRollout | None,
    rollback: ClusterRollback | None,
    now: datetime,
) -> ClusterPlan:
    """Return what to do next; the order of `shards` does not matter."""
    failed = next((each for each in shards if each.assigned and each.failure), None)
    decision = decide(units(shards, strategy.order), policy_of(strategy), now=now)
    ended = last is not None and last.step == "Complete"
    complete = decision.phase is Phase.COMPLETE or (
        ended and all(each.assigned and each.done for each in shards)
    )
    chosen = (
        ()
        if failed is not None
        else (decision.repair,)
        if decision.repair is not None
        else decision.replace
    )
    started = now if last is None or (ended and not complete) else last.started_at
    known = {each.name: each for each in shards}
    subject = failed or next(
        (known[name] for name in (*chosen, *decision.waiting_for) if name in known), None
    )
    reason = (
        f"{failed.pod or failed.name}: {failed.failure}"
        if failed is not None
        else _COMPLETE
        if complete
        else _reason(decision, subject)
    )
    if rollback is not None:
        reason = f"{reason}; {rollback.from_} failed: {rollback.reason}"
    return ClusterPlan(
        assign=chosen,
        complete=complete,
        failed=failed,
        until=decision.until if not chosen else None,
        rollout=ClusterRollout(
            step="Failed"
            if failed is not None
            else "Complete"
            if complete
            else _STEPS[decision.phase],
            shard="" if complete or subject is None else subject.name,
            pod="" if complete or subject is None else subject.pod,
            started_at=started,
            reason=reason,
        ),
    )


def waits(plan: ClusterPlan, reason: str, until: datetime) -> ClusterPlan:
    """Return a plan that assigns no shard for now; `reason` says what is under way instead."""
    rollout = plan.rollout.model_copy(update={"reason": reason})
    return replace(plan, assign=(), rollout=rollout, until=until)


_COMPLETE = "all shards run the revision"
_STEPS: dict[Phase, Literal["Rolling", "Paused", "Partitioned", "Complete"]] = {
    Phase.COMPLETE: "Complete",
    Phase.PARTITIONED: "Partitioned",
    Phase.ROLLING: "Rolling",
    Phase.PAUSED: "Paused",
}


def _reason(decision: Decision, subject: RollingShard | None) -> str:
    """Return what is done or waited for: of the shard where it says so, else of the decision."""
    if decision.phase is Phase.ROLLING and subject is not None and not decision.replace:
        if subject.assigned and not subject.done:
            return subject.reason or f"{subject.name} is changed"
        if not subject.healthy:
            return f"{subject.name} is not healthy: its change, and that of others, waits for it"
    return decision.message
