"""`operatorkit dev`: an operator on a control plane of its own, started again whenever its code changes.

start ──> running ── file changed, syntax fine ──> stopped ──> start
  │          │ file changed, syntax wrong: told, left running
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
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import click

from operatorkit.cli._load import locate
from operatorkit.cli._signals import stop_signals

__all__ = ["command"]

_POLL_SECONDS = 0.25
_GRACE_SECONDS = 30
_SKIPPED = {"__pycache__", "node_modules", "site-packages"}


@click.command("dev")
@click.argument("target", metavar="FILE|MODULE:OPERATOR|NAME")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="The control plane's port; by default a free one."
)
@click.option("--nodes", type=click.IntRange(0, 100), default=1, show_default=True, help="How many nodes to simulate.")
@click.option("--kubeconfig", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Write it here.")
@click.option("--verbose", "-v", is_flag=True, help="Let the operator say more.")
def command(target: str, port: int, nodes: int, kubeconfig: Path | None, verbose: bool) -> None:
    """Run an operator on an embedded control plane, and start it again when its code changes.

    The definitions of its kinds are applied first, and its webhooks are served to the control plane. Ctrl-C stops
    everything; nothing is kept.
    """
    watched = _Sources(locate(target))

    from operatorkit.controlplane.embedded import EmbeddedControlPlane

    with contextlib.ExitStack() as stack:
        stopping = stack.enter_context(_stopped_by_signals())
        plane = stack.enter_context(EmbeddedControlPlane(port=port, nodes=nodes))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="operatorkit-dev-")))
        path = plane.write_kubeconfig(kubeconfig or folder / "kubeconfig")
        click.echo(f"a Kubernetes API answers at {plane.url}; in another terminal:\n\n  export KUBECONFIG={path}\n")
        arguments = [sys.executable, "-m", "operatorkit", "run", target, "--kubeconfig", str(path), "--install"]
        arguments += ["--webhooks=url", "--leashed", "--scratch", str(folder), *(["--verbose"] if verbose else [])]
        _supervise(arguments, watched, stopping)
    click.echo("stopped")


def _supervise(arguments: list[str], watched: _Sources, stopping: threading.Event) -> None:
    """Keep the operator running, with its newest code, until `stopping`."""
    process: subprocess.Popen[bytes] | None = None
    try:
        process = _start(arguments)
        while not stopping.wait(_POLL_SECONDS):
            if process is not None and process.poll() is not None:
                click.echo(f"the operator ended (exit code {process.returncode}); waiting for a change of its code")
                process = None
            changed = watched.changed()
            if not changed:
                continue
            fault = _syntax_fault(changed)
            if fault is not None:
                click.echo(f"{fault}; {'the operator runs on as it was' if process else 'waiting for a correction'}")
                continue
            click.echo(f"{', '.join(path.name for path in changed)} changed: starting again")
            _stop(process)
            process = _start(arguments)
    finally:
        _stop(process)


def _start(arguments: list[str]) -> subprocess.Popen[bytes]:
    """Start the operator in a session of its own: Ctrl-C is for us, and we pass it on once."""
    return subprocess.Popen(arguments, stdin=subprocess.PIPE, start_new_session=True)  # noqa: S603 - ourselves


def _stop(process: subprocess.Popen[bytes] | None) -> None:
    if process is None:
        return
    process.terminate()
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    finally:
        if process.stdin is not None:
            process.stdin.close()


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    stopping = threading.Event()

    def received(number: int, frame: FrameType | None) -> None:
        del number, frame
        stopping.set()

    before = {number: signal.signal(number, received) for number in stop_signals()}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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


def _syntax_fault(files: list[Path]) -> str | None:
    for path in files:
        try:
            compile(path.read_bytes(), str(path), "exec")
        except SyntaxError as error:
            return f"{path}, line {error.lineno}: {error.msg}"
        except ValueError as error:
            return f"{path}: {error}"
        except OSError:
            continue  # removed: whoever imports it will say so
    return None
