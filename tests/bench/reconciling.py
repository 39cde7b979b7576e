"""The benchmarks `reconcile` and `latency`."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import defaultdict
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import Any, cast

from bench.actors import ACTORS
from bench.arena import Arena, arena, until
from bench.control import Process
from bench.kinds import THINGS
from bench.report import Row, row
from operatorkit.cluster import PatchType

__all__ = ["latency", "reconcile"]

_OBJECTS = 300
_ROUNDS = 5
_PATCHES = 25
_WORKS = {
    "noop": ("nothing to do", ["ours", "kopf on.event", "kopf on.create", "bare informer"]),
    "status": ("one status write", list(ACTORS)),
    "child": ("one child", list(ACTORS)),
}
_AIMS = {"noop": {}, "status": {"bare request": 1.3, "kopf on.event": 0.25}, "child": {}}
_REQUIRED = {"noop": 0.0, "status": 1.0, "child": 1.0}
Figures = dict[str, list[float]]


@dataclass(frozen=True, slots=True)
class _Player:
    who: str
    namespace: str
    process: Process


async def reconcile() -> list[Row]:
    """Measure what each costs for an object that is created: nothing to do, one status write, one child."""
    rows: list[Row] = []
    for work, (name, whom) in _WORKS.items():
        cpu, wall, requests = await _compare(work, whom)
        rows.append(row(f"{name}: CPU", "ms per object", cpu, aim=_AIMS[work], wall=wall))
        requests.pop("bare request", None)
        requests["needed"] = [_REQUIRED[work]] * _ROUNDS
        rows.append(row(f"{name}: requests", "per object", requests, aim={"needed": 1.0}))
    return rows


async def _compare(work: str, whom: list[str]) -> tuple[Figures, Figures, Figures]:
    cpu: Figures = defaultdict(list)
    wall: Figures = defaultdict(list)
    requests: Figures = defaultdict(list)
    async with arena() as place, AsyncExitStack() as stack:
        players = await _start(place, stack, work, whom)
        for number in range(_ROUNDS + 1):
            for player in _in_turn(players, number):
                measured = await _round(place, player)
                if number:  # the first warms up
                    for figures, value in zip((cpu, wall, requests), measured, strict=True):
                        figures[player.who].append(value / _OBJECTS)
    return cpu, wall, requests


async def _start(place: Arena, stack: AsyncExitStack, work: str, whom: list[str]) -> list[_Player]:
    players = []
    for who in whom:
        namespace = await place.namespace(f"{work}-{who.replace(' ', '-').replace('.', '-')}")
        process = Process("bench.actors", who, work, place.url, place.token, namespace)
        await stack.enter_async_context(process)
        players.append(_Player(who, namespace, process))
    for player in players:
        process = player.process
        await until(lambda process=process: process.ask("ready"), f"{player.who} to start")
        await place.quiet(player.namespace)
    return players


def _in_turn(players: list[_Player], number: int) -> list[_Player]:
    """Let another one begin in each round: whoever comes first or last has no advantage."""
    start = number % len(players)
    return players[start:] + players[:start]


async def _round(place: Arena, player: _Player) -> tuple[float, float, float]:
    """Return CPU and wall milliseconds, and requests, of one who does its work for all objects."""
    process, namespace = player.process, player.namespace
    handled = await process.ask("state")
    if player.who == "bare request":
        objects = await place.create(namespace, _OBJECTS)
        requests, cpu, began = await _before(place, player)
        await process.ask("do", objects=[_small(obj) for obj in objects])
    else:
        requests, cpu, began = await _before(place, player)
        await place.create(namespace, _OBJECTS)

    async def done() -> bool:
        return bool(await process.ask("state") >= handled + _OBJECTS)

    await until(done, f"{player.who} to handle {_OBJECTS} objects")
    ended = await place.quiet(namespace)
    used = await process.ask("cpu") - cpu
    sent = await place.server.ask("requests", namespace=namespace) - requests
    await place.clear(namespace)
    return used * 1e3, (ended - began) * 1e3, sent


async def _before(place: Arena, player: _Player) -> tuple[int, float, float]:
    requests = await place.server.ask("requests", namespace=player.namespace)
    return requests, await player.process.ask("cpu"), time.perf_counter()


def _small(obj: dict[str, Any]) -> dict[str, Any]:
    meta = {name: obj["metadata"][name] for name in ("name", "uid")}
    return {"metadata": meta, "spec": obj["spec"]}


async def latency() -> list[Row]:
    """Measure the time from sending a change of the spec to the status that answers it, one after the other."""
    figures: Figures = defaultdict(list)
    whom = ["ours", "kopf on.event", "kopf on.create", "bare informer"]
    async with arena() as place, AsyncExitStack() as stack:
        players = await _start(place, stack, "status", whom)
        for player in players:
            await place.create(player.namespace, 1)
            await place.quiet(player.namespace)
        for number in range(_ROUNDS + 1):
            for player in _in_turn(players, number):
                times = await _answers(place, player.namespace, first=2 + number * _PATCHES)
                if number:
                    figures[player.who].append(statistics.median(times) * 1e3)
    return [row("PATCH to status seen: wall time", "ms", figures)]


async def _answers(place: Arena, namespace: str, *, first: int) -> list[float]:
    name, times = "thing-000000", []
    version = (await place.api.list(THINGS, namespace=namespace)).resource_version
    events = place.api.watch(THINGS, namespace=namespace, resource_version=version)
    async with aclosing(cast("Any", events)), asyncio.timeout(120):
        for value in range(first, first + _PATCHES):
            began = time.perf_counter()
            body = {"spec": {"value": value}}
            await place.api.patch(THINGS, name, body, patch_type=PatchType.MERGE, namespace=namespace)
            async for event in events:
                if (event.object.get("status") or {}).get("observed") == value:
                    break
            times.append(time.perf_counter() - began)
            await asyncio.sleep(0.01)  # an operator between two changes is idle
    return times
