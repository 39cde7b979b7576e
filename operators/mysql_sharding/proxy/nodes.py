"""What a node shall have, and the statements that bring it there from what it has. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from operators.mysql_sharding.objects import CLIENT_PORT
from operators.mysql_sharding.proxy.objects import PROXY_USER
from operators.mysql_sharding.sql import quoted

__all__ = [
    "NODE_PRIVILEGES",
    "NodeUser",
    "Server",
    "Statement",
    "Wanted",
    "digest",
    "server_statements",
]

NODE_PRIVILEGES: Final = ("SELECT", "INSERT", "UPDATE", "DELETE")
"""What applications may do through a node: definitions change by spec.tables only, in all buckets."""

Statement = tuple[str, tuple[object, ...]]
"""A statement, and the values of its %s."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server object: where a bucket is."""

    host: str
    port: int = CLIENT_PORT
    user: str = PROXY_USER
    password: str = field(default="", repr=False)


NOWHERE: Final = "127.0.0.1"
"""Where a bucket is whose shard has no address and never had one for this node: connections fail at once."""


@dataclass(frozen=True, slots=True)
class NodeUser:
    """An account of an application on a node."""

    name: str
    password: str = field(repr=False)
    privileges: tuple[str, ...]
    databases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that a node shall have. `servers` maps names to hosts, "" where the address is not known.

    `tables` maps database and name to the statement that creates the table; None leaves tables as they are.
    """

    servers: Mapping[str, str]
    password: str = field(repr=False)
    databases: tuple[str, ...]
    tables: Mapping[tuple[str, str], str] | None
    users: tuple[NodeUser, ...]

    @property
    def fingerprint(self) -> str:
        """What a node remembers, so that one query shows whether it is up to date."""
        content = repr(
            (
                sorted(self.servers.items()),
                self.password,
                self.databases,
                None if self.tables is None else sorted(self.tables.items()),
                [(one, one.password) for one in self.users],
            )
        )
        return digest(content)


def digest(content: str) -> str:
    """Return a short name of a text."""
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def server_statements(wanted: Wanted, found: Mapping[str, Server]) -> list[Statement]:
    """Return what changes the server objects; nothing where they are right.

    The object of a shard whose address is not known stays: its server comes back there, or another
    becomes the primary.
    """
    statements: list[Statement] = []
    for name, host in wanted.servers.items():
        has = found.get(name)
        want = Server(host or (has.host if has is not None else NOWHERE), password=wanted.password)
        if has != want:
            statements.append(_create(name, want))
    statements += [
        (f"DROP SERVER IF EXISTS {quoted(name)}", ())
        for name in sorted(found.keys() - wanted.servers.keys())
    ]
    return statements


def _create(name: str, server: Server) -> Statement:
    options = f"OPTIONS (HOST %s, PORT {server.port}, USER %s, PASSWORD %s)"
    statement = f"CREATE OR REPLACE SERVER {quoted(name)} FOREIGN DATA WRAPPER mysql {options}"
    return statement, (server.host, server.user, server.password)
