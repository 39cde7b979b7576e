"""What the commands of `operatorkit mysql` share: the cluster that is meant, and what is read from it.

What belongs here: options and single objects. What does not: the commands (`cli`, `cli_backups`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from operatorkit.errors import InputError, NotFound

if TYPE_CHECKING:
    from operatorkit.cluster import ClusterAPI
    from operators.mysql_sharding.api import MysqlCluster, MysqlDatabase

__all__ = [
    "JSON",
    "cluster_options",
    "output_option",
    "read_cluster",
    "read_object",
    "read_shard",
    "with_cluster",
]

T = TypeVar("T")
JSON = dict[str, Any]
Work = Callable[["ClusterAPI", str], Awaitable[T]]


def cluster_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options by which a Kubernetes cluster and a namespace are found."""
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


output_option = click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Output format."
)


def with_cluster(
    kubeconfig: str | None, context: str | None, namespace: str | None, work: Work[T]
) -> T:
    """Run `work` with a client and the namespace that is meant."""
    from operatorkit.cluster import LiveCluster, load_config

    config = load_config(kubeconfig, context)

    async def run() -> T:
        async with LiveCluster(config) as api:
            return await work(api, namespace or config.namespace or "default")

    return asyncio.run(run())


async def read_object(api: ClusterAPI, resource: Any, name: str, where: str, kind: str) -> JSON:
    """Return an object as the server has it. Raises InputError where there is none."""
    try:
        return await api.get(resource, name, namespace=where)
    except NotFound as error:
        raise InputError(
            f"there is no {kind} {name} in namespace {where}: name another with -n"
        ) from error


async def read_cluster(api: ClusterAPI, name: str, where: str) -> MysqlCluster:
    """Return a MysqlCluster. Raises InputError where there is none."""
    from operators.mysql_sharding.api import MysqlCluster

    found = await read_object(api, MysqlCluster.api_resource(), name, where, "MysqlCluster")
    return MysqlCluster.read(found)


async def read_shard(api: ClusterAPI, name: str, where: str) -> MysqlDatabase:
    """Return a MysqlDatabase. Raises InputError where there is none."""
    from operators.mysql_sharding.api import MysqlDatabase

    found = await read_object(api, MysqlDatabase.api_resource(), name, where, "MysqlDatabase")
    return MysqlDatabase.read(found)
