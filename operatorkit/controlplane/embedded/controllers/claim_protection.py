"""persistentvolumeclaim-protection-controller: a claim that a pod uses stays until the pod is gone.

What belongs here: removing the finalizer of a deleted claim that no pod uses. What does not: setting it, which the
admission of claims does.

Source: https://kubernetes.io/docs/concepts/storage/persistent-volumes/#storage-object-in-use-protection
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from operatorkit.clock import Clock
from operatorkit.cluster import Change, Informer
from operatorkit.cluster.api import ClusterAPI, JSONObject, PatchType
from operatorkit.controlplane._queue import Queue
from operatorkit.controlplane.embedded.controllers.workloads import PODS
from operatorkit.names import ApiResource, ObjectKey

__all__ = ["CLAIMS", "ClaimProtectionController"]

CLAIMS = ApiResource("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", namespaced=True)
_FINALIZER = "kubernetes.io/pvc-protection"


class ClaimProtectionController:
    """Lets deleted claims go once no scheduled pod uses them."""

    name = "persistentvolumeclaim-protection-controller"

    def __init__(self, api: ClusterAPI, claims: Informer, pods: Informer, *, pace: Clock) -> None:
        self._api = api
        self._claims = claims
        self._pods = pods
        self._queue: Queue[ObjectKey] = Queue(self._handle, clock=pace, pace=pace, workers=2, name=self.name)
        claims.subscribe(self._on_claim)
        pods.subscribe(self._on_pod)

    async def run(self) -> None:
        """Work for ever. Cancel it to stop."""
        await self._claims.synced()
        await self._pods.synced()
        await self._queue.run()

    async def settled(self) -> None:
        """Return when nothing is left to do that could be done now."""
        await self._queue.settled()

    def _on_claim(self, change: Change) -> None:
        if change.new is not None and _is_protected(change.new):
            self._queue.add(change.key)

    def _on_pod(self, change: Change) -> None:
        """Check the claims of a pod that is gone."""
        if change.new is None and change.old is not None:
            for name in _claims_of(change.old):
                self._queue.add(ObjectKey(change.key.namespace, name))

    async def _handle(self, key: ObjectKey) -> timedelta | None:
        claim = self._claims.cache.get(key)
        if claim is None or not _is_protected(claim):
            return None
        # live: the cache may lack a pod that was scheduled a moment ago
        pods = (await self._api.list(PODS, namespace=key.namespace)).items
        if any(key.name in _claims_of(pod) for pod in pods if pod["spec"].get("nodeName")):
            return None
        metadata = claim["metadata"]
        kept = [name for name in metadata["finalizers"] if name != _FINALIZER]
        patch = {"resourceVersion": metadata["resourceVersion"], "uid": metadata["uid"], "finalizers": kept or None}
        await self._api.patch(
            CLAIMS, key.name, {"metadata": patch}, patch_type=PatchType.MERGE, namespace=key.namespace
        )
        return None


def _is_protected(claim: JSONObject) -> bool:
    metadata = claim["metadata"]
    return "deletionTimestamp" in metadata and _FINALIZER in (metadata.get("finalizers") or ())


def _claims_of(pod: JSONObject) -> Iterator[str]:
    """Yield the names of the claims that a pod uses, those of its ephemeral volumes included."""
    for volume in pod["spec"].get("volumes") or ():
        if "persistentVolumeClaim" in volume:
            yield volume["persistentVolumeClaim"]["claimName"]
        elif "ephemeral" in volume:
            yield f"{pod['metadata']['name']}-{volume['name']}"
