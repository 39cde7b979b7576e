"""When a backup is due, which ones are deleted, and whether the last one is recent."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

pytest.importorskip("cronsim", reason="needs the times of schedules: pip install operatorkit[mysql]")

from operatorkit.conditions import Condition
from operatorkit.resource import ObjectMeta
from operators.mysql_sharding.admission import check_cluster
from operators.mysql_sharding.api import MysqlCluster, MysqlClusterSpec
from operators.mysql_sharding.backup.api import MysqlBackup, MysqlBackupSpec, MysqlBackupStatus, ShardBackup
from operators.mysql_sharding.backup.schedule import (
    Due,
    Missed,
    ScheduleError,
    expired,
    plan_schedule,
    readiness,
    scheduled_name,
    times,
)
from operators.mysql_sharding.backup.spec import (
    BackupDestination,
    BackupPolicy,
    BackupRetention,
    BinlogArchive,
    ShardArchive,
)

DESTINATION = BackupDestination(claim="backups")


def at(text):
    return datetime.fromisoformat(f"2026-{text}:00+00:00")


def policy(**fields):
    return BackupPolicy(destination=DESTINATION, **{"schedule": "0 3 * * *", **fields})


NIGHTLY = policy()


def backup(name, created, phase="Completed", *, why=""):
    done = phase == "Completed"
    shards = [ShardBackup(shard="shop0", member="shop0-1", completed_at=created)] if done else []
    failed = Condition(
        type="Complete", status="False", reason="BackupFailed", message=why, last_transition_time=created
    )
    return MysqlBackup(
        metadata=ObjectMeta(name=name, namespace="prod", creation_timestamp=created),
        spec=MysqlBackupSpec(cluster="shop", destination=DESTINATION),
        status=MysqlBackupStatus(phase=phase, shards=shards, conditions=[failed] if why else []),
    )


@pytest.mark.parametrize(
    ("schedule", "zone", "after", "wanted"),
    [
        ("0 3 * * *", "UTC", "01-02T03:00", "01-03T03:00"),
        ("*/15 * * * *", "UTC", "01-02T03:01", "01-02T03:15"),
        ("0 0 1 * MON", "UTC", "01-02T00:00", "01-05T00:00"),  # a day or a weekday
        ("@daily", "UTC", "01-02T03:00", "01-03T00:00"),
        ("@hourly", "UTC", "01-02T03:00", "01-02T04:00"),
        ("0 3 * * *", "Europe/Paris", "01-02T00:00", "01-02T02:00"),
        ("0 3 * * *", "Europe/Paris", "07-02T00:00", "07-02T01:00"),
        ("30 2 * * *", "Europe/Paris", "03-29T00:00", "03-29T01:00"),  # it does not exist: 3:00
    ],
)
def test_the_next_time_is_that_of_cron(schedule, zone, after, wanted):
    assert next(times(schedule, zone, at(after))) == at(wanted)


def test_an_hour_that_comes_twice_has_one_backup():
    found = list(itertools.islice(times("30 2 * * *", "Europe/Paris", at("10-24T12:00")), 2))
    assert found == [at("10-25T00:30"), at("10-26T01:30")]


@pytest.mark.parametrize(
    ("now", "fields", "running", "wanted"),
    [
        ("01-02T02:59", {}, False, None),
        ("01-02T03:00", {}, False, Due(at("01-02T03:00"))),
        ("01-02T03:00", {"suspend": True}, False, None),
        ("01-02T03:00", {"schedule": ""}, False, None),
        ("01-02T03:00", {}, True, None),
        ("01-06T12:00", {}, False, Due(at("01-06T03:00"))),  # of four missed times, the last
        ("01-06T12:00", {"starting_deadline_seconds": 3600}, False, Missed(at("01-06T03:00"))),
        ("01-06T12:00", {"starting_deadline_seconds": 3600}, True, Missed(at("01-06T03:00"))),
        ("01-06T03:59", {"starting_deadline_seconds": 3600}, False, Due(at("01-06T03:00"))),
    ],
)
def test_what_is_due_is_what_a_cron_job_would_start(now, fields, running, wanted):
    last = at("01-01T12:00")
    assert plan_schedule(policy(**fields), last, at(now), running=running) == wanted


def test_a_time_is_served_once():
    assert plan_schedule(NIGHTLY, at("01-02T03:00"), at("01-02T03:00"), running=False) is None


def test_no_backup_is_started_early():
    early = at("01-02T03:00") - timedelta(milliseconds=400)
    assert plan_schedule(NIGHTLY, at("01-01T12:00"), early, running=False) is None


def test_the_name_follows_from_the_time():
    assert scheduled_name("shop", at("01-02T03:00")) == "shop-202601020300"


FIVE = [backup(f"b{day}", at(f"01-0{day}T03:00")) for day in range(1, 6)]


@pytest.mark.parametrize(
    ("extra", "retention", "wanted"),
    [
        ([], None, []),
        ([], BackupRetention(completed=5), []),
        ([], BackupRetention(completed=3), ["b1", "b2"]),
        ([backup("run", at("01-01T00:00"), "Running")], BackupRetention(completed=5), []),
        (
            [backup("f1", at("01-01T12:00"), "Failed"), backup("f2", at("01-06T03:00"), "Failed")],
            BackupRetention(completed=4, failed=1),
            ["b1", "f1"],
        ),
        ([backup("f1", at("01-06T03:00"), "Failed")], BackupRetention(failed=0), ["f1"]),
    ],
)
def test_the_oldest_finished_backups_are_deleted(extra, retention, wanted):
    assert [one.metadata.name for one in expired([*FIVE, *extra], retention)] == wanted


@pytest.mark.parametrize(
    ("backups", "now", "status", "reason"),
    [
        ([], "01-01T13:00", None, "NoBackup"),
        ([], "01-02T03:01", False, "NoBackup"),
        (FIVE[:2], "01-02T12:00", True, "BackupCompleted"),
        (FIVE[:2], "01-03T03:30", True, "BackupCompleted"),  # the next one may be running
        (FIVE[:2], "01-04T03:30", False, "BackupOverdue"),
        ([*FIVE[:2], backup("f", at("01-03T03:00"), "Failed", why="disk full")], "01-03T04:00", False, "BackupFailed"),
        ([*FIVE[:2], backup("run", at("01-03T03:00"), "Running")], "01-03T04:00", True, "BackupCompleted"),
        ([backup("f", at("01-01T03:00"), "Failed"), FIVE[1]], "01-02T04:00", True, "BackupCompleted"),
    ],
)
def test_the_last_success_must_be_recent(backups, now, status, reason):
    found = readiness(NIGHTLY, backups, [], at("01-01T12:00"), at(now))
    assert (found.status, found.reason) == (status, reason)
    if reason == "BackupFailed":
        assert "disk full" in found.message
        assert "2026-01-02T03:00:00Z" in found.message


@pytest.mark.parametrize(("now", "reason"), [("01-02T12:09", "BackupCompleted"), ("01-02T12:11", "ArchiveBehind")])
def test_an_archive_that_is_behind_is_reported(now, reason):
    through = at("01-02T12:00")
    archive = ShardArchive(shard="shop0", since=through, through=through, checked_at=through)
    archiving = policy(archive=BinlogArchive())
    found = readiness(archiving, FIVE[:2], [archive], at("01-01T12:00"), at(now))
    assert found.reason == reason


@pytest.mark.parametrize(
    ("fields", "name", "field", "text"),
    [
        ({"schedule": "0 3 * *"}, "shop", "spec.backup.schedule", "five fields"),
        ({"schedule": "0 0 3 * * *"}, "shop", "spec.backup.schedule", "five fields"),
        ({"schedule": "60 3 * * *"}, "shop", "spec.backup.schedule", "Bad minute"),
        ({"schedule": "0 0 31 2 *"}, "shop", "spec.backup.schedule", "day"),
        ({"time_zone": "Europe/Atlantis"}, "shop", "spec.backup.timeZone", "no time zone"),
        ({"time_zone": "../etc/passwd"}, "shop", "spec.backup.timeZone", "no time zone"),
        ({}, "s" * 41, "metadata.name", "39 characters"),
    ],
)
def test_a_policy_that_cannot_work_is_rejected_with_its_field(fields, name, field, text):
    spec = MysqlClusterSpec(backup=policy(**fields))
    cluster = MysqlCluster(metadata=ObjectMeta(name=name, namespace="prod"), spec=spec)
    [cause] = check_cluster(cluster)
    assert cause.field == field
    assert text in cause.message


def test_a_good_policy_is_accepted():
    cluster = MysqlCluster(metadata=ObjectMeta(name="shop"), spec=MysqlClusterSpec(backup=NIGHTLY))
    assert check_cluster(cluster) == []


def test_a_schedule_without_a_time_zone_database_is_an_error_of_its_field(monkeypatch):
    with pytest.raises(ScheduleError) as caught:
        next(times("0 3 * * *", "Nowhere/Land", datetime(2026, 1, 1, tzinfo=UTC)))
    assert caught.value.field == "timeZone"
