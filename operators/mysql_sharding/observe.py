"""Reading the members of a shard: their pods from the cache, their servers by SQL.

What belongs here: connections that stay open, the statements of a reading, and what they mean as values. What does not:
what follows from it (`failover`).

A reading takes its facts in the order that `members` asks for, the positions last: one that shows a stopped I/O thread
shows a final position. Every statement has a timeout; a server that accepts connections and hangs is not reachable.
Once it is known to hang, readings of the shard do not wait for its timeout: each step of a failover would take a
second more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from kubernetes.client.models import V1Pod

from operatorkit.clock import Clock
from operatorkit.context import Reader
from operators.mysql_sharding.api import GROUP, MysqlDatabase
from operators.mysql_sharding.detection import Probe, recorded
from operators.mysql_sharding.gtid import EMPTY, Position, merged
from operators.mysql_sharding.members import (
    IoThread,
    Member,
    Pod,
    Replication,
    SemiSync,
    Server,
)
from operators.mysql_sharding.objects import (
    LABEL_ROLE,
    LABEL_SHARD,
    OPERATOR_PORT,
    OPERATOR_USER,
    SYSTEM_USERS,
    member_host,
    member_names,
)
from operators.mysql_sharding.sql import Connector, Login, Row, Session, SqlError, text_of

__all__ = ["ANNOTATION_HOLD", "POD_INDEX", "Observer", "pod_index"]

ANNOTATION_HOLD: Final = f"{GROUP}/hold-replication"
"""On a pod: the operator starts no replication there that a user has stopped."""
POD_INDEX: Final = "shard"
_CONNECT_SECONDS: Final = 1.0
_QUERY_SECONDS: Final = 1.0
_HANGS_AFTER: Final = 3
"""After so many failed probes, a reading of the shard does not wait for the next one to end."""
_HUNG_SECONDS: Final = 0.05
_READ_ALL: Final = "Slave has read all relay log"
_INTERNAL: Final = ", ".join(
    repr(name) for name in (*SYSTEM_USERS, "system user", "event_scheduler", "unauthenticated user")
)

_STATE: Final = """
SELECT COALESCE((SELECT epoch FROM operatorkit.epoch WHERE id = 1), 0) AS epoch,
 COALESCE((SELECT relays FROM operatorkit.epoch WHERE id = 1), 0) AS relays,
 (SELECT started_as FROM operatorkit.process WHERE id = 1) AS started_as,
 @@server_id AS server_id, @@read_only AS read_only
"""
_SEMI_SYNC: Final = """
SELECT LOWER(VARIABLE_NAME) AS name, VARIABLE_VALUE AS value FROM information_schema.GLOBAL_STATUS
 WHERE VARIABLE_NAME IN ('RPL_SEMI_SYNC_SLAVE_STATUS', 'RPL_SEMI_SYNC_MASTER_CLIENTS',
 'SLAVE_RECEIVED_HEARTBEATS')
"""
_SESSIONS: Final = f"""
SELECT COUNT(*) AS sessions FROM information_schema.PROCESSLIST WHERE USER NOT IN ({_INTERNAL})
"""  # noqa: S608 - names of this module
_POSITIONS: Final = """
SELECT @@rpl_semi_sync_master_enabled AS as_primary, @@rpl_semi_sync_slave_enabled AS as_replica,
 @@gtid_binlog_state AS binlog, @@gtid_slave_pos AS slave
"""
"""The variables of semi-sync are read here: beside an aggregate, MariaDB returns 0 for them."""


def pod_index(pod: V1Pod) -> Iterable[str]:
    """Index pods by namespace and shard."""
    metadata = pod.metadata
    name = ((metadata.labels if metadata is not None else None) or {}).get(LABEL_SHARD)
    return [f"{metadata.namespace}/{name}"] if name and metadata is not None else []


@dataclass(slots=True)
class _Known:
    """What is kept of a member between readings."""

    session: Session | None = None
    login: Login | None = None
    unreachable_since: datetime | None = None
    failed: int = 0
    incarnation: str = ""
    known_since: datetime | None = None
    probe: asyncio.Task[Server | None] | None = None
    """The probe that runs, to the address of `probed`."""
    probed: Login | None = None


@dataclass(slots=True)
class Observer:
    """Reads one shard, again and again, on connections that stay open. Close it at the end."""

    reader: Reader
    connector: Connector
    clock: Clock
    history: tuple[Probe, ...] = ()
    _known: dict[str, _Known] = field(default_factory=dict)

    async def members(self, shard: MysqlDatabase, password: str) -> tuple[Member, ...]:
        """Return the members as they are, each read at the same time as the others."""
        pods = self._pods(shard)
        names = [*member_names(shard), *sorted(pods.keys() - set(member_names(shard)))]
        for gone in self._known.keys() - set(names):
            self._drop(gone)
        hosts = {member_host(shard, name): name for name in names}
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._member(name, pods.get(name), hosts, password))
                for name in names
            ]
        return tuple(task.result() for task in tasks)

    def session(self, member: str) -> Session | None:
        """Return the open connection to a member that was read, None where there is none."""
        known = self._known.get(member)
        return known.session if known is not None and known.session is not None else None

    def login(self, member: str) -> Login | None:
        """Return where a member that was read is, and as whom it is read."""
        known = self._known.get(member)
        return known.login if known is not None else None

    def close(self) -> None:
        """Close all connections."""
        for name in list(self._known):
            self._drop(name)

    def _pods(self, shard: MysqlDatabase) -> dict[str, V1Pod]:
        key = f"{shard.metadata.namespace}/{shard.metadata.name}"
        found = self.reader.list(V1Pod, namespace=shard.metadata.namespace, index=(POD_INDEX, key))
        return {pod.metadata.name: pod for pod in found if pod.metadata and pod.metadata.name}

    async def _member(
        self, name: str, pod: V1Pod | None, hosts: Mapping[str, str], password: str
    ) -> Member:
        known = self._known.setdefault(name, _Known())
        seen = _pod(pod) if pod is not None else None
        status = pod.status if pod is not None else None
        address = (status.pod_ip if status is not None else None) or ""
        held = bool(pod and pod.metadata and (pod.metadata.annotations or {}).get(ANNOTATION_HOLD))
        if address:
            login = Login(address, OPERATOR_PORT, OPERATOR_USER, password)
            server = await self._probed(name, known, login, hosts)
        else:
            self._disconnect(known)
            error = "it has no pod" if pod is None else "its pod has no address"
            began = self.clock.now()
            self._failed(known, Probe(member=name, at=began, answered=False, error=error))
            server = None
        return Member(
            name=name,
            address=f"{address}:{OPERATOR_PORT}" if address else "",
            pod=seen,
            server=server,
            unreachable_since=known.unreachable_since,
            held=held,
        )

    async def _probed(
        self, name: str, known: _Known, login: Login, hosts: Mapping[str, str]
    ) -> Server | None:
        """Return a reading that began now, None where there is none.

        The probe of a member that hangs is left running: it counts as failed when it has ended. A
        reading that ended after an earlier call is not used, since it is not of now.
        """
        if known.probe is not None and (known.probe.done() or known.probed != login):
            await self._end_probe(known)
        if known.probe is None:
            known.probed = login
            known.probe = asyncio.create_task(self._probe(name, known, login, hosts))
        timeout = _HUNG_SECONDS if known.failed >= _HANGS_AFTER else None
        done, _ = await asyncio.wait({known.probe}, timeout=timeout)
        if not done:
            return None
        server = known.probe.result()
        known.probe = None
        return server

    async def _end_probe(self, known: _Known) -> None:
        probe, known.probe = known.probe, None
        if probe is not None:
            probe.cancel()
            await asyncio.wait({probe})

    async def _probe(
        self, name: str, known: _Known, login: Login, hosts: Mapping[str, str]
    ) -> Server | None:
        began = self.clock.now()
        try:
            server, heartbeats = await self._read(known, login, hosts, began)
        except SqlError as failed:
            self._disconnect(known)
            self._failed(known, Probe(member=name, at=began, answered=False, error=str(failed)))
            return None
        self.history = recorded(self.history, _answered(name, began, server, heartbeats))
        known.unreachable_since, known.failed = None, 0
        return server

    def _failed(self, known: _Known, probe: Probe) -> None:
        self.history = recorded(self.history, probe)
        known.failed += 1
        if known.unreachable_since is None:
            known.unreachable_since = probe.at

    async def _read(
        self, known: _Known, login: Login, hosts: Mapping[str, str], began: datetime
    ) -> tuple[Server, int]:
        """Return a reading and the number of heartbeats. Raises SqlError."""
        session = await self._connected(known, login)
        [state] = await session.rows(_STATE, seconds=_QUERY_SECONDS)
        replicas = await session.rows("SHOW SLAVE STATUS", seconds=_QUERY_SECONDS)
        counts = {
            text_of(row["name"]): text_of(row["value"])
            for row in await session.rows(_SEMI_SYNC, seconds=_QUERY_SECONDS)
        }
        [sessions] = await session.rows(_SESSIONS, seconds=_QUERY_SECONDS)
        [positions] = await session.rows(_POSITIONS, seconds=_QUERY_SECONDS)
        incarnation = f"{text_of(state['started_as'])}.{state['relays']}"
        if known.incarnation != incarnation or known.known_since is None:
            known.incarnation, known.known_since = incarnation, self.clock.now()
        server = Server(
            observed_at=began,
            server_id=int(state["server_id"]),
            incarnation=incarnation,
            known_since=known.known_since,
            epoch=int(state["epoch"]),
            read_only=bool(state["read_only"]),
            executed=merged(
                [
                    Position.parse(text_of(positions["binlog"])),
                    Position.parse(text_of(positions["slave"])),
                ]
            ),
            replication=_replication(replicas[0], hosts) if replicas else None,
            semi_sync=SemiSync(
                primary=bool(positions["as_primary"]),
                replica=bool(positions["as_replica"]),
                acknowledging=counts.get("rpl_semi_sync_slave_status") == "ON",
                acknowledgers=int(counts.get("rpl_semi_sync_master_clients") or 0),
            ),
            sessions=int(sessions["sessions"]),
        )
        return server, int(counts.get("slave_received_heartbeats") or 0)

    async def _connected(self, known: _Known, login: Login) -> Session:
        if known.session is not None and (known.session.closed or known.login != login):
            self._disconnect(known)
        if known.session is None:
            known.session = await self.connector.connect(login, seconds=_CONNECT_SECONDS)
            known.login = login
            prepare = "SET SESSION sql_log_bin = 0, lock_wait_timeout = 3, wait_timeout = 3600"
            await known.session.rows(prepare, seconds=_QUERY_SECONDS)
        return known.session

    def _drop(self, name: str) -> None:
        known = self._known.pop(name)
        if known.probe is not None:
            known.probe.cancel()
        self._disconnect(known)

    def _disconnect(self, known: _Known) -> None:
        if known.session is not None:
            known.session.close()
            known.session = None


def _pod(pod: V1Pod) -> Pod:
    metadata, status = pod.metadata, pod.status
    assert metadata is not None
    conditions = (status.conditions if status is not None else None) or []
    return Pod(
        uid=metadata.uid or "",
        phase=(status.phase if status is not None else None) or "Pending",
        ready=any(one.type == "Ready" and one.status == "True" for one in conditions),
        terminating=metadata.deletion_timestamp is not None,
        role=(metadata.labels or {}).get(LABEL_ROLE, ""),
    )


def _answered(name: str, at: datetime, server: Server, heartbeats: int) -> Probe:
    replication = server.replication
    return Probe(
        member=name,
        at=at,
        answered=True,
        connected=replication is not None and replication.io_thread is IoThread.RUNNING,
        heartbeats=heartbeats,
        received=str(replication.received) if replication is not None else "",
    )


def _replication(row: Row, hosts: Mapping[str, str]) -> Replication:
    lag = row["Seconds_Behind_Master"]
    running = text_of(row["Slave_IO_Running"])
    states = set(IoThread)
    return Replication(
        source=hosts.get(text_of(row["Master_Host"]), ""),
        io_thread=IoThread(running) if running in states else IoThread.CONNECTING,
        sql_running=text_of(row["Slave_SQL_Running"]) == "Yes",
        received=Position.parse(text_of(row["Gtid_IO_Pos"])) if row["Gtid_IO_Pos"] else EMPTY,
        applied_all=text_of(row["Slave_SQL_Running_State"]).startswith(_READ_ALL),
        io_error=text_of(row["Last_IO_Error"]),
        sql_error=text_of(row["Last_SQL_Error"]),
        io_errno=int(row["Last_IO_Errno"] or 0),
        lag=timedelta(seconds=int(lag)) if lag is not None else None,
        delay=timedelta(seconds=int(row["SQL_Delay"] or 0)),
    )
