"""Ordered rolling updates as a decision."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operatorkit.rollout import Decision, Phase, Policy, Unit, decide, is_stalled, scaled

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def units(text):
    """Return units by rank: `o` old, `n` new, `x` old and unavailable, `s` old and stuck, `u` new and unavailable,
    `t` old and terminating, `-` missing."""
    return [
        Unit(
            name=f"u{rank}",
            rank=rank,
            updated=sign in "nu-",
            available=sign in "on",
            exists=sign != "-",
            terminating=sign == "t",
            stuck=sign == "s",
            available_since=NOW - timedelta(seconds=30),
        )
        for rank, sign in enumerate(text)
    ]


@pytest.mark.parametrize(
    ("text", "policy", "phase", "repair", "replaced"),
    [
        ("nnn", {}, "Complete", None, ()),
        ("ooo", {}, "Rolling", None, ("u2",)),
        ("oon", {}, "Rolling", None, ("u1",)),
        ("oou", {}, "Rolling", None, ()),
        ("oo-", {}, "Rolling", None, ()),
        ("oot", {}, "Rolling", None, ()),
        ("xoo", {}, "Rolling", None, ()),
        ("soo", {}, "Rolling", "u0", ()),
        ("sos", {}, "Rolling", "u2", ()),
        ("sot", {}, "Rolling", None, ()),
        ("ooo", {"max_unavailable": 2}, "Rolling", None, ("u2", "u1")),
        ("xoo", {"max_unavailable": 2}, "Rolling", None, ("u2",)),
        ("ooo", {"partition": 2}, "Rolling", None, ("u2",)),
        ("oon", {"partition": 2}, "Partitioned", None, ()),
        ("oon", {"partition": 9}, "Partitioned", None, ()),
        ("xon", {"partition": 2}, "Rolling", None, ()),
        ("soo", {"partition": 1}, "Rolling", None, ()),
        ("ooo", {"paused": True}, "Paused", None, ()),
        ("oos", {"paused": True}, "Paused", None, ()),
        ("nnn", {"paused": True}, "Complete", None, ()),
        ("ooo", {"recreate": True}, "Rolling", None, ("u2", "u1", "u0")),
        ("xot", {"recreate": True}, "Rolling", None, ("u1", "u0")),
        ("ooo", {"canary": 1}, "Rolling", None, ("u2",)),
        ("ooo", {"canary": 1, "max_unavailable": 3}, "Rolling", None, ("u2",)),
        ("oon", {"canary": 1}, "Rolling", None, ("u1",)),
        ("oou", {"canary": 1, "max_unavailable": 3}, "Rolling", None, ()),
        ("oon", {"canary": 1, "bake": timedelta(minutes=1)}, "Rolling", None, ()),
        ("oon", {"canary": 1, "bake": timedelta(seconds=30)}, "Rolling", None, ("u1",)),
    ],
)
def test_what_is_replaced_next(text, policy, phase, repair, replaced):
    found = decide(units(text), Policy(**policy), now=NOW)
    assert (found.phase, found.repair, found.replace) == (phase, repair, replaced)


def test_a_bake_says_when_it_is_over():
    found = decide(units("oon"), Policy(canary=1, bake=timedelta(minutes=1)), now=NOW)
    assert found.until == NOW + timedelta(seconds=30)
    assert "u2" in found.message


def test_only_a_rollout_that_is_under_way_can_stall():
    limit = {"progressed_at": NOW - timedelta(seconds=60), "deadline": timedelta(seconds=60), "now": NOW}
    assert is_stalled(Decision(phase=Phase.ROLLING), **limit)
    assert not any(
        is_stalled(Decision(phase=phase), **limit) for phase in (Phase.COMPLETE, Phase.PAUSED, Phase.PARTITIONED)
    )
    assert not is_stalled(Decision(phase=Phase.ROLLING), **{**limit, "deadline": timedelta(seconds=61)})


@pytest.mark.parametrize(
    ("value", "total", "found"), [(2, 9, 2), (0, 9, 1), ("25%", 9, 2), ("10%", 3, 1), ("100%", 7, 7)]
)
def test_percentages_round_down_to_at_least_one(value, total, found):
    assert scaled(value, total) == found


@pytest.mark.parametrize("value", ["", "%", "a%", "25", "-5%", "1.5%", "٣%"])
def test_other_texts_are_rejected(value):
    with pytest.raises(ValueError, match="neither a number nor a percentage"):
        scaled(value, 3)


@given(
    st.text(alphabet="onxsut-", min_size=1, max_size=8),
    st.integers(0, 8),
    st.integers(1, 4),
    st.integers(0, 3),
)
def test_the_budget_holds_and_order_is_kept(text, partition, most, canary):
    given_units = units(text)
    found = decide(given_units, Policy(partition=partition, max_unavailable=most, canary=canary), now=NOW)
    by_name = {unit.name: unit for unit in given_units}
    chosen = [by_name[name] for name in found.replace]
    unavailable = sum(sign not in "on" for sign in text)
    assert not chosen or unavailable + len(chosen) <= most
    assert all(unit.available and not unit.updated and unit.rank >= partition for unit in chosen)
    assert [unit.rank for unit in chosen] == sorted((unit.rank for unit in chosen), reverse=True)
    if found.repair is not None:
        assert by_name[found.repair].stuck
        assert by_name[found.repair].rank >= partition
        assert not chosen
