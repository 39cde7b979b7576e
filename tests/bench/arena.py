"""The place of a comparison: the server, the driver's client, and what the driver does to objects."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bench.actors import config_of
from bench.control import Process
from bench.kinds import CHILDREN, DRIVER, THINGS, Thing, thing
from operatorkit._runtime import install_definitions
from operatorkit.cluster import LiveCluster, ObjectList
from operatorkit.names import ApiResource

__all__ = ["Arena", "arena", "until"]

_POLL_SECONDS = 0.05
_QUIET_SECONDS = 0.4
_GRACE_SECONDS = 120.0
_AT_ONCE = 8
NAMESPACES = ApiResource("", "v1", "Namespace", "namespaces", namespaced=False)


class Arena:
    """A running server, with the kind of the benchmarks, and a client that drives it."""

    def __init__(self, server: Process, api: LiveCluster, url: str, token: str) -> None:
        self.server = server
        self.api = api
        self.url = url
        self.token = token

    async def namespace(self, name: str) -> str:
        """Make a namespace."""
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await self.api.create(NAMESPACES, body)
        return name

    async def create(self, namespace: str, number: int) -> list[dict[str, Any]]:
        """Create objects, a few at once, and return them."""
        names = iter(range(number))
        made: list[dict[str, Any]] = []

        async def some() -> None:
            for each in names:
                made.append(await self.api.create(THINGS, thing(f"thing-{each:06}"), namespace=namespace))  # noqa: PERF401

        await asyncio.gather(*(some() for _ in range(_AT_ONCE)))
        return made

    async def clear(self, namespace: str) -> None:
        """Delete the objects; return when their children are gone too."""
        await self.api.request("DELETE", f"/apis/{THINGS.api_version}/namespaces/{namespace}/{THINGS.plural}")

        async def none_left() -> bool:
            found: ObjectList = await self.api.list(CHILDREN, namespace=namespace)
            return not [obj for obj in found.items if obj["metadata"]["name"].startswith("thing-")]

        await until(none_left, f"the children in {namespace} to be collected")
        await self.quiet(namespace)

    async def quiet(self, namespace: str) -> float:
        """Return when no request for the namespace has come for a while: the time at which the last one was seen."""
        last, seen = await self.server.ask("requests", namespace=namespace), time.perf_counter()
        while time.perf_counter() - seen < _QUIET_SECONDS:
            await asyncio.sleep(_POLL_SECONDS)
            now = await self.server.ask("requests", namespace=namespace)
            if now != last:
                last, seen = now, time.perf_counter()
        return seen


@asynccontextmanager
async def arena(server: str = "embedded") -> AsyncIterator[Arena]:
    """Start the server and install the kind."""
    async with Process("bench.serving", server) as process:
        where = await process.ask("where")
        async with LiveCluster(config_of(**where), user_agent=DRIVER) as api:
            await install_definitions([Thing], api)
            yield Arena(process, api, **where)


async def until(question: Any, what: str) -> None:
    """Poll until the answer is true. Raises TimeoutError, which says for what it waited."""
    try:
        async with asyncio.timeout(_GRACE_SECONDS):
            while not await question():  # noqa: ASYNC110 - what is asked is another process
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise TimeoutError(f"waited {_GRACE_SECONDS:g} s in vain for {what}") from None
