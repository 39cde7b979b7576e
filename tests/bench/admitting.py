"""The benchmark `admission`: Pods of three images through a real kube-apiserver, and how soon a revocation shows.

The operator and the metadata server are processes of their own, and so is the control plane; Pods are created as dry
runs, so that nothing but admission grows. `no webhook` is the same Pod in the operator's own namespace, which the
webhooks leave out: the difference is the time of two reviews, by the mutating webhook and the validating one. All of
them share the machine's CPUs with this driver. The peers are the aims, and `in the process` is the CPU time of the
same review without HTTP, TLS and the API server: what the decision itself takes, on a machine that is busy too.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
from pysequoia import Tsk
from scenarios.attestation.servers import attest_serve
from scenarios.attestation.team import PODS, Team, image, pod
from soak.attestation_mutants import GOOD, admission, review

from bench.report import Row, row
from operatorkit.cluster import LiveCluster, load_config
from operatorkit.controlplane.real import RealControlPlane, find
from operatorkit.errors import AlreadyExists, ClusterError, Forbidden, NotFound
from operatorkit.events import EVENTS
from operatorkit.kinds import NAMESPACES
from operators.attestation import AttestationAuthority, GrafeasServer, ImagePolicy, ImageRevocation

__all__ = ["admit"]

_ROUNDS = 3
_PODS, _AT_ONCE = 100, 16
_OWN, _TEAM = "attestation-own", "team"
_TICKS = os.sysconf("SC_CLK_TCK")
Measures = dict[str, list[float]]


class _Driver(LiveCluster):
    """The client of the benchmark, with the namespace of the team."""

    namespace = _TEAM


async def admit() -> list[Row]:
    """Measure the latency of a creation, the rate of creations, and how soon a revocation shows."""
    decisions = await _decisions()
    if find() is None:
        sys.stderr.write("admission: not measured with kube-apiserver: no Kubernetes binaries\n")
        return decisions
    with TemporaryDirectory() as folder:
        plane = RealControlPlane()
        await asyncio.to_thread(plane.__enter__)
        try:
            config = plane.write_kubeconfig(Path(folder) / "config")
            async with (
                attest_serve(Path(folder), "bench") as server,
                _Driver(load_config(str(config))) as api,
                aiohttp.ClientSession() as session,
            ):
                for name in (_OWN, _TEAM):
                    with suppress(AlreadyExists):
                        await api.create(NAMESPACES, {"metadata": {"name": name}})
                async with _operator(config, Path(folder)) as process:
                    team = await _team(api, server.url, session)
                    return [
                        *decisions,
                        *await _creations(team, process.pid, server.process.pid),
                        *await _revocations(team),
                    ]
        finally:
            await asyncio.to_thread(plane.__exit__, None, None, None)


async def _decisions() -> list[Row]:
    """Measure the CPU time of a review in the process; that of a look-up has the metadata server's in it."""
    warm: Measures = {"ours": [], "10 ms": []}
    cold: Measures = {"ours": [], "25 ms": []}
    body = json.dumps(review(GOOD, GOOD, GOOD)).encode()
    async with admission(Tsk.generate("bench@example.com")) as (dispatcher, reader):
        webhook = dispatcher.find("/validate/core/v1/pods")
        assert webhook is not None

        async def used(*, forget: bool) -> float:
            if forget:
                reader.forget()
            begun = time.process_time()
            answer = await dispatcher.answer(webhook, body, seconds=5.0)
            assert answer.body["response"]["allowed"]
            return (time.process_time() - begun) * 1e3

        for _ in range(_ROUNDS):
            for figures, forget, aim in ((warm, False, 10.0), (cold, True, 25.0)):
                figures["ours"].append(_percentile(sorted([await used(forget=forget) for _ in range(_PODS)]), 0.99))
                figures[f"{aim:g} ms"].append(aim)
    return [
        row(
            "in the process: review of three images, facts remembered, CPU, 99th percentile",
            "ms",
            warm,
            aim={"10 ms": 1.0},
        ),
        row("in the process: the same, facts looked up, CPU, 99th percentile", "ms", cold, aim={"25 ms": 1.0}),
    ]


@asynccontextmanager
async def _operator(config: Path, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    options = ("--install", "--webhooks", "url", "--own-namespace", _OWN, "--kubeconfig", str(config))
    log_file = folder / "operator.log"
    with log_file.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "operatorkit", "run", "attestation", *options,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        await _until(lambda: _says(log_file, "attestation is ready"), "the operator to be ready")
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _says(path: Path, text: str) -> bool:
    return text in await asyncio.to_thread(path.read_text)


async def _team(api: _Driver, url: str, session: aiohttp.ClientSession) -> Team:
    """Make the authority, the policy and a key, and return them when the API server asks the webhooks."""
    team = Team(api, url, session)
    team.key = Tsk.generate("bench@example.com")
    await team.post("projects/team/notes?noteId=qa", {"attestation": {}})
    await team.make(GrafeasServer, _TEAM, {"url": url})
    await team.make(AttestationAuthority, "qa", team.authority())
    await team.make(ImagePolicy, "signed", {"require": {"allOf": [{"kind": "AttestationAuthority", "name": "qa"}]}})
    await team.ready(AttestationAuthority, "qa")
    await team.ready(ImagePolicy, "signed")

    async def asked() -> bool:
        return "has no occurrence for it" in await team.answer(pod(image()))

    await _until(asked, "the webhooks to be asked")
    return team


async def _creations(team: Team, operator: int, server: int) -> list[Row]:
    """Measure creations of attested Pods: one after the other, many at once, and with images that were never seen."""
    warm: Measures = {"ours": [], "no webhook": []}
    slow: Measures = {"ours": [], "no webhook": []}
    cold: Measures = {"ours": [], "no webhook": []}
    rate: Measures = {"ours": [], "2 ms": []}
    cpu: Measures = {"ours": [], "metadata server": []}
    images = [image(name) for name in ("a", "b", "c")]
    for one in images:
        await team.attest(one)

    async def create(namespace: str, *uses: str) -> None:
        await team.cluster.create(PODS, pod(*uses), namespace=namespace, dry_run=True)

    async def attested() -> None:
        await create(_TEAM, *images)

    async def bare() -> None:
        await create(_OWN, *images)

    await attested()
    for _ in range(_ROUNDS):
        ours, without = await _times(attested, _PODS), await _times(bare, _PODS)
        for figures, share in ((warm, 0.5), (slow, 0.99)):
            figures["ours"].append(_percentile(ours, share))
            figures["no webhook"].append(_percentile(without, share))
        new = [[image() for _ in range(3)] for _ in range(_PODS // 4)]
        for each in new:
            for one in each:
                await team.attest(one)
        cold["ours"].append(_percentile(await _times(partial(_next, create, iter(new)), len(new)), 0.99))
        cold["no webhook"].append(_percentile(without, 0.99))
        begun, used, served = time.perf_counter(), _cpu(operator), _cpu(server)
        await asyncio.gather(*(_times(attested, _PODS // 4) for _ in range(_AT_ONCE)))
        count = _AT_ONCE * (_PODS // 4)
        rate["ours"].append((time.perf_counter() - begun) * 1e3 / count)
        rate["2 ms"].append(2.0)
        cpu["ours"].append((_cpu(operator) - used) * 1e3 / count)
        cpu["metadata server"].append((_cpu(server) - served) * 1e3 / count)
    return [
        row("Pod of three images, facts remembered, median", "ms", warm),
        row("Pod of three images, facts remembered, 99th percentile", "ms", slow),
        row("Pod of three images that were never seen, 99th percentile", "ms", cold),
        row(f"{_AT_ONCE} Pods at once: time for each", "ms", rate, aim={"2 ms": 1.0}),
        row(f"{_AT_ONCE} Pods at once: CPU of the operator, for two reviews each", "ms per Pod", cpu),
    ]


async def _revocations(team: Team) -> list[Row]:
    """Measure from the creation of an ImageRevocation to the first denial, and to the Event of the running Pod."""
    denial: Measures = {"ours": [], "1 s": []}
    event: Measures = {"ours": [], "10 s": []}
    for number in range(_ROUNDS):
        one, name = image(), f"revoked-{number}"
        await team.attest(one)
        made = await team.create(pod(one, name=name))
        begun = time.perf_counter()
        await team.make(ImageRevocation, name, {"digest": one.partition("@")[2], "reason": "bench"})
        watching = asyncio.create_task(_until(lambda made=made: _reported(team, made), "the Event"))

        async def denied(one: str = one) -> bool:
            try:
                await team.create(pod(one, name=f"x{secrets.token_hex(4)}"), dry_run=True)
            except Forbidden:
                return True
            return False

        await _until(denied, "the denial")
        denial["ours"].append(time.perf_counter() - begun)
        await watching
        event["ours"].append(time.perf_counter() - begun)
        denial["1 s"].append(1.0)
        event["10 s"].append(10.0)
    return [
        row("from an ImageRevocation to the denial", "s", denial, aim={"1 s": 1.0}),
        row("from an ImageRevocation to the Event of the running Pod", "s", event, aim={"10 s": 1.0}),
    ]


async def _next(create: Callable[..., Awaitable[None]], uses: Iterator[list[str]]) -> None:
    await create(_TEAM, *next(uses))


async def _reported(team: Team, made: dict[str, Any]) -> bool:
    selector = f"involvedObject.uid={made['metadata']['uid']},reason=AttestationRevoked"
    found = await team.cluster.list(EVENTS, namespace=_TEAM, field_selector=selector)
    return bool(found.items)


async def _times(function: Callable[[], Awaitable[None]], count: int) -> list[float]:
    found = []
    for _ in range(count):
        begun = time.perf_counter()
        await function()
        found.append((time.perf_counter() - begun) * 1e3)
    return sorted(found)


def _percentile(times: list[float], share: float) -> float:
    return times[min(int(len(times) * share), len(times) - 1)]


def _cpu(pid: int) -> float:
    """Return the CPU seconds, user and system, that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


async def _until(question: Callable[[], Awaitable[bool]], what: str) -> None:
    """Ask until the answer is true, as often as a request takes. Raises TimeoutError, which names what is missing."""
    try:
        async with asyncio.timeout(120):
            while True:
                with suppress(NotFound, ClusterError):
                    if await question():
                        return
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise TimeoutError(f"waited 120 s for {what}") from None
