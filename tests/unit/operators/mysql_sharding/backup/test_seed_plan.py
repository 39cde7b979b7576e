"""How data comes to the members that have none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.operators.mysql_sharding.shards import STATUS, gone, member, replication, server, shard

from operators.mysql_sharding.backup.seed_plan import (
    CreateDonor,
    CreateSeed,
    DeleteMember,
    End,
    SeedPod,
    Seeds,
    Source,
    plan_seeds,
)
from operators.mysql_sharding.gtid import EMPTY
from operators.mysql_sharding.members import IoThread, Pod, ShardStatus

PURGED = replication(io_thread=IoThread.STOPPED, io_errno=1236, io_error="not in the binlog", received=EMPTY)
EMPTIED = member(2, pod=Pod(uid="u2"), server=server(2, executed=EMPTY, replication=PURGED))
RUNNING = SeedPod("Running", "10.0.0.9")


def seeds(seed=None, donor=None, member="db-2", **fields):
    return Seeds(
        seeds={} if seed is None else {member: seed},
        donors={} if donor is None else {member: donor},
        **fields,
    )


def test_a_healthy_shard_needs_nothing():
    assert plan_seeds(shard(), seeds()) == []


@pytest.mark.parametrize(
    ("seed", "donor", "wanted"),
    [
        (None, None, [CreateDonor("db-2", "db-1")]),
        (None, SeedPod("Pending"), []),
        (None, RUNNING, [CreateSeed("db-2", Source.DONOR, "db-1", "10.0.0.9")]),
        (RUNNING, RUNNING, []),
        (SeedPod("Succeeded"), SeedPod("Succeeded"), [DeleteMember("db-2", "u2")]),
        (SeedPod("Failed", message="disk full"), RUNNING, []),
        (SeedPod("Failed", message="disk full", retry=True), RUNNING, [End("db-2", "disk full")]),
        (
            RUNNING,
            SeedPod("Failed", retry=True),
            [End("db-2", "its pod failed without a message")],
        ),
    ],
)
def test_an_empty_member_whose_history_was_purged_is_copied_from_a_replica(seed, donor, wanted):
    assert plan_seeds(shard(EMPTIED), seeds(seed, donor)) == wanted


def test_without_another_replica_the_primary_is_copied():
    found = plan_seeds(shard(EMPTIED, gone(1)), seeds())
    assert found == [CreateDonor("db-2", "db-0")]


def test_one_member_is_copied_at_a_time():
    other = member(1, pod=Pod(uid="u1"), server=server(1, executed=EMPTY, replication=PURGED))
    assert plan_seeds(shard(other, EMPTIED), seeds(donor=RUNNING)) == [
        CreateSeed("db-2", Source.DONOR, "db-0", "10.0.0.9")
    ]
    assert plan_seeds(shard(other, EMPTIED), seeds()) == [CreateDonor("db-1", "db-0")]


def test_a_member_with_data_is_not_copied():
    has_data = member(2, pod=Pod(uid="u2"), server=server(2, replication=PURGED))
    assert plan_seeds(shard(has_data), seeds()) == []


def test_nothing_is_copied_while_the_primary_does_not_answer():
    assert plan_seeds(shard(gone(0), EMPTIED), seeds()) == []


@pytest.mark.parametrize(
    ("pod", "members", "wanted"),
    [
        (SeedPod("Succeeded"), (), [End("db-2", done=True)]),
        (RUNNING, (), [End("db-2")]),
        (RUNNING, (gone(2),), []),
    ],
)
def test_pods_end_once_their_member_has_data(pod, members, wanted):
    assert plan_seeds(shard(*members), seeds(pod, RUNNING)) == wanted


NEW = shard(
    *(member(n, server=None, pod=Pod(uid=f"u{n}", phase="Pending")) for n in range(3)),
    status=ShardStatus(primary="", epoch=1),
)
ALL = frozenset({"db-0", "db-1", "db-2"})


def test_all_members_of_a_restored_shard_get_the_backup():
    found = plan_seeds(NEW, seeds(restores=True, waiting=ALL))
    assert found == [CreateSeed(f"db-{n}", Source.BACKUP) for n in range(3)]


def test_a_backup_that_was_rejected_is_tried_again_after_a_while():
    waiting = {"restores": True, "waiting": frozenset({"db-2"})}
    failed = SeedPod("Failed", message="corrupted")
    assert plan_seeds(NEW, seeds(failed, **waiting)) == []
    again = replace(failed, retry=True)
    assert plan_seeds(NEW, seeds(again, **waiting)) == [End("db-2", failure="corrupted")]


def test_a_member_that_is_emptied_after_the_restore_is_copied_from_another():
    emptied = member(2, server=None, pod=Pod(uid="u2", phase="Pending"))
    found = plan_seeds(shard(emptied, status=STATUS), seeds(restores=True, waiting=frozenset({"db-2"})))
    assert found == [CreateDonor("db-2", "db-1")]
