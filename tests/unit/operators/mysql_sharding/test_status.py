"""What is persisted of a shard, and what is reported of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from operatorkit.resource import ObjectMeta
from operators.mysql_sharding import reasons
from operators.mysql_sharding.api import Durability, MysqlDatabase, MysqlDatabaseSpec, MysqlDatabaseStatus
from operators.mysql_sharding.gtid import Gtid, Position
from operators.mysql_sharding.members import (
    Change,
    ChangeKind,
    ChangeStep,
    IoThread,
    Member,
    ObservedShard,
    Pod,
    Replication,
    SemiSync,
    Server,
    ShardStatus,
    Synced,
)
from operators.mysql_sharding.report import event_of, report
from operators.mysql_sharding.status import apply_step, spec_of, status_of
from operators.mysql_sharding.steps import (
    Finish,
    Reclone,
    RecordPrimary,
    RecordSynced,
    RecordTarget,
    WaitFor,
    WriteIntent,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BASE = Position.parse("0-10-7")
FIRST = Gtid(0, 11, 1007)


def test_the_steps_of_a_failover_are_read_back_as_they_were_written():
    status = MysqlDatabaseStatus(primary="shop0-0", epoch=1, incarnation="5.0")
    apply_step(status, WriteIntent(2, "shop0-0", ChangeKind.FAILOVER, "3 probes failed", old_pod="uid"), NOW)
    begun = status_of(status)
    change = Change(
        kind=ChangeKind.FAILOVER,
        epoch=2,
        old_primary="shop0-0",
        started_at=NOW,
        reason="3 probes failed",
        old_pod="uid",
    )
    assert (begun.epoch, begun.primary, begun.failover) == (2, "shop0-0", change)
    apply_step(status, RecordTarget(2, "shop0-1", BASE), NOW)
    failover = status_of(status).failover
    assert (failover.step, failover.target, failover.required) == (ChangeStep.APPLYING, "shop0-1", BASE)
    apply_step(status, RecordPrimary(2, "shop0-1", "9.1", base=BASE, first=FIRST), NOW)
    opening = status_of(status)
    assert opening.failover.step is ChangeStep.OPENING
    assert (opening.primary, opening.incarnation, opening.base, opening.first) == ("shop0-1", "9.1", BASE, FIRST)
    apply_step(status, Finish(2, "shop0-1"), NOW)
    assert status_of(status) == ShardStatus(
        primary="shop0-1", epoch=2, incarnation="9.1", base=BASE, first=FIRST, switchover="shop0-1"
    )


def test_a_replica_is_recorded_once_and_forgotten_with_the_next_primary():
    status = MysqlDatabaseStatus(primary="shop0-0", epoch=1)
    for incarnation in ("5.0", "6.0"):
        apply_step(status, RecordSynced(1, "shop0-1", incarnation, BASE), NOW)
    assert status_of(status).synced == (Synced(member="shop0-1", incarnation="6.0", received=BASE),)
    apply_step(status, WriteIntent(2, "shop0-0", ChangeKind.FAILOVER, "gone"), NOW)
    assert status_of(status).synced, "the fence counts them"
    apply_step(status, RecordPrimary(2, "shop0-1", "6.0", base=BASE, first=FIRST), NOW)
    assert status_of(status).synced == ()


@pytest.mark.parametrize(("allow", "acks"), [(False, 1), (True, 0)])
def test_the_acknowledgements_follow_the_durability(allow, acks):
    spec = MysqlDatabaseSpec(durability=Durability(allow_async=allow), switchover_to="shop0-1")
    found = spec_of(MysqlDatabase(metadata=ObjectMeta(name="shop0"), spec=spec))
    assert (found.members, found.acks, found.allow_async, found.switchover) == (3, acks, allow, "shop0-1")


def server(**facts):
    return Server(
        **{
            "observed_at": NOW,
            "server_id": 10,
            "incarnation": "5.0",
            "known_since": NOW,
            "epoch": 1,
            "read_only": True,
            "executed": Position.parse("0-10-9"),
            **facts,
        }
    )


def seen(*members, **status):
    shard = MysqlDatabase(metadata=ObjectMeta(name="shop0", generation=3), spec=MysqlDatabaseSpec())
    persisted = ShardStatus(**{"primary": "shop0-0", "epoch": 1, "incarnation": "5.0", **status})
    return shard, ObservedShard(name="shop0", spec=spec_of(shard), status=persisted, members=members, now=NOW)


def healthy(lag=timedelta(0), acknowledgers=1):
    primary = server(read_only=False, semi_sync=SemiSync(primary=True, acknowledgers=acknowledgers))
    replication = Replication(source="shop0-0", io_thread=IoThread.RUNNING, sql_running=True, lag=lag)
    return (
        Member(name="shop0-0", pod=Pod(uid="a", ready=True, role="primary"), server=primary),
        Member(name="shop0-1", pod=Pod(uid="b", ready=True, role="replica"), server=server(replication=replication)),
    )


def conditions(made):
    return {one.type: (one.status, one.reason) for one in made.shard.status.conditions}


def test_a_healthy_shard_is_available_and_not_degraded():
    made = report(*seen(*healthy()), ())
    assert conditions(made) == {
        "Available": ("True", reasons.PRIMARY_SERVES),
        "Degraded": ("False", reasons.ALL_MEMBERS_REPLICATE),
    }
    status = made.shard.status
    assert [(one.name, one.role, one.phase) for one in status.members] == [
        ("shop0-0", "primary", "Serving"),
        ("shop0-1", "replica", "Replicating"),
    ]
    assert (status.ready_members, status.gtid, status.observed_generation) == (2, "0-10-9", 3)


def test_a_position_or_a_second_of_lag_alone_is_nothing_new():
    shard, now = seen(*healthy())
    reported = report(shard, now, ()).shard
    assert not report(reported, seen(*healthy(lag=timedelta(seconds=3)))[1], ()).changed
    assert report(reported, seen(*healthy(lag=timedelta(seconds=30)))[1], ()).changed


def test_writes_that_wait_for_a_replica_make_a_shard_unavailable():
    made = report(*seen(*healthy(acknowledgers=0)), ())
    assert conditions(made)["Available"] == ("False", reasons.NO_PRIMARY)


def test_what_the_operator_waits_for_is_in_the_condition():
    gone = Member(name="shop0-0", unreachable_since=NOW)
    made = report(*seen(gone, healthy()[1]), (WaitFor("1 of 2 replicas are fenced"),))
    [available, degraded] = made.shard.status.conditions
    assert (available.status, available.message) == ("False", "1 of 2 replicas are fenced")
    assert (degraded.status, degraded.message) == ("True", "not healthy: shop0-0")


def test_a_change_is_announced_and_its_end_reports_how_long_it_took():
    change = Change(
        kind=ChangeKind.FAILOVER, epoch=2, old_primary="shop0-1", started_at=NOW - timedelta(seconds=2), reason=""
    )
    _, during = seen(*healthy(), failover=change)
    begun = event_of(during, WriteIntent(2, "shop0-1", ChangeKind.FAILOVER, "3 probes failed"))
    assert (begun.type, begun.reason, begun.message) == (
        "Warning",
        reasons.FAILOVER_STARTED,
        "epoch 2: 3 probes failed",
    )
    ended = event_of(during, Finish(2))
    assert (ended.reason, ended.message) == (reasons.FAILOVER_COMPLETED, "from shop0-1 to shop0-0 in 2.0 s, epoch 2")
    recloned = event_of(during, Reclone("shop0-1", "shop0-0", 2, "5.0", "it has errant transactions"))
    assert recloned.type == "Warning"
    assert event_of(during, RecordTarget(2, "shop0-0", BASE)) is None
