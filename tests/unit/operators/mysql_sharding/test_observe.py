"""Reading a shard of which one member hangs: it delays no other one, and its failures count."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from kubernetes.client.models import V1Pod

from operatorkit.resource import ObjectMeta
from operatorkit.testing import FakeClock
from operators.mysql_sharding.api import MysqlDatabase, MysqlDatabaseSpec
from operators.mysql_sharding.observe import Observer
from operators.mysql_sharding.sql import SqlError

SHARD = MysqlDatabase(metadata=ObjectMeta(name="shop0", namespace="prod"), spec=MysqlDatabaseSpec(replicas=2))
ADDRESSES = {"shop0-0": "10.0.0.1", "shop0-1": "10.0.0.2"}
ANSWERS = {
    "SELECT COALESCE": [{"started_as": "5", "relays": 0, "server_id": 10, "epoch": 1, "read_only": 0}],
    "SELECT COUNT": [{"sessions": 0}],
    "SELECT @@rpl": [{"as_primary": 1, "as_replica": 0, "binlog": "0-10-7", "slave": ""}],
}


class Reader:
    def list(self, kind, *, namespace, index):
        assert (kind, namespace, index) == (V1Pod, "prod", ("shard", "prod/shop0"))
        return [
            V1Pod(metadata={"name": name, "uid": name}, status={"podIP": address, "phase": "Running"})
            for name, address in ADDRESSES.items()
        ]


class Answering:
    """A session of a server that answers."""

    closed = False

    async def rows(self, statement, *values, seconds):
        assert seconds > 0
        del values
        return next((rows for start, rows in ANSWERS.items() if statement.strip().startswith(start)), [])

    def close(self):
        self.closed = True


class Network:
    """Connections to servers: `hung` ones are neither made nor rejected until `ended`."""

    def __init__(self):
        self.rejected, self.hung, self.ended, self.tried = set(), set(), asyncio.Event(), []

    async def connect(self, login, *, seconds):
        assert seconds > 0
        self.tried.append(login.host)
        if login.host in self.hung:
            await self.ended.wait()
        if login.host in self.rejected:
            raise SqlError("no connection")
        return Answering()


async def turns():
    """Let every task that can go on do so."""
    for _ in range(100):
        await asyncio.sleep(0)


async def test_a_member_that_is_known_to_hang_delays_no_reading_and_its_failed_probes_count():
    network = Network()
    network.rejected.add("10.0.0.1")
    observer = Observer(Reader(), network, FakeClock(datetime(2026, 1, 1, tzinfo=UTC)))
    for _ in range(3):
        await observer.members(SHARD, "password")
    network.hung.add("10.0.0.1")
    for _ in range(4):  # it would wait for ever here
        hung, other = await observer.members(SHARD, "password")
        assert hung.server is None
        assert other.server is not None
    assert network.tried.count("10.0.0.1") == 4, "one probe at a time"
    failed = [probe for probe in observer.history if probe.member == "shop0-0"]
    assert len(failed) == 3, "a probe that runs has neither failed nor answered"
    network.ended.set()
    await turns()
    await observer.members(SHARD, "password")
    failed = [probe for probe in observer.history if probe.member == "shop0-0"]
    assert [probe.answered for probe in failed] == [False] * 5
    observer.close()


async def test_a_reading_that_ended_between_two_calls_is_made_again():
    network, clock = Network(), FakeClock(datetime(2026, 1, 1, tzinfo=UTC))
    network.rejected.add("10.0.0.1")
    observer = Observer(Reader(), network, clock)
    for _ in range(3):
        await observer.members(SHARD, "password")
    network.hung.add("10.0.0.1")
    assert (await observer.members(SHARD, "password"))[0].server is None
    network.rejected.clear()
    network.hung.clear()
    network.ended.set()
    await turns()
    clock.tick(timedelta(seconds=1))
    back, _ = await observer.members(SHARD, "password")
    assert back.server is not None
    assert back.server.observed_at == clock.now()
    assert back.unreachable_since is None
    observer.close()
