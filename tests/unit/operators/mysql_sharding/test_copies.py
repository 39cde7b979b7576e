"""Which copies of its data hold the rollout of a shard."""

from __future__ import annotations

from kubernetes.client.models import V1Pod

from operatorkit.resource import ObjectMeta
from operators.mysql_sharding.api import MysqlDatabase
from operators.mysql_sharding.app import app
from operators.mysql_sharding.backup.api import MysqlBackup
from operators.mysql_sharding.copies import _running_index, running_copy

OWNER = {"apiVersion": "mysql.operatorkit.dev/v1alpha1", "kind": "MysqlCluster", "name": "shop", "uid": "u"}
SHARD = MysqlDatabase.model_validate({"metadata": {"name": "shop0", "namespace": "prod", "ownerReferences": [OWNER]}})


class Cache:
    """Objects by their index, as the caches hold them."""

    def __init__(self, backups=(), pods=()):
        self.backups, self.pods = backups, pods

    def list(self, kind, *, namespace, index):
        assert namespace == "prod"
        if kind is MysqlBackup:
            assert index[0] == "running"
            return [one for one in self.backups if index[1] in _running_index(one)]
        assert index == ("seed", "prod/shop0")
        return self.pods


def backup(phase, cluster="shop"):
    made = MysqlBackup(metadata=ObjectMeta(name="nightly", namespace="prod"), spec=BACKUP | {"cluster": cluster})
    made.status.phase = phase
    return made


BACKUP = {"cluster": "shop", "destination": {"claim": "backups"}}


def pod(phase):
    return V1Pod(metadata={"name": "shop0-1-seed"}, status={"phase": phase})


def test_a_running_backup_of_the_cluster_holds_and_no_other():
    assert running_copy(Cache(), SHARD) == ""
    assert running_copy(Cache([backup("Running")]), SHARD) == "backup nightly is under way"
    for other in (backup("Pending"), backup("Completed"), backup("Failed"), backup("Running", "store")):
        assert running_copy(Cache([other]), SHARD) == ""


def test_a_pod_that_copies_data_holds_until_it_has_ended():
    for phase in ("Pending", "Running"):
        assert running_copy(Cache(pods=[pod(phase)]), SHARD) == "data is copied by pod shop0-1-seed"
    for phase in ("Succeeded", "Failed"):
        assert running_copy(Cache(pods=[pod(phase)]), SHARD) == ""


def test_the_index_of_pods_that_copy_is_declared():
    import operators.mysql_sharding

    assert operators.mysql_sharding.app is app
    assert {(MysqlBackup, "running"), (V1Pod, "seed")} <= {(one.kind, one.name) for one in app.indexes}
