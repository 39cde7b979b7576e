"""`operatorkit dev`: an operator on a control plane of its own, started again whenever its code changes.

start ──> running ── file changed, syntax fine ──> stopped ──> start
  │          │ file changed, syntax error: reported, left running
  │          └ ended by itself ──┐
  └── could not start ───────────┴──> waiting ── file changed ──> start
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import click

from operatorkit.cli._kubeconfig import kept, require_replaceable
from operatorkit.cli._load import explained, locate, shown
from operatorkit.cli._loop import run as run_loop
from operatorkit.cli._options import kubeconfig_option, nodes_option, port_option
from operatorkit.cli._signals import stop_signals
from operatorkit.errors import OperatorKitError

__all__ = ["command"]

_POLL_SECONDS = 0.25
_RELOAD_GRACE_SECONDS = 5  # a developer waits: what is cut short here, the next start finishes
_GRACE_SECONDS = 30
_LAST_GRACE_SECONDS = 10
_SKIPPED = {"__pycache__", "node_modules", "site-packages"}


@click.command("dev")
@click.argument("target", metavar="FILE|MODULE:OPERATOR|NAME")
@port_option
@nodes_option
@kubeconfig_option
@click.option(
    "--allow-shrink",
    is_flag=True,
    help="Apply definitions even if this removes fields, versions or the scope of existing ones.",
)
@click.option("--verbose", "-v", is_flag=True, help="Log more details.")
def command(
    target: str, port: int, nodes: int, kubeconfig: Path | None, allow_shrink: bool, verbose: bool
) -> None:
    """Run an operator on an embedded control plane and restart it when its code changes.

    Name the operator as for `operatorkit run`, usually by its file. The command applies the
    definitions of its kinds and serves its webhooks to the control plane. Ctrl-C stops everything
    and removes it.
    """
    watched = _Sources(locate(target))

    from operatorkit.controlplane.embedded import EmbeddedControlPlane

    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(_Signals())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="operatorkit-dev-")))
        kubeconfig = kubeconfig or folder / "kubeconfig"
        require_replaceable(kubeconfig)
        plane = stack.enter_context(EmbeddedControlPlane(port=port, nodes=nodes))
        path = stack.enter_context(kept(plane, kubeconfig))
        click.echo(
            f"a Kubernetes API is ready at {plane.url}; in another terminal:\n\n  export KUBECONFIG={path}\n"
        )
        # -P: a file called queue.py beside the operator must not hide Python's own
        arguments = [
            sys.executable,
            "-P",
            "-m",
            "operatorkit",
            "run",
            target,
            "--kubeconfig",
            str(path),
            "--install",
        ]
        arguments += ["--disposable", *(["--allow-shrink"] if allow_shrink else [])]
        arguments += ["--webhooks=url", "--exit-with-parent", "--temporary-folder", str(folder)]
        arguments += ["--verbose"] if verbose else []
        _supervise(arguments, watched, signals, path)
    click.echo("stopped")


def _supervise(
    arguments: list[str], watched: _Sources, signals: _Signals, kubeconfig: Path
) -> None:
    """Keep the operator running, with its newest code, until a signal asks to stop."""
    process: subprocess.Popen[bytes] | None = None
    try:
        process = _start(arguments)
        while not signals.stopping.wait(_POLL_SECONDS):
            if process is not None and process.poll() is not None:
                click.echo(
                    f"the operator ended (exit code {process.returncode}); waiting for a change of the code"
                )
                process = None
                _remove_its_webhooks(kubeconfig)
            changed = watched.changed()
            if not changed:
                continue
            problem = _syntax_error(changed)
            if problem is not None:
                click.echo(
                    f"{problem}; {'the operator keeps running unchanged' if process else 'waiting for a correction'}"
                )
                continue
            click.echo(f"{', '.join(map(_change, changed))}: restarting the operator")
            _stop(process, within=_RELOAD_GRACE_SECONDS, unless=signals.stopping)
            process = _start(arguments)
    finally:
        _stop(process, within=_GRACE_SECONDS, unless=signals.hurry)


def _remove_its_webhooks(kubeconfig: Path) -> None:
    """Remove the webhook configurations of an operator that was killed: they block changes of its kinds."""
    from operatorkit._runtime.host import remove_stale_webhooks
    from operatorkit.cluster import load_config

    try:
        for removed in run_loop(remove_stale_webhooks(load_config(str(kubeconfig), None))):
            click.echo(f"deleted {removed}, which the operator left behind")
    except OperatorKitError as error:
        click.echo(f"its webhook configurations may still exist: {error}")


def _start(arguments: list[str]) -> subprocess.Popen[bytes]:
    """Start the operator in a session of its own: Ctrl-C is for us, and we pass it on once."""
    return subprocess.Popen(arguments, stdin=subprocess.PIPE, start_new_session=True)  # noqa: S603 - ourselves


def _stop(
    process: subprocess.Popen[bytes] | None, *, within: float, unless: threading.Event
) -> None:
    """Let the operator finish what it does `within` seconds, `unless` a signal arrives; then end it."""
    if process is None:
        return
    try:
        process.terminate()
        if _has_ended(process, within=within, unless=unless):
            return
        click.echo("cancelling a reconcile function that is still running")
        process.terminate()
        if not _has_ended(process, within=_LAST_GRACE_SECONDS, unless=threading.Event()):
            process.kill()
            process.wait()
    finally:
        if process.stdin is not None:
            process.stdin.close()


def _has_ended(process: subprocess.Popen[bytes], *, within: float, unless: threading.Event) -> bool:
    deadline = time.monotonic() + within
    while process.poll() is None:
        if time.monotonic() > deadline or unless.wait(_POLL_SECONDS / 10):
            return False
    return True


class _Signals:
    """What asks to stop, while this is entered: `stopping` is set by the first signal, `hurry` by the next."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.hurry = threading.Event()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in stop_signals():
            self._before[number] = signal.signal(number, self._received)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _received(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        (self.hurry if self.stopping.is_set() else self.stopping).set()


class _Sources:
    """The code of an operator: its file, and every Python file beside it or below."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen = self._look()

    def changed(self) -> list[Path]:
        """Return the files that were written, added or removed since the last time."""
        now, before = self._look(), self._seen
        self._seen = now
        return sorted(path for path in {*now, *before} if now.get(path) != before.get(path))

    def _look(self) -> dict[Path, tuple[int, int]]:
        found: dict[Path, tuple[int, int]] = {}
        for path in [self._file, *_python_files(self._file.parent)]:
            with contextlib.suppress(OSError):
                facts = path.stat()
                found[path] = (facts.st_mtime_ns, facts.st_size)
        return found


def _python_files(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder, and of the packages below it."""
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for entry in entries:
        if entry.suffix == ".py":
            yield entry
        elif entry.name not in _SKIPPED and (entry / "__init__.py").is_file():
            yield from _python_files(entry)


def _change(path: Path) -> str:
    return f"{shown(path)} {'changed' if path.exists() else 'is gone'}"


def _syntax_error(files: list[Path]) -> str | None:
    for path in files:
        try:
            compile(path.read_bytes(), str(path), "exec")
        except (SyntaxError, ValueError) as error:
            return explained(error)
        except OSError:
            continue  # removed: whoever imports it will say so
    return None
