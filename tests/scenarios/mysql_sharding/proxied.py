"""A cluster of shards behind its proxy, and a client of it in this process."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

from scenarios.mysql_sharding.world import SMALL, Shard

from operatorkit.kinds import EVENTS, PODS, SECRETS
from operatorkit.testing import eventually
from operators.mysql_sharding import MysqlCluster
from operators.mysql_sharding.sql import Asyncmy, Login, SqlError

CLUSTERS = MysqlCluster.api_resource()
PASSWORD = "not-a-secret"
ORDERS = {
    "name": "orders",
    "database": "shop",
    "shardKey": "customer",
    "columns": [
        {"name": "customer", "type": "BIGINT NOT NULL"},
        {"name": "n", "type": "BIGINT NOT NULL"},
        {"name": "note", "type": "VARCHAR(40) NOT NULL DEFAULT ''"},
    ],
    "primaryKey": ["customer", "n"],
}


class Proxied:
    """The cluster `shop`, whose shards are shop0, shop1, and its nodes."""

    def __init__(self, shard):
        self.cluster, self.nodes, self.namespace = shard.cluster, shard.nodes, shard.namespace
        self._shard = shard

    async def create(self, *, replicas=1, shards=2, nodes=1, buckets=8, **spec):
        secret = {"metadata": {"name": "app"}, "stringData": {"password": PASSWORD}}
        await self.cluster.create(SECRETS, secret, namespace=self.namespace)
        user = {"name": "app", "passwordFrom": {"name": "app"}, "databases": ["shop"]}
        body = {
            "apiVersion": MysqlCluster.api_version,
            "kind": "MysqlCluster",
            "metadata": {"name": "shop"},
            "spec": {
                "shards": shards,
                "replicasPerShard": replicas,
                "buckets": buckets,
                "storage": {"size": "1Gi"},
                "config": SMALL,
                "databases": ["shop"],
                "users": [user],
                "tables": [ORDERS],
                "proxy": {"replicas": nodes, "config": SMALL},
                **spec,
            },
        }
        await self.cluster.create(CLUSTERS, body, namespace=self.namespace)

    async def status(self):
        found = await self.cluster.get(CLUSTERS, "shop", namespace=self.namespace)
        return found.get("status") or {}

    async def events(self):
        """Return the Events of the cluster: reason and message."""
        found = (await self.cluster.list(EVENTS, namespace=self.namespace)).items
        kind = MysqlCluster.__name__
        return [
            (one["reason"], one["message"]) for one in found if (one.get("involvedObject") or {}).get("kind") == kind
        ]

    async def change(self, spec):
        await self.cluster.patch(CLUSTERS, "shop", {"spec": spec}, patch_type="merge", namespace=self.namespace)

    def shard(self, number):
        return Shard(self.cluster, self.nodes, f"shop{number}", self._shard._kubeconfig)

    async def pods(self):
        """Return the names and addresses of the nodes that the Service `shop` selects: the ready ones."""
        selector = "mysql.operatorkit.dev/proxy=shop"
        found = (await self.cluster.list(PODS, namespace=self.namespace, label_selector=selector)).items
        return {
            pod["metadata"]["name"]: pod["status"]["podIP"]
            for pod in found
            if any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", ()))
        }

    async def ready(self, *, nodes=1):
        async def is_so():
            status = await self.status()
            held = {one["type"]: one["status"] for one in status.get("conditions", ())}
            assert {"Available", "SchemaApplied", "ProxyConfigured"} <= {
                name for name, value in held.items() if value == "True"
            }, status
            assert len(await self.pods()) == nodes, await self.pods()
            return status

        return await eventually(is_so, timeout=120, message="the proxy is configured")

    async def connect(self, *, user="app"):
        for address in (await self.pods()).values():
            return await Asyncmy().connect(Login(address, 3306, user, PASSWORD), seconds=3)
        raise SqlError("there is no node that is ready")

    async def sql(self, statement, *, user="app", seconds=10):
        session = await self.connect(user=user)
        try:
            return await session.rows(statement, seconds=seconds)
        finally:
            session.close()

    async def buckets(self, number, statement):
        """Return what a query of `{table}` returns in each bucket of a shard, by bucket."""
        one = self.shard(number)
        primary = (await one.status())["primary"]
        rows = await one.sql(primary, "SELECT SCHEMA_NAME AS name FROM information_schema.SCHEMATA")
        names = sorted(row["name"] for row in rows if row["name"].startswith("shop_b"))
        return {name: await one.sql(primary, statement.format(table=f"{name}.orders")) for name in names}

    @asynccontextmanager
    async def load(self):
        """Write rows of many customers one after the other, until the block ends."""
        writes = Acknowledged()
        task = asyncio.create_task(writes.run(self))
        try:
            await eventually(lambda: writes.more_than(50), timeout=60, message="the first writes")
            yield writes
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


class Acknowledged:
    """The writes that were acknowledged, and when."""

    def __init__(self):
        self.rows, self.times, self.errors = [], [], []

    async def run(self, proxied):
        session, number = None, 0
        while True:
            number += 1
            try:
                if session is None or session.closed:
                    session = await proxied.connect()
                statement = "INSERT INTO shop.orders (customer, n) VALUES (%s, %s)"
                await session.rows(statement, number % 97, number, seconds=3)
            except SqlError as error:
                self.errors.append(str(error))
                await asyncio.sleep(0.02)
                continue
            self.rows.append((number % 97, number))
            self.times.append(time.monotonic())

    def more_than(self, count):
        assert len(self.rows) > count, (len(self.rows), self.errors[-3:])
        return True

    async def more(self):
        """Wait until all customers, and so both shards, were written again."""
        before = len(self.rows)
        await eventually(lambda: self.more_than(before + 200), timeout=60, message="writes go on")

    def longest_pause(self):
        return max(b - a for a, b in zip(self.times, self.times[1:], strict=False))
