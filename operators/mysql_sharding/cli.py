"""`operatorkit mysql`: the state of shards and their rollouts, and their changes.

What belongs here: options, requests, and what is printed. What does not: decisions; each command
changes a specification, creates an object or deletes a pod, and the operator does the rest.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from operatorkit.commands import cluster_options, output_option, with_cluster
from operatorkit.errors import InputError
from operators.mysql_sharding.cli_backups import backup, restore
from operators.mysql_sharding.cli_objects import JSON, read_cluster, read_object, read_shard

if TYPE_CHECKING:
    from operatorkit.cluster import ClusterAPI
    from operators.mysql_sharding.api import MysqlCluster, MysqlDatabase

__all__ = ["command", "describe", "lines"]

_FOLLOW_SECONDS = 0.5


@click.group("mysql")
def command() -> None:
    """Inspect and change sharded MySQL."""


command.add_command(backup)
command.add_command(restore)


# status --------------------------------------------------------------------------------------------


@command.command("status")
@click.argument("name")
@cluster_options
@output_option
def status(
    name: str, kubeconfig: str | None, context: str | None, namespace: str | None, output: str
) -> None:
    """Show the shards of a MysqlCluster, their members, and the rollout with its reason."""

    async def work(api: ClusterAPI, where: str) -> JSON:
        cluster = await read_cluster(api, name, where)
        return describe(cluster, await _shards(api, cluster, where))

    found = with_cluster(kubeconfig, context, namespace, work)
    if output == "json":
        click.echo(json.dumps(found))
        return
    click.echo("\n".join(lines(found)))


def describe(cluster: MysqlCluster, shards: Sequence[MysqlDatabase]) -> JSON:
    """Return what is shown of a cluster, as JSON."""
    rollout, reshard = cluster.status.rollout, cluster.status.reshard
    return {
        "name": cluster.metadata.name,
        "currentRevision": cluster.status.current_revision,
        "updateRevision": cluster.status.update_revision,
        "rollout": rollout.model_dump(mode="json", by_alias=True) if rollout is not None else None,
        "reshard": reshard.model_dump(mode="json", by_alias=True) if reshard is not None else None,
        "bucketMap": [one.model_dump(mode="json") for one in cluster.status.bucket_map],
        "shards": [_shard_row(shard) for shard in shards],
    }


def _shard_row(shard: MysqlDatabase) -> JSON:
    state, rollout = shard.status, shard.status.rollout
    held = {one.type: one.status for one in state.conditions}
    changing = rollout is not None and rollout.step != "Complete"
    return {
        "name": shard.metadata.name,
        "primary": state.primary,
        "epoch": state.epoch,
        "ready": state.ready_members,
        "replicas": shard.spec.replicas,
        "available": held.get("Available", "Unknown"),
        "rollout": (rollout.step if rollout is not None else ""),
        "reason": (rollout.reason if rollout is not None and changing else ""),
        "members": [
            {
                "name": each.name,
                "role": each.role,
                "phase": each.phase,
                "lagSeconds": each.lag_seconds,
                "errant": each.errant,
            }
            for each in state.members
        ],
    }


def lines(found: JSON) -> list[str]:
    """Return the lines that are shown: the rollout, the shards, and their members."""
    rollout = found["rollout"] or {"step": "", "shard": "", "pod": "", "reason": ""}
    where = "/".join(part for part in (rollout["shard"], rollout["pod"]) if part)
    texts = [
        f"Name:      {found['name']}",
        f"Revision:  {found['currentRevision']} (update: {found['updateRevision']})",
        f"Rollout:   {rollout['step']}" + (f" at {where}" if where else ""),
        f"Reason:    {rollout['reason']}",
        *_reshard_lines(found["reshard"]),
        "",
    ]
    shards = [
        (
            each["name"],
            each["primary"] or "<none>",
            each["epoch"],
            f"{each['ready']}/{each['replicas']}",
            each["available"],
            each["rollout"] or "<none>",
            each["reason"],
        )
        for each in found["shards"]
    ]
    texts += _table(
        ("SHARD", "PRIMARY", "EPOCH", "READY", "AVAILABLE", "ROLLOUT", "REASON"), shards
    )
    members = [
        (
            each["name"],
            each["role"] or "<none>",
            each["phase"],
            "<none>" if each["lagSeconds"] is None else f"{each['lagSeconds']}s",
            "true" if each["errant"] else "false",
        )
        for shard in found["shards"]
        for each in shard["members"]
    ]
    return [*texts, "", *_table(("MEMBER", "ROLE", "PHASE", "LAG", "ERRANT"), members)]


def _reshard_lines(reshard: JSON | None) -> list[str]:
    """Return the line of the last reshard: how many buckets were moved, and which one is."""
    if reshard is None:
        return []
    progress = f"{reshard['progress']} buckets moved to {reshard['shards']} shards"
    return [f"Reshard:   {reshard['step']}, {progress}; {reshard['reason']}"]


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Return rows in columns, three spaces apart, as kubectl prints them."""
    texts = [list(head), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(head))]
    return [
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in texts
    ]


# changes -------------------------------------------------------------------------------------------


@command.command("switchover")
@click.argument("shard")
@click.option("--to", required=True, metavar="MEMBER", help="Member that becomes the primary.")
@cluster_options
def switchover(
    shard: str, to: str, kubeconfig: str | None, context: str | None, namespace: str | None
) -> None:
    """Move the primary of a shard to another member, without the loss of a write."""

    async def work(api: ClusterAPI, where: str) -> str:
        from operatorkit.cluster import PatchType
        from operators.mysql_sharding.api import MysqlDatabase
        from operators.mysql_sharding.objects import member_names

        found = await read_shard(api, shard, where)
        if to not in member_names(found):
            members = ", ".join(member_names(found))
            raise InputError(f"{to} is no member of MysqlDatabase {shard}: use one of {members}")
        if to == found.status.primary:
            return f"mysqldatabase/{shard}: {to} is the primary"
        patch = {"spec": {"switchoverTo": to}}
        await api.patch(
            MysqlDatabase.api_resource(), shard, patch, patch_type=PatchType.MERGE, namespace=where
        )
        return f"mysqldatabase/{shard}: a switchover to {to} is requested"

    click.echo(with_cluster(kubeconfig, context, namespace, work))


@command.command("failover")
@click.argument("shard")
@cluster_options
def failover(
    shard: str, kubeconfig: str | None, context: str | None, namespace: str | None
) -> None:
    """Delete the pod of the primary of a shard at once, so that another member is promoted.

    Use it where the primary responds and does not work. A planned change is a switchover.
    """

    async def work(api: ClusterAPI, where: str) -> str:
        from operatorkit.kinds import PODS

        found = await read_shard(api, shard, where)
        if not found.status.primary or found.spec.replicas < 2:
            raise InputError(f"MysqlDatabase {shard} has no replica that could be promoted")
        await api.delete(PODS, found.status.primary, namespace=where, grace_period_seconds=1)
        return f"mysqldatabase/{shard}: the pod of {found.status.primary} is deleted"

    click.echo(with_cluster(kubeconfig, context, namespace, work))


@command.command("rollback")
@click.argument("name")
@click.option(
    "--to",
    metavar="REVISION",
    help="Number or name of the revision; by default the one before the newest.",
)
@cluster_options
def rollback(
    name: str, to: str | None, kubeconfig: str | None, context: str | None, namespace: str | None
) -> None:
    """Restore image, resources and configuration of an older revision of a MysqlCluster.

    The rollout follows updateStrategy.
    """

    async def work(api: ClusterAPI, where: str) -> str:
        from operatorkit.cluster import PatchType
        from operators.mysql_sharding.api import MysqlCluster

        cluster = await read_cluster(api, name, where)
        revision = _chosen(await _revisions(api, cluster, where), to, name)
        patch = [
            {
                "op": "test",
                "path": "/metadata/resourceVersion",
                "value": cluster.metadata.resource_version,
            },
            *(
                {"op": "add", "path": f"/spec/{field}", "value": revision["data"].get(field, {})}
                for field in ("image", "resources", "config")
            ),
        ]
        await api.patch(
            MysqlCluster.api_resource(), name, patch, patch_type=PatchType.JSON, namespace=where
        )
        return f"mysqlcluster/{name} rolled back to {revision['metadata']['name']}"

    click.echo(with_cluster(kubeconfig, context, namespace, work))


@command.command("reshard")
@click.argument("name")
@click.option(
    "--shards", required=True, type=click.IntRange(1, 64), metavar="N", help="Number of shards."
)
@click.option(
    "--wait/--no-wait", default=True, help="Show the progress until all buckets are moved."
)
@cluster_options
def reshard(
    name: str,
    shards: int,
    wait: bool,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
) -> None:
    """Spread the buckets of a MysqlCluster over more shards, while applications write.

    It changes spec.shards. Interrupting the command does not interrupt the reshard.
    """

    async def work(api: ClusterAPI, where: str) -> None:
        from operatorkit.cluster import PatchType
        from operators.mysql_sharding.api import MysqlCluster

        cluster = await read_cluster(api, name, where)
        if cluster.spec.proxy is None:
            raise InputError(f"MysqlCluster {name} has no proxy, and so no buckets: add spec.proxy")
        found = await api.patch(
            MysqlCluster.api_resource(),
            name,
            {"spec": {"shards": shards}},
            patch_type=PatchType.MERGE,
            namespace=where,
        )
        click.echo(f"mysqlcluster/{name}: {shards} shards are requested")
        if wait:
            await _follow(api, MysqlCluster.read(found), where)

    with_cluster(kubeconfig, context, namespace, work)


async def _follow(api: ClusterAPI, cluster: MysqlCluster, where: str) -> None:
    """Print each new state of a reshard until all buckets are where they shall be."""
    from operators.mysql_sharding.proxy.buckets import mapped
    from operators.mysql_sharding.reshard.balance import remaining

    shown = ""
    while True:
        state = cluster.status.reshard
        text = f"{state.progress}: {state.reason}" if state is not None else ""
        if text and text != shown and state is not None and state.shards == cluster.spec.shards:
            click.echo(text)
            shown = text
        held = mapped(cluster.status.bucket_map, cluster.spec.buckets)
        moving = state is not None and state.step != "Complete"
        if not moving and not remaining(held, cluster.spec.shards):
            return
        await asyncio.sleep(_FOLLOW_SECONDS)
        cluster = await read_cluster(api, cluster.metadata.name, where)


@command.command("sql")
@click.argument("shard")
@click.argument("statement")
@click.option("--member", metavar="NAME", help="Member; by default the primary.")
@cluster_options
@output_option
def sql(
    shard: str,
    statement: str,
    member: str | None,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    output: str,
) -> None:
    """Send one statement to a member of a shard, with the operator's account, and print its rows.

    The addresses of pods must be reachable. The statement is not written to the binary log: use an
    account of an application to change data.
    """

    async def work(api: ClusterAPI, where: str) -> list[Mapping[str, Any]]:
        from operatorkit.kinds import PODS, SECRETS
        from operators.mysql_sharding.objects import (
            OPERATOR_PORT,
            OPERATOR_USER,
            accounts_secret_name,
        )
        from operators.mysql_sharding.sql import Asyncmy, Login

        found = await read_shard(api, shard, where)
        name = member or found.status.primary
        if not name:
            raise InputError(f"MysqlDatabase {shard} has no primary: name a member with --member")
        pod = await read_object(api, PODS, name, where, "pod")
        secret = await read_object(api, SECRETS, accounts_secret_name(found), where, "Secret")
        address = (pod.get("status") or {}).get("podIP")
        if not address:
            raise InputError(f"pod {name} has no address: wait until it runs")
        password = base64.b64decode(secret["data"]["operator"]).decode()
        login = Login(address, OPERATOR_PORT, OPERATOR_USER, password)
        session = await Asyncmy().connect(login, seconds=5)
        try:
            await session.rows("SET SESSION sql_log_bin = 0", seconds=5)
            return [dict(row) for row in await session.rows(statement, seconds=60)]
        finally:
            session.close()

    rows = with_cluster(kubeconfig, context, namespace, work)
    if output == "json":
        click.echo(json.dumps(rows, default=str))
    elif rows:
        cells = [["NULL" if cell is None else cell for cell in row.values()] for row in rows]
        click.echo("\n".join(_table(list(rows[0]), cells)))


# What is read --------------------------------------------------------------------------------------


async def _shards(api: ClusterAPI, cluster: MysqlCluster, where: str) -> list[MysqlDatabase]:
    from operators.mysql_sharding.api import MysqlDatabase

    found = (await api.list(MysqlDatabase.api_resource(), namespace=where)).items
    known = {each["metadata"]["name"]: each for each in found}
    names = [f"{cluster.metadata.name}{number}" for number in range(cluster.spec.shards)]
    return [MysqlDatabase.read(known[name]) for name in names if name in known]


async def _revisions(api: ClusterAPI, cluster: MysqlCluster, where: str) -> list[JSON]:
    """Return the ControllerRevisions of a cluster, oldest first."""
    from kubernetes.client.models import V1ControllerRevision

    from operatorkit.resource import api_resource_of
    from operators.mysql_sharding.rollout_shards import LABEL_CLUSTER

    found = await api.list(
        api_resource_of(V1ControllerRevision),
        namespace=where,
        label_selector=f"{LABEL_CLUSTER}={cluster.metadata.name}",
    )
    return sorted(found.items, key=lambda each: int(each["revision"]))


def _chosen(revisions: list[JSON], to: str | None, name: str) -> JSON:
    """Return the revision that is meant. Raises InputError, which lists those that there are."""
    if to is None:
        if len(revisions) < 2:
            raise InputError(f"MysqlCluster {name} has no older revision to roll back to")
        return revisions[-2]
    found = [each for each in revisions if to in {each["metadata"]["name"], str(each["revision"])}]
    if not found:
        known = ", ".join(f"{each['revision']} ({each['metadata']['name']})" for each in revisions)
        raise InputError(f"MysqlCluster {name} has no revision {to}: it has {known}")
    return found[0]
