"""The processes of the demo: operators, and the metadata server; each ends with the demo.

What belongs here: how they are started and stopped. What does not: process nodes, which are a thread of the demo
(`shard_nodes`).
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["metadata_server", "operator"]

_STOP_SECONDS = 15


@contextlib.contextmanager
def operator(name: str, folder: Path, kubeconfig: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run an operator as a process of its own, as it would run in a cluster, and stop it afterwards."""
    options = [
        "--kubeconfig",
        str(kubeconfig),
        "--own-namespace",
        f"{name.replace('_', '-')}-system",
        "--webhooks",
        "url",
        "--temporary-folder",
        str(folder),
    ]
    with _running(["run", name, *options], folder, folder / f"{name}.log") as process:
        yield process


@contextlib.contextmanager
def metadata_server(words: Sequence[str], folder: Path) -> Iterator[Path]:
    """Run `operatorkit` with `words`, a server that prints where it serves, and give the file of its output."""
    log = folder / "attest-serve.log"
    with _running(words, folder, log):
        yield log


@contextlib.contextmanager
def _running(words: Sequence[str], folder: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "operatorkit", *words, "--exit-with-parent"],
            stdin=subprocess.PIPE,  # it exits with its parent, however that ends
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=folder,
        )
        try:
            yield process
        finally:
            try:
                process.communicate(
                    timeout=_STOP_SECONDS
                )  # closes its input: the process finishes what it does and exits
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
