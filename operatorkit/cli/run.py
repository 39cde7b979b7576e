"""`operatorkit run`: an operator against the cluster of a kubeconfig, or of the pod it runs in."""

from __future__ import annotations

import ipaddress
import logging
import os
import shutil
import signal
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from operatorkit.cli import ExitCode
from operatorkit.cli._cluster_domain import find_cluster_domain
from operatorkit.cli._load import load
from operatorkit.cli._logs import LogFormat, parse_level, set_up_logging
from operatorkit.cli._loop import run as run_loop
from operatorkit.errors import InputError
from operatorkit.names import dns_label_error, dns_subdomain_error

if TYPE_CHECKING:
    from operatorkit._runtime.admission import ClientConfig
    from operatorkit.cluster import ClusterConfig
    from operatorkit.operator import Operator

__all__ = ["command"]

_log = logging.getLogger("operatorkit.cli")

_NOT_SERVED = (
    "webhooks are not served, so objects are stored without validation (%s): pass --webhooks=url for a control plane "
    "on this machine, --webhook-service=NAME behind a chart's Service, or --webhooks=off to accept this"
)


def _one(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> str | None:
    """Reject a second namespace: the last one alone would be worked in."""
    if len(values) > 1:
        raise click.BadParameter(
            f"the option is given {len(values)} times ({', '.join(values)}): an operator works "
            f"in one namespace, or, without the option, in all",
            param=parameter,
        )
    return _namespace(context, parameter, values[0] if values else None)


def _namespace(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Reject what cannot be the name of a namespace: nothing would ever be found there."""
    del context
    error = None if value is None else dns_label_error(value)
    if error is not None:
        raise click.BadParameter(
            f"{value!r} is not a valid name of a namespace: it {error}", param=parameter
        )
    return value


def _levels(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> list[tuple[str, int]]:
    del context, parameter
    return [parse_level(value) for value in values]


def _lease_name(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> str | None:
    """Reject what cannot be the name of a Lease."""
    del context
    error = None if value is None else dns_subdomain_error(value)
    if error is not None:
        raise click.BadParameter(
            f"{value!r} is not a valid name of a Lease: it {error}", param=parameter
        )
    return value


@click.command("run")
@click.argument("target", metavar="FILE|MODULE:OPERATOR|NAME")
@click.option(
    "--kubeconfig",
    metavar="FILE",
    help="Path of the kubeconfig; by default $KUBECONFIG, or the service account of the pod.",
)
@click.option(
    "--context", metavar="NAME", help="Context of the kubeconfig; by default the current one."
)
@click.option(
    "--namespace",
    "-n",
    metavar="NAME",
    multiple=True,
    callback=_one,
    help="Work in this namespace only; by default in all. Cluster-scoped kinds are not limited.",
)
@click.option(
    "--own-namespace",
    metavar="NAME",
    envvar="POD_NAMESPACE",
    callback=_namespace,
    help="The operator's own namespace; by default $POD_NAMESPACE, else operatorkit-system.",
)
@click.option(
    "--cluster-domain",
    metavar="DOMAIN",
    envvar="CLUSTER_DOMAIN",
    help="The cluster domain in names of Services; by default from /etc/resolv.conf, else cluster.local.",
)
@click.option(
    "--health-port",
    metavar="PORT",
    type=click.IntRange(0, 65535),
    help="Serve probes at /livez and /readyz on this port; 0 selects a free one. By default they are not served.",
)
@click.option(
    "--webhooks",
    "client_config",
    type=click.Choice(["off", "url", "service", "chart"]),
    help="How to serve webhooks. url: at a URL, for a control plane on this machine; service: behind a Service, and "
    "create the webhook configuration; chart: behind a Service, with the configuration of a chart. By default they are "
    "not served, which a warning reports; with --webhook-service, the default is chart.",
)
@click.option(
    "--webhook-port",
    metavar="PORT",
    type=click.IntRange(0, 65535),
    help="Port for webhooks; by default a free one for url, and 9443 for service and chart.",
)
@click.option(
    "--webhook-service",
    metavar="NAME",
    help="The Service of the webhooks; by default OPERATOR-webhook.",
)
@click.option(
    "--leader-elect/--no-leader-elect",
    default=False,
    show_default=True,
    help="Elect a leader among replicas: only the one that holds the Lease reconciles. If it loses the Lease, it exits "
    f"with code {ExitCode.LEASE_LOST:d}.",
)
@click.option(
    "--leader-elect-resource-namespace",
    metavar="NAME",
    callback=_namespace,
    help="The namespace of the Lease; by default the operator's own.",
)
@click.option(
    "--leader-elect-resource-name",
    metavar="NAME",
    callback=_lease_name,
    help="The name of the Lease; by default the operator's.",
)
@click.option(
    "--remove-webhooks",
    is_flag=True,
    help="Delete the operator's webhook configurations and exit.",
)
@click.option(
    "--install", is_flag=True, help="Apply the definitions of the operator's own kinds first."
)
@click.option(
    "--allow-shrink",
    is_flag=True,
    help="With --install: apply definitions even if this removes fields, versions or the scope of existing ones.",
)
@click.option("--verbose", "-v", is_flag=True, help="Log more details.")
@click.option(
    "--log-format",
    type=click.Choice(["console", "json"]),
    default="console",
    show_default=True,
    envvar="LOG_FORMAT",
    help="Lines for people, or one JSON object a line.",
)
@click.option(
    "--log-level",
    metavar="[LOGGER=]LEVEL",
    multiple=True,
    callback=_levels,
    help="The level of all loggers, or of one: debug, operatorkit.runtime=debug. May be repeated.",
)
@click.option(
    "--disposable",
    is_flag=True,
    hidden=True,
    help="With --install: no other operator uses the control plane.",
)
@click.option(
    "--exit-with-parent", is_flag=True, hidden=True, help="Stop when standard input closes."
)
@click.option(
    "--temporary-folder",
    metavar="FOLDER",
    hidden=True,
    help="With --exit-with-parent: remove it then.",
)
def command(
    target: str,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    own_namespace: str | None,
    cluster_domain: str | None,
    health_port: int | None,
    client_config: str | None,
    webhook_port: int | None,
    webhook_service: str | None,
    leader_elect: bool,
    leader_elect_resource_namespace: str | None,
    leader_elect_resource_name: str | None,
    remove_webhooks: bool,
    install: bool,
    allow_shrink: bool,
    verbose: bool,
    log_format: LogFormat,
    log_level: list[tuple[str, int]],
    disposable: bool,
    exit_with_parent: bool,
    temporary_folder: str | None,
) -> None:
    """Run an operator until SIGTERM or Ctrl-C.

    Name the operator by its file (website.py, or website.py:OPERATOR if the file has several), by its module, or, if it
    is installed, by its name (pki). Before it starts, the command checks that the cluster serves the operator's kinds
    and that it has the required permissions. If something is missing, it lists it and exits with code 1.

    With --leader-elect, you can run several replicas: standby replicas keep their caches in sync and serve webhooks.
    """
    set_up_logging(verbose=verbose, log_format=log_format, levels=log_level)
    if exit_with_parent:
        threading.Thread(
            target=_stop_at_end_of_input, args=(temporary_folder,), name="end of input", daemon=True
        ).start()
    loaded = load(target)
    if own_namespace:
        loaded.app.settings = replace(loaded.app.settings, own_namespace=own_namespace)
    if domain := cluster_domain or find_cluster_domain():
        loaded.app.settings = replace(loaded.app.settings, cluster_domain=domain.strip("."))

    election = loaded.app.settings.leader_election
    election = replace(
        election,
        namespace=leader_elect_resource_namespace or election.namespace,
        name=leader_elect_resource_name or election.name,
    )
    loaded.app.settings = replace(loaded.app.settings, leader_election=election)

    from operatorkit._runtime import host as process
    from operatorkit.cluster import load_config

    config = load_config(kubeconfig, context)
    if remove_webhooks:
        removed = run_loop(process.remove_webhooks(loaded.app, config))
        click.echo(
            f"removed {' and '.join(removed)}"
            if removed
            else "no webhooks of this operator are registered"
        )
        return
    run_loop(
        process.host(
            loaded.app,
            config,
            namespace=namespace,
            origin=loaded.origin,
            install=install,
            shrinking="always" if allow_shrink else "own" if disposable else "never",
            stand_ins=disposable,
            health_port=health_port,
            webhooks=_client_config(
                client_config, loaded.app, config, webhook_port, webhook_service
            ),
            leader_elect=leader_elect,
            lease_expired=_exit_without_lease,
        )
    )


def _exit_without_lease(message: str) -> None:
    """End the process at once, from any thread: its event loop may be blocked."""
    os.write(sys.stderr.fileno(), f"operatorkit: {message}\n".encode())
    os._exit(ExitCode.LEASE_LOST)


def _client_config(
    name: str | None, app: Operator, config: ClusterConfig, port: int | None, service: str | None
) -> ClientConfig | None:
    """Return where API servers find the webhooks of an operator. Raises InputError when they could not."""
    from operatorkit._runtime.admission import AtService, AtUrl
    from operatorkit.webhooks import ServiceReference

    if not app.webhooks:
        return None
    if name is None and service is None:
        _log.warning(_NOT_SERVED, ", ".join(webhook.name for webhook in app.webhooks))
        return None
    name = name or "chart"
    if name == "off":
        _log.info("webhooks: not served")
        return None
    if name == "url":
        if not _is_here(config.server):
            raise InputError(
                f"--webhooks=url needs a control plane on this machine, and {config.server} is not: it could not call "
                f"them, and would reject each change of {_kinds_of(app)}: pass --webhooks=off"
            )
        return AtUrl(port=port or 0)
    home = app.settings.own_namespace
    reference = (
        ServiceReference(namespace=home, name=service)
        if service
        else ServiceReference.of(app.name, namespace=home)
    )
    return AtService(
        service=reference, port=9443 if port is None else port, only_ca=name == "chart"
    )


def _kinds_of(app: Operator) -> str:
    return ", ".join(sorted({webhook.resource.kind for webhook in app.webhooks}))


def _is_here(server: str) -> bool:
    host = urlsplit(server).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _stop_at_end_of_input(temporary_folder: str | None) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    if temporary_folder:
        shutil.rmtree(temporary_folder, ignore_errors=True)
    os.kill(os.getpid(), signal.SIGTERM)
