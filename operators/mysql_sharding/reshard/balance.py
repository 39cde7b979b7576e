"""Which bucket moves next, so that all shards hold equally many. Pure.

The map that there is decides, and nothing that is remembered: a changed number of shards, or an
operator that starts in between, leads on from where the buckets are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Due", "next_due", "remaining"]


@dataclass(frozen=True, slots=True)
class Due:
    """A bucket that shall move."""

    bucket: int
    source: int
    target: int


def next_due(shards_of_buckets: Sequence[int], shards: int) -> Due | None:
    """Return the next bucket to move, None where no shard holds two more than another.

    `shards_of_buckets` is the shard of each bucket. The fullest shard gives its last bucket to the
    emptiest one; shards that the spec has no longer give all.
    """
    held = Counter(shards_of_buckets)
    removed = [shard for shard in held if shard >= shards]
    source = max(removed or range(shards), key=lambda shard: (held[shard], -shard))
    target = min(range(shards), key=lambda shard: (held[shard], shard))
    if not removed and held[source] - held[target] < 2:
        return None
    bucket = max(number for number, shard in enumerate(shards_of_buckets) if shard == source)
    return Due(bucket, source, target)


def remaining(shards_of_buckets: Sequence[int], shards: int) -> int:
    """Return how many buckets have to move."""
    now, count = list(shards_of_buckets), 0
    while (due := next_due(now, shards)) is not None:
        now[due.bucket] = due.target
        count += 1
    return count
