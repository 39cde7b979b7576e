"""persistentvolumeclaim-protection-controller: a claim that a pod uses stays until the pod is deleted.

What belongs here: removing the finalizer of a deleted claim that no pod uses. What does not: setting it, which the
admission of claims does.

Source: https://kubernetes.io/docs/concepts/storage/persistent-volumes/#storage-object-in-use-protection
"""

from __future__ import annotations

from datetime import timedelta

from operatorkit.cluster import Change
from operatorkit.cluster.api import JSONObject, PatchType
from operatorkit.controlplane.controllers.context import ControllerContext
from operatorkit.controlplane.controllers.work_queue import WorkQueue
from operatorkit.controlplane.controllers.workloads import claim_names
from operatorkit.kinds import PERSISTENT_VOLUME_CLAIMS, PODS
from operatorkit.names import ObjectKey

__all__ = ["PVCProtectionController"]

_FINALIZER = "kubernetes.io/pvc-protection"


class PVCProtectionController:
    """Removes the finalizer of deleted claims that no scheduled pod uses."""

    name = "persistentvolumeclaim-protection-controller"

    def __init__(self, context: ControllerContext) -> None:
        self._api = context.api
        self._claims = context.informer(PERSISTENT_VOLUME_CLAIMS)
        self._pods = context.informer(PODS)
        self._queue: WorkQueue[ObjectKey] = WorkQueue(
            self._sync, clock=context.pace, pace=context.pace, workers=2, name=self.name
        )
        self._claims.subscribe(self._on_claim)
        self._pods.subscribe(self._on_pod)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._claims.synced()
        await self._pods.synced()
        await self._queue.run()

    async def idle(self) -> None:
        """Return when there is no work that can be done now."""
        await self._queue.idle()

    def _on_claim(self, change: Change) -> None:
        if change.new is not None and _is_protected(change.new):
            self._queue.add(change.key)

    def _on_pod(self, change: Change) -> None:
        """Check the claims of a pod that was deleted."""
        if change.new is None and change.old is not None:
            for name in claim_names(change.old):
                self._queue.add(ObjectKey(change.key.namespace, name))

    async def _sync(self, key: ObjectKey) -> timedelta | None:
        claim = self._claims.cache.get(key)
        if claim is None or not _is_protected(claim):
            return None
        # live: the cache may lack a pod that was scheduled a moment ago
        pods = (await self._api.list(PODS, namespace=key.namespace)).items
        if any(key.name in claim_names(pod) for pod in pods if pod["spec"].get("nodeName")):
            return None
        metadata = claim["metadata"]
        kept = [name for name in metadata["finalizers"] if name != _FINALIZER]
        patch = {
            "resourceVersion": metadata["resourceVersion"],
            "uid": metadata["uid"],
            "finalizers": kept or None,
        }
        await self._api.patch(
            PERSISTENT_VOLUME_CLAIMS,
            key.name,
            {"metadata": patch},
            patch_type=PatchType.MERGE,
            namespace=key.namespace,
        )
        return None


def _is_protected(claim: JSONObject) -> bool:
    metadata = claim["metadata"]
    return "deletionTimestamp" in metadata and _FINALIZER in (metadata.get("finalizers") or ())
