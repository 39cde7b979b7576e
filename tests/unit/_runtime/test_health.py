"""Probes are answered truthfully."""

from __future__ import annotations

import socket

import aiohttp
import pytest

from operatorkit._runtime.health import serve_health
from operatorkit.errors import InputError


async def ask(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
        return answer.status, await answer.text()


async def test_an_operator_is_alive_before_it_is_ready_and_ready_only_while_it_is():
    ready = False
    async with serve_health(0, is_ready=lambda: ready) as port:
        assert await ask(port, "/healthz") == (200, "ok\n")
        assert await ask(port, "/readyz") == (503, "not ready\n")
        ready = True
        assert await ask(port, "/readyz") == (200, "ok\n")
        ready = False
        assert (await ask(port, "/readyz"))[0] == 503


async def test_nothing_else_is_served():
    async with serve_health(0, is_ready=lambda: True) as port:
        assert (await ask(port, "/metrics"))[0] == 404


async def test_the_port_is_free_again_afterwards():
    async with serve_health(0, is_ready=lambda: True) as port:
        pass
    async with serve_health(port, is_ready=lambda: True) as again:
        assert again == port


async def test_a_port_that_is_taken_is_named():
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} cannot be had for probes"):
            async with serve_health(port, is_ready=lambda: True):
                pass
