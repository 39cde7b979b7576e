"""Which backup each shard of a new cluster starts with."""

from __future__ import annotations

import pytest

from operatorkit.resource import ObjectMeta
from operators.mysql_sharding.api import (
    MysqlCluster,
    MysqlClusterSpec,
    MysqlDatabase,
    MysqlDatabaseSpec,
    RestoreFrom,
    ShardOrigin,
)
from operators.mysql_sharding.backup.api import (
    BackupDestination,
    MysqlBackup,
    MysqlBackupSpec,
    MysqlBackupStatus,
    ShardBackup,
)
from operators.mysql_sharding.backup.source import origins

FROM_OBJECT = RestoreFrom(backup="nightly")
FROM_CLAIM = RestoreFrom(claim="backups", path="shop/nightly")


def cluster(source, shards=2):
    spec = MysqlClusterSpec(shards=shards, restore_from=source)
    return MysqlCluster(metadata=ObjectMeta(name="copy", namespace="prod"), spec=spec)


def backup(phase="Completed", shards=2):
    done = [ShardBackup(shard=f"shop{n}", member=f"shop{n}-1", sha256=str(n) * 64) for n in range(shards)]
    return MysqlBackup(
        metadata=ObjectMeta(name="nightly", namespace="prod"),
        spec=MysqlBackupSpec(cluster="shop", destination=BackupDestination(claim="backups")),
        status=MysqlBackupStatus(phase=phase, path="shop/nightly", shards=done),
    )


def test_a_cluster_without_restore_from_starts_empty():
    assert origins(cluster(None), {}, None) == [None, None]


def test_each_shard_starts_with_the_backup_of_its_number_and_its_checksum():
    assert origins(cluster(FROM_OBJECT), {}, backup()) == [
        ShardOrigin(claim="backups", path="shop/nightly/0", sha256="0" * 64),
        ShardOrigin(claim="backups", path="shop/nightly/1", sha256="1" * 64),
    ]


def test_a_claim_and_a_path_need_no_object():
    found = origins(cluster(FROM_CLAIM, shards=1), {}, None)
    assert found == [ShardOrigin(claim="backups", path="shop/nightly/0")]


@pytest.mark.parametrize(
    ("known", "text"),
    [
        (None, "no MysqlBackup nightly"),
        (backup(phase="Running"), "its phase is Running"),
        (backup(shards=3), "spec.shards is 2, but MysqlBackup nightly has 3: use 3"),
    ],
)
def test_what_cannot_be_restored_is_said(known, text):
    found = origins(cluster(FROM_OBJECT), {}, known)
    assert isinstance(found, str)
    assert text in found


def test_shards_keep_their_origin_when_the_backup_is_deleted_and_later_ones_start_empty():
    origin = ShardOrigin(claim="backups", path="shop/nightly/0")
    shard = MysqlDatabase(
        metadata=ObjectMeta(name="copy0", namespace="prod"),
        spec=MysqlDatabaseSpec(restore_from=origin),
    )
    grown = cluster(FROM_OBJECT)
    grown.status.replicas = 1
    assert origins(grown, {0: shard}, None) == [origin, None]


def test_a_shard_that_an_interrupted_first_apply_left_out_has_its_backup():
    found = origins(cluster(FROM_OBJECT), {}, backup())
    first = MysqlDatabase(
        metadata=ObjectMeta(name="copy0", namespace="prod"),
        spec=MysqlDatabaseSpec(restore_from=found[0]),
    )
    assert origins(cluster(FROM_OBJECT), {0: first}, backup()) == found
