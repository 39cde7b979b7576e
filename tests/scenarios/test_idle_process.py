"""A whole operator process, kopf included, asks the API server nothing while nothing happens."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from operatorkit.controlplane.embedded import EmbeddedControlPlane
from operatorkit.controlplane.embedded.audit import Entry
from operatorkit.testing import eventually, remains

USER = "the-operator"
KINDS = 5


class Log:
    """The requests of the operator, as the server's loop tells them."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._lock = threading.Lock()

    def __call__(self, entry: Entry) -> None:
        if entry.user == USER:
            with self._lock:
                self._entries.append(entry)

    def entries(self) -> list[Entry]:
        with self._lock:
            return list(self._entries)


async def test_an_idle_operator_process_makes_no_request_but_its_watches(tmp_path: Path) -> None:
    log = Log()
    with EmbeddedControlPlane(audit=log) as control_plane:
        process = start(control_plane.write_kubeconfig(tmp_path / "kubeconfig", user=USER))
        try:
            await eventually(lambda: len(watched(log)) >= KINDS + 2, timeout=90)  # and Secrets, and Pods

            async def quiet() -> bool:
                before = len(log.entries())
                await remains(lambda: True, period=1.0)
                return len(log.entries()) == before

            await eventually(quiet, timeout=60)
            before = len(log.entries())
            await remains(lambda: log.entries()[before:] == [], period=4.0)
        finally:
            _, said = process.communicate(timeout=120)  # closes its standard input: it is on a leash
        assert process.returncode == 0, said


def start(kubeconfig: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "operatorkit", "run", "pki", "--install", "--kubeconfig", str(kubeconfig)]
    return subprocess.Popen([*command, "--exit-with-parent"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def watched(log: Log) -> set[str]:
    return {entry.resource for entry in log.entries() if entry.verb == "watch"}
