"""The kind MysqlBackup of mysql.operatorkit.dev/v1alpha1.

What belongs here: the resource class and what an API server can check by itself. What does not:
what a MysqlCluster says about backups (`spec`).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from operatorkit.conditions import Condition
from operatorkit.resource import Model, PrinterColumn, Resource, Rule, Time
from operators.mysql_sharding.api import GROUP
from operators.mysql_sharding.backup.spec import BackupDestination

__all__ = [
    "BackupDestination",
    "MysqlBackup",
    "MysqlBackupSpec",
    "MysqlBackupStatus",
    "ShardBackup",
]


class MysqlBackupSpec(Model):
    """A copy of all shards of a cluster, taken once."""

    class_rules: ClassVar[tuple[Rule, ...]] = (
        Rule("self == oldSelf", message="a backup is taken once: create another MysqlBackup"),
    )

    cluster: Annotated[str, Field(min_length=1, max_length=63)]
    """Name of the MysqlCluster in the same namespace."""
    destination: BackupDestination
    """Where it is written."""


class ShardBackup(Model):
    """The backup of one shard."""

    list_map_keys: ClassVar[tuple[str, ...]] = ("shard",)

    shard: str
    """Name of the shard."""
    member: str
    """Member that was read."""
    gtid: str = ""
    """Position of the last transactions that it holds."""
    bytes: int = 0
    """Size of its data at the destination."""
    sha256: str = ""
    """SHA-256 of its data, in hexadecimal digits."""
    cut: str = ""
    """Position at the consistent cut across shards, which a restore leads to; empty for one shard."""
    log_sha256: str = ""
    """SHA-256 of the transactions between both positions, where there are any."""
    server_version: str = ""
    """Version of the server that was read."""
    started_at: Time | None = None
    """When reading began."""
    completed_at: Time | None = None
    """When data, manifest and checksums were written."""


class MysqlBackupStatus(Model):
    """How far a backup has come."""

    observed_generation: int | None = None
    """Generation of the spec that this status describes."""
    phase: Literal["Pending", "Running", "Completed", "Failed"] = "Pending"
    """Pending until the cluster can be read; Completed and Failed are final."""
    path: str = ""
    """Directory of the backup on the volume of the claim; each shard has one below it."""
    cluster_uid: str = ""
    """uid of the cluster, whose archived binary logs lead from the backup to later moments."""
    cut_at: Time | None = None
    """Time of the consistent cut across shards."""
    shards: list[ShardBackup] = []
    """The shards that are complete, in their order."""
    conditions: list[Condition] = []
    """Complete: True once all shards are written, False with the reason while they are not."""


class MysqlBackup(
    Resource[MysqlBackupSpec, MysqlBackupStatus],
    group=GROUP,
    version="v1alpha1",
    short_names=["mybak"],
    categories=["all"],
    printer_columns=[
        PrinterColumn("Cluster", ".spec.cluster"),
        PrinterColumn("Phase", ".status.phase"),
        PrinterColumn("Path", ".status.path"),
        PrinterColumn("Age", ".metadata.creationTimestamp", type="date"),
    ],
):
    """A physical backup of all shards of a MysqlCluster, each taken from a replica."""
