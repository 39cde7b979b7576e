"""Databases and accounts of applications, on the primary of a shard.

What belongs here: creating them, and changed passwords and privileges. What does not: locking accounts (`execute`).
They are written as any other transaction, and reach the replicas by replication.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kubernetes.client.models import V1Secret

from operatorkit.cluster import ClusterAPI
from operatorkit.context import Reader
from operatorkit.errors import InputError, NotFound
from operatorkit.kinds import SECRETS
from operatorkit.resource import ObjectMeta
from operators.mysql_sharding.api import MysqlDatabase, MysqlUser
from operators.mysql_sharding.sql import Connector, Login, Session, quoted

__all__ = ["Accounts", "password_of"]

_CONNECT_SECONDS: Final = 1.0
_SECONDS: Final = 5.0
"""Longer than a healthy replica needs to acknowledge; without one, the statement is tried again."""


@dataclass(slots=True)
class Accounts:
    """Keeps the databases and accounts of one shard; does nothing while nothing has changed."""

    api: ClusterAPI
    reader: Reader
    connector: Connector
    _done: object = None

    async def keep(self, shard: MysqlDatabase, login: Login) -> None:
        """Create what is missing on the primary at `login`.

        Raises InputError for a Secret that is missing, SqlError, ClusterError.
        """
        wanted = self._fingerprint(shard)
        if wanted == self._done:
            return
        spec = shard.spec
        passwords = {
            user.name: await password_of(self.api, shard.metadata, user) for user in spec.users
        }
        session = await self.connector.connect(login, seconds=_CONNECT_SECONDS)
        try:
            for name in spec.databases:
                await session.rows(
                    f"CREATE DATABASE IF NOT EXISTS {quoted(name)}", seconds=_SECONDS
                )
            for user in spec.users:
                await _keep_user(session, user, passwords[user.name])
        finally:
            session.close()
        self._done = wanted

    def _fingerprint(self, shard: MysqlDatabase) -> object:
        """Return what decides the accounts: the spec, the Secrets, and the primary's epoch."""
        versions = []
        for user in shard.spec.users:
            found = self.reader.get(
                V1Secret, user.password_from.name, namespace=shard.metadata.namespace
            )
            metadata = found.metadata if found is not None else None
            versions.append(metadata.resource_version if metadata is not None else None)
        spec = shard.spec
        return (
            shard.status.epoch,
            tuple(spec.databases),
            tuple(user.model_dump_json() for user in spec.users),
            tuple(versions),
        )


async def password_of(api: ClusterAPI, owner: ObjectMeta, user: MysqlUser) -> str:
    """Return the password of a user of a shard or a cluster. Raises InputError, ClusterError."""
    source = user.password_from
    where = f"user {user.name} of {owner.namespace}/{owner.name}"
    try:
        secret = await api.get(SECRETS, source.name, namespace=owner.namespace)
    except NotFound as error:
        raise InputError(
            f"{where}: there is no Secret {source.name}: create it with the key {source.key}"
        ) from error
    data: Mapping[str, Any] = secret.get("data") or {}
    if source.key not in data:
        raise InputError(f"{where}: Secret {source.name} has no key {source.key}: add it")
    return base64.b64decode(data[source.key]).decode()


async def _keep_user(session: Session, user: MysqlUser, password: str) -> None:
    await session.rows(
        "CREATE USER IF NOT EXISTS %s@'%%' IDENTIFIED BY %s", user.name, password, seconds=_SECONDS
    )
    await session.rows("ALTER USER %s@'%%' IDENTIFIED BY %s", user.name, password, seconds=_SECONDS)
    privileges = ", ".join(privilege.upper() for privilege in user.privileges)
    for name in user.databases:
        database = quoted(name).replace("%", "%%")
        await session.rows(
            f"GRANT {privileges} ON {database}.* TO %s@'%%'", user.name, seconds=_SECONDS
        )
