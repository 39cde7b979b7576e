"""`operatorkit mysql backup` and `restore`.

What belongs here: options, and the objects that are created. What does not: reading and writing
data (`backup`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from operatorkit.commands import cluster_options, with_cluster
from operatorkit.errors import InputError
from operators.mysql_sharding.cli_objects import read_cluster

if TYPE_CHECKING:
    from operatorkit.cluster import ClusterAPI

__all__ = ["backup", "restore"]


@click.command("backup")
@click.argument("name")
@click.option(
    "--as", "as_", metavar="BACKUP", help="Name of the MysqlBackup; by default with the time."
)
@click.option(
    "--claim",
    metavar="CLAIM",
    help="Claim to write to; by default that of spec.backup.destination.",
)
@cluster_options
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

        cluster = await read_cluster(api, name, where)
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

    click.echo(with_cluster(kubeconfig, context, namespace, work))


@click.command("restore")
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
@cluster_options
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

        old = await read_cluster(api, name, where)
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

    click.echo(with_cluster(kubeconfig, context, namespace, work))


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
