"""Changes that are rolled through shards of real servers: in place, by restarts, stopped, and reverted."""

from __future__ import annotations

import sys
import time
from contextlib import AsyncExitStack

import pytest

from operatorkit.kinds import EVENTS, PODS, SECRETS
from operatorkit.testing import eventually

pytest.importorskip("asyncmy", reason="needs the driver: pip install operatorkit[mysql]")

from scenarios.mysql_sharding.world import SMALL, Shard

from operators.mysql_sharding import MysqlCluster

CLUSTERS = MysqlCluster.api_resource()
PROCESS = "SELECT started_as FROM operatorkit.process"


class Rolling:
    """A cluster of shards, and what is seen of its rollouts."""

    def __init__(self, one):
        self._one, self.cluster, self.namespace = one, one.cluster, one.namespace

    def shard(self, number):
        return Shard(self.cluster, self._one.nodes, f"shop{number}", self._one._kubeconfig)

    async def create(self, *, shards=2, members=1, config=(), **spec):
        secret = {"metadata": {"name": "app"}, "stringData": {"password": "not-a-secret"}}
        await self.cluster.create(SECRETS, secret, namespace=self.namespace)
        user = {"name": "app", "passwordFrom": {"name": "app"}, "databases": ["shop"]}
        body = {
            "apiVersion": MysqlCluster.api_version,
            "kind": "MysqlCluster",
            "metadata": {"name": "shop"},
            "spec": {
                "shards": shards,
                "replicasPerShard": members,
                "storage": {"size": "1Gi"},
                "config": {**SMALL, **dict(config)},
                "databases": ["shop"],
                "users": [user],
                **spec,
            },
        }
        await self.cluster.create(CLUSTERS, body, namespace=self.namespace)
        return await self.complete()

    async def configure(self, **changes):
        """Change variables; None removes one."""
        await self.change({"config": changes})

    async def change(self, spec):
        await self.cluster.patch(CLUSTERS, "shop", {"spec": spec}, patch_type="merge", namespace=self.namespace)

    async def get(self):
        return await self.cluster.get(CLUSTERS, "shop", namespace=self.namespace)

    async def complete(self, *, after=""):
        """Wait until all shards run a revision other than `after`; return the status."""

        async def is_so():
            found = await self.get()
            status = found.get("status") or {}
            assert status.get("observedGeneration") == found["metadata"]["generation"], status
            assert status["rollout"]["step"] == "Complete", status
            assert status["currentRevision"] == status["updateRevision"] != after, status
            assert status["readyReplicas"] == found["spec"]["shards"], status
            return status

        return await eventually(is_so, timeout=240, message="the rollout is complete")

    async def value(self, number, variable, *, members=1):
        """Return what each member of a shard runs."""
        shard = self.shard(number)
        found = [
            await shard.sql(f"shop{number}-{member}", f"SELECT @@GLOBAL.{variable} AS value")
            for member in range(members)
        ]
        return [row["value"] for [row] in found]

    async def processes(self, number, *, members=1):
        shard = self.shard(number)
        rows = [await shard.sql(f"shop{number}-{member}", PROCESS) for member in range(members)]
        return [row["started_as"] for [row] in rows]

    async def events(self, *reasons):
        """Return the Events of these reasons, as (name, reason, message)."""
        found = (await self.cluster.list(EVENTS, namespace=self.namespace)).items
        return [
            (one["involvedObject"]["name"], one["reason"], one.get("message", ""))
            for one in found
            if one["reason"] in reasons
        ]

    async def spans(self, shards):
        """Return when the rollout of each shard began and ended, by its number."""
        spans = {}
        for number in range(shards):
            rollout = (await self.shard(number).status())["rollout"]
            spans[number] = (rollout["startedAt"], rollout["finishedAt"])
        return spans


def show(*texts):
    """Show figures with `pytest -s` or `-rP`."""
    sys.stdout.write(", ".join(texts) + "\n")


async def test_a_dynamic_change_restarts_no_server_and_survives_a_restart(shard):
    async with shard() as one:
        shop = Rolling(one)
        before = (await shop.create(shards=2, config={"max_connections": 150}))["currentRevision"]
        processes = [await shop.processes(number) for number in range(2)]
        began = time.monotonic()
        await shop.configure(max_connections=140, wait_timeout=1234)
        status = await shop.complete(after=before)
        show(f"dynamic change of 2 shards: {time.monotonic() - began:.1f} s")
        assert [await shop.value(number, "max_connections") for number in range(2)] == [[140], [140]]
        assert [await shop.value(number, "wait_timeout") for number in range(2)] == [[1234], [1234]]
        assert [await shop.processes(number) for number in range(2)] == processes, "a server was restarted"
        # a removed variable returns to its default, and a server that restarts finds the others
        await shop.configure(wait_timeout=None)
        await shop.complete(after=status["currentRevision"])
        assert await shop.value(0, "wait_timeout") == [28800]
        one.nodes.disrupt.kill(one.namespace, "shop1-0")

        async def restarted():
            assert await shop.processes(1) != processes[1]
            return True

        await eventually(lambda: retried(restarted), timeout=60)
        assert await shop.value(1, "max_connections") == [140]
        assert await shop.value(1, "wait_timeout") == [28800]


async def retried(function):
    """Call a function whose SQL may fail for now."""
    from operators.mysql_sharding.sql import SqlError

    try:
        return await function()
    except SqlError as error:
        raise AssertionError(str(error)) from error


async def test_a_change_with_restarts_goes_from_the_last_shard_to_the_first_and_loses_no_write(shard, tmp_path):
    async with shard() as one:
        shop = Rolling(one)
        before = (await shop.create(shards=2, members=3))["currentRevision"]
        for number in range(2):
            await shop.shard(number).healthy()
        processes = [await shop.processes(number, members=3) for number in range(2)]
        async with AsyncExitStack() as stack:
            writes = [await stack.enter_async_context(shop.shard(number).load(tmp_path)) for number in range(2)]
            began = time.monotonic()
            await shop.configure(back_log=77)
            await shop.complete(after=before)
            took = time.monotonic() - began
            for each in writes:
                await each.more()
        show(f"change with restarts of 2 shards of 3: {took:.1f} s")
        for number in range(2):
            assert await shop.value(number, "back_log", members=3) == [77] * 3
            now = await shop.processes(number, members=3)
            assert set(now).isdisjoint(processes[number]), "a server was not restarted"
            found = shop.shard(number)
            lost = await found.lost(writes[number])
            found.show(found.name, writes[number], lost)
            assert set(lost.values()) == {0}
        spans = await shop.spans(2)
        assert spans[1][1] <= spans[0][0], f"shard 0 began before shard 1 was done: {spans}"


async def test_a_value_with_which_the_server_does_not_start_stops_at_the_first_shard(shard):
    async with shard() as one:
        shop = Rolling(one)
        before = (await shop.create(shards=2, members=2, config={"max_connections": 150}))["currentRevision"]
        await shop.configure(innodb_page_size="8K")

        async def stopped():
            status = (await shop.get())["status"]
            conditions = {each["type"]: each for each in status["conditions"]}
            assert status["rollout"]["step"] == "Failed", status
            assert status["rollout"]["shard"] == "shop1", status
            assert (conditions["Progressing"]["status"], conditions["Degraded"]["status"]) == ("False", "True")
            return status, conditions["Degraded"]["message"]

        status, message = await eventually(stopped, timeout=120)
        replica = status["rollout"]["pod"]
        for word in ("shop1", replica, "innodb_page_size=8K", "does not start"):
            assert word in message, message
        assert status["currentRevision"] == before
        [event] = [text for name, _, text in await shop.events("RolloutFailed") if name == "shop"]
        assert "innodb_page_size=8K" in event, event
        assert (await shop.shard(0).get())["spec"]["config"].get("innodb_page_size") is None, "shard 0 was changed"
        # the primary did not have its turn: recreated, it starts with what it had
        primary = (await shop.shard(1).status())["primary"]
        assert primary != replica
        [was] = await shop.shard(1).sql(primary, PROCESS)
        await one.cluster.delete(PODS, primary, namespace=one.namespace)

        async def serves_again():
            [now] = await shop.shard(1).sql(primary, PROCESS)
            assert now != was
            return True

        await eventually(lambda: retried(serves_again), timeout=60)
        # with autoRollback, all members return to what they had
        await shop.change({"updateStrategy": {"autoRollback": True}})

        async def reverted():
            found = (await shop.get())["status"]
            assert found["rollout"]["step"] == "Complete", found
            assert found["rollback"]["to"] == found["updateRevision"] == before, found
            return True

        await eventually(reverted, timeout=180)
        await shop.shard(1).healthy()
        assert await shop.value(1, "innodb_page_size", members=2) == [16384, 16384]
        assert [name for name, _, _ in await shop.events("RolledBack")] == ["shop"]
