"""Whether the data of a shard is being copied: by a backup, a restore, or a copy between members.

What belongs here: what a rollout asks before it takes a member away. What does not: copying (`backup`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from kubernetes.client.models import V1Pod

from operatorkit.context import Reader
from operators.mysql_sharding.api import MysqlDatabase
from operators.mysql_sharding.app import app
from operators.mysql_sharding.backup.api import MysqlBackup

__all__ = ["running_copy"]

_INDEX: Final = "running"
_SEED_INDEX: Final = "seed"
"""Of `backup.seeding`: the pods that copy data of a shard, by namespace and shard."""


def _running_index(backup: MysqlBackup) -> Iterable[str]:
    """Index backups that read members, by namespace and cluster."""
    if backup.status.phase != "Running":
        return []
    return [f"{backup.metadata.namespace}/{backup.spec.cluster}"]


app.index(MysqlBackup, _INDEX, _running_index)


def running_copy(reader: Reader, shard: MysqlDatabase) -> str:
    """Return which copy of a shard's data is under way, "" for none."""
    namespace = shard.metadata.namespace
    owners = [
        one.name for one in shard.metadata.owner_references or [] if one.kind == "MysqlCluster"
    ]
    for owner in owners:
        key = (_INDEX, f"{namespace}/{owner}")
        for backup in reader.list(MysqlBackup, namespace=namespace, index=key):
            return f"backup {backup.metadata.name} is under way"
    key = (_SEED_INDEX, f"{namespace}/{shard.metadata.name}")
    for pod in reader.list(V1Pod, namespace=namespace, index=key):
        if (pod.status.phase if pod.status is not None else None) in {None, "Pending", "Running"}:
            name = pod.metadata.name if pod.metadata is not None else ""
            return f"data is copied by pod {name}"
    return ""
