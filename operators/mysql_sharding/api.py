"""The kinds MysqlCluster and MysqlDatabase of mysql.operatorkit.dev/v1alpha1.

What belongs here: the resource classes, their defaults, and the rules that an API server can check by itself. What
does not: rules across fields (`operators.mysql_sharding.admission`). A MysqlDatabase is one shard.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from kubernetes.client.models import V1ResourceRequirements
from pydantic import Field

from operatorkit.conditions import Condition
from operatorkit.resource import (
    IntOrString,
    Model,
    PrinterColumn,
    Quantity,
    Resource,
    Rule,
    Scale,
    Time,
)
from operators.mysql_sharding.backup.spec import (
    BackupPolicy,
    BackupState,
    RestoreFrom,
    ShardArchive,
    ShardOrigin,
)
from operators.mysql_sharding.reshard.api import ReshardStatus

__all__ = [
    "GROUP",
    "BucketRange",
    "Canary",
    "ClusterRollback",
    "ClusterRollout",
    "Column",
    "Durability",
    "FailoverStatus",
    "MemberStatus",
    "MysqlCluster",
    "MysqlClusterSpec",
    "MysqlClusterStatus",
    "MysqlDatabase",
    "MysqlDatabaseSpec",
    "MysqlDatabaseStatus",
    "MysqlTable",
    "MysqlUser",
    "Proxy",
    "RestoreFrom",
    "SecretKey",
    "ShardOrigin",
    "ShardRevision",
    "ShardRollout",
    "ShardTemplate",
    "ShardUpdateStrategy",
    "Storage",
    "SyncedStatus",
    "TableKey",
    "UpdateStrategy",
]

GROUP = "mysql.operatorkit.dev"

DatabaseName = Annotated[str, Field(min_length=1, max_length=64, pattern="^[A-Za-z0-9_$]+$")]
ColumnName = Annotated[str, Field(min_length=1, max_length=64)]
VariableName = Annotated[str, Field(min_length=1, max_length=64, pattern="^[a-z][a-z0-9_]*$")]


class Storage(Model):
    """The volume of a member."""

    class_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.className) == has(oldSelf.className)"
            " && (!has(self.className) || self.className == oldSelf.className)",
            message="className is immutable: create another object and move the data",
        ),
    )

    size: Quantity = "10Gi"
    """Size of the claim of each member. It cannot become smaller."""
    class_name: Annotated[str, Field(max_length=253)] = ""
    """StorageClass of the claims; empty means the cluster's default. Immutable."""


class Durability(Model):
    """What an acknowledged write has survived."""

    allow_async: bool = False
    """Whether the primary acknowledges writes that no replica has received. A failover then loses them."""


class SecretKey(Model):
    """A key of a Secret in the same namespace."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the Secret."""
    key: Annotated[str, Field(min_length=1, max_length=253)] = "password"
    """Key within it."""


class MysqlUser(Model):
    """An account of an application."""

    list_map_keys: ClassVar[tuple[str, ...]] = ("name",)

    name: Annotated[str, Field(min_length=1, max_length=80, pattern="^[A-Za-z0-9_.-]+$")]
    """Name of the account; it may connect from any host."""
    password_from: SecretKey
    """Secret with its password; a changed Secret changes the password."""
    privileges: Annotated[list[str], Field(min_length=1, max_length=40)] = [
        "SELECT",
        "INSERT",
        "UPDATE",
        "DELETE",
        "CREATE",
        "DROP",
        "INDEX",
        "ALTER",
        "REFERENCES",
        "CREATE VIEW",
        "SHOW VIEW",
        "TRIGGER",
        "EXECUTE",
        "LOCK TABLES",
        "CREATE TEMPORARY TABLES",
    ]
    """Privileges on its databases. Those that pass read_only are rejected, because a write on a replica is lost."""
    databases: Annotated[list[DatabaseName], Field(min_length=1, max_length=100)]
    """Databases that it may use."""


class ShardTemplate(Model):
    """What all shards of a cluster share."""

    image: Annotated[str, Field(min_length=1, max_length=500)] = "docker.io/library/mariadb:10.11"
    """Image with the programs of MariaDB 10.6 or newer. A change is rolled through the members."""
    storage: Storage = Storage()
    """The volume of each member."""
    resources: V1ResourceRequirements = Field(default_factory=V1ResourceRequirements)
    """Resources of each server. A change is rolled through the members."""
    config: Annotated[dict[VariableName, IntOrString], Field(max_length=200)] = {}
    """Variables of the server, such as innodb_buffer_pool_size. A change is rolled through the members: by SET GLOBAL
    where that is possible, else by restarts. Those that keep acknowledged writes safe belong to the operator and are
    rejected."""
    durability: Durability = Durability()
    """What an acknowledged write has survived."""
    databases: Annotated[list[DatabaseName], Field(max_length=1000)] = []
    """Databases that are created in each shard. One that is removed from the list is kept."""
    users: Annotated[list[MysqlUser], Field(max_length=100)] = []
    """Accounts of applications. One that is removed from the list is kept: drop it by SQL."""


class ShardUpdateStrategy(Model):
    """How a changed image, configuration or resources reach the members of a shard."""

    paused: bool = False
    """Whether the rollout is held: no further member, and no further shard, is changed until it is false again."""
    prefer_in_place: bool = True
    """Whether variables that are dynamic are changed by SET GLOBAL. With false, the members are restarted."""
    progress_deadline_seconds: Annotated[int, Field(ge=1, le=2_147_483_647)] = 600
    """Seconds without progress after which the rollout of a shard counts as failed, and stops."""


class Canary(Model):
    """Shards that are changed before all others."""

    shards: Annotated[int, Field(ge=0, le=64)] = 0
    """How many, counted from the first one in the order of the rollout."""
    bake_seconds: Annotated[int, Field(ge=0, le=2_147_483_647)] = 0
    """Seconds for which they must be available before the next shard is changed."""


class UpdateStrategy(ShardUpdateStrategy):
    """How a changed image, configuration or resources reach the shards."""

    order: Literal["Decreasing", "Increasing"] = "Decreasing"
    """Decreasing changes the shard with the highest number first."""
    partition: Annotated[int, Field(ge=0, le=64)] = 0
    """How many shards at the end of the order keep their revision: with Decreasing, those with a number below it."""
    max_unavailable_shards: Annotated[int, Field(ge=1, le=64)] = 1
    """How many shards may be changed, or be unavailable, at the same time."""
    canary: Canary = Canary()
    """Shards that are changed before all others."""
    auto_rollback: bool = False
    """Whether the shards return to the last completed revision after a failure."""


class MysqlDatabaseSpec(ShardTemplate):
    """One shard: a primary and its replicas."""

    class_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.restoreFrom) == has(oldSelf.restoreFrom)"
            " && (!has(self.restoreFrom) || self.restoreFrom == oldSelf.restoreFrom)",
            message="restoreFrom is immutable: only a new shard starts from a backup",
        ),
    )

    replicas: Annotated[int, Field(ge=1, le=9)] = 3
    """Number of members, the primary included. With one there is no replication, and no failover."""
    switchover_to: Annotated[str, Field(max_length=63)] = ""
    """Name of a member that shall be the primary, such as shop0-2: the primary moves there once it is healthy, without
    the loss of a write. It has no effect after a later failover."""
    restore_from: ShardOrigin | None = None
    """The backup that its members start with. Immutable."""

    update_strategy: ShardUpdateStrategy = ShardUpdateStrategy()
    """How a changed image, configuration or resources reach the members."""


class ShardRevision(Model):
    """What is rolled through the members: image, resources and configuration."""

    digest: str
    """Hash of the other fields, and the label mysql.operatorkit.dev/revision of a pod."""
    number: int = 0
    """Number of the ConfigMap with the configuration; 0 is the one without a number."""
    image: str
    """Image of the servers."""
    resources: V1ResourceRequirements = Field(default_factory=V1ResourceRequirements)
    """Resources of the servers."""
    config: dict[str, IntOrString] = {}
    """Variables of the servers."""


class ShardRollout(Model):
    """The last change that was rolled through the members of a shard, or is being rolled."""

    revision: str
    """Digest of the revision that the members get."""
    generation: int
    """Generation of the spec when the rollout began, or was tried again."""
    step: Literal[
        "Waiting", "Setting", "Restarting", "SwitchingOver", "Verifying", "Failed", "Complete"
    ] = "Waiting"
    """What is done."""
    pod: str = ""
    """The member that is changed, or that failed."""
    reason: str = ""
    """What is waited for, or why it failed."""
    started_at: Time
    """When it began."""
    progressed_at: Time
    """When the last member was changed."""
    finished_at: Time | None = None
    """When it was complete."""
    in_place: bool = False
    """Whether all variables that differ are changed by SET GLOBAL."""
    number: int = 0
    """Number of the ConfigMap of the members that have the revision."""
    updated: list[str] = []
    """Members that get the revision when they start; the others start with the last completed one."""
    names: list[str] = []
    """Variables that this rollout, or an unfinished one before it, may have changed."""


class FailoverStatus(Model):
    """A change of the primary that is under way. It is written before each of its steps."""

    kind: Literal["Bootstrap", "Failover", "Switchover"] = "Failover"
    """Why the primary changes."""
    epoch: int
    """Epoch that begins with it."""
    old_primary: str = ""
    """Member that was the primary; empty for the first one."""
    started_at: Time
    """When it was decided."""
    reason: str = ""
    """What was observed, or who asked for it."""
    old_pod: str = ""
    """uid of the pod of the old primary that is deleted, so that its server restarts."""
    step: Literal["Fencing", "Applying", "Opening"] = "Fencing"
    """How far it has come."""
    target: str = ""
    """Member that becomes the primary, once that is decided."""
    required: str = ""
    """Position that it must have executed before it is promoted."""


class SyncedStatus(Model):
    """A replica whose running process has all that its earlier ones have acknowledged."""

    list_map_keys: ClassVar[tuple[str, ...]] = ("member",)

    member: str
    """Name of the member."""
    incarnation: str
    """Start of its process."""
    received: str = ""
    """What it had received when that was found."""


class MemberStatus(Model):
    """One member of a shard."""

    list_map_keys: ClassVar[tuple[str, ...]] = ("name",)

    name: str
    """Name of the member, which is that of its pod."""
    role: Literal["primary", "replica", ""] = ""
    """Role in which it may serve clients; empty while it serves none."""
    gtid: str = ""
    """Position of the last transactions that it has executed."""
    lag_seconds: int | None = None
    """Seconds by which its replication is behind, as the server estimates them."""
    errant: bool = False
    """Whether it has transactions that the primary lacks."""
    phase: str = ""
    """Missing, Starting, Unreachable, Replicating, Stopped or Serving."""


class MysqlDatabaseStatus(Model):
    """The members that there are."""

    observed_generation: int | None = None
    """Generation of the spec that this status describes."""
    epoch: int = 0
    """Number of promotions so far; 0 before the first primary."""
    primary: str = ""
    """Member that may accept writes in this epoch."""
    gtid: str = ""
    """Position of the primary."""
    incarnation: str = ""
    """Start of the primary's process when it was promoted: one that has restarted is not trusted with writes."""
    base: str = ""
    """Position of the primary when it was promoted: since then, only it may have written."""
    first: str = ""
    """First transaction that the primary writes in its epoch."""
    synced: list[SyncedStatus] = []
    """Replicas that have restarted in this epoch and have caught up with what they had acknowledged."""
    switchover: str = ""
    """The value of spec.switchoverTo that is done with."""
    members: list[MemberStatus] = []
    """The members, by ordinal."""
    ready_members: int = 0
    """Members that serve clients."""
    failover: FailoverStatus | None = None
    """The failover or switchover that is under way."""
    current: ShardRevision | None = None
    """The revision that all members had when the last rollout was complete."""
    rollout: ShardRollout | None = None
    """The last rollout within the shard."""
    conditions: list[Condition] = []
    """Available and Degraded."""


class MysqlDatabase(
    Resource[MysqlDatabaseSpec, MysqlDatabaseStatus],
    group=GROUP,
    version="v1alpha1",
    short_names=["mydb"],
    categories=["all"],
    printer_columns=[
        PrinterColumn("Primary", ".status.primary"),
        PrinterColumn("Epoch", ".status.epoch", type="integer"),
        PrinterColumn("Members", ".spec.replicas", type="integer"),
        PrinterColumn("Ready", ".status.readyMembers", type="integer"),
        PrinterColumn("Available", '.status.conditions[?(@.type=="Available")].status'),
        PrinterColumn("Age", ".metadata.creationTimestamp", type="date"),
        PrinterColumn("GTID", ".status.gtid", priority=1),
    ],
):
    """One shard of a MysqlCluster: a MariaDB primary and its semi-synchronous replicas."""


class Column(Model):
    """A column of a table."""

    list_map_keys: ClassVar[tuple[str, ...]] = ("name",)

    name: Annotated[str, Field(min_length=1, max_length=64, pattern="^[A-Za-z0-9_]+$")]
    """Name of the column."""
    type: Annotated[str, Field(min_length=1, max_length=500)]
    """Type and attributes as in CREATE TABLE, such as VARCHAR(40) NOT NULL DEFAULT ''."""


class TableKey(Model):
    """A unique or a secondary key of a table."""

    list_map_keys: ClassVar[tuple[str, ...]] = ("name",)

    name: Annotated[str, Field(min_length=1, max_length=64, pattern="^[A-Za-z0-9_]+$")]
    """Name of the key."""
    columns: Annotated[list[ColumnName], Field(min_length=1, max_length=16)]
    """Its columns. Those of a unique key contain the shard key: uniqueness holds within a bucket."""
    unique: bool = False
    """Whether no two rows have the same values."""


class MysqlTable(Model):
    """A table whose rows are spread over the buckets by the hash of the shard key."""

    class_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.shardKey == oldSelf.shardKey",
            message="the shard key decides where each row is: create another table, and copy",
            field_path=".shardKey",
        ),
    )
    list_map_keys: ClassVar[tuple[str, ...]] = ("database", "name")

    name: Annotated[str, Field(min_length=1, max_length=64, pattern="^[A-Za-z0-9_]+$")]
    """Name of the table."""
    database: Annotated[str, Field(min_length=1, max_length=60, pattern="^[A-Za-z0-9_]+$")]
    """Database of the table, one of spec.databases."""
    shard_key: Annotated[str, Field(min_length=1, max_length=64)]
    """Column whose hash decides the bucket of a row. Immutable."""
    columns: Annotated[list[Column], Field(min_length=1, max_length=200)]
    """Columns in their order. Columns may be added at the end; those that there are stay as they are."""
    primary_key: Annotated[list[ColumnName], Field(min_length=1, max_length=16)]
    """Columns of the primary key, which contain the shard key. Immutable."""
    keys: Annotated[list[TableKey], Field(max_length=32)] = []
    """Further keys. Secondary keys may be added later, unique ones may not."""


class Proxy(Model):
    """The one address of all shards: nodes that find the bucket of each row."""

    type: Literal["spider"] = "spider"
    """Kind of the nodes: MariaDB servers with the Spider engine, which keep no data."""
    replicas: Annotated[int, Field(ge=1, le=50)] = 2
    """Number of nodes."""
    image: Annotated[str, Field(max_length=500)] = ""
    """Image with the programs of MariaDB and its Spider engine; empty means spec.image."""
    config: Annotated[dict[VariableName, IntOrString], Field(max_length=200)] = {}
    """Variables of the nodes, such as max_connections."""


class BucketRange(Model):
    """Consecutive buckets of one shard."""

    first: Annotated[int, Field(ge=0, le=63)]
    """First bucket."""
    last: Annotated[int, Field(ge=0, le=63)]
    """Last bucket, itself included."""
    shard: Annotated[int, Field(ge=0, le=63)]
    """Number of the shard that holds them."""


class MysqlClusterSpec(ShardTemplate):
    """Shards of one kind."""

    class_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.shards >= oldSelf.shards",
            message="shards cannot be removed: a removed shard would take its data along",
            field_path=".shards",
        ),
        Rule(
            "has(self.restoreFrom) == has(oldSelf.restoreFrom)"
            " && (!has(self.restoreFrom) || self.restoreFrom == oldSelf.restoreFrom)",
            message="restoreFrom is immutable: create another cluster from the backup",
        ),
        Rule(
            "self.buckets == oldSelf.buckets",
            message="each row is in the bucket of its hash: create another cluster, and copy",
            field_path=".buckets",
        ),
    )

    shards: Annotated[int, Field(ge=1, le=64)] = 1
    """Number of shards; each is a MysqlDatabase named after the cluster and its number, such as shop0. If it
    grows, buckets are moved to the new shards, one after the other."""
    replicas_per_shard: Annotated[int, Field(ge=1, le=9)] = 3
    """Number of members of each shard, the primary included."""
    restore_from: RestoreFrom | None = None
    """The backup that a new cluster starts with. It has the accounts of this spec, not those of the
    backup. Immutable."""
    backup: BackupPolicy | None = None
    """The backups that the operator takes by itself."""
    buckets: Annotated[int, Field(ge=1, le=64)] = 64
    """Number of buckets that the rows of each table are spread over. Immutable."""
    tables: Annotated[list[MysqlTable], Field(max_length=100)] = []
    """Tables that the proxy serves. A table that is removed from the list is kept on the shards."""
    proxy: Proxy | None = None
    """The proxy, as which the Service of the cluster's name serves; without it, clients use the shards."""
    update_strategy: UpdateStrategy = UpdateStrategy()
    """How a changed image, configuration or resources reach the shards."""
    revision_history_limit: Annotated[int, Field(ge=0, le=1000)] = 10
    """How many revisions that are no longer used are kept."""
    rollback_to: Annotated[str, Field(max_length=253)] = ""
    """Name or number of an earlier revision. While it is set, the shards get that revision, whatever image, resources
    and config say."""


class ClusterRollout(Model):
    """The rollout over the shards."""

    step: Literal["Rolling", "Paused", "Partitioned", "Failed", "Complete"]
    """Where it stands."""
    shard: str = ""
    """The shard that is changed, waited for, or failed."""
    pod: str = ""
    """The member of that shard."""
    started_at: Time
    """When it began."""
    reason: str = ""
    """What is done or waited for, or why it failed."""


class ClusterRollback(Model):
    """A failed rollout that was replaced by an earlier revision."""

    from_: Annotated[str, Field(alias="from")]
    """Revision that failed."""
    to: str
    """Revision that the shards have until image, resources or config change."""
    at: Time
    """When it was decided."""
    reason: str
    """Why the rollout failed."""


class MysqlClusterStatus(Model):
    """The shards that there are."""

    observed_generation: int | None = None
    """Generation of the spec that this status describes."""
    replicas: int = 0
    """Number of shards."""
    ready_replicas: int = 0
    """Shards that accept writes."""
    bucket_map: list[BucketRange] = []
    """The shard of each bucket. It is assigned when the cluster first has a proxy, and changes with each
    bucket that is moved."""
    reshard: ReshardStatus | None = None
    """The last reshard: buckets that move to other shards, one after the other."""
    current_replicas: int = 0
    """Shards of the current revision."""
    updated_replicas: int = 0
    """Shards of the update revision."""
    current_revision: str = ""
    """Revision of the last rollout that was complete."""
    update_revision: str = ""
    """Revision that the shards get. At the end of a rollout it is the current one."""
    collision_count: int = 0
    """How many names of revisions were taken."""
    rollout: ClusterRollout | None = None
    """The last rollout over the shards."""
    rollback: ClusterRollback | None = None
    """The failed rollout that was replaced by an earlier revision."""
    backup: BackupState | None = None
    """What is known about the schedule of backups."""
    archives: list[ShardArchive] = []
    """The archived binary logs of each shard."""
    conditions: list[Condition] = []
    """Available, Progressing and Degraded; with tables or a proxy, also SchemaApplied and ProxyConfigured; with
    spec.backup, also BackupReady; once buckets were moved, also BucketsBalanced."""


class MysqlCluster(
    Resource[MysqlClusterSpec, MysqlClusterStatus],
    group=GROUP,
    version="v1alpha1",
    short_names=["myc"],
    categories=["all"],
    scale=Scale(
        spec_replicas_path=".spec.shards",
        status_replicas_path=".status.replicas",
    ),
    printer_columns=[
        PrinterColumn("Shards", ".spec.shards", type="integer"),
        PrinterColumn("Ready", ".status.readyReplicas", type="integer"),
        PrinterColumn("Updated", ".status.updatedReplicas", type="integer"),
        PrinterColumn("Available", '.status.conditions[?(@.type=="Available")].status'),
        PrinterColumn("Rollout", ".status.rollout.step"),
        PrinterColumn("Moved", ".status.reshard.progress"),
        PrinterColumn("Age", ".metadata.creationTimestamp", type="date"),
        PrinterColumn("Reason", ".status.rollout.reason", priority=1),
        PrinterColumn("Reshard", ".status.reshard.reason", priority=1),
    ],
):
    """MariaDB in shards, each with a primary and semi-synchronous replicas."""
