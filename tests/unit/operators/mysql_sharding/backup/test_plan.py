"""The next step of a backup, and which member is read."""

from __future__ import annotations

import pytest

from operatorkit.resource import ObjectMeta
from operators.mysql_sharding.api import (
    MemberStatus,
    MysqlDatabase,
    MysqlDatabaseSpec,
    MysqlDatabaseStatus,
)
from operators.mysql_sharding.backup.api import ShardBackup
from operators.mysql_sharding.backup.plan import (
    Complete,
    Fail,
    Record,
    RecordLogs,
    RunLogs,
    RunPod,
    SeenPod,
    TakeCut,
    Wait,
    choose,
    plan,
)

PRIMARY = MemberStatus(name="shop0-0", role="primary", phase="Serving")


def replica(ordinal, **fields):
    given = {"role": "replica", "phase": "Replicating", "lag_seconds": 0, **fields}
    return MemberStatus(name=f"shop0-{ordinal}", **given)


def shard(*members, replicas=3, primary="shop0-0"):
    return MysqlDatabase(
        metadata=ObjectMeta(name="shop0", namespace="prod"),
        spec=MysqlDatabaseSpec(replicas=replicas),
        status=MysqlDatabaseStatus(primary=primary, members=list(members)),
    )


@pytest.mark.parametrize(
    ("members", "wanted"),
    [
        ((PRIMARY, replica(1), replica(2)), "shop0-1"),
        ((PRIMARY, replica(1, lag_seconds=20), replica(2)), "shop0-2"),
        ((PRIMARY, replica(1, errant=True), replica(2)), "shop0-2"),
        ((PRIMARY, replica(1, role=""), replica(2)), "shop0-2"),
        ((PRIMARY, replica(1, phase="Unreachable"), replica(2)), "shop0-2"),
    ],
)
def test_the_replica_that_lags_least_is_read(members, wanted):
    assert choose(shard(*members)) == wanted


def test_a_primary_with_replicas_is_never_read():
    found = choose(shard(PRIMARY, replica(1, phase="Stopped"), replica(2, errant=True)))
    assert isinstance(found, Wait)
    assert "no replica of shop0" in found.why


def test_the_only_member_of_a_shard_is_read_while_it_serves():
    assert choose(shard(PRIMARY, replicas=1)) == "shop0-0"
    stopped = MemberStatus(name="shop0-0", role="primary", phase="Stopped")
    assert isinstance(choose(shard(stopped, replicas=1)), Wait)


NAMES = ["shop0", "shop1"]
SHARDS = [shard(PRIMARY, replica(1)), shard(PRIMARY, replica(2))]


def recorded(*names, cut="", logged=()):
    return {
        name: ShardBackup(
            shard=name,
            member=f"{name}-1",
            gtid="0-1-5",
            cut=cut,
            log_sha256="a" * 64 if name in logged else "",
        )
        for name in names
    }


@pytest.mark.parametrize(
    ("names", "pods", "wanted"),
    [
        ((), {}, RunPod(0, "shop0-1")),
        ((), {0: SeenPod("Pending")}, Wait("Running", "the shard shop0 is being read")),
        ((), {0: SeenPod("Succeeded", "{}")}, Record(0, "{}")),
        (("shop0",), {0: SeenPod("Succeeded", "{}")}, RunPod(1, "shop0-2")),
        (("shop0",), {1: SeenPod("Failed", "disk full")}, Fail("shop1: disk full")),
        (("shop0", "shop1"), {}, TakeCut()),
    ],
)
def test_shards_are_read_one_after_the_other_and_then_all_at_one_moment(names, pods, wanted):
    assert plan(SHARDS, recorded(*names), pods, NAMES, {}) == wanted


@pytest.mark.parametrize(
    ("logged", "logs", "wanted"),
    [
        ((), {}, RunLogs(0, "shop0-1")),
        ((), {0: SeenPod("Running")}, Wait("Running", "the shard shop0 is being read")),
        ((), {0: SeenPod("Succeeded", "{}")}, RecordLogs(0, "{}")),
        (("shop0",), {}, RunLogs(1, "shop0-2")),
        (("shop0",), {1: SeenPod("Failed", "purged")}, Fail("shop1: purged")),
        (("shop0", "shop1"), {}, Complete()),
    ],
)
def test_each_shard_gets_its_transactions_up_to_the_cut(logged, logs, wanted):
    known = recorded(*NAMES, cut="0-1-9", logged=logged)
    assert plan(SHARDS, known, {}, NAMES, logs) == wanted


def test_a_shard_that_wrote_nothing_until_the_cut_needs_no_transactions():
    assert plan(SHARDS, recorded(*NAMES, cut="0-1-5"), {}, NAMES, {}) == Complete()


def test_a_single_shard_needs_no_cut():
    assert plan(SHARDS[:1], recorded("shop0"), {}, NAMES[:1], {}) == Complete()


def test_a_shard_that_does_not_exist_is_waited_for():
    found = plan([None, SHARDS[1]], {}, {}, NAMES, {})
    assert found == Wait("Pending", "the shard shop0 does not exist yet")
