"""Claims and their directories: a dynamic provisioner of volumes on this machine.

What belongs here: PersistentVolumes for claims of our StorageClass, their expansion and removal. What
does not: binding both (`controllers.persistentvolume_binder`) and mounting (`volumes`).

A claim's directory outlives its pods; it is removed with the claim, or with the nodes unless they were
given a directory for volumes.

    claim Pending ──► PersistentVolume with claimRef ──► claim Bound ──► larger request: expanded
                                                             │ deleted
                                                             ▼
                                                   volume and directory removed (Delete) or kept
"""

from __future__ import annotations

import contextlib
import shutil
from datetime import timedelta
from pathlib import Path

from operatorkit.cluster import Informer
from operatorkit.cluster.api import ClusterAPI, JSONObject, PatchType
from operatorkit.controlplane.controllers.observed import patch_observed
from operatorkit.errors import AlreadyExists, Conflict, NotFound
from operatorkit.kinds import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, STORAGE_CLASSES
from operatorkit.names import ApiResource, ObjectKey

__all__ = ["PROVISIONER", "STORAGE_CLASS", "Provisioner"]

STORAGE_CLASS = "process"
PROVISIONER = "operatorkit.dev/process"
_DEFAULT = "storageclass.kubernetes.io/is-default-class"
_PROTECTION = "kubernetes.io/pv-protection"


class Provisioner:
    """Makes volumes for claims of the class `process`, and of no class."""

    def __init__(self, api: ClusterAPI, claims: Informer, volumes: Informer, root: Path) -> None:
        self._api = api
        self._claims = claims
        self._volumes = volumes
        self._root = root

    async def begin(self) -> None:
        """Create the StorageClass, the default one."""
        body = {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": STORAGE_CLASS, "annotations": {_DEFAULT: "true"}},
            "provisioner": PROVISIONER,
            "reclaimPolicy": "Delete",
            "volumeBindingMode": "Immediate",
            "allowVolumeExpansion": True,
        }
        with contextlib.suppress(AlreadyExists):
            await self._api.create(STORAGE_CLASSES, body)

    async def end(self) -> None:
        """Delete the volumes whose directories end with the nodes, and the StorageClass."""
        for volume in self._volumes.cache.list():
            place = Path((volume["spec"].get("hostPath") or {}).get("path") or "/")
            if self._root in place.parents:
                await self._delete(volume)
        with contextlib.suppress(NotFound):
            await self._api.delete(STORAGE_CLASSES, STORAGE_CLASS)

    def directory(self, namespace: str, claim: str) -> Path | str:
        """Return the directory of a bound claim, or why there is none."""
        held = self._claims.cache.get(ObjectKey(namespace, claim))
        if held is None:
            return f'persistentvolumeclaim "{claim}" not found'
        volume = self._volumes.cache.get(ObjectKey("", held["spec"].get("volumeName") or ""))
        if volume is None or (held.get("status") or {}).get("phase") != "Bound":
            return f'persistentvolumeclaim "{claim}" is not bound to a volume'
        path = (volume["spec"].get("hostPath") or {}).get("path")
        if path is None:
            return f"persistentvolume {volume['metadata']['name']} has no hostPath on this machine"
        place = Path(path)
        if self._root in place.parents:
            place.mkdir(parents=True, exist_ok=True)
        elif not place.is_dir():
            return f"persistentvolume {volume['metadata']['name']}: {path} is not on this machine"
        return place

    async def sync(self, key: ObjectKey) -> timedelta | None:
        """Take a claim as far as it can go. Raises ClusterError: calling again does no harm."""
        claim = self._claims.cache.get(key)
        if claim is None or "deletionTimestamp" in claim["metadata"]:
            await self._reclaim(key, claim)
            return None
        if (claim["spec"].get("storageClassName") or STORAGE_CLASS) != STORAGE_CLASS:
            return None
        name = f"pvc-{claim['metadata']['uid']}"
        if claim["spec"].get("volumeName") not in {None, "", name}:
            return None
        with contextlib.suppress(Conflict):
            await self._report_size(claim, await self._volume(claim, name))
        return None

    async def _volume(self, claim: JSONObject, name: str) -> JSONObject:
        """Return the volume of a claim: made where there is none, as large as the claim asks."""
        requested = claim["spec"]["resources"]["requests"]["storage"]
        volume = self._volumes.cache.get(ObjectKey("", name))
        if volume is None:
            with contextlib.suppress(AlreadyExists):
                volume = await self._api.create(PERSISTENT_VOLUMES, self._wanted(claim, name))
            volume = volume or await self._api.get(PERSISTENT_VOLUMES, name)
        if volume["spec"]["capacity"]["storage"] != requested:
            spec = {"spec": {"capacity": {"storage": requested}}}
            volume = await self._api.patch(
                PERSISTENT_VOLUMES, name, spec, patch_type=PatchType.MERGE
            )
        self._volumes.put(volume)
        return volume

    def _wanted(self, claim: JSONObject, name: str) -> JSONObject:
        metadata, spec = claim["metadata"], claim["spec"]
        reference = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        }
        return {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {
                "name": name,
                "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER},
            },
            "spec": {
                "capacity": {"storage": spec["resources"]["requests"]["storage"]},
                "accessModes": spec["accessModes"],
                "persistentVolumeReclaimPolicy": "Delete",
                "storageClassName": spec.get("storageClassName", ""),
                "volumeMode": spec.get("volumeMode", "Filesystem"),
                "claimRef": reference,
                "hostPath": {"path": str(self._root / name), "type": "DirectoryOrCreate"},
            },
        }

    async def _report_size(self, claim: JSONObject, volume: JSONObject) -> None:
        """Report the size of a bound claim whose volume has grown, as a resizer does."""
        status, capacity = claim.get("status") or {}, volume["spec"]["capacity"]
        if status.get("phase") == "Bound" and status.get("capacity") != capacity:
            body = {"status": {"capacity": capacity}}
            await self._change(PERSISTENT_VOLUME_CLAIMS, claim, body, "status")

    async def _change(
        self, resource: ApiResource, obj: JSONObject, body: JSONObject, subresource: str | None
    ) -> JSONObject:
        changed = await patch_observed(self._api, resource, obj, body, subresource)
        informer = self._claims if resource is PERSISTENT_VOLUME_CLAIMS else self._volumes
        informer.put(changed)
        return changed

    async def _reclaim(self, key: ObjectKey, claim: JSONObject | None) -> None:
        """Remove the volumes of a claim that is no more."""
        if claim is not None:
            return  # something, such as a pod that uses it, still keeps it
        for volume in self._volumes.cache.list():
            spec = volume["spec"]
            reference = spec.get("claimRef") or {}
            annotations = volume["metadata"].get("annotations") or {}
            if (reference.get("namespace"), reference.get("name")) != (key.namespace, key.name):
                continue
            if annotations.get("pv.kubernetes.io/provisioned-by") != PROVISIONER:
                continue
            if spec.get("persistentVolumeReclaimPolicy") != "Delete":
                continue
            shutil.rmtree(spec["hostPath"]["path"], ignore_errors=True)
            await self._delete(volume)

    async def _delete(self, volume: JSONObject) -> None:
        """Delete a volume that nothing uses, and the protection that admission gave it."""
        name = volume["metadata"]["name"]
        finalizers = volume["metadata"].get("finalizers") or []
        kept = [one for one in finalizers if one != _PROTECTION]
        with contextlib.suppress(NotFound):
            if kept != finalizers:
                body = {"metadata": {"finalizers": kept}}
                await self._api.patch(PERSISTENT_VOLUMES, name, body, patch_type=PatchType.MERGE)
            await self._api.delete(PERSISTENT_VOLUMES, name)
