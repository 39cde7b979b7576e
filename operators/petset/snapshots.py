"""Snapshots of a member's claims, taken before it is updated.

What belongs here: VolumeSnapshot objects, which a snapshot controller acts on, and how many are kept.
What does not: when they are wanted (`plan`).

    no snapshot of this update ──► create ──► readyToUse ──► the member is updated ──► older ones than the limit go
                                         └──► error, or not ready: the update waits

They have no owner: a snapshot outlives the set whose data it has.

Source: https://kubernetes.io/docs/concepts/storage/volume-snapshots/
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from operatorkit.cluster import ClusterAPI
from operatorkit.errors import AlreadyExists, NoKindMatch, NotFound
from operatorkit.names import DNS_SUBDOMAIN_MAX_LENGTH
from operatorkit.resource import Model, Resource
from operators.petset.api import GROUP, PetSet
from operators.petset.state import Claim

__all__ = ["Snapshots", "VolumeSnapshot", "snapshot_name", "take"]

_LABEL_SET = f"{GROUP}/set-uid"
_LABEL_CLAIM = f"{GROUP}/claim-uid"
_NO_CONTROLLER = (
    "the cluster serves no VolumeSnapshots: install a snapshot controller with its definitions, or "
    "remove snapshotBeforeUpdate"
)


class VolumeSnapshotSpec(Model):
    """What is snapshotted, and by which class."""

    source: dict[str, str] = {}
    """The claim, as persistentVolumeClaimName."""
    volume_snapshot_class_name: str = ""
    """Class of the snapshot."""


class VolumeSnapshot(
    Resource[VolumeSnapshotSpec, Model],
    group="snapshot.storage.k8s.io",
    version="v1",
    external=True,
):
    """A snapshot of a claim, of the snapshot controller's kind."""


@dataclass(slots=True)
class Snapshots:
    """What became of the snapshots of one member: `waiting_for` is "" when all are ready to use."""

    requested: list[str] = field(default_factory=list)
    waiting_for: str = ""


async def take(pets: PetSet, claims: Sequence[Claim], suffix: str, api: ClusterAPI) -> Snapshots:
    """Request the snapshots that are missing, and return which one is waited for. Raises ClusterError."""
    result = Snapshots()
    for claim in claims:
        name = snapshot_name(claim.name, suffix)
        try:
            found = await _get_or_request(pets, claim, name, api, result)
        except (NotFound, NoKindMatch):
            result.waiting_for = _NO_CONTROLLER
            return result
        result.waiting_for = result.waiting_for or _why_not_ready(found)
    return result


async def _get_or_request(
    pets: PetSet, claim: Claim, name: str, api: ClusterAPI, result: Snapshots
) -> dict[str, Any]:
    """Return a snapshot, requested where there was none. Raises NotFound and NoKindMatch for no such kind."""
    resource, namespace = VolumeSnapshot.api_resource(), pets.metadata.namespace
    try:
        return await api.get(resource, name, namespace=namespace)
    except NotFound:
        pass
    try:
        made = await api.create(resource, _snapshot(pets, claim, name), namespace=namespace)
    except AlreadyExists:
        return await api.get(resource, name, namespace=namespace)
    result.requested.append(f"Requested snapshot {name} of claim {claim.name}")
    await _prune(pets, claim, name, api)
    return made


def snapshot_name(claim: str, suffix: str) -> str:
    """Return the name of a claim's snapshot before an update; one that would be too long ends in a hash."""
    name = f"{claim}-{suffix}"
    if len(name) <= DNS_SUBDOMAIN_MAX_LENGTH:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"{claim[: DNS_SUBDOMAIN_MAX_LENGTH - 17].rstrip('-.')}-{digest}"


def _snapshot(pets: PetSet, claim: Claim, name: str) -> dict[str, Any]:
    labels = {_LABEL_SET: pets.metadata.uid or "", _LABEL_CLAIM: claim.uid}
    return {
        "apiVersion": VolumeSnapshot.api_version,
        "kind": "VolumeSnapshot",
        "metadata": {"name": name, "namespace": pets.metadata.namespace, "labels": labels},
        "spec": {
            "volumeSnapshotClassName": pets.spec.snapshot_before_update,
            "source": {"persistentVolumeClaimName": claim.name},
        },
    }


def _why_not_ready(snapshot: dict[str, Any]) -> str:
    status, name = snapshot.get("status") or {}, snapshot["metadata"]["name"]
    if status.get("readyToUse"):
        return ""
    error = (status.get("error") or {}).get("message")
    return f"snapshot {name} fails: {error}" if error else f"snapshot {name} is not ready to use"


async def _prune(pets: PetSet, claim: Claim, newest: str, api: ClusterAPI) -> None:
    """Delete the oldest snapshots of a claim beyond revisionHistoryLimit, never the one just requested."""
    resource, namespace = VolumeSnapshot.api_resource(), pets.metadata.namespace
    selector = f"{_LABEL_SET}={pets.metadata.uid},{_LABEL_CLAIM}={claim.uid}"
    found = (await api.list(resource, namespace=namespace, label_selector=selector)).items
    older = sorted(
        (each for each in found if each["metadata"]["name"] != newest),
        key=lambda each: each["metadata"].get("creationTimestamp") or "",
        reverse=True,
    )
    for each in older[max(0, pets.spec.revision_history_limit - 1) :]:
        try:
            await api.delete(
                resource,
                each["metadata"]["name"],
                namespace=namespace,
                uid=each["metadata"]["uid"],
            )
        except NotFound:
            continue
