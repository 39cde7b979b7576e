"""Which binary logs are archived, and which moments can be restored from them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from operatorkit.resource import ObjectMeta
from operators.mysql_sharding.admission import check_cluster
from operators.mysql_sharding.api import MysqlCluster, MysqlClusterSpec, RestoreFrom
from operators.mysql_sharding.backup.api import (
    BackupDestination,
    MysqlBackup,
    MysqlBackupSpec,
    MysqlBackupStatus,
    ShardBackup,
)
from operators.mysql_sharding.backup.archive import Log, files_after, parse_segment, reachable
from operators.mysql_sharding.backup.manifest import ManifestError
from operators.mysql_sharding.backup.source import origins
from operators.mysql_sharding.backup.spec import ShardArchive
from operators.mysql_sharding.gtid import Position

LOGS = [
    Log("binlog.000001", Position.parse("")),
    Log("binlog.000002", Position.parse("0-1-100")),
    Log("binlog.000003", Position.parse("0-2-200")),
    Log("binlog.000004", Position.parse("0-2-300")),
]


@pytest.mark.parametrize(
    ("position", "logs", "wanted"),
    [
        ("0-2-300", LOGS, ["binlog.000003"]),
        ("0-2-200", LOGS, ["binlog.000003"]),
        ("0-1-150", LOGS, ["binlog.000002", "binlog.000003"]),
        ("", LOGS, ["binlog.000001", "binlog.000002", "binlog.000003"]),
        ("0-1-99", LOGS[1:], None),
        ("0-1-100", LOGS[3:], None),
    ],
)
def test_the_closed_logs_after_a_position_are_copied(position, logs, wanted):
    assert files_after(Position.parse(position), logs) == wanted


SEGMENT = {
    "format": 1,
    "shard": "shop0",
    "member": "shop0-1",
    "number": 3,
    "begins": "",
    "ends": "0-1-5",
    "through": "2026-01-02T03:04:05Z",
    "bytes": 9,
}


def test_a_segment_is_read():
    found = parse_segment(json.dumps(SEGMENT))
    assert (found.number, found.ends) == (3, "0-1-5")
    assert found.through == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(("field", "value"), [("ends", "x"), ("number", 0), ("through", "now"), ("format", 2)])
def test_a_segment_that_is_none_is_rejected_with_its_field(field, value):
    with pytest.raises(ManifestError, match=field):
        parse_segment(json.dumps({**SEGMENT, field: value}))


TAKEN = datetime(2026, 1, 2, 3, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def archive(number, begins="0-1-5", hours=2):
    return ShardArchive(
        shard=f"shop{number}",
        begins=begins,
        ends="0-1-90",
        since=TAKEN - HOUR,
        through=TAKEN + hours * HOUR,
        checked_at=TAKEN + hours * HOUR,
    )


def backup():
    shards = [
        ShardBackup(shard=f"shop{n}", member=f"shop{n}-1", gtid="0-1-9", sha256="a" * 64, completed_at=TAKEN)
        for n in range(2)
    ]
    return MysqlBackup(
        metadata=ObjectMeta(name="nightly", namespace="prod"),
        spec=MysqlBackupSpec(cluster="shop", destination=BackupDestination(claim="backups")),
        status=MysqlBackupStatus(phase="Completed", path="shop/nightly", shards=shards),
    )


@pytest.mark.parametrize(
    ("archives", "last"),
    [
        ([archive(0), archive(1, hours=1)], TAKEN + HOUR),  # all shards reach it
        ([archive(0)], TAKEN),
        ([archive(0), archive(1, begins="0-1-10")], TAKEN),  # begun, or interrupted, after the backup
        ([archive(0, begins=""), archive(1, begins="")], TAKEN + 2 * HOUR),
        ([], TAKEN),
    ],
)
def test_the_moments_that_can_be_restored_are_those_of_all_shards(archives, last):
    assert reachable(backup(), archives) == (TAKEN, last)


def restored(point, archives):
    source = RestoreFrom(backup="nightly", point_in_time=point)
    spec = MysqlClusterSpec(shards=2, restore_from=source)
    cluster = MysqlCluster(metadata=ObjectMeta(name="copy", namespace="prod"), spec=spec)
    return origins(cluster, {}, backup(), archives)


BOTH = [archive(0), archive(1)]


def test_a_moment_within_the_archive_is_restored():
    found = restored(TAKEN + HOUR, BOTH)
    assert [(one.point_in_time, one.archived_through) for one in found] == [(TAKEN + HOUR, TAKEN + 2 * HOUR)] * 2


@pytest.mark.parametrize(
    ("point", "archives", "text"),
    [
        (TAKEN - HOUR, BOTH, "pointInTime: 2026-01-02T02:00:00Z is before MysqlBackup nightly"),
        (TAKEN + 3 * HOUR, BOTH, "from 2026-01-02T03:00:00Z to 2026-01-02T05:00:00Z"),
        (TAKEN - HOUR, None, "is before MysqlBackup nightly"),
    ],
)
def test_a_moment_that_cannot_be_reached_is_rejected_with_those_that_can(point, archives, text):
    assert text in restored(point, archives)


def test_without_the_cluster_the_pods_find_out():
    assert [one.archived_through for one in restored(TAKEN + 3 * HOUR, None)] == [None, None]


def test_a_moment_is_accepted_beside_both_forms_of_a_source():
    for source in (RestoreFrom(backup="b"), RestoreFrom(claim="c", path="shop/b")):
        with_point = source.model_copy(update={"point_in_time": TAKEN})
        spec = MysqlClusterSpec(restore_from=with_point)
        assert check_cluster(MysqlCluster(metadata=ObjectMeta(name="copy"), spec=spec)) == []
    spec = MysqlClusterSpec.model_construct(**MysqlClusterSpec().__dict__)
    spec.restore_from = RestoreFrom(point_in_time=TAKEN)
    [cause] = check_cluster(MysqlCluster(metadata=ObjectMeta(name="copy"), spec=spec))
    assert cause.field == "spec.restoreFrom"
