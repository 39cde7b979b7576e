"""What the commands of operators share: which cluster and namespace are meant, and the output format.

What belongs here: options that have the same name and the same meaning in each command, as kubectl
has them. What does not: the commands of operatorkit itself (`operatorkit.cli`).

    @command.command("status")
    @click.argument("name")
    @cluster_options
    def status(name: str, kubeconfig: str | None, context: str | None, namespace: str | None) -> None:
        async def work(api: ClusterAPI, where: str) -> JSONObject:
            return await api.get(RESOURCE, name, namespace=where)

        click.echo(with_cluster(kubeconfig, context, namespace, work))
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from operatorkit.cluster import ClusterAPI

__all__ = ["cluster_options", "output_option", "with_cluster"]

T = TypeVar("T")


def output_option(function: Callable[..., None]) -> Callable[..., None]:
    """Add -o and --output: `text`, the default, or `json`; the argument `output` of the function."""
    option = click.option(
        "-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Output format."
    )
    return option(function)


def cluster_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add --kubeconfig, --context and --namespace: three arguments of the function, None where not given."""
    options = [
        click.option(
            "--kubeconfig", metavar="FILE", help="Path of the kubeconfig; by default $KUBECONFIG."
        ),
        click.option(
            "--context",
            metavar="NAME",
            help="Context of the kubeconfig; by default the current one.",
        ),
        click.option(
            "--namespace", "-n", metavar="NAME", help="Namespace; by default that of the context."
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def with_cluster(
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    work: Callable[[ClusterAPI, str], Awaitable[T]],
) -> T:
    """Run `work` with a client and the namespace that is meant; return what it returns.

    The namespace is the one given, else that of the context, else `default`, as with kubectl. Raises
    InputError where the kubeconfig cannot be used, and what `work` raises.
    """
    from operatorkit.cluster import LiveCluster, load_config

    config = load_config(kubeconfig, context)

    async def run() -> T:
        async with LiveCluster(config) as api:
            return await work(api, namespace or config.namespace or "default")

    return asyncio.run(run())
