"""A client in a process of its own: writes rows to the primary, and records each that was acknowledged.

    client.py KUBECONFIG NAMESPACE SHARD USER PASSWORD LOG

It finds the primary as the Service <shard>-rw does, by the label of the role, and ends when its standard input does. A
write whose answer was lost is not recorded, and not repeated: the next one has the next number.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from operatorkit.cluster import LiveCluster, load_config
from operatorkit.errors import ClusterError
from operatorkit.kinds import PODS
from operators.mysql_sharding.sql import Asyncmy, Login, SqlError

CREATE = """CREATE TABLE IF NOT EXISTS shop.writes
(writer BIGINT, n BIGINT, PRIMARY KEY (writer, n)) ENGINE=InnoDB"""


async def primary(api, namespace, shard):
    """Return the address of the pod that the Service <shard>-rw would select, None where there is none."""
    selector = f"mysql.operatorkit.dev/shard={shard},mysql.operatorkit.dev/role=primary"
    found = (await api.list(PODS, namespace=namespace, label_selector=selector)).items
    ready = [
        pod
        for pod in found
        if any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", ()))
    ]
    return ready[0]["status"].get("podIP") if len(ready) == 1 else None


async def write(api, namespace, shard, user, password, log):
    writer, number, session = os.getpid(), 0, None
    while True:
        try:
            if session is None:
                address = await primary(api, namespace, shard)
                if address is None:
                    await asyncio.sleep(0.05)
                    continue
                login = Login(address, 3306, user, password)
                session = await Asyncmy().connect(login, seconds=1)
                await session.rows(CREATE, seconds=2)
            number += 1
            await session.rows("INSERT INTO shop.writes VALUES (%s, %s)", writer, number, seconds=1)
        except (SqlError, ClusterError):
            if session is not None:
                session.close()
                session = None
            await asyncio.sleep(0.05)
            continue
        line = {"writer": writer, "n": number, "at": time.time()}
        log.write(json.dumps(line) + "\n")
        log.flush()
        await asyncio.sleep(0.002)


async def main(kubeconfig, namespace, shard, user, password, path):
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
    with Path(path).open("a") as log:  # noqa: ASYNC230 - a line is written within microseconds
        async with LiveCluster(load_config(Path(kubeconfig))) as api:
            work = asyncio.create_task(write(api, namespace, shard, user, password, log))
            await asyncio.wait({ended, work}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                await work
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
