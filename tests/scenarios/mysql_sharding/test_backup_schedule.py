"""Backups by schedule and the deletion of old ones, on a cluster whose servers do not run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from operatorkit.errors import Forbidden, Invalid, NotFound
from operatorkit.kinds import EVENTS, PODS
from operatorkit.testing import FakeClock, eventually

pytest.importorskip("asyncmy", reason="needs the driver: pip install operatorkit[mysql]")
pytest.importorskip("cronsim", reason="needs the times of schedules: pip install operatorkit[mysql]")

from operators.mysql_sharding import MysqlBackup, MysqlCluster, app
from operators.mysql_sharding.backup.pods import LABEL_PRUNES

CLUSTERS, BACKUPS = MysqlCluster.api_resource(), MysqlBackup.api_resource()
FIRST = datetime.now(UTC).replace(hour=3, minute=0, second=0, microsecond=0) + timedelta(days=2)
"""Times of objects are those of the API server, so that the schedule begins after them."""


def name_of(day):
    return f"shop-{FIRST + timedelta(days=day):%Y%m%d}0300"


class World:
    """A cluster with a schedule, and the clock of its operator."""

    def __init__(self, cluster, clock, running):
        self.cluster, self.clock, self.running = cluster, clock, running
        self.namespace = cluster.namespace

    async def create(self, **backup):
        policy = {"destination": {"claim": "backups"}, "schedule": "0 3 * * *", **backup}
        body = {
            "apiVersion": MysqlCluster.api_version,
            "kind": "MysqlCluster",
            "metadata": {"name": "shop"},
            "spec": {"replicasPerShard": 1, "backup": policy},
        }
        await self.cluster.create(CLUSTERS, body, namespace=self.namespace)
        await self.status("BackupReady", "NoBackup")

    async def pass_hours(self, hours):
        await self.running.idle()  # a request that is under way would time out
        self.clock.tick(timedelta(hours=hours))  # at once: the loops of shards sleep for parts of a second
        await self.running.idle()

    async def backups(self):
        found = (await self.cluster.list(BACKUPS, namespace=self.namespace)).items
        return sorted(one["metadata"]["name"] for one in found)

    async def has(self, *names):
        async def is_so():
            assert await self.backups() == sorted(names)
            return True

        await eventually(is_so, timeout=30, message=f"the backups are {names}")

    async def end(self, name, phase="Completed"):
        """Write the status of a backup, as its pods would let the operator do."""
        shards = [{"shard": "shop0", "member": "shop0-0", "completedAt": self.clock.now().isoformat()}]
        status = {"phase": phase, "path": f"shop/{name}", "shards": shards if phase == "Completed" else []}
        await self.write(BACKUPS, name, status)

    async def write(self, resource, name, status):
        """Change the status of an object."""
        await self.cluster.patch(
            resource, name, {"status": status}, patch_type="merge", namespace=self.namespace, subresource="status"
        )

    async def status(self, type_, reason):
        async def is_so():
            found = await self.cluster.get(CLUSTERS, "shop", namespace=self.namespace)
            status = found.get("status") or {}
            reasons = {one["type"]: one["reason"] for one in status.get("conditions", ())}
            assert reasons.get(type_) == reason, status
            return status

        return await eventually(is_so, timeout=30, message=f"{type_} is {reason}")

    async def reported(self, reason):
        """Wait for an Event: they are written beside the status, and may come later."""

        async def is_so():
            found = (await self.cluster.list(EVENTS, namespace=self.namespace)).items
            assert reason in {one["reason"] for one in found}
            return True

        await eventually(is_so, timeout=30, message=f"an Event {reason}")


@pytest.fixture
async def world(cluster, operator):
    clock = FakeClock(start=FIRST - timedelta(hours=6))
    async with operator(app, clock=clock) as running:
        yield World(cluster, clock, running)


async def test_backups_follow_the_schedule_and_a_running_one_holds_back_the_next(world):
    await world.create()
    assert await world.backups() == []
    await world.pass_hours(6)
    await world.has(name_of(0))
    status = await world.status("BackupReady", "NoBackup")
    assert status["backup"]["lastBackup"] == name_of(0)
    assert datetime.fromisoformat(status["backup"]["nextScheduledAt"]) == FIRST + timedelta(days=1)
    await world.pass_hours(72)
    await world.has(name_of(0))
    await world.end(name_of(0))
    await world.has(name_of(0), name_of(3))  # of three missed times, the last
    await world.status("BackupReady", "BackupCompleted")
    await world.end(name_of(3), "Failed")
    await world.status("BackupReady", "BackupFailed")
    await world.reported("BackupScheduled")


async def test_a_time_that_was_missed_by_more_than_the_deadline_is_reported_and_left_out(world):
    await world.create(startingDeadlineSeconds=600, suspend=True)
    await world.pass_hours(7)
    change = {"spec": {"backup": {"suspend": False}}}
    await world.cluster.patch(CLUSTERS, "shop", change, patch_type="merge", namespace=world.namespace)
    await world.reported("BackupMissed")
    assert await world.backups() == []
    await world.pass_hours(23)
    await world.has(name_of(1))


async def test_the_oldest_backups_are_deleted_after_their_data(world):
    await world.create(retention={"completed": 1})
    await world.pass_hours(6)
    await world.has(name_of(0))
    await world.end(name_of(0))
    await world.pass_hours(24)
    await world.has(name_of(0), name_of(1))
    await world.end(name_of(1))

    async def pruning():
        try:
            return await world.cluster.get(PODS, f"prune-{name_of(0)}", namespace=world.namespace)
        except NotFound as error:
            raise AssertionError(str(error)) from error

    pod = await eventually(pruning, timeout=30)
    [container] = pod["spec"]["containers"]
    assert {"name": "DIRECTORY", "value": f"shop/{name_of(0)}"} in container["env"]
    await world.has(name_of(0), name_of(1))  # not before the data is deleted
    done = {"status": {"phase": "Succeeded"}}
    await world.cluster.patch(
        PODS, pod["metadata"]["name"], done, patch_type="merge", namespace=world.namespace, subresource="status"
    )
    await world.has(name_of(1))
    await world.status("BackupReady", "BackupCompleted")
    await world.reported("BackupDeleted")


async def test_pods_that_delete_backups_of_another_cluster_stay(world):
    """Of shop-eu, say, in the same namespace: their label is the same, their owner is not."""
    pod = {
        "metadata": {"name": "prune-shop-eu-1", "labels": {LABEL_PRUNES: "shop-eu-1"}},
        "spec": {"containers": [{"name": "prune", "image": "a"}]},
    }
    await world.cluster.create(PODS, pod, namespace=world.namespace)
    await world.create(retention={"completed": 1})
    await world.pass_hours(6)
    await world.has(name_of(0))
    await world.running.idle()
    found = await world.cluster.get(PODS, "prune-shop-eu-1", namespace=world.namespace)
    assert "deletionTimestamp" not in found["metadata"]


async def test_a_backup_waits_while_a_bucket_moves(world):
    """The bucket is on two shards then: a restore could not tell which of them has its rows."""
    await world.create(suspend=True)
    began = FIRST.isoformat()
    move = {"number": 1, "bucket": 7, "source": 0, "target": 1, "tables": "a", "startedAt": began}
    reshard = {"step": "Moving", "shards": 2, "total": 1, "startedAt": began, "move": move}
    await world.write(CLUSTERS, "shop", {"reshard": reshard})
    body = MysqlBackup(metadata={"name": "now"}, spec={"cluster": "shop", "destination": {"claim": "backups"}})
    await world.cluster.create(BACKUPS, body.write(), namespace=world.namespace)

    async def waits(why):
        found = await world.cluster.get(BACKUPS, "now", namespace=world.namespace)
        status = found.get("status") or {}
        [condition] = status.get("conditions") or [{}]
        assert status.get("phase") == "Pending", status
        assert (why in condition.get("message", "")) is True, condition
        return True

    await eventually(lambda: waits("bucket 7 is being moved to another shard"), timeout=30)
    await world.write(CLUSTERS, "shop", {"reshard": None})
    await world.pass_hours(1)
    await eventually(lambda: waits("shop0"), timeout=30, message="it waits for the shard itself")


async def test_a_schedule_that_is_none_is_denied_with_its_field(world):
    with pytest.raises((Invalid, Forbidden), match=r"spec\.backup\.schedule.*five fields"):
        await world.create(schedule="every night")
