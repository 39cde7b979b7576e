"""What the kubelet asks a running operator: are you alive, are you ready.

What belongs here: the two answers. What does not: what they are made of (`engine`), and metrics.

    GET /healthz   200 from the loop that reconciles: no answer in time means that something blocks it
    GET /readyz    200 while caches are filled and workers run, 503 before, and from the stop on
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from operatorkit.errors import InputError

__all__ = ["serve_health"]

_log = logging.getLogger("operatorkit.runtime")


@asynccontextmanager
async def serve_health(port: int, *, is_ready: Callable[[], bool]) -> AsyncIterator[int]:
    """Answer probes on `port` of every address while the block runs; 0 takes a free port. Yields the port.

    Raises InputError when the port cannot be had.
    """

    async def alive(request: web.Request) -> web.Response:
        del request
        return web.Response(text="ok\n")

    async def ready(request: web.Request) -> web.Response:
        del request
        return web.Response(text="ok\n") if is_ready() else web.Response(status=503, text="not ready\n")

    application = web.Application(client_max_size=1024)
    application.add_routes([web.get("/healthz", alive), web.get("/readyz", ready)])
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        listener = _listen(port)
        await web.SockSite(runner, listener).start()
        bound: int = listener.getsockname()[1]
        _log.info("probes are answered on port %d", bound)
        yield bound
    finally:
        await runner.cleanup()


def _listen(port: int) -> socket.socket:
    """Listen on one port of all addresses, of both families where the machine has both."""
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        return socket.create_server(("", port), family=family, dualstack_ipv6=both)
    except OSError as error:
        raise InputError(
            f"port {port} cannot be had for probes: {os.strerror(error.errno or 0)}: stop what listens there, or "
            "choose another with --health-port"
        ) from error
