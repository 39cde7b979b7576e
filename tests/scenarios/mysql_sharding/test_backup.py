"""Backups of real servers, restored into new clusters and copied to members, compared row by row."""

from __future__ import annotations

import asyncio
import base64
import itertools
import shutil
import sys
import time
from pathlib import Path

import pytest

from operatorkit.errors import NotFound
from operatorkit.kinds import EVENTS, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, SECRETS
from operatorkit.testing import eventually

pytest.importorskip("asyncmy", reason="needs the driver: pip install operatorkit[mysql]")

from scenarios.mysql_sharding.world import SMALL

from operators.mysql_sharding import MysqlBackup, MysqlCluster, MysqlDatabase
from operators.mysql_sharding.sql import Asyncmy, Login, SqlError

CLUSTERS = MysqlCluster.api_resource()
SHARDS = MysqlDatabase.api_resource()
BACKUPS = MysqlBackup.api_resource()


class Backups:
    """Clusters of a namespace, their backups, and the volume that holds these."""

    def __init__(self, one):
        self.cluster, self.nodes, self.namespace = one.cluster, one.nodes, one.namespace

    async def start(self, name, **spec):
        user = {"name": "app", "passwordFrom": {"name": "app"}, "databases": ["shop"]}
        body = {
            "apiVersion": MysqlCluster.api_version,
            "kind": "MysqlCluster",
            "metadata": {"name": name},
            "spec": {
                "storage": {"size": "1Gi"},
                "config": SMALL,
                "databases": ["shop"],
                "users": [user],
                **spec,
            },
        }
        await self.cluster.create(CLUSTERS, body, namespace=self.namespace)

    async def prepare(self):
        secret = {"metadata": {"name": "app"}, "stringData": {"password": "not-a-secret"}}
        await self.cluster.create(SECRETS, secret, namespace=self.namespace)
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}}
        claim = {"metadata": {"name": "backups"}, "spec": spec}
        await self.cluster.create(PERSISTENT_VOLUME_CLAIMS, claim, namespace=self.namespace)

    async def available(self, name, *, members):
        """Wait until each shard accepts writes and has that many members at work."""

        async def is_so():
            cluster = await self.cluster.get(CLUSTERS, name, namespace=self.namespace)
            status = cluster["status"]
            assert status.get("readyReplicas") == cluster["spec"].get("shards", 1), status
            for number in range(status["readyReplicas"]):
                shard = await self.shard(f"{name}{number}")
                assert shard["status"].get("readyMembers") == members, shard["status"]
            return status

        return await eventually(is_so, timeout=180, message=f"{name} available")

    async def shard(self, name):
        return await self.cluster.get(SHARDS, name, namespace=self.namespace)

    async def session(self, shard, member=None):
        """Return a connection as the operator to a member of a shard, by default its primary."""
        name = member or (await self.shard(shard))["status"]["primary"]
        secret = await self.cluster.get(SECRETS, f"{shard}-accounts", namespace=self.namespace)
        password = base64.b64decode(secret["data"]["operator"]).decode()
        pod = await self.cluster.get(PODS, name, namespace=self.namespace)
        login = Login(pod["status"]["podIP"], 3306, "operatorkit", password)
        return await Asyncmy().connect(login, seconds=5)

    async def sql(self, shard, statement, *, member=None):
        """Return the rows of a statement on a member of a shard, by default its primary."""
        session = await self.session(shard, member)
        try:
            return await session.rows(statement, seconds=20)
        finally:
            session.close()

    async def fill(self, shard, first, last):
        await self.sql(shard, "CREATE TABLE IF NOT EXISTS shop.orders (n INT PRIMARY KEY, text CHAR(40))")
        rows = f"SELECT seq, SHA1(seq) FROM shop.seq_{first}_to_{last}"
        await self.sql(shard, f"INSERT INTO shop.orders {rows}")

    async def write_pairs(self):
        """Write each number to the first shard and, once that is acknowledged, to the second one."""
        sessions = [await self.session(f"shop{number}") for number in range(2)]
        try:
            for number in itertools.count():
                for session in sessions:
                    await session.rows(f"INSERT INTO shop.pairs VALUES ({number})", seconds=30)
        finally:
            for session in sessions:
                session.close()

    async def checksum(self, shard, member=None):
        [row] = await self.sql(shard, "CHECKSUM TABLE shop.orders EXTENDED", member=member)
        return row["Checksum"]

    async def back_up(self, name, cluster="shop"):
        body = {
            "apiVersion": MysqlBackup.api_version,
            "kind": "MysqlBackup",
            "metadata": {"name": name},
            "spec": {"cluster": cluster, "destination": {"claim": "backups"}},
        }
        await self.cluster.create(BACKUPS, body, namespace=self.namespace)

        async def ended():
            backup = await self.cluster.get(BACKUPS, name, namespace=self.namespace)
            assert backup.get("status", {}).get("phase") in {"Completed", "Failed"}, backup
            return backup

        backup = await eventually(ended, timeout=90, message=f"backup {name}")
        assert backup["status"]["phase"] == "Completed", backup["status"]
        return backup["status"]

    async def failed_seed(self, member):
        """Wait until the pod that brings data to a member has failed; return its message."""

        async def has_failed():
            try:
                pod = await self.cluster.get(PODS, f"{member}-seed", namespace=self.namespace)
            except NotFound as error:
                raise AssertionError(str(error)) from error
            assert pod.get("status", {}).get("phase") == "Failed", pod
            [container] = pod["status"]["containerStatuses"]
            return container["state"]["terminated"]["message"]

        return await eventually(has_failed, timeout=60, message=f"the seed of {member} fails")

    async def directory(self, name="backups"):
        """Return the directory of a claim's volume."""
        claim = await self.cluster.get(PERSISTENT_VOLUME_CLAIMS, name, namespace=self.namespace)
        volume = await self.cluster.get(PERSISTENT_VOLUMES, claim["spec"]["volumeName"])
        return Path(volume["spec"]["hostPath"]["path"])

    async def events(self, name):
        found = (await self.cluster.list(EVENTS, namespace=self.namespace)).items
        return [
            (one["reason"], one.get("message", ""))
            for one in found
            if (one.get("involvedObject") or {}).get("name") == name
        ]

    async def has_event(self, name, reason, text=""):
        async def is_so():
            found = await self.events(name)
            assert any(each == reason and text in message for each, message in found), found
            return next(message for each, message in found if each == reason)

        return await eventually(is_so, timeout=60, message=f"{reason} of {name}")


async def test_two_shards_are_restored_as_they_were_at_the_backup(shard):
    async with shard() as one:
        world = Backups(one)
        await world.prepare()
        await world.start("shop", shards=2, replicasPerShard=2)
        await world.available("shop", members=2)
        for number in range(2):
            await world.fill(f"shop{number}", 1, 1000 * (number + 1))
        sums = [await world.checksum(f"shop{number}") for number in range(2)]
        for number in range(2):  # the replicas, which are read
            primary = (await world.shard(f"shop{number}"))["status"]["primary"]
            replica = f"shop{number}-{1 - int(primary[-1])}"

            async def equal(shard=f"shop{number}", replica=replica, wanted=sums[number]):
                assert await world.checksum(shard, replica) == wanted
                return True

            await eventually(equal, timeout=30)
        began = time.monotonic()
        status = await world.back_up("nightly")
        taken = time.monotonic() - began
        assert [each["shard"] for each in status["shards"]] == ["shop0", "shop1"]
        for each in status["shards"]:
            primary = (await world.shard(each["shard"]))["status"]["primary"]
            assert each["member"] != primary, "a replica is read, not the primary"
            await world.has_event("nightly", "ShardBackedUp", each["shard"])
        for number in range(2):
            await world.fill(f"shop{number}", 5001, 5500)
        began = time.monotonic()
        await world.start("copy", shards=2, replicasPerShard=1, restoreFrom={"backup": "nightly"})
        await world.available("copy", members=1)
        restored = time.monotonic() - began
        assert [await world.checksum(f"copy{number}") for number in range(2)] == sums
        assert [await world.checksum(f"shop{number}") for number in range(2)] != sums
        rows = await world.sql("copy1", "SELECT n FROM shop.orders ORDER BY n")
        assert [row["n"] for row in rows] == list(range(1, 2001))
        await world.has_event("copy0", "DataRestored")
        size = sum(each["bytes"] for each in status["shards"])
        sys.stdout.write(f"backup {taken:.1f} s, {size} bytes, restore {restored:.1f} s\n")


async def test_a_backup_that_was_changed_is_rejected_before_anything_is_written(shard):
    async with shard() as one:
        world = Backups(one)
        await world.prepare()
        await world.start("shop", shards=1, replicasPerShard=1)
        await world.available("shop", members=1)
        await world.fill("shop0", 1, 100)
        status = await world.back_up("nightly")
        [written] = status["shards"]
        root = await world.directory() / "shop"
        for name in ("truncated", "flipped", "unfinished"):
            shutil.copytree(root / "nightly", root / name)
        data = root / "nightly" / "0" / "data.mbstream.gz"
        whole = data.read_bytes()
        (root / "truncated" / "0" / data.name).write_bytes(whole[:-1000])
        middle = len(whole) // 2
        flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
        (root / "flipped" / "0" / data.name).write_bytes(flipped)
        (root / "unfinished" / "0" / "SHA256SUMS").unlink()
        found = {}
        for name in ("truncated", "flipped", "unfinished"):
            source = {"claim": "backups", "path": f"shop/{name}"}
            await world.start(name, shards=1, replicasPerShard=1, restoreFrom=source)
            found[name] = await world.failed_seed(f"{name}0-0")
        for name in ("truncated", "flipped"):
            assert f"shop/{name}/0/{data.name} is corrupted or truncated" in found[name]
            assert f"expected {written['bytes']} bytes with SHA-256 {written['sha256']}" in found[name]
        assert f"found {len(whole) - 1000} bytes with SHA-256" in found["truncated"]
        assert "it has no SHA256SUMS" in found["unfinished"]
        for name in found:
            volume = await world.directory(f"data-{name}0-0")
            assert sorted(path.name for path in volume.iterdir()) == ["tmp"]
        await world.has_event("flipped0", "RestoreFailed", "corrupted or truncated")


async def test_shards_that_are_written_meanwhile_are_restored_as_of_one_moment(shard):
    async with shard() as one:
        world = Backups(one)
        await world.prepare()
        await world.start("shop", shards=2, replicasPerShard=1)
        await world.available("shop", members=1)
        for number in range(2):
            await world.sql(f"shop{number}", "CREATE TABLE shop.pairs (n INT PRIMARY KEY)")
        writing = asyncio.create_task(world.write_pairs())
        try:
            status = await world.back_up("busy")
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
        assert all(each["logSha256"] and each["cut"] != each["gtid"] for each in status["shards"])
        sys.stdout.write(await world.has_event("busy", "CutTaken") + "\n")
        await world.start("copy", shards=2, replicasPerShard=1, restoreFrom={"backup": "busy"})
        await world.available("copy", members=1)
        first, second = [
            {row["n"] for row in await world.sql(f"copy{number}", "SELECT n FROM shop.pairs")} for number in range(2)
        ]
        sys.stdout.write(f"{len(first)} and {len(second)} rows\n")
        assert second <= first, "what was acknowledged on the first shard came before"
        assert len(first - second) <= 1
        assert len(second) > 10


async def test_a_member_rejoins_though_the_primary_has_purged_its_binary_logs(shard):
    async with shard() as one:
        await one.create(replicas=2, durability={"allowAsync": True})
        primary = (await one.healthy())["primary"]
        replica = f"shop0-{1 - int(primary[-1])}"
        await one.sql(primary, "CREATE TABLE shop.orders (n INT PRIMARY KEY, text CHAR(40))")
        rows = "INSERT INTO shop.orders SELECT seq, SHA1(seq) FROM shop.seq_1_to_2000"
        await one.sql(primary, rows)

        async def equal():
            """Compare both members."""
            try:
                found = [await one.sql(name, "CHECKSUM TABLE shop.orders EXTENDED") for name in (primary, replica)]
            except (SqlError, NotFound, KeyError) as error:
                raise AssertionError(str(error)) from error
            assert found[0] == found[1], found
            assert found[0][0]["Checksum"] is not None, found
            return True

        async def purged():
            """Purge all but the last binary log, once the replica reads none of them."""
            await one.sql(primary, "FLUSH BINARY LOGS")
            [last] = await one.sql(primary, "SHOW MASTER STATUS")
            await one.sql(primary, f"PURGE BINARY LOGS TO '{last['File']}'")
            assert len(await one.sql(primary, "SHOW BINARY LOGS")) == 1
            return True

        await eventually(equal, timeout=60)
        await eventually(purged, timeout=60)
        await one.sql(primary, "INSERT INTO shop.orders VALUES (5000, 'after the purge')")
        began = time.monotonic()
        for resource, name in ((PERSISTENT_VOLUME_CLAIMS, f"data-{replica}"), (PODS, replica)):
            await one.cluster.delete(resource, name, namespace=one.namespace)

        await eventually(equal, timeout=120, message="both members have the same rows")
        sys.stdout.write(f"copied in {time.monotonic() - began:.1f} s\n")
        await one.healthy()
        reasons = dict(await one.events())
        assert {"CopyStarted", "DataCopied"} <= reasons.keys(), reasons
        await one.sql(primary, "INSERT INTO shop.orders VALUES (5001, 'after the copy')")
        await eventually(equal, timeout=30, message="it replicates")
        [state] = await one.sql(replica, "SELECT @@gtid_binlog_state AS state")
        assert state["state"], "a copied member knows the servers that wrote its history"
