"""`operatorkit demo`: the bundled operators at work, on a control plane of their own, in a few seconds."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import click

from operatorkit.cli._demo.members import MembersStory
from operatorkit.cli._demo.stage import NAMESPACE
from operatorkit.cli._demo.story import Story
from operatorkit.cli._signals import stop_signals
from operatorkit.cluster import JSONObject
from operatorkit.definitions import definitions, own_kinds
from operatorkit.errors import OperatorKitError

__all__ = ["command"]

_OPERATORS = ("pki", "petset")
_TO_TRY = (
    "kubectl get pki,certificates,clusterissuers -A",
    "kubectl describe pod payments -n shop",
    "kubectl get certificate payments -n shop -o yaml",
    "kubectl delete secret web-tls -n shop && kubectl get secret web-tls -n shop -w",
    "kubectl explain certificate.spec",
    "kubectl get pets,pods,controllerrevisions -n shop",
    "kubectl describe petset db -n shop",
    "kubectl scale petset db --replicas=5 -n shop && kubectl get pods -n shop -l app=db -w",
    "operatorkit petset plan db -n shop",
    "operatorkit petset history db -n shop",
    "operatorkit petset restart db -n shop",
)


@click.command("demo", short_help="Run the bundled operators and show what they do.")
@click.option(
    "--keep", is_flag=True, help="Keep the control plane and the operators running until Ctrl-C."
)
def command(*, keep: bool) -> None:
    """Start a control plane, run the operators pki and petset on it, and show what they do."""
    asyncio.run(_demo(keep=keep, started=time.monotonic()))


async def _demo(*, keep: bool, started: float) -> None:
    """Run everything in one loop: what asks to stop cancels the story wherever it is, and all is cleaned up."""
    click.secho(
        "operatorkit demo: certificates for applications, and a database whose updates heal",
        bold=True,
    )
    with _stopped_by_signals(), contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="operatorkit-demo-")))
        await _narrate(stack, folder, started)
        if keep:
            await _leave_up(folder / "kubeconfig")
        else:
            click.echo()
            click.echo(
                "To explore further, run `make demo KEEP=1`: it keeps the control plane up and prints its kubeconfig."
            )


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the story as Ctrl-C does, which the loop sees to; raise SystemExit for them then."""
    loop, task, received = (
        asyncio.get_running_loop(),
        asyncio.current_task(),
        list[signal.Signals](),
    )
    assert task is not None

    def stop(number: signal.Signals) -> None:
        received.append(number)
        task.cancel()

    for number in set(stop_signals()) - {signal.SIGINT}:
        loop.add_signal_handler(number, stop, number)
    try:
        yield
    except asyncio.CancelledError:
        if not received:
            raise
        raise SystemExit(128 + received[0]) from None


async def _narrate(stack: contextlib.ExitStack, folder: Path, started: float) -> None:
    from operatorkit.controlplane.embedded import EmbeddedControlPlane

    control_plane = stack.enter_context(EmbeddedControlPlane(nodes=1))
    kubeconfig = control_plane.write_kubeconfig(folder / "kubeconfig")
    click.echo()
    took = time.monotonic() - started
    click.secho(
        f"[{took:5.1f}s] A Kubernetes API is ready at {control_plane.url}, with one simulated node",
        bold=True,
    )
    try:
        await _chapters(stack, folder, kubeconfig, started)
    except OperatorKitError as error:
        raise OperatorKitError(
            "\n".join([f"the demo failed: {error}", *_last_lines(folder)])
        ) from error


def _last_lines(folder: Path) -> Iterator[str]:
    """Yield the end of each operator's log."""
    for log in sorted(folder.glob("*.log")):
        yield from (f"last lines of {log.name}:", *log.read_text().splitlines()[-15:])


async def _chapters(
    stack: contextlib.ExitStack, folder: Path, kubeconfig: Path, started: float
) -> None:
    from operatorkit.cluster import LiveCluster, load_config

    warnings: list[str] = []
    async with LiveCluster(load_config(kubeconfig), warn=warnings.append) as api:
        story = Story(api, started=started)
        story.say("The platform team installs the operators pki and petset")
        namespaces = (*(f"{name}-system" for name in _OPERATORS), NAMESPACE)
        await story.install(
            [each for name in _OPERATORS for each in _definitions(name)], namespaces=namespaces
        )
        unevaluated = sum("does not evaluate" in warning for warning in warnings)
        click.echo(
            f"  (this control plane does not evaluate their {unevaluated} CEL rules; the operators check the same"
            " themselves)"
        )
        for name in _OPERATORS:
            operator = stack.enter_context(_operator(name, folder, kubeconfig))
            click.echo(f"  operatorkit run {name} (process {operator.pid})")
        await _show_certificates(story)
        await _show_members(MembersStory(api, started=started, kubeconfig=kubeconfig))
        story.say("Done: everything above was read from the API")


async def _show_certificates(story: Story) -> None:
    await story.prepare_the_platform()
    story.say("A team asks for a certificate for its service")
    await story.issue_for_the_team()
    story.say("An invalid request is rejected at admission")
    await story.reject_at_admission()
    story.say("A second request has a typo in the namespace: shopp instead of shop")
    await story.reject_a_wrong_name()
    story.say("The team reads which name is allowed, and corrects it")
    await story.correct_it()


async def _show_members(story: MembersStory) -> None:
    story.say("Another team runs a database with three members")
    await story.create()
    story.say("An update has a typo in the name of the image: bd:2 instead of db:2")
    await story.break_it()
    story.say("The team corrects the name, and does nothing else")
    await story.correct_it()
    story.say("The new version is slow, and the team rolls it back")
    await story.roll_back()


def _definitions(operator: str) -> list[JSONObject]:
    """Return the definitions of an operator's own kinds, found as `operatorkit run NAME` finds the operator."""
    (entry_point,) = metadata.entry_points(group="operatorkit.operators", name=operator)
    return definitions(own_kinds(entry_point.load()))


@contextlib.contextmanager
def _operator(name: str, folder: Path, kubeconfig: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run an operator as a process of its own, as it would run in a cluster, and stop it afterwards."""
    options = [
        "--kubeconfig",
        str(kubeconfig),
        "--own-namespace",
        f"{name}-system",
        "--webhooks",
        "url",
        "--exit-with-parent",
        "--temporary-folder",
        str(folder),
    ]
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "operatorkit", "run", name, *options],
            stdin=subprocess.PIPE,  # the operator exits with its parent, however that ends
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            try:
                process.communicate(
                    timeout=15
                )  # closes its input: the operator finishes what it does and exits
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


async def _leave_up(kubeconfig: Path) -> None:
    click.echo()
    click.secho(
        "The control plane and the operators stay up until Ctrl-C. In another terminal:", bold=True
    )
    click.echo(f"  export KUBECONFIG={kubeconfig}")
    for line in _TO_TRY:
        click.echo(f"  {line}")
    stopped = asyncio.Event()
    for number in stop_signals():
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()
    click.echo()
    click.echo("stopped")
