"""After the end of a launcher, however it ended, the machine is as before."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import sys
from pathlib import Path

import pytest

from operatorkit.cluster import LiveCluster, load_config
from operatorkit.controlplane.nodes.kinds import PODS
from operatorkit.controlplane.nodes.process import unavailable
from operatorkit.controlplane.nodes.process.cgroups import hierarchy
from operatorkit.testing import eventually

READY_SECONDS = 120.0


def processes(mark: str) -> list[str]:
    """Return the command lines that contain `mark`."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                command = (Path(entry.path) / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if mark in command:
                    found.append(command)
    return found


def mounts() -> set[str]:
    """Return the mount points of this machine."""
    return {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}


def groups(pid: int) -> list[str]:
    """Return the control groups of a launcher."""
    place = hierarchy()
    return [] if place is None else [it.name for it in place.glob(f"operatorkit-nodes-{pid}-*")]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_launcher_that_ends_leaves_nothing(request, tmp_path, number):
    backend = request.config.getoption("--controlplane")
    if backend == "existing":
        pytest.skip("a cluster that exists is not launched")
    if (why := unavailable()) is not None:
        pytest.skip(why)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    mark, before = f"98765{secrets.randbelow(10**9)}", mounts()
    path = tmp_path / "kubeconfig"
    command = ["-m", "operatorkit", "controlplane", "up", "--backend", backend, "--node-kind", "process"]
    launcher = await asyncio.create_subprocess_exec(
        sys.executable,
        *(*command, "--kubeconfig", str(path)),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    try:
        assert launcher.stdout is not None
        async with asyncio.timeout(READY_SECONDS):
            assert (await launcher.stdout.readline()).startswith(b"ready")
        async with LiveCluster(load_config(path)) as api:
            await start_pods(api, mark, 3)
            await eventually(lambda: len(processes(f"sleep {mark}")) >= 6)
        assert len(groups(launcher.pid)) == (hierarchy() is not None)
        assert list(temporary.glob("operatorkit-nodes-*"))
    finally:
        with contextlib.suppress(ProcessLookupError):
            launcher.send_signal(number)
        await launcher.communicate()
    await eventually(lambda: not processes(mark), message="the end of all processes")
    await eventually(lambda: not list(temporary.iterdir()), message="the end of all files")
    assert groups(launcher.pid) == []
    assert mounts() == before


async def start_pods(api: LiveCluster, mark: str, count: int) -> None:
    """Create pods that ignore SIGTERM, each with a process in a session of its own."""
    script = f"trap '' TERM; setsid sleep {mark} & sleep {mark}; wait"
    for number in range(count):
        container = {"name": "main", "image": "i:1", "command": ["/bin/sh", "-c", script]}
        spec = {"containers": [container], "automountServiceAccountToken": False}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"p-{number}"}, "spec": spec}

        async def created(body=body) -> bool:
            await api.create(PODS, body, namespace="default")
            return True

        await eventually(created)  # the service account may be late
