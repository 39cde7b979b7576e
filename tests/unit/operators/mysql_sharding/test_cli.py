"""What `operatorkit mysql status` shows."""

from __future__ import annotations

from datetime import UTC, datetime

from operatorkit.conditions import Condition
from operatorkit.resource import ObjectMeta
from operators.mysql_sharding.api import (
    ClusterRollout,
    MemberStatus,
    MysqlCluster,
    MysqlClusterSpec,
    MysqlDatabase,
    MysqlDatabaseSpec,
    ShardRollout,
)
from operators.mysql_sharding.cli import describe, lines
from operators.mysql_sharding.reshard.api import ReshardStatus

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WHY = "container mariadb does not start (CrashLoopBackOff), with changed back_log=x"


def test_status_shows_shards_members_and_the_rollout_with_its_reason_in_columns():
    cluster = MysqlCluster(metadata=ObjectMeta(name="shop"), spec=MysqlClusterSpec(shards=2))
    cluster.status.current_revision, cluster.status.update_revision = "shop-a", "shop-b"
    cluster.status.rollout = ClusterRollout(step="Failed", shard="shop1", pod="shop1-2", started_at=NOW, reason=WHY)
    shards = []
    for number in range(2):
        shard = MysqlDatabase(metadata=ObjectMeta(name=f"shop{number}"), spec=MysqlDatabaseSpec())
        shard.status.primary, shard.status.epoch = f"shop{number}-0", number + 1
        shard.status.ready_members = 2
        shard.status.conditions = [
            Condition(type="Available", status="True", reason="PrimaryServes", message="", last_transition_time=NOW)
        ]
        shard.status.members = [
            MemberStatus(name=f"shop{number}-0", role="primary", phase="Serving"),
            MemberStatus(name=f"shop{number}-1", role="replica", phase="Replicating", lag_seconds=20),
        ]
        shards.append(shard)
    shards[1].status.rollout = ShardRollout(
        revision="b", generation=2, step="Failed", pod="shop1-2", reason=WHY, started_at=NOW, progressed_at=NOW
    )
    assert lines(describe(cluster, shards)) == [
        "Name:      shop",
        "Revision:  shop-a (update: shop-b)",
        "Rollout:   Failed at shop1/shop1-2",
        f"Reason:    {WHY}",
        "",
        "SHARD   PRIMARY   EPOCH   READY   AVAILABLE   ROLLOUT   REASON",
        "shop0   shop0-0   1       2/3     True        <none>",
        f"shop1   shop1-0   2       2/3     True        Failed    {WHY}",
        "",
        "MEMBER    ROLE      PHASE         LAG      ERRANT",
        "shop0-0   primary   Serving       <none>   false",
        "shop0-1   replica   Replicating   20s      false",
        "shop1-0   primary   Serving       <none>   false",
        "shop1-1   replica   Replicating   20s      false",
    ]


def test_status_shows_which_bucket_moves_where() -> None:
    cluster = MysqlCluster(metadata=ObjectMeta(name="shop"), spec=MysqlClusterSpec(shards=3))
    cluster.status.reshard = ReshardStatus(
        step="Moving",
        shards=3,
        moved=2,
        total=21,
        progress="2 of 21",
        reason="bucket 31 moves from shop0 to shop2: Copying",
        started_at=NOW,
    )
    wanted = "Reshard:   Moving, 2 of 21 buckets moved to 3 shards; bucket 31 moves from shop0 to shop2: Copying"
    assert wanted in lines(describe(cluster, []))
