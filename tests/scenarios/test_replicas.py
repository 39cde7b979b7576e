"""Two replicas of an operator as processes: killed, stopped, cut off from the API server, robbed of their Lease, blocked.

In each of them, no object is reconciled by two replicas at once: they write the begin and the end of each run into one
file.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
import yaml

from operatorkit.cli import ExitCode
from operatorkit.cluster import PatchType
from operatorkit.kinds import LEASES
from operatorkit.names import ApiResource
from operatorkit.testing import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NOTES = ApiResource("replicas.example.io", "v1", "Note", "notes", namespaced=True)
COUNT = 6

OPERATOR = '''
import asyncio
import os
import time

import kopf

from operatorkit import Context, Model, Operator, Resource

LOG = os.open(os.environ["RUNS"], os.O_WRONLY | os.O_APPEND)


class Spec(Model):
    text: str = ""


class Status(Model):
    text: str = ""


class Note(Resource[Spec, Status], group="replicas.example.io", version="v1"):
    """A text to copy into the status."""


app = Operator("twins")


def log(what: str, key: object) -> None:
    os.write(LOG, f"{what} {key} {os.getpid()}\\n".encode())


@app.reconcile(Note)
async def reconcile(note: Note, ctx: Context) -> None:
    log("begin", ctx.key)
    try:
        if note.spec.text == "block":
            time.sleep(600)
        await asyncio.sleep(0.02)
        note.status.text = note.spec.text
    finally:
        log("end", ctx.key)


@kopf.on.event("replicas.example.io", "v1", "notes")
def handle(name: str, **_: object) -> None:
    log("handled", name)
'''


class Gate:
    """Passes connections on to the API server; closed, they stay open and nothing arrives any more."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname, parts.port)
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()
        self._open.set()

    def close(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._open.wait()
            upstream_reader, upstream_writer = await asyncio.open_connection(*self._upstream)
            try:
                async with asyncio.TaskGroup() as pumps:
                    pumps.create_task(self._pump(reader, upstream_writer))
                    pumps.create_task(self._pump(upstream_reader, writer))
            finally:
                upstream_writer.transport.abort()
        except* (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._open.wait()
            writer.write(data)
            await writer.drain()
        raise ConnectionAbortedError


@dataclass
class Replicas:
    """The processes of one operator, and the file of their runs."""

    cluster: Any
    folder: Path
    gate: Gate
    runs: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    killed: set[int] = field(default_factory=set)

    def start(self) -> subprocess.Popen[bytes]:
        number = len(self.processes)
        command = [sys.executable, "-m", "operatorkit", "run", str(self.folder / "twins.py"), "--leader-elect"]
        namespace = self.cluster.namespace
        options = ["--namespace", namespace, "--own-namespace", namespace, "--kubeconfig", str(self.folder / "config")]
        with (self.folder / f"log-{number}").open("wb") as log:
            process = subprocess.Popen(
                [*command, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "RUNS": str(self.runs)},
                cwd=self.folder,
            )
        self.processes.append(process)
        return process

    def log(self, process: subprocess.Popen[bytes]) -> str:
        return (self.folder / f"log-{self.processes.index(process)}").read_text()

    async def logged(self, process: subprocess.Popen[bytes], text: str) -> None:
        def found() -> bool:
            if process.poll() is not None and text not in self.log(process):
                pytest.fail(f"{text!r} is missing: {self.log(process)}")
            return text in self.log(process)

        await eventually(found, timeout=120, message=f"{text!r} is logged")

    async def ended(self, process: subprocess.Popen[bytes]) -> int:
        await eventually(lambda: process.poll() is not None, timeout=120, message="the process ends")
        return process.returncode

    async def leader_and_standby(self) -> tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]:
        leader = self.start()
        await self.logged(leader, "twins is ready; it reconciles Note")
        standby = self.start()
        await self.logged(standby, "twins is ready, and waits to become the leader")
        return leader, standby

    async def write(self, text: str, *, names: range = range(COUNT)) -> None:
        for number in names:
            body = {
                "apiVersion": NOTES.api_version,
                "kind": NOTES.kind,
                "metadata": {"name": f"note-{number}"},
                "spec": {"text": text},
            }
            await self.cluster.patch(
                NOTES,
                f"note-{number}",
                body,
                patch_type=PatchType.APPLY,
                namespace=self.cluster.namespace,
                field_manager="test",
            )

    async def reconciled(self, text: str) -> None:
        async def so() -> bool:
            found = (await self.cluster.list(NOTES, namespace=self.cluster.namespace)).items
            return [one.get("status", {}).get("text") for one in found] == [text] * COUNT

        await eventually(so, timeout=120, message=f"all notes say {text!r}")

    def pids(self, what: str) -> set[int]:
        """Return the processes that wrote lines of a kind: runs that began, or events that kopf's handler received."""
        lines = [line.split() for line in self.runs.read_text().splitlines()]
        return {int(pid) for kind, _, pid in lines if kind == what}

    def overlaps(self) -> list[str]:
        """Return the runs that began while another process had one of the same object, which had not been killed."""
        found, running = [], dict[str, set[str]]()
        for line in self.runs.read_text().splitlines():
            what, key, pid = line.split()
            if what == "handled":
                continue
            others = running.setdefault(key, set())
            if what == "end":
                others.discard(pid)
                continue
            others -= {other for other in others if int(other) in self.killed}
            if others:
                found.append(f"{line} beside {sorted(others)}")
            others.add(pid)
        return found


@pytest_asyncio.fixture
async def replicas(cluster, controlplane, tmp_path):
    (tmp_path / "twins.py").write_text(OPERATOR)
    (tmp_path / "runs").touch()
    async with Gate(controlplane.url) as gate:
        config = yaml.safe_load(controlplane.write_kubeconfig(tmp_path / "config").read_text())
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{gate.port}"
        (tmp_path / "config").write_text(yaml.safe_dump(config))
        render = [sys.executable, "-m", "operatorkit", "crd", "render", str(tmp_path / "twins.py")]
        rendered = await asyncio.to_thread(
            subprocess.run, render, capture_output=True, check=True, env={**os.environ, "RUNS": str(tmp_path / "runs")}
        )
        await apply_definition(cluster, yaml.safe_load(rendered.stdout))
        found = Replicas(cluster, tmp_path, gate, tmp_path / "runs")
        try:
            yield found
        finally:
            for process in found.processes:
                if process.poll() is None:
                    process.kill()
                process.wait()


async def apply_definition(cluster: Any, definition: dict[str, Any]) -> None:
    definitions = ApiResource(
        "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
    )
    name = definition["metadata"]["name"]
    await cluster.patch(definitions, name, definition, patch_type=PatchType.APPLY, field_manager="test", force=True)

    async def served() -> bool:
        await cluster.list(NOTES, namespace=cluster.namespace)
        return True

    await eventually(served)


async def test_the_standby_takes_over_from_a_leader_that_is_killed(replicas):
    leader, standby = await replicas.leader_and_standby()
    await replicas.write("one")
    await replicas.reconciled("one")
    replicas.killed.add(leader.pid)
    leader.kill()
    await replicas.write("two")
    await replicas.reconciled("two")
    assert "leads: it holds the Lease" in replicas.log(standby)
    assert replicas.pids("begin") == {leader.pid, standby.pid}
    assert replicas.overlaps() == []


async def test_a_leader_that_is_stopped_releases_its_lease_and_the_standby_takes_over(replicas):
    leader, standby = await replicas.leader_and_standby()
    await replicas.write("one")
    await eventually(lambda: replicas.pids("handled") == {leader.pid}, timeout=120)
    leader.send_signal(signal.SIGTERM)
    await replicas.write("two")
    assert await replicas.ended(leader) == ExitCode.DONE
    assert re.search(r"the Lease \S+/twins is released", replicas.log(leader))
    await replicas.reconciled("two")
    await eventually(lambda: replicas.pids("handled") == {leader.pid, standby.pid}, timeout=120)
    standby.send_signal(signal.SIGTERM)
    assert await replicas.ended(standby) == ExitCode.DONE
    lease = await replicas.cluster.get(LEASES, "twins", namespace=replicas.cluster.namespace)
    assert (lease["spec"]["holderIdentity"], lease["spec"]["leaseTransitions"]) == ("", 1)
    assert replicas.overlaps() == []


async def test_a_leader_that_cannot_reach_the_api_server_ends_and_the_standby_takes_over_when_it_is_back(replicas):
    leader, standby = await replicas.leader_and_standby()
    await replicas.write("one")
    await replicas.reconciled("one")
    replicas.gate.close()
    assert await replicas.ended(leader) == ExitCode.LEASE_LOST
    assert re.search(
        r"operatorkit: the Lease \S+/twins is lost: it could not be renewed for 10 s", replicas.log(leader)
    )
    assert standby.poll() is None, "a standby has nothing to lose"
    replicas.gate.open()
    await replicas.write("two")
    await replicas.reconciled("two")
    assert replicas.pids("begin") == {leader.pid, standby.pid}
    assert replicas.overlaps() == []


async def test_a_leader_whose_lease_is_stolen_ends_with_an_exit_code_of_its_own(replicas):
    leader = replicas.start()
    await replicas.write("one")
    await replicas.reconciled("one")
    stolen = {"spec": {"holderIdentity": "thief"}}
    await replicas.cluster.patch(
        LEASES, "twins", stolen, patch_type=PatchType.MERGE, namespace=replicas.cluster.namespace
    )
    assert await replicas.ended(leader) == ExitCode.LEASE_LOST == 3
    assert "is lost: thief holds it now; this replica exits" in replicas.log(leader)
    assert "Traceback" not in replicas.log(leader)


async def test_a_leader_whose_event_loop_is_blocked_ends_before_another_replica_leads(replicas):
    leader, standby = await replicas.leader_and_standby()
    await replicas.write("block", names=range(1))
    assert await replicas.ended(leader) == ExitCode.LEASE_LOST
    assert "its event loop is blocked" in replicas.log(leader)
    assert "leads: it holds the Lease" not in replicas.log(standby)
    replicas.killed.add(leader.pid)
    await replicas.write("two")
    await replicas.reconciled("two")
    assert replicas.overlaps() == []


async def test_a_standby_that_is_stopped_ends_and_leaves_the_leader_alone(replicas):
    leader, standby = await replicas.leader_and_standby()
    standby.send_signal(signal.SIGTERM)
    assert await replicas.ended(standby) == ExitCode.DONE
    await replicas.write("one")
    await replicas.reconciled("one")
    assert leader.poll() is None
