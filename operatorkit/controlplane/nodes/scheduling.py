"""Putting pods on nodes, as kube-scheduler does it through the API.

What belongs here: bindings, and the report of a pod that fits on no node. What does not: which node a pod fits on
(`fitting`), and what a node does with its pods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from operatorkit.clock import Clock
from operatorkit.cluster.api import ClusterAPI, JSONObject, PatchType
from operatorkit.controlplane.controllers.event_recorder import ComponentEventRecorder
from operatorkit.controlplane.nodes import fitting, status
from operatorkit.controlplane.nodes.behavior import ANNOTATION
from operatorkit.controlplane.nodes.kinds import PODS
from operatorkit.controlplane.nodes.writing import write_status
from operatorkit.kinds import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from operatorkit.names import ApiResource, ObjectKey

_SELECTED_NODE = "volume.kubernetes.io/selected-node"

__all__ = ["Scheduler", "SchedulingWorld", "is_schedulable"]

_NO_PREEMPTION = (
    "no new claims to deallocate, preemption: Preemption is not helpful for scheduling."
)


class SchedulingWorld(Protocol):
    """What a scheduler reads: the caches, up to date with its own writes."""

    def nodes(self) -> Sequence[JSONObject]:
        """Return the nodes that a pod may be put on."""

    def pods_per_node(self) -> Mapping[str, int]:
        """Return how many pods are on each node."""

    def waiting_claims(self, pod: JSONObject) -> Sequence[JSONObject]:
        """Return the claims of a pod that are bound only after a node is selected for them."""

    def has_volume(self, claim: JSONObject) -> bool:
        """Return whether a volume was selected for a claim."""

    def free_volume(self, claim: JSONObject) -> JSONObject | None:
        """Return the best volume for a claim among those that no claim has."""

    def is_provisioned(self, claim: JSONObject) -> bool:
        """Return whether the StorageClass of a claim has a provisioner."""

    def wrote_volume(self, volume: JSONObject) -> None:
        """Remember the response to a write."""

    def bound(self, pod: ObjectKey, node: str) -> None:
        """Remember where a pod was put."""

    def wrote(self, pod: JSONObject) -> None:
        """Remember the response to a write."""


def is_schedulable(spec: Mapping[str, Any]) -> bool:
    """Whether a pod without a node is one for the default scheduler, now."""
    default = spec.get("schedulerName", "default-scheduler") == "default-scheduler"
    return default and not spec.get("schedulingGates")


class Scheduler:
    """Binds pods to nodes."""

    def __init__(
        self,
        api: ClusterAPI,
        world: SchedulingWorld,
        events: ComponentEventRecorder,
        *,
        clock: Clock,
    ) -> None:
        self._api = api
        self._world = world
        self._events = events
        self._clock = clock

    async def schedule(self, pod: JSONObject) -> None:
        """Bind a pod to a node, or report that it fits on none. Raises Conflict, NotFound.

        A pod whose claims wait for their first consumer is bound when they are.
        """
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        if (pod["metadata"].get("annotations") or {}).get(ANNOTATION) == "unschedulable":
            count = len(self._world.nodes())
            head = f"0/{count} nodes are available:"
            text = f"{head} {count} {ANNOTATION} is unschedulable. {_NO_PREEMPTION}"
            await self._report_unschedulable(pod, text)
            return
        claims = self._world.waiting_claims(pod)
        selected = {node for claim in claims if (node := _selected_node(claim))}
        nodes = self._world.nodes()
        if selected:
            nodes = [each for each in nodes if each["metadata"]["name"] in selected]
        try:
            node = fitting.choose(pod, nodes, self._world.pods_per_node())
        except fitting.Unschedulable as verdict:
            await self._report_unschedulable(pod, str(verdict))
            return
        pending = [claim for claim in claims if not claim["spec"].get("volumeName")]
        for claim in pending:
            if not await self._select(claim, node):
                await self._report_unschedulable(pod, _no_volumes(len(nodes)))
        if pending:
            return
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "namespace": namespace, "uid": pod["metadata"]["uid"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        await self._api.create(PODS, binding, namespace=namespace, name=name, subresource="binding")
        self._world.bound(ObjectKey(namespace, name), node)
        message = f"Successfully assigned {namespace}/{name} to {node}"
        await self._events.act(_typed(pod), "Normal", "Scheduled", "Binding", message)

    async def _select(self, claim: JSONObject, node: str) -> bool:
        """Select a volume of a claim, or the node for a new one; return whether there can be one.

        Raises Conflict, NotFound.
        """
        if _selected_node(claim) or self._world.has_volume(claim):
            return True
        volume = self._world.free_volume(claim)
        if volume is not None:
            body = {"spec": {"claimRef": _reference(claim)}}
            self._world.wrote_volume(await self._change(PERSISTENT_VOLUMES, volume, body))
            return True
        if not self._world.is_provisioned(claim):
            return False
        body = {"metadata": {"annotations": {_SELECTED_NODE: node}}}
        await self._change(PERSISTENT_VOLUME_CLAIMS, claim, body)
        return True

    async def _change(self, resource: ApiResource, obj: JSONObject, body: JSONObject) -> JSONObject:
        """Patch an object that is still as it was observed. Raises Conflict, NotFound."""
        metadata = obj["metadata"]
        version = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        return await self._api.patch(
            resource,
            metadata["name"],
            {**body, "metadata": {**body.get("metadata", {}), **version}},
            patch_type=PatchType.MERGE,
            namespace=metadata.get("namespace"),
        )

    async def _report_unschedulable(self, pod: JSONObject, message: str) -> None:
        conditions = (pod.get("status") or {}).get("conditions") or ()
        if any(
            one["type"] == "PodScheduled" and one.get("message") == message for one in conditions
        ):
            return
        written = await write_status(
            self._api, pod, status.unschedulable(pod, message, self._clock.now())
        )
        if written is not pod:
            self._world.wrote(written)
        await self._events.act(_typed(pod), "Warning", "FailedScheduling", "Scheduling", message)


def _selected_node(claim: JSONObject) -> str:
    annotations: dict[str, str] = claim["metadata"].get("annotations") or {}
    return annotations.get(_SELECTED_NODE, "")


def _reference(claim: JSONObject) -> JSONObject:
    metadata = claim["metadata"]
    reference = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": metadata["name"]}
    return {**reference, "namespace": metadata["namespace"], "uid": metadata["uid"]}


def _no_volumes(count: int) -> str:
    what = "node(s) didn't find available persistent volumes to bind"
    return f"0/{count} nodes are available: {count} {what}. {_NO_PREEMPTION}"


def _typed(pod: JSONObject) -> JSONObject:
    return {**pod, "apiVersion": "v1", "kind": "Pod"}
