"""One random history: an operator is drawn, with its users, its network and its restarts; at the end all must be well.

    draw ── users act, the network fails, the engine is stopped, killed and started ── peace ── an hour passes ── judge

What belongs here: the course of a history and its verdict. What does not: its parts (`library`, `users`, `network`).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from operatorkit._runtime import Engine, install_definitions
from operatorkit.controlplane.embedded import EmbeddedServer
from operatorkit.testing.cluster import RecordingCluster
from soak.library import Hall, Journal, Rule, StoredShelf, Traits, faults_of, operator
from soak.network import Faults, Network
from soak.users import NAMESPACES, Users
from soak.virtual import LoopClock

__all__ = ["History", "live", "live_all"]

_LONG_SECONDS = 1000.0
_PROBE_SECONDS, _REOPEN_SECONDS = 11.25, 75.0  # the least between two: this server sends no bookmarks to a quiet watch


@dataclass(slots=True)
class History:
    """What happened in one, and what was wrong at its end."""

    seed: int
    traits: Traits
    faults: Faults
    did: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    runs: int = 0
    requests: int = 0
    injected: int = 0
    restarts: int = 0

    def report(self) -> str:
        """Say what was wrong, and in which circumstances."""
        lines = [f"seed {self.seed} ended wrong", *self.wrong, str(self.traits), str(self.faults), ", ".join(self.did)]
        return "\n  ".join(lines)


class _Process:
    """The operator as a process that is started, stopped and killed."""

    def __init__(
        self, network: Network, namespace: str, history: History, journal: Journal, rng: random.Random
    ) -> None:
        self.cluster = RecordingCluster(network, namespace=namespace)  # type: ignore[arg-type]
        self.network = network
        self._namespace = namespace
        self._history = history
        self._journal = journal
        self._rng = rng
        self.engine = self._made()
        self._task = asyncio.create_task(self.engine.run())

    def _made(self) -> Engine:
        clock = LoopClock()
        app = operator(self._history.traits, self._journal, self._rng)
        return Engine(app, self.cluster, clock=clock, network_clock=clock, namespace=self._namespace)

    async def restart(self) -> None:
        """Stop, or kill, and start again."""
        self._history.restarts += 1
        await self.end(kill=self._rng.random() < 0.5)
        self.engine = self._made()
        self._task = asyncio.create_task(self.engine.run())

    async def end(self, *, kill: bool = False) -> None:
        """Stop, or kill; raise what ended it before that."""
        if kill and not self._task.done():
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            return
        self.engine.stop()
        await self._task


async def live_all(seeds: Iterable[int]) -> list[History]:
    """Live through the histories of some seeds, one after the other, on one control plane."""
    async with EmbeddedServer(tls=False, clock=LoopClock()) as server:
        await install_definitions([StoredShelf, Hall, Rule], server.local)
        return [await live(server, seed) for seed in seeds]


async def live(server: EmbeddedServer, seed: int) -> History:
    """Run the history of a seed."""
    random.seed(seed)  # informers draw their pauses from it
    rng = random.Random(seed)
    history = History(seed, Traits.drawn(rng), Faults.drawn(rng))
    journal, namespace, api = Journal(), f"h{seed}", server.local
    await api.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    network = Network(api, rng, history.faults)
    users = Users(api, namespace, rng, history.traits)
    history.did = users.did
    process = _Process(network, namespace, history, journal, rng)
    try:
        await _unrest(server, users, process, history, rng)
        network.faults, history.traits.failing = Faults(), 0.0
        await network.quiet()
        await users.make_peace()
        await _at_rest(process, history)
        history.wrong += await faults_of(api, namespace, namespace, history.traits, journal)
        history.wrong += await _unquiet(process, journal)
    finally:
        history.runs, history.requests, history.injected = journal.runs, network.calls, network.seen.total()
        await process.end()
        await users.leave()
    return history


async def _unrest(
    server: EmbeddedServer, users: Users, process: _Process, history: History, rng: random.Random
) -> None:
    pause, restarts = rng.choice([0.001, 0.02, 0.1, 0.5]), rng.choice([0.0, 0.0, 0.05])
    for _ in range(rng.choice([20, 60, 150])):
        await users.act()
        if rng.random() < 0.7:
            await asyncio.sleep(rng.random() * pause)
        if rng.random() < restarts:
            await process.network.quiet()  # a status that is carried out after its writer is gone is past a predicate
            await process.restart()
        if rng.random() < 0.03:
            server.core.storage.forget()
        if rng.random() < 0.02:
            history.faults.down = not history.faults.down
    history.faults.down = False


async def _at_rest(process: _Process, history: History) -> None:
    try:
        async with asyncio.timeout(_LONG_SECONDS):
            await asyncio.sleep(_LONG_SECONDS / 2)  # whatever waits for time to pass
            await process.engine.settled()
    except TimeoutError:
        history.wrong.append("it does not settle")


async def _unquiet(process: _Process, journal: Journal) -> list[str]:
    runs, calls = journal.runs, len(process.cluster.calls)
    await asyncio.sleep(_LONG_SECONDS)
    made = [call for call in process.cluster.calls[calls:] if call.resource != "events"]
    watches = [call for call in made if call.verb in {"list", "watch"}]
    found = [f"not silent: {[str(call) for call in made]}"] if len(watches) < len(made) else []
    most = _LONG_SECONDS / _PROBE_SECONDS + 2 * len(process.engine.caches.resources) * _LONG_SECONDS / _REOPEN_SECONDS
    if len(watches) > most:
        found.append(f"{len(watches)} lists and watches where {most:.0f} would do: {Counter(map(str, watches))}")
    if journal.runs != runs:
        found.append(f"{journal.runs - runs} runs for nothing")
    return found
