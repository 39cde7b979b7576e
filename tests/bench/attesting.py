"""The benchmark `attestation`: a look-up among a million occurrences, and a review of three images.

The peers are the aims in milliseconds, so that a ratio below 1 keeps one, and a bare query of the same database.
Occurrences are written once to build/bench with SQLite, and into a new PostgreSQL in each run, where its programs are
installed; OCCURRENCES sets their number.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
from pysequoia import Tsk
from soak.attestation_mutants import GOOD, admission, review
from unit.operators.attestation.server.postgresql import find_binaries, postgresql

from bench.report import Row, row
from operatorkit.clock import SYSTEM_CLOCK
from operators.attestation.server.access import Caller, OpenAccess
from operators.attestation.server.database import Database, database_url
from operators.attestation.server.service import Paging, Service

__all__ = ["attest"]

_FOLDER = Path(__file__).resolve().parents[2] / "build" / "bench"
_COUNT = int(os.environ.get("OCCURRENCES", "1000000"))
_ROUNDS = 5
_LOOK_UPS, _PAGES, _REVIEWS, _COLD = 1000, 100, 400, 100
_CALLER = Caller("bench")
Measures = dict[str, list[float]]


async def attest() -> list[Row]:
    """Measure the server with each database that there is, then admission."""
    path = await asyncio.to_thread(_filled)
    bare = sqlite3.connect(path)
    sql = "SELECT * FROM occurrences WHERE note = ? AND digest = ? ORDER BY id LIMIT 201"

    async def query(note: str, digest: str) -> int:
        return len(bare.execute(sql, (note, digest)).fetchall())

    try:
        rows = await _server(f"sqlite:///{path}", query)
    finally:
        bare.close()
    return [*rows, *await _in_postgresql(), *await _admission()]


async def _in_postgresql() -> list[Row]:
    """Measure the server on a PostgreSQL of its own; nothing where the programs are not installed."""
    if find_binaries() is None:
        sys.stderr.write("attestation: not measured with PostgreSQL: apt-get install postgresql\n")
        return []
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with postgresql(port) as url:
        await (await Database.open(database_url(url))).close()
        bare = await asyncpg.connect(url)
        await _fill(bare)
        sql = "SELECT * FROM occurrences WHERE note = $1 AND digest = $2 ORDER BY id LIMIT 201"

        async def query(note: str, digest: str) -> int:
            return len(await bare.fetch(sql, note, digest))

        try:
            return await _server(url, query, "in PostgreSQL, ")
        finally:
            await bare.close()


async def _fill(connection: Any) -> None:
    """Write the project, the notes and the occurrences into a new PostgreSQL."""
    now = int(time.time() * 1e6)
    await connection.execute("INSERT INTO projects (name, create_time) VALUES ('projects/team', $1)", now)
    columns = ["name", "parent", "kind", "create_time", "update_time", "body"]
    await connection.copy_records_to_table("notes", records=_notes(now), columns=columns)
    columns = ["name", "parent", "kind", "note", "resource", "digest", "fixable", *columns[3:]]
    records = (
        (name, "projects/team", "ATTESTATION", note, resource, digest, False, *rest)
        for name, note, resource, digest, *rest in _rows(now)
    )
    await connection.copy_records_to_table("occurrences", records=records, columns=columns)
    await connection.execute("ANALYZE")


async def _server(url: str, bare: Callable[[str, str], Awaitable[int]], where: str = "") -> list[Row]:
    """Measure look-ups and pages of a database that is filled; `bare` is the look-up without the server."""
    database = await Database.open(database_url(url))
    chance, service = random.Random(1), Service(database, OpenAccess(), clock=SYSTEM_CLOCK)
    look_ups: Measures = {"ours": [], "bare query": [], "1 ms": []}
    pages: Measures = {"ours": [], "10 ms": []}

    def pick() -> tuple[str, str]:
        number = chance.randrange(_COUNT)
        return f"projects/team/notes/n{number % 10}", f"sha256:{number:064x}"

    async def look_up() -> None:
        note, digest = pick()
        found = await service.note_occurrences(_CALLER, "v1", note, Paging(f'digest="{digest}"', 200, ""))
        assert len(found["occurrences"]) == 1

    async def query() -> None:
        assert await bare(*pick()) == 1

    async def page() -> None:
        found = await service.list_objects(_CALLER, "v1", "occurrences", "projects/team", Paging("", 100, ""))
        assert len(found["occurrences"]) == 100

    try:
        for _ in range(_ROUNDS):
            look_ups["ours"].append(_percentile(await _times(look_up, _LOOK_UPS), 0.5))
            look_ups["bare query"].append(_percentile(await _times(query, _LOOK_UPS), 0.5))
            look_ups["1 ms"].append(1.0)
            pages["ours"].append(_percentile(await _times(page, _PAGES), 0.5))
            pages["10 ms"].append(10.0)
    finally:
        await database.close()
    return [
        row(f"look-up of a digest among {_COUNT:,} occurrences, {where}median", "ms", look_ups, aim={"1 ms": 1.0}),
        row(f"page of 100 of {_COUNT:,} occurrences, {where}median", "ms", pages, aim={"10 ms": 1.0}),
    ]


async def _admission() -> list[Row]:
    """Reviews of a Pod of three images, in the process of the webhook: its HTTP and TLS are not in it."""
    warm: Measures = {"ours": [], "2 ms": []}
    slow: Measures = {"ours": [], "10 ms": []}
    cold: Measures = {"ours": [], "25 ms": []}
    body = json.dumps(review(GOOD, GOOD, GOOD)).encode()
    async with admission(Tsk.generate("bench@example.com")) as (dispatcher, reader):
        webhook = dispatcher.find("/validate/core/v1/pods")
        assert webhook is not None

        async def answer() -> None:
            answered = await dispatcher.answer(webhook, body, seconds=5.0)
            assert answered.body["response"]["allowed"]

        async def forgetful() -> None:
            reader.forget()
            await answer()

        for _ in range(_ROUNDS):
            times = await _times(answer, _REVIEWS)
            warm["ours"].append(_percentile(times, 0.5))
            slow["ours"].append(_percentile(times, 0.99))
            cold["ours"].append(_percentile(await _times(forgetful, _COLD), 0.99))
            for figures, name, value in ((warm, "2 ms", 2.0), (slow, "10 ms", 10.0), (cold, "25 ms", 25.0)):
                figures[name].append(value)
    return [
        row("review of three images, facts remembered, median", "ms", warm, aim={"2 ms": 1.0}),
        row("review of three images, facts remembered, 99th percentile", "ms", slow, aim={"10 ms": 1.0}),
        row("review of three images, facts looked up, 99th percentile", "ms", cold, aim={"25 ms": 1.0}),
    ]


async def _times(function: Callable[[], Awaitable[None]], count: int) -> list[float]:
    found = []
    for _ in range(count):
        begun = time.perf_counter()
        await function()
        found.append((time.perf_counter() - begun) * 1e3)
    return sorted(found)


def _percentile(times: list[float], share: float) -> float:
    return times[min(int(len(times) * share), len(times) - 1)]


def _filled() -> Path:
    """Return a database with the occurrences, written unless it is there."""
    path = _FOLDER / f"attestation-{_COUNT}.db"
    if path.exists():
        return path
    _FOLDER.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    asyncio.run(_created(new))
    now = int(time.time() * 1e6)
    connection = sqlite3.connect(new)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("INSERT INTO projects (name, create_time) VALUES ('projects/team', ?)", (now,))
    connection.executemany(
        "INSERT INTO notes (name, parent, kind, create_time, update_time, body) VALUES (?, ?, ?, ?, ?, ?)", _notes(now)
    )
    connection.executemany(
        "INSERT INTO occurrences (name, parent, kind, note, resource, digest, fixable, create_time, update_time, body)"
        " VALUES (?, 'projects/team', 'ATTESTATION', ?, ?, ?, 0, ?, ?, ?)",
        _rows(now),
    )
    connection.commit()
    connection.close()
    new.rename(path)
    return path


async def _created(path: Path) -> None:
    await (await Database.open(database_url(f"sqlite:///{path}"))).close()


def _notes(now: int) -> list[tuple[Any, ...]]:
    body = json.dumps({"kind": "ATTESTATION", "attestation": {}})
    return [(f"projects/team/notes/n{note}", "projects/team", "ATTESTATION", now, now, body) for note in range(10)]


def _rows(now: int) -> Iterator[tuple[Any, ...]]:
    for number in range(_COUNT):
        digest = f"sha256:{number:064x}"
        resource, note = f"https://gcr.io/team/app{number % 1000}@{digest}", f"projects/team/notes/n{number % 10}"
        attestation = {"signatures": [{"signature": "A" * 700}]}
        body = {"kind": "ATTESTATION", "noteName": note, "resourceUri": resource, "attestation": attestation}
        name = f"projects/team/occurrences/{number:036d}"
        yield name, note, resource, digest, now, now, json.dumps(body)
