"""Real database servers, run from their pod specs."""

from __future__ import annotations

import asyncio
import base64
import os
import pwd
import shutil
import subprocess

import aiohttp
import pytest

from operatorkit.controlplane.real.binaries import VERSION, find
from operatorkit.names import ApiResource
from operatorkit.testing import eventually
from operators.petset import PetSet, app

PETSETS = PetSet.api_resource()
PODS = ApiResource("", "v1", "Pod", "pods", namespaced=True)
SERVICES = ApiResource("", "v1", "Service", "services", namespaced=True)
MY_CNF = """
[mariadbd]
datadir=/var/lib/mysql
socket=/tmp/mariadb.sock
pid-file=/tmp/mariadb.pid
skip-name-resolve
init-file=/etc/mysql/operatorkit/init.sql
innodb-buffer-pool-size=16M
performance-schema=OFF
"""
INIT_SQL = """
CREATE DATABASE IF NOT EXISTS shop;
CREATE USER IF NOT EXISTS app@'%' IDENTIFIED BY 'secret';
GRANT ALL ON shop.* TO app@'%';
"""
INSTALL = (
    "test -d /var/lib/mysql/mysql || mariadb-install-db --no-defaults --datadir=/var/lib/mysql "
    "--skip-test-db --auth-root-authentication-method=normal"
)
MEMBERS = ("web-0", "web-1", "web-2")


def mariadb(address):
    """Return the pod of a MariaDB server; `address` is where it listens."""
    mounts = [
        {"name": "data", "mountPath": "/var/lib/mysql"},
        {"name": "conf", "mountPath": "/etc/mysql/operatorkit"},
    ]
    ip = {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    ping = ["mariadb-admin", "--no-defaults", "--socket=/tmp/mariadb.sock", "ping"]
    server = {
        "name": "main",
        "image": "mariadb:11",
        "args": ["--defaults-file=/etc/mysql/operatorkit/my.cnf", f"--bind-address={address}"],
        "env": [ip],
        "volumeMounts": mounts,
        "readinessProbe": {"exec": {"command": ping}, "periodSeconds": 1, "failureThreshold": 1},
    }
    install = {"name": "install", "image": "mariadb:11", "command": ["/bin/sh", "-c", INSTALL]}
    spec = {
        "initContainers": [{**install, "volumeMounts": mounts}],
        "containers": [server],
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
            {"name": "conf", "configMap": {"name": "conf"}},
        ],
        "terminationGracePeriodSeconds": 30,
    }
    if os.geteuid() == 0:
        user = pwd.getpwnam("mysql")
        spec["securityContext"] = {"runAsUser": user.pw_uid, "fsGroup": user.pw_gid}
    return spec


async def sql(address, statement):
    """Return what a client of the machine gets from a server."""
    login = ["--no-defaults", "-h", address, "-u", "app", "-psecret", "-N", "-e", statement, "shop"]
    command = ["mariadb", *login]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


async def test_a_mariadb_server_keeps_its_data_over_kill_9_and_deletion(pods, process_nodes, http, config_map):
    if process_nodes is None or shutil.which("mariadbd", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("needs process nodes, and mariadbd (Debian: apt-get install mariadb-server)")
    process_nodes.images.add("mariadb", command=["/usr/sbin/mariadbd"])
    wildcard = process_nodes.groups is not None
    spec = mariadb("*" if wildcard else "$(IP)")
    await http.created("configmaps", config_map("conf", {"my.cnf": MY_CNF, "init.sql": INIT_SQL}))
    size = {"requests": {"storage": "1Gi"}}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": size}
    await http.created("persistentvolumeclaims", {"metadata": {"name": "data"}, "spec": claim})
    await pods.run(name="db", **spec)
    address = (await pods.ready("db"))["podIP"]
    await sql(address, "CREATE TABLE orders (n INT PRIMARY KEY) ENGINE=InnoDB")
    for number in range(20):
        await sql(address, f"INSERT INTO orders VALUES ({number})")
    process_nodes.disrupt.kill(http.namespace, "db")

    async def restarted():
        assert (await pods.container("db"))["restartCount"] == 1
        return await pods.ready("db")

    assert (await eventually(restarted))["podIP"] == address
    assert await sql(address, "SELECT COUNT(*), MAX(n) FROM orders") == "20\t19"
    await pods.delete("db")
    await pods.gone("db")
    await pods.run(name="db", **spec)
    address = (await pods.ready("db"))["podIP"]
    assert await sql(address, "SELECT COUNT(*), MAX(n) FROM orders") == "20\t19"
    assert "Crash recovery" not in await pods.logs("db", container="main")  # it had ended in order


def etcd_set():
    """Return a PetSet of three etcd members that know each other by their names."""
    peers = ",".join(f"{name}=http://{name}.peers:2380" for name in MEMBERS)
    args = [
        "--name=$(NAME)",
        "--data-dir=/data/etcd",
        "--listen-peer-urls=http://$(IP):2380",
        "--listen-client-urls=http://$(IP):2379",
        "--initial-advertise-peer-urls=http://$(NAME).peers:2380",
        "--advertise-client-urls=http://$(NAME).peers:2379",
        f"--initial-cluster={peers}",
        "--log-level=warn",
    ]
    container = {
        "name": "etcd",
        "image": "etcd:3",
        "args": args,
        "env": [
            {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        ],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": 2379}, "periodSeconds": 1},
    }
    template = {
        "metadata": {"labels": {"app": "etcd"}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 10},
    }
    size = {"requests": {"storage": "1Gi"}}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": size}
    return {
        "apiVersion": PetSet.api_version,
        "kind": "PetSet",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 3,
            "serviceName": "peers",
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": {"app": "etcd"}},
            "template": template,
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
        },
    }


class Writer:
    """Writes one key after the other to whichever member takes it, and remembers what was acknowledged."""

    def __init__(self, session, addresses):
        self._session = session
        self._addresses = addresses
        self.acknowledged = 0

    async def call(self, address, path, body):
        url = f"http://{address}:2379/v3/kv/{path}"
        async with self._session.post(url, json=body) as response:
            assert response.status == 200
            return await response.json()

    async def run(self):
        while True:
            for address in await self._addresses():
                body = {"key": encoded(f"key-{self.acknowledged:06}"), "value": encoded("x")}
                try:
                    async with asyncio.timeout(2):
                        await self.call(address, "put", body)
                except (OSError, AssertionError, TimeoutError, aiohttp.ClientError):
                    continue
                self.acknowledged += 1
                break
            await asyncio.sleep(0.02)


def encoded(text):
    return base64.b64encode(text.encode()).decode()


async def test_three_etcd_members_keep_their_quorum_over_a_rolling_restart(process_nodes, cluster, operator):
    binaries = find(VERSION)
    if process_nodes is None or binaries is None:
        pytest.skip("needs process nodes, and etcd: python -m operatorkit.controlplane.real install")
    process_nodes.images.add("etcd", command=[str(binaries.etcd)])
    namespace = cluster.namespace
    service = {
        "metadata": {"name": "peers"},
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {"app": "etcd"},
            "ports": [{"port": 2379}],
        },
    }

    async def members():
        return (await cluster.list(PODS, namespace=namespace, label_selector="app=etcd")).items

    async def addresses():
        return [ip for pod in await members() if (ip := (pod.get("status") or {}).get("podIP"))]

    async def uids():
        return {pod["metadata"]["uid"] for pod in await members()}

    async def all_ready(old=frozenset()):
        pods = await members()
        held = [
            one["status"]
            for pod in pods
            for one in (pod.get("status") or {}).get("conditions", ())
            if one["type"] == "Ready" and pod["metadata"]["uid"] not in old
        ]
        assert held == ["True"] * 3, held
        return True

    async with operator(app, webhooks=None), aiohttp.ClientSession() as session:
        await cluster.create(SERVICES, service, namespace=namespace)
        await cluster.create(PETSETS, etcd_set(), namespace=namespace)
        await eventually(all_ready, timeout=120)
        writer = Writer(session, addresses)
        task = asyncio.create_task(writer.run())
        try:
            await eventually(lambda: writer.acknowledged >= 10)
            old, before = await uids(), writer.acknowledged
            restart = {"metadata": {"annotations": {"restarted": "once"}}}
            body = {"spec": {"template": restart}}
            await cluster.patch(PETSETS, "web", body, patch_type="merge", namespace=namespace)
            await eventually(lambda: all_ready(old), timeout=180, message="the rolling restart")
            during = writer.acknowledged - before
            process_nodes.disrupt.kill(namespace, "web-1")
            killed_at = writer.acknowledged
            await eventually(lambda: writer.acknowledged >= killed_at + 10)
            await eventually(all_ready, timeout=60)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert during > 0
        query = {"key": encoded("key-"), "range_end": encoded("key."), "count_only": True}
        for address in await addresses():
            answer = await writer.call(address, "range", query)
            assert int(answer["count"]) in {writer.acknowledged, writer.acknowledged + 1}
        await cluster.delete(PETSETS, "web", namespace=namespace)
