"""What is rolled through a shard, and with what its members start meanwhile.

What belongs here: the data of a revision, its digest, and the members' objects while old and new
coexist. What does not: when a member gets the new one (`rollout_plan`), and the order of the shards
(`rollout_cluster`). Pure.

A revision is image, resources and configuration. Each one that needs restarts has a ConfigMap of
its own, by number: a pod mounts it by name, so that a container which restarts before its turn
finds what it had. That of an abandoned rollout stays while a pod mounts it: without it, a kubelet
starts no container of that pod again. The PetSet keeps the template of the completed revision, with
an override for each member whose turn has come: a pod that is recreated before its turn gets the
old one as well.

    status.current ──► template, ConfigMap <shard>-config[-n]
    status.rollout.updated ──► overrides of these members, ConfigMap <shard>-config-m
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from kubernetes.client.models import V1ConfigMap, V1Pod

from operatorkit.revisions import hash_of
from operators.mysql_sharding.api import (
    GROUP,
    MysqlCluster,
    MysqlDatabase,
    ShardRevision,
    ShardRollout,
    ShardTemplate,
)
from operators.mysql_sharding.objects import (
    PetSet,
    config_map_name,
    member_names,
    pets_of,
)
from operators.mysql_sharding.objects import config_of as config_map_of

__all__ = [
    "LABEL_REVISION",
    "active_rollout",
    "config_of",
    "configs_of",
    "data_of",
    "digest_of",
    "kept_config",
    "members_of",
    "mounted_configs",
    "revision_of",
    "starts_with",
    "with_data",
]

LABEL_REVISION: Final = f"{GROUP}/revision"
"""On a pod: the digest of the revision that its server runs."""


def data_of(spec: ShardTemplate | ShardRevision) -> dict[str, Any]:
    """Return what of a specification is rolled, as JSON: the data of a ControllerRevision.

    Fields that are empty are left out, as an API server may.
    """
    written = spec.model_dump(mode="json", by_alias=True)
    resources = _without_none(written.get("resources") or {})
    data = {"image": written["image"], "resources": resources, "config": config_of(spec)}
    return {name: value for name, value in data.items() if value}


def config_of(spec: ShardTemplate | ShardRevision) -> dict[str, str]:
    """Return the variables of a specification, as an option file has them."""
    return {name: str(value) for name, value in sorted(spec.config.items())}


def _without_none(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in value.items() if part is not None}


def digest_of(spec: ShardTemplate | ShardRevision) -> str:
    """Return the hash of what is rolled."""
    return hash_of(data_of(spec))


def revision_of(spec: ShardTemplate, *, number: int) -> ShardRevision:
    """Return what of a specification is rolled, as it is persisted."""
    data = data_of(spec)
    return ShardRevision.model_validate({**data, "digest": hash_of(data), "number": number})


def with_data(cluster: MysqlCluster, data: Mapping[str, Any]) -> MysqlCluster:
    """Return a copy of a cluster whose image, resources and configuration are those of a revision."""
    spec = cluster.spec.model_copy(update=_fields(ShardRevision.model_validate(_full(data))))
    return cluster.model_copy(update={"spec": spec})


def _full(data: Mapping[str, Any]) -> dict[str, Any]:
    return {"digest": "", **data}


def _fields(revision: ShardRevision) -> dict[str, Any]:
    return {
        "image": revision.image,
        "resources": revision.resources,
        "config": dict(revision.config),
    }


def active_rollout(shard: MysqlDatabase) -> ShardRollout | None:
    """Return the rollout of the specification as it is, if it is not complete."""
    rollout = shard.status.rollout
    if rollout is None or rollout.step == "Complete":
        return None
    return rollout if rollout.revision == digest_of(shard.spec) else None


def _base(shard: MysqlDatabase) -> ShardRevision:
    """Return the revision of the members whose turn has not come."""
    return shard.status.current or revision_of(shard.spec, number=0)


def _at(shard: MysqlDatabase, revision: ShardRevision) -> MysqlDatabase:
    spec = shard.spec.model_copy(update=_fields(revision))
    return shard.model_copy(update={"spec": spec})


def configs_of(shard: MysqlDatabase) -> list[V1ConfigMap]:
    """Return the ConfigMaps that members mount: one, or two during a rollout with restarts."""
    base, rollout = _base(shard), active_rollout(shard)
    made = [config_map_of(_at(shard, base), base.number)]
    if rollout is not None and rollout.number != base.number:
        made.append(config_map_of(shard, rollout.number))
    return made


def mounted_configs(pods: Iterable[V1Pod]) -> set[str]:
    """Return the names of the ConfigMaps that pods mount as the configuration of their server."""
    return {
        volume.config_map.name
        for pod in pods
        for volume in (pod.spec.volumes if pod.spec is not None else None) or ()
        if volume.name == "config" and volume.config_map is not None and volume.config_map.name
    }


def kept_config(found: V1ConfigMap) -> V1ConfigMap:
    """Return a ConfigMap as it is, to be applied again: a pod of an abandoned rollout mounts it."""
    metadata = found.metadata
    assert metadata is not None
    kept = {"name": metadata.name, "namespace": metadata.namespace, "labels": metadata.labels}
    return V1ConfigMap(metadata=kept, data=found.data)


def members_of(shard: MysqlDatabase) -> PetSet:
    """Return the PetSet: the template of the completed revision, and what differs for some members."""
    base, rollout = _base(shard), active_rollout(shard)
    pets = pets_of(_at(shard, base))
    _mount(pets.spec.template, shard, base.digest, base.number)
    turned = rollout.updated if rollout is not None else []
    if rollout is None or rollout.revision == base.digest or not turned:
        return pets
    names = member_names(shard)
    pets.spec.overrides = [
        {
            "ordinals": [names.index(each) for each in sorted(turned) if each in names],
            "template": _difference(shard, rollout),
        }
    ]
    return pets


def _mount(template: dict[str, Any], shard: MysqlDatabase, digest: str, number: int) -> None:
    template["metadata"]["labels"] |= {LABEL_REVISION: digest}
    for volume in template["spec"]["volumes"]:
        if volume["name"] == "config":
            volume["configMap"] = {"name": config_map_name(shard, number)}


def _difference(shard: MysqlDatabase, rollout: ShardRollout) -> dict[str, Any]:
    """Return the patch that makes the template that of the new revision."""
    volume = {"name": "config", "configMap": {"name": config_map_name(shard, rollout.number)}}
    resources = data_of(shard.spec).get("resources", {})
    server = {
        "name": "mariadb",
        "image": shard.spec.image,
        "resources": {**resources, "$patch": "replace"},
    }
    return {
        "metadata": {"labels": {LABEL_REVISION: rollout.revision}},
        "spec": {
            "initContainers": [{"name": "install", "image": shard.spec.image}],
            "containers": [server],
            "volumes": [volume],
        },
    }


def starts_with(pets: PetSet, ordinal: int) -> str:
    """Return the digest of the revision with which the pod of an ordinal would be created."""
    for override in pets.spec.overrides:
        if ordinal in override["ordinals"]:
            return str(override["template"]["metadata"]["labels"][LABEL_REVISION])
    return str((pets.spec.template["metadata"].get("labels") or {}).get(LABEL_REVISION, ""))
