"""What a new cluster is restored from: the backup of each of its shards.

What belongs here: finding it from spec.restoreFrom. What does not: restoring (`seeding`). Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from operators.mysql_sharding.api import MysqlCluster, MysqlDatabase, ShardOrigin
from operators.mysql_sharding.backup.api import MysqlBackup
from operators.mysql_sharding.backup.archive import reachable, text_of_time
from operators.mysql_sharding.backup.schedule import completed_at
from operators.mysql_sharding.backup.spec import RestoreFrom, ShardArchive

__all__ = ["origins"]


def origins(
    cluster: MysqlCluster,
    existing: Mapping[int, MysqlDatabase],
    backup: MysqlBackup | None,
    archives: Sequence[ShardArchive] | None = None,
) -> list[ShardOrigin | None] | str:
    """Return the origin of each shard, by number, or why it is not known yet.

    A shard that exists keeps its origin, also when the MysqlBackup was deleted since. A shard that
    is added later starts without data. One that is missing because the first apply was interrupted
    has its origin as the others. `backup` is the one that spec.restoreFrom names, and `archives` are the
    archived binary logs of its cluster, None if that does not exist any more: the pods find out which
    moments they reach then.
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
            ShardOrigin(
                claim=source.claim,
                path=f"{source.path}/{number}",
                point_in_time=source.point_in_time,
            )
            for number in range(count)
        ]
    if backup is None:
        return f"spec.restoreFrom.backup: there is no MysqlBackup {source.backup}"
    if backup.status.phase != "Completed":
        return f"MysqlBackup {source.backup} is not complete: its phase is {backup.status.phase}"
    if len(backup.status.shards) != count:
        found = len(backup.status.shards)
        return f"spec.shards is {count}, but MysqlBackup {source.backup} has {found}: use {found}"
    if (problem := _unreachable(source, backup, archives)) is not None:
        return problem
    known = {one.shard: one for one in archives or ()} if source.point_in_time else {}
    return [
        ShardOrigin(
            claim=backup.spec.destination.claim,
            path=f"{backup.status.path}/{number}",
            sha256=shard.sha256,
            point_in_time=source.point_in_time,
            archived_to=known[shard.shard].ends if shard.shard in known else "",
            archived_through=known[shard.shard].through if shard.shard in known else None,
        )
        for number, shard in enumerate(backup.status.shards)
    ]


def _unreachable(
    source: RestoreFrom, backup: MysqlBackup, archives: Sequence[ShardArchive] | None
) -> str | None:
    """Return why a moment cannot be restored, with those that can be; None if it can be."""
    point = source.point_in_time
    if point is None:
        return None
    where = f"spec.restoreFrom.pointInTime: {text_of_time(point)}"
    first, last = completed_at(backup), None
    if archives is not None:
        first, last = reachable(backup, archives)
    assert first is not None
    if point < first:
        begin = text_of_time(first)
        return (
            f"{where} is before MysqlBackup {source.backup}, which is of {begin}: use another one"
        )
    if last is not None and point > last:
        span = f"from {text_of_time(first)} to {text_of_time(last)}"
        return (
            f"{where} is after the last archived binary log: MysqlBackup {source.backup} and the "
            f"archive reach {span}"
        )
    return None
