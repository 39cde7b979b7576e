"""The objects of a shard: PetSet, Services, ConfigMap, accounts; and the shards of a cluster.

What belongs here: their content. What does not: when they are written (`reconcile`). Pure.

The pods work with the official image of MariaDB and with the programs of a distribution: commands are written out, and
nothing of an image's entrypoint is used.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

from kubernetes.client.models import V1ConfigMap, V1PodDisruptionBudget, V1Secret, V1Service

from operatorkit.resource import Model, ObjectMeta, Resource
from operators.mysql_sharding.api import (
    GROUP,
    MysqlCluster,
    MysqlDatabase,
    MysqlDatabaseSpec,
    ShardOrigin,
    ShardTemplate,
    ShardUpdateStrategy,
)

__all__ = [
    "CLIENT_PORT",
    "HEALTH_USER",
    "LABEL_ROLE",
    "LABEL_SHARD",
    "LOCK_ALL",
    "NOT_LOCKED",
    "OPERATOR_PORT",
    "OPERATOR_USER",
    "REPLICATION_USER",
    "SYSTEM_USERS",
    "PetSet",
    "accounts_of",
    "accounts_secret_name",
    "budget_of",
    "config_map_name",
    "config_of",
    "member_host",
    "member_names",
    "pets_of",
    "services_of",
    "shard_of",
]

LABEL_SHARD: Final = f"{GROUP}/shard"
LABEL_ROLE: Final = f"{GROUP}/role"
"""The role in which a pod serves clients. Only this operator sets it: the Services -rw and -ro select on it."""

CLIENT_PORT: Final = 3306
OPERATOR_PORT: Final = 3307
"""extra_port: the operator is not locked out where clients use up all connections."""
OPERATOR_USER: Final = "operatorkit"
REPLICATION_USER: Final = "operatorkit_replication"
HEALTH_USER: Final = "operatorkit_health"
SYSTEM_USERS: Final = (
    OPERATOR_USER,
    REPLICATION_USER,
    HEALTH_USER,
    "mariadb.sys",
    "mysql",
    "PUBLIC",
)
"""Accounts that are never locked: those of the operator, and those that the server needs itself."""

_USER_ID: Final = 999
"""The user mysql of the official image."""
_DATA: Final = "/var/lib/mysql"
_CONFIG: Final = "/etc/mysql/operatorkit"
_ACCOUNTS: Final = "/etc/mysql/accounts"
_RUN: Final = "/run/mysqld"
_IDENTITY: Final = "operatorkit.cnf"
_SOCKET: Final = f"{_RUN}/mysqld.sock"

_INSTALL: Final = f"""
set -e
trap 'exit 1' TERM
mkdir -p {_DATA}/tmp
test "$1" != wait || test -d {_DATA}/data || until test -d {_DATA}/seeded; do sleep 1; done
if test -d {_DATA}/seeded; then rm -rf {_DATA}/data; mv {_DATA}/seeded {_DATA}/data; fi
test ! -d {_DATA}/data || exit 0
rm -rf {_DATA}/new
mariadb-install-db --no-defaults --datadir={_DATA}/new --skip-test-db --auth-root-authentication-method=normal
printf '[mariadbd]\\nserver_id=1%s\\n' `od -An -N3 -tu4 /dev/urandom` > {_DATA}/new/{_IDENTITY}
sync
mv {_DATA}/new {_DATA}/data
"""  # noqa: S108 - below the data of the pod
"""Makes the data directory where there is none; one that was not completed is not taken for one.

Data that a seed pod has brought takes its place. With the argument `wait`, as in a shard that is
restored, nothing starts before it is there.

The server id belongs to the data. A replica ignores transactions with its own id: were it that of the member, one that
is emptied would never receive again what it wrote as a primary.
"""

_EPOCH_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS operatorkit.epoch"
    " (id INT PRIMARY KEY, epoch BIGINT NOT NULL, relays BIGINT NOT NULL DEFAULT 0) ENGINE=InnoDB"
)
"""What a server remembers by itself: the highest epoch that it has accepted, and how often it lost its relay log."""

_PROCESS_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS operatorkit.process"
    " (id INT PRIMARY KEY, started_as CHAR(36) NOT NULL) ENGINE=InnoDB"
)
"""A name that each process of the server gives itself. The time of its start is none: two can be in one second."""

NOT_LOCKED: Final = (
    "WHERE User <> ''"
    f" AND User NOT IN ({', '.join(repr(user) for user in SYSTEM_USERS)})"
    " AND NOT (User = 'root' AND Host = 'localhost')"
    " AND COALESCE(JSON_VALUE(Priv, '$.is_role'), 0) IN (0, 'false')"
    " AND COALESCE(JSON_VALUE(Priv, '$.account_locked'), 0) IN (0, 'false')"
)
"""Selects the accounts of mysql.global_priv that can be locked and are not."""

LOCK_ALL: Final = (
    "UPDATE mysql.global_priv SET Priv = JSON_SET(Priv, '$.account_locked', true,"  # noqa: S608
    f" '$.locked_by', 'operatorkit') {NOT_LOCKED}"
)
"""Locks every account but those of the operator, of the server, and root within the pod."""


class PetSetSpec(Model):
    """What a shard needs of a PetSet."""

    replicas: int
    selector: dict[str, Any]
    service_name: str
    template: dict[str, Any]
    volume_claim_templates: list[dict[str, Any]]
    pod_management_policy: str
    update_strategy: dict[str, Any]
    overrides: list[dict[str, Any]] = []
    deletion: str


class PetSetStatus(Model):
    """What is read of the status of a PetSet."""

    observed_generation: int | None = None


class PetSet(
    Resource[PetSetSpec, PetSetStatus],
    group="apps.operatorkit.dev",
    version="v1alpha1",
    external=True,
):
    """The members of a shard, kept by operators.petset."""


def shard_of(
    cluster: MysqlCluster, number: int, origin: ShardOrigin | None = None
) -> MysqlDatabase:
    """Return a shard of a cluster, and which backup it starts with."""
    shared = {name: getattr(cluster.spec, name) for name in ShardTemplate.model_fields}
    strategy = {
        name: getattr(cluster.spec.update_strategy, name)
        for name in ShardUpdateStrategy.model_fields
    }
    return MysqlDatabase(
        metadata=ObjectMeta(
            name=f"{cluster.metadata.name}{number}", namespace=cluster.metadata.namespace
        ),
        spec=MysqlDatabaseSpec(
            **shared,
            replicas=cluster.spec.replicas_per_shard,
            restore_from=origin,
            update_strategy=ShardUpdateStrategy(**strategy),
        ),
    )


def member_names(shard: MysqlDatabase) -> list[str]:
    """Return the names of the members that are wanted, by ordinal."""
    return [f"{shard.metadata.name}-{ordinal}" for ordinal in range(shard.spec.replicas)]


def member_host(shard: MysqlDatabase, member: str) -> str:
    """Return the DNS name of a member, which it keeps when its pod is recreated."""
    return f"{member}.{shard.metadata.name}.{shard.metadata.namespace}.svc"


def accounts_secret_name(shard: MysqlDatabase) -> str:
    """Return the name of the Secret with the passwords of the operator's accounts."""
    return f"{shard.metadata.name}-accounts"


def _labels(shard: MysqlDatabase) -> dict[str, str]:
    return {
        LABEL_SHARD: shard.metadata.name,
        "app.kubernetes.io/name": "mariadb",
        "app.kubernetes.io/instance": shard.metadata.name,
        "app.kubernetes.io/managed-by": "mysql-sharding",
    }


def _metadata(shard: MysqlDatabase, name: str) -> dict[str, Any]:
    return {"name": name, "namespace": shard.metadata.namespace, "labels": _labels(shard)}


def services_of(shard: MysqlDatabase) -> list[V1Service]:
    """Return the headless Service of the members, and those of the primary and of the replicas."""
    name = shard.metadata.name
    port = {"name": "mysql", "port": CLIENT_PORT}
    headless = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": {LABEL_SHARD: name},
        "ports": [port],
    }
    services = [V1Service(metadata=_metadata(shard, name), spec=headless)]
    for suffix, role in (("rw", "primary"), ("ro", "replica")):
        spec = {"selector": {LABEL_SHARD: name, LABEL_ROLE: role}, "ports": [port]}
        services.append(V1Service(metadata=_metadata(shard, f"{name}-{suffix}"), spec=spec))
    return services


def budget_of(shard: MysqlDatabase) -> V1PodDisruptionBudget:
    """Return the budget of voluntary disruptions: one member at a time."""
    return V1PodDisruptionBudget(
        metadata=_metadata(shard, shard.metadata.name),
        spec={"maxUnavailable": 1, "selector": {"matchLabels": {LABEL_SHARD: shard.metadata.name}}},
    )


def server_variables(shard: MysqlDatabase) -> dict[str, str]:
    """Return the variables that keep acknowledged writes safe, which are the operator's.

    A server starts as a replica that accepts nothing. It keeps the tail of its binary log at a crash recovery
    (init_rpl_role=MASTER): what it has acknowledged is in it, also when every member crashes at once.
    """
    variables = {
        "datadir": f"{_DATA}/data",
        "tmpdir": f"{_DATA}/tmp",  # noqa: S108 - below the data of the pod
        "socket": _SOCKET,
        "pid_file": f"{_RUN}/mysqld.pid",
        "init_file": f"{_ACCOUNTS}/init.sql",
        "port": str(CLIENT_PORT),
        "extra_port": str(OPERATOR_PORT),
        "extra_max_connections": "10",
        "skip_name_resolve": "ON",
        "log_bin": "binlog",
        "log_bin_index": "binlog.index",
        "relay_log": "relay",
        "relay_log_index": "relay.index",
        "log_slave_updates": "ON",
        "binlog_format": "ROW",
        "gtid_strict_mode": "ON",
        "gtid_domain_id": "0",
        "sync_binlog": "1",
        "innodb_flush_log_at_trx_commit": "1",
        "read_only": "ON",
        "skip_slave_start": "ON",
        "slave_net_timeout": "10",
        "init_rpl_role": "MASTER",
        "default_storage_engine": "InnoDB",
    }
    if shard.spec.replicas > 1 and not shard.spec.durability.allow_async:
        variables |= {
            "rpl_semi_sync_slave_enabled": "ON",
            "rpl_semi_sync_slave_kill_conn_timeout": "1",
            "rpl_semi_sync_master_enabled": "OFF",
            "rpl_semi_sync_master_wait_point": "AFTER_SYNC",
            "rpl_semi_sync_master_wait_no_slave": "ON",
            "rpl_semi_sync_master_timeout": "4294967295",
        }
    return variables


def config_map_name(shard: MysqlDatabase, number: int) -> str:
    """Return the name of a ConfigMap with my.cnf; the first one has no number."""
    return f"{shard.metadata.name}-config" + (f"-{number}" if number else "")


def config_of(shard: MysqlDatabase, number: int = 0) -> V1ConfigMap:
    """Return the ConfigMap with my.cnf: the user's variables first, so that the operator's win."""
    reserved = server_variables(shard)
    own = {name: str(value) for name, value in shard.spec.config.items() if name not in reserved}
    lines = ["[mariadbd]", *(f"{name}={value}" for name, value in sorted(own.items()))]
    lines += [f"{name}={value}" for name, value in reserved.items()]
    lines.append(f"!include {_DATA}/data/{_IDENTITY}")
    return V1ConfigMap(
        metadata=_metadata(shard, config_map_name(shard, number)),
        data={"my.cnf": "\n".join(lines) + "\n"},
    )


def accounts_of(shard: MysqlDatabase, passwords: Mapping[str, str]) -> V1Secret:
    """Return the Secret with the operator's passwords: `root`, `operator` and `replication`.

    Its init.sql is run by each server before it accepts a connection. Nothing of it enters the binary log.
    """
    statements = [
        "SET SESSION sql_log_bin = 0",
        "CREATE DATABASE IF NOT EXISTS operatorkit",
        _EPOCH_TABLE,
        _PROCESS_TABLE,
        "REPLACE INTO operatorkit.process VALUES (1, UUID())",
        "CREATE TABLE IF NOT EXISTS operatorkit.promotions (epoch BIGINT PRIMARY KEY)",
        "DELETE FROM mysql.global_priv WHERE User = '' OR (User = 'root' AND Host <> 'localhost')",
        "FLUSH PRIVILEGES",
        *_account(OPERATOR_USER, "%", passwords["operator"], "ALL PRIVILEGES"),
        *_account(REPLICATION_USER, "%", passwords["replication"], "REPLICATION SLAVE"),
        f"CREATE USER IF NOT EXISTS '{HEALTH_USER}'@'localhost'",
        f"ALTER USER 'root'@'localhost' IDENTIFIED BY '{passwords['root']}'",
        LOCK_ALL,
        "FLUSH PRIVILEGES",
    ]
    return V1Secret(
        metadata=_metadata(shard, accounts_secret_name(shard)),
        data={
            name: base64.b64encode(value.encode()).decode()
            for name, value in {
                **passwords,
                "init.sql": ";\n".join(statements) + ";\n",
            }.items()
        },
    )


def _account(user: str, host: str, password: str, privileges: str) -> list[str]:
    name = f"'{user}'@'{host}'"
    grant = " WITH GRANT OPTION" if privileges.startswith("ALL") else ""
    return [
        f"CREATE USER IF NOT EXISTS {name} IDENTIFIED BY '{password}'",
        f"ALTER USER {name} IDENTIFIED BY '{password}'",
        f"GRANT {privileges} ON *.* TO {name}{grant}",
    ]


def pets_of(shard: MysqlDatabase) -> PetSet:
    """Return the PetSet of the members. Its pods are replaced only when this operator deletes them."""
    labels = {LABEL_SHARD: shard.metadata.name}
    storage: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": str(shard.spec.storage.size)}},
    }
    if shard.spec.storage.class_name:
        storage["storageClassName"] = shard.spec.storage.class_name
    return PetSet(
        metadata=ObjectMeta(
            name=shard.metadata.name, namespace=shard.metadata.namespace, labels=_labels(shard)
        ),
        spec=PetSetSpec(
            replicas=shard.spec.replicas,
            selector={"matchLabels": labels},
            service_name=shard.metadata.name,
            template={"metadata": {"labels": _labels(shard)}, "spec": _pod_spec(shard)},
            volume_claim_templates=[
                {"metadata": {"name": "data", "labels": labels}, "spec": storage}
            ],
            pod_management_policy="Parallel",
            update_strategy={"type": "OnDelete"},
            deletion="Parallel",
        ),
    )


def _pod_spec(shard: MysqlDatabase) -> dict[str, Any]:
    data = {"name": "data", "mountPath": _DATA}
    run = {"name": "run", "mountPath": _RUN}
    waits = shard.spec.restore_from is not None
    locked_down = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    install = {
        "name": "install",
        "image": shard.spec.image,
        "command": ["/bin/sh", "-c", _INSTALL, "install", "wait" if waits else "make"],
        "volumeMounts": [data, {"name": "run", "mountPath": "/tmp"}],  # noqa: S108 - in the pod
        "securityContext": locked_down,
    }
    server = {
        "name": "mariadb",
        "image": shard.spec.image,
        "command": [
            "mariadbd",
            f"--defaults-file={_CONFIG}/my.cnf",
            "--bind-address=$(POD_IP)",
            "--report-host=$(POD_NAME)",
        ],
        "env": [
            _field("POD_IP", "status.podIP"),
            _field("POD_NAME", "metadata.name"),
        ],
        "ports": [
            {"name": "mysql", "containerPort": CLIENT_PORT},
            {"name": "operator", "containerPort": OPERATOR_PORT},
        ],
        "resources": shard.write()["spec"].get("resources") or {},
        "volumeMounts": [
            data,
            run,
            {"name": "config", "mountPath": _CONFIG, "readOnly": True},
            {"name": "accounts", "mountPath": _ACCOUNTS, "readOnly": True},
        ],
        "startupProbe": _query_probe(period=2, failures=1800),
        "readinessProbe": _query_probe(period=5, failures=1),
        "livenessProbe": _query_probe(period=10, failures=6),
        "securityContext": locked_down,
    }
    return {
        "initContainers": [install],
        "containers": [server],
        "securityContext": {
            "runAsUser": _USER_ID,
            "runAsGroup": _USER_ID,
            "fsGroup": _USER_ID,
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 60,
        "affinity": {
            "podAntiAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "weight": 100,
                        "podAffinityTerm": {
                            "labelSelector": {"matchLabels": {LABEL_SHARD: shard.metadata.name}},
                            "topologyKey": "kubernetes.io/hostname",
                        },
                    }
                ]
            }
        },
        "volumes": [
            {"name": "run", "emptyDir": {}},
            {"name": "config", "configMap": {"name": f"{shard.metadata.name}-config"}},
            {"name": "accounts", "secret": {"secretName": accounts_secret_name(shard)}},
        ],
    }


def _field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _query_probe(*, period: int, failures: int) -> dict[str, Any]:
    """Return a probe that sends a query: a server that accepts connections and hangs does not pass it."""
    query = ["mariadb", "--no-defaults", f"--socket={_SOCKET}", f"--user={HEALTH_USER}"]
    return {
        "exec": {"command": [*query, "--execute=DO 1"]},
        "periodSeconds": period,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }
