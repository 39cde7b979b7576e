"""Two shards behind the proxy: one address, while primaries fail, tables change and nodes restart."""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("asyncmy", reason="needs the driver: pip install operatorkit[mysql]")

from pathlib import Path

from scenarios.mysql_sharding.proxied import ORDERS, Proxied

from operatorkit.testing import eventually
from operators.mysql_sharding.sql import SqlError

SPIDER = Path("/usr/lib/mysql/plugin/ha_spider.so")


@pytest.fixture
def proxied(shard):
    if not SPIDER.exists():
        pytest.skip("needs the Spider engine (Debian: apt-get install mariadb-plugin-spider)")
    return shard


async def test_rows_are_spread_over_the_buckets_of_two_shards_behind_one_address(proxied):
    async with proxied() as one:
        shop = Proxied(one)
        await shop.create()
        status = await shop.ready()
        assert status["bucketMap"] == [
            {"first": 0, "last": 3, "shard": 0},
            {"first": 4, "last": 7, "shard": 1},
        ]
        values = ", ".join(f"({customer}, 1)" for customer in range(200))
        await shop.sql(f"INSERT INTO shop.orders (customer, n) VALUES {values}")
        assert await shop.sql("SELECT COUNT(*) AS n, SUM(customer) AS s FROM shop.orders") == [{"n": 200, "s": 19900}]
        count = "SELECT COUNT(*) AS n FROM {table}"
        found = [await shop.buckets(0, count), await shop.buckets(1, count)]
        assert [list(each) for each in found] == [
            ["shop_b00", "shop_b01", "shop_b02", "shop_b03"],
            ["shop_b04", "shop_b05", "shop_b06", "shop_b07"],
        ]
        rows = [each[0]["n"] for shard in found for each in shard.values()]
        assert sum(rows) == 200
        assert min(rows) > 10, "the hash spreads the rows over all buckets"
        with pytest.raises(SqlError, match="denied"):
            await shop.sql("ALTER TABLE shop.orders ADD COLUMN x INT")


async def test_a_killed_primary_is_replaced_behind_the_proxy_and_no_write_is_lost(proxied):
    async with proxied() as one:
        shop = Proxied(one)
        await shop.create(replicas=2)
        await shop.ready()
        first = shop.shard(0)
        old = (await first.healthy())["primary"]
        async with shop.load() as writes:
            one.nodes.disrupt.kill(one.namespace, old)
            await eventually(lambda: replaced(first), timeout=60)
            await writes.more()
        show("kill -9 behind the proxy", writes)
        rows = await shop.sql("SELECT customer, n FROM shop.orders", seconds=30)
        assert set(writes.rows) <= {(row["customer"], row["n"]) for row in rows}
        await first.healthy()


async def replaced(shard):
    status = await shard.status()
    assert status["epoch"] > 1, status  # of two members, the one that was killed may be chosen again
    assert "failover" not in status, status
    return True


def show(what, writes):
    """Show figures with `pytest -s` or `-rP`."""
    pause = f"longest pause {writes.longest_pause():.2f} s"
    sys.stdout.write(f"{what}: {len(writes.rows)} writes, {pause}, {len(writes.errors)} errors\n")


async def test_a_column_is_added_to_all_buckets_or_to_none_and_a_restarted_node_is_configured_again(proxied):
    async with proxied() as one:
        shop = Proxied(one)
        await shop.create()
        await shop.ready()
        await shop.sql("INSERT INTO shop.orders (customer, n) VALUES (1, 1), (2, 1), (3, 1), (4, 1)")
        [node] = await shop.pods()
        one.nodes.disrupt.pause(one.namespace, "shop1-0")
        try:
            grown = {**ORDERS, "columns": [*ORDERS["columns"], {"name": "paid", "type": "INT NOT NULL DEFAULT 7"}]}
            await shop.change({"tables": [grown]})
            await eventually(lambda: names_the_shard(shop, "shop1"), timeout=60)
            columns = "SHOW COLUMNS FROM {table} LIKE 'paid'"
            assert set(map(len, (await shop.buckets(0, columns)).values())) == {0}
            assert await shop.sql("SHOW COLUMNS FROM shop.orders LIKE 'paid'") == []
        finally:
            one.nodes.disrupt.resume(one.namespace, "shop1-0")
        await shop.ready()
        for number in (0, 1):
            assert set(map(len, (await shop.buckets(number, columns)).values())) == {1}
        assert await shop.sql("SELECT SUM(paid) AS s FROM shop.orders") == [{"s": 28}]
        one.nodes.disrupt.kill(one.namespace, node)
        await eventually(lambda: retried(shop.sql, "SELECT SUM(paid) AS s FROM shop.orders"), timeout=60)
        await shop.ready()


async def names_the_shard(shop, name):
    conditions = (await shop.status())["conditions"]
    [found] = [each for each in conditions if each["type"] == "SchemaApplied"]
    assert (found["status"], found["reason"]) == ("False", "ShardNotReady"), found
    assert name in found["message"], found
    return True


async def retried(function, *arguments):
    """Call a function whose SQL may fail for now."""
    try:
        return await function(*arguments)
    except SqlError as error:
        raise AssertionError(str(error)) from error
