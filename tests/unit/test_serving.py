"""Whoever holds connections to a port, it answers others, and no connection lasts for ever."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from aiohttp import web

from operatorkit.clock import SYSTEM_CLOCK
from operatorkit.serving import Limits, Listener, bind
from operatorkit.testing import eventually
from operatorkit.webhooks.certificates import renewed

REQUEST = b"GET /fast HTTP/1.1\r\nHost: x\r\n\r\n"
PATIENT = {"first_request_seconds": 600.0, "receive_seconds": 600.0, "idle_seconds": 600.0}
CLOSED_WITHIN = 60.0  # far more than any limit here, far less than one that is not kept


class Port:
    """A port that answers /fast at once, and /slow when `gate` is set."""

    def __init__(self, listener: Listener, number: int, client: ssl.SSLContext | None) -> None:
        self.listener = listener
        self.number = number
        self.client = client
        self.gate = asyncio.Event()
        self.asked = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def open(self, data: bytes = b"", *, tls: bool = True) -> Any:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.number, ssl=self.client if tls else None)
        self._writers.append(writer)
        writer.write(data)
        await writer.drain()
        return reader, writer

    def hang_up(self) -> None:
        """Close what was opened: a transport that is collected open is a warning, and so an error."""
        for writer in self._writers:
            writer.transport.abort()


async def answer(reader: asyncio.StreamReader) -> bytes:
    """Read one answer; b"" when the connection was closed instead."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""
    await reader.readexactly(2)
    return head.split(b"\r\n", 1)[0]


async def closed(reader: asyncio.StreamReader) -> bool:
    """Wait for the server to close; without sending anything ourselves."""
    try:
        return await asyncio.wait_for(reader.read(), CLOSED_WITHIN) == b""
    except ConnectionError:
        return True


@asynccontextmanager
async def serving(*, tls: bool = False, **limits: Any) -> Any:
    server_context = client_context = None
    if tls:
        bundle = renewed(None, ["127.0.0.1"], SYSTEM_CLOCK.now())
        client_context = ssl.create_default_context(cadata=bundle.ca_pem.decode())
        server_context = _server_context(bundle)
    listener = Listener(limits=Limits(**limits), ssl_context=server_context)
    port: Port

    async def fast(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(text="ok")

    async def slow(request: web.Request) -> web.Response:
        listener.answering(request)
        port.asked += 1
        await port.gate.wait()
        return web.Response(text="ok")

    application = web.Application(middlewares=[listener.middleware])
    application.add_routes([web.route("*", "/fast", fast), web.get("/slow", slow)])
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    sock = bind("127.0.0.1", 0)
    port = Port(listener, sock.getsockname()[1], client_context)
    assert runner.server is not None
    listener.start(runner.server, sock)
    try:
        yield port
        port.hang_up()
    finally:
        port.gate.set()
        await listener.stop()
        await runner.cleanup()
        await listener.close_connections()


def _server_context(bundle: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tls.pem"
        path.write_bytes(bundle.key_pem + bundle.cert_pem)
        context.load_cert_chain(path)
    return context


@pytest.mark.parametrize("tls", [False, True])
async def test_a_new_connection_is_served_and_the_one_that_waited_longest_is_closed(tls):
    async with serving(tls=tls, connections=3, **PATIENT) as port:
        oldest, second, third = [await port.open() for _ in range(3)]
        reader, _ = await port.open(REQUEST)
        assert await answer(reader) == b"HTTP/1.1 200 OK"
        assert await closed(oldest[0])
        for still_open, writer in (second, third):
            writer.write(REQUEST)
            assert await answer(still_open) == b"HTTP/1.1 200 OK"
        assert port.listener.open_connections == 3


async def test_a_client_that_was_answered_is_kept_before_those_that_only_connect():
    async with serving(connections=3, **PATIENT) as port:
        reader, writer = await port.open(REQUEST)
        assert await answer(reader) == b"HTTP/1.1 200 OK"
        idle = [await port.open() for _ in range(20)]
        for one, _ in idle[:-2]:
            assert await closed(one)
        writer.write(REQUEST)
        assert await answer(reader) == b"HTTP/1.1 200 OK"


async def test_a_client_whose_body_does_not_come_frees_its_place():
    head = b"POST /fast HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
    async with serving(connections=2, **PATIENT) as port:
        stalled = [await port.open(head), await port.open(head)]
        reader, _ = await port.open(REQUEST)
        assert await answer(reader) == b"HTTP/1.1 200 OK"
        assert await closed(stalled[0][0])


async def test_while_all_are_being_answered_a_new_connection_waits_and_none_is_closed():
    async with serving(connections=2, **PATIENT) as port:
        busy = [await port.open(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(2)]
        await eventually(lambda: port.asked == 2, message="both are being answered")
        reader, _ = await port.open(REQUEST)
        waiting = asyncio.create_task(answer(reader))
        assert port.listener.open_connections == 2
        port.gate.set()
        for one, _ in busy:
            assert await answer(one) == b"HTTP/1.1 200 OK"
        assert await waiting == b"HTTP/1.1 200 OK"


SILENCE = {
    "no TLS handshake": ({"handshake_seconds": 0.2}, {"tls": False}),
    "half a TLS handshake": ({"handshake_seconds": 0.2}, {"tls": False, "data": b"\x16\x03\x01\x02\x00\x01"}),
    "no request": ({"first_request_seconds": 0.2}, {}),
    "half a head": ({"receive_seconds": 0.2}, {"data": b"GET /fast HTTP/1.1\r\nX-"}),
    "a request, and then nothing": ({"idle_seconds": 0.2}, {"data": REQUEST}),
}


@pytest.mark.parametrize("case", SILENCE)
async def test_a_connection_that_keeps_silent_is_closed(case):
    limits, opening = SILENCE[case]
    async with serving(tls=True, **{**PATIENT, "handshake_seconds": 600.0, **limits}) as port:
        reader, _ = await port.open(**opening)
        if opening.get("data") == REQUEST:
            assert await answer(reader) == b"HTTP/1.1 200 OK"
        assert await closed(reader)
        await eventually(lambda: port.listener.open_connections == 0, message="it is not counted any more")


async def test_a_head_that_comes_byte_by_byte_is_not_waited_for():
    """Each byte comes in time; the head does not."""
    async with serving(**{**PATIENT, "receive_seconds": 0.3}) as port:
        reader, writer = await port.open(b"GET /fast HTTP/1.1\r\nX-Slow: ")
        end = asyncio.create_task(closed(reader))
        for _ in range(10_000):
            if end.done():
                break
            writer.write(b"x")
            await asyncio.wait({end}, timeout=0.02)
        assert await end


async def test_a_request_that_takes_long_to_answer_is_not_cut_off():
    async with serving(first_request_seconds=0.1, receive_seconds=0.1, idle_seconds=0.1) as port:
        reader, _ = await port.open(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        idle, _ = await port.open()
        assert await closed(idle)  # the limits have passed
        port.gate.set()
        assert await answer(reader) == b"HTTP/1.1 200 OK"


async def test_stopping_gives_up_handshakes_and_closes_what_is_left():
    async with serving(tls=True, connections=5) as port:
        silent, _ = await port.open(tls=False)
        idle, _ = await port.open()
        await eventually(lambda: port.listener.open_connections == 2, message="both are there")
        await port.listener.stop()
        assert await closed(silent)
        await port.listener.close_connections()
        assert await closed(idle)
        assert port.listener.open_connections == 0


def test_it_holds_in_uvloop_too():
    async def flood() -> None:
        async with serving(tls=True, connections=4, **PATIENT) as port:
            held = [await port.open() for _ in range(12)]
            reader, _ = await port.open(REQUEST)
            assert await answer(reader) == b"HTTP/1.1 200 OK"
            for one, _ in held[:9]:
                assert await closed(one)
            assert port.listener.open_connections == 4

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(flood())
