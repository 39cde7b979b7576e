"""What the specification and the status of a MysqlCluster say about backups.

What belongs here: the parts of other kinds. What does not: the kind MysqlBackup (`api`), and rules
across fields (`check`). Pure.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from operatorkit.resource import Model, Rule, Time

__all__ = [
    "BackupDestination",
    "BackupPolicy",
    "BackupRetention",
    "BackupState",
    "BinlogArchive",
    "PathOnVolume",
    "RestoreFrom",
    "ShardArchive",
    "ShardOrigin",
]

PathOnVolume = Annotated[
    str,
    Field(min_length=1, max_length=500, pattern=r"^[a-z0-9][a-z0-9.-]*(/[a-z0-9][a-z0-9.-]*)*$"),
]


class BackupDestination(Model):
    """Where a backup is written."""

    claim: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of a PersistentVolumeClaim in the same namespace. It is mounted on the node of the
    member that is read: the shards are read one after the other, so that a volume for one node at a
    time (ReadWriteOnce) can follow."""


class BackupRetention(Model):
    """How many finished backups of the schedule are kept. Older ones are deleted with their data."""

    completed: Annotated[int, Field(ge=1, le=10_000)] = 7
    """How many completed backups are kept."""
    failed: Annotated[int, Field(ge=0, le=10_000)] = 1
    """How many failed ones are kept."""


class BinlogArchive(Model):
    """The continuous copies of binary logs, which lead from a backup to any later moment."""

    every_seconds: Annotated[int, Field(ge=5, le=86_400)] = 60
    """Seconds between two copies of what a shard has written: at most so much, and the time of the
    copies, is lost with the whole cluster."""


class BackupPolicy(Model):
    """The backups that the operator takes by itself."""

    destination: BackupDestination
    """Where they are written."""
    schedule: Annotated[str, Field(max_length=200)] = ""
    """When a backup is taken, as a cron expression of five fields such as "0 3 * * *", or @hourly,
    @daily, @weekly, @monthly or @yearly; empty means not by schedule. While a backup of the cluster
    runs, no other one is started. Of several missed times, only the last one is caught up on."""
    time_zone: Annotated[str, Field(min_length=1, max_length=64)] = "UTC"
    """Time zone of the schedule, such as Europe/Paris."""
    suspend: bool = False
    """Whether no backup is started by the schedule."""
    starting_deadline_seconds: Annotated[int, Field(ge=10, le=31_536_000)] | None = None
    """Seconds after a time of the schedule in which its backup may still be started; without it,
    the last missed time is always caught up on."""
    retention: BackupRetention | None = None
    """How many backups of the schedule are kept; without it, all are."""
    archive: BinlogArchive | None = None
    """The copies of binary logs at the same destination; without it, a restore leads to the moments
    of backups only."""


class BackupState(Model):
    """What is known about the schedule of backups."""

    since: Time
    """When the schedule was first observed: earlier times were not missed."""
    last_scheduled_at: Time | None = None
    """The last time of the schedule that was served, or missed."""
    next_scheduled_at: Time | None = None
    """The next time of the schedule."""
    last_backup: str = ""
    """The last MysqlBackup that the schedule created."""
    last_succeeded_at: Time | None = None
    """When the last completed backup of the cluster was complete."""


class ShardArchive(Model):
    """The archived binary logs of one shard."""

    list_map_keys: ClassVar[tuple[str, ...]] = ("shard",)

    shard: str
    """Name of the shard."""
    begins: str = ""
    """Position from which on no transaction is missing."""
    ends: str = ""
    """Position of the last transactions that are archived."""
    since: Time
    """When the archive began, or began again."""
    through: Time
    """Moment up to which everything that was acknowledged is archived, by the clock of the primary."""
    checked_at: Time
    """When the position of the primary was last read."""
    segments: int = 0
    """Number of the last segment."""


class ShardOrigin(Model):
    """The backup of one shard."""

    claim: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the PersistentVolumeClaim that holds it."""
    path: PathOnVolume
    """Its directory on that volume, such as shop/nightly/0."""
    sha256: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = ""
    """SHA-256 that its data must have; empty for the one that stands beside the data."""
    point_in_time: Time | None = None
    """Moment that is restored: the archived binary logs are replayed up to it."""
    archived_to: str = ""
    """Position of the last archived transaction, when the restore began."""
    archived_through: Time | None = None
    """Moment up to which nothing was written after that transaction."""


class RestoreFrom(Model):
    """The backup that a new cluster starts with: `backup`, or `claim` and `path`."""

    class_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.backup) ? !has(self.claim) && !has(self.path)"
            " : has(self.claim) && has(self.path)",
            message="give backup, or both claim and path",
        ),
    )

    backup: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """Name of a MysqlBackup in the same namespace."""
    claim: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """Name of a PersistentVolumeClaim with a backup whose MysqlBackup no longer exists."""
    path: PathOnVolume | None = None
    """Directory of the backup on that volume, such as shop/nightly."""
    point_in_time: Time | None = None
    """Moment that is restored, in whole seconds: writes that were acknowledged before it are there,
    and those that began at or after it are not. It needs archived binary logs from the backup on
    (spec.backup.archive); without it, the moment of the backup is restored."""
