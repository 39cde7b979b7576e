"""The order of a change within a shard."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from operators.mysql_sharding.rollout_plan import (
    Done,
    Failed,
    Hold,
    MemberState,
    ProbeWrite,
    RestartMember,
    RolloutStep,
    SetGlobal,
    ShardState,
    SwitchOver,
    next_steps,
)

DYNAMIC = {"max_connections": "500"}
STATIC = {"skip_name_resolve": "ON"}


def member(number: int, **changes: Any) -> MemberState:
    healthy = MemberState(
        name=f"db-{number}",
        ordinal=number,
        template_current=True,
        reachable=True,
        caught_up=True,
        values={"max_connections": "151", "skip_name_resolve": "OFF"},
    )
    return replace(healthy, **changes)


def shard(index: int = 0, count: int = 3, **changes: Any) -> ShardState:
    healthy = ShardState(
        name=f"shard-{index}",
        index=index,
        primary="db-0",
        acks=1,
        members=tuple(member(number) for number in range(count)),
        wanted={},
    )
    return replace(healthy, **changes)


def executed(seen: ShardState, step: RolloutStep) -> ShardState:
    """Return the shard after a step that succeeded."""
    if isinstance(step, SwitchOver):
        return replace(seen, primary=step.target)
    if isinstance(step, ProbeWrite):
        return replace(seen, written=True)
    assert isinstance(step, SetGlobal | RestartMember)
    changed = {step.variable: step.value} if isinstance(step, SetGlobal) else dict(seen.wanted)
    members = tuple(
        replace(
            each,
            values={**each.values, **changed},
            template_current=each.template_current or isinstance(step, RestartMember),
        )
        if each.name == step.member
        else each
        for each in seen.members
    )
    return replace(seen, members=members)


def all_steps(seen: ShardState) -> list[RolloutStep]:
    """Return what is done until the shard is done."""
    done: list[RolloutStep] = []
    while next_steps(seen) != (Done(),):
        for step in next_steps(seen):
            seen = executed(seen, step)
            done.append(step)
        assert len(done) < 20
    return done


def test_dynamic_variables_are_set_in_place_on_all_members_at_once_and_verified() -> None:
    assert all_steps(shard(wanted=DYNAMIC)) == [
        *(SetGlobal(f"db-{number}", "max_connections", "500") for number in (1, 2, 0)),
        ProbeWrite("shard-0"),
    ]


def test_other_variables_need_restarts_replicas_first_and_the_old_primary_last() -> None:
    old = "it is of an older revision"
    assert all_steps(shard(wanted=DYNAMIC | STATIC)) == [
        RestartMember("db-2", old),
        RestartMember("db-1", old),
        SwitchOver("db-1"),
        RestartMember("db-0", old),
        ProbeWrite("shard-0"),
    ]


def test_a_new_image_needs_restarts_though_no_variable_differs() -> None:
    seen = shard(members=tuple(member(number, template_current=False) for number in range(3)))
    assert all_steps(seen)[0] == RestartMember("db-2", "it is of an older revision")


def test_in_place_changes_can_be_declined() -> None:
    seen = shard(wanted=DYNAMIC, prefer_in_place=False)
    assert isinstance(next_steps(seen)[0], RestartMember)


def test_a_single_member_is_restarted_without_a_switchover() -> None:
    assert all_steps(shard(count=1, wanted=STATIC)) == [
        RestartMember("db-0", "it is of an older revision, and the only member"),
        ProbeWrite("shard-0"),
    ]


def test_no_member_is_taken_while_another_is_missing_or_late() -> None:
    for changes, why in (
        ({"reachable": False}, "shard-0: db-1 cannot be reached"),
        ({"caught_up": False}, "shard-0: db-1 has not applied everything"),
    ):
        members = (member(0), member(1, **changes), member(2))
        assert next_steps(shard(members=members, wanted=STATIC)) == (Hold(why),)


def test_nothing_is_changed_during_a_backup() -> None:
    seen = shard(wanted=DYNAMIC, busy="a backup is under way")
    assert next_steps(seen) == (Hold("shard-0: a backup is under way"),)


def test_a_member_that_does_not_start_with_the_revision_stops_the_shard() -> None:
    broken = member(2, reachable=False, caught_up=False, failure="unknown variable")
    seen = shard(members=(member(0), member(1), broken), wanted=STATIC)
    assert next_steps(seen) == (Failed("db-2", "unknown variable"),)


def test_a_broken_member_of_an_older_revision_is_replaced_first() -> None:
    """A reverted rollout must reach the member that the failed one broke."""
    broken = member(2, reachable=False, caught_up=False, template_current=False, failure="exit 1")
    assert next_steps(shard(members=(member(0), member(1), broken))) == (
        RestartMember("db-2", "it does not run: exit 1"),
    )


def test_a_member_that_was_restarted_and_still_runs_another_value_stops_the_shard() -> None:
    late = member(2, restarted=True)
    (found,) = next_steps(shard(members=(member(0), member(1), late), wanted=STATIC))
    assert isinstance(found, Failed)
    assert (found.member, "skip_name_resolve is 'OFF' instead of 'ON'" in found.reason) == ("db-2", True)


def test_replicas_are_set_before_the_primary() -> None:
    steps = next_steps(shard(wanted=DYNAMIC, primary="db-0"))
    assert [step.member for step in steps if isinstance(step, SetGlobal)] == ["db-1", "db-2", "db-0"]


def test_a_dynamic_variable_is_not_set_while_a_member_is_late() -> None:
    members = (member(0), member(1, caught_up=False), member(2))
    assert next_steps(shard(members=members, wanted=DYNAMIC)) == (Hold("shard-0: db-1 has not applied everything"),)


def test_a_member_that_does_not_run_is_replaced_also_during_a_failover_which_may_wait_for_it() -> None:
    broken = member(1, reachable=False, caught_up=False, template_current=False, failure="exit 1")
    seen = shard(members=(member(0), broken), busy="a failover is under way")
    assert next_steps(seen) == (RestartMember("db-1", "it does not run: exit 1"),)


MEMBERS = st.integers(1, 5)
FLAGS = st.lists(st.booleans(), min_size=5, max_size=5)


@given(count=MEMBERS, primary=st.integers(0, 4), restarts=st.booleans(), updated=FLAGS, late=FLAGS)
def test_whatever_is_observed_at_most_one_member_is_taken_and_never_the_primary_before_the_others(
    count: int, primary: int, restarts: bool, updated: list[bool], late: list[bool]
) -> None:
    wanted = STATIC if restarts else DYNAMIC
    name, value = next(iter(wanted.items()))
    base = member(0).values
    members = tuple(
        member(
            number,
            values={**base, name: value} if updated[number] else base,
            caught_up=not late[number],
        )
        for number in range(count)
    )
    seen = shard(count=count, members=members, wanted=wanted, primary=f"db-{primary % count}")
    steps = next_steps(seen)
    assert steps, "there is always a next step, or a reason to wait"
    if any(late[:count]):
        assert all(isinstance(step, Hold) for step in steps), "no member is taken while one is late"
        return
    taken = [step for step in steps if isinstance(step, RestartMember | SwitchOver)]
    assert len(taken) <= 1
    for step in taken:
        if isinstance(step, RestartMember) and step.member == seen.primary:
            assert count == 1, "the primary moves before it is restarted"
        if isinstance(step, SwitchOver):
            assert all(updated[each.ordinal] for each in members if each.name != seen.primary)
    assert (taken == []) or restarts
