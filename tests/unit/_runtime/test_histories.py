"""A few random histories of an operator, the same in each run; `make soak` lives through as many others as one likes."""

from __future__ import annotations

from soak import history, virtual

SEEDS = (
    100,
    101,
    102,
    103,
    109,
    110,
    116,
)  # which come to gaps of the watch, lost answers, restarts, and servers that are replaced


def test_whatever_happens_on_the_way_all_is_well_at_the_end():
    lived = virtual.run(history.live_all(SEEDS))
    assert [each.report() for each in lived if each.wrong] == []
    assert sum(each.injected for each in lived) > 50
    assert sum(each.restarts for each in lived) > 1
    assert {each.replaced for each in lived} >= {"empty", "restored"}
