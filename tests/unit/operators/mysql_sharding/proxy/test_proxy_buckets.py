"""The map of buckets."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operatorkit.errors import InputError
from operators.mysql_sharding.api import BucketRange
from operators.mysql_sharding.proxy.buckets import assigned, is_bucket_schema, mapped, ranges_of, schema_of


@given(st.integers(1, 64), st.data())
def test_a_first_map_gives_each_shard_as_many_buckets_as_any_other_or_one_fewer(buckets, data):
    shards = data.draw(st.integers(1, buckets))
    counts = Counter(mapped(assigned(buckets, shards), buckets))
    assert sorted(counts) == list(range(shards))
    assert max(counts.values()) - min(counts.values()) <= 1


@given(st.lists(st.integers(0, 7), min_size=1, max_size=64))
def test_the_compact_form_of_a_map_says_the_same(shards):
    assert mapped(ranges_of(shards), len(shards)) == shards


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ([(0, 3, 0)], "buckets 0 to 7"),
        ([(0, 3, 0), (3, 7, 1)], "bucket 3 is in two"),
        ([(0, 8, 0)], "buckets 0 to 7"),
    ],
)
def test_a_map_that_misses_a_bucket_or_has_it_twice_is_an_error(ranges, message):
    with pytest.raises(InputError, match=message):
        mapped([BucketRange(first=first, last=last, shard=shard) for first, last, shard in ranges], 8)


def test_the_schema_of_a_bucket_is_recognized():
    assert schema_of("shop", 7) == "shop_b07"
    assert is_bucket_schema("shop_b07", "shop")
    assert not is_bucket_schema("shop_backup", "shop")
    assert not is_bucket_schema("shop", "shop")
