"""`operatorkit run`: an operator against the cluster of a kubeconfig, or of the pod it runs in."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import sys
import threading
from dataclasses import replace

import click

from operatorkit.cli._load import load

__all__ = ["command", "set_up_logging"]


@click.command("run")
@click.argument("target", metavar="NAME|MODULE:OPERATOR|FILE")
@click.option("--kubeconfig", metavar="FILE", help="Where the cluster is; by default $KUBECONFIG, or the pod's own.")
@click.option("--context", metavar="NAME", help="The context of the kubeconfig; by default its current one.")
@click.option("--namespace", "-n", metavar="NAME", help="Work in this namespace only; by default in all.")
@click.option(
    "--own-namespace",
    metavar="NAME",
    envvar="POD_NAMESPACE",
    help="The namespace that the operator itself lives in; by default $POD_NAMESPACE, else operatorkit-system.",
)
@click.option(
    "--health-port",
    metavar="PORT",
    type=click.IntRange(0, 65535),
    help="Answer probes at /healthz and /readyz on this port; 0 takes a free one. By default there is none.",
)
@click.option(
    "--webhook-service",
    metavar="NAME",
    help="Serve its webhooks on port 9443, behind this Service of its own namespace; a chart registers them.",
)
@click.option("--install", is_flag=True, help="Apply the definitions of the operator's own kinds first.")
@click.option("--verbose", "-v", is_flag=True, help="Say more.")
@click.option("--leashed", is_flag=True, hidden=True, help="Stop when standard input closes: its holder is gone.")
@click.option("--scratch", metavar="FOLDER", hidden=True, help="With --leashed: remove this then, the holder cannot.")
def command(
    target: str,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    own_namespace: str | None,
    health_port: int | None,
    webhook_service: str | None,
    install: bool,
    verbose: bool,
    leashed: bool,
    scratch: str | None,
) -> None:
    """Run an operator until SIGTERM or Ctrl-C.

    TARGET is the name of an installed operator, module:operator, or a file. Before it starts, the operator checks that
    the cluster serves its kinds and that it has the permissions it needs; what is missing is named, with exit code 1.
    """
    set_up_logging(verbose=verbose)
    if leashed:
        threading.Thread(target=_stop_at_end_of_input, args=(scratch,), name="leash", daemon=True).start()
    loaded = load(target)
    if own_namespace:
        loaded.app.settings = replace(loaded.app.settings, own_namespace=own_namespace)

    from operatorkit._runtime.admission import AtService
    from operatorkit._runtime.host import host
    from operatorkit.cluster import load_config
    from operatorkit.webhooks import ServiceReference

    webhooks = None
    if webhook_service is not None:
        service = ServiceReference(namespace=loaded.app.settings.own_namespace, name=webhook_service)
        webhooks = AtService(service=service, complete_only=True)
    config = load_config(kubeconfig, context)
    asyncio.run(
        host(
            loaded.app,
            config,
            namespace=namespace,
            origin=loaded.origin,
            install=install,
            health_port=health_port,
            webhooks=webhooks,
        )
    )


def _stop_at_end_of_input(scratch: str | None) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    if scratch:
        shutil.rmtree(scratch, ignore_errors=True)
    os.kill(os.getpid(), signal.SIGTERM)


def set_up_logging(*, verbose: bool) -> None:
    """Log to stderr: a line has time, level, logger and message."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
        datefmt="%H:%M:%S",
    )
    for noisy in ("asyncio", "aiohttp", "kubernetes", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
