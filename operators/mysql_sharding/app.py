"""The operator `mysql-sharding`: its name and what it needs beyond its caches."""

from __future__ import annotations

from kubernetes.client.models import V1PersistentVolumeClaim, V1Pod, V1Secret

from operatorkit import Operator
from operators.mysql_sharding.api import MysqlCluster, MysqlDatabase
from operators.mysql_sharding.backup.api import MysqlBackup

__all__ = ["app"]

app = Operator("mysql-sharding")

app.reads(V1Pod)
app.cache(V1Secret, contents="children")
app.needs(V1Secret, "get", reason="passwords of users, and of a shard whose Secret is not cached")
app.needs(V1Pod, "patch", reason="the label of the role is what the Services select on")
app.needs(V1Pod, "delete", reason="a primary that has failed is restarted as a replica")
app.needs(V1Pod, "create", reason="pods beside the members read and write their data")
app.needs(
    V1PersistentVolumeClaim,
    "delete",
    reason="the data of a member that cannot join again is deleted, and copied again",
)
app.needs(
    MysqlDatabase,
    "update",
    subresource="status",
    reason="each step of a failover is written, by resourceVersion, before it is done",
)
app.needs(
    MysqlCluster,
    "update",
    subresource="status",
    reason="the map of the buckets is written by resourceVersion: no two may be assigned",
)
app.needs(
    MysqlBackup,
    "create",
    "delete",
    reason="backups are created by schedule, and deleted when newer ones replace them",
)
