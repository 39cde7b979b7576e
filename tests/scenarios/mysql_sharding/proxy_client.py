"""A client in a process of its own: writes through the proxy, and records each write that was acknowledged.

    proxy_client.py ADDRESSES USER PASSWORD LOG WRITERS

Each writer inserts a row, changes an earlier one of its own, and deletes a third now and then. A line of the log is
[time, operation, customer, n, note, seconds]. A write that failed, or whose answer was lost, is logged as error, and its row is
left alone; one that was under way at the end is logged as ended. It ends when its standard input does. It imports the
driver only: it must start fast.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from pathlib import Path

from asyncmy.connection import Connection
from asyncmy.errors import MySQLError

_CUSTOMERS = 101
_FAILURES = (MySQLError, OSError, RuntimeError, TimeoutError, asyncio.IncompleteReadError)


async def connected(address, user, password):
    made = Connection(host=address, port=3306, user=user, password=password, autocommit=True, charset="utf8mb4")
    async with asyncio.timeout(2):
        await made.connect()
    return made


async def sent(session, statement):
    async with asyncio.timeout(15), session.cursor() as cursor:
        await cursor.execute(statement)


async def write(number, writers, addresses, user, password, log):
    """Insert, change and delete rows that no other writer touches, one statement after the other."""
    session, counter = None, itertools.count(number, writers)
    kept = {}

    def note(operation, customer, n, value="", began=None):
        seconds = time.monotonic() - began if began is not None else 0.0
        log.write(json.dumps([time.time(), operation, customer, n, value, seconds]) + "\n")
        log.flush()

    async def send(operation, statement, customer, n, value=""):
        nonlocal session
        began = time.monotonic()
        try:
            if session is None:
                session = await connected(addresses[number % len(addresses)], user, password)
            await sent(session, statement)
        except asyncio.CancelledError:
            note("ended", customer, n)
            raise
        except _FAILURES as error:
            note("error", customer, n, f"{type(error).__name__}: {error}")
            if session is not None:
                session.close()
                session = None
            kept.pop((customer, n), None)
            await asyncio.sleep(0.02)
            return
        note(operation, customer, n, value, began)
        if operation == "delete":
            kept.pop((customer, n), None)
        else:
            kept[customer, n] = value

    while True:
        n = next(counter)
        customer = n % _CUSTOMERS
        row = f"({customer}, {n}, 'é {n}')"
        await send("insert", f"INSERT INTO shop.orders (customer, n, note) VALUES {row}", customer, n, f"é {n}")
        if len(kept) > 50:
            (c, m), _ = next(iter(kept.items()))
            where = f"WHERE customer = {c} AND n = {m}"
            if n % 5:
                await send("update", f"UPDATE shop.orders SET note = 'ü {n}' {where}", c, m, f"ü {n}")
                if (c, m) in kept:
                    kept[c, m] = kept.pop((c, m))
            else:
                await send("delete", f"DELETE FROM shop.orders {where}", c, m)
        await asyncio.sleep(0.002)


async def main(addresses, user, password, path, writers):
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
    with Path(path).open("a") as log:  # noqa: ASYNC230 - a line is written within microseconds
        work = [
            asyncio.create_task(write(number, writers, addresses, user, password, log)) for number in range(writers)
        ]
        await asyncio.wait({ended, *work}, return_when=asyncio.FIRST_COMPLETED)
        failed = [one for one in work if one.done()]
        for one in work:
            one.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        for one in failed:
            one.result()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1].split(","), sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5])))
