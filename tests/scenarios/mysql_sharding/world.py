"""Shards of real servers, their clients, and what was acknowledged to them."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import sys
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from operatorkit.errors import InputError
from operatorkit.kinds import EVENTS, PODS, SECRETS
from operatorkit.testing import eventually
from operators.mysql_sharding import MysqlDatabase
from operators.mysql_sharding.sql import Asyncmy, Login, SqlError

DATABASES = MysqlDatabase.api_resource()
CLIENT = Path(__file__).with_name("client.py")
SMALL = {
    "innodb_buffer_pool_size": "16M",
    "innodb_log_file_size": "8M",
    "performance_schema": "OFF",
    "aria_pagecache_buffer_size": "1M",
    "key_buffer_size": "1M",
}


class Shard:
    """A shard of real servers, and what its users do and see."""

    def __init__(self, cluster, nodes, name, kubeconfig):
        self.cluster, self.nodes, self.name = cluster, nodes, name
        self.namespace = cluster.namespace
        self._kubeconfig = kubeconfig

    async def create(self, *, replicas=3, **spec):
        secret = {"metadata": {"name": "app"}, "stringData": {"password": "not-a-secret"}}
        await self.cluster.create(SECRETS, secret, namespace=self.namespace)
        user = {"name": "app", "passwordFrom": {"name": "app"}, "databases": ["shop"]}
        body = {
            "apiVersion": MysqlDatabase.api_version,
            "kind": "MysqlDatabase",
            "metadata": {"name": self.name},
            "spec": {
                "replicas": replicas,
                "storage": {"size": "1Gi"},
                "config": SMALL,
                "databases": ["shop"],
                "users": [user],
                **spec,
            },
        }
        await self.cluster.create(DATABASES, body, namespace=self.namespace)

    async def get(self):
        return await self.cluster.get(DATABASES, self.name, namespace=self.namespace)

    async def change(self, spec):
        await self.cluster.patch(DATABASES, self.name, {"spec": spec}, patch_type="merge", namespace=self.namespace)

    async def status(self):
        return (await self.get()).get("status") or {}

    async def healthy(self, *, after_epoch=0):
        """Wait until the shard accepts writes and every member replicates; return its status.

        A killed server that restarts at once may be chosen again: that an epoch has ended says more than another name.
        """

        async def is_so():
            status = await self.status()
            held = {one["type"]: one["status"] for one in status.get("conditions", ())}
            assert held == {"Available": "True", "Degraded": "False"}, status
            assert "failover" not in status, status
            assert status["readyMembers"] == len(status["members"]), status
            assert status["epoch"] > after_epoch, status
            return status

        return await eventually(is_so, timeout=180, message=f"{self.name} healthy")

    async def address(self, member):
        pod = await self.cluster.get(PODS, member, namespace=self.namespace)
        return pod["status"]["podIP"]

    async def sql(self, member, statement, *, user="operatorkit", password=None, seconds=10):
        """Return the rows of a statement; by default as the operator, which may do everything."""
        if password is None:
            secret = await self.cluster.get(SECRETS, f"{self.name}-accounts", namespace=self.namespace)
            password = base64.b64decode(secret["data"]["operator"]).decode()
        login = Login(await self.address(member), 3306, user, password)
        session = await Asyncmy().connect(login, seconds=5)
        try:
            return await session.rows(statement, seconds=seconds)
        finally:
            session.close()

    def resume(self, member):
        """Let a paused member go on, if its pod was not recreated meanwhile."""
        with suppress(InputError):
            self.nodes.disrupt.resume(self.namespace, member)

    def show(self, what, writes, lost):
        """Show figures with `pytest -s` or `-rP`."""
        found = (what, f"{writes.count()} writes", f"pause {writes.longest_pause():.2f} s", f"lost {lost}")
        sys.stdout.write(", ".join(found) + "\n")

    async def events(self):
        found = (await self.cluster.list(EVENTS, namespace=self.namespace)).items
        return [
            (one["reason"], one.get("message", ""))
            for one in found
            if (one.get("involvedObject") or {}).get("name") == self.name
        ]

    @asynccontextmanager
    async def load(self, tmp_path, *, user="app", password="not-a-secret"):
        """Let a process of its own write to whichever pod is the primary; each acknowledged write is in its file."""
        log = tmp_path / f"writes-{time.monotonic_ns()}"
        log.touch()
        command = [sys.executable, str(CLIENT), str(self._kubeconfig), self.namespace, self.name]
        process = await asyncio.create_subprocess_exec(
            *command, user, password, str(log), stdin=asyncio.subprocess.PIPE
        )
        writes = Writes(log)
        try:
            await eventually(lambda: writes.count() >= 20, timeout=30, message="the first writes")
            yield writes
        finally:
            process.stdin.close()
            await asyncio.wait_for(process.wait(), 30)
        assert process.returncode == 0, process.returncode

    async def lost(self, writes):
        """Return, for each member, how many acknowledged writes it lacks; once all have applied everything."""
        status = await self.healthy()
        names = [one["name"] for one in status["members"]]
        wanted = {(one["writer"], one["n"]) for one in writes.all()}

        async def rows(name):
            found = await self.sql(name, "SELECT writer, n FROM shop.writes", seconds=30)
            return {(row["writer"], row["n"]) for row in found}

        async def equal():
            try:
                found = [await rows(name) for name in names]
            except SqlError as error:  # its data is being copied again
                raise AssertionError(str(error)) from error
            assert all(one == found[0] for one in found), [len(one) for one in found]
            return found

        found = await eventually(equal, timeout=90, message="all members have the same rows")
        return {name: len(wanted - have) for name, have in zip(names, found, strict=True)}


class Writes:
    """What a client was acknowledged: one JSON object for each write, with its time."""

    def __init__(self, path):
        self._path = path

    def all(self):
        lines = self._path.read_text().splitlines()
        return [json.loads(line) for line in lines if line.endswith("}")]

    def count(self):
        return len(self.all())

    def longest_pause(self):
        """Return the seconds between the two acknowledgements that are furthest apart."""
        times = [one["at"] for one in self.all()]
        return max((b - a for a, b in itertools.pairwise(times)), default=0.0)

    async def more(self):
        """Wait until further writes were acknowledged."""
        before = self.count()
        await eventually(lambda: self.count() >= before + 20, timeout=120, message="writes go on")
