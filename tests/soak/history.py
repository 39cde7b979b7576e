"""One random history: an operator is drawn, with its users, its network and its restarts; at the end all must be well.

    draw ── users act, the network fails, the engine is stopped, killed and started ── peace ── an hour passes ── judge

What belongs here: the course of a history and its verdict. What does not: its parts (`library`, `users`, `network`).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from operatorkit._runtime import Engine, install_definitions
from operatorkit.cluster._jitter import JITTER
from operatorkit.controlplane.embedded import EmbeddedServer
from operatorkit.errors import AlreadyExists
from operatorkit.testing.cluster import RecordingCluster
from operatorkit.testing.quiescence import wait_until_idle
from soak.library import CONFIG_MAPS, Hall, Rule, RunLog, StoredShelf, Traits, errors_of, operator
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
    replaced: str = ""

    def report(self) -> str:
        """Say what was wrong, and in which circumstances."""
        lines = [f"seed {self.seed} ended wrong", *self.wrong, str(self.traits), str(self.faults), ", ".join(self.did)]
        return "\n  ".join(lines)


class _Process:
    """The operator as a process that is started, stopped and killed."""

    def __init__(self, network: Network, namespace: str, history: History, run_log: RunLog, rng: random.Random) -> None:
        self.cluster = RecordingCluster(network, namespace=namespace)  # type: ignore[arg-type]
        self.network = network
        self._namespace = namespace
        self._history = history
        self._run_log = run_log
        self._rng = rng
        self.clock = LoopClock()
        self.engine = self._made()
        self._task = asyncio.create_task(self.engine.run())

    def _made(self) -> Engine:
        clock = self.clock
        app = operator(self._history.traits, self._run_log, self._rng)
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


class _Servers:
    """The server of a history, and the one that takes its place: an empty one, or one restored from a backup."""

    def __init__(self, server: EmbeddedServer, stack: AsyncExitStack, directory: Path, namespace: str) -> None:
        self.now = server
        self._stack = stack
        self._directory = directory
        self._namespace = namespace
        self._backup: Path | None = None

    async def prepare(self) -> None:
        """Install what a history needs; it may be there."""
        await install_definitions([StoredShelf, Hall, Rule], self.now.local)
        name = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self._namespace}}
        with contextlib.suppress(AlreadyExists):
            await self.now.local.create(NAMESPACES, name)

    async def start(self, data: Path) -> None:
        """Start a server with what `data` holds."""
        server = EmbeddedServer(tls=False, clock=LoopClock(), data=data)
        self.now = await self._stack.enter_async_context(server)
        await self.prepare()

    def back_up(self) -> None:
        """Keep what the server holds now."""
        self._backup = self._directory / "backup"
        shutil.copyfile(self._directory / "first", self._backup)

    async def replace(self, rng: random.Random) -> str:
        """Start the other one, and let it count on; the first one goes on, unless its watches are ended."""
        how = "restored" if self._backup is not None else "empty"
        await self.start(self._backup or self._directory / "second")
        for number in range(rng.choice([0, 50, 400])):  # of others, who have been faster than our watches
            obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"o{number}"}}
            with contextlib.suppress(AlreadyExists):
                await self.now.local.create(CONFIG_MAPS, obj, namespace="default")
        return how


async def live_all(seeds: Iterable[int]) -> list[History]:
    """Live through the histories of some seeds, one after the other; on one control plane, where it is not replaced."""
    async with EmbeddedServer(tls=False, clock=LoopClock()) as server:
        return [await live(server, seed) for seed in seeds]


async def live(server: EmbeddedServer, seed: int) -> History:
    """Run the history of a seed."""
    JITTER.seed(seed)  # informers draw their pauses from it
    rng = random.Random(seed)
    history = History(seed, Traits.drawn(rng), Faults.drawn(rng))
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = _Servers(server, stack, directory, f"h{seed}")
        if rng.random() < 0.3:
            history.replaced = "soon"
            await servers.start(directory / "first")
        else:
            await servers.prepare()
        await _live(servers, history, rng)
    return history


async def _live(servers: _Servers, history: History, rng: random.Random) -> None:
    run_log, namespace, api = RunLog(), f"h{history.seed}", servers.now.local
    network = Network(api, rng, history.faults)
    users = Users(api, namespace, rng, history.traits)
    history.did = users.did
    process = _Process(network, namespace, history, run_log, rng)
    try:
        await _unrest(servers, users, process, history, rng)
        network.faults, history.traits.failing = Faults(), 0.0
        await network.quiet()
        await users.make_peace()
        await _at_rest(process, history)
        if history.replaced:
            run_log.outside.clear()  # what was lost with its server was never finalized
        history.wrong += await errors_of(users.api, namespace, namespace, history.traits, run_log)
        history.wrong += await _unquiet(process, run_log)
    finally:
        history.runs, history.requests, history.injected = run_log.runs, network.calls, network.seen.total()
        await process.end()
        await users.leave()


async def _unrest(servers: _Servers, users: Users, process: _Process, history: History, rng: random.Random) -> None:
    pause, restarts = rng.choice([0.001, 0.02, 0.1, 0.5]), rng.choice([0.0, 0.0, 0.05])
    acts = rng.choice([20, 60, 150])
    replaced_at = rng.randrange(acts) if history.replaced else acts
    backed_up_at = rng.randrange(2 * acts)  # or not at all before it is replaced
    for act in range(acts):
        if history.replaced and act == backed_up_at < replaced_at:
            servers.back_up()
        if act == replaced_at:
            await _replace(servers, users, process, history, rng)
        await users.act()
        if rng.random() < 0.7:
            await asyncio.sleep(rng.random() * pause)
        if rng.random() < restarts:
            await process.network.quiet()  # a status that is carried out after its writer is gone is past a predicate
            await process.restart()
        if rng.random() < 0.03:
            servers.now.core.storage.forget()
        if rng.random() < 0.02:
            process.clock.stepped += timedelta(hours=rng.uniform(-2, 2))
        if rng.random() < 0.02:
            history.faults.down = not history.faults.down
    history.faults.down = False


async def _replace(servers: _Servers, users: Users, process: _Process, history: History, rng: random.Random) -> None:
    """Let another server take the place of the one there is, so that connections break, or fall silent."""
    await process.network.quiet()
    history.faults.down = rng.random() < 0.5
    history.replaced = await servers.replace(rng)
    users.did.append(f"the server is replaced: {history.replaced}")
    process.network.replace(servers.now.local, silent=rng.random() < 0.5)
    users.api = servers.now.local
    history.faults.down = False


async def _at_rest(process: _Process, history: History) -> None:
    try:
        async with asyncio.timeout(_LONG_SECONDS):
            await asyncio.sleep(_LONG_SECONDS / 2)  # whatever waits for time to pass
            await wait_until_idle(process.engine)
    except TimeoutError:
        history.wrong.append("it does not settle")


async def _unquiet(process: _Process, run_log: RunLog) -> list[str]:
    runs, calls = run_log.runs, len(process.cluster.calls)
    await asyncio.sleep(_LONG_SECONDS)
    made = [call for call in process.cluster.calls[calls:] if call.resource != "events"]
    watches = [call for call in made if call.verb in {"list", "watch"}]
    found = [f"not silent: {[str(call) for call in made]}"] if len(watches) < len(made) else []
    most = _LONG_SECONDS / _PROBE_SECONDS + 2 * len(process.engine.caches.informers()) * _LONG_SECONDS / _REOPEN_SECONDS
    if len(watches) > most:
        found.append(f"{len(watches)} lists and watches where {most:.0f} would do: {Counter(map(str, watches))}")
    if run_log.runs != runs:
        found.append(f"{run_log.runs - runs} runs for nothing")
    return found
