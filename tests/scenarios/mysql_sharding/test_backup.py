"""Backups of real servers, restored into new clusters and copied to members, compared row by row."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time

import pytest

from operatorkit.errors import NotFound
from operatorkit.kinds import PERSISTENT_VOLUME_CLAIMS, PODS
from operatorkit.testing import eventually

pytest.importorskip("asyncmy", reason="needs the driver: pip install operatorkit[mysql]")

from scenarios.mysql_sharding.backups import Backups

from operators.mysql_sharding.sql import SqlError


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
