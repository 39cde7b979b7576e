"""An external storage driver, as a provisioner and a resizer beside the API server are.

What belongs here: what a CSI driver's sidecars write. What does not: volumes, and binding, which
persistentvolume-binder does.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import aclosing, suppress

from scenarios.petset.pairs import CLAIMS, PODS

from operatorkit.clock import SYSTEM_CLOCK, format_time
from operatorkit.cluster import PatchType
from operatorkit.errors import AlreadyExists, Conflict, NotFound
from operatorkit.names import ApiResource
from operatorkit.testing import eventually

__all__ = ["CLASSES", "Driver"]

CLASSES = ApiResource("storage.k8s.io", "v1", "StorageClass", "storageclasses", namespaced=False)
VOLUMES = ApiResource("", "v1", "PersistentVolume", "persistentvolumes", namespaced=False)
_DRIVER = "storage.example.org"


class Driver:
    """A StorageClass, and what provisions and expands its claims in one namespace.

    With `online` False, the file system of an expanded claim grows when its pod is another one than before.
    """

    def __init__(self, cluster, *, expands: bool = True, online: bool = True) -> None:
        self.storage_class = f"fast-{secrets.token_hex(4)}"
        self._cluster = cluster
        self._expands = expands
        self._online = online
        self._waiting: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self):
        body = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": self.storage_class}}
        await self._cluster.create(CLASSES, {**body, "provisioner": _DRIVER, "allowVolumeExpansion": self._expands})
        self._task = asyncio.create_task(self._work())
        return self

    async def __aexit__(self, *error):
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._cluster.delete(CLASSES, self.storage_class)
        for volume in (await self._cluster.list(VOLUMES)).items:
            if volume["spec"].get("storageClassName") == self.storage_class:
                with suppress(NotFound):
                    await self._cluster.delete(VOLUMES, volume["metadata"]["name"])

    def template(self, size: str, name: str = "data"):
        """Return a claim template of this class."""
        spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": self.storage_class}
        return {"metadata": {"name": name}, "spec": {**spec, "resources": {"requests": {"storage": size}}}}

    async def _work(self) -> None:
        begin = await self._cluster.list(CLAIMS, namespace=self._cluster.namespace)
        for claim in begin.items:
            await self._serve(claim)
        watch = self._cluster.watch(CLAIMS, namespace=self._cluster.namespace, resource_version=begin.resource_version)
        async with aclosing(watch) as events:
            async for event in events:
                if event.type in {"ADDED", "MODIFIED"}:
                    with suppress(Conflict, NotFound, AlreadyExists):
                        await self._serve(event.object)

    async def _serve(self, claim) -> None:
        if claim["spec"].get("storageClassName") != self.storage_class or "deletionTimestamp" in claim["metadata"]:
            return
        if claim.get("status", {}).get("phase") != "Bound":
            await self._provision(claim)
        elif claim["spec"]["resources"]["requests"]["storage"] != claim["status"]["capacity"]["storage"]:
            await self._expand(claim)

    async def _provision(self, claim) -> None:
        metadata, size = claim["metadata"], claim["spec"]["resources"]["requests"]["storage"]
        name = f"pv-{metadata['uid']}"
        reference = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": metadata["name"]}
        spec = {
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": self.storage_class,
            "persistentVolumeReclaimPolicy": "Retain",
            "csi": {"driver": _DRIVER, "volumeHandle": name},
            "claimRef": {**reference, "namespace": metadata["namespace"], "uid": metadata["uid"]},
        }
        with suppress(AlreadyExists):
            await self._cluster.create(
                VOLUMES, {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}
            )

    async def _expand(self, claim) -> None:
        size = claim["spec"]["resources"]["requests"]["storage"]
        volume = claim["spec"]["volumeName"]
        await self._cluster.patch(
            VOLUMES, volume, {"spec": {"capacity": {"storage": size}}}, patch_type=PatchType.MERGE
        )
        conditions = claim["status"].get("conditions") or []
        pending = any(each["type"] == "FileSystemResizePending" for each in conditions)
        if not self._online and not pending:
            now = format_time(SYSTEM_CLOCK.now())
            condition = {"type": "FileSystemResizePending", "status": "True", "lastTransitionTime": now}
            self._waiting[claim["metadata"]["name"]] = await self._user(claim)
            await self._patch(claim, {"status": {"conditions": [condition]}}, subresource="status")
            return
        if not self._online:
            await eventually(lambda: self._has_another_user(claim), timeout=60)
        status = {"capacity": {"storage": size}, "conditions": None}
        await self._patch(claim, {"status": status}, subresource="status")

    async def _has_another_user(self, claim) -> bool:
        return await self._user(claim) not in {"", self._waiting[claim["metadata"]["name"]]}

    async def _user(self, claim) -> str:
        """Return the uid of the pod that uses a claim, "" while there is none."""
        pod = claim["metadata"]["name"].partition("-")[2]
        with suppress(NotFound):
            return (await self._cluster.get(PODS, pod, namespace=self._cluster.namespace))["metadata"]["uid"]
        return ""

    async def _patch(self, claim, body, **options) -> None:
        where = {"namespace": claim["metadata"]["namespace"], "patch_type": PatchType.MERGE}
        await self._cluster.patch(CLAIMS, claim["metadata"]["name"], body, **where, **options)
