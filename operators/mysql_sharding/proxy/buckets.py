"""Buckets: their names, and which shard holds which. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from operatorkit.errors import InputError
from operators.mysql_sharding.api import BucketRange, MysqlClusterSpec, MysqlClusterStatus

__all__ = [
    "assigned",
    "is_bucket_schema",
    "mapped",
    "moving",
    "pointed",
    "ranges_of",
    "schema_of",
    "server_of",
]


def assigned(buckets: int, shards: int) -> list[BucketRange]:
    """Return a first map: consecutive buckets, each shard as many as any other or one fewer."""
    return ranges_of([bucket * shards // buckets for bucket in range(buckets)])


def ranges_of(shards: Sequence[int]) -> list[BucketRange]:
    """Return the compact form of a map, given the shard of each bucket."""
    ranges: list[BucketRange] = []
    for bucket, shard in enumerate(shards):
        if ranges and ranges[-1].shard == shard:
            ranges[-1] = BucketRange(first=ranges[-1].first, last=bucket, shard=shard)
        else:
            ranges.append(BucketRange(first=bucket, last=bucket, shard=shard))
    return ranges


def mapped(ranges: Iterable[BucketRange], buckets: int) -> list[int]:
    """Return the shard of each bucket. Raises InputError for a map that leaves one out, or has it twice."""
    found: dict[int, int] = {}
    for one in ranges:
        for bucket in range(one.first, one.last + 1):
            if bucket in found:
                raise InputError(f"status.bucketMap: bucket {bucket} is in two ranges")
            found[bucket] = one.shard
    if sorted(found) != list(range(buckets)):
        missing = sorted(set(range(buckets)) ^ set(found))
        raise InputError(f"status.bucketMap: must hold buckets 0 to {buckets - 1}: see {missing}")
    return [found[bucket] for bucket in range(buckets)]


def moving(status: MysqlClusterStatus) -> int | None:
    """Return the bucket that is being moved, None for none."""
    move = status.reshard.move if status.reshard is not None else None
    return move.bucket if move is not None else None


def pointed(
    spec: MysqlClusterSpec, status: MysqlClusterStatus, known: Mapping[int, int]
) -> list[int]:
    """Return the shard to which nodes send the statements of each bucket.

    That is where the map has it; for a bucket that moves, the target, once it is not only copied. `known` are
    buckets that were pointed before: a status that was read earlier never leads back.
    """
    shards = mapped(status.bucket_map, spec.buckets)
    move = status.reshard.move if status.reshard is not None else None
    if move is not None and move.step != "Copying":
        shards[move.bucket] = move.target
    for bucket, shard in known.items():
        shards[bucket] = shard
    return shards


def server_of(bucket: int) -> str:
    """Return the name of the server object of a bucket, and of its partition."""
    return f"b{bucket:02d}"


def schema_of(database: str, bucket: int) -> str:
    """Return the schema on a shard that holds a bucket of the tables of a database."""
    return f"{database}_{server_of(bucket)}"


def is_bucket_schema(name: str, database: str) -> bool:
    """Return whether a database has a name that a bucket of another may have."""
    suffix = name.removeprefix(f"{database}_b")
    return suffix != name and len(suffix) == len("00")
