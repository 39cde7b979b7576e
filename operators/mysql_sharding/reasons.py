"""The reasons of conditions and Events of sharded MySQL.

What belongs here: each word, once, and what it means. They are part of the stable interface: never renamed.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ALL_MEMBERS_REPLICATE",
    "ALL_SHARDS_AVAILABLE",
    "BACKUP_COMPLETED",
    "BACKUP_FAILED",
    "BACKUP_RUNNING",
    "BACKUP_STARTED",
    "BACKUP_UNAVAILABLE",
    "BACKUP_WAITING",
    "BOOTSTRAPPED",
    "BOOTSTRAPPING",
    "BUCKETS_BALANCED",
    "BUCKETS_MOVING",
    "BUCKET_MOVED",
    "BUCKET_MOVE_FAILED",
    "BUCKET_MOVE_STARTED",
    "COPY_FAILED",
    "COPY_STARTED",
    "CUT_TAKEN",
    "DATA_COPIED",
    "DATA_RESTORED",
    "FAILOVER_COMPLETED",
    "FAILOVER_STARTED",
    "INVALID_ACCOUNT",
    "INVALID_SPEC",
    "MEMBERS_MISSING",
    "MEMBER_RECLONED",
    "MEMBER_REJOINED",
    "MEMBER_RESTARTED",
    "NODES_CONFIGURED",
    "NODES_NOT_READY",
    "NO_PRIMARY",
    "NO_ROLLOUT_FAILED",
    "PRIMARY_SERVES",
    "RESHARD_COMPLETED",
    "RESHARD_STARTED",
    "RESHARD_WAITING",
    "RESTORE_FAILED",
    "RESTORE_STARTED",
    "REVISION_NOT_FOUND",
    "ROLLED_BACK",
    "ROLLOUT_COMPLETED",
    "ROLLOUT_FAILED",
    "ROLLOUT_PAUSED",
    "ROLLOUT_STARTED",
    "ROLLOUT_UNDER_WAY",
    "SCHEMA_APPLIED",
    "SHARDS_UNAVAILABLE",
    "SHARD_BACKED_UP",
    "SHARD_NOT_READY",
    "SWITCHOVER_COMPLETED",
    "SWITCHOVER_STARTED",
    "TRANSACTION_RESOLVED",
    "TRANSACTION_UNRESOLVED",
    "VARIABLES_SET_AGAIN",
]

BOOTSTRAPPING: Final = "Bootstrapping"
"""Condition Available: the shard has never had a primary, and its first members are starting."""
BOOTSTRAPPED: Final = "Bootstrapped"
"""Event: the first member became the primary of epoch 1."""
PRIMARY_SERVES: Final = "PrimaryServes"
"""Condition Available: the primary accepts writes, and a replica acknowledges them."""
NO_PRIMARY: Final = "NoPrimary"
"""Condition Available: writes are not accepted; the message says what the operator waits for."""
ALL_MEMBERS_REPLICATE: Final = "AllMembersReplicate"
"""Condition Degraded: every replica replicates from the primary."""
MEMBERS_MISSING: Final = "MembersMissing"
"""Condition Degraded: some members do not replicate from the primary; the message names them."""
FAILOVER_STARTED: Final = "FailoverStarted"
"""Event: the primary does not respond, and another member will be promoted."""
FAILOVER_COMPLETED: Final = "FailoverCompleted"
"""Event: another member was promoted after a failure of the primary."""
SWITCHOVER_STARTED: Final = "SwitchoverStarted"
"""Event: the primary is being moved to another member by request."""
SWITCHOVER_COMPLETED: Final = "SwitchoverCompleted"
"""Event: the primary was moved by request."""
MEMBER_REJOINED: Final = "MemberRejoined"
"""Event: a member replicates from the primary again."""
MEMBER_RECLONED: Final = "MemberRecloned"
"""Event: a member has transactions that the primary lacks; its data is deleted and copied again."""
INVALID_ACCOUNT: Final = "InvalidAccount"
"""Event: a user or a database could not be created; the message says which and why."""
ALL_SHARDS_AVAILABLE: Final = "AllShardsAvailable"
"""Condition Available of a cluster: every shard accepts writes."""
SHARDS_UNAVAILABLE: Final = "ShardsUnavailable"
"""Condition Available of a cluster: some shards do not accept writes; the message names them."""
ROLLOUT_STARTED: Final = "RolloutStarted"
"""Event: a changed image, configuration or resources are rolled through the members, or through the shards."""
ROLLOUT_UNDER_WAY: Final = "RolloutUnderWay"
"""Condition Progressing: a change is rolled through the shards; the message says what is done or waited for."""
ROLLOUT_PAUSED: Final = "RolloutPaused"
"""Condition Progressing: updateStrategy.paused holds the rollout."""
ROLLOUT_COMPLETED: Final = "RolloutCompleted"
"""Condition Progressing, and Event: all members run the revision, verified by a write."""
ROLLOUT_FAILED: Final = "RolloutFailed"
"""Conditions Progressing and Degraded, and Event: the change stopped at a shard; the message names shard, pod,
variable and reason."""
ROLLED_BACK: Final = "RolledBack"
"""Condition Progressing, and Event: a failed rollout was replaced by the last revision that was complete."""
NO_ROLLOUT_FAILED: Final = "NoRolloutFailed"
"""Condition Degraded of a cluster: no change has stopped at a shard."""
REVISION_NOT_FOUND: Final = "RevisionNotFound"
"""Condition Progressing: there is no revision of the name or number in rollbackTo."""
MEMBER_RESTARTED: Final = "MemberRestarted"
"""Event: the pod of a member is recreated, because its revision needs a restart."""
INVALID_SPEC: Final = "InvalidSpec"
"""Conditions and Events: the spec was stored without admission and cannot be served; the message names the field."""
BACKUP_STARTED: Final = "BackupStarted"
"""Event: a member of a shard is being read; the message names it."""
CUT_TAKEN: Final = "CutTaken"
"""Event: all shards were read at one moment; the message says how long commits waited."""
SHARD_BACKED_UP: Final = "ShardBackedUp"
"""Event: the backup of a shard is complete; the message says its position and size."""
BACKUP_COMPLETED: Final = "BackupCompleted"
"""Condition Complete and Event: all shards are written."""
BACKUP_RUNNING: Final = "BackupRunning"
"""Condition Complete: a shard is being read."""
BACKUP_WAITING: Final = "BackupWaiting"
"""Condition Complete: the cluster cannot be read now; the message says why."""
BACKUP_FAILED: Final = "BackupFailed"
"""Condition Complete and Event: a shard could not be read or written; the message says which and
why."""
NO_BACKUP: Final = "NoBackup"
"""Condition BackupReady of a cluster: no backup of it is complete."""
BACKUP_OVERDUE: Final = "BackupOverdue"
"""Condition BackupReady of a cluster: more than one time of the schedule has passed since the last
completed backup."""
BACKUP_SCHEDULED: Final = "BackupScheduled"
"""Event: a MysqlBackup was created by the schedule; the message says for which time."""
BACKUP_MISSED: Final = "BackupMissed"
"""Event: no backup was started within startingDeadlineSeconds of a time of the schedule."""
BACKUP_DELETED: Final = "BackupDeleted"
"""Event: a backup of the schedule and its data were deleted, as spec.backup.retention says."""
RETENTION_FAILED: Final = "RetentionFailed"
"""Event: the data of a backup could not be deleted; it is tried again."""
ARCHIVE_FAILED: Final = "ArchiveFailed"
"""Event: binary logs of a shard could not be archived; it is tried again."""
ARCHIVE_BEHIND: Final = "ArchiveBehind"
"""Condition BackupReady of a cluster: the archived binary logs of a shard end too long ago."""
ARCHIVE_INTERRUPTED: Final = "ArchiveInterrupted"
"""Event: binary logs that were not archived yet do not exist any more; the message names the shard."""
BACKUP_UNAVAILABLE: Final = "BackupUnavailable"
"""Condition Available of a cluster: the backup that it is restored from does not exist, or is not
complete."""
RESTORE_STARTED: Final = "RestoreStarted"
"""Event: a backup is being verified and extracted on the volume of a member."""
DATA_RESTORED: Final = "DataRestored"
"""Event: the data of a member was restored from a backup."""
RESTORE_FAILED: Final = "RestoreFailed"
"""Event: a backup was rejected or could not be restored; the message names the file, what was
expected and found."""
COPY_STARTED: Final = "CopyStarted"
"""Event: the data of a member is copied from another one, because the primary lacks the binary logs
that it needs."""
DATA_COPIED: Final = "DataCopied"
"""Event: the data of a member was copied from another one."""
COPY_FAILED: Final = "CopyFailed"
"""Event: copying the data of a member failed; it is tried again."""
SCHEMA_APPLIED: Final = "SchemaApplied"
"""Condition SchemaApplied: every bucket has the tables of the spec."""
SHARD_NOT_READY: Final = "ShardNotReady"
"""Condition SchemaApplied: a shard cannot take a change of the tables, which no node serves; the message names it."""
NODES_CONFIGURED: Final = "NodesConfigured"
"""Condition ProxyConfigured: every node of the proxy serves the tables of the spec."""
NODES_NOT_READY: Final = "NodesNotReady"
"""Condition ProxyConfigured: some nodes are not configured; the message says why."""
TRANSACTION_RESOLVED: Final = "TransactionResolved"
"""Event: a transaction that a node of the proxy left prepared was committed or rolled back, on all shards alike."""
TRANSACTION_UNRESOLVED: Final = "TransactionUnresolved"
"""Event: it cannot be known whether a shard had committed a transaction that is prepared on others; the message
says what to do."""
VARIABLES_SET_AGAIN: Final = "VariablesSetAgain"
"""Event: a server restarted before its pod had the changed configuration file; its variables were set again."""
RESHARD_STARTED: Final = "ReshardStarted"
"""Event: buckets are moved, so that all shards of the spec hold equally many; the message says how many."""
BUCKET_MOVE_STARTED: Final = "BucketMoveStarted"
"""Event: a bucket is being copied to another shard; the message names both shards."""
BUCKET_MOVED: Final = "BucketMoved"
"""Event: a bucket is on another shard, and its former copy is deleted; the message says how long its
statements waited."""
BUCKET_MOVE_FAILED: Final = "BucketMoveFailed"
"""Event: a bucket did not switch, or a step of a move has failed for 10 seconds; it is tried again, and the
message says why."""
RESHARD_COMPLETED: Final = "ReshardCompleted"
"""Event: all shards hold equally many buckets, or one fewer."""
BUCKETS_BALANCED: Final = "BucketsBalanced"
"""Condition BucketsBalanced: all shards hold equally many buckets, or one fewer."""
BUCKETS_MOVING: Final = "BucketsMoving"
"""Condition BucketsBalanced: a bucket is being moved; the message names it, its shards and its step."""
RESHARD_WAITING: Final = "ReshardWaiting"
"""Condition BucketsBalanced: no further bucket is moved for now; the message says why."""
