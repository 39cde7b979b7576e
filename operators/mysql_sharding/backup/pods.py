"""The pods that read and write the data of members.

What belongs here: their content. What does not: when they are created (`reconcile`, `seeding`).
Pure.

A pod beside a member runs on the member's node and mounts its claim: a volume of ReadWriteOnce can
be mounted by several pods of one node. So members need no further container, and no port is open
while nothing is copied. docs/adr/0026-backup.md argues that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from kubernetes.client.models import V1Pod

from operators.mysql_sharding.api import GROUP, MysqlCluster, MysqlDatabase, ShardOrigin
from operators.mysql_sharding.backup.api import MysqlBackup, ShardBackup
from operators.mysql_sharding.backup.archive import text_of_time
from operators.mysql_sharding.backup.scripts import (
    ARCHIVE,
    BACKUP,
    DONOR,
    LOGS,
    MESSAGE_PATH,
    PRUNE,
    SEED_FROM_BACKUP,
    SEED_FROM_DONOR,
)
from operators.mysql_sharding.objects import (
    OPERATOR_PORT,
    OPERATOR_USER,
    accounts_secret_name,
    member_host,
)

__all__ = [
    "LABEL_BACKUP",
    "LABEL_PRUNES",
    "LABEL_SCHEDULE",
    "LABEL_SEED",
    "Copied",
    "Placed",
    "archive_pod",
    "archive_pod_name",
    "backup_pod",
    "backup_pod_name",
    "directory_of",
    "donor_pod",
    "donor_pod_name",
    "is_owned",
    "logs_pod",
    "logs_pod_name",
    "message_of",
    "prune_pod",
    "seed_from_backup",
    "seed_from_donor",
    "seed_pod_name",
]

LABEL_BACKUP: Final = f"{GROUP}/backup"
"""On the pods of a backup: its name."""
LABEL_ARCHIVE: Final = f"{GROUP}/archive"
"""On the pods that copy binary logs: the name of their shard."""
LABEL_PRUNES: Final = f"{GROUP}/prunes"
"""On the pod that deletes the data of a backup: its name."""
LABEL_SCHEDULE: Final = f"{GROUP}/schedule"
"""On a MysqlBackup: the cluster whose schedule created it, and whose retention deletes it."""
LABEL_SEED: Final = f"{GROUP}/seed"
"""On the pods that bring data to a member: the name of its shard. Services and PetSets do not
select on it."""

_USER_ID: Final = 999
_LOCKED_DOWN: Final = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


@dataclass(frozen=True, slots=True)
class Placed:
    """A member, and the node that its pod is on."""

    member: str
    node: str


@dataclass(frozen=True, slots=True)
class Copied:
    """What a segment of the archive shall hold: the files of a member, and two positions."""

    number: int
    begins: str
    ends: str
    through: str
    files: Sequence[str]


def directory_of(backup: MysqlBackup) -> str:
    """Return the directory of a backup on its volume."""
    return f"{backup.spec.cluster}/{backup.metadata.name}"


def backup_pod_name(backup: MysqlBackup, number: int) -> str:
    """Return the name of the pod that reads a shard; no member has such a name."""
    return f"backup-{backup.metadata.name}-{number}"


def logs_pod_name(backup: MysqlBackup, number: int) -> str:
    """Return the name of the pod that reads the binary logs of a shard."""
    return f"backup-{backup.metadata.name}-{number}-logs"


def seed_pod_name(member: str) -> str:
    """Return the name of the pod that writes the data of a member."""
    return f"{member}-seed"


def donor_pod_name(member: str) -> str:
    """Return the name of the pod that sends data to a member."""
    return f"{member}-donor"


def backup_pod(backup: MysqlBackup, shard: MysqlDatabase, number: int, place: Placed) -> V1Pod:
    """Return the pod that reads a member and writes to the destination of a backup."""
    values = {
        "BACKUP": backup.metadata.name,
        "BACKUP_UID": backup.metadata.uid or "",
        "CLUSTER": backup.spec.cluster,
        "CLUSTER_UID": backup.status.cluster_uid,
        "SHARD": shard.metadata.name,
        "MEMBER": place.member,
        "DIRECTORY": f"{directory_of(backup)}/{number}",
        **_connection(shard, place.member),
    }
    return _pod(
        shard,
        backup_pod_name(backup, number),
        {LABEL_BACKUP: backup.metadata.name},
        place,
        script=BACKUP,
        values=values,
        claims={
            "/var/lib/mysql": (f"data-{place.member}", True),
            **_destination(backup.spec.destination.claim, read_only=False),
        },
    )


def logs_pod(
    backup: MysqlBackup, shard: MysqlDatabase, number: int, place: Placed, known: ShardBackup
) -> V1Pod:
    """Return the pod that adds the transactions up to the cut to the backup of a shard."""
    values = {
        "BACKUP_UID": backup.metadata.uid or "",
        "MEMBER": place.member,
        "DIRECTORY": f"{directory_of(backup)}/{number}",
        "BASE": known.gtid,
        "CUT": known.cut,
        "CUT_AT": text_of_time(backup.status.cut_at) if backup.status.cut_at else "",
        "FOLLOWS": "no" if shard.spec.replicas == 1 else "yes",
        **_connection(shard, place.member),
    }
    return _pod(
        shard,
        logs_pod_name(backup, number),
        {LABEL_BACKUP: backup.metadata.name},
        place,
        script=LOGS,
        values=values,
        claims={
            "/var/lib/mysql": (f"data-{place.member}", True),
            **_destination(backup.spec.destination.claim, read_only=False),
        },
    )


def archive_directory(cluster: str, uid: str, number: int | None = None) -> str:
    """Return the directory of the archived binary logs of a cluster, or of one of its shards."""
    return f"{cluster}/_binlogs/{uid}" + ("" if number is None else f"/{number}")


def archive_pod_name(cluster: MysqlCluster, number: int, segment: int) -> str:
    """Return the name of the pod that copies a segment: the same one for the same segment."""
    return f"archive-{cluster.metadata.name}-{number}-{segment}"


def archive_pod(
    cluster: MysqlCluster, shard: MysqlDatabase, number: int, place: Placed, copied: Copied
) -> V1Pod:
    """Return the pod that copies closed binary logs of a member to the destination."""
    policy = cluster.spec.backup
    assert policy is not None
    directory = archive_directory(cluster.metadata.name, cluster.metadata.uid or "", number)
    return _pod(
        shard,
        archive_pod_name(cluster, number, copied.number),
        {LABEL_ARCHIVE: shard.metadata.name},
        place,
        script=ARCHIVE,
        values={
            "SHARD": shard.metadata.name,
            "MEMBER": place.member,
            "DIRECTORY": f"{directory}/{copied.number:08d}",
            "NUMBER": str(copied.number),
            "BEGINS": copied.begins,
            "ENDS": copied.ends,
            "THROUGH": copied.through,
            "FILES": " ".join(copied.files),
        },
        claims={
            "/var/lib/mysql": (f"data-{place.member}", True),
            **_destination(policy.destination.claim, read_only=False),
        },
    )


def seed_from_backup(shard: MysqlDatabase, place: Placed, origin: ShardOrigin) -> V1Pod:
    """Return the pod that restores a backup into the volume of a member that has no data."""
    return _pod(
        shard,
        seed_pod_name(place.member),
        {LABEL_SEED: shard.metadata.name},
        place,
        script=SEED_FROM_BACKUP,
        values={
            "MEMBER": place.member,
            "DIRECTORY": origin.path,
            "SHA256": origin.sha256,
            "POINT": text_of_time(origin.point_in_time) if origin.point_in_time else "",
            "THROUGH": text_of_time(origin.archived_through) if origin.archived_through else "",
            "ARCHIVED_TO": origin.archived_to,
        },
        claims={
            "/var/lib/mysql": (f"data-{place.member}", False),
            **_destination(origin.claim, read_only=True),
        },
    )


def seed_from_donor(shard: MysqlDatabase, place: Placed, donor: str, donor_ip: str) -> V1Pod:
    """Return the pod that receives the data of a donor on the volume of a member."""
    return _pod(
        shard,
        seed_pod_name(place.member),
        {LABEL_SEED: shard.metadata.name},
        place,
        script=SEED_FROM_DONOR,
        values={
            "MEMBER": place.member,
            "DONOR": donor,
            "DONOR_POD_IP": donor_ip,
            **_connection(shard, donor),
        },
        claims={"/var/lib/mysql": (f"data-{place.member}", False)},
    )


def donor_pod(shard: MysqlDatabase, member: str, place: Placed) -> V1Pod:
    """Return the pod that sends the data of a donor to the seed pod of `member`."""
    return _pod(
        shard,
        donor_pod_name(member),
        {LABEL_SEED: shard.metadata.name},
        place,
        script=DONOR,
        values={"MEMBER": place.member, **_connection(shard, place.member)},
        claims={"/var/lib/mysql": (f"data-{place.member}", True)},
    )


def prune_pod(cluster: MysqlCluster, backup: MysqlBackup, oldest: datetime | None) -> V1Pod:
    """Return the pod that deletes the data of a backup, and archived logs that no other one needs.

    `oldest` is when the oldest backup that is kept began, None to delete no archived logs.
    """
    name, uid = cluster.metadata.name, cluster.metadata.uid or ""
    values = {
        "BACKUP_UID": backup.metadata.uid or "",
        "DIRECTORY": directory_of(backup),
        "ARCHIVE": archive_directory(name, uid),
        "OLDEST": text_of_time(oldest) if oldest is not None else "",
    }
    return _pod_of(
        ("prune-" + backup.metadata.name, cluster.metadata.namespace),
        {LABEL_PRUNES: backup.metadata.name},
        cluster.spec.image,
        script=PRUNE,
        environment=[{"name": key, "value": value} for key, value in values.items()],
        claims=_destination(backup.spec.destination.claim, read_only=False),
    )


def is_owned(pod: V1Pod, owner: MysqlBackup | MysqlCluster) -> bool:
    """Return whether a pod belongs to an object, not to an earlier one of its name."""
    owners = (pod.metadata.owner_references if pod.metadata is not None else None) or []
    return any(one.uid == owner.metadata.uid for one in owners)


def message_of(pod: V1Pod) -> str:
    """Return the termination message of the pod's container, "" where it has none."""
    statuses = (pod.status.container_statuses if pod.status is not None else None) or []
    for status in statuses:
        ended = status.state.terminated if status.state is not None else None
        if ended is not None and ended.message:
            return str(ended.message).strip()
    return ""


def _connection(shard: MysqlDatabase, member: str) -> dict[str, str]:
    host = member_host(shard, member)
    return {"HOST": host, "PORT": str(OPERATOR_PORT), "ACCOUNT": OPERATOR_USER}


def _destination(claim: str, *, read_only: bool) -> dict[str, tuple[str, bool]]:
    return {"/backup": (claim, read_only)}


def _pod(
    shard: MysqlDatabase,
    name: str,
    labels: Mapping[str, str],
    place: Placed,
    *,
    script: str,
    values: Mapping[str, str],
    claims: Mapping[str, tuple[str, bool]],
) -> V1Pod:
    """Return a pod on the node of a member that runs a script once, with the passwords of a shard."""
    return _pod_of(
        (name, shard.metadata.namespace),
        labels,
        shard.spec.image,
        script=script,
        environment=[
            *({"name": key, "value": value} for key, value in values.items()),
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            _secret(shard, "MYSQL_PWD", "operator"),
            _secret(shard, "STREAM_KEY", "replication"),
        ],
        claims=claims,
        placement={
            "affinity": {"nodeAffinity": _on(place.node)},
            "tolerations": [{"operator": "Exists"}],  # it goes where the member is
        },
    )


def _pod_of(
    name: tuple[str, str | None],
    labels: Mapping[str, str],
    image: str,
    *,
    script: str,
    environment: list[dict[str, Any]],
    claims: Mapping[str, tuple[str, bool]],
    placement: Mapping[str, Any] | None = None,
) -> V1Pod:
    """Return a pod that runs a script once.

    `name` has its namespace with it; `claims` maps paths to claims, and to read-only.
    """
    mounts: list[dict[str, Any]] = [{"name": "work", "mountPath": "/work"}]
    volumes: list[dict[str, Any]] = [{"name": "work", "emptyDir": {}}]
    for path, (claim, read_only) in claims.items():
        volume = path.strip("/").replace("/", "-")
        mounts.append({"name": volume, "mountPath": path, "readOnly": read_only})
        volumes.append({"name": volume, "persistentVolumeClaim": {"claimName": claim}})
    container = {
        "name": "copy",
        "image": image,
        "command": ["bash", "-c", script],
        "env": environment,
        "volumeMounts": mounts,
        "terminationMessagePath": MESSAGE_PATH,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": _LOCKED_DOWN,
    }
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 5,
        "securityContext": {
            "runAsUser": _USER_ID,
            "runAsGroup": _USER_ID,
            "runAsNonRoot": True,
            "fsGroup": _USER_ID,
            "fsGroupChangePolicy": "OnRootMismatch",  # a server writes to the volume meanwhile
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": volumes,
        **(placement or {}),
    }
    metadata = {
        "name": name[0],
        "namespace": name[1],
        "labels": {"app.kubernetes.io/managed-by": "mysql-sharding", **labels},
    }
    return V1Pod(metadata=metadata, spec=spec)


def _secret(shard: MysqlDatabase, name: str, key: str) -> dict[str, Any]:
    reference = {"name": accounts_secret_name(shard), "key": key}
    return {"name": name, "valueFrom": {"secretKeyRef": reference}}


def _on(node: str) -> dict[str, Any]:
    fields = [{"key": "metadata.name", "operator": "In", "values": [node]}]
    terms = {"nodeSelectorTerms": [{"matchFields": fields}]}
    return {"requiredDuringSchedulingIgnoredDuringExecution": terms}
