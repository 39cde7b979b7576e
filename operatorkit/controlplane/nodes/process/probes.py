"""Probes and lifecycle hooks of containers: what they do, when, and what follows.

What belongs here: exec, httpGet, tcpSocket probes with all their fields, and preStop and
postStart hooks. What does not: ending a container (`pod`).

    startup ──success──► started ──► liveness: failureThreshold failures ──► restart
       │ failureThreshold             readiness: ready or not
       ▼
    restart

Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#container-probes
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp

from operatorkit.clock import Clock
from operatorkit.controlplane.nodes.process.child import MARK, Child
from operatorkit.controlplane.nodes.process.sandbox import user_prefix

__all__ = ["Action", "Kind", "Outcome", "Probe", "run_probe"]

Kind = Literal["startup", "liveness", "readiness"]
_SUCCESSFUL = range(200, 400)
_OUTPUT_BYTES = 10 * 1024
_JOIN = 'echo $$ > "$1/cgroup.procs"; shift; exec "$@"'


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether an action succeeded, and what to report where not."""

    success: bool
    output: str = ""


@dataclass(frozen=True, slots=True)
class Action:
    """What probes and hooks do in or with a container. `group` is its control group, or ""."""

    child: Child
    address: str
    ports: Mapping[str, int]
    group: str
    mark: str

    async def run(self, action: Mapping[str, Any], timeout: float) -> Outcome:  # noqa: ASYNC109
        """Do it once, for at most `timeout` seconds."""
        if command := (action.get("exec") or {}).get("command"):
            return await self._exec(command, timeout)
        if get := action.get("httpGet"):
            return await self._http(get, timeout)
        if socket := action.get("tcpSocket"):
            return await self._tcp(socket, timeout)
        if sleep := action.get("sleep"):
            await asyncio.sleep(sleep.get("seconds", 0))
            return Outcome(True)
        return Outcome(
            False, "process nodes do not support gRPC probes: use exec, httpGet or tcpSocket"
        )

    async def _exec(self, command: Sequence[str], timeout: float) -> Outcome:  # noqa: ASYNC109
        await self.child.executed()
        process = await asyncio.create_subprocess_exec(
            *(*self._enter(), *command),
            stdin=subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            env={MARK: self.mark, "PATH": os.environ.get("PATH", os.defpath)},
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(timeout):
                output = await process.stdout.read(_OUTPUT_BYTES)
                await process.wait()
        except TimeoutError:
            return Outcome(False, f"command timed out after {timeout:g}s")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        return Outcome(process.returncode == 0, output.decode(errors="replace"))

    def _enter(self) -> list[str]:
        """Return the command that runs another one in the container, as its user."""
        sandbox = self.child.sandbox
        enter = ["nsenter", "--target", str(self.child.pid), "--mount", "--pid", "--ipc", "--uts"]
        if os.geteuid() != 0:
            enter += ["--user", "--preserve-credentials"]
        variables = [f"{name}={value}" for name, value in sandbox.environment.items()]
        enter += ["--root", "--wd", "--", *user_prefix(sandbox.identity), "/usr/bin/env", "-i"]
        join = ["/bin/sh", "-c", _JOIN, "sh", self.group] if self.group else []
        return [*join, *enter, *variables]

    def _port(self, port: int | str) -> int:
        return port if isinstance(port, int) else self.ports.get(port, 0)

    async def _http(self, get: Mapping[str, Any], timeout: float) -> Outcome:  # noqa: ASYNC109
        scheme = get.get("scheme", "HTTP").lower()
        host, port = get.get("host") or self.address, self._port(get["port"])
        url = f"{scheme}://{host}:{port}/{get.get('path', '/').lstrip('/')}"
        headers = {it["name"]: it["value"] for it in get.get("httpHeaders") or ()}
        headers = {
            "User-Agent": "kube-probe/1.36",
            "Accept": "*/*",
            "Connection": "close",
        } | headers
        limit = aiohttp.ClientTimeout(total=timeout)
        try:
            async with (
                aiohttp.ClientSession(timeout=limit) as session,
                session.get(url, headers=headers, ssl=False, allow_redirects=False) as response,
            ):
                text = f"HTTP probe failed with statuscode: {response.status}"
                return Outcome(response.status in _SUCCESSFUL, text)
        except TimeoutError:
            wanted = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
            return Outcome(False, f'Get "{url}": {wanted}')
        except aiohttp.ClientError as error:
            return Outcome(False, f'Get "{url}": {error}')

    async def _tcp(self, socket: Mapping[str, Any], timeout: float) -> Outcome:  # noqa: ASYNC109
        host, port = socket.get("host") or self.address, self._port(socket["port"])
        try:
            async with asyncio.timeout(timeout):
                _, writer = await asyncio.open_connection(host, port)
        except TimeoutError:
            return Outcome(False, f"dial tcp {host}:{port}: i/o timeout")
        except OSError as error:
            return Outcome(False, f"dial tcp {host}:{port}: connect: {error.strerror or error}")
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return Outcome(True)


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe with its fields, defaults filled in. Times are in seconds."""

    kind: Kind
    action: Mapping[str, Any]
    delay: float
    period: float
    timeout: float
    success_threshold: int
    failure_threshold: int

    @classmethod
    def of(cls, kind: Kind, container: Mapping[str, Any]) -> Probe | None:
        """Return a container's probe of that kind, or None."""
        spec = container.get(f"{kind}Probe")
        if not spec:
            return None
        return cls(
            kind,
            spec,
            spec.get("initialDelaySeconds") or 0,
            spec.get("periodSeconds") or 10,
            spec.get("timeoutSeconds") or 1,
            spec.get("successThreshold") or 1,
            spec.get("failureThreshold") or 3,
        )


async def run_probe(
    probe: Probe,
    action: Action,
    clock: Clock,
    report: Callable[[Probe, Outcome, bool], Awaitable[bool]],
) -> None:
    """Probe until the container ends, or `report` returns False.

    `report` gets each result: the probe, its outcome, and whether it made a threshold full.
    """
    await clock.sleep(probe.delay)
    row, last = 0, None
    while True:
        began = clock.monotonic()
        outcome = await action.run(probe.action, probe.timeout)
        row = row + 1 if outcome.success == last else 1
        last = outcome.success
        wanted = probe.success_threshold if outcome.success else probe.failure_threshold
        if not await report(probe, outcome, row >= wanted):
            return
        await clock.sleep(max(0.0, probe.period - (clock.monotonic() - began)))
