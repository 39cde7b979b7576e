"""The loop of each cluster with a proxy: the map, the buckets, the nodes, the conditions.

What belongs here: what is done when, and what is reported. What does not: how (`shards`, `configure`).
A node that has started must be configured at once, and a changed primary must reach each node at once,
so that each cluster has a task of its own while this replica leads; the loop of a shard calls `repoint`
as a step of a change of its primary.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Iterable
from typing import Final

from kubernetes.client.models import V1Pod, V1Secret

from operatorkit.conditions import get_condition, set_condition
from operatorkit.context import Reader
from operatorkit.errors import ClusterError, Conflict, InputError
from operatorkit.events import Reference
from operatorkit.names import ObjectKey
from operatorkit.operator import Background
from operators.mysql_sharding import reasons
from operators.mysql_sharding.accounts import password_of
from operators.mysql_sharding.api import MysqlCluster, MysqlDatabase
from operators.mysql_sharding.app import app
from operators.mysql_sharding.proxy.buckets import assigned, mapped, pointed, ranges_of, server_of
from operators.mysql_sharding.proxy.configure import Node
from operators.mysql_sharding.proxy.ddl import create_node_table
from operators.mysql_sharding.proxy.nodes import NodeUser, Wanted
from operators.mysql_sharding.proxy.objects import LABEL_PROXY, proxy_name
from operators.mysql_sharding.proxy.resolver import Resolver
from operators.mysql_sharding.proxy.shards import SchemaBlocked, Schemas, primaries
from operators.mysql_sharding.sql import Asyncmy, SqlError
from operators.mysql_sharding.tasks import run_for_each

__all__ = ["Proxies", "run_proxies"]

_log = logging.getLogger("operators.mysql_sharding.proxy")

FIELD_MANAGER: Final = "mysql-sharding-proxy"
"""Of what this loop writes in the status of a cluster, apart from what the reconcile function applies."""
_LOOK_SECONDS: Final = 0.5
_EVERY_SECONDS: Final = 0.5
_ERROR_SECONDS: Final = 1.0
_REPOINT_SECONDS: Final = 3.0
_INDEX: Final = "proxy"
_ALL: Final = ("every", "cluster")


def _proxy_index(pod: V1Pod) -> Iterable[str]:
    """Index pods of nodes by namespace and cluster."""
    metadata = pod.metadata
    name = ((metadata.labels if metadata is not None else None) or {}).get(LABEL_PROXY)
    return [f"{metadata.namespace}/{name}"] if name and metadata is not None else []


app.index(V1Pod, _INDEX, _proxy_index)
app.index(MysqlCluster, _ALL[0], lambda _: _ALL[1:])


class Proxies:
    """The nodes of all clusters, for the loops of their shards."""

    def __init__(self) -> None:
        self._clusters: dict[ObjectKey, _Cluster] = {}
        self._pointed: dict[ObjectKey, str] = {}

    def pointed(self, shard: MysqlDatabase) -> str | None:
        """Return the primary that the nodes were pointed to, "" for none; None where there are no nodes."""
        cluster = self._clusters.get(_cluster_key(shard))
        if cluster is None or not cluster.has_nodes:
            return None
        return self._pointed.get(_shard_key(shard), "")

    async def repoint(self, shard: MysqlDatabase, primary: str) -> None:
        """Point all nodes that answer to the primaries that there are now.

        A node that does not answer is pointed by the loop of its cluster, and holds no change of a
        primary back: the former one accepts nothing of it.
        """
        cluster = self._clusters.get(_cluster_key(shard))
        if cluster is not None:
            try:
                async with asyncio.timeout(_REPOINT_SECONDS):
                    await cluster.configure()
            except TimeoutError:
                _log.warning("MysqlDatabase %s: a node is slow to repoint", shard.metadata.name)
        self._pointed[_shard_key(shard)] = primary

    async def point(self, key: ObjectKey, bucket: int, shard: int) -> None:
        """Point all nodes that answer to the shard that a bucket moves to, from now on."""
        cluster = self._clusters.get(key)
        if cluster is None:
            return
        cluster.moved[bucket] = shard
        try:
            async with asyncio.timeout(_REPOINT_SECONDS):
                await cluster.configure()
        except TimeoutError:
            _log.warning("MysqlCluster %s: a node is slow to repoint", key)

    async def verify(self, key: ObjectKey) -> str:
        """Return which nodes do not have all that they shall, "" where every one has it."""
        cluster = self._clusters.get(key)
        if cluster is None or not await cluster.configure():
            return "the nodes were not read yet"
        return self.unverified(key)

    def unverified(self, key: ObjectKey) -> str:
        """Return which nodes did not have all that they shall when that was last looked at."""
        cluster = self._clusters.get(key)
        return "; ".join(cluster.errors()[:3]) if cluster is not None else "they were not read yet"

    def lacking(self, cluster: MysqlCluster, shards: Iterable[int]) -> str:
        """Return why the shards do not have what all buckets shall have, "" where they have it."""
        known = self._clusters.get(
            ObjectKey(cluster.metadata.namespace or "", cluster.metadata.name)
        )
        return known.lacking(cluster, shards) if known is not None else "it was not read yet"

    def add(self, key: ObjectKey, cluster: _Cluster) -> None:
        """Add the loop of a cluster."""
        self._clusters[key] = cluster

    def remove(self, key: ObjectKey) -> None:
        """Remove the loop of a cluster."""
        self._clusters.pop(key, None)


def _shard_key(shard: MysqlDatabase) -> ObjectKey:
    return ObjectKey(shard.metadata.namespace or "", shard.metadata.name)


def _cluster_key(shard: MysqlDatabase) -> ObjectKey:
    """Return the key of the cluster that owns a shard; that of none for a shard of its own."""
    owners = shard.metadata.owner_references or []
    names = [one.name for one in owners if one.kind == "MysqlCluster" and one.controller]
    return ObjectKey(shard.metadata.namespace or "", names[0] if names else "")


@app.background
async def run_proxies(world: Background) -> None:
    """Run a task for each cluster that there is."""
    proxies = world.reader.memory(Proxies)
    await run_for_each(
        world,
        MysqlCluster,
        _ALL,
        lambda key: _Cluster(world, key, proxies).run(),
        "proxy of",
        seconds=_LOOK_SECONDS,
    )


class _Cluster:
    """The loop of one cluster, and what it remembers."""

    def __init__(self, world: Background, key: ObjectKey, proxies: Proxies) -> None:
        self.world = world
        self.key = key
        self._proxies = proxies
        self._schemas = Schemas(Asyncmy())
        self._resolver = Resolver(Asyncmy())
        self._nodes: dict[str, Node] = {}
        self._users: tuple[NodeUser, ...] = ()
        self._users_of: object = None
        self._tables: dict[tuple[str, str], str] | None = None
        self.moved: dict[int, int] = {}
        """The shards that buckets were pointed to when they moved."""

    async def run(self) -> None:
        """Sync until cancelled. An error is logged, and the next sync starts from what there is then."""
        self._proxies.add(self.key, self)
        try:
            while True:
                pause = _EVERY_SECONDS
                try:
                    await self._sync()
                except Conflict:
                    pass
                except (ClusterError, SqlError, InputError, SchemaBlocked) as error:
                    _log.warning("MysqlCluster %s: %s", self.key, error)
                    pause = _ERROR_SECONDS
                except Exception:  # noqa: BLE001 - the outermost loop of a cluster: logged, and tried again
                    _log.exception("MysqlCluster %s: the sync failed", self.key)
                    pause = _ERROR_SECONDS
                await self.world.clock.sleep(pause)
        finally:
            self._proxies.remove(self.key)
            self._resolver.close()
            for node in self._nodes.values():
                node.close()

    @property
    def has_nodes(self) -> bool:
        """Whether there are nodes to point."""
        return bool(self._nodes)

    def _read(self) -> MysqlCluster | None:
        """Return the cluster, None where there is nothing to do for it."""
        reader = self.world.reader
        cluster = reader.get(MysqlCluster, self.key.name, namespace=self.key.namespace)
        if cluster is None or cluster.metadata.deletion_timestamp is not None:
            return None
        return cluster if cluster.spec.proxy is not None else None

    async def _sync(self) -> None:
        cluster = self._read()
        if cluster is None:
            return
        if not cluster.status.bucket_map:
            await self._assign(cluster)
            return
        passwords = _passwords(self.world.reader, cluster)
        if passwords is None:
            return
        blocked = ""
        try:
            await self._schemas.keep(
                cluster, primaries(self.world.reader, cluster), passwords["proxy"]
            )
        except SchemaBlocked as error:
            blocked = str(error)
        await self._keep_users(cluster)
        await self.configure()
        await self._report(cluster, passwords["proxy"], blocked)
        await self._resolve(cluster)

    async def _resolve(self, cluster: MysqlCluster) -> None:
        """End transactions over several shards that stayed prepared, and report each."""
        found = primaries(self.world.reader, cluster)
        try:
            ended = await self._resolver.sync(found, self.world.clock.now())
        except (SchemaBlocked, SqlError) as error:
            _log.warning("MysqlCluster %s: prepared transactions: %s", self.key, error)
            return
        for one in ended:
            where = ", ".join(one.shards)
            message = f"transaction {one.xid}, prepared on {where}: {one.outcome.why}"
            reference = Reference.of(cluster)
            if one.outcome.decision is None:
                await self.world.events.warning(reference, reasons.TRANSACTION_UNRESOLVED, message)
            else:
                ending = "committed" if one.outcome.decision == "COMMIT" else "rolled back"
                await self.world.events.normal(
                    reference, reasons.TRANSACTION_RESOLVED, f"{message}; {ending} there"
                )

    async def _assign(self, cluster: MysqlCluster) -> None:
        """Assign the buckets, once: written by resourceVersion, so that no two maps can be.

        Restored data says by itself where its buckets are. Raises SchemaBlocked, SqlError, InputError.
        """
        changed = cluster.model_copy(deep=True)
        first = assigned(cluster.spec.buckets, cluster.spec.shards)
        if cluster.spec.restore_from is not None:
            found = primaries(self.world.reader, cluster)
            held = await self._schemas.restored(cluster, found)
            shards = mapped(first, cluster.spec.buckets)
            first = ranges_of([held.get(bucket, shard) for bucket, shard in enumerate(shards)])
        changed.status.bucket_map = first
        await self._write(changed)

    async def _write(self, cluster: MysqlCluster) -> None:
        await self.world.api.replace(
            MysqlCluster.api_resource(),
            cluster.metadata.name,
            cluster.write(),
            namespace=cluster.metadata.namespace,
            subresource="status",
            field_manager=FIELD_MANAGER,
        )

    async def _keep_users(self, cluster: MysqlCluster) -> None:
        """Read the passwords of the users, where the spec or a Secret has changed."""
        versions = []
        for user in cluster.spec.users:
            secret = self.world.reader.get(
                V1Secret, user.password_from.name, namespace=self.key.namespace
            )
            metadata = secret.metadata if secret is not None else None
            versions.append(metadata.resource_version if metadata is not None else None)
        now = (tuple(user.model_dump_json() for user in cluster.spec.users), tuple(versions))
        if now == self._users_of:
            return
        self._users = tuple(
            [
                NodeUser(
                    name=user.name,
                    password=await password_of(self.world.api, cluster.metadata, user),
                    privileges=tuple(one.upper() for one in user.privileges),
                    databases=tuple(user.databases),
                )
                for user in cluster.spec.users
            ]
        )
        self._users_of = now

    def errors(self) -> list[str]:
        """Return the nodes that are not configured, and why."""
        return sorted(f"{node.host}: {node.error}" for node in self._nodes.values() if node.error)

    def lacking(self, cluster: MysqlCluster, shards: Iterable[int]) -> str:
        """Return why the tables are not on all shards, "" where they are."""
        passwords = _passwords(self.world.reader, cluster)
        if passwords is None or not self._schemas.is_applied(cluster, passwords["proxy"]):
            return "the tables are not on all shards yet"
        found = primaries(self.world.reader, cluster)
        names = [
            found[number].shard for number in shards if not self._schemas.reached(found[number])
        ]
        return f"{', '.join(names)} has no account of the nodes yet" if names else ""

    async def configure(self) -> bool:
        """Bring each node that answers to what it shall have now; return whether that is known."""
        cluster = self._read()
        passwords = _passwords(self.world.reader, cluster) if cluster is not None else None
        if cluster is None or passwords is None or not cluster.status.bucket_map:
            return False
        if self._users_of is None:
            return False
        hosts = self._hosts()
        for name in self._nodes.keys() - hosts.keys():
            self._nodes.pop(name).close()
        for name, host in hosts.items():
            if name not in self._nodes or self._nodes[name].host != host:
                self._nodes[name] = Node(Asyncmy(), host)

        def wanted() -> Wanted:
            return self._wanted(cluster, passwords["proxy"])

        nodes = list(self._nodes.values())
        await asyncio.gather(*(node.keep(wanted, passwords["operator"]) for node in nodes))
        return True

    def _hosts(self) -> dict[str, str]:
        """Return the addresses of the nodes, by the uid of their pods."""
        found = {}
        index = (_INDEX, f"{self.key.namespace}/{self.key.name}")
        for pod in self.world.reader.list(V1Pod, namespace=self.key.namespace, index=index):
            metadata, status = pod.metadata, pod.status
            host = (status.pod_ip if status is not None else None) or ""
            if metadata is None or metadata.deletion_timestamp is not None or not host:
                continue
            if status is not None and status.phase not in {"Succeeded", "Failed"}:
                found[metadata.uid or ""] = host
        return found

    def _wanted(self, cluster: MysqlCluster, password: str) -> Wanted:
        """Return what a node shall have, from what the caches hold now."""
        cluster = self._read() or cluster
        if self._is_applied(cluster, password):
            self._tables = {
                (table.database, table.name): create_node_table(table, cluster.spec.buckets)
                for table in cluster.spec.tables
            }
        hosts = [one.host for one in primaries(self.world.reader, cluster)]
        shards = pointed(cluster.spec, cluster.status, self.moved)
        return Wanted(
            servers={server_of(bucket): hosts[shard] for bucket, shard in enumerate(shards)},
            password=password,
            databases=tuple(cluster.spec.databases),
            tables=self._tables,
            users=self._users,
        )

    def _is_applied(self, cluster: MysqlCluster, password: str) -> bool:
        """Return whether all buckets hold the tables; the condition keeps it over a restart."""
        if self._schemas.is_applied(cluster, password):
            return True
        condition = get_condition(cluster.status.conditions, "SchemaApplied")
        return (
            condition is not None
            and condition.status == "True"
            and condition.observed_generation == cluster.metadata.generation
        )

    async def _report(self, cluster: MysqlCluster, password: str, blocked: str) -> None:
        """Write the conditions, where they have changed."""
        changed = cluster.model_copy(deep=True)
        if self._schemas.is_applied(cluster, password):
            self._condition(changed, "SchemaApplied", True, reasons.SCHEMA_APPLIED, "")
        elif not self._is_applied(cluster, password):
            message = f"{blocked}: no node serves the change before all shards have it"
            self._condition(changed, "SchemaApplied", False, reasons.SHARD_NOT_READY, message)
        errors = self.errors()
        assert cluster.spec.proxy is not None
        if errors or len(self._nodes) < cluster.spec.proxy.replicas:
            configured = len(self._nodes) - len(errors)
            message = f"{configured} of {cluster.spec.proxy.replicas} nodes are configured"
            message = "; ".join([message, *errors[:3]])
            self._condition(changed, "ProxyConfigured", False, reasons.NODES_NOT_READY, message)
        else:
            self._condition(changed, "ProxyConfigured", True, reasons.NODES_CONFIGURED, "")
        if changed.status != cluster.status:
            await self._write(changed)

    def _condition(
        self, cluster: MysqlCluster, kind: str, status: bool, reason: str, message: str
    ) -> None:
        set_condition(
            cluster.status.conditions,
            kind,
            status,
            reason,
            message,
            now=self.world.clock.now(),
            observed_generation=cluster.metadata.generation,
        )


def _passwords(reader: Reader, cluster: MysqlCluster) -> dict[str, str] | None:
    """Return the passwords of the nodes, None where there are none yet."""
    name = proxy_name(cluster)
    secret = reader.get(V1Secret, name, namespace=cluster.metadata.namespace)
    data = (secret.data if secret is not None else None) or {}
    if not {"operator", "proxy"} <= data.keys():
        return None
    return {name: base64.b64decode(data[name]).decode() for name in ("operator", "proxy")}
