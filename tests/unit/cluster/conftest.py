"""A server that misbehaves on demand, and a clock on which waiting takes no time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web

from operatorkit.cluster import ClusterConfig, LiveCluster
from operatorkit.names import ApiResource

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class InstantClock:
    """Sleeping moves this clock and takes one turn of the loop."""

    def __init__(self):
        self.slept: list[float] = []
        self._elapsed = 0.0

    def now(self):
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self._elapsed)

    def monotonic(self):
        return self._elapsed

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self._elapsed += seconds
        await asyncio.sleep(0)


class FaultyServer:
    """Answers the n-th request with the n-th handler; the last handler answers all that follow."""

    def __init__(self):
        self.handlers: list[Handler] = []
        self.requests: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.running = 0
        self.most_running = 0
        self.url = ""
        self.runner: web.AppRunner | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        handler = self.handlers[min(len(self.requests), len(self.handlers) - 1)]
        self.requests.append((request.method, request.path_qs))
        self.headers.append(dict(request.headers))
        self.bodies.append(await request.read())
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            return await handler(request)
        finally:
            self.running -= 1

    @property
    def connections(self) -> int:
        assert self.runner is not None
        assert self.runner.server is not None
        return len(self.runner.server.connections)

    def answers(self, *handlers: Handler) -> None:
        self.handlers = list(handlers)


def answer(body: object, code: int = 200, **headers: str) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        text = body if isinstance(body, str) else json.dumps(body)
        kind = "text/plain" if isinstance(body, str) else "application/json"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(text=text, status=code, content_type=kind, headers=named)

    return handler


def status(code: int, reason: str, message: str = "it went wrong", **details: object) -> Handler:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason}
    return answer({**body, "message": message, "details": details}, code)


def stream(*chunks: bytes, then: str = "end") -> Handler:
    """A watch: the chunks, and then an `end`, a `break` without one, or to `hang`."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        if then == "hang":
            await asyncio.Event().wait()
        if then == "break":
            assert request.transport is not None
            request.transport.abort()
        return response

    return handler


async def drop(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


@pytest.fixture
def clock():
    return InstantClock()


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    faulty = FaultyServer()
    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{path:.*}", faulty.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    faulty.runner = runner
    faulty.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield faulty
    await runner.cleanup()


@pytest.fixture
async def api(server, clock) -> AsyncIterator[LiveCluster]:
    async with LiveCluster(ClusterConfig(server=server.url), clock=clock) as live:
        yield live


@pytest.fixture
def pods() -> ApiResource:
    return ApiResource("", "v1", "Pod", "pods", namespaced=True)


@pytest.fixture
def given():
    """The ways in which a server may answer."""

    class Given:
        answer = staticmethod(answer)
        status = staticmethod(status)
        stream = staticmethod(stream)
        drop = staticmethod(drop)

    return Given
