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
    "NODES_CONFIGURED",
    "NODES_NOT_READY",
    "NO_PRIMARY",
    "PRIMARY_SERVES",
    "SCHEMA_APPLIED",
    "SHARDS_UNAVAILABLE",
    "SHARD_NOT_READY",
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
INVALID_SPEC: Final = "InvalidSpec"
"""Conditions and Events: the spec was stored without admission and cannot be served; the message names the field."""
SCHEMA_APPLIED: Final = "SchemaApplied"
"""Condition SchemaApplied: every bucket has the tables of the spec."""
SHARD_NOT_READY: Final = "ShardNotReady"
"""Condition SchemaApplied: a shard cannot take a change of the tables, which no node serves; the message names it."""
NODES_CONFIGURED: Final = "NodesConfigured"
"""Condition ProxyConfigured: every node of the proxy serves the tables of the spec."""
NODES_NOT_READY: Final = "NodesNotReady"
"""Condition ProxyConfigured: some nodes are not configured; the message says why."""
