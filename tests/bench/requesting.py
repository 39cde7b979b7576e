"""The benchmark `server`."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import aiohttp

from bench.arena import arena
from bench.control import Process
from bench.kinds import DRIVER, THINGS
from bench.report import Row, row

__all__ = ["server"]

_ROUNDS = 7
_REQUESTS = 2000
_AT_ONCE = 8


async def server() -> list[Row]:
    """Measure the CPU time of a GET, beside an empty handler that answers the same bytes."""
    figures: dict[str, list[float]] = defaultdict(list)
    async with arena("uncounted") as place, Process("bench.serving", "empty") as empty:
        namespace = await place.namespace("server")
        await place.create(namespace, 1)
        path = f"/apis/{THINGS.api_version}/namespaces/{namespace}/{THINGS.plural}/thing-000000"
        headers = {"Authorization": f"Bearer {place.token}", "User-Agent": DRIVER}
        async with aiohttp.ClientSession(headers=headers) as session:
            async with session.get(place.url + path) as answer:
                await empty.ask("say", text=await answer.text())
            places = {"ours": (place.server, place.url), "empty handler": (empty, (await empty.ask("where"))["url"])}
            for number in range(_ROUNDS + 1):
                for name in sorted(places, reverse=bool(number % 2)):
                    process, url = places[name]
                    spent = await _load(session, process, url + path)
                    if number:
                        figures[name].append(spent / _REQUESTS * 1e6)
    return [row("GET of one object: CPU", "µs per request", figures, aim={"empty handler": 1.3})]


async def _load(session: aiohttp.ClientSession, process: Process, url: str) -> float:
    before = await process.ask("cpu")
    rest = iter(range(_REQUESTS))

    async def some() -> None:
        for _ in rest:
            async with session.get(url) as answer:
                await answer.read()
                answer.raise_for_status()

    await asyncio.gather(*(some() for _ in range(_AT_ONCE)))
    return float(await process.ask("cpu") - before)
