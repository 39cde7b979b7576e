"""Options of every command that starts a control plane, so that they are called and explained alike."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["kubeconfig_option", "nodes_option", "port_option"]

port_option = click.option(
    "--port",
    metavar="PORT",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port of the control plane on 127.0.0.1; by default a free one.",
)
kubeconfig_option = click.option(
    "--kubeconfig",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File for the credentials, which is removed at the end; by default a temporary file.",
)
nodes_option = click.option(
    "--nodes",
    metavar="N",
    type=click.IntRange(0, 250),
    default=1,
    show_default=True,
    help="Number of simulated nodes.",
)
