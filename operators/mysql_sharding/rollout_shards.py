"""Rolling a change over the shards of a cluster: revisions, assignments, and what is reported.

What belongs here: reading and writing ControllerRevisions and shards, and the status of the cluster.
What does not: the decision (`rollout_cluster`), and the change within a shard (`rollout_shard`).

A shard that is not its turn keeps its image, resources and configuration: only its own specification
says what its members start with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from kubernetes.client.models import V1ControllerRevision

from operatorkit import Context, Requeue
from operatorkit.conditions import get_condition
from operatorkit.errors import NotFound
from operatorkit.events import Reference
from operatorkit.resource import api_resource_of
from operatorkit.revisions import Resolution, Revision, hash_of, record, truncated
from operators.mysql_sharding import reasons
from operators.mysql_sharding.api import (
    GROUP,
    ClusterRollback,
    MysqlCluster,
    MysqlDatabase,
    ShardOrigin,
)
from operators.mysql_sharding.app import app
from operators.mysql_sharding.objects import shard_of
from operators.mysql_sharding.proxy.buckets import moving
from operators.mysql_sharding.revision import active_rollout, data_of, digest_of, with_data
from operators.mysql_sharding.rollout_cluster import ClusterPlan, RollingShard, plan_rollout, waits

__all__ = ["LABEL_CLUSTER", "roll_shards"]

LABEL_CLUSTER = f"{GROUP}/cluster"
_INDEX = "cluster"
_MOVE_AGAIN = timedelta(seconds=2)
"""How soon a rollout looks again whether the move of a bucket is over."""
_REVISIONS = api_resource_of(V1ControllerRevision)

app.needs(V1ControllerRevision, "delete", reason="the history is cut at revisionHistoryLimit")


def _revision_index(revision: V1ControllerRevision) -> Iterable[str]:
    metadata = revision.metadata
    name = ((metadata.labels if metadata is not None else None) or {}).get(LABEL_CLUSTER)
    return [f"{metadata.namespace}/{name}"] if name and metadata is not None else []


app.index(V1ControllerRevision, _INDEX, _revision_index)


@dataclass(frozen=True, slots=True, kw_only=True)
class _History:
    """The revisions of a cluster, what is to be recorded, and the one that the shards get."""

    known: Mapping[str, Revision]
    resolution: Resolution
    target: Revision
    rollback: ClusterRollback | None


async def roll_shards(
    cluster: MysqlCluster, ctx: Context, origins: Sequence[ShardOrigin | None]
) -> tuple[list[MysqlDatabase], Requeue | None]:
    """Apply the shards, each with the revision that it shall have now, and report the rollout.

    `origins` are the backups that they start with, by number.
    """
    revisions = _revisions(cluster, ctx)
    data = _wanted(cluster, revisions)
    if data is None:
        names = ", ".join(f"{each.number} ({each.name})" for each in revisions) or "none"
        message = f"spec.rollbackTo: there is no revision {cluster.spec.rollback_to!r}: use one of {names}"
        ctx.condition("Progressing", False, reasons.REVISION_NOT_FOUND, message)
        return await _apply(cluster, ctx, origins, {}, fallback=data_of(cluster.spec)), None
    history = _history(cluster, ctx, revisions, data)
    await _record(cluster, ctx, history)
    existing = _existing(cluster, ctx)
    now = ctx.clock.now()
    plan = plan_rollout(
        _rolling(cluster, existing, history.target),
        cluster.spec.update_strategy,
        last=cluster.status.rollout,
        rollback=history.rollback,
        now=now,
    )
    moved = moving(cluster.status)
    if moved is not None and plan.assign:
        plan = waits(plan, f"bucket {moved} is being moved to another shard", now + _MOVE_AGAIN)
    shards = await _apply(
        cluster,
        ctx,
        origins,
        dict.fromkeys(plan.assign, history.target.data),
        fallback=_for_new_shards(cluster, history),
    )
    reverted = await _report(cluster, ctx, plan, history, shards, now)
    await _truncate(cluster, ctx, history, shards)
    if reverted:
        return shards, Requeue()
    return shards, Requeue(at=plan.until) if plan.until is not None else None


# Revisions -----------------------------------------------------------------------------------------


def _revisions(cluster: MysqlCluster, ctx: Context) -> list[Revision]:
    key = f"{cluster.metadata.namespace}/{cluster.metadata.name}"
    found = ctx.list(
        V1ControllerRevision, namespace=cluster.metadata.namespace, index=(_INDEX, key)
    )
    return sorted(
        (
            Revision(name=each.metadata.name or "", number=int(each.revision or 0), data=each.data)
            for each in found
            if each.metadata is not None and isinstance(each.data, dict)
        ),
        key=lambda each: each.number,
    )


def _wanted(cluster: MysqlCluster, revisions: Sequence[Revision]) -> Mapping[str, Any] | None:
    """Return what the shards shall have: that of rollbackTo, None where there is no such revision."""
    chosen = cluster.spec.rollback_to
    if not chosen:
        return data_of(cluster.spec)
    return next((each.data for each in revisions if chosen in {each.name, str(each.number)}), None)


def _history(
    cluster: MysqlCluster, ctx: Context, revisions: list[Revision], data: Mapping[str, Any]
) -> _History:
    status, taken = cluster.status, set[str]()
    while True:
        resolution = record(
            cluster.metadata.name,
            data,
            revisions,
            taken=taken,
            collision_count=status.collision_count,
        )
        if not resolution.create or ctx.get(V1ControllerRevision, resolution.update.name) is None:
            break
        taken.add(resolution.update.name)  # of another owner, such as a PetSet of this name
    known = {each.name: each for each in revisions} | {resolution.update.name: resolution.update}
    rollback = status.rollback
    if rollback is not None and rollback.from_ == resolution.update.name and rollback.to in known:
        return _History(
            known=known, resolution=resolution, target=known[rollback.to], rollback=rollback
        )
    return _History(known=known, resolution=resolution, target=resolution.update, rollback=None)


async def _record(cluster: MysqlCluster, ctx: Context, history: _History) -> None:
    """Write the revision, before any shard gets it."""
    status, update = cluster.status, history.resolution.update
    if history.resolution.create or history.resolution.renumber:
        labels = {LABEL_CLUSTER: cluster.metadata.name}
        await ctx.apply(
            V1ControllerRevision(
                metadata={"name": update.name, "labels": labels},
                data=dict(update.data),
                revision=update.number,
            ),
            prune=False,
        )
    status.collision_count = history.resolution.collision_count
    status.rollback = history.rollback
    if status.current_revision not in history.known:
        status.current_revision = history.target.name
    if status.update_revision not in {"", history.target.name} and history.rollback is None:
        message = f"revision {history.target.name} is rolled through the shards"
        await ctx.events.normal(Reference.of(cluster), reasons.ROLLOUT_STARTED, message)
    status.update_revision = history.target.name


async def _truncate(
    cluster: MysqlCluster, ctx: Context, history: _History, shards: Iterable[MysqlDatabase]
) -> None:
    digests = {digest_of(shard.spec) for shard in shards}
    status = cluster.status
    used = {status.current_revision, status.update_revision, history.resolution.update.name}
    used |= {each.name for each in history.known.values() if hash_of(each.data) in digests}
    revisions = list(history.known.values())
    for old in truncated(revisions, used=used, limit=cluster.spec.revision_history_limit):
        try:
            await ctx.api.delete(_REVISIONS, old.name, namespace=cluster.metadata.namespace)
        except NotFound:
            continue


# Shards --------------------------------------------------------------------------------------------


def _names(cluster: MysqlCluster) -> list[str]:
    return [f"{cluster.metadata.name}{number}" for number in range(cluster.spec.shards)]


def _existing(cluster: MysqlCluster, ctx: Context) -> dict[str, MysqlDatabase]:
    found = {name: ctx.get(MysqlDatabase, name) for name in _names(cluster)}
    return {name: shard for name, shard in found.items() if shard is not None}


def _for_new_shards(cluster: MysqlCluster, history: _History) -> Mapping[str, Any]:
    """Return what a shard is created with: a revision that has not been proved reaches it in its turn."""
    current = history.known.get(cluster.status.current_revision)
    return (current or history.target).data


async def _apply(
    cluster: MysqlCluster,
    ctx: Context,
    origins: Sequence[ShardOrigin | None],
    assigned: Mapping[str, Mapping[str, Any]],
    *,
    fallback: Mapping[str, Any],
) -> list[MysqlDatabase]:
    """Apply all shards: those of `assigned` with that data, the others with what they have."""
    existing = _existing(cluster, ctx)
    wanted = []
    for number, name in enumerate(_names(cluster)):
        kept = data_of(existing[name].spec) if name in existing else fallback
        wanted.append(
            shard_of(with_data(cluster, assigned.get(name, kept)), number, origins[number])
        )
    shards: list[MysqlDatabase] = await ctx.apply(*wanted)
    return shards


def _rolling(
    cluster: MysqlCluster, existing: Mapping[str, MysqlDatabase], target: Revision
) -> list[RollingShard]:
    return [
        _seen(existing[name], index, target)
        if name in existing
        else RollingShard(name=name, index=index, assigned=True, done=False, healthy=False)
        for index, name in enumerate(_names(cluster))
    ]


def _seen(shard: MysqlDatabase, index: int, target: Revision) -> RollingShard:
    status, digest = shard.status, digest_of(shard.spec)
    active, current, rollout = active_rollout(shard), status.current, status.rollout
    done = active is None and current is not None and current.digest == digest
    return RollingShard(
        name=shard.metadata.name,
        index=index,
        assigned=digest == hash_of(target.data),
        done=done,
        healthy=_is_healthy(shard),
        failure=active.reason if active is not None and active.step == "Failed" else "",
        pod=active.pod if active is not None else "",
        reason=active.reason if active is not None else "",
        done_at=rollout.finished_at if done and rollout is not None else None,
    )


def _is_healthy(shard: MysqlDatabase) -> bool:
    held = {
        name: condition.status if condition is not None else ""
        for name in ("Available", "Degraded")
        for condition in [get_condition(shard.status.conditions, name)]
    }
    return held == {"Available": "True", "Degraded": "False"} and shard.status.failover is None


# Reports -------------------------------------------------------------------------------------------


async def _report(
    cluster: MysqlCluster,
    ctx: Context,
    plan: ClusterPlan,
    history: _History,
    shards: Sequence[MysqlDatabase],
    now: datetime,
) -> bool:
    """Report the rollout; return whether it is reverted from now on."""
    status, last = cluster.status, cluster.status.rollout
    digests = [digest_of(shard.spec) for shard in shards]
    status.updated_replicas = digests.count(hash_of(history.target.data))
    if plan.complete:
        if status.current_revision != history.target.name:
            message = f"all shards run revision {history.target.name}"
            await ctx.events.normal(Reference.of(cluster), reasons.ROLLOUT_COMPLETED, message)
        status.current_revision = history.target.name
    current = history.known.get(status.current_revision)
    status.current_replicas = digests.count(hash_of(current.data)) if current is not None else 0
    status.rollout = plan.rollout
    _conditions(ctx, plan, history)
    if plan.failed is None:
        return False
    where = f"shard {plan.failed.name}, {plan.failed.pod or 'no pod'}: {plan.failed.failure}"
    if last is None or last.step != "Failed":
        message = f"revision {history.target.name} stopped at {where}"
        await ctx.events.warning(Reference.of(cluster), reasons.ROLLOUT_FAILED, message)
    reverts = (
        cluster.spec.update_strategy.auto_rollback
        and history.rollback is None
        and status.current_revision != history.target.name
    )
    if reverts:
        status.rollback = ClusterRollback.model_validate(
            {
                "from": history.target.name,
                "to": status.current_revision,
                "at": now,
                "reason": where,
            }
        )
        message = f"the shards return to revision {status.current_revision}: {where}"
        await ctx.events.warning(Reference.of(cluster), reasons.ROLLED_BACK, message)
    return reverts


def _conditions(ctx: Context, plan: ClusterPlan, history: _History) -> None:
    if plan.failed is not None:
        where = f"shard {plan.failed.name}, {plan.failed.pod or 'no pod'}: {plan.failed.failure}"
        ctx.condition("Progressing", False, reasons.ROLLOUT_FAILED, where)
        ctx.condition("Degraded", True, reasons.ROLLOUT_FAILED, where)
        return
    ctx.condition("Degraded", False, reasons.NO_ROLLOUT_FAILED)
    if history.rollback is not None:
        message = (
            f"revision {history.rollback.from_} failed and is not used until image, resources or "
            f"config change: {history.rollback.reason}"
        )
        ctx.condition("Progressing", False, reasons.ROLLED_BACK, message)
    elif plan.rollout.step == "Paused":
        message = "set updateStrategy.paused to false to continue"
        ctx.condition("Progressing", None, reasons.ROLLOUT_PAUSED, message)
    elif plan.complete:
        ctx.condition("Progressing", True, reasons.ROLLOUT_COMPLETED, plan.rollout.reason)
    else:
        ctx.condition("Progressing", True, reasons.ROLLOUT_UNDER_WAY, plan.rollout.reason)
