"""Backups by schedule, and the deletion of old ones.

What belongs here: requests, and the condition BackupReady. What does not: what is due and what is
deleted (`schedule`), and how a backup is taken (`reconcile`).

    schedule ──► MysqlBackup <cluster>-<time>, not owned: it outlives its cluster
    retention ──► pod that deletes the data of the oldest one ──► the MysqlBackup is deleted
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from kubernetes.client.models import V1Pod

from operatorkit import Context, Requeue
from operatorkit.errors import AlreadyExists
from operatorkit.names import ObjectKey
from operatorkit.resource import ObjectMeta
from operators.mysql_sharding import reasons
from operators.mysql_sharding.api import MysqlCluster
from operators.mysql_sharding.backup.api import MysqlBackup, MysqlBackupSpec
from operators.mysql_sharding.backup.archiving import archive_logs
from operators.mysql_sharding.backup.pods import (
    LABEL_PRUNES,
    LABEL_SCHEDULE,
    is_owned,
    message_of,
    prune_pod,
)
from operators.mysql_sharding.backup.schedule import (
    FINISHED,
    Due,
    Missed,
    completed_at,
    expired,
    plan_schedule,
    readiness,
    scheduled_name,
    times,
)
from operators.mysql_sharding.backup.spec import BackupPolicy, BackupState

__all__ = ["cluster_of", "earlier", "keep_backups", "phase_changed"]

_CONDITION: Final = "BackupReady"
_RETRY: Final = Requeue(after=timedelta(seconds=60))


def phase_changed(old: MysqlBackup | None, new: MysqlBackup) -> bool:
    """Return whether a backup has begun or ended."""
    return old is None or old.status.phase != new.status.phase


def cluster_of(backup: MysqlBackup, reader: object) -> list[ObjectKey]:
    """Return the key of the cluster of a backup."""
    del reader
    return [ObjectKey(backup.metadata.namespace or "", backup.spec.cluster)]


async def keep_backups(cluster: MysqlCluster, ctx: Context) -> Requeue | None:
    """Start what is due, delete what is old, report. Returns when to look again."""
    policy, status = cluster.spec.backup, cluster.status
    if policy is None:
        status.backup, status.archives = None, []
        status.conditions = [one for one in status.conditions if one.type != _CONDITION]
        return None
    now = ctx.clock.now()
    state = status.backup
    if state is None:
        state = status.backup = BackupState(since=now)
    backups = [
        one
        for one in ctx.list(MysqlBackup, namespace=ctx.key.namespace)
        if one.spec.cluster == cluster.metadata.name
    ]
    await _start(cluster, policy, state, backups, ctx)
    again = await _prune(cluster, policy, backups, ctx)
    again = earlier(now, again, await archive_logs(cluster, ctx))
    done = [at for one in backups if (at := completed_at(one)) is not None]
    state.last_succeeded_at = max(done, default=None)
    found = readiness(policy, backups, status.archives, state.since, now)
    ctx.condition(_CONDITION, found.status, found.reason, found.message)
    state.next_scheduled_at = None
    if policy.schedule and not policy.suspend:
        state.next_scheduled_at = next(times(policy.schedule, policy.time_zone, now), None)
    if state.next_scheduled_at is None:
        return again
    return earlier(now, again, Requeue(at=state.next_scheduled_at))


def earlier(now: datetime, *requeues: Requeue | None) -> Requeue | None:
    """Return the first of several."""
    given = [one for one in requeues if one is not None]
    return min(given, key=lambda one: one.at or now + (one.after or timedelta(0)), default=None)


async def _start(
    cluster: MysqlCluster,
    policy: BackupPolicy,
    state: BackupState,
    backups: list[MysqlBackup],
    ctx: Context,
) -> None:
    running = any(one.status.phase not in FINISHED for one in backups)
    last = state.last_scheduled_at or state.since
    match plan_schedule(policy, last, ctx.clock.now(), running=running):
        case Due(at):
            name = scheduled_name(cluster.metadata.name, at)
            backup = MysqlBackup(
                metadata=ObjectMeta(
                    name=name,
                    namespace=ctx.key.namespace,
                    labels={LABEL_SCHEDULE: cluster.metadata.name},
                ),
                spec=MysqlBackupSpec(cluster=ctx.key.name, destination=policy.destination),
            )
            text = f"MysqlBackup {name} for {at:%Y-%m-%dT%H:%M:%SZ}"
            try:
                await ctx.api.create(
                    MysqlBackup.api_resource(), backup.write(), namespace=ctx.key.namespace
                )
            except AlreadyExists:  # created by a run whose status was not written
                ctx.log.info("%s exists", text)
            else:
                await ctx.events.normal(cluster, reasons.BACKUP_SCHEDULED, text)
            state.last_backup, state.last_scheduled_at = name, at
        case Missed(at):
            deadline = policy.starting_deadline_seconds
            text = f"no backup was started for {at:%Y-%m-%dT%H:%M:%SZ} within {deadline} s"
            await ctx.events.warning(cluster, reasons.BACKUP_MISSED, text)
            state.last_scheduled_at = at


async def _prune(
    cluster: MysqlCluster, policy: BackupPolicy, backups: list[MysqlBackup], ctx: Context
) -> Requeue | None:
    """Delete the oldest backup beyond those that are kept: its data first, then its object."""
    scheduled = [
        one
        for one in backups
        if (one.metadata.labels or {}).get(LABEL_SCHEDULE) == cluster.metadata.name
        and one.metadata.deletion_timestamp is None
    ]
    names = _restored_from(ctx)
    old = [one for one in expired(scheduled, policy.retention) if one.metadata.name not in names]
    found = ctx.list(V1Pod, namespace=ctx.key.namespace)
    pods = {
        name: pod
        for pod in found
        if is_owned(pod, cluster)
        and pod.metadata is not None
        and (name := (pod.metadata.labels or {}).get(LABEL_PRUNES)) is not None
    }
    for name in pods.keys() - {one.metadata.name for one in old}:
        await ctx.delete(pods[name])
    if not old or any(one.status.phase == "Running" for one in backups):
        return None  # a running backup has the claim
    backup = old[0]
    name = backup.metadata.name
    pod = pods.get(name)
    if pod is None:
        kept = [one.started_at for b in backups if b is not backup for one in b.status.shards]
        oldest = min((at for at in kept if at is not None), default=None)
        await ctx.create(prune_pod(cluster, backup, oldest))
        return None
    phase = pod.status.phase if pod.status is not None else None
    if phase == "Succeeded":
        await ctx.delete(backup)
        await ctx.delete(pod)
        text = f"MysqlBackup {name} and {backup.status.path or 'no data'}"
        await ctx.events.normal(cluster, reasons.BACKUP_DELETED, text)
        return Requeue(after=timedelta(0)) if old[1:] else None
    if phase == "Failed":
        why = message_of(pod) or "its pod failed without a message"
        await ctx.events.warning(cluster, reasons.RETENTION_FAILED, f"MysqlBackup {name}: {why}")
        await ctx.delete(pod)
        return _RETRY
    return None


def _restored_from(ctx: Context) -> set[str]:
    """Return the names of the backups that new clusters still read."""
    return {
        one.spec.restore_from.backup
        for one in ctx.list(MysqlCluster, namespace=ctx.key.namespace)
        if one.spec.restore_from is not None
        and one.spec.restore_from.backup is not None
        and (one.status.replicas == 0 or one.status.ready_replicas < one.status.replicas)
    }
