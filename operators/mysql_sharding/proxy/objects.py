"""The objects of the proxy: a Deployment of nodes, their Service, configuration and accounts. Pure.

A node keeps nothing: its data directory is an emptyDir, and at each start of its server all accounts of
applications, and the mark that it is configured, are deleted before it accepts a connection. Its
readiness probe reads that mark, so that neither the Service nor a rolling update counts a node that
the operator has not configured.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any, Final

from kubernetes.client.models import (
    V1ConfigMap,
    V1Deployment,
    V1PodDisruptionBudget,
    V1Secret,
    V1Service,
)

from operators.mysql_sharding.api import GROUP, MysqlCluster
from operators.mysql_sharding.objects import (
    CLIENT_PORT,
    HEALTH_USER,
    OPERATOR_PORT,
    OPERATOR_USER,
    SYSTEM_USERS,
)

__all__ = [
    "LABEL_PROXY",
    "PASSWORDS",
    "PROXY_USER",
    "node_variables",
    "proxy_name",
    "proxy_objects",
]

LABEL_PROXY: Final = f"{GROUP}/proxy"
PROXY_USER: Final = "operatorkit_proxy"
"""The account of the nodes on the shards. It is locked where those of applications are: it writes for them."""
PASSWORDS: Final = ("root", "operator", "proxy")

_USER_ID: Final = 999
_DATA: Final = "/var/lib/mysql"
_CONFIG: Final = "/etc/mysql/operatorkit"
_ACCOUNTS: Final = "/etc/mysql/accounts"
_RUN: Final = "/run/mysqld"
_SOCKET: Final = f"{_RUN}/mysqld.sock"

_DEFAULTS: Final = {"spider_net_read_timeout": 20, "spider_net_write_timeout": 20}
"""How long a statement waits for a shard that does not answer, in seconds, unless spec.proxy.config says otherwise."""

_INSTALL: Final = f"""
set -e
mkdir -p {_DATA}/tmp
rm -rf {_DATA}/data
mariadb-install-db --no-defaults --datadir={_DATA}/data --skip-test-db --auth-root-authentication-method=normal
"""  # noqa: S108 - below the data of the pod
_NEW_SERVER_ID: Final = (
    "SET GLOBAL server_id = 1 + CAST(CONV(LEFT(SHA2(UUID(), 256), 7), 16, 10) AS UNSIGNED)"
)
"""The server id is part of the names of transactions over several shards. Their other parts, thread and
query, begin at 1 with each process: each process has a server id of its own, so that no name recurs."""


def proxy_name(cluster: MysqlCluster) -> str:
    """Return the name of the Deployment, the ConfigMap and the Secret."""
    return f"{cluster.metadata.name}-proxy"


def proxy_objects(cluster: MysqlCluster, passwords: Mapping[str, str]) -> list[Any]:
    """Return the objects of the proxy, none where the cluster has none."""
    if cluster.spec.proxy is None:
        return []
    options = _options(cluster)
    return [
        _accounts_of(cluster, passwords),
        V1ConfigMap(metadata=_metadata(cluster, proxy_name(cluster)), data={"my.cnf": options}),
        _service_of(cluster),
        _budget_of(cluster),
        _pods_of(cluster, options),
    ]


def node_variables() -> dict[str, str]:
    """Return the variables of a node that are the operator's.

    Sessions begin a transaction on a shard by an explicit statement, so that nothing is to be set there
    first (spider_sync_*). A connection is used again by later sessions, and a transaction over several
    shards is prepared on all before it is committed on any (spider_internal_xa).
    """
    return {
        "datadir": f"{_DATA}/data",
        "tmpdir": f"{_DATA}/tmp",  # noqa: S108 - below the data of the pod
        "socket": _SOCKET,
        "pid_file": f"{_RUN}/mysqld.pid",
        "init_file": f"{_ACCOUNTS}/init.sql",
        "port": str(CLIENT_PORT),
        "extra_port": str(OPERATOR_PORT),
        "extra_max_connections": "10",
        "skip_name_resolve": "ON",
        "plugin_load_add": "ha_spider",
        "spider_conn_recycle_mode": "1",
        "spider_sync_autocommit": "OFF",
        "spider_sync_sql_mode": "OFF",
        "spider_sync_trx_isolation": "OFF",
        "spider_internal_xa": "ON",
        "spider_internal_xa_id_type": "1",
        "spider_connect_timeout": "2",
        "spider_connect_retry_count": "0",
        "innodb_lock_wait_timeout": "3",
        "default_storage_engine": "InnoDB",
    }


def _labels(cluster: MysqlCluster) -> dict[str, str]:
    return {
        LABEL_PROXY: cluster.metadata.name,
        "app.kubernetes.io/name": "mariadb-spider",
        "app.kubernetes.io/instance": cluster.metadata.name,
        "app.kubernetes.io/managed-by": "mysql-sharding",
    }


def _metadata(cluster: MysqlCluster, name: str) -> dict[str, Any]:
    return {"name": name, "namespace": cluster.metadata.namespace, "labels": _labels(cluster)}


def _service_of(cluster: MysqlCluster) -> V1Service:
    spec = {
        "selector": {LABEL_PROXY: cluster.metadata.name},
        "ports": [{"name": "mysql", "port": CLIENT_PORT}],
    }
    return V1Service(metadata=_metadata(cluster, cluster.metadata.name), spec=spec)


def _budget_of(cluster: MysqlCluster) -> V1PodDisruptionBudget:
    selector = {"matchLabels": {LABEL_PROXY: cluster.metadata.name}}
    return V1PodDisruptionBudget(
        metadata=_metadata(cluster, proxy_name(cluster)),
        spec={"maxUnavailable": 1, "selector": selector},
    )


def _options(cluster: MysqlCluster) -> str:
    """Return my.cnf: the user's variables first, so that the operator's win."""
    reserved = node_variables()
    config = cluster.spec.proxy.config if cluster.spec.proxy is not None else {}
    own = {name: str(value) for name, value in {**_DEFAULTS, **config}.items()}
    own = {name: value for name, value in own.items() if name not in reserved}
    lines = ["[mariadbd]", *(f"{name}={value}" for name, value in sorted(own.items()))]
    lines += [f"{name}={value}" for name, value in reserved.items()]
    return "\n".join(lines) + "\n"


def _accounts_of(cluster: MysqlCluster, passwords: Mapping[str, str]) -> V1Secret:
    """Return the Secret of the nodes. Its init.sql is run before a server accepts a connection.

    The rights of a deleted account are deleted too: with them, an account of its name cannot be created.
    """
    system = ", ".join(repr(user) for user in SYSTEM_USERS)
    operator = f"'{OPERATOR_USER}'@'%'"
    health = f"'{HEALTH_USER}'@'localhost'"
    statements = [
        _NEW_SERVER_ID,
        "CREATE DATABASE IF NOT EXISTS operatorkit",
        "DROP TABLE IF EXISTS operatorkit.configured",
        f"DELETE FROM mysql.global_priv WHERE User NOT IN ({system}, 'root')",  # noqa: S608
        f"DELETE FROM mysql.db WHERE User NOT IN ({system}, 'root')",  # noqa: S608
        "FLUSH PRIVILEGES",
        f"CREATE USER IF NOT EXISTS {operator} IDENTIFIED BY '{passwords['operator']}'",
        f"ALTER USER {operator} IDENTIFIED BY '{passwords['operator']}'",
        f"GRANT ALL PRIVILEGES ON *.* TO {operator} WITH GRANT OPTION",
        f"CREATE USER IF NOT EXISTS {health}",
        f"GRANT SELECT ON operatorkit.* TO {health}",
        f"ALTER USER 'root'@'localhost' IDENTIFIED BY '{passwords['root']}'",
    ]
    contents = {**passwords, "init.sql": ";\n".join(statements) + ";\n"}
    return V1Secret(
        metadata=_metadata(cluster, proxy_name(cluster)),
        data={name: base64.b64encode(text.encode()).decode() for name, text in contents.items()},
    )


def _pods_of(cluster: MysqlCluster, options: str) -> V1Deployment:
    assert cluster.spec.proxy is not None
    labels = {LABEL_PROXY: cluster.metadata.name}
    digest = hashlib.sha256(options.encode()).hexdigest()[:16]
    template = {
        "metadata": {
            "labels": _labels(cluster),
            "annotations": {f"{GROUP}/config": digest},
        },
        "spec": _pod_spec(cluster),
    }
    return V1Deployment(
        metadata=_metadata(cluster, proxy_name(cluster)),
        spec={
            "replicas": cluster.spec.proxy.replicas,
            "selector": {"matchLabels": labels},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "template": template,
        },
    )


def _pod_spec(cluster: MysqlCluster) -> dict[str, Any]:
    assert cluster.spec.proxy is not None
    image = cluster.spec.proxy.image or cluster.spec.image
    data = {"name": "data", "mountPath": _DATA}
    run = {"name": "run", "mountPath": _RUN}
    locked_down = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    install = {
        "name": "install",
        "image": image,
        "command": ["/bin/sh", "-c", _INSTALL],
        "volumeMounts": [data, {"name": "run", "mountPath": "/tmp"}],  # noqa: S108 - in the pod
        "securityContext": locked_down,
    }
    server = {
        "name": "mariadb",
        "image": image,
        "command": [
            "mariadbd",
            f"--defaults-file={_CONFIG}/my.cnf",
            "--bind-address=$(POD_IP)",
        ],
        "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "ports": [
            {"name": "mysql", "containerPort": CLIENT_PORT},
            {"name": "operator", "containerPort": OPERATOR_PORT},
        ],
        "volumeMounts": [
            data,
            run,
            {"name": "config", "mountPath": _CONFIG, "readOnly": True},
            {"name": "accounts", "mountPath": _ACCOUNTS, "readOnly": True},
        ],
        "startupProbe": _probe("DO 1", period=1, failures=600),
        "readinessProbe": _probe("SELECT 1 FROM operatorkit.configured", period=2, failures=2),
        "livenessProbe": _probe("DO 1", period=10, failures=3),
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
        "terminationGracePeriodSeconds": 30,
        "volumes": [
            {"name": "data", "emptyDir": {}},
            {"name": "run", "emptyDir": {}},
            {"name": "config", "configMap": {"name": proxy_name(cluster)}},
            {"name": "accounts", "secret": {"secretName": proxy_name(cluster)}},
        ],
    }


def _probe(statement: str, *, period: int, failures: int) -> dict[str, Any]:
    query = ["mariadb", "--no-defaults", f"--socket={_SOCKET}", f"--user={HEALTH_USER}"]
    return {
        "exec": {"command": [*query, f"--execute={statement}"]},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }
