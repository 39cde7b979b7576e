"""Objects that the commands of `operatorkit mysql` read, with errors for who misspells a name.

What does not belong here: the commands (`cli`, `cli_backups`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from operatorkit.errors import InputError, NotFound

if TYPE_CHECKING:
    from operatorkit.cluster import ClusterAPI
    from operators.mysql_sharding.api import MysqlCluster, MysqlDatabase

__all__ = [
    "JSON",
    "read_cluster",
    "read_object",
    "read_shard",
]

JSON = dict[str, Any]


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
