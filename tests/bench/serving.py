"""The servers, each a process: `embedded` is the embedded control plane's, `uncounted` the same as its users have it.

`empty` is a handler that does nothing.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from aiohttp import web

from bench.control import answer_for_ever
from bench.kinds import DRIVER, THINGS, thing
from operatorkit.controlplane.embedded.audit import Entry, unrecorded
from operatorkit.controlplane.embedded.server import EmbeddedServer

__all__: list[str] = []

_AT_ONCE = 16


async def embedded(*, counting: bool = True) -> None:
    """Serve the API without TLS, which would be the same for all and make their ratios look better."""
    counts: Counter[str] = Counter()

    def count(entry: Entry) -> None:
        if not entry.user_agent.startswith(DRIVER) and entry.verb not in {"watch", "list"}:
            counts[entry.namespace] += 1

    async with EmbeddedServer(tls=False, audit=count if counting else unrecorded) as server:

        async def where() -> dict[str, str]:
            return {"url": server.url, "token": server.token}

        async def requests(namespace: str) -> int:
            return counts[namespace]

        async def fill(namespace: str, number: int, prefix: str = "thing") -> None:
            names = iter(range(number))

            async def some() -> None:
                for name in names:
                    await server.local.create(THINGS, thing(f"{prefix}-{name:06}"), namespace=namespace)

            await asyncio.gather(*(some() for _ in range(_AT_ONCE)))

        await answer_for_ever({"where": where, "requests": requests, "fill": fill})


async def empty() -> None:
    """Answer each request with the same bytes, as cheaply as aiohttp can."""
    body = b"{}"

    async def handle(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=body, content_type="application/json")

    server = web.Server(handle, access_log=None)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"

    async def where() -> dict[str, Any]:
        return {"url": url, "token": ""}

    async def say(text: str) -> None:
        nonlocal body
        body = text.encode()

    await answer_for_ever({"where": where, "say": say})


if __name__ == "__main__":
    known: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
        "embedded": embedded,
        "uncounted": partial(embedded, counting=False),
        "empty": empty,
    }
    asyncio.run(known[sys.argv[1]]())
