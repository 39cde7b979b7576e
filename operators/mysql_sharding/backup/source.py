"""What a new cluster is restored from: the backup of each of its shards.

What belongs here: finding it from spec.restoreFrom. What does not: restoring (`seeding`). Pure.
"""

from __future__ import annotations

from collections.abc import Mapping

from operators.mysql_sharding.api import MysqlCluster, MysqlDatabase, ShardOrigin
from operators.mysql_sharding.backup.api import MysqlBackup

__all__ = ["origins"]


def origins(
    cluster: MysqlCluster,
    existing: Mapping[int, MysqlDatabase],
    backup: MysqlBackup | None,
) -> list[ShardOrigin | None] | str:
    """Return the origin of each shard, by number, or why it is not known yet.

    A shard that exists keeps its origin, also when the MysqlBackup was deleted since. A shard that
    is added later starts without data. One that is missing because the first apply was interrupted
    has its origin as the others. `backup` is the one that spec.restoreFrom names.
    """
    source = cluster.spec.restore_from
    count = cluster.spec.shards
    if source is None:
        return [None] * count
    if existing and cluster.status.replicas:  # 0 until all shards of the first spec were applied
        return [
            existing[number].spec.restore_from if number in existing else None
            for number in range(count)
        ]
    if source.claim is not None:
        return [
            ShardOrigin(claim=source.claim, path=f"{source.path}/{number}")
            for number in range(count)
        ]
    if backup is None:
        return f"spec.restoreFrom.backup: there is no MysqlBackup {source.backup}"
    if backup.status.phase != "Completed":
        return f"MysqlBackup {source.backup} is not complete: its phase is {backup.status.phase}"
    if len(backup.status.shards) != count:
        found = len(backup.status.shards)
        return f"spec.shards is {count}, but MysqlBackup {source.backup} has {found}: use {found}"
    return [
        ShardOrigin(
            claim=backup.spec.destination.claim,
            path=f"{backup.status.path}/{number}",
            sha256=shard.sha256,
        )
        for number, shard in enumerate(backup.status.shards)
    ]
