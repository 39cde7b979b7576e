"""Clusters of real servers, their backups, and the volume that holds these."""

from __future__ import annotations

import base64
import itertools
from pathlib import Path

from scenarios.mysql_sharding.world import SMALL

from operatorkit.errors import NotFound
from operatorkit.kinds import EVENTS, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, SECRETS
from operatorkit.testing import eventually
from operators.mysql_sharding import MysqlBackup, MysqlCluster, MysqlDatabase
from operators.mysql_sharding.sql import Asyncmy, Login

CLUSTERS = MysqlCluster.api_resource()
SHARDS = MysqlDatabase.api_resource()
BACKUPS = MysqlBackup.api_resource()


class Backups:
    """Clusters of a namespace, their backups, and the volume that holds these."""

    def __init__(self, one):
        self.cluster, self.nodes, self.namespace = one.cluster, one.nodes, one.namespace

    async def start(self, name, **spec):
        user = {"name": "app", "passwordFrom": {"name": "app"}, "databases": ["shop"]}
        body = {
            "apiVersion": MysqlCluster.api_version,
            "kind": "MysqlCluster",
            "metadata": {"name": name},
            "spec": {
                "storage": {"size": "1Gi"},
                "config": SMALL,
                "databases": ["shop"],
                "users": [user],
                **spec,
            },
        }
        await self.cluster.create(CLUSTERS, body, namespace=self.namespace)

    async def prepare(self):
        secret = {"metadata": {"name": "app"}, "stringData": {"password": "not-a-secret"}}
        await self.cluster.create(SECRETS, secret, namespace=self.namespace)
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}}
        claim = {"metadata": {"name": "backups"}, "spec": spec}
        await self.cluster.create(PERSISTENT_VOLUME_CLAIMS, claim, namespace=self.namespace)

    async def available(self, name, *, members):
        """Wait until each shard accepts writes and has that many members at work."""

        async def is_so():
            cluster = await self.cluster.get(CLUSTERS, name, namespace=self.namespace)
            status = cluster["status"]
            assert status.get("readyReplicas") == cluster["spec"].get("shards", 1), status
            for number in range(status["readyReplicas"]):
                shard = await self.shard(f"{name}{number}")
                assert shard["status"].get("readyMembers") == members, shard["status"]
            return status

        return await eventually(is_so, timeout=180, message=f"{name} available")

    async def unavailable(self, name, reason):
        """Wait until a cluster reports for that reason that it is not available; return the message."""

        async def is_so():
            found = await self.cluster.get(CLUSTERS, name, namespace=self.namespace)
            known = (found.get("status") or {}).get("conditions", ())
            messages = {one["reason"]: one["message"] for one in known if one["type"] == "Available"}
            assert reason in messages, known
            return messages[reason]

        return await eventually(is_so, timeout=60, message=f"{name} is not available: {reason}")

    async def shard(self, name):
        return await self.cluster.get(SHARDS, name, namespace=self.namespace)

    async def switch_over(self, shard):
        """Move the primary of a shard of two members to the other one; return the name of that."""
        primary = (await self.shard(shard))["status"]["primary"]
        other = f"{shard}-{1 - int(primary[-1])}"
        change = {"spec": {"switchoverTo": other}}
        await self.cluster.patch(SHARDS, shard, change, patch_type="merge", namespace=self.namespace)

        async def moved():
            status = (await self.shard(shard))["status"]
            assert status["primary"] == other, status
            assert status.get("failover") is None, status
            assert status["readyMembers"] == 2, status
            return other

        return await eventually(moved, timeout=90, message=f"{other} is the primary")

    async def session(self, shard, member=None):
        """Return a connection as the operator to a member of a shard, by default its primary."""
        name = member or (await self.shard(shard))["status"]["primary"]
        secret = await self.cluster.get(SECRETS, f"{shard}-accounts", namespace=self.namespace)
        password = base64.b64decode(secret["data"]["operator"]).decode()
        pod = await self.cluster.get(PODS, name, namespace=self.namespace)
        login = Login(pod["status"]["podIP"], 3306, "operatorkit", password)
        return await Asyncmy().connect(login, seconds=5)

    async def sql(self, shard, statement, *, member=None):
        """Return the rows of a statement on a member of a shard, by default its primary."""
        session = await self.session(shard, member)
        try:
            return await session.rows(statement, seconds=20)
        finally:
            session.close()

    async def fill(self, shard, first, last):
        await self.sql(shard, "CREATE TABLE IF NOT EXISTS shop.orders (n INT PRIMARY KEY, text CHAR(40))")
        rows = f"SELECT seq, SHA1(seq) FROM shop.seq_{first}_to_{last}"
        await self.sql(shard, f"INSERT INTO shop.orders {rows}")

    async def write_pairs(self):
        """Write each number to the first shard and, once that is acknowledged, to the second one."""
        sessions = [await self.session(f"shop{number}") for number in range(2)]
        try:
            for number in itertools.count():
                for session in sessions:
                    await session.rows(f"INSERT INTO shop.pairs VALUES ({number})", seconds=30)
        finally:
            for session in sessions:
                session.close()

    async def checksum(self, shard, member=None):
        [row] = await self.sql(shard, "CHECKSUM TABLE shop.orders EXTENDED", member=member)
        return row["Checksum"]

    async def back_up(self, name, cluster="shop"):
        body = {
            "apiVersion": MysqlBackup.api_version,
            "kind": "MysqlBackup",
            "metadata": {"name": name},
            "spec": {"cluster": cluster, "destination": {"claim": "backups"}},
        }
        await self.cluster.create(BACKUPS, body, namespace=self.namespace)

        async def ended():
            backup = await self.cluster.get(BACKUPS, name, namespace=self.namespace)
            assert backup.get("status", {}).get("phase") in {"Completed", "Failed"}, backup
            return backup

        backup = await eventually(ended, timeout=90, message=f"backup {name}")
        assert backup["status"]["phase"] == "Completed", backup["status"]
        return backup["status"]

    async def failed_seed(self, member):
        """Wait until the pod that brings data to a member has failed; return its message."""

        async def has_failed():
            try:
                pod = await self.cluster.get(PODS, f"{member}-seed", namespace=self.namespace)
            except NotFound as error:
                raise AssertionError(str(error)) from error
            assert pod.get("status", {}).get("phase") == "Failed", pod
            [container] = pod["status"]["containerStatuses"]
            return container["state"]["terminated"]["message"]

        return await eventually(has_failed, timeout=60, message=f"the seed of {member} fails")

    async def directory(self, name="backups"):
        """Return the directory of a claim's volume."""
        claim = await self.cluster.get(PERSISTENT_VOLUME_CLAIMS, name, namespace=self.namespace)
        volume = await self.cluster.get(PERSISTENT_VOLUMES, claim["spec"]["volumeName"])
        return Path(volume["spec"]["hostPath"]["path"])

    async def events(self, name):
        found = (await self.cluster.list(EVENTS, namespace=self.namespace)).items
        return [
            (one["reason"], one.get("message", ""))
            for one in found
            if (one.get("involvedObject") or {}).get("name") == name
        ]

    async def has_event(self, name, reason, text=""):
        async def is_so():
            found = await self.events(name)
            assert any(each == reason and text in message for each, message in found), found
            return next(message for each, message in found if each == reason)

        return await eventually(is_so, timeout=60, message=f"{reason} of {name}")
