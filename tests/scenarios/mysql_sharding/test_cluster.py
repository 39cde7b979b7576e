"""A cluster of shards with one member each: objects, accounts, admission, and a restart."""

from __future__ import annotations

import pytest

from operatorkit.errors import Forbidden, Invalid
from operatorkit.kinds import SECRETS
from operatorkit.testing import eventually

pytest.importorskip("asyncmy", reason="needs the driver: pip install operatorkit[mysql]")

from scenarios.mysql_sharding.world import SMALL

from operators.mysql_sharding import MysqlCluster

CLUSTERS = MysqlCluster.api_resource()
PASSWORD = {"user": "app", "password": "not-a-secret"}


def body(**spec):
    user = {"name": "app", "passwordFrom": {"name": "app"}, "databases": ["shop"]}
    return {
        "apiVersion": MysqlCluster.api_version,
        "kind": "MysqlCluster",
        "metadata": {"name": "shop"},
        "spec": {
            "shards": 1,
            "replicasPerShard": 1,
            "storage": {"size": "1Gi"},
            "config": SMALL,
            "databases": ["shop"],
            "users": [user],
            **spec,
        },
    }


async def available(one, *, shards):
    status = (await one.cluster.get(CLUSTERS, "shop", namespace=one.namespace))["status"]
    [condition] = [each for each in status["conditions"] if each["type"] == "Available"]
    assert (condition["status"], status["readyReplicas"]) == ("True", shards), status
    return True


async def test_a_shard_of_one_member_comes_back_with_its_writes(shard):
    async with shard() as one:
        secret = {"metadata": {"name": "app"}, "stringData": {"password": PASSWORD["password"]}}
        await one.cluster.create(SECRETS, secret, namespace=one.namespace)
        await one.cluster.create(CLUSTERS, body(), namespace=one.namespace)
        await eventually(lambda: available(one, shards=1), timeout=180)

        async def accounts():
            await one.sql("shop0-0", "CREATE TABLE IF NOT EXISTS shop.orders (n INT PRIMARY KEY)", **PASSWORD)
            return True

        await eventually(lambda: retried(accounts), timeout=60)
        await one.sql("shop0-0", "INSERT INTO shop.orders VALUES (1), (2)", **PASSWORD)
        process = "SELECT started_as FROM operatorkit.process"
        [before] = await one.sql("shop0-0", process)
        one.nodes.disrupt.kill(one.namespace, "shop0-0")

        async def next_epoch():
            status = await one.status()
            assert (status["epoch"], status["primary"]) == (2, "shop0-0"), status
            assert "failover" not in status, status
            return True

        await eventually(next_epoch, timeout=120)
        rows = await one.sql("shop0-0", "SELECT COUNT(*) AS n FROM shop.orders", **PASSWORD)
        assert rows == [{"n": 2}]
        [after] = await one.sql("shop0-0", process)
        assert before != after, "two processes that start within one second have one name"


async def retried(function):
    """Call a function whose SQL may fail for now."""
    from operators.mysql_sharding.sql import SqlError

    try:
        return await function()
    except SqlError as error:
        raise AssertionError(str(error)) from error


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"config": {"max_connection": 5}}, "spec.config[max_connection]"),
        ({"config": {"sync_binlog": 0}}, "spec.config[sync_binlog]"),
        ({"config": {"max_connections": 1}}, "spec.config[max_connections]"),
        (
            {
                "users": [
                    {"name": "app", "passwordFrom": {"name": "app"}, "databases": ["shop"], "privileges": ["SUPER"]}
                ]
            },
            "spec.users[0].privileges[0]",
        ),
    ],
)
async def test_what_cannot_work_is_rejected_with_its_field(cluster, operator, spec, field):
    from operators.mysql_sharding import app

    async with operator(app):
        with pytest.raises((Invalid, Forbidden)) as caught:
            await cluster.create(CLUSTERS, body(**spec), namespace=cluster.namespace)
        assert field in str(caught.value), caught.value


async def test_storage_does_not_shrink_and_shards_are_not_removed(cluster, operator):
    from operators.mysql_sharding import app

    async with operator(app):
        await cluster.create(CLUSTERS, body(shards=2), namespace=cluster.namespace)
        for change, field in (({"storage": {"size": "1M"}}, "spec.storage.size"), ({"shards": 1}, "spec.shards")):
            with pytest.raises((Invalid, Forbidden)) as caught:
                await cluster.patch(CLUSTERS, "shop", {"spec": change}, patch_type="merge", namespace=cluster.namespace)
            assert field in str(caught.value), caught.value
