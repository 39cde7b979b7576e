"""Two replicas of an operator, whose leader is ended again and again: python -m soak.replicas [--minutes N] [--real].

Objects change all the time. The leader is killed and stopped (SIGTERM) in turn, and a new replica takes its place as a
standby. At the end every object must be reconciled, and no object may have been reconciled by two replicas at once.
The time of a handover is measured from the signal to the first run of the next leader.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from operatorkit.cluster import LiveCluster, PatchType, load_config
from operatorkit.kinds import LEASES
from operatorkit.names import ApiResource
from operatorkit.testing import eventually
from operatorkit.testing.backends import start

NOTES = ApiResource("replicas.example.io", "v1", "Note", "notes", namespaced=True)
_DEFINITIONS = ApiResource(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)
_NAMESPACE = "default"

OPERATOR = '''
import asyncio
import os
import time

from operatorkit import Context, Model, Operator, Resource

LOG = os.open(os.environ["RUNS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


class Spec(Model):
    text: str = ""


class Status(Model):
    text: str = ""


class Note(Resource[Spec, Status], group="replicas.example.io", version="v1"):
    """A text to copy into the status."""


app = Operator("twins")


def log(what: str, key: object) -> None:
    os.write(LOG, f"{what} {key} {os.getpid()} {time.monotonic()}\\n".encode())


@app.reconcile(Note)
async def reconcile(note: Note, ctx: Context) -> None:
    log("begin", ctx.key)
    try:
        await asyncio.sleep(0.005)
        note.status.text = note.spec.text
    finally:
        log("end", ctx.key)
'''


@dataclass
class Pair:
    """The replicas, and what was done to them."""

    api: LiveCluster
    folder: Path
    processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    logs: dict[int, Path] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    ends: list[tuple[str, int, float]] = field(default_factory=list)  # signal, pid, when

    def start(self) -> None:
        command = [sys.executable, "-m", "operatorkit", "run", "twins.py", "--leader-elect", "--kubeconfig", "config"]
        path = self.folder / f"log-{next(self.numbers)}"
        with path.open("wb") as log:
            process = subprocess.Popen(
                [*command, "--namespace", _NAMESPACE, "--own-namespace", _NAMESPACE],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, "RUNS": str(self.folder / "runs")},
            )
        self.processes[process.pid] = process
        self.logs[process.pid] = path

    def leader(self) -> int:
        """Return the process of the last run that began."""
        lines = (self.folder / "runs").read_text().splitlines() if (self.folder / "runs").exists() else []
        pid = next((int(line.split()[2]) for line in reversed(lines) if line.startswith("begin")), 0)
        return pid if pid in self.processes else 0

    def has_standby(self, leader: int) -> bool:
        """Return whether another replica is ready to take over."""
        ready = "is ready, and waits to become the leader"
        return any(pid != leader and ready in self.logs[pid].read_text() for pid in self.processes)

    async def end_leader(self, number: signal.Signals) -> None:
        pid = await eventually(self.leader, timeout=120)
        await eventually(lambda: self.has_standby(pid), timeout=120)
        self.ends.append((number.name, pid, time.monotonic()))
        self.processes[pid].send_signal(number)
        await eventually(lambda: self.processes[pid].poll() is not None, timeout=60)
        del self.processes[pid]
        self.start()
        await eventually(self.leader, timeout=60)

    def runs(self) -> list[tuple[str, str, int, float]]:
        lines = [line.split() for line in (self.folder / "runs").read_text().splitlines()]
        return [(what, key, int(pid), float(at)) for what, key, pid, at in lines]

    def overlaps(self) -> list[str]:
        killed = {pid: at for name, pid, at in self.ends if name == "SIGKILL"}
        running: dict[str, set[int]] = {}
        found = []
        for what, key, pid, at in self.runs():
            others = running.setdefault(key, set())
            if what == "end":
                others.discard(pid)
                continue
            others -= {other for other in others if killed.get(other, at) < at}
            found += [f"{key} by {pid} beside {other}" for other in others]
            others.add(pid)
        return found

    def handovers(self, name: str) -> list[float]:
        """Return the seconds from each signal of a kind to the first run of another process."""
        runs, found = self.runs(), []
        for sent, pid, at in self.ends:
            later = (when for what, _, other, when in runs if what == "begin" and other != pid and when > at)
            if sent == name:
                found.append(next(later, float("inf")) - at)
        return found


async def churn(api: LiveCluster, count: int, stop: asyncio.Event) -> int:
    """Change one object after the other, about 50 a second, until `stop`; return the number of changes."""
    for number in itertools.count():
        if stop.is_set():
            return number
        name = f"note-{number % count}"
        body = {"apiVersion": NOTES.api_version, "kind": NOTES.kind, "metadata": {"name": name}}
        await api.patch(
            NOTES,
            name,
            {**body, "spec": {"text": str(number)}},
            patch_type=PatchType.APPLY,
            namespace=_NAMESPACE,
            field_manager="soak",
        )
        await asyncio.sleep(0.02)
    raise AssertionError("unreachable")


async def _behind(api: LiveCluster) -> list[str]:
    notes = (await api.list(NOTES, namespace=_NAMESPACE)).items
    return [one["metadata"]["name"] for one in notes if one.get("status", {}).get("text") != one["spec"]["text"]]


async def live(plane: Any, folder: Path, *, minutes: float, every: float, count: int) -> int:
    """End leaders for so long, and report; 1 when something was lost or reconciled by two."""
    (folder / "twins.py").write_text(OPERATOR)
    plane.write_kubeconfig(folder / "config")
    render = [sys.executable, "-m", "operatorkit", "crd", "render", "twins.py"]
    environment = {**os.environ, "RUNS": str(folder / "runs")}
    rendered = await asyncio.to_thread(
        subprocess.run, render, capture_output=True, check=True, cwd=folder, env=environment
    )
    definition = yaml.safe_load(rendered.stdout)
    async with LiveCluster(load_config(plane.kubeconfig())) as api:
        await api.patch(
            *(_DEFINITIONS, definition["metadata"]["name"], definition),
            patch_type=PatchType.APPLY,
            field_manager="soak",
        )
        pair, stop = Pair(api, folder), asyncio.Event()
        await eventually(lambda: _listed(api), timeout=60)
        try:
            pair.start()
            pair.start()
            changing = asyncio.create_task(churn(api, count, stop))
            until = time.monotonic() + minutes * 60
            for number in itertools.cycle([signal.SIGKILL, signal.SIGTERM]):
                if time.monotonic() > until:
                    break
                begun = time.monotonic()
                await pair.end_leader(number)
                await asyncio.sleep(max(1.0, every - (time.monotonic() - begun)))
            stop.set()
            changes = await changing
            await eventually(lambda: _none_behind(api), timeout=120)
            transitions = (await api.get(LEASES, "twins", namespace=_NAMESPACE))["spec"]["leaseTransitions"]
        finally:
            for process in pair.processes.values():
                process.kill()
                process.wait()
    overlaps = pair.overlaps()
    print(f"{changes} changes, {len(pair.runs()) // 2} runs, {len(pair.ends)} ends, {transitions} transitions")
    for name in ("SIGKILL", "SIGTERM"):
        if times := sorted(pair.handovers(name)):
            p95 = times[min(len(times) - 1, int(len(times) * 0.95))]
            print(
                f"handover after {name}: median {statistics.median(times):.2f} s, p95 {p95:.2f} s, most {times[-1]:.2f} s"
            )
    print(f"objects reconciled by two replicas at once: {len(overlaps)}", *overlaps[:10], sep="\n  ")
    print(f"objects lost: {len(await _lost(plane))}")
    return 1 if overlaps or await _lost(plane) else 0


async def _lost(plane: Any) -> list[str]:
    async with LiveCluster(load_config(plane.kubeconfig())) as api:
        return await _behind(api)


async def _listed(api: LiveCluster) -> bool:
    await api.list(NOTES, namespace=_NAMESPACE)
    return True


async def _none_behind(api: LiveCluster) -> bool:
    return not await _behind(api)


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m soak.replicas")
    parser.add_argument("--minutes", type=float, default=10, help="for how long (default: 10)")
    parser.add_argument("--every", type=float, default=20, help="seconds between two ends of a leader (default: 20)")
    parser.add_argument("--objects", type=int, default=1000, help="how many objects change (default: 1000)")
    parser.add_argument("--real", action="store_true", help="on a real kube-apiserver")
    options = parser.parse_args()
    with start("real" if options.real else "embedded") as plane, tempfile.TemporaryDirectory() as folder:
        work = live(plane, Path(folder), minutes=options.minutes, every=options.every, count=options.objects)
        return asyncio.run(work)


if __name__ == "__main__":
    sys.exit(main())
