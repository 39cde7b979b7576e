"""The buckets of restored shards, on scripted sessions: where they are, and when that cannot be known."""

from __future__ import annotations

import pytest

from operatorkit.errors import InputError
from operatorkit.resource import ObjectMeta
from operators.mysql_sharding.api import Column, MysqlCluster, MysqlClusterSpec, MysqlTable, Proxy
from operators.mysql_sharding.proxy.shards import Primary, SchemaBlocked, Schemas


class Server:
    """A primary that holds `orders` in some buckets, as its own session."""

    def __init__(self, buckets):
        self.buckets, self.closed = buckets, False

    async def rows(self, statement, *values, seconds):
        assert seconds > 0
        if statement.startswith("SELECT @@read_only"):
            return [{"read_only": 0, "semi_sync": 0}]
        if statement.startswith("SHOW GLOBAL STATUS"):
            return [{"Value": "0"}]
        if "TABLE_COMMENT" in statement:
            return [{"db": f"shop_b{bucket:02d}", "name": "orders", "comment": ""} for bucket in self.buckets]
        return []

    def close(self):
        self.closed = True


class Servers:
    """Connects to the server of each host."""

    def __init__(self, *buckets):
        self.by_host = {f"host{number}": Server(held) for number, held in enumerate(buckets)}

    async def connect(self, login, *, seconds):
        assert seconds > 0
        return self.by_host[login.host]


def primary(number, **changes):
    values = {"member": f"shop{number}-0", "host": f"host{number}", "epoch": 1, "changing": False, "password": "p"}
    return Primary(number=number, shard=f"shop{number}", **values | changes)


def cluster():
    table = MysqlTable(
        name="orders",
        database="shop",
        shard_key="id",
        columns=[Column(name="id", type="INT NOT NULL")],
        primary_key=["id"],
    )
    spec = MysqlClusterSpec(shards=2, buckets=4, databases=["shop"], tables=[table], proxy=Proxy())
    return MysqlCluster(metadata=ObjectMeta(name="shop", namespace="default"), spec=spec)


async def test_buckets_that_had_moved_before_the_backup_are_found_where_they_are():
    servers = Servers([0], [1, 2, 3])
    assert await Schemas(servers).restored(cluster(), [primary(0), primary(1)]) == {0: 0, 1: 1, 2: 1, 3: 1}
    assert [one.closed for one in servers.by_host.values()] == [True, True]


async def test_a_bucket_that_is_on_two_shards_is_named():
    with pytest.raises(InputError, match="bucket 2 is on two shards: restore another backup"):
        await Schemas(Servers([0, 2], [1, 2, 3])).restored(cluster(), [primary(0), primary(1)])


@pytest.mark.parametrize("lacks", [{"host": ""}, {"password": ""}, {"changing": True}])
async def test_the_map_waits_for_every_shard(lacks):
    with pytest.raises(SchemaBlocked, match="shard shop1 has no primary"):
        await Schemas(Servers([0], [1])).restored(cluster(), [primary(0), primary(1, **lacks)])
