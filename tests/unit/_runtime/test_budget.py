"""How long a key waits that repairs the same thing again and again."""

from __future__ import annotations

import copy
from datetime import timedelta

import pytest

from operatorkit._runtime.budget import Budget, Written
from operatorkit.names import ANNOTATION_RECONCILE_AT, ApiResource, ObjectKey

CONFIG_MAPS = ApiResource("", "v1", "ConfigMap", "configmaps", namespaced=True)
KEY, CHILD = ObjectKey("n", "parent"), ObjectKey("n", "child")
PARENT = {"metadata": {"uid": "u", "generation": 1}, "spec": {"a": 1}, "status": {"b": 1}}


class Clock:
    """A clock that the test sets."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def budget(clock):
    return Budget(clock)


def run(budget, text="x", parent=PARENT, **written) -> float:
    """Run the key once, if it may; return the wait before the run or, when there was none, after it."""
    wait = budget.wait(KEY, parent)
    if wait:
        return wait
    if text is not None:
        budget.wrote(KEY, parent, Written(CONFIG_MAPS, CHILD, {"data": text}, {}, **written))
    return budget.end(KEY, parent)


def exhaust(budget) -> None:
    while not run(budget):
        pass


def test_ten_runs_at_once_are_free_and_then_the_wait_doubles_up_to_five_minutes(budget, clock):
    assert [run(budget) for _ in range(10)] == [0.0] * 10
    waits = []
    for _ in range(11):
        waits.append(run(budget))
        clock.now += waits[-1]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_a_key_that_waits_knows_for_how_long(budget, clock):
    exhaust(budget)
    clock.now += 0.25
    assert budget.wait(KEY, PARENT) == 0.75


@pytest.mark.parametrize("left", [4e-7, 1e-7, 1e-12])
def test_what_is_left_of_a_wait_is_a_delay_that_a_queue_can_keep(budget, clock, left):
    exhaust(budget)
    until = clock.now + budget.wait(KEY, PARENT)
    clock.now = until - left
    assert timedelta(seconds=budget.wait(KEY, PARENT)) == timedelta(0)
    assert budget.wait(KEY, PARENT) == 0, "the key may run: with no delay it would be sent back for ever"


def test_one_repair_a_second_is_always_free(budget, clock):
    for _ in range(100):
        assert run(budget) == 0
        clock.now += 1


def test_writing_something_new_is_a_hundred_times_free_and_then_slowed_but_not_more_and_more(budget, clock):
    waits = [run(budget, f"{at}") for at in range(100)]
    assert waits == [0.0] * 100
    for at in range(5):
        assert run(budget, f"more {at}") == 1
        clock.now += 1


def test_a_run_that_writes_nothing_after_its_wait_ends_the_conflict(budget, clock):
    exhaust(budget)
    assert not budget.is_calm(KEY)
    clock.now += 1
    assert run(budget, None) == 0
    assert budget.is_calm(KEY)
    assert [run(budget) for _ in range(10)] == [0.0] * 10


@pytest.mark.parametrize(
    "change",
    [
        {"uid": "another"},
        {"generation": 2},
        {"annotations": {ANNOTATION_RECONCILE_AT: "now"}},
        {"deletionTimestamp": "2026-01-01T00:00:00Z"},
    ],
)
def test_what_a_user_asks_for_meanwhile_does_not_wait(budget, change):
    exhaust(budget)
    assert budget.wait(KEY, PARENT)
    asked = copy.deepcopy(PARENT)
    asked["metadata"] |= change
    assert not budget.wait(KEY, asked)


@pytest.mark.parametrize(("change", "waits"), [({"data": {"a": "2"}}, False), ({"status": {"seen": 2}}, True)])
def test_of_a_kind_without_generations_the_content_is_what_is_asked(budget, change, waits):
    parent = {"metadata": {"uid": "u"}, "data": {"a": "1"}}
    while not run(budget, parent=parent):
        pass
    assert bool(budget.wait(KEY, {**parent, **change})) is waits


def test_the_times_of_conditions_do_not_make_a_repair_something_new(budget, clock):
    waits = []
    for at in range(11):
        condition = {"type": "Ready", "status": "True", "lastTransitionTime": f"2026-01-01T00:00:{at:02}Z"}
        body = {"status": {"conditions": [condition]}}
        budget.wrote(KEY, PARENT, Written(CONFIG_MAPS, KEY, body, {}, subresource="status"))
        waits.append(budget.end(KEY, PARENT))
    assert waits[-1] == 1


def test_what_is_contested_is_known_until_it_is_reported(budget):
    assert budget.contested(KEY) is None
    run(budget)
    assert budget.contested(KEY) is None
    exhaust(budget)
    assert budget.contested(KEY).key == CHILD
    budget.explained(KEY)
    assert budget.contested(KEY) is None


def test_accounts_of_idle_and_deleted_keys_are_dropped(budget, clock):
    for at in range(100):
        key = ObjectKey("n", str(at))
        budget.wrote(key, PARENT, Written(CONFIG_MAPS, CHILD, {}, {}))
        budget.end(key, PARENT)
    clock.now += 61
    run(budget)
    assert len(budget._accounts) == 1
    budget.forget(KEY)
    assert not budget._accounts
