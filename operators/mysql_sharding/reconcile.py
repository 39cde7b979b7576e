"""Reconciling clusters and shards: their objects. The primary of a shard is the business of `shards`."""

from __future__ import annotations

import base64
import secrets
from datetime import timedelta
from typing import Final

from kubernetes.client.models import (
    V1ConfigMap,
    V1ControllerRevision,
    V1Deployment,
    V1Pod,
    V1PodDisruptionBudget,
    V1Secret,
    V1Service,
)

from operatorkit import Context, Requeue, TerminalError
from operatorkit.errors import NotFound
from operatorkit.kinds import SECRETS
from operatorkit.operator import Watch, generation_changed
from operators.mysql_sharding import reasons
from operators.mysql_sharding.admission import check_cluster, check_shard, describe
from operators.mysql_sharding.api import MysqlCluster, MysqlDatabase, ShardOrigin
from operators.mysql_sharding.app import app
from operators.mysql_sharding.backup.api import MysqlBackup
from operators.mysql_sharding.backup.keep import (
    cluster_of,
    earlier,
    keep_backups,
    phase_changed,
)
from operators.mysql_sharding.backup.source import origins
from operators.mysql_sharding.objects import (
    PetSet,
    accounts_of,
    accounts_secret_name,
    budget_of,
    services_of,
)
from operators.mysql_sharding.observe import POD_INDEX
from operators.mysql_sharding.proxy.objects import PASSWORDS as PROXY_PASSWORDS
from operators.mysql_sharding.proxy.objects import proxy_name, proxy_objects
from operators.mysql_sharding.revision import (
    active_rollout,
    configs_of,
    kept_config,
    members_of,
    mounted_configs,
)
from operators.mysql_sharding.rollout_shards import roll_shards

__all__ = ["reconcile_cluster", "reconcile_shard"]

_PASSWORDS: Final = ("root", "operator", "replication")
_PASSWORD_BYTES: Final = 24
_BACKUP_AGAIN: Final = Requeue(after=timedelta(seconds=5))


@app.reconcile(
    MysqlCluster,
    owns=[
        MysqlDatabase,
        V1ControllerRevision,
        V1Deployment,
        V1Service,
        V1ConfigMap,
        V1Secret,
        V1Pod,
        V1PodDisruptionBudget,
    ],
    watches=[Watch(MysqlBackup, to=cluster_of, predicate=phase_changed)],
)
async def reconcile_cluster(cluster: MysqlCluster, ctx: Context) -> Requeue | None:
    """Keep one MysqlDatabase for each shard, roll changes, and report how many shards accept writes."""
    if problems := check_cluster(cluster):
        message = describe(problems)
        ctx.condition("Available", None, reasons.INVALID_SPEC, message)
        raise TerminalError(message, reason=reasons.INVALID_SPEC)
    found = _origins(cluster, ctx)
    if isinstance(found, str):
        ctx.condition("Available", False, reasons.BACKUP_UNAVAILABLE, found)
        return _BACKUP_AGAIN
    passwords = {}
    if cluster.spec.proxy is not None:
        passwords = await _passwords(ctx, proxy_name(cluster), PROXY_PASSWORDS)
    await ctx.apply(*proxy_objects(cluster, passwords), enqueue=False)
    shards, again = await roll_shards(cluster, ctx, found)
    waiting = [one.metadata.name for one in shards if not _is_available(one)]
    status = cluster.status
    status.observed_generation = cluster.metadata.generation
    status.replicas = len(shards)
    status.ready_replicas = len(shards) - len(waiting)
    if waiting:
        ctx.condition("Available", False, reasons.SHARDS_UNAVAILABLE, _named(waiting))
    else:
        ctx.condition("Available", True, reasons.ALL_SHARDS_AVAILABLE)
    return earlier(ctx.clock.now(), again, await keep_backups(cluster, ctx))


def _origins(cluster: MysqlCluster, ctx: Context) -> list[ShardOrigin | None] | str:
    """Return which backup each shard starts with, or why that is not known yet."""
    source = cluster.spec.restore_from
    if source is None:
        return origins(cluster, {}, None)
    existing = {
        number: shard
        for number in range(cluster.spec.shards)
        if (shard := ctx.get(MysqlDatabase, f"{cluster.metadata.name}{number}")) is not None
    }
    backup = ctx.get(MysqlBackup, source.backup) if source.backup is not None else None
    origin = ctx.get(MysqlCluster, backup.spec.cluster) if backup is not None else None
    if origin is not None and backup is not None:
        is_same = origin.metadata.uid == backup.status.cluster_uid
        return origins(cluster, existing, backup, origin.status.archives if is_same else None)
    return origins(cluster, existing, backup)


def _named(names: list[str]) -> str:
    """Return a message that names shards, ten at most."""
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"not available: {', '.join(names[:10])}{more}"


def _is_available(shard: MysqlDatabase) -> bool:
    return any(one.type == "Available" and one.status == "True" for one in shard.status.conditions)


def objects_changed(old: MysqlDatabase | None, new: MysqlDatabase) -> bool:
    """Return whether other objects follow from a shard: its spec changed, or what its rollout reached."""
    return generation_changed(old, new) or old is None or _reached(old) != _reached(new)


def _reached(shard: MysqlDatabase) -> tuple[object, ...]:
    current, rollout = shard.status.current, active_rollout(shard)
    turned = (rollout.revision, rollout.number, *rollout.updated) if rollout is not None else ()
    return ((current.digest, current.number) if current is not None else (), turned)


@app.reconcile(
    MysqlDatabase,
    owns=[PetSet, V1Service, V1ConfigMap, V1Secret, V1PodDisruptionBudget],
    predicate=objects_changed,
    conditions=False,  # the loop of the shard knows whether it accepts writes
)
async def reconcile_shard(shard: MysqlDatabase, ctx: Context) -> None:
    """Keep the objects of a shard: members, Services, configuration and accounts.

    The status is written by `shards` alone.
    """
    if problems := check_shard(shard):
        raise TerminalError(describe(problems), reason=reasons.INVALID_SPEC)
    passwords = await _passwords(ctx, accounts_secret_name(shard), _PASSWORDS)
    await ctx.apply(
        accounts_of(shard, passwords),
        *_configs(shard, ctx),
        *services_of(shard),
        budget_of(shard),
        members_of(shard),
        enqueue=False,
    )


def _configs(shard: MysqlDatabase, ctx: Context) -> list[V1ConfigMap]:
    """Return the ConfigMaps of the revisions, and those that pods of an abandoned rollout mount."""
    made = configs_of(shard)
    namespace, name = shard.metadata.namespace, shard.metadata.name
    pods = ctx.list(V1Pod, namespace=namespace, index=(POD_INDEX, f"{namespace}/{name}"))
    others = mounted_configs(pods) - {each.metadata.name for each in made if each.metadata}
    found = [ctx.get(V1ConfigMap, other, namespace=namespace) for other in sorted(others)]
    return [*made, *(kept_config(each) for each in found if each is not None)]


async def _passwords(ctx: Context, secret: str, names: tuple[str, ...]) -> dict[str, str]:
    """Return the passwords in a Secret of the operator's accounts, generated where there are none.

    Read from the server, never from a cache: one that is generated twice locks the operator out of its servers.
    """
    try:
        found = await ctx.api.get(SECRETS, secret, namespace=ctx.key.namespace)
    except NotFound:
        found = {}
    data = found.get("data") or {}
    return {
        name: base64.b64decode(data[name]).decode()
        if name in data
        else secrets.token_urlsafe(_PASSWORD_BYTES)
        for name in names
    }
