"""The reasons of conditions and Events of sharded MySQL.

What belongs here: each word, once, and what it means. They are part of the stable interface: never renamed.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ALL_MEMBERS_REPLICATE",
    "ALL_SHARDS_AVAILABLE",
    "BOOTSTRAPPED",
    "BOOTSTRAPPING",
    "FAILOVER_COMPLETED",
    "FAILOVER_STARTED",
    "INVALID_ACCOUNT",
    "INVALID_SPEC",
    "MEMBERS_MISSING",
    "MEMBER_RECLONED",
    "MEMBER_REJOINED",
    "MEMBER_RESTARTED",
    "NO_PRIMARY",
    "NO_ROLLOUT_FAILED",
    "PRIMARY_SERVES",
    "REVISION_NOT_FOUND",
    "ROLLED_BACK",
    "ROLLOUT_COMPLETED",
    "ROLLOUT_FAILED",
    "ROLLOUT_PAUSED",
    "ROLLOUT_STARTED",
    "ROLLOUT_UNDER_WAY",
    "SHARDS_UNAVAILABLE",
    "SWITCHOVER_COMPLETED",
    "SWITCHOVER_STARTED",
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
