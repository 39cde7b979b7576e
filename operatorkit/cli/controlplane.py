"""`operatorkit controlplane up` and `install`: a Kubernetes API to develop and test against, in the foreground."""

from __future__ import annotations

import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click
import yaml

from operatorkit.errors import InputError

if TYPE_CHECKING:
    from operatorkit.controlplane.backend import ControlPlane

__all__ = ["command"]

_CHECK_EVERY_SECONDS = 1.0


@click.group()
def command() -> None:
    """Start a Kubernetes API to develop and test against."""


@command.command()
@click.option(
    "--backend",
    type=click.Choice(["embedded", "real"]),
    default="embedded",
    show_default=True,
    help="embedded: in this process; real: Kubernetes' own kube-apiserver, etcd and kube-controller-manager.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Where to listen; any free port if left out.")
@click.option(
    "--kubeconfig",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write the credentials; a file of its own, removed at the end. A temporary one if left out.",
)
@click.option("--nodes", type=click.IntRange(0, 250), default=1, show_default=True, help="How many simulated nodes.")
@click.option(
    "--controllers",
    default="*",
    show_default=True,
    metavar="LIST",
    help="Which run, as kube-controller-manager has it: '*' all, 'name' that one, '-name' not that one; '' none.",
)
def up(backend: str, port: int, kubeconfig: Path | None, nodes: int, controllers: str) -> None:
    """Run a control plane until it is stopped (Ctrl-C, SIGTERM); nothing of it is left then."""
    started = time.monotonic()
    with _stopped_by_signals() as wait, ExitStack() as stack:
        if kubeconfig is None:
            kubeconfig = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="operatorkit-"))) / "kubeconfig"
        _refuse_other_clusters(kubeconfig)
        plane, check = _start(stack, backend, port=port, nodes=nodes, controllers=controllers)
        plane.write_kubeconfig(kubeconfig)
        stack.callback(kubeconfig.unlink, missing_ok=True)
        click.echo(f"ready  {plane.url}  ({backend}, {_count(nodes)}, {time.monotonic() - started:.1f} s)")
        click.echo(f"export KUBECONFIG={kubeconfig.absolute()}")
        wait(check)
        click.echo("stopping", err=True)


@command.command()
def install() -> None:
    """Find the programs of a real control plane, or build them from their sources (needs Go, minutes)."""
    from operatorkit.controlplane.real import ensure_binaries

    binaries = ensure_binaries(progress=lambda line: click.echo(line, err=True))
    click.echo(binaries.kube_apiserver.parent)


def _start(
    stack: ExitStack, backend: str, *, port: int, nodes: int, controllers: str
) -> tuple[ControlPlane, Callable[[], None]]:
    """Start a backend; return it and a function that raises once it is broken."""
    if backend == "real":
        from operatorkit.controlplane.real import RealControlPlane, ensure_binaries

        binaries = ensure_binaries(progress=lambda line: click.echo(line, err=True))
        real = RealControlPlane(port=port, nodes=nodes, controllers=controllers, binaries=binaries)
        return stack.enter_context(real), real.check
    from operatorkit.controlplane.embedded import EmbeddedControlPlane

    embedded = EmbeddedControlPlane(port=port, nodes=nodes, controllers=controllers)
    return stack.enter_context(embedded), lambda: None


def _count(nodes: int) -> str:
    return f"{nodes} node" if nodes == 1 else f"{nodes or 'no'} nodes"


def _refuse_other_clusters(path: Path) -> None:
    """Raise InputError rather than write over a kubeconfig that somebody else needs."""
    if not path.exists():
        return
    try:
        content = yaml.safe_load(path.read_text())
        names = {cluster["name"] for cluster in content["clusters"]}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError):
        names = {"?"}
    if names != {"operatorkit"}:
        raise InputError(f"{path} is there and is not ours to write over: name another file with --kubeconfig")


@contextmanager
def _stopped_by_signals() -> Iterator[Callable[[Callable[[], None]], None]]:
    """Yield a function that waits for SIGINT or SIGTERM; one that comes before it is called ends the block.

    The function calls its argument now and then, which may raise.
    """
    stop = threading.Event()
    waiting = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        del frame
        if stop.is_set():
            return  # on the way out already
        stop.set()
        if not waiting:
            raise SystemExit(128 + number)

    def wait(check: Callable[[], None]) -> None:
        nonlocal waiting
        waiting = True
        while not stop.wait(_CHECK_EVERY_SECONDS):
            check()

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield wait
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
