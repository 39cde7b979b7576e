"""A server that restarts after a change in place, before the kubelet has brought the new file to its pod."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from operatorkit.resource import ObjectMeta
from operatorkit.testing import FakeClock
from operators.mysql_sharding.api import MysqlDatabase, MysqlDatabaseSpec
from operators.mysql_sharding.rollout_shard import Roller
from operators.mysql_sharding.rollout_state import adopt, begin, finish

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Servers:
    """Two servers with their variables, as observer, executor and recorder of Events."""

    def __init__(self, values):
        self.running = {name: dict(values) for name in ("shop0-0", "shop0-1")}
        self.processes = dict.fromkeys(self.running, 1)
        self.set, self.events, self.asked = [], [], 0

    def session(self, member):
        async def rows(statement, *names, seconds):
            del statement, seconds
            self.asked += 1
            return [
                {"name": name, "value": str(value), "preset": "151", "origin": "SQL", "block": 1}
                for name, value in self.running[member].items()
                if name in names
            ]

        return SimpleNamespace(rows=rows)

    async def set_global(self, member, epoch, variable, value):
        self.set.append((member, epoch, variable, value))
        self.running[member][variable] = 151 if value is None else value

    async def normal(self, reference, reason, message):
        assert reference.name == "shop0"
        self.events.append((reason, message))

    def restart(self, member, **values):
        self.processes[member] += 1
        self.running[member].update(values)

    def seen(self, now):
        members = [
            SimpleNamespace(name=name, server=SimpleNamespace(incarnation=f"{process}.0"))
            for name, process in self.processes.items()
        ]
        return SimpleNamespace(members=members, now=now, status=SimpleNamespace(epoch=4, primary="shop0-0"))


def changed_in_place():
    metadata = ObjectMeta(name="shop0", namespace="prod", generation=1)
    old = {"max_connections": 100, "wait_timeout": 50}
    shard = MysqlDatabase(metadata=metadata, spec=MysqlDatabaseSpec(replicas=2, config=old))
    shard.status.primary = "shop0-0"
    adopt(shard)
    shard.spec = shard.spec.model_copy(update={"config": {"wait_timeout": 70}})
    shard.metadata.generation = 2
    assert begin(shard, {""}, NOW)
    assert shard.status.rollout.in_place
    finish(shard, NOW)
    return shard


def roller(servers):
    world = SimpleNamespace(events=servers, clock=FakeClock(NOW))
    return Roller(world, servers, servers)


async def test_a_server_that_restarted_with_the_former_file_gets_its_variables_again():
    shard, servers = changed_in_place(), Servers({"max_connections": 151, "wait_timeout": 70})
    one = roller(servers)
    await one._set_again(shard, servers.seen(NOW))
    assert (servers.set, servers.events) == ([], [])
    asked = servers.asked
    await one._set_again(shard, servers.seen(NOW))
    assert servers.asked == asked, "a process is compared once"
    servers.restart("shop0-1", max_connections=100, wait_timeout=50)
    await one._set_again(shard, servers.seen(NOW + timedelta(minutes=1)))
    assert sorted(servers.set) == [("shop0-1", 4, "max_connections", None), ("shop0-1", 4, "wait_timeout", 70)]
    [(reason, message)] = servers.events
    assert reason == "VariablesSetAgain"
    assert message == "shop0-1 restarted with former values, set again: max_connections, wait_timeout"


async def test_later_a_restarted_server_is_left_as_it_is():
    shard, servers = changed_in_place(), Servers({"max_connections": 151, "wait_timeout": 70})
    servers.restart("shop0-1", wait_timeout=50)
    await roller(servers)._set_again(shard, servers.seen(NOW + timedelta(minutes=11)))
    assert servers.asked == 0
