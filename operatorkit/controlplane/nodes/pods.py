"""A pod's way through the simulation: one function that looks at a pod and takes its next steps.

What belongs here: the order of things, as kube-scheduler and kubelet have it, and the writes. What does not: deciding
when to look again (`simulated`), and the words and forms (`references`, `fitting`, `status`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from operatorkit.clock import Clock
from operatorkit.cluster.api import ClusterAPI, JSONObject, PatchType
from operatorkit.controlplane._reporter import EventType, Reporter
from operatorkit.controlplane.nodes import fitting, status
from operatorkit.controlplane.nodes.kinds import PODS
from operatorkit.controlplane.nodes.references import SourceKind, config_failure, mount_failures
from operatorkit.controlplane.nodes.status import Host, Waiting
from operatorkit.errors import Conflict, NotFound
from operatorkit.names import ObjectKey

__all__ = ["Attempt", "PodSteps", "World"]

_FIRST_RETRY = timedelta(milliseconds=500)
_LONGEST_RETRY = timedelta(minutes=2, seconds=2)


class World(Protocol):
    """What the steps read: the caches, up to date with our own writes."""

    def source(self, namespace: str, kind: SourceKind, name: str) -> JSONObject | None:
        """Return a Secret or ConfigMap, or None."""

    def nodes(self) -> Sequence[JSONObject]:
        """Return the nodes that a pod may be put on."""

    def pods_per_node(self) -> Mapping[str, int]:
        """Return how many pods are on each node."""

    def bound(self, pod: ObjectKey, node: str) -> None:
        """Remember where a pod was put."""

    def host(self, node: str) -> Host | None:
        """Return the node if it is one of ours."""

    def address(self, node: str, pod: ObjectKey) -> str:
        """Return the address of a pod on a node; the same each time."""

    def wrote(self, pod: JSONObject) -> None:
        """Remember the answer to a write."""


@dataclass(slots=True)
class Attempt:
    """How often a pod could not start, and what was said about it: the kubelet repeats itself ever more slowly."""

    failures: int = 0
    told: Sequence[str] = field(default_factory=list)
    again_at: float = 0.0

    def fail(self, problems: Sequence[str], now: float) -> bool:
        """Note the problems found at `now`; return whether it is time to tell them."""
        if problems == self.told and now < self.again_at:
            return False
        pause = min(_FIRST_RETRY * 2 ** min(self.failures, 16), _LONGEST_RETRY)
        self.failures, self.told, self.again_at = self.failures + 1, problems, now + pause.total_seconds()
        return True

    def remaining(self, now: float) -> timedelta:
        """Return how long it is from `now` until the next try."""
        return timedelta(seconds=max(0.001, self.again_at - now))


@dataclass(slots=True)
class PodSteps:
    """Takes a pod as far as it can go now.

    `advance` returns how long to wait before the next look, or None when only a change can help. Looking twice does
    no harm: what is done already is not done again, and what was said is repeated only when it is time.
    """

    api: ClusterAPI
    world: World
    reporter: Reporter
    clock: Clock

    async def advance(self, pod: JSONObject, attempt: Attempt) -> timedelta | None:
        """Take the next steps; `attempt` is the memory of this pod's failures to start."""
        try:
            return await self._advance(pod, attempt)
        except NotFound:
            return None  # deleted while we looked: the watch says so, too
        except Conflict:
            return timedelta(0) if await self._refresh(pod) else None

    async def _refresh(self, pod: JSONObject) -> bool:
        try:
            fresh = await self.api.get(PODS, pod["metadata"]["name"], namespace=pod["metadata"]["namespace"])
        except NotFound:
            return False
        self.world.wrote(fresh)
        return True

    async def _advance(self, pod: JSONObject, attempt: Attempt) -> timedelta | None:
        spec, deleting = pod["spec"], "deletionTimestamp" in pod["metadata"]
        if not spec.get("nodeName"):
            if not deleting and not spec.get("schedulingGates") and _ours_to_schedule(spec):
                await self._schedule(pod)
            return None
        host = self.world.host(spec["nodeName"])
        if host is None:
            return None
        if deleting:
            await self._terminate(pod, host)
            return None
        phase = (pod.get("status") or {}).get("phase", "Pending")
        if phase != "Pending":
            return None
        return await self._start(pod, host, attempt)

    async def _schedule(self, pod: JSONObject) -> None:
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        try:
            node = fitting.choose(pod, self.world.nodes(), self.world.pods_per_node())
        except fitting.Unschedulable as verdict:
            await self._report_unschedulable(pod, str(verdict))
            return
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "namespace": namespace, "uid": pod["metadata"]["uid"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        await self.api.create(PODS, binding, namespace=namespace, name=name, subresource="binding")
        self.world.bound(ObjectKey(namespace, name), node)
        message = f"Successfully assigned {namespace}/{name} to {node}"
        await self._act(pod, "Normal", "Scheduled", "Binding", message)

    async def _report_unschedulable(self, pod: JSONObject, message: str) -> None:
        conditions = (pod.get("status") or {}).get("conditions") or ()
        if any(one["type"] == "PodScheduled" and one.get("message") == message for one in conditions):
            return
        await self._write(pod, status.unschedulable(pod, message, self.clock.now()))
        await self.reporter.act(
            {**pod, "apiVersion": "v1", "kind": "Pod"}, "Warning", "FailedScheduling", "Scheduling", message
        )

    async def _start(self, pod: JSONObject, host: Host, attempt: Attempt) -> timedelta | None:
        namespace = pod["metadata"]["namespace"]

        def lookup(kind: SourceKind, name: str) -> JSONObject | None:
            return self.world.source(namespace, kind, name)

        problems = mount_failures(pod, lookup)
        if problems or not _seen_by_kubelet(pod):
            pod = await self._write(pod, status.waiting(pod, host, self.clock.now(), {}))
        now = self.clock.monotonic()
        if problems:
            for message in problems if attempt.fail(problems, now) else ():
                await self._tell(pod, host, "Warning", "FailedMount", message)
            return attempt.remaining(now)
        address = self.world.address(host.name, ObjectKey(namespace, pod["metadata"]["name"]))
        reasons = {
            container["name"]: Waiting("CreateContainerConfigError", problem)
            for container in pod["spec"]["containers"]
            if (problem := config_failure(pod, container, lookup)) is not None
        }
        if reasons:
            pod = await self._write(pod, status.waiting(pod, host, self.clock.now(), reasons, pod_ip=address))
            if attempt.fail([f"{name}: {reason.message}" for name, reason in reasons.items()], now):
                await self._report_configuration(pod, host, reasons)
            return attempt.remaining(now)
        for container in (*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]):
            await self._report_start(pod, host, container)
        await self._write(pod, status.running(pod, host, self.clock.now(), address))
        return None

    async def _report_configuration(self, pod: JSONObject, host: Host, reasons: Mapping[str, Waiting]) -> None:
        for container in pod["spec"]["containers"]:
            name = container["name"]
            if name in reasons:
                await self._report_pulled(pod, host, container)
                message = f"Error: {reasons[name].message}"
                await self._tell(pod, host, "Warning", "Failed", message, container=name)

    async def _act(self, pod: JSONObject, type_: EventType, reason: str, action: str, message: str) -> None:
        await self.reporter.act({**pod, "apiVersion": "v1", "kind": "Pod"}, type_, reason, action, message)

    async def _tell(
        self, pod: JSONObject, host: Host, type_: EventType, reason: str, message: str, *, container: str = ""
    ) -> None:
        pod = {**pod, "apiVersion": "v1", "kind": "Pod"}
        await self.reporter.count(pod, type_, reason, message, component="kubelet", host=host.name, container=container)

    async def _report_pulled(self, pod: JSONObject, host: Host, container: Mapping[str, Any]) -> None:
        image = container.get("image", "")
        message = f'Container image "{image}" already present on machine and can be accessed by the pod'
        await self._tell(pod, host, "Normal", "Pulled", message, container=container["name"])

    async def _report_start(self, pod: JSONObject, host: Host, container: Mapping[str, Any]) -> None:
        await self._report_pulled(pod, host, container)
        for reason, message in (("Created", "Container created"), ("Started", "Container started")):
            await self._tell(pod, host, "Normal", reason, message, container=container["name"])

    async def _terminate(self, pod: JSONObject, host: Host) -> None:
        metadata = pod["metadata"]
        if metadata.get("deletionGracePeriodSeconds") == 0:
            return  # forced, or confirmed by us before: a finalizer keeps it
        current = pod.get("status") or {}
        if current.get("phase", "Pending") in {"Running", "Pending"}:
            for one in current.get("containerStatuses") or ():
                if "running" in (one.get("state") or {}):
                    await self._tell(
                        pod,
                        host,
                        "Normal",
                        "Killing",
                        f"Stopping container {one['name']}",
                        container=one["name"],
                    )
            await self._write(pod, status.terminated(pod, host, self.clock.now()))
        await self.api.delete(
            PODS, metadata["name"], namespace=metadata["namespace"], grace_period_seconds=0, uid=metadata["uid"]
        )

    async def _write(self, pod: JSONObject, new: JSONObject) -> JSONObject:
        """Patch the status if that changes something; return the pod as it is then. Raises Conflict."""
        old = pod.get("status") or {}
        if all(old.get(key) == value for key, value in new.items()):
            return pod
        metadata = pod["metadata"]
        body = {
            "metadata": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]},
            "status": new,
        }
        written = await self.api.patch(
            PODS,
            metadata["name"],
            body,
            patch_type=PatchType.MERGE,
            namespace=metadata["namespace"],
            subresource="status",
        )
        self.world.wrote(written)
        return written


def _ours_to_schedule(spec: Mapping[str, Any]) -> bool:
    return bool(spec.get("schedulerName", "default-scheduler") == "default-scheduler")


def _seen_by_kubelet(pod: JSONObject) -> bool:
    return bool((pod.get("status") or {}).get("containerStatuses"))
