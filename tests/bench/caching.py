"""The benchmark `cache`, and the processes that it compares: `python -m bench.caching WHO ...`, a new one each time."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections import defaultdict
from typing import Any

import aiohttp
import kopf
import orjson

from bench.actors import config_of
from bench.arena import Arena, arena
from bench.control import Process, answer_for_ever, resident_bytes
from bench.kinds import THINGS
from bench.report import Row, row
from operatorkit.clock import SYSTEM_CLOCK
from operatorkit.cluster import Informer, LiveCluster

__all__ = ["cache"]

_ROUNDS = 3
_SIZES = {10_000: ["ours", "bare list", "kopf on.event"], 1_000: ["ours", "kopf.index"]}
_PAGE = 500
Figures = dict[str, list[float]]


async def cache() -> list[Row]:
    """Measure CPU, wall time and memory of reading all objects of a kind into memory."""
    rows = []
    async with arena() as place:
        for size, whom in _SIZES.items():
            namespace = await place.namespace(f"cache-{size}")
            await place.server.ask("fill", namespace=namespace, number=size)
            cpu, wall, memory = await _compare(place, whom, namespace, size)
            aims = {"bare list": 1.3} if "bare list" in whom else {}
            rows.append(row(f"cache of {size:,} objects: CPU", "ms", cpu, aim=aims, wall=wall))
            if size == max(_SIZES):
                rows.append(row(f"cache of {size:,} objects: wall time", "ms", wall, aim=aims))
                rows.append(row(f"cache of {size:,} objects: memory", "bytes per object", memory))
    return rows


async def _compare(place: Arena, whom: list[str], namespace: str, size: int) -> tuple[Figures, Figures, Figures]:
    cpu: Figures = defaultdict(list)
    wall: Figures = defaultdict(list)
    memory: Figures = defaultdict(list)
    for number in range(_ROUNDS):
        for who in whom[number % len(whom) :] + whom[: number % len(whom)]:
            async with Process("bench.caching", who) as process:
                found = await process.ask("sync", url=place.url, token=place.token, namespace=namespace, size=size)
            cpu[who].append(found["cpu"] * 1e3)
            wall[who].append(found["wall"] * 1e3)
            memory[who].append(found["bytes"] / size)
    return cpu, wall, memory


async def _ours(url: str, token: str, namespace: str, size: int) -> Any:
    api = LiveCluster(config_of(url, token))
    await api.__aenter__()
    informer = Informer(api, THINGS, namespace=namespace, clock=SYSTEM_CLOCK)
    task = asyncio.create_task(informer.run())
    await informer.synced()
    assert len(informer.cache) == size
    return api, informer, task


async def _bare(url: str, token: str, namespace: str, size: int) -> Any:
    """List in the same pages, decode, and keep what was decoded."""
    kept: dict[str, Any] = {}
    path = f"{url}/apis/{THINGS.api_version}/namespaces/{namespace}/{THINGS.plural}"
    session = aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}, read_bufsize=1 << 20)
    more = ""
    while True:
        query = {"limit": str(_PAGE)} | ({"continue": more} if more else {})
        async with session.get(path, params=query) as answer:
            page = orjson.loads(await answer.read())
        kept |= {obj["metadata"]["name"]: obj for obj in page["items"]}
        more = page["metadata"].get("continue", "")
        if not more:
            break
    assert len(kept) == size
    return session, kept


async def _kopf(url: str, token: str, namespace: str, size: int, *, index: bool) -> Any:
    registry = kopf.OperatorRegistry()
    seen = 0
    complete = asyncio.Event()
    logging.getLogger("kopf").setLevel(logging.ERROR)

    async def login(**_: Any) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(server=url, token=token)

    async def see(name: str, **_: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == size:
            complete.set()
        return {name: name}

    kopf.on.login(registry=registry, id="login")(login)
    on = kopf.index if index else kopf.on.event
    on(THINGS.group, THINGS.version, THINGS.plural, registry=registry, id="see")(see)
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    operator = kopf.operator(registry=registry, settings=settings, standalone=True, namespaces=[namespace])
    task = asyncio.create_task(operator)
    await complete.wait()
    return registry, task


async def _kopf_events(url: str, token: str, namespace: str, size: int) -> Any:
    return await _kopf(url, token, namespace, size, index=False)


async def _kopf_index(url: str, token: str, namespace: str, size: int) -> Any:
    return await _kopf(url, token, namespace, size, index=True)


_WAYS = {"ours": _ours, "bare list": _bare, "kopf on.event": _kopf_events, "kopf.index": _kopf_index}


async def _main() -> None:
    way = _WAYS[sys.argv[1]]
    kept: list[Any] = []

    async def sync(url: str, token: str, namespace: str, size: int) -> dict[str, float]:
        memory, cpu, began = resident_bytes(), time.process_time(), time.perf_counter()
        kept.append(await way(url, token, namespace, size))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - began
        return {"cpu": cpu, "wall": wall, "bytes": resident_bytes() - memory}

    await answer_for_ever({"sync": sync})


if __name__ == "__main__":
    asyncio.run(_main())
