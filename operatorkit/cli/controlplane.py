"""`operatorkit controlplane up` and `install`: a Kubernetes API to develop and test against, in the foreground."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

from operatorkit.cli._kubeconfig import kept, require_replaceable
from operatorkit.cli._options import kubeconfig_option, nodes_option, port_option
from operatorkit.cli._signals import stop_signals
from operatorkit.errors import InputError

if TYPE_CHECKING:
    from operatorkit.cluster.api import ClusterAPI
    from operatorkit.controlplane.backend import ControlPlane
    from operatorkit.controlplane.nodes.process import ProcessNodes

__all__ = ["command"]

_CHECK_EVERY_SECONDS = 1.0


@click.group()
def command() -> None:
    """Start a Kubernetes API for development and tests."""


@command.command(short_help="Run a control plane until Ctrl-C.")
@click.option(
    "--backend",
    type=click.Choice(["embedded", "real"]),
    default="embedded",
    show_default=True,
    help="embedded: a server in this process; real: Kubernetes' kube-apiserver, etcd and kube-controller-manager.",
)
@port_option
@kubeconfig_option
@nodes_option
@click.option(
    "--node-kind",
    type=click.Choice(["simulated", "process"]),
    default="simulated",
    show_default=True,
    help="simulated: pods run in the API only; process: containers run as processes of this machine.",
)
@click.option(
    "--images",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="With --node-kind process: a YAML file that maps images to commands.",
)
@click.option(
    "--controllers",
    default="*",
    show_default=True,
    metavar="LIST",
    help="Controllers to run, in the syntax of kube-controller-manager: '*' for all, 'name' for one, "
    "'-name' to exclude one; '' for none.",
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="json: print one line with url, kubeconfig, backend and nodes when the control plane is ready.",
)
def up(
    backend: str,
    port: int,
    kubeconfig: Path | None,
    nodes: int,
    node_kind: str,
    images: Path | None,
    controllers: str,
    output: str,
) -> None:
    """Run a control plane until Ctrl-C or SIGTERM; its data and files are removed then.

    It prints `ready` with its URL, and the command that configures kubectl in another terminal.
    """
    started = time.monotonic()
    make = _process_nodes(nodes, images) if node_kind == "process" else None
    if images is not None and make is None:
        raise InputError(
            f"--images {images}: only process nodes run images: add --node-kind process"
        )
    with _Stop() as stop, ExitStack() as stack:
        if kubeconfig is None:
            kubeconfig = (
                Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="operatorkit-")))
                / "kubeconfig"
            )
        require_replaceable(kubeconfig)
        simulated = nodes if make is None else 0
        plane, check = _start(stack, backend, port=port, nodes=simulated, controllers=controllers)
        if make is not None and nodes:
            _add_nodes(stack, plane, check, make)
        path = stack.enter_context(kept(plane, kubeconfig))
        stop.expected = True
        if output == "json":
            facts = {"url": plane.url, "kubeconfig": str(path), "backend": backend, "nodes": nodes}
            click.echo(json.dumps(facts))
        else:
            click.echo(
                f"ready  {plane.url}  ({backend}, {_count(nodes)}, {time.monotonic() - started:.1f} s)"
            )
            click.echo(f"export KUBECONFIG={path}")
        stop.wait(check)
        click.echo("stopping", err=True)


@command.command(short_help="Install the programs of a real control plane.")
def install() -> None:
    """Find the programs of a real control plane, or build them from their sources.

    The build needs Go and takes 8 to 25 minutes, once. The command prints the directory of the
    programs.
    """
    from operatorkit.controlplane.real import ensure_binaries

    binaries = ensure_binaries(progress=lambda line: click.echo(line, err=True))
    click.echo(binaries.kube_apiserver.parent)


def _start(
    stack: ExitStack, backend: str, *, port: int, nodes: int, controllers: str
) -> tuple[ControlPlane, Callable[[], None]]:
    """Start a backend; return it and a function that raises once it is broken."""
    if backend == "real":
        from operatorkit.controlplane.real import RealControlPlane

        if sys.stderr.isatty():
            click.echo(
                "starting etcd, kube-apiserver and kube-controller-manager: about ten seconds",
                err=True,
            )
        real = RealControlPlane(port=port, nodes=nodes, controllers=controllers)
        return stack.enter_context(real), real.check
    from operatorkit.controlplane.embedded import EmbeddedControlPlane

    embedded = EmbeddedControlPlane(port=port, nodes=nodes, controllers=controllers)
    return stack.enter_context(embedded), lambda: None


def _process_nodes(
    count: int, images: Path | None
) -> Callable[[str], Callable[[ClusterAPI], ProcessNodes]]:
    """Return what makes process nodes for the URL of a control plane. Raises InputError where they cannot run."""
    from operatorkit.controlplane.nodes.process import Images, ProcessNodes, unavailable

    if (why := unavailable()) is not None:
        raise InputError(f"--node-kind process: {why}")
    table = Images.load(images) if images is not None else Images()
    return lambda url: partial(ProcessNodes, api_url=url, images=table, count=count)


def _add_nodes(
    stack: ExitStack,
    plane: ControlPlane,
    check: Callable[[], None],
    make: Callable[[str], Callable[[ClusterAPI], ProcessNodes]],
) -> None:
    from operatorkit.controlplane.nodes import NodesThread

    config = plane.kubeconfig(user="system:process-nodes")
    stack.enter_context(NodesThread(config, count=0, check=check, make=make(plane.url)))


def _count(nodes: int) -> str:
    return f"{nodes} node" if nodes == 1 else f"{nodes or 'no'} nodes"


class _Stop:
    """What asks to stop, while this is entered: as an event once they are `expected`, before as SystemExit."""

    def __init__(self) -> None:
        self.expected = False
        self._event = threading.Event()
        self._before: dict[signal.Signals, Any] = {}

    def wait(self, check: Callable[[], None]) -> None:
        """Return when a signal has come; call `check`, which may raise, now and then."""
        while not self._event.wait(_CHECK_EVERY_SECONDS):
            check()

    def __enter__(self) -> Self:
        for number in stop_signals():
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        first = not self._event.is_set()
        self._event.set()
        if first and not self.expected:
            raise SystemExit(128 + number)
