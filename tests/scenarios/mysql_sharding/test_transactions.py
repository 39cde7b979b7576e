"""Transactions over two shards: all of one or nothing, though a shard or a node dies while it ends."""

from __future__ import annotations

import base64
from contextlib import suppress
from pathlib import Path

import pytest

pytest.importorskip("asyncmy", reason="needs the driver: pip install operatorkit[mysql]")

from scenarios.mysql_sharding.proxied import Proxied

from operatorkit.kinds import EVENTS, SECRETS
from operatorkit.testing import eventually
from operators.mysql_sharding.proxy.objects import PROXY_USER
from operators.mysql_sharding.sql import Asyncmy, Login, SqlError

SPIDER = Path("/usr/lib/mysql/plugin/ha_spider.so")
BUCKETS = ("shop_b00", "shop_b04")
CUSTOMERS = 20


class Node:
    """What a node does on the shards for a transaction, up to where it dies; the statements are Spider's."""

    def __init__(self, shop, password, number):
        self.shop, self.password, self.number = shop, password, number
        gtrid, bqual = f"7{number:016x}".encode(), b"63"
        self.xid = f"0x{gtrid.hex()},0x{bqual.hex()},1"

    async def prepare(self, shard):
        one = self.shop.shard(shard)
        address = await one.address((await one.status())["primary"])
        session = await Asyncmy().connect(Login(address, 3306, PROXY_USER, self.password), seconds=5)
        insert = f"INSERT INTO {BUCKETS[shard]}.orders (customer, n) VALUES (1, {self.number})"
        for statement in (f"XA START {self.xid}", insert, f"XA END {self.xid}", f"XA PREPARE {self.xid}"):
            await session.rows(statement, seconds=10)
        return session

    async def rows(self):
        """Return how many rows of the transaction each shard has."""
        found = []
        for shard, bucket in enumerate(BUCKETS):
            one = self.shop.shard(shard)
            query = f"SELECT COUNT(*) AS n FROM {bucket}.orders WHERE n = {self.number}"
            found += await one.sql((await one.status())["primary"], query)
        return [row["n"] for row in found]


@pytest.fixture
def proxied(shard):
    if not SPIDER.exists():
        pytest.skip("needs the Spider engine (Debian: apt-get install mariadb-plugin-spider)")
    return shard


async def test_a_transaction_over_two_shards_is_atomic_though_a_shard_or_a_node_dies_as_it_ends(proxied):
    """It takes about 40 s: the operator gives a node 10 s to end what it has prepared."""
    async with proxied() as one:
        shop = Proxied(one)
        await shop.create(replicas=2)
        await shop.ready()
        secret = await one.cluster.get(SECRETS, "shop-proxy", namespace=one.namespace)
        password = base64.b64decode(secret["data"]["proxy"]).decode()
        await killed_before_its_commit(shop)
        halfway, undecided, hung = (Node(shop, password, number) for number in (101, 102, 103))
        for node in (halfway, undecided):
            first, second = await node.prepare(0), await node.prepare(1)
            if node is halfway:
                await first.rows(f"XA COMMIT {node.xid}", seconds=10)
            first.close()
            second.close()
        stuck = await hung.prepare(0)
        (await hung.prepare(1)).close()
        await eventually(lambda: nothing_is_prepared(shop), timeout=90)
        assert await halfway.rows() == [1, 1], "a shard had committed it"
        assert await undecided.rows() == [0, 0], "no shard had committed it"
        assert await hung.rows() == [0, 0], "no shard had committed it"
        with pytest.raises(SqlError):
            await stuck.rows(f"XA COMMIT {hung.xid}", seconds=10)

        async def reported():
            found = (await one.cluster.list(EVENTS, namespace=one.namespace)).items
            assert "TransactionResolved" in {each["reason"] for each in found}
            return True

        await eventually(reported, timeout=30)
        await a_restarted_node_has_another_server_id(shop)


async def killed_before_its_commit(shop):
    session = await shop.connect()
    await session.rows("BEGIN", seconds=5)
    for customer in range(CUSTOMERS):
        await session.rows(f"INSERT INTO shop.orders (customer, n) VALUES ({customer}, 1)", seconds=10)
    second = shop.shard(1)
    shop.nodes.disrupt.kill(shop.namespace, (await second.status())["primary"])
    acknowledged = False
    with suppress(SqlError):
        await session.rows("COMMIT", seconds=40)
        acknowledged = True
    session.close()
    await eventually(lambda: replaced(second), timeout=90)
    await eventually(lambda: nothing_is_prepared(shop), timeout=90)
    count = "SELECT COUNT(*) AS n FROM shop.orders WHERE n = 1"
    [row] = await eventually(lambda: answered(shop, count), timeout=60)
    assert row["n"] in ({CUSTOMERS} if acknowledged else {0, CUSTOMERS})


async def answered(shop, query):
    try:
        return await shop.sql(query)
    except SqlError as error:
        raise AssertionError(str(error)) from error


async def replaced(shard):
    status = await shard.status()
    assert status["epoch"] > 1, status
    assert "failover" not in status, status
    return True


async def nothing_is_prepared(shop):
    for number in (0, 1):
        one = shop.shard(number)
        for member in (await one.status())["members"]:
            try:
                found = await one.sql(member["name"], "XA RECOVER")
            except SqlError as error:
                raise AssertionError(str(error)) from error
            assert found == [], (member["name"], found)
    return True


async def a_restarted_node_has_another_server_id(shop):
    """A restarted node counts threads and queries from 1 again; its server id is another one."""
    [(name, address)] = (await shop.pods()).items()
    secret = await shop.cluster.get(SECRETS, "shop-proxy", namespace=shop.namespace)
    login = Login(address, 3307, "operatorkit", base64.b64decode(secret["data"]["operator"]).decode())

    async def server_id():
        try:
            session = await Asyncmy().connect(login, seconds=3)
        except SqlError as error:
            raise AssertionError(str(error)) from error
        [row] = await session.rows("SELECT @@server_id AS id", seconds=5)
        session.close()
        return row["id"]

    async def another(than):
        found = await server_id()
        assert found != than
        return found

    first = await server_id()
    assert first > 1
    shop.nodes.disrupt.kill(shop.namespace, name)
    second = await eventually(lambda: another(first), timeout=60)
    assert second > 1
