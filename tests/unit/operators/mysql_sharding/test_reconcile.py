"""The objects of a shard, while a rollout is replaced by another one."""

from __future__ import annotations

from datetime import UTC, datetime

from kubernetes.client.models import V1ConfigMap, V1Pod

from operatorkit.names import ObjectKey
from operatorkit.resource import ObjectMeta
from operators.mysql_sharding.api import MysqlDatabase, MysqlDatabaseSpec
from operators.mysql_sharding.reconcile import reconcile_shard
from operators.mysql_sharding.rollout_state import adopt, begin, turn

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Secrets:
    async def get(self, resource, name, *, namespace):
        del resource, name, namespace
        return {"data": {}}


class World:
    """A context that keeps what is applied, and prunes what is not."""

    def __init__(self):
        self.key, self.api, self.pods, self.configs = ObjectKey("prod", "shop0"), Secrets(), {}, {}

    def list(self, kind, *, namespace, index):
        assert (kind, namespace, index) == (V1Pod, "prod", ("shard", "prod/shop0"))
        return list(self.pods.values())

    def get(self, kind, name, *, namespace):
        assert (kind, namespace) == (V1ConfigMap, "prod")
        return self.configs.get(name)

    async def apply(self, *objects, enqueue):
        assert not enqueue
        self.configs = {one.metadata.name: one for one in objects if isinstance(one, V1ConfigMap)}

    def start(self, name, config):
        assert config in self.configs, "no pod starts without the file of its server"
        volume = {"name": "config", "configMap": {"name": config}}
        spec = {"containers": [{"name": "mariadb"}], "volumes": [volume]}
        self.pods[name] = V1Pod.model_validate({"metadata": {"name": name}, "spec": spec})


def changed(shard, **config):
    shard.spec = shard.spec.model_copy(update={"config": config})
    shard.metadata.generation += 1
    return shard


async def test_the_file_of_an_abandoned_rollout_stays_until_no_pod_mounts_it():
    world = World()
    metadata = ObjectMeta(name="shop0", namespace="prod", generation=1)
    shard = MysqlDatabase(metadata=metadata, spec=MysqlDatabaseSpec(config={"back_log": 50}))
    shard.status.primary = "shop0-0"
    adopt(shard)
    await reconcile_shard(shard, world)
    world.start("shop0-2", "shop0-config")
    begin(changed(shard, back_log=60), {""}, NOW)
    turn(shard, "shop0-2", NOW)
    await reconcile_shard(shard, world)
    world.start("shop0-2", "shop0-config-1")
    abandoned = world.configs["shop0-config-1"].data
    await reconcile_shard(changed(shard, back_log=70), world)
    assert world.configs["shop0-config-1"].data == abandoned
    begin(shard, {""}, NOW)
    await reconcile_shard(shard, world)
    assert sorted(world.configs) == ["shop0-config", "shop0-config-1", "shop0-config-2"]
    assert world.configs["shop0-config-1"].data == abandoned
    world.start("shop0-2", "shop0-config-2")
    await reconcile_shard(shard, world)
    assert sorted(world.configs) == ["shop0-config", "shop0-config-2"]
