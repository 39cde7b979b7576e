"""`operatorkit mysql`: the state of shards and their rollouts, and their changes.

What belongs here: options, requests, and what is printed. What does not: decisions; each command
changes a specification, creates an object or deletes a pod, and the operator does the rest.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from operatorkit.errors import InputError, NotFound

if TYPE_CHECKING:
    from operatorkit.cluster import ClusterAPI
    from operators.mysql_sharding.api import MysqlCluster, MysqlDatabase

__all__ = ["command", "describe", "lines"]

T = TypeVar("T")
JSON = dict[str, Any]
Work = Callable[["ClusterAPI", str], Awaitable[T]]

_FOLLOW_SECONDS = 0.5


@click.group("mysql")
def command() -> None:
    """Inspect and change sharded MySQL."""


def _cluster_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options by which a Kubernetes cluster and a namespace are found."""
    options = [
        click.option(
            "--kubeconfig", metavar="FILE", help="Path of the kubeconfig; by default $KUBECONFIG."
        ),
        click.option(
            "--context",
            metavar="NAME",
            help="Context of the kubeconfig; by default the current one.",
        ),
        click.option(
            "--namespace", "-n", metavar="NAME", help="Namespace; by default that of the context."
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


_output_option = click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Output format."
)


def _with_cluster(
    kubeconfig: str | None, context: str | None, namespace: str | None, work: Work[T]
) -> T:
    """Run `work` with a client and the namespace that is meant."""
    from operatorkit.cluster import LiveCluster, load_config

    config = load_config(kubeconfig, context)

    async def run() -> T:
        async with LiveCluster(config) as api:
            return await work(api, namespace or config.namespace or "default")

    return asyncio.run(run())


# status --------------------------------------------------------------------------------------------


@command.command("status")
@click.argument("name")
@_cluster_options
@_output_option
def status(
    name: str, kubeconfig: str | None, context: str | None, namespace: str | None, output: str
) -> None:
    """Show the shards of a MysqlCluster, their members, and the rollout with its reason."""

    async def work(api: ClusterAPI, where: str) -> JSON:
        cluster = await _cluster(api, name, where)
        return describe(cluster, await _shards(api, cluster, where))

    found = _with_cluster(kubeconfig, context, namespace, work)
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
@_cluster_options
def switchover(
    shard: str, to: str, kubeconfig: str | None, context: str | None, namespace: str | None
) -> None:
    """Move the primary of a shard to another member, without the loss of a write."""

    async def work(api: ClusterAPI, where: str) -> str:
        from operatorkit.cluster import PatchType
        from operators.mysql_sharding.api import MysqlDatabase
        from operators.mysql_sharding.objects import member_names

        found = await _shard(api, shard, where)
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

    click.echo(_with_cluster(kubeconfig, context, namespace, work))


@command.command("failover")
@click.argument("shard")
@_cluster_options
def failover(
    shard: str, kubeconfig: str | None, context: str | None, namespace: str | None
) -> None:
    """Delete the pod of the primary of a shard at once, so that another member is promoted.

    Use it where the primary responds and does not work. A planned change is a switchover.
    """

    async def work(api: ClusterAPI, where: str) -> str:
        from operatorkit.kinds import PODS

        found = await _shard(api, shard, where)
        if not found.status.primary or found.spec.replicas < 2:
            raise InputError(f"MysqlDatabase {shard} has no replica that could be promoted")
        await api.delete(PODS, found.status.primary, namespace=where, grace_period_seconds=1)
        return f"mysqldatabase/{shard}: the pod of {found.status.primary} is deleted"

    click.echo(_with_cluster(kubeconfig, context, namespace, work))


@command.command("rollback")
@click.argument("name")
@click.option(
    "--to",
    metavar="REVISION",
    help="Number or name of the revision; by default the one before the newest.",
)
@_cluster_options
def rollback(
    name: str, to: str | None, kubeconfig: str | None, context: str | None, namespace: str | None
) -> None:
    """Restore image, resources and configuration of an older revision of a MysqlCluster.

    The rollout follows updateStrategy.
    """

    async def work(api: ClusterAPI, where: str) -> str:
        from operatorkit.cluster import PatchType
        from operators.mysql_sharding.api import MysqlCluster

        cluster = await _cluster(api, name, where)
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

    click.echo(_with_cluster(kubeconfig, context, namespace, work))


@command.command("reshard")
@click.argument("name")
@click.option(
    "--shards", required=True, type=click.IntRange(1, 64), metavar="N", help="Number of shards."
)
@click.option(
    "--wait/--no-wait", default=True, help="Show the progress until all buckets are moved."
)
@_cluster_options
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

        cluster = await _cluster(api, name, where)
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

    _with_cluster(kubeconfig, context, namespace, work)


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
        cluster = await _cluster(api, cluster.metadata.name, where)


@command.command("sql")
@click.argument("shard")
@click.argument("statement")
@click.option("--member", metavar="NAME", help="Member; by default the primary.")
@_cluster_options
@_output_option
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

        found = await _shard(api, shard, where)
        name = member or found.status.primary
        if not name:
            raise InputError(f"MysqlDatabase {shard} has no primary: name a member with --member")
        pod = await _object(api, PODS, name, where, "pod")
        secret = await _object(api, SECRETS, accounts_secret_name(found), where, "Secret")
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

    rows = _with_cluster(kubeconfig, context, namespace, work)
    if output == "json":
        click.echo(json.dumps(rows, default=str))
    elif rows:
        cells = [["NULL" if cell is None else cell for cell in row.values()] for row in rows]
        click.echo("\n".join(_table(list(rows[0]), cells)))


# backups -------------------------------------------------------------------------------------------


@command.command("backup")
@click.argument("name")
@click.option(
    "--as", "as_", metavar="BACKUP", help="Name of the MysqlBackup; by default with the time."
)
@click.option(
    "--claim",
    metavar="CLAIM",
    help="Claim to write to; by default that of spec.backup.destination.",
)
@_cluster_options
def backup(
    name: str,
    as_: str | None,
    claim: str | None,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
) -> None:
    """Request a backup of a MysqlCluster now; `kubectl get mybak` shows how far it is."""

    async def work(api: ClusterAPI, where: str) -> str:
        from operatorkit.errors import AlreadyExists
        from operatorkit.resource import ObjectMeta
        from operators.mysql_sharding.backup.api import (
            BackupDestination,
            MysqlBackup,
            MysqlBackupSpec,
        )
        from operators.mysql_sharding.backup.check import BACKUP_NAME_MAX_LENGTH

        cluster = await _cluster(api, name, where)
        policy = cluster.spec.backup
        if claim is None and policy is None:
            raise InputError(f"MysqlCluster {name} has no spec.backup: name a claim with --claim")
        chosen = as_ or f"{name}-{datetime.now(UTC):%Y%m%d%H%M%S}"
        if len(chosen) > BACKUP_NAME_MAX_LENGTH:
            most = f"{BACKUP_NAME_MAX_LENGTH} characters at most: choose one with --as"
            raise InputError(f"the name {chosen} is too long, it may have {most}")
        destination = (
            BackupDestination(claim=claim)
            if claim is not None or policy is None
            else policy.destination
        )
        body = MysqlBackup(
            metadata=ObjectMeta(name=chosen, namespace=where),
            spec=MysqlBackupSpec(cluster=name, destination=destination),
        )
        try:
            await api.create(MysqlBackup.api_resource(), body.write(), namespace=where)
        except AlreadyExists as error:
            raise InputError(f"there is a MysqlBackup {chosen}: choose another --as") from error
        return f"mysqlbackup/{chosen} created"

    click.echo(_with_cluster(kubeconfig, context, namespace, work))


@command.command("restore")
@click.argument("name")
@click.option("--as", "as_", required=True, metavar="CLUSTER", help="Name of the new MysqlCluster.")
@click.option(
    "--backup", "backup_", metavar="BACKUP", help="MysqlBackup; by default the last suitable one."
)
@click.option(
    "--to",
    metavar="TIME",
    help="Moment to restore, such as 2026-01-02T03:04:05Z; by default that of the backup.",
)
@_cluster_options
def restore(
    name: str,
    as_: str,
    backup_: str | None,
    to: str | None,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
) -> None:
    """Create a MysqlCluster like NAME from one of its backups, as of the backup or of a moment.

    The new cluster takes no backups by itself: add spec.backup when it replaces the old one.
    """
    point = _moment(to)

    async def work(api: ClusterAPI, where: str) -> str:
        from operatorkit.errors import AlreadyExists
        from operatorkit.resource import ObjectMeta
        from operators.mysql_sharding.api import MysqlCluster
        from operators.mysql_sharding.backup.spec import RestoreFrom

        old = await _cluster(api, name, where)
        chosen = await _chosen_backup(api, name, where, backup_, point)
        spec = old.spec.model_copy(
            update={
                "backup": None,
                "rollback_to": "",
                "restore_from": RestoreFrom(backup=chosen, point_in_time=point),
            }
        )
        new = MysqlCluster(metadata=ObjectMeta(name=as_, namespace=where), spec=spec)
        try:
            await api.create(MysqlCluster.api_resource(), new.write(), namespace=where)
        except AlreadyExists as error:
            message = (
                f"there is a MysqlCluster {as_}, which is not overwritten: choose another --as"
            )
            raise InputError(message) from error
        when = f" as of {to}" if to else ""
        return f"mysqlcluster/{as_} is restored from {chosen}{when}"

    click.echo(_with_cluster(kubeconfig, context, namespace, work))


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        message = f"--to {text} is no time: write it as 2026-01-02T03:04:05Z"
        raise InputError(message) from error
    if found.utcoffset() is None:
        raise InputError(f"--to {text} has no time zone: write it as {text}Z, if it is UTC")
    return found.astimezone(UTC).replace(microsecond=0)


async def _chosen_backup(
    api: ClusterAPI, name: str, where: str, wanted: str | None, point: datetime | None
) -> str:
    """Return the name of the last completed backup before a moment. Raises InputError."""
    from operators.mysql_sharding.backup.api import MysqlBackup
    from operators.mysql_sharding.backup.schedule import completed_at

    items = (await api.list(MysqlBackup.api_resource(), namespace=where)).items
    backups = [one for one in map(MysqlBackup.read, items) if one.spec.cluster == name]
    known = sorted(
        (at, one.metadata.name) for one in backups if (at := completed_at(one)) is not None
    )
    if wanted is not None:
        if wanted not in {each for _, each in known}:
            names = ", ".join(each for _, each in known) or "none"
            message = f"{wanted} is no completed MysqlBackup of {name}: there are {names}"
            raise InputError(message)
        return wanted
    before = [each for at, each in known if point is None or at <= point]
    if not before:
        first = f": the first one is of {known[0][0]:%Y-%m-%dT%H:%M:%SZ}" if known else ""
        when = f" before {point:%Y-%m-%dT%H:%M:%SZ}" if point is not None else ""
        raise InputError(f"MysqlCluster {name} has no completed MysqlBackup{when}{first}")
    return before[-1]


# What is read --------------------------------------------------------------------------------------


async def _object(api: ClusterAPI, resource: Any, name: str, where: str, kind: str) -> JSON:
    try:
        return await api.get(resource, name, namespace=where)
    except NotFound as error:
        raise InputError(
            f"there is no {kind} {name} in namespace {where}: name another with -n"
        ) from error


async def _cluster(api: ClusterAPI, name: str, where: str) -> MysqlCluster:
    from operators.mysql_sharding.api import MysqlCluster

    found = await _object(api, MysqlCluster.api_resource(), name, where, "MysqlCluster")
    return MysqlCluster.read(found)


async def _shard(api: ClusterAPI, name: str, where: str) -> MysqlDatabase:
    from operators.mysql_sharding.api import MysqlDatabase

    found = await _object(api, MysqlDatabase.api_resource(), name, where, "MysqlDatabase")
    return MysqlDatabase.read(found)


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
