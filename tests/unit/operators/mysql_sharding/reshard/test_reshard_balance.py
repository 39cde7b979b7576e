"""Which bucket moves next."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.mysql_sharding.proxy.buckets import assigned, mapped
from operators.mysql_sharding.reshard.balance import Due, next_due, remaining


def spread(shards: list[int], wanted: int) -> list[int]:
    """Return the map after all moves."""
    now = list(shards)
    while (due := next_due(now, wanted)) is not None:
        assert now[due.bucket] == due.source
        now[due.bucket] = due.target
    return now


@pytest.mark.parametrize(
    ("buckets", "before", "after", "moves"), [(64, 4, 6, 20), (8, 1, 2, 4), (64, 8, 12, 20), (4, 4, 4, 0)]
)
def test_no_bucket_moves_that_need_not(buckets: int, before: int, after: int, moves: int) -> None:
    assert remaining(mapped(assigned(buckets, before), buckets), after) == moves


def test_the_fullest_shard_gives_its_last_bucket_to_the_emptiest() -> None:
    assert next_due([0, 0, 1, 1, 1], 3) == Due(bucket=4, source=1, target=2)


def test_shards_that_are_not_in_the_spec_give_all() -> None:
    assert Counter(spread([0, 0, 1, 1, 2, 2], 2)) == {0: 3, 1: 3}


@given(st.lists(st.integers(0, 9), min_size=1, max_size=64), st.integers(1, 12))
def test_every_map_ends_balanced_and_each_bucket_moves_once_at_most(shards: list[int], wanted: int) -> None:
    after = spread(shards, wanted)
    counts = Counter(after)
    held = [counts[number] for number in range(wanted)]
    assert sum(held) == len(shards)
    assert max(held) - min(held) <= 1
    assert remaining(shards, wanted) == sum(a != b for a, b in zip(shards, after, strict=True))
