"""Sessions of the driver."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("asyncmy", reason="needs the driver: pip install operatorkit[mysql]")

from operators.mysql_sharding.sql import Login, _AsyncmySession


class Cursor:
    """A cursor whose statement never ends, and whose close fails, as the driver's does within an answer."""

    description = None

    def __init__(self, waiting):
        self._waiting = waiting

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        raise RuntimeError("read() called while another coroutine is already waiting for incoming data")

    async def execute(self, statement, values):
        del statement, values
        self._waiting.set()
        await asyncio.Event().wait()


class Connection:
    def __init__(self):
        self.waiting, self.closed = asyncio.Event(), False

    def cursor(self, kind):
        del kind
        return Cursor(self.waiting)

    def close(self):
        self.closed = True


async def test_a_cancelled_statement_raises_the_cancellation_though_the_driver_fails_to_close_its_cursor():
    made = Connection()
    session = _AsyncmySession(Login("127.0.0.1", 3306, "app", ""), made)
    task = asyncio.create_task(session.rows("SELECT SLEEP(9)", seconds=60))
    await made.waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert made.closed
    assert session.closed
