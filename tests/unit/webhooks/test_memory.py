"""However much is sent to a webhook server at once, its memory stays within bounds."""

from __future__ import annotations

import asyncio
import io
import json
import resource
import ssl
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

SERVER = """
import asyncio, json, sys
from operatorkit import Allowed, Model, Operator, Resource
from operatorkit.clock import SYSTEM_CLOCK
from operatorkit.resource import NoStatus
from operatorkit.webhooks import server as under_test
from operatorkit.webhooks.certificates import renewed
from operatorkit.webhooks.server import WebhookServer

under_test._BODY_SECONDS = under_test._MARGIN = 1000.0  # on a slow machine too, bodies are read and not given up

class ThingSpec(Model):
    size: int = 1

class Thing(Resource[ThingSpec, NoStatus], group="example.io", version="v1"): ...

app = Operator("things")

@app.validate(Thing)
async def validate(new, old, request):
    return Allowed()

async def main():
    server = WebhookServer(app.webhooks)
    bundle = renewed(None, ["127.0.0.1"], SYSTEM_CLOCK.now())
    server.use(bundle.cert_pem, bundle.key_pem)
    await server.start()
    print(json.dumps([server.port, app.webhooks[0].path, bundle.ca_pem.decode()]), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.stop()

asyncio.run(main())
"""
CONNECTIONS = 1_000
HELD_BYTES = 150 << 20  # 256 TLS connections of 270 KB have 70 MiB; 1,000 without a bound have 270
SENDERS = 40
BODY_BYTES = 6_900_000  # just below what is read at all
BOUND_BYTES = 380 << 20  # the bodies together have 276 MiB, and one of them alone, decoded, 200 MiB


@pytest.fixture
def many_files():
    """Let this process have as many open files as it needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard not in (-1, resource.RLIM_INFINITY) and hard < 2 * CONNECTIONS:
        pytest.skip(f"a process may have {hard} open files here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * CONNECTIONS), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@asynccontextmanager
async def server():
    """Run a server in a process of its own; yields it, its port, the path of its webhook, and its CA."""
    process = await asyncio.to_thread(
        subprocess.Popen, [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port, path, ca = json.loads(await asyncio.to_thread(process.stdout.readline))
        yield process, port, path, ca
    finally:
        process.stdin.close()
        await asyncio.to_thread(process.wait, 120)
        process.stdout.close()


def peak(pid: int) -> int:
    """Return the most memory that a process has had, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no VmHWM")


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to see the memory of a process")
async def test_the_memory_of_a_server_is_bounded_while_many_send_much() -> None:
    async with server() as (process, port, path, ca):
        before = peak(process.pid)
        many, deep, long = b"[" + b"{}," * (BODY_BYTES // 3) + b"{}]", b"[" * BODY_BYTES, b'{"a":"' + b"x" * BODY_BYTES
        bodies = [many, deep, long, deep, long, deep, long, deep]  # the first takes seconds to decode
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cadata=ca), limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as session:

            async def send(body: bytes) -> int:
                try:
                    async with session.post(
                        f"https://127.0.0.1:{port}{path}",
                        data=io.BytesIO(body),
                        headers={"Content-Type": "application/json"},
                    ) as answer:
                        return answer.status
                except aiohttp.ClientError:
                    return 0  # it hung up on us, which is a refusal too

            codes = await asyncio.gather(*(send(bodies[number % 8]) for number in range(SENDERS)))
            assert set(codes) <= {0, 400, 408, 413}
            assert 400 in codes
        grown = peak(process.pid) - before
    assert grown < BOUND_BYTES, f"grew by {grown >> 20} MiB"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to see the memory of a process")
async def test_the_memory_of_a_server_is_bounded_while_a_thousand_hold_connections(many_files) -> None:
    async with server() as (process, port, path, ca):
        before = peak(process.pid)
        trust = ssl.create_default_context(cadata=ca)
        at_once = asyncio.Semaphore(30)
        held: list[asyncio.StreamWriter] = []

        async def hold() -> None:
            async with at_once:
                _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust, limit=1024)
                held.append(writer)

        try:
            await asyncio.gather(*(hold() for _ in range(CONNECTIONS)))
            connector = aiohttp.TCPConnector(ssl=trust)
            async with (
                aiohttp.ClientSession(connector=connector) as session,
                session.post(
                    f"https://127.0.0.1:{port}{path}", data=b"{}", headers={"Content-Type": "application/json"}
                ) as answer,
            ):
                assert answer.status == 400  # it answers, and what it is asked is no review
        finally:
            for writer in held:
                writer.transport.abort()
        grown = peak(process.pid) - before
    assert len(held) == CONNECTIONS
    assert grown < HELD_BYTES, f"grew by {grown >> 20} MiB"
