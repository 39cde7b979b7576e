"""Buckets move to further shards while a process of its own writes: exact totals, and short pauses."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

import pytest
from click.testing import CliRunner

pytest.importorskip("asyncmy", reason="needs the driver: pip install operatorkit[mysql]")

from pathlib import Path

from scenarios.mysql_sharding.proxied import Proxied
from scenarios.mysql_sharding.reshards import check_rows, load, resharded

from operatorkit.testing import eventually
from operators.mysql_sharding.cli import command
from operators.mysql_sharding.sql import SqlError

SPIDER = Path("/usr/lib/mysql/plugin/ha_spider.so")


@pytest.fixture
def proxied(shard):
    if not SPIDER.exists():
        pytest.skip("needs the Spider engine (Debian: apt-get install mariadb-plugin-spider)")
    return shard


async def reshard(one, *words):
    """Return what `operatorkit mysql reshard` prints until all buckets are moved."""
    line = ["reshard", "shop", *words, "--kubeconfig", str(one._kubeconfig), "-n", one.namespace]
    done = await asyncio.to_thread(CliRunner().invoke, command, line)
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def show(what, writes):
    """Show figures with `pytest -s` or `-rP`."""
    sys.stdout.write(
        f"{what}: {len(writes.acknowledged())} writes, {len(writes.errors())} errors,"
        f" the longest statement took {writes.longest():.2f} s\n"
    )


async def test_buckets_move_to_a_new_shard_while_a_client_writes(proxied, tmp_path):
    async with proxied() as one:
        shop = Proxied(one)
        await shop.create(shards=1, buckets=4, nodes=2)
        await shop.ready(nodes=2)
        async with load(shop, tmp_path) as writes:
            output = await reshard(one, "--shards", "2")
            status = await resharded(shop)
            await writes.more()
        assert "bucket 3 moves from shop0 to shop1" in output, output
        assert "2 of 2" in output, output
        assert status["bucketMap"] == [
            {"first": 0, "last": 1, "shard": 0},
            {"first": 2, "last": 3, "shard": 1},
        ]
        assert (status["reshard"]["progress"], "move" in status["reshard"]) == ("2 of 2", False)
        await check_rows(shop, writes)
        show("1 to 2 shards", writes)
        assert writes.errors() == [], "statements wait, and do not fail"

        async def reported():
            found = dict(await shop.events())
            assert {"ReshardStarted", "BucketMoveStarted", "BucketMoved", "ReshardCompleted"} <= found.keys(), found
            return True

        await eventually(reported)


async def moving(shop, *, after=0):
    """Return the move that is under way, of a bucket after the first `after` ones."""
    reshard = (await shop.status()).get("reshard") or {}
    assert reshard.get("move", {}).get("number", 0) > after, reshard
    return reshard["move"]


async def ended(shop, source):
    """Wait until the second bucket has switched; end what the killed primary left prepared, once the move waits for it."""

    async def switched():
        reshard = (await shop.status())["reshard"]
        if "prepared and not ended" in reshard["reason"]:
            primary = (await source.status())["primary"]
            for row in await source.sql(primary, "XA RECOVER FORMAT='SQL'"):
                with suppress(SqlError):  # the operator, or its node, was faster
                    await source.sql(primary, f"XA ROLLBACK {row['data']}")
        assert reshard["moved"] == 2, reshard
        return True

    await eventually(switched, timeout=180, message="the second bucket is moved")


async def test_a_move_goes_on_after_the_operator_and_the_source_primary_were_killed(proxied, tmp_path):
    """Worth its time: servers of two shards with a replica each; no other scenario has a failover within a move."""
    async with proxied() as one:
        shop = Proxied(one)
        await shop.create(shards=1, buckets=4, replicas=2)
        await shop.ready()
        for first in range(0, 10_000, 1000):
            values = ", ".join(f"({n % 101}, {-n - 1}, 'old')" for n in range(first, first + 1000))
            await shop.sql(f"INSERT INTO shop.orders (customer, n, note) VALUES {values}", seconds=30)
        source = shop.shard(0)
        async with load(shop, tmp_path) as writes:
            await shop.change({"shards": 2})
            await eventually(lambda: moving(shop), timeout=120)
            await one.restart_operator()
            await eventually(lambda: moving(shop, after=1), timeout=120)
            one.nodes.disrupt.kill(one.namespace, (await source.status())["primary"])
            await ended(shop, source)
            await resharded(shop)
            await writes.more()
        old = {(n % 101, -n - 1): "old" for n in range(10_000)}
        await check_rows(shop, writes, also=old)
        show("operator restarted, source primary killed", writes)
        assert (await source.healthy())["epoch"] > 1
