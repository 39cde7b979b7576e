"""Taking a backup: one pod for each shard, one after the other.

What belongs here: requests and the status. What does not: what is next (`plan`), and what the pods
do (`scripts`).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from kubernetes.client.models import V1Pod

from operatorkit import Context, Requeue
from operators.mysql_sharding import reasons
from operators.mysql_sharding.api import MysqlCluster, MysqlDatabase
from operators.mysql_sharding.app import app
from operators.mysql_sharding.backup.api import MysqlBackup, ShardBackup
from operators.mysql_sharding.backup.archiving import login_of
from operators.mysql_sharding.backup.check import BACKUP_NAME_MAX_LENGTH
from operators.mysql_sharding.backup.cut import take_cut
from operators.mysql_sharding.backup.manifest import Manifest, ManifestError, parse_manifest
from operators.mysql_sharding.backup.plan import (
    Complete,
    Fail,
    Record,
    RecordLogs,
    RunLogs,
    RunPod,
    SeenPod,
    TakeCut,
    Wait,
    plan,
)
from operators.mysql_sharding.backup.pods import (
    LABEL_BACKUP,
    Placed,
    backup_pod,
    backup_pod_name,
    directory_of,
    is_owned,
    logs_pod,
    logs_pod_name,
    message_of,
)
from operators.mysql_sharding.proxy.buckets import moving
from operators.mysql_sharding.sql import Asyncmy, Login, SqlError

__all__ = ["reconcile_backup"]

_AGAIN: Final = Requeue(after=timedelta(seconds=2))
_NOW: Final = Requeue(after=timedelta(0))


@app.reconcile(MysqlBackup, owns=[V1Pod])
async def reconcile_backup(backup: MysqlBackup, ctx: Context) -> Requeue | None:
    """Read each shard of a cluster once, and record what was written."""
    status = backup.status
    status.observed_generation = backup.metadata.generation
    if status.phase in {"Completed", "Failed"}:
        await _delete_pods(backup, ctx)
        return None
    if len(backup.metadata.name) > BACKUP_NAME_MAX_LENGTH:
        most = f"metadata.name may have {BACKUP_NAME_MAX_LENGTH} characters at most: shorten it"
        await _fail(backup, ctx, most)
        return None
    status.path = directory_of(backup)
    cluster = ctx.get(MysqlCluster, backup.spec.cluster)
    if cluster is None:
        return _wait(ctx, Wait("Pending", f"spec.cluster: no MysqlCluster {backup.spec.cluster}"))
    status.cluster_uid = status.cluster_uid or cluster.metadata.uid or ""
    return await _advance(backup, cluster, ctx)


async def _advance(backup: MysqlBackup, cluster: MysqlCluster, ctx: Context) -> Requeue | None:
    moved = moving(cluster.status)
    if moved is not None:  # a bucket is on two shards; the next one waits for this backup
        return _wait(ctx, Wait("Pending", f"bucket {moved} is being moved to another shard"))
    names = [f"{cluster.metadata.name}{number}" for number in range(cluster.spec.shards)]
    shards = [ctx.get(MysqlDatabase, name) for name in names]
    pods = {pod.metadata.name: pod for pod in _pods(backup, ctx) if pod.metadata is not None}
    numbers = range(len(names))
    read = {n: _seen(pods[p]) for n in numbers if (p := backup_pod_name(backup, n)) in pods}
    logs = {n: _seen(pods[p]) for n in numbers if (p := logs_pod_name(backup, n)) in pods}
    recorded = {one.shard: one for one in backup.status.shards}
    step = plan(shards, recorded, read, names, logs)
    match step:
        case RunPod() | RunLogs():
            shard = shards[step.number]
            assert shard is not None
            return await _run(backup, shard, step, ctx)
        case TakeCut():
            return await _cut(backup, [shard for shard in shards if shard is not None], ctx)
        case RecordLogs():
            return await _record_logs(backup, step, pods[logs_pod_name(backup, step.number)], ctx)
        case Record():
            return await _record(backup, step, pods[backup_pod_name(backup, step.number)], ctx)
        case Fail():
            await _fail(backup, ctx, step.why)
        case Wait():
            backup.status.phase = step.phase
            return _wait(ctx, step)
        case Complete():
            await _complete(backup, ctx)
    return None


async def _run(
    backup: MysqlBackup, shard: MysqlDatabase, step: RunPod | RunLogs, ctx: Context
) -> Requeue | None:
    member = ctx.get(V1Pod, step.member)
    node = member.spec.node_name if member is not None and member.spec is not None else None
    if not node:
        return _wait(ctx, Wait("Pending", f"the pod of {step.member} is on no node"))
    place = Placed(step.member, node)
    backup.status.phase = "Running"
    if isinstance(step, RunLogs):
        known = next(one for one in backup.status.shards if one.shard == shard.metadata.name)
        await ctx.create(logs_pod(backup, shard, step.number, place, known))
        return None
    await ctx.create(backup_pod(backup, shard, step.number, place))
    message = f"{shard.metadata.name} is being read from {step.member}"
    ctx.condition("Complete", False, reasons.BACKUP_RUNNING, message)
    await ctx.events.normal(backup, reasons.BACKUP_STARTED, message)
    return None


async def _record(backup: MysqlBackup, step: Record, pod: V1Pod, ctx: Context) -> Requeue | None:
    """Record a shard, and delete its pod, which keeps the claim of the member in use.

    Were the operator to end between both, another pod would find the backup complete, and return
    its manifest again.
    """
    try:
        manifest = parse_manifest(step.message)
    except ManifestError as error:
        await _fail(backup, ctx, str(error))
        return None
    backup.status.shards.append(_shard_backup(manifest))
    await ctx.delete(pod)
    text = (
        f"{manifest.shard}: {manifest.total_bytes} bytes from {manifest.member} in "
        f"{manifest.duration_seconds:.0f} s, up to {manifest.gtid or 'the first transaction'}"
    )
    await ctx.events.normal(backup, reasons.SHARD_BACKED_UP, text)
    return _NOW


async def _cut(backup: MysqlBackup, shards: list[MysqlDatabase], ctx: Context) -> Requeue | None:
    """Record the position of each shard at one moment."""
    logins: dict[str, Login] = {}
    for shard in shards:
        login = login_of(shard, shard.status.primary, ctx)
        if login is None:
            return _wait(ctx, Wait("Running", f"the primary of {shard.metadata.name} is not there"))
        logins[shard.metadata.name] = login
    try:
        cut = await take_cut(Asyncmy(), logins, ctx.clock)
    except SqlError as error:
        return _wait(ctx, Wait("Running", f"no consistent cut yet: {error}"))
    for one in backup.status.shards:
        one.cut = cut.positions[one.shard]
    backup.status.cut_at = cut.at.replace(microsecond=0) + timedelta(seconds=1)  # not before it
    milliseconds = cut.pause / timedelta(milliseconds=1)
    text = f"{len(shards)} shards at one moment; commits waited for {milliseconds:.0f} ms"
    await ctx.events.normal(backup, reasons.CUT_TAKEN, text)
    return _NOW


async def _record_logs(
    backup: MysqlBackup, step: RecordLogs, pod: V1Pod, ctx: Context
) -> Requeue | None:
    try:
        manifest = parse_manifest(step.message)
    except ManifestError as error:
        await _fail(backup, ctx, str(error))
        return None
    for one in backup.status.shards:
        if one.shard == manifest.shard:
            one.log_sha256 = manifest.files[-1].sha256
            one.bytes = manifest.total_bytes
    await ctx.delete(pod)
    return _NOW


def _shard_backup(manifest: Manifest) -> ShardBackup:
    return ShardBackup(
        shard=manifest.shard,
        member=manifest.member,
        gtid=manifest.gtid,
        bytes=manifest.total_bytes,
        sha256=manifest.files[0].sha256,
        server_version=manifest.server_version,
        started_at=manifest.started_at,
        completed_at=manifest.completed_at,
    )


async def _complete(backup: MysqlBackup, ctx: Context) -> None:
    backup.status.phase = "Completed"
    total = sum(one.bytes for one in backup.status.shards)
    text = f"{len(backup.status.shards)} shards, {total} bytes, in {backup.status.path}"
    ctx.condition("Complete", True, reasons.BACKUP_COMPLETED, text)
    await ctx.events.normal(backup, reasons.BACKUP_COMPLETED, text)


async def _fail(backup: MysqlBackup, ctx: Context, why: str) -> None:
    backup.status.phase = "Failed"
    ctx.condition("Complete", False, reasons.BACKUP_FAILED, why)
    await ctx.events.warning(backup, reasons.BACKUP_FAILED, why)
    await _delete_pods(backup, ctx)


def _wait(ctx: Context, step: Wait) -> Requeue:
    running = step.phase == "Running"
    reason = reasons.BACKUP_RUNNING if running else reasons.BACKUP_WAITING
    ctx.condition("Complete", False, reason, step.why)
    return _AGAIN


async def _delete_pods(backup: MysqlBackup, ctx: Context) -> None:
    for pod in _pods(backup, ctx):
        await ctx.delete(pod)


def _pods(backup: MysqlBackup, ctx: Context) -> list[V1Pod]:
    """Return the pods of this backup, not of an earlier one of its name."""
    found = ctx.list(
        V1Pod, namespace=ctx.key.namespace, labels={LABEL_BACKUP: backup.metadata.name}
    )
    return [pod for pod in found if is_owned(pod, backup)]


def _seen(pod: V1Pod) -> SeenPod:
    phase = (pod.status.phase if pod.status is not None else None) or "Pending"
    return SeenPod(phase, message_of(pod))
