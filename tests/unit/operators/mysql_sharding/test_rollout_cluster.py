"""The order of a change over the shards of a cluster."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.mysql_sharding.api import Canary, ClusterRollback, ClusterRollout, UpdateStrategy
from operators.mysql_sharding.rollout_cluster import ClusterPlan, RollingShard, plan_rollout

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DONE = ClusterRollout(step="Complete", started_at=NOW - timedelta(days=1))


def shards(count: int = 4, **changes: Any) -> list[RollingShard]:
    """Return shards that were not assigned the revision yet, and run the one before."""
    made = [
        RollingShard(name=f"shop{index}", index=index, assigned=False, done=True, healthy=True)
        for index in range(count)
    ]
    return [replace(each, **changes) for each in made]


def planned(
    seen: list[RollingShard], *, now: datetime = NOW, last: ClusterRollout | None = DONE, **strategy: Any
) -> ClusterPlan:
    return plan_rollout(seen, UpdateStrategy(**strategy), last=last, rollback=None, now=now)


def test_a_shard_that_is_not_healthy_after_a_rollout_begins_none() -> None:
    seen = shards(assigned=True)
    seen[1] = replace(seen[1], healthy=False)
    plan = planned(seen)
    assert (plan.complete, plan.rollout.step, plan.rollout.started_at) == (True, "Complete", DONE.started_at)


def completed(seen: list[RollingShard], **strategy: Any) -> tuple[list[str], list[datetime]]:
    """Return in which order shards are assigned, and when, if each is done one second later."""
    order: list[str] = []
    times: list[datetime] = []
    now, last = NOW, DONE
    for _ in range(200):
        plan = planned(seen, now=now, last=last, **strategy)
        last = plan.rollout
        if plan.complete or (not plan.assign and plan.until is None and _idle(seen)):
            return order, times
        for name in plan.assign:
            order.append(name)
            times.append(now)
        seen = [
            replace(each, assigned=True, done=False)
            if each.name in plan.assign
            else replace(each, done=True, done_at=each.done_at or now)
            if each.assigned
            else each
            for each in seen
        ]
        assert sum(not each.done for each in seen) <= strategy.get("max_unavailable_shards", 1)
        now = plan.until if plan.until is not None else now + timedelta(seconds=1)
    raise AssertionError(f"no end: {order}")


def _idle(seen: list[RollingShard]) -> bool:
    return all(each.done for each in seen)


@pytest.mark.parametrize(
    ("strategy", "order"),
    [
        ({}, [3, 2, 1, 0]),
        ({"order": "Increasing"}, [0, 1, 2, 3]),
        ({"partition": 2}, [3, 2]),
        ({"partition": 2, "order": "Increasing"}, [0, 1]),
        ({"max_unavailable_shards": 2}, [3, 2, 1, 0]),
        ({"paused": True}, []),
    ],
)
def test_shards_are_changed_in_order(strategy: dict[str, Any], order: list[int]) -> None:
    assert completed(shards(), **strategy)[0] == [f"shop{index}" for index in order]


def test_the_next_shard_waits_until_the_one_before_is_done() -> None:
    first, *others = reversed(shards())
    under_way = replace(first, assigned=True, done=False, pod="shop3-2", reason="shop3-1 is late")
    plan = planned([under_way, *others])
    assert (plan.assign, plan.complete) == ((), False)
    assert (plan.rollout.step, plan.rollout.shard, plan.rollout.pod) == ("Rolling", "shop3", "shop3-2")
    assert plan.rollout.reason == "shop3-1 is late"


def test_the_canary_bakes_before_the_others_begin() -> None:
    order, times = completed(shards(), canary=Canary(shards=1, bake_seconds=30))
    assert order == ["shop3", "shop2", "shop1", "shop0"]
    assert times[1] - times[0] >= timedelta(seconds=30)
    assert times[2] - times[1] < timedelta(seconds=30)


def test_a_shard_that_is_not_healthy_holds_all_others_and_is_named() -> None:
    seen = shards()
    seen[0] = replace(seen[0], healthy=False)
    plan = planned(seen)
    assert plan.assign == ()
    assert plan.rollout.reason.startswith("shop0 is not healthy")


def test_a_failure_stops_the_rollout_and_is_named() -> None:
    seen = shards()
    seen[3] = replace(seen[3], assigned=True, done=False, healthy=False, failure="back_log=x", pod="shop3-1")
    plan = planned(seen)
    assert plan.assign == ()
    assert plan.failed == seen[3]
    assert (plan.rollout.step, plan.rollout.shard, plan.rollout.pod) == ("Failed", "shop3", "shop3-1")
    assert "back_log=x" in plan.rollout.reason


def test_another_revision_reaches_the_shard_that_failed_before_all_others() -> None:
    seen = shards()
    seen[2] = replace(seen[2], done=False, healthy=False, failure="back_log=x")
    plan = planned(seen)
    assert (plan.assign, plan.failed) == (("shop2",), None)


def test_a_rollback_is_named_until_the_specification_changes() -> None:
    rollback = ClusterRollback.model_validate(
        {"from": "shop-b", "to": "shop-a", "at": NOW, "reason": "shop3-1: back_log=x"}
    )
    seen = shards(assigned=True)
    plan = plan_rollout(seen, UpdateStrategy(), last=DONE, rollback=rollback, now=NOW)
    assert plan.complete
    assert "shop-b failed: shop3-1: back_log=x" in plan.rollout.reason


SHARDS = st.lists(
    st.builds(
        RollingShard,
        name=st.just(""),
        index=st.just(0),
        assigned=st.booleans(),
        done=st.booleans(),
        healthy=st.booleans(),
        failure=st.sampled_from(["", "", "", "it failed"]),
    ),
    min_size=1,
    max_size=8,
)


@given(
    made=SHARDS,
    budget=st.integers(1, 3),
    order=st.sampled_from(["Decreasing", "Increasing"]),
    paused=st.booleans(),
)
def test_whatever_is_observed_the_budget_and_the_order_hold(
    made: list[RollingShard],
    budget: int,
    order: Literal["Decreasing", "Increasing"],
    paused: bool,
) -> None:
    seen = [replace(each, name=f"shop{n}", index=n) for n, each in enumerate(made)]
    plan = planned(seen, max_unavailable_shards=budget, order=order, paused=paused)
    known = {each.name: each for each in seen}
    assert not any(known[name].assigned for name in plan.assign), "it has the revision already"
    if paused or any(each.assigned and each.failure for each in seen):
        assert plan.assign == ()
    repairs = [name for name in plan.assign if known[name].failure and not known[name].healthy]
    if repairs:
        assert len(plan.assign) == 1
        return
    busy = [each for each in seen if not each.healthy or (each.assigned and not each.done)]
    assert len(busy) + len(plan.assign) <= max(budget, len(busy))
    sign = -1 if order == "Decreasing" else 1
    waiting = sorted((each for each in seen if not each.assigned and each.healthy), key=lambda each: sign * each.index)
    assert list(plan.assign) == [each.name for each in waiting[: len(plan.assign)]]
