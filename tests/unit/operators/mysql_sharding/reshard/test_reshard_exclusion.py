"""What waits for a move: changes of tables, rollouts; and where nodes point meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

from operatorkit.resource import ObjectMeta
from operators.mysql_sharding.admission import check_moving
from operators.mysql_sharding.api import (
    BucketRange,
    Column,
    MysqlCluster,
    MysqlClusterSpec,
    MysqlTable,
    Proxy,
    UpdateStrategy,
)
from operators.mysql_sharding.proxy.buckets import moving, pointed
from operators.mysql_sharding.reshard.api import BucketMove, ReshardStatus
from operators.mysql_sharding.rollout_cluster import RollingShard, plan_rollout, waits

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TABLE = MysqlTable(
    name="orders",
    database="shop",
    shard_key="customer",
    columns=[Column(name="customer", type="BIGINT NOT NULL")],
    primary_key=["customer"],
)


def cluster(step: Literal["Copying", "Switching", "Opening", "Dropping"] | None) -> MysqlCluster:
    """Return a cluster of 4 buckets whose last one moves to a new shard."""
    made = MysqlCluster(
        metadata=ObjectMeta(name="shop"),
        spec=MysqlClusterSpec(shards=2, buckets=4, databases=["shop"], tables=[TABLE], proxy=Proxy()),
    )
    made.status.bucket_map = [BucketRange(first=0, last=3, shard=0)]
    move = None
    if step is not None:
        move = BucketMove(number=1, bucket=3, source=0, target=1, step=step, tables="", started_at=NOW)
    made.status.reshard = ReshardStatus(step="Moving", shards=2, total=2, started_at=NOW, move=move)
    return made


def test_tables_and_the_proxy_stay_as_they_are_while_a_bucket_moves() -> None:
    old, new = cluster("Copying"), cluster("Copying")
    assert list(check_moving(old, new)) == []
    grown = TABLE.model_copy(update={"columns": [*TABLE.columns, Column(name="paid", type="INT")]})
    new.spec.tables, new.spec.proxy = [grown], None
    found = [(cause.field, "wait until" in cause.message) for cause in check_moving(old, new)]
    assert found == [("spec.tables", True), ("spec.proxy", True)]
    assert list(check_moving(cluster(None), new)) == []


def test_nodes_point_to_the_source_while_rows_are_copied_and_to_the_target_afterwards() -> None:
    for step, shard in (("Copying", 0), ("Switching", 1), ("Opening", 1), ("Dropping", 1)):
        one = cluster(step)
        assert (moving(one.status), pointed(one.spec, one.status, {})) == (3, [0, 0, 0, shard])


def test_a_status_that_was_read_earlier_never_points_back() -> None:
    one = cluster("Copying")
    assert pointed(one.spec, one.status, {3: 1}) == [0, 0, 0, 1]


def test_a_rollout_assigns_no_shard_while_a_bucket_moves_and_says_why() -> None:
    seen = [RollingShard(name="shop0", index=0, assigned=False, done=True, healthy=True)]
    plan = plan_rollout(seen, UpdateStrategy(), last=None, rollback=None, now=NOW)
    assert plan.assign == ("shop0",)
    held = waits(plan, "bucket 3 is being moved to another shard", NOW + timedelta(seconds=2))
    assert (held.assign, held.until) == ((), NOW + timedelta(seconds=2))
    assert held.rollout.reason == "bucket 3 is being moved to another shard"
