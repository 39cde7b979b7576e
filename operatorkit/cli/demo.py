"""`operatorkit demo`: the bundled operators at work, on a control plane of their own, in a few seconds."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import click

from operatorkit.cli._demo.attested import AttestationStory
from operatorkit.cli._demo.members import MembersStory
from operatorkit.cli._demo.needs import missing_for
from operatorkit.cli._demo.processes import operator
from operatorkit.cli._demo.shard import ShardStory
from operatorkit.cli._demo.shard_nodes import ProcessNode
from operatorkit.cli._demo.stage import Stage
from operatorkit.cli._demo.story import Story
from operatorkit.cli._signals import stop_signals
from operatorkit.cluster import JSONObject
from operatorkit.definitions import definitions, own_kinds
from operatorkit.errors import OperatorKitError

if TYPE_CHECKING:
    from operatorkit.controlplane.embedded import EmbeddedControlPlane

__all__ = ["command"]

_OPERATORS = ("pki", "petset", "attestation", "mysql_sharding")
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
    "kubectl get imagepolicies,attestationauthorities -n prod",
    "operatorkit attest explain registry.example/checkout:1 -n prod",
    "kubectl get myc,mydb,pods -n data --show-labels",
    "kubectl describe mydb orders0 -n data",
)


@click.command("demo", short_help="Run the bundled operators and show what they do.")
@click.option(
    "--keep", is_flag=True, help="Keep the control plane and the operators running until Ctrl-C."
)
def command(*, keep: bool) -> None:
    """Start a control plane, run the bundled operators on it, and show what they do.

    What this machine lacks for an operator is reported in its place, and the others are shown.
    """
    asyncio.run(_demo(keep=keep, started=time.monotonic()))


async def _demo(*, keep: bool, started: float) -> None:
    """Run everything in one loop: what asks to stop cancels the story wherever it is, and all is cleaned up."""
    click.secho(
        "operatorkit demo: certificates, ordered updates, attested images, and a database that fails over",
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
    control_plane.write_kubeconfig(folder / "kubeconfig")
    click.echo()
    took = time.monotonic() - started
    click.secho(
        f"[{took:5.1f}s] A Kubernetes API is ready at {control_plane.url}, with one simulated node",
        bold=True,
    )
    try:
        await _chapters(stack, control_plane, folder, started)
    except OperatorKitError as error:
        raise OperatorKitError(
            "\n".join([f"the demo failed: {error}", *_last_lines(folder)])
        ) from error


def _last_lines(folder: Path) -> Iterator[str]:
    """Yield the end of each operator's log."""
    for log in sorted(folder.glob("*.log")):
        yield from (f"last lines of {log.name}:", *log.read_text().splitlines()[-15:])


async def _chapters(
    stack: contextlib.ExitStack, plane: EmbeddedControlPlane, folder: Path, started: float
) -> None:
    from operatorkit.cluster import LiveCluster, load_config

    kubeconfig = folder / "kubeconfig"
    missing = {name: await asyncio.to_thread(missing_for, name) for name in _OPERATORS}
    warnings: list[str] = []
    async with LiveCluster(load_config(kubeconfig), warn=warnings.append) as api:
        story = Story(api, started=started, kubeconfig=kubeconfig)
        shown = [name for name in _OPERATORS if missing[name] is None]
        await _install(story, shown, warnings)
        for name in shown:
            process = stack.enter_context(operator(name, folder, kubeconfig))
            click.echo(f"  operatorkit run {name} (process {process.pid})")
        await _show_certificates(story)
        await _show_members(MembersStory(api, started=started, kubeconfig=kubeconfig))
        if not _is_missing(story, "attestation", missing["attestation"]):
            images = AttestationStory(api, started=started, kubeconfig=kubeconfig, folder=folder)
            await _show_attestations(images, stack)
        if not _is_missing(story, "mysql_sharding", missing["mysql_sharding"]):
            node = ProcessNode(plane)
            shard = ShardStory(api, started=started, kubeconfig=kubeconfig, node=node)
            await _show_shard(shard, stack)
        story.say("Done: everything above was read from the API")


async def _install(story: Story, names: Sequence[str], warnings: Sequence[str]) -> None:
    """Install the definitions of operators, and create their namespaces and those of the teams."""
    story.say(f"The platform team installs the operators {', '.join(names)}")
    systems = [f"{name.replace('_', '-')}-system" for name in names]
    teams = [each.namespace for each in (Story, AttestationStory, ShardStory)]
    found = [each for name in names for each in _definitions(name)]
    await story.install(found, namespaces=(*systems, *teams))
    unevaluated = sum("does not evaluate" in warning for warning in warnings)
    click.echo(
        f"  (this control plane does not evaluate their {unevaluated} CEL rules; the operators check the same"
        " themselves)"
    )


def _is_missing(story: Stage, operator: str, why: str | None) -> bool:
    """Report what this machine lacks for the section of an operator, if anything."""
    if why is not None:
        story.say(f"{operator} is not shown: {why}")
    return why is not None


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


async def _show_attestations(story: AttestationStory, stack: contextlib.ExitStack) -> None:
    story.say("The security team starts a metadata server, with a key and a note for QA")
    await story.start_the_server(stack)
    story.say("In the namespace prod, only images run that QA has attested")
    await story.require_tests()
    story.say("A team deploys an image that QA has not attested")
    await story.deny()
    story.say("The tests pass, and QA attests the image")
    await story.attest()
    story.say("The team deploys the same image again")
    await story.admit()


async def _show_shard(story: ShardStory, stack: contextlib.ExitStack) -> None:
    story.say("A DBA declares MariaDB with one shard of three members")
    await story.start_the_node(stack)
    await story.create()
    story.say("An application writes rows, and the primary is killed with kill -9")
    async with story.application() as application:
        await story.kill_the_primary(application)
    story.say("No acknowledged row is missing")
    await story.compare(application)


def _definitions(operator: str) -> list[JSONObject]:
    """Return the definitions of an operator's own kinds, found as `operatorkit run NAME` finds the operator."""
    (entry_point,) = metadata.entry_points(group="operatorkit.operators", name=operator)
    return definitions(own_kinds(entry_point.load()))


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
