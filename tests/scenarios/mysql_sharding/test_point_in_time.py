"""Restores to a moment between backups, on real servers.

Half a minute each: what they prove needs servers that are backed up, archived and restored.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from operatorkit.testing import eventually

pytest.importorskip("asyncmy", reason="needs the driver: pip install operatorkit[mysql]")
pytest.importorskip("cronsim", reason="needs the times of schedules: pip install operatorkit[mysql]")

from scenarios.mysql_sharding.backups import Backups

from operators.mysql_sharding import MysqlCluster

CLUSTERS = MysqlCluster.api_resource()
POLICY = {"destination": {"claim": "backups"}, "archive": {"everySeconds": 5}}


async def archived(world, moment):
    """Wait until the archive of each shard reaches a moment; return it."""

    async def is_so():
        found = await world.cluster.get(CLUSTERS, "shop", namespace=world.namespace)
        archives = found["status"].get("archives") or []
        assert len(archives) == found["spec"].get("shards", 1), archives
        assert all(datetime.fromisoformat(one["through"]) >= moment for one in archives), archives
        return archives

    return await eventually(is_so, timeout=120, message=f"the archive reaches {moment}")


async def second_after(world, shard):
    """Wait until the next second of a server begins, and return it: a moment after its last write."""
    [row] = await world.sql(shard, "SELECT UTC_TIMESTAMP() AS now")
    moment = row["now"].replace(tzinfo=UTC) + timedelta(seconds=1)

    async def begun():
        [row] = await world.sql(shard, "SELECT UTC_TIMESTAMP() AS now")
        assert row["now"].replace(tzinfo=UTC) >= moment
        return True

    await eventually(begun, timeout=10)
    return moment


def text(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


async def test_a_cluster_is_restored_as_of_a_moment_between_two_writes(shard):
    async with shard() as one:
        world = Backups(one)
        await world.prepare()
        await world.start("shop", replicasPerShard=2, backup=POLICY)
        await world.available("shop", members=2)
        await archived(world, datetime.min.replace(tzinfo=UTC))
        await world.fill("shop0", 1, 500)
        status = await world.back_up("base")
        taken = datetime.fromisoformat(status["shards"][0]["completedAt"])
        await world.fill("shop0", 501, 700)
        [between] = await archived(world, await second_after(world, "shop0"))
        await world.switch_over("shop0")  # the other member is read from now on
        await world.fill("shop0", 701, 900)
        wanted = await world.checksum("shop0")
        moment = await second_after(world, "shop0")
        await world.sql("shop0", "DELETE FROM shop.orders WHERE n < 600")
        [last] = await archived(world, await second_after(world, "shop0"))
        assert last["segments"] > between["segments"]
        assert last["begins"] == between["begins"], "no transaction is missing"
        root = await world.directory() / "shop" / "_binlogs"
        manifests = [json.loads(path.read_text()) for path in sorted(root.glob("*/0/*/manifest.json"))]
        assert len({one["member"] for one in manifests}) == 2, "segments of both members are one history"
        began = time.monotonic()
        source = {"backup": "base", "pointInTime": text(moment)}
        await world.start("copy", replicasPerShard=1, restoreFrom=source)
        await world.available("copy", members=1)
        assert await world.checksum("copy0") == wanted
        assert await world.checksum("shop0") != wanted
        sys.stdout.write(f"{last['segments']} segments, restored in {time.monotonic() - began:.1f} s\n")
        await world.sql("copy0", "INSERT INTO shop.orders VALUES (5000, 'a new write')")

        # what cannot be reached is rejected, before anything is written
        for name, point in (("early", taken - timedelta(hours=1)), ("late", datetime.now(UTC) + timedelta(hours=1))):
            source = {"backup": "base", "pointInTime": text(point)}
            await world.start(name, replicasPerShard=1, restoreFrom=source)
            message = await world.unavailable(name, "BackupUnavailable")
            assert f"spec.restoreFrom.pointInTime: {text(point)}" in message
            assert text(taken) in message
        [segment] = root.glob(f"*/0/{between['segments']:08d}")
        [log, *_] = sorted(segment.glob("binlog.*"))
        log.write_bytes(log.read_bytes()[:-10])
        source = {"claim": "backups", "path": "shop/base", "pointInTime": text(moment)}
        await world.start("torn", replicasPerShard=1, restoreFrom=source)
        failure = await world.failed_seed("torn0-0")
        assert "is corrupted or truncated" in failure
        assert text(taken) in failure
        shutil.rmtree(segment)
        await world.start("gap", replicasPerShard=1, restoreFrom=source)
        assert "or logs are missing" in await world.failed_seed("gap0-0")
        for name in ("torn", "gap"):
            volume = await world.directory(f"data-{name}0-0")
            assert sorted(path.name for path in volume.iterdir()) == ["tmp"]


async def write(world, shard, acknowledged):
    """Insert one number after the other, and note when each was sent and acknowledged."""
    session = await world.session(shard)
    try:
        for number in itertools.count():
            sent = datetime.now(UTC)
            await session.rows(f"INSERT INTO shop.numbers VALUES ({number})", seconds=30)
            acknowledged.append((number, sent, datetime.now(UTC)))
    finally:
        session.close()


async def test_under_load_what_was_acknowledged_before_the_moment_is_restored_and_nothing_later(shard):
    async with shard() as one:
        world = Backups(one)
        await world.prepare()
        await world.start("shop", shards=2, replicasPerShard=1, backup=POLICY)
        await world.available("shop", members=1)
        await archived(world, datetime.min.replace(tzinfo=UTC))
        writes = {f"shop{number}": [] for number in range(2)}
        for name in writes:
            await world.sql(name, "CREATE TABLE shop.numbers (n INT PRIMARY KEY)")
        writing = [asyncio.create_task(write(world, name, found)) for name, found in writes.items()]
        try:
            status = await world.back_up("busy")
            moment = datetime.fromisoformat(status["cutAt"]) + timedelta(seconds=2)
            await archived(world, moment + timedelta(seconds=1))
        finally:
            for task in writing:
                task.cancel()
            await asyncio.gather(*writing, return_exceptions=True)
        source = {"backup": "busy", "pointInTime": text(moment)}
        await world.start("copy", shards=2, replicasPerShard=1, restoreFrom=source)
        await world.available("copy", members=1)
        for number, acknowledged in enumerate(writes.values()):
            found = {row["n"] for row in await world.sql(f"copy{number}", "SELECT n FROM shop.numbers")}
            before = {n for n, _, at in acknowledged if at < moment}
            later = {n for n, sent, _ in acknowledged if sent >= moment}
            sys.stdout.write(f"{len(found)} rows, {len(later)} later ones are not restored\n")
            assert before <= found
            assert later, "it was restored to a moment before the last write"
            assert not later & found
