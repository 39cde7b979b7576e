"""Moves the buckets of a real cluster from some shards to more while a process of its own writes, and checks each row.

    python -m soak.mysql_reshard [--shards 4] [--to 6] [--buckets 64] [--replicas 2] [--rows 200000] [--restarts 3]

The operator is restarted at random moments. At the end, the rows through the proxy and those in the buckets are compared
with what the client was acknowledged, and the time of the statement that waited longest is shown.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from contextlib import AsyncExitStack

from scenarios.mysql_sharding.proxied import Proxied
from scenarios.mysql_sharding.reshards import check_rows, load, resharded

from soak.mysql_real import begun


async def filled(shop, count):
    """Write rows that no client touches; return them."""
    rows = {(n % 101, -n - 1): "old" for n in range(count)}
    keys = list(rows)
    for first in range(0, count, 5000):
        values = ", ".join(f"({c}, {n}, 'old')" for c, n in keys[first : first + 5000])
        await shop.sql(f"INSERT INTO shop.orders (customer, n, note) VALUES {values}", seconds=120)
    return rows


async def main(options):
    chance = random.Random(options.seed)
    async with AsyncExitStack() as stack:
        one, directory = await begun(stack, "reshard")
        shop = Proxied(one)
        await shop.create(shards=options.shards, buckets=options.buckets, replicas=options.replicas, nodes=2)
        await shop.ready(nodes=2)
        old = await filled(shop, options.rows)
        started = time.monotonic()
        async with load(shop, directory) as writes:
            await shop.change({"shards": options.to})
            for _ in range(options.restarts):
                await asyncio.sleep(5 + 20 * chance.random())
                await one.restart_operator()
            status = await resharded(shop, seconds=3600)
            await writes.more()
        took = time.monotonic() - started
        print(status["reshard"]["reason"], status["bucketMap"])
        print(f"{took:.0f} s with {len(writes.acknowledged())} writes acknowledged, {len(writes.errors())} failed")
        print(f"the statement that waited longest took {writes.longest():.2f} s")
        for reason, message in await shop.events():
            if reason in {"BucketMoved", "BucketMoveFailed"}:
                print(reason, message)
        await check_rows(shop, writes, also=old)
        print("all rows are as they were acknowledged")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    defaults = {"shards": 4, "to": 6, "buckets": 64, "replicas": 2, "rows": 200_000, "restarts": 3, "seed": 1}
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    sys.exit(asyncio.run(main(parser.parse_args())))
