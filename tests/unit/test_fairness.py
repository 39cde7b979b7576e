"""A queue in which groups take turns."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from operatorkit.fairness import FairQueue

KEYS = st.tuples(st.sampled_from("abc"), st.integers(0, 5))


def of_group(key: tuple[str, int]) -> str:
    return key[0]


def emptied(queue: FairQueue) -> list:
    found = []
    while (key := queue.pop()) is not None:
        found.append(key)
    return found


def test_groups_take_turns_and_each_is_first_come_first_served():
    queue = FairQueue(of_group)
    for number in range(4):
        queue.push(("a", number))
    queue.push(("b", 1))
    queue.push(("b", 0))
    queue.push(("c", 0))
    queue.push(("a", 0))  # is there already
    assert emptied(queue) == [("a", 0), ("b", 1), ("c", 0), ("a", 1), ("b", 0), ("a", 2), ("a", 3)]


def test_a_group_that_comes_while_another_has_thousands_is_next():
    queue = FairQueue(of_group)
    for number in range(5000):
        queue.push(("a", number))
    queue.pop()
    queue.push(("b", 0))
    assert [queue.pop(), queue.pop()] == [("a", 1), ("b", 0)]


def test_without_groups_it_is_first_come_first_served():
    queue = FairQueue()
    for key in ("b1", "a1", "b2"):
        queue.push(key)
    assert emptied(queue) == ["b1", "a1", "b2"]


@given(st.lists(st.tuples(st.sampled_from(["push", "discard", "pop"]), KEYS), max_size=60))
def test_no_key_is_lost_or_doubled_and_no_group_waits_for_more_than_a_turn_of_each_other(steps):
    queue, there, waits = FairQueue(of_group), set(), Counter()
    for step, key in steps:
        if step == "push":
            queue.push(key)
            there.add(key)
        elif step == "discard":
            queue.discard(key)
            there.discard(key)
        else:
            taken = queue.pop()
            assert (taken is None) == (not there)
            if taken is not None:
                there.remove(taken)
                waits = Counter({group: waits[group] + 1 for group, _ in there})
                waits[taken[0]] = 0
                assert all(count <= 2 for count in waits.values())  # three groups
        waits = Counter({group: count for group, count in waits.items() if any(one == group for one, _ in there)})
        assert len(queue) == len(there)
        assert all(each in queue for each in there)
    assert sorted(emptied(queue)) == sorted(there)


@given(st.lists(KEYS, unique=True, max_size=20), st.integers(0, 8))
def test_ahead_of_a_key_are_those_that_are_taken_out_before(keys, taken):
    queue = FairQueue(of_group)
    for key in keys:
        queue.push(key)
    for _ in range(taken):
        queue.pop()
    ahead = {key: queue.ahead(key) for key in [*keys, ("z", 9)]}
    order = emptied(queue)
    assert ahead == {key: order.index(key) if key in order else None for key in ahead}
