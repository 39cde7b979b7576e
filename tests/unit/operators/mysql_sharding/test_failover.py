"""What to do next for a shard: tables, in the order of the specification."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from unit.operators.mysql_sharding.shards import (
    NOW,
    STATUS,
    P,
    change,
    changing,
    fenced,
    gone,
    member,
    replication,
    server,
    shard,
    synced,
)

from operators.mysql_sharding.failover import EPOCH_GAP, keeps_tail, plan
from operators.mysql_sharding.gtid import EMPTY, Gtid
from operators.mysql_sharding.members import (
    ChangeKind,
    ChangeStep,
    IoThread,
    Pod,
    SemiSync,
    ShardSpec,
    ShardStatus,
)
from operators.mysql_sharding.steps import (
    DeletePod,
    EndSessions,
    Finish,
    OpenForWrites,
    PointReplica,
    Promote,
    Reclone,
    RecordPrimary,
    RecordSynced,
    RecordTarget,
    RemoveRoleLabel,
    RepointProxies,
    SetReadOnly,
    SetRoleLabel,
    StartApplier,
    StopReplication,
    WaitFor,
    WriteIntent,
)

FAILED = "3 probes of db-0 failed"


def waits(seen: object) -> str:
    """Return the reason of the only step of a plan, which waits."""
    (step,) = plan(seen)
    assert isinstance(step, WaitFor)
    return step.reason


# Idle -------------------------------------------------------------------------------------------


def test_a_healthy_shard_needs_nothing() -> None:
    assert plan(shard()) == ()


def test_a_failed_primary_begins_a_failover_with_the_next_epoch() -> None:
    assert plan(shard(gone(0), failure=FAILED)) == (WriteIntent(2, "db-0", ChangeKind.FAILOVER, FAILED, old_pod="u0"),)


def test_a_primary_that_answers_has_not_failed() -> None:
    assert plan(shard(failure=FAILED)) == ()


def test_a_primary_that_does_not_answer_and_has_not_failed_is_waited_for() -> None:
    assert waits(shard(gone(0))) == "db-0 cannot be reached"


def test_a_primary_that_has_restarted_is_not_opened_again() -> None:
    restarted = member(0, server=server(0, incarnation="2", read_only=True))
    assert plan(shard(restarted)) == (WriteIntent(2, "db-0", ChangeKind.FAILOVER, "the server of db-0 has restarted"),)


def test_a_shard_without_a_primary_is_bootstrapped() -> None:
    assert plan(shard(status=ShardStatus())) == (
        WriteIntent(1, "", ChangeKind.BOOTSTRAP, "the shard has no primary yet"),
    )


def test_a_replica_is_synced_once_it_has_what_the_primary_had_after_its_start() -> None:
    replica = member(2, server=server(2, incarnation="2"))
    assert plan(shard(replica)) == (RecordSynced(1, "db-2", "2", P("0-1-100")),)


@pytest.mark.parametrize(
    "changes",
    [
        {"known_since": NOW + timedelta(seconds=1)},
        {"executed": P("0-1-99")},
        {"replication": replication(io_thread=IoThread.CONNECTING)},
        {"replication": replication(received=P("0-1-99"), applied_all=False), "executed": P("0-1-90")},
    ],
)
def test_a_replica_that_may_lack_something_is_not_synced(changes: dict[str, object]) -> None:
    replica = member(2, server=server(2, incarnation="2", **changes))
    assert not any(isinstance(step, RecordSynced) for step in plan(shard(replica)))


# Fencing: 3 and 4 -------------------------------------------------------------------------------


def test_the_fence_stops_all_reachable_replicas_and_retires_the_old_primary_at_once() -> None:
    assert set(plan(changing(gone(0), change=change()))) == {
        StopReplication("db-1", 2),
        StopReplication("db-2", 2),
        RemoveRoleLabel("db-0", "u0"),
        DeletePod("db-0", "u0"),
    }


def test_a_pod_that_was_recreated_is_not_deleted_again() -> None:
    recreated = member(0, server=None, pod=Pod(uid="u9"))
    seen = changing(recreated, fenced(1), gone(2), change=change())
    assert "1 of the 2 replicas that must be fenced are: without db-2 (not reachable)" in waits(seen)


def test_an_old_primary_that_answers_is_closed_too() -> None:
    steps = plan(changing(member(0, server=server(0, sessions=2)), change=change()))
    assert {SetReadOnly("db-0", 2), EndSessions("db-0", 2), StopReplication("db-0", 2)} <= set(steps)


def test_a_stopped_sql_thread_is_started_before_the_relay_log_would_be_lost() -> None:
    stopped = member(1, server=server(1, replication=replication(sql_running=False)))
    steps = plan(changing(gone(0), stopped, change=change()))
    assert StartApplier("db-1", 2) in steps
    assert StopReplication("db-1", 2) not in steps


def test_the_most_advanced_by_what_it_has_received_is_chosen() -> None:
    behind = fenced(1, "0-1-100", executed=P("0-1-100"))
    seen = changing(gone(0), behind, fenced(2, "0-1-105"), change=change())
    assert plan(seen) == (RecordTarget(2, "db-2", P("0-1-105")),)


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (gone(2), "db-2 (not reachable)"),
        (
            fenced(2, incarnation="2"),
            "db-2 (its relay log was lost after its last acknowledgement)",
        ),
        (
            fenced(2, "0-1-80", executed=P("0-1-80")),
            "db-2 (its position is behind an earlier one)",
        ),
    ],
)
def test_without_the_fence_nothing_is_promoted(broken: object, why: str) -> None:
    retired = member(0, server=None, pod=Pod(uid="u9"))
    assert why in waits(changing(retired, fenced(1), broken, change=change()))


def test_five_members_need_four_fenced_with_one_acknowledgement_and_three_with_two() -> None:
    members = (gone(0), fenced(1), fenced(2), fenced(3), gone(4))
    status = {"synced": tuple(synced(number) for number in (1, 2, 3, 4))}
    for acks, done in ((1, False), (2, True)):
        spec = ShardSpec(members=5, acks=acks)
        retired = member(0, server=None, pod=Pod(uid="u9"))
        steps = plan(changing(retired, *members[1:], change=change(), spec=spec, status=status))
        assert isinstance(steps[0], RecordTarget if done else WaitFor)


def test_an_errant_member_is_never_chosen() -> None:
    errant = fenced(2, "0-1-105", executed=P("0-1-90,0-3-200"))
    seen = changing(gone(0), fenced(1, "0-1-105"), errant, change=change())
    assert plan(seen) == (RecordTarget(2, "db-1", P("0-1-105")),)
    retired = member(0, server=None, pod=Pod(uid="u9"))
    alone = changing(retired, fenced(1, "0-1-100", executed=P("0-1-90,0-2-150")), errant, change=change())
    assert "free of errant transactions" in waits(alone)


def test_a_member_that_lags_by_choice_is_chosen_only_where_there_is_no_other() -> None:
    held = replace(fenced(2, "0-1-105", executed=P("0-1-105")), held=True)
    other = changing(gone(0), fenced(1), held, change=change())
    assert plan(other) == (RecordTarget(2, "db-1", P("0-1-105")),)
    both = changing(gone(0), replace(fenced(1), held=True), held, change=change())
    assert plan(both) == (RecordTarget(2, "db-2", P("0-1-105")),)


def test_an_old_primary_that_kept_its_tail_is_proof_where_the_fence_is_not() -> None:
    back = member(
        0, pod=Pod(uid="u9"), server=server(0, incarnation="2", epoch=2, read_only=True, executed=P("0-1-110"))
    )
    seen = changing(back, fenced(1), gone(2), change=change())
    assert plan(seen) == (RecordTarget(2, "db-0", P("0-1-110")),)
    truncated = replace(back, server=replace(back.server, tail_kept=False))
    assert "db-2 (not reachable)" in waits(changing(truncated, fenced(1), gone(2), change=change()))


def test_where_every_member_is_fenced_there_is_nothing_else_to_wait_for() -> None:
    back = member(
        0,
        pod=Pod(uid="u9"),
        server=server(0, incarnation="2", epoch=2, read_only=True, tail_kept=False, executed=P("0-1-95")),
    )
    lost = [fenced(1, incarnation="2"), fenced(2, "0-1-104", incarnation="2")]
    assert plan(changing(back, *lost, change=change())) == (RecordTarget(2, "db-2", P("0-1-104")),)


def test_asynchronous_shards_promote_with_one_fenced_member() -> None:
    spec = ShardSpec(members=3, allow_async=True)
    seen = changing(gone(0), fenced(1, incarnation="7"), gone(2), change=change(), spec=spec)
    assert plan(seen) == (RecordTarget(2, "db-1", P("0-1-100")),)


# Applying: 5 and 6 ------------------------------------------------------------------------------

APPLYING = change(ChangeStep.APPLYING, target="db-1", required=P("0-1-100"))
RETIRED = member(0, server=None, pod=Pod(uid="u9"))
APPLIED = {"executed": P("0-1-100"), "epoch": 2}


def test_the_target_applies_what_it_has_received() -> None:
    assert waits(changing(RETIRED, fenced(1), fenced(2), change=APPLYING)).startswith("db-1 applies")


def test_then_it_is_prepared_and_recorded_and_only_then_opened() -> None:
    target = fenced(1, **APPLIED)
    assert plan(changing(RETIRED, target, fenced(2), change=APPLYING)) == (Promote("db-1", 2, True),)
    prepared = fenced(1, **APPLIED, replication=None, semi_sync=SemiSync(primary=True), incarnation="2")
    assert plan(changing(RETIRED, prepared, fenced(2), change=APPLYING)) == (
        RecordPrimary(2, "db-1", "2", P("0-1-100"), Gtid(0, 2, 100 + EPOCH_GAP)),
    )


def test_a_position_that_was_too_small_is_corrected_before_the_promotion() -> None:
    target = fenced(1, **APPLIED)
    assert plan(changing(RETIRED, target, fenced(2, "0-1-103"), change=APPLYING)) == (
        RecordTarget(2, "db-2", P("0-1-103")),
    )


def test_a_target_that_has_written_by_itself_is_not_promoted_for_its_number() -> None:
    errant = fenced(1, "0-1-90", executed=P("0-1-90,0-2-150"), epoch=2)
    assert plan(changing(RETIRED, errant, fenced(2), change=APPLYING)) == (RecordTarget(2, "db-2", P("0-1-100")),)
    assert "errant" in waits(changing(RETIRED, errant, gone(2), change=APPLYING))


def test_a_lost_target_is_replaced_by_a_member_that_has_everything() -> None:
    assert plan(changing(RETIRED, gone(1), fenced(2), change=APPLYING)) == (RecordTarget(2, "db-2", P("0-1-100")),)


def test_a_target_that_lost_its_relay_log_catches_up_from_one_that_has_everything() -> None:
    lost = fenced(1, "0-1-90", incarnation="2")
    has = replace(fenced(2, **APPLIED), held=True)
    assert plan(changing(RETIRED, lost, has, change=APPLYING)) == (PointReplica("db-1", "db-2", 2, acknowledge=False),)


# Opening: 6 to 8 --------------------------------------------------------------------------------

OPENING = change(ChangeStep.OPENING, target="db-1", required=P("0-1-100"))
RECORDED = {
    "primary": "db-1",
    "incarnation": "2",
    "base": P("0-1-100"),
    "first": Gtid(0, 2, 1_000_100),
    "synced": (),
}
PRIMARY = {
    "epoch": 2,
    "incarnation": "2",
    "executed": P("0-1-100,0-2-1000105"),
    "replication": None,
    "semi_sync": SemiSync(primary=True),
}


def test_the_recorded_primary_is_opened() -> None:
    closed = member(1, server=server(1, **PRIMARY))
    assert plan(changing(RETIRED, closed, change=OPENING, status=RECORDED)) == (
        OpenForWrites("db-1", 2, "2", Gtid(0, 2, 1_000_100)),
    )


def test_replicas_labels_and_proxies_follow() -> None:
    opened = member(1, server=server(1, **PRIMARY, read_only=False))
    seen = changing(RETIRED, opened, change=OPENING, status=RECORDED, proxied="db-0")
    assert set(plan(seen)) == {
        PointReplica("db-2", "db-1", 2, acknowledge=True),
        SetRoleLabel("db-1", "u1", "primary"),
        RepointProxies("db-1", 2),
    }


def test_no_two_pods_have_the_label_of_the_primary() -> None:
    opened = member(1, server=server(1, **PRIMARY, read_only=False))
    steps = plan(changing(gone(0), opened, change=OPENING, status=RECORDED))
    assert RemoveRoleLabel("db-0", "u0") in steps
    assert not any(isinstance(step, SetRoleLabel) for step in steps)


def test_a_change_is_finished_once_all_point_to_the_primary() -> None:
    opened = member(1, pod=Pod(uid="u1", role="primary"), server=server(1, **PRIMARY, read_only=False))
    pointed = member(2, server=server(2, epoch=2, replication=replication(source="db-1")))
    seen = changing(RETIRED, opened, pointed, change=OPENING, status=RECORDED, proxied="db-1")
    assert plan(seen) == (Finish(2),)


def test_a_primary_that_restarts_before_it_is_opened_begins_a_failover_of_its_own() -> None:
    restarted = member(1, server=server(1, **(PRIMARY | {"incarnation": "3"})))
    (step,) = plan(changing(RETIRED, restarted, change=OPENING, status=RECORDED))
    assert (step.epoch, step.old_primary) == (3, "db-1")


# Rejoin: 9 --------------------------------------------------------------------------------------


def test_an_old_primary_rejoins_as_a_replica() -> None:
    back = member(2, server=server(2, replication=None, semi_sync=SemiSync()))
    assert plan(shard(back, status=replace(STATUS, epoch=2)))[0] in {
        PointReplica("db-2", "db-0", 2, acknowledge=True),
        OpenForWrites("db-0", 2, "1", Gtid(0, 1, 11)),
    }


def test_a_member_with_errant_transactions_is_cloned_again_from_a_replica() -> None:
    errant = member(2, pod=Pod(uid="u2"), server=server(2, executed=P("0-1-100,0-3-101")))
    (step,) = plan(shard(errant))
    assert (step.member, step.donor, step.incarnation) == ("db-2", "db-1", "1")
    assert isinstance(step, Reclone)
    assert "0-3-101" in step.why


@pytest.mark.parametrize(
    "broken",
    [
        replication(io_thread=IoThread.STOPPED, io_errno=1236, io_error="not in the binlog"),
        replication(sql_running=False, sql_error="duplicate entry"),
    ],
)
def test_a_replica_that_no_retry_mends_is_cloned_again(broken: object) -> None:
    (step,) = plan(shard(member(2, pod=Pod(uid="u2"), server=server(2, replication=broken))))
    assert isinstance(step, Reclone)


def test_nothing_is_cloned_or_pointed_while_the_primary_does_not_answer() -> None:
    errant = member(2, pod=Pod(uid="u2"), server=server(2, executed=P("0-1-100,0-3-101")))
    stopped = member(1, pod=Pod(uid="u1"), server=server(1, replication=None))
    assert waits(shard(gone(0), stopped, errant)) == "db-0 cannot be reached"


@pytest.mark.parametrize(
    ("found", "step"),
    [
        (
            {"replication": replication(io_thread=IoThread.STOPPED)},
            PointReplica("db-2", "db-0", 1, acknowledge=True),
        ),
        (
            {"semi_sync": SemiSync(replica=True)},
            PointReplica("db-2", "db-0", 1, acknowledge=True),
        ),
        ({"replication": replication(sql_running=False)}, StartApplier("db-2", 1)),
        ({"read_only": False}, SetReadOnly("db-2", 1)),
    ],
)
def test_a_replica_is_repaired(found: dict[str, object], step: object) -> None:
    assert step in plan(shard(member(2, server=server(2, **found))))


def test_a_member_that_is_held_is_no_acknowledger_and_not_started() -> None:
    stopped = replication(io_thread=IoThread.STOPPED, sql_running=False)
    held = member(2, held=True, pod=Pod(uid="u2"), server=server(2, replication=stopped, semi_sync=SemiSync()))
    assert plan(shard(held)) == ()


# Switchover -------------------------------------------------------------------------------------

WANTED = ShardSpec(members=3, switchover="db-1")
DRAINING = change(kind=ChangeKind.SWITCHOVER, target="db-1", old_pod="")


def test_a_switchover_begins_with_an_intent() -> None:
    (step,) = plan(shard(spec=WANTED))
    assert (step.epoch, step.kind, step.target) == (2, ChangeKind.SWITCHOVER, "db-1")


def test_a_wish_that_is_done_with_is_not_repeated() -> None:
    assert plan(shard(spec=WANTED, status=replace(STATUS, switchover="db-1"))) == ()


def test_a_target_that_is_not_ready_is_named() -> None:
    late = replication(lag=timedelta(minutes=5), applied_all=False)
    reason = waits(shard(member(1, pod=Pod(uid="u1"), server=server(1, replication=late)), spec=WANTED))
    assert "db-1 lags by 0:05:00" in reason


def test_the_old_primary_is_closed_before_its_position_is_read() -> None:
    busy = member(0, server=server(0, sessions=3))
    assert set(plan(changing(busy, change=DRAINING, spec=WANTED))) == {
        SetReadOnly("db-0", 2),
        EndSessions("db-0", 2),
        RemoveRoleLabel("db-0", "u0"),
    }
    closed = member(0, pod=Pod(uid="u0"), server=server(0, epoch=2, read_only=True))
    assert plan(changing(closed, change=DRAINING, spec=WANTED)) == (RecordTarget(2, "db-1", P("0-1-100")),)


def test_a_target_that_is_lost_gives_the_switchover_up() -> None:
    closed = member(0, pod=Pod(uid="u0"), server=server(0, epoch=2, read_only=True))
    applying = replace(DRAINING, step=ChangeStep.APPLYING, required=P("0-1-100"))
    assert plan(changing(closed, gone(1), change=applying, spec=WANTED)) == (RecordTarget(2, "db-0", P("0-1-100")),)
    back = replace(applying, target="db-0")
    assert isinstance(plan(changing(closed, gone(1), change=back, spec=WANTED))[0], RecordPrimary)


def test_a_primary_that_fails_in_a_switchover_begins_a_failover() -> None:
    (step,) = plan(changing(gone(0), change=DRAINING, spec=WANTED, failure=FAILED))
    assert (step.epoch, step.kind) == (3, ChangeKind.FAILOVER)


# Bootstrap and single members -------------------------------------------------------------------

FIRST = change(kind=ChangeKind.BOOTSTRAP, epoch=1, old_primary="", old_pod="")
UNKNOWN = {"primary": "", "synced": (), "first": None, "base": EMPTY}


def empty(number: int, executed: str = "") -> object:
    return member(
        number,
        server=server(number, epoch=1, read_only=True, executed=P(executed), replication=None, semi_sync=SemiSync()),
    )


def test_the_first_primary_is_the_first_of_empty_members() -> None:
    seen = changing(empty(0), empty(1), empty(2), change=FIRST, status=UNKNOWN)
    assert plan(seen) == (RecordTarget(1, "db-0", EMPTY),)


def test_a_shard_with_data_whose_status_was_lost_keeps_the_most_advanced() -> None:
    seen = changing(empty(0, "0-1-5"), empty(1, "0-1-9"), empty(2), change=FIRST, status=UNKNOWN)
    assert plan(seen) == (RecordTarget(1, "db-1", P("0-1-9")),)


def test_the_first_primary_is_not_chosen_while_a_member_is_missing() -> None:
    seen = changing(empty(0), empty(1), gone(2), change=FIRST, status=UNKNOWN)
    assert waits(seen).endswith("missing: db-2")


def test_histories_that_have_diverged_are_reported() -> None:
    seen = changing(empty(0, "0-1-5"), empty(1, "1-1-9"), empty(2), change=FIRST, status=UNKNOWN)
    assert "have diverged" in waits(seen)
    assert "db-0 has 0-1-5" in waits(seen)


def test_a_single_member_is_opened_again_after_a_restart_without_semi_sync() -> None:
    single = {"spec": ShardSpec(members=1)}
    back = member(
        0,
        pod=Pod(uid="u9"),
        server=server(0, incarnation="2", epoch=2, read_only=True, semi_sync=SemiSync()),
    )
    begun = replace(changing(back, change=change(), **single), members=(back,))
    assert plan(begun) == (RecordTarget(2, "db-0", P("0-1-100")),)
    applying = change(ChangeStep.APPLYING, target="db-0", required=P("0-1-100"))
    recorded = replace(changing(back, change=applying, **single), members=(back,))
    assert isinstance(plan(recorded)[0], RecordPrimary)


# Tails ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "name", "keeps"),
    [
        (STATUS, "db-0", True),
        (STATUS, "db-1", False),
        (ShardStatus(), "db-1", True),
        (replace(STATUS, failover=change()), "db-1", True),
        (replace(STATUS, failover=APPLYING), "db-2", True),
        (replace(STATUS, primary="db-1", failover=OPENING), "db-0", False),
        (replace(STATUS, primary="db-1", failover=OPENING), "db-1", True),
    ],
)
def test_only_a_member_beside_a_recorded_primary_truncates_its_tail(
    status: ShardStatus, name: str, keeps: bool
) -> None:
    assert keeps_tail(status, name) is keeps
