"""What the scenarios of resharding share: a load of its own process, and what it was acknowledged."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

from scenarios.mysql_sharding.proxied import PASSWORD

from operatorkit.testing import eventually

CLIENT = Path(__file__).with_name("proxy_client.py")


class Load:
    """What the client process was acknowledged: one line for each write."""

    def __init__(self, path):
        self._path = path

    def all(self):
        lines = self._path.read_text().splitlines()
        return [json.loads(line) for line in lines if line.endswith("]")]

    def acknowledged(self):
        return [one for one in self.all() if one[1] in {"insert", "update", "delete"}]

    def errors(self):
        return [one for one in self.all() if one[1] == "error"]

    def more_than(self, count):
        assert len(self.acknowledged()) > count, (len(self.acknowledged()), self.errors()[-3:])
        return True

    async def more(self, count=200):
        before = len(self.acknowledged())
        await eventually(lambda: self.more_than(before + count), timeout=120, message="writes go on")

    def rows(self):
        """Return the rows that there must be, and the keys of which nothing is known: their answer was lost."""
        rows, unknown = {}, set()
        for _, operation, customer, n, value, _ in self.all():
            if operation in {"error", "ended"}:
                unknown.add((customer, n))
            elif operation == "delete":
                rows.pop((customer, n), None)
            else:
                rows[customer, n] = value
        return {key: value for key, value in rows.items() if key not in unknown}, unknown

    def longest(self):
        """Return the seconds of the statement that waited longest, of those that were acknowledged."""
        return max(one[5] for one in self.acknowledged())


@asynccontextmanager
async def load(shop, directory, *, writers=4):
    """Let a process of its own write through all nodes until the block ends."""
    log = directory / f"writes-{time.monotonic_ns()}"
    log.touch()
    addresses = ",".join((await shop.pods()).values())
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(CLIENT), addresses, "app", PASSWORD, str(log), str(writers), stdin=asyncio.subprocess.PIPE
    )
    found = Load(log)
    try:
        await eventually(lambda: found.more_than(200), timeout=90, message="the first writes")
        yield found
    finally:
        process.stdin.close()
        await asyncio.wait_for(process.wait(), 60)
    assert process.returncode == 0, process.returncode


async def resharded(shop, *, seconds=120):
    """Wait until no bucket is to be moved; return the status."""

    async def is_so():
        status = await shop.status()
        reshard = status.get("reshard") or {}
        assert reshard.get("step") == "Complete", reshard
        held = {one["type"]: one["status"] for one in status["conditions"]}
        assert held["BucketsBalanced"] == "True", held
        return status

    return await eventually(is_so, timeout=seconds, message="the buckets are moved")


async def check_rows(shop, writes, *, also=()):
    """Raise unless the rows through the proxy, and in the buckets by themselves, are exactly the acknowledged ones."""
    wanted, unknown = writes.rows()
    wanted |= dict(also)
    found = await shop.sql("SELECT customer, n, note FROM shop.orders", seconds=60)
    rows = {(row["customer"], row["n"]): row["note"] for row in found}
    assert len(rows) == len(found), "a row is there twice"
    known = {key: value for key, value in rows.items() if key not in unknown}
    assert known.keys() == wanted.keys(), (
        sorted(wanted.keys() - known.keys())[:5],
        sorted(known.keys() - wanted.keys())[:5],
    )
    assert known == wanted
    status = await shop.status()
    total = 0
    for one in range(1 + max(each["shard"] for each in status["bucketMap"])):
        held = [
            b for each in status["bucketMap"] if each["shard"] == one for b in range(each["first"], each["last"] + 1)
        ]
        counts = await shop.buckets(one, "SELECT COUNT(*) AS n FROM {table}")
        assert list(counts) == [f"shop_b{bucket:02d}" for bucket in held], (one, held)
        total += sum(each[0]["n"] for each in counts.values())
    assert total == len(found)
