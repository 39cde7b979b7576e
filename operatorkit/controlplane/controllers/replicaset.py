"""replicaset-controller: as many pods as asked for.

What belongs here: making and deleting pods, taking in and letting go those whose labels changed, and the status. What
does not: which ReplicaSets there are (`deployment`).
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

from operatorkit.clock import format_time
from operatorkit.cluster import Change
from operatorkit.cluster.api import JSONObject, PatchType
from operatorkit.controlplane.controllers.context import ControllerContext
from operatorkit.controlplane.controllers.event_recorder import ComponentEventRecorder, EventType
from operatorkit.controlplane.controllers.work_queue import WorkQueue
from operatorkit.controlplane.controllers.workloads import (
    PODS,
    REPLICA_SETS,
    available_in,
    controller_uid,
    is_active,
    is_ready,
    owned_by,
)
from operatorkit.errors import ClusterError, NotFound
from operatorkit.names import ObjectKey
from operatorkit.selectors import matches

__all__ = ["ReplicaSetController", "first_to_go", "pod_of"]

_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


class ReplicaSetController:
    """Keeps the pods of every ReplicaSet at the number it asks for."""

    name = "replicaset-controller"

    def __init__(self, context: ControllerContext) -> None:
        self._api = context.api
        self._sets = context.informer(REPLICA_SETS)
        self._pods = context.informer(PODS)
        self._clock = context.clock
        self._events = ComponentEventRecorder(context.api, clock=context.clock)
        self._deleted: set[str] = set()
        self._queue: WorkQueue[ObjectKey] = WorkQueue(
            self._sync, clock=context.clock, pace=context.pace, workers=4, name=self.name
        )
        self._sets.subscribe(self._on_set)
        self._pods.subscribe(self._on_pod)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._sets.synced()
        await self._pods.synced()
        await self._queue.run()

    async def idle(self) -> None:
        """Return when there is no work that can be done now."""
        await self._queue.idle()

    def _on_set(self, change: Change) -> None:
        self._queue.add(change.key)

    def _on_pod(self, change: Change) -> None:
        for pod in (change.old, change.new):
            if pod is None:
                continue
            if change.type == "DELETED" or not is_active(pod):
                self._deleted.discard(pod["metadata"]["uid"])
            owner = controller_uid(pod)
            for replica_set in self._sets.cache.list(change.key.namespace):
                labels = pod["metadata"].get("labels") or {}
                mine = replica_set["metadata"]["uid"] == owner
                if mine or (owner is None and matches(replica_set["spec"]["selector"], labels)):
                    self._queue.add(
                        ObjectKey(change.key.namespace, replica_set["metadata"]["name"])
                    )

    async def _sync(self, key: ObjectKey) -> timedelta | None:
        replica_set = self._sets.cache.get(key)
        if replica_set is None:
            return None
        pods = await self._claim(replica_set)
        failure: ClusterError | None = None
        if "deletionTimestamp" not in replica_set["metadata"]:
            try:
                pods = await self._scale(replica_set, pods)
            except ClusterError as error:
                failure = error
        wait = await self._report(replica_set, pods, failure)
        if failure is not None:
            raise failure
        return wait

    async def _claim(self, replica_set: JSONObject) -> list[JSONObject]:
        """Return the active pods of a set, after adopting those that match and releasing those that do not."""
        uid, namespace = replica_set["metadata"]["uid"], replica_set["metadata"]["namespace"]
        claimed = []
        for pod in self._pods.cache.list(namespace):
            owner = controller_uid(pod)
            if (
                owner not in {None, uid}
                or not is_active(pod)
                or pod["metadata"]["uid"] in self._deleted
            ):
                continue
            fits = matches(replica_set["spec"]["selector"], pod["metadata"].get("labels") or {})
            references = pod["metadata"].get("ownerReferences") or []
            if owner == uid and not fits:
                await self._own(pod, [one for one in references if one["uid"] != uid])
            elif owner is None and fits and "deletionTimestamp" not in replica_set["metadata"]:
                claimed.append(
                    await self._own(pod, [*references, owned_by(replica_set, REPLICA_SETS)])
                )
            elif owner == uid:
                claimed.append(pod)
        return claimed

    async def _own(self, pod: JSONObject, references: list[JSONObject]) -> JSONObject:
        metadata = pod["metadata"]
        body = {
            "metadata": {
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
                "ownerReferences": references or None,
            }
        }
        written = await self._api.patch(
            PODS,
            metadata["name"],
            body,
            patch_type=PatchType.MERGE,
            namespace=metadata["namespace"],
        )
        self._pods.put(written)
        return written

    async def _scale(self, replica_set: JSONObject, pods: list[JSONObject]) -> list[JSONObject]:
        wanted = replica_set["spec"].get("replicas", 1)
        namespace = replica_set["metadata"]["namespace"]
        while len(pods) < wanted:
            try:
                pod = await self._api.create(PODS, pod_of(replica_set), namespace=namespace)
            except ClusterError as error:
                await self._record_event(
                    replica_set, "Warning", "FailedCreate", f"Error creating: {error.message}"
                )
                raise
            self._pods.put(pod)
            pods = [*pods, pod]
            await self._record_event(
                replica_set, "Normal", "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}"
            )
        surplus = first_to_go(pods)[: max(0, len(pods) - wanted)]
        for pod in surplus:
            name = pod["metadata"]["name"]
            self._deleted.add(pod["metadata"]["uid"])
            try:
                await self._api.delete(PODS, name, namespace=namespace, uid=pod["metadata"]["uid"])
            except NotFound:
                continue
            except ClusterError:
                self._deleted.discard(pod["metadata"]["uid"])
                raise
            await self._record_event(
                replica_set, "Normal", "SuccessfulDelete", f"Deleted pod: {name}"
            )
        gone = {pod["metadata"]["uid"] for pod in surplus}
        return [pod for pod in pods if pod["metadata"]["uid"] not in gone]

    async def _record_event(
        self, replica_set: JSONObject, type_: EventType, reason: str, message: str
    ) -> None:
        subject = {**replica_set, "apiVersion": "apps/v1", "kind": "ReplicaSet"}
        await self._events.count(subject, type_, reason, message, component=self.name)

    def _terminating(self, replica_set: JSONObject) -> int:
        """Count the pods that are on their way out: they are no replicas any more, and not gone yet."""
        uid, namespace = replica_set["metadata"]["uid"], replica_set["metadata"]["namespace"]
        pods = self._pods.cache.list(namespace)
        return sum(
            1
            for pod in pods
            if "deletionTimestamp" in pod["metadata"] and controller_uid(pod) == uid
        )

    async def _report(
        self, replica_set: JSONObject, pods: list[JSONObject], failure: ClusterError | None
    ) -> timedelta | None:
        """Write the status if it changed; return when to look again at pods that become available by waiting."""
        spec, old, now = replica_set["spec"], replica_set.get("status") or {}, self._clock.now()
        min_ready = timedelta(seconds=spec.get("minReadySeconds", 0))
        waits = [wait for pod in pods if (wait := available_in(pod, min_ready, now)) is not None]
        template_labels = {
            "matchLabels": (spec["template"].get("metadata") or {}).get("labels") or {}
        }
        labelled = [
            pod for pod in pods if matches(template_labels, pod["metadata"].get("labels") or {})
        ]
        status: JSONObject = {
            "replicas": len(pods),
            "fullyLabeledReplicas": len(labelled) or None,
            "readyReplicas": sum(map(is_ready, pods)) or None,
            "availableReplicas": sum(1 for wait in waits if not wait) or None,
            "terminatingReplicas": self._terminating(replica_set),
            "observedGeneration": replica_set["metadata"].get("generation", 1),
            "conditions": _failure_condition(old, failure, format_time(now)),
        }
        if any(old.get(key) != value for key, value in status.items()):
            metadata = replica_set["metadata"]
            written = await self._api.patch(
                REPLICA_SETS,
                metadata["name"],
                {"metadata": {"uid": metadata["uid"]}, "status": status},
                patch_type=PatchType.MERGE,
                namespace=metadata["namespace"],
                subresource="status",
            )
            self._sets.put(written)
        return min((wait for wait in waits if wait), default=None)


def _failure_condition(
    old: JSONObject, failure: ClusterError | None, now: str
) -> list[JSONObject] | None:
    kept = [one for one in old.get("conditions") or () if one["type"] != "ReplicaFailure"]
    if failure is None:
        return kept or None
    before = [one for one in old.get("conditions") or () if one["type"] == "ReplicaFailure"]
    new = {
        "type": "ReplicaFailure",
        "status": "True",
        "lastTransitionTime": now,
        "reason": "FailedCreate",
        "message": failure.message,
    }
    return [*kept, *(before or [new])]


def pod_of(replica_set: JSONObject) -> JSONObject:
    """Return the pod that a set's template makes."""
    template, name = replica_set["spec"]["template"], replica_set["metadata"]["name"]
    given = template.get("metadata") or {}
    metadata: dict[str, Any] = {
        "generateName": f"{name}-",
        "ownerReferences": [owned_by(replica_set, REPLICA_SETS)],
        **{key: given[key] for key in ("labels", "annotations", "finalizers") if given.get(key)},
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def first_to_go(pods: list[JSONObject]) -> list[JSONObject]:
    """Sort pods by how little is lost with them: unassigned, not running, not ready, cheap, crowded, young."""
    crowd = Counter(pod["spec"].get("nodeName", "") for pod in pods if is_ready(pod))
    young_first = sorted(pods, key=lambda pod: pod["metadata"]["creationTimestamp"], reverse=True)
    return sorted(young_first, key=lambda pod: _rank(pod, crowd))


def _rank(pod: JSONObject, crowd: Counter[str]) -> tuple[object, ...]:
    node = pod["spec"].get("nodeName", "")
    cost = (pod["metadata"].get("annotations") or {}).get(
        "controller.kubernetes.io/pod-deletion-cost", "0"
    )
    phase = (pod.get("status") or {}).get("phase", "Pending")
    return (
        bool(node),
        _PHASES.get(phase, 1),
        is_ready(pod),
        int(cost) if cost.lstrip("-").isdigit() else 0,
        -crowd[node],
    )
