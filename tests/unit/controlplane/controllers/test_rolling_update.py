from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operatorkit.controlplane.controllers.rolling_update import Limits, Size, recreate, rolling_update
from operatorkit.controlplane.controllers.workloads import scaled, template_hash, templates_equal

TEN = Limits(desired=10, surge=3, unavailable=2)


def _sizes(*sizes: tuple[int, int]) -> list[Size]:
    """Make sets of (wanted, available) pods."""
    return [Size(f"old-{number}", wanted, wanted, available) for number, (wanted, available) in enumerate(sizes)]


@pytest.mark.parametrize(
    ("limits", "new", "old", "steps"),
    [
        (TEN, (0, 0), [(10, 10)], {"new": 3}),
        (TEN, (3, 0), [(10, 10)], {"old-0": 8}),
        (TEN, (3, 0), [(8, 8)], {"new": 5}),
        (TEN, (5, 0), [(8, 8)], {}),
        (TEN, (5, 5), [(8, 8)], {"old-0": 3}),
        (TEN, (10, 10), [(3, 3)], {"old-0": 0}),
        (TEN, (10, 10), [], {}),
        (TEN, (12, 12), [], {"new": 10}),
        (TEN, (1, 0), [(12, 7)], {"old-0": 8}),
        (TEN, (10, 6), [(2, 2), (1, 1)], {"old-0": 1}),
        (Limits(1, 1, 0), (1, 0), [(1, 1)], {}),
        (Limits(1, 1, 0), (1, 1), [(1, 1)], {"old-0": 0}),
        (Limits(0, 0, 0), (0, 0), [(2, 2)], {"old-0": 0}),
    ],
)
def test_a_rolling_update_takes_the_step_that_kubernetes_takes(
    limits: Limits, new: tuple[int, int], old: list[tuple[int, int]], steps: dict[str, int]
) -> None:
    assert rolling_update(limits, Size("new", new[0], new[0], new[1]), _sizes(*old)) == steps


@given(
    desired=st.integers(0, 12),
    surge=st.integers(0, 4),
    unavailable=st.integers(0, 4),
    old=st.lists(st.integers(0, 8), max_size=3),
)
def test_a_rolling_update_ends_and_keeps_its_limits_on_the_way(
    desired: int, surge: int, unavailable: int, old: list[int]
) -> None:
    if not surge and not unavailable:
        unavailable = 1
    limits = Limits(desired, surge, min(unavailable, desired))
    sizes = {one.name: one for one in _sizes(*((count, count) for count in old))}
    sizes["new"] = Size("new", 0)
    start = sum(old)

    for _ in range(100):
        olds = [size for name, size in sizes.items() if name != "new"]
        steps = rolling_update(limits, sizes["new"], olds)
        if not steps:
            break
        # Every pod that is made becomes available, every pod that is not wanted goes.
        sizes |= {name: Size(name, wanted, wanted, wanted) for name, wanted in steps.items()}
        total = sum(size.wanted for size in sizes.values())
        assert total <= max(limits.most, start)
        assert total >= min(limits.least_available, start)

    assert {name: size.wanted for name, size in sizes.items() if size.wanted} == ({"new": desired} if desired else {})


def test_recreate_ends_all_of_the_old_before_it_begins_the_new() -> None:
    new, old = Size("new", 0), Size("old", 3, 3, 3)

    assert recreate(3, new, [old]) == {"old": 0}
    assert recreate(3, new, [replace(old, wanted=0)]) == {}
    assert recreate(3, new, [replace(old, wanted=0, actual=0)]) == {"new": 3}
    assert recreate(3, replace(new, wanted=3), []) == {}


@pytest.mark.parametrize(
    ("value", "up", "result"),
    [(2, True, 2), ("25%", True, 3), ("25%", False, 2), ("0%", True, 0), (None, True, 0), ("100%", False, 10)],
)
def test_percentages_are_of_the_whole_and_rounded_as_asked(value: int | str | None, up: bool, result: int) -> None:
    assert scaled(value, 10, up=up) == result


def test_the_hash_of_a_template_ignores_the_label_that_carries_it() -> None:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "a"}]}}
    labelled = {"metadata": {"labels": {"app": "web", "pod-template-hash": "x"}}, "spec": template["spec"]}

    assert templates_equal(template, labelled)
    assert template_hash(template) == template_hash(labelled)
    assert template_hash(template) != template_hash(template, collisions=1)
    assert not templates_equal(template, {**template, "spec": {}})
