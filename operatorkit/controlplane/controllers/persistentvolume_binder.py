"""persistentvolume-binder-controller: claims are bound to volumes, one to one.

What belongs here: the phases of both, and which volume a claim gets. What does not: making volumes, which an external
provisioner does, and their growth, which its resizer does.

    claim Pending ──► a volume fits, or was made for it ──► both Bound ──► volume deleted: claim Lost
                 └──► WaitForFirstConsumer: not before the scheduler has selected a volume, or a node for a new one
    volume Available ──► Bound ──► claim deleted: Released

Source: https://kubernetes.io/docs/concepts/storage/persistent-volumes/#binding
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from operatorkit.cluster import Change
from operatorkit.cluster.api import JSONObject
from operatorkit.controlplane.controllers.context import ControllerContext
from operatorkit.controlplane.controllers.event_recorder import ComponentEventRecorder, EventType
from operatorkit.controlplane.controllers.observed import patch_observed
from operatorkit.controlplane.controllers.volume_matching import (
    best_match,
    claim_of_volume,
    class_of_free_volume,
    is_large_enough,
    is_of,
)
from operatorkit.controlplane.controllers.work_queue import WorkQueue
from operatorkit.kinds import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, STORAGE_CLASSES
from operatorkit.names import ApiResource, ObjectKey

__all__ = ["PersistentVolumeBinder"]

_COMPLETED = "pv.kubernetes.io/bind-completed"
_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
_SELECTED_NODE = "volume.kubernetes.io/selected-node"
_PROVISIONER = "volume.kubernetes.io/storage-provisioner"
_BETA_PROVISIONER = "volume.beta.kubernetes.io/storage-provisioner"
_NO_PROVISIONER = "kubernetes.io/no-provisioner"
_COMPONENT = "persistentvolume-controller"
_CLAIM, _CLASS = "claim", "class"
_VOLUME = ""  # keys of volumes have no namespace, and those of claims have one


class PersistentVolumeBinder:
    """Binds claims and volumes. One worker: no volume is given to two claims."""

    name = "persistentvolume-binder-controller"

    def __init__(self, context: ControllerContext) -> None:
        self._api = context.api
        self._claims = context.informer(PERSISTENT_VOLUME_CLAIMS)
        self._volumes = context.informer(PERSISTENT_VOLUMES)
        self._classes = context.informer(STORAGE_CLASSES)
        self._events = ComponentEventRecorder(context.api, clock=context.clock)
        self._queue: WorkQueue[ObjectKey] = WorkQueue(
            self._sync, clock=context.pace, pace=context.pace, workers=1, name=self.name
        )
        self._volumes.cache.add_index(_CLAIM, claim_of_volume)
        self._volumes.cache.add_index(_CLASS, class_of_free_volume)
        self._claims.cache.add_index(_CLASS, _class_of_pending_claim)
        self._claims.subscribe(self._on_claim)
        self._volumes.subscribe(self._on_volume)
        self._classes.subscribe(lambda change: self._enqueue_class(change.key.name))

    async def run(self) -> None:
        """Work until cancelled."""
        for informer in (self._claims, self._volumes, self._classes):
            await informer.synced()
        await self._queue.run()

    async def idle(self) -> None:
        """Return when there is no work that can be done now."""
        await self._queue.idle()

    # Events

    def _on_claim(self, change: Change) -> None:
        self._queue.add(change.key)
        if change.new is None:
            for key in self._volumes.cache.by_index(_CLAIM, str(change.key)):
                self._queue.add(key)

    def _on_volume(self, change: Change) -> None:
        self._queue.add(change.key)
        volume = change.new or change.old
        assert volume is not None
        reference = volume["spec"].get("claimRef")
        if reference:
            self._queue.add(ObjectKey(reference.get("namespace") or "", reference["name"]))
        else:
            self._enqueue_class(volume["spec"].get("storageClassName") or "")

    def _enqueue_class(self, name: str) -> None:
        for key in self._claims.cache.by_index(_CLASS, name):
            self._queue.add(key)

    async def _sync(self, key: ObjectKey) -> timedelta | None:
        if key.namespace == _VOLUME:
            volume = self._volumes.cache.get(key)
            if volume is not None:
                await self._sync_volume(volume)
            return None
        claim = self._claims.cache.get(key)
        if claim is None:
            return None
        if _COMPLETED in _annotations(claim):
            await self._sync_bound(claim)
        elif "deletionTimestamp" not in claim["metadata"]:
            await self._sync_pending(claim)
        return None

    # Claims

    async def _sync_bound(self, claim: JSONObject) -> None:
        """Keep a bound claim bound; one whose volume is deleted is lost, with its data."""
        name = claim["spec"].get("volumeName") or ""
        volume = self._volumes.cache.get(ObjectKey(_VOLUME, name))
        if not name or volume is None:
            text = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
            await self._lose(claim, "ClaimLost", text)
        elif not volume["spec"].get("claimRef") or is_of(volume, claim):
            await self._bind(volume, claim)
        else:
            text = "Two claims are bound to the same volume, this one is bound incorrectly"
            await self._lose(claim, "ClaimMisbound", text)

    async def _sync_pending(self, claim: JSONObject) -> None:
        """Bind a claim to the volume that it names, that was made for it, or that fits best."""
        name = claim["spec"].get("volumeName")
        if name:
            volume = self._volumes.cache.get(ObjectKey(_VOLUME, name))
            if volume is None:
                return
            if is_of(volume, claim) or best_match([volume], claim) is not None:
                await self._bind(volume, claim)
            return
        if (volume := self._made_for(claim)) is not None:
            await self._bind(volume, claim)
        elif self._is_delayed(claim) and _SELECTED_NODE not in _annotations(claim):
            text = "waiting for first consumer to be created before binding"
            await self._record(claim, "Normal", "WaitForFirstConsumer", text)
        elif not self._is_delayed(claim) and (volume := self._best(claim)) is not None:
            await self._bind(volume, claim)
        else:
            await self._request_volume(claim)

    def _made_for(self, claim: JSONObject) -> JSONObject | None:
        """Return the volume whose claimRef is this claim."""
        for key in self._volumes.cache.by_index(_CLAIM, str(_key_of(claim))):
            volume = self._volumes.cache.get(key)
            if volume is not None and is_of(volume, claim) and is_large_enough(volume, claim):
                return volume
        return None

    def _best(self, claim: JSONObject) -> JSONObject | None:
        """Return the smallest free volume that satisfies a claim."""
        keys = self._volumes.cache.by_index(_CLASS, claim["spec"].get("storageClassName") or "")
        found = [volume for key in keys if (volume := self._volumes.cache.get(key)) is not None]
        return best_match(found, claim)

    def _is_delayed(self, claim: JSONObject) -> bool:
        """Return whether the scheduler selects the volume of a claim, or the node for a new one."""
        held = self._class(claim)
        return held is not None and held.get("volumeBindingMode") == "WaitForFirstConsumer"

    def _class(self, claim: JSONObject) -> JSONObject | None:
        name = claim["spec"].get("storageClassName") or ""
        return self._classes.cache.get(ObjectKey("", name)) if name else None

    async def _request_volume(self, claim: JSONObject) -> None:
        """Name the external provisioner of a claim's class to it, or report that there is none."""
        name = claim["spec"].get("storageClassName") or ""
        held = self._class(claim)
        if not name:
            text = "no persistent volumes available for this claim and no storage class is set"
            await self._record(claim, "Normal", "FailedBinding", text)
            return
        if held is None:
            text = f'storageclass.storage.k8s.io "{name}" not found'
            await self._record(claim, "Warning", "ProvisioningFailed", text)
            return
        provisioner = held["provisioner"]
        if provisioner == _NO_PROVISIONER:
            return
        if _annotations(claim).get(_PROVISIONER) != provisioner:
            names = {_PROVISIONER: provisioner, _BETA_PROVISIONER: provisioner}
            claim = await self._patch(
                PERSISTENT_VOLUME_CLAIMS, claim, {"metadata": {"annotations": names}}
            )
        text = (
            f"Waiting for a volume to be created either by the external provisioner '{provisioner}' "
            "or manually by the system administrator. If volume creation is delayed, please verify "
            "that the provisioner is running and correctly registered."
        )
        await self._record(claim, "Normal", "ExternalProvisioning", text)

    async def _lose(self, claim: JSONObject, reason: str, text: str) -> None:
        if (claim.get("status") or {}).get("phase") == "Lost":
            return
        await self._patch(PERSISTENT_VOLUME_CLAIMS, claim, {"status": {"phase": "Lost"}}, "status")
        await self._record(claim, "Warning", reason, text)

    # Both

    async def _bind(self, volume: JSONObject, claim: JSONObject) -> None:
        """Bind both, the volume first: each step can be repeated after a crash before the next."""
        reference = volume["spec"].get("claimRef") or {}
        if reference.get("uid") != claim["metadata"]["uid"]:
            metadata = claim["metadata"]
            wanted = {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
            }
            body: JSONObject = {"spec": {"claimRef": wanted}}
            if not reference:
                body["metadata"] = {"annotations": {_BY_CONTROLLER: "yes"}}
            volume = await self._patch(PERSISTENT_VOLUMES, volume, body)
        await self._set_phase(volume, "Bound")
        name = volume["metadata"]["name"]
        if claim["spec"].get("volumeName") != name or _COMPLETED not in _annotations(claim):
            annotations = {_COMPLETED: "yes"}
            if not claim["spec"].get("volumeName"):
                annotations[_BY_CONTROLLER] = "yes"
            body = {"metadata": {"annotations": annotations}, "spec": {"volumeName": name}}
            claim = await self._patch(PERSISTENT_VOLUME_CLAIMS, claim, body)
        if (claim.get("status") or {}).get("phase") != "Bound":
            status = {
                "phase": "Bound",
                "accessModes": volume["spec"]["accessModes"],
                "capacity": volume["spec"]["capacity"],
            }
            await self._patch(PERSISTENT_VOLUME_CLAIMS, claim, {"status": status}, "status")

    # Volumes

    async def _sync_volume(self, volume: JSONObject) -> None:
        reference = volume["spec"].get("claimRef")
        if not reference or not reference.get("uid"):
            await self._set_phase(volume, "Available")
            return
        claim = self._claims.cache.get(
            ObjectKey(reference.get("namespace") or "", reference["name"])
        )
        if claim is None or claim["metadata"]["uid"] != reference["uid"]:
            await self._set_phase(volume, "Released")

    async def _set_phase(self, volume: JSONObject, phase: str) -> None:
        if (volume.get("status") or {}).get("phase") != phase:
            await self._patch(PERSISTENT_VOLUMES, volume, {"status": {"phase": phase}}, "status")

    # Requests

    async def _patch(
        self,
        resource: ApiResource,
        obj: JSONObject,
        body: JSONObject,
        subresource: str | None = None,
    ) -> JSONObject:
        """Patch an object that is still as it was observed. Raises Conflict, NotFound."""
        changed = await patch_observed(self._api, resource, obj, body, subresource)
        informer = self._claims if resource is PERSISTENT_VOLUME_CLAIMS else self._volumes
        informer.put(changed)
        # another patch may follow: this object stands for the server's until the next event
        obj["metadata"]["resourceVersion"] = changed["metadata"]["resourceVersion"]
        return changed

    async def _record(self, claim: JSONObject, type_: EventType, reason: str, text: str) -> None:
        obj = {**claim, "apiVersion": "v1", "kind": "PersistentVolumeClaim"}
        await self._events.count(obj, type_, reason, text, component=_COMPONENT)


# Indexes --------------------------------------------------------------------------------------------------------------


def _class_of_pending_claim(claim: JSONObject) -> Iterator[str]:
    if _COMPLETED not in _annotations(claim):
        yield claim["spec"].get("storageClassName") or ""


def _key_of(obj: JSONObject) -> ObjectKey:
    return ObjectKey(obj["metadata"].get("namespace") or "", obj["metadata"]["name"])


def _annotations(obj: JSONObject) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}
