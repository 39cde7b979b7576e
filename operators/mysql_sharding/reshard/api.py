"""What status.reshard of a MysqlCluster holds."""

from __future__ import annotations

from typing import Literal

from operatorkit.resource import Model, Time

__all__ = ["BucketMove", "ReshardStatus"]


class BucketMove(Model):
    """The bucket that is being moved. It is written before each of its steps."""

    number: int
    """Number of the move in this cluster; the names of its tables on the shards contain it."""
    bucket: int
    """The bucket."""
    source: int
    """Number of the shard that it leaves."""
    target: int
    """Number of the shard that it moves to."""
    step: Literal["Copying", "Switching", "Opening", "Dropping"] = "Copying"
    """How far it has come. The nodes send to the source in Copying, and to the target afterwards."""
    tables: str
    """Digest of spec.tables when the move began."""
    started_at: Time
    """When it began."""
    switched_at: Time | None = None
    """When the statements of the bucket began to wait."""


class ReshardStatus(Model):
    """How far the buckets are moved to the shards of the spec."""

    step: Literal["Waiting", "Moving", "Complete"]
    """Waiting while no further bucket may be moved; reason says why."""
    shards: int
    """Number of shards that the buckets are spread over."""
    moved: int = 0
    """Buckets that were moved."""
    total: int
    """Buckets to move in all."""
    progress: str = ""
    """Both in one text, such as 3 of 20."""
    numbers: int = 0
    """Number of the last move in this cluster."""
    move: BucketMove | None = None
    """The bucket that is being moved."""
    reason: str = ""
    """What is done or waited for."""
    started_at: Time
    """When the first bucket was due."""
    finished_at: Time | None = None
    """When the last one had been moved."""
