"""Disruptions that a test causes: of one pod, or of a node.

What belongs here: killing, pausing and partitioning pods, and the loss of a node. What does not: what
the API server does on purpose, such as evictions.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from operatorkit.clock import Clock, format_time
from operatorkit.cluster.api import ClusterAPI, JSONObject, PatchType
from operatorkit.controlplane.nodes.kinds import NODES, PODS
from operatorkit.controlplane.nodes.process.cgroups import PodGroup
from operatorkit.controlplane.nodes.process.network import Partition
from operatorkit.controlplane.nodes.process.pod import PodState
from operatorkit.errors import InputError, NotFound
from operatorkit.names import ObjectKey

__all__ = ["Disruptions", "Nodes"]

_UNREACHABLE = "node.kubernetes.io/unreachable"


class Nodes(Protocol):
    """What disruptions need of the nodes."""

    def find(self, key: ObjectKey) -> PodState:
        """Return the state of a pod. Raises InputError."""

    def on_node(self, node: str) -> Mapping[ObjectKey, PodState]:
        """Return the pods of a node. Raises InputError for a node that is not a process node."""

    async def stop_node(self, node: str) -> None:
        """Let a node do nothing any more."""

    async def start_node(self, node: str) -> None:
        """Let a node register and work again."""


@dataclass(slots=True)
class Disruptions:
    """Disrupts pods by namespace and name, and nodes by name."""

    api: ClusterAPI
    nodes: Nodes
    clock: Clock
    _partitions: dict[str, list[Partition]] = field(default_factory=dict)

    def kill(
        self,
        namespace: str,
        pod: str,
        *,
        container: str = "",
        number: signal.Signals = signal.SIGKILL,
    ) -> None:
        """Send a signal, by default SIGKILL, to the containers of a pod, or to one of them.

        Raises InputError where none runs.
        """
        state = self.nodes.find(ObjectKey(namespace, pod))
        chosen = [one for one in state.running if container in {"", one.name}]
        if not chosen:
            what = f"container {container}" if container else "no container"
            raise InputError(f"pod {namespace}/{pod}: {what} runs: wait until it is ready")
        for one in chosen:
            if one.child is not None:
                one.child.send(number)

    def pause(self, namespace: str, pod: str) -> None:
        """Stop all processes of a pod where they are. Raises InputError without root and cgroup v2."""
        self._group(namespace, pod, "pause").freeze(frozen=True)

    def resume(self, namespace: str, pod: str) -> None:
        """Let the processes of a paused pod go on."""
        self._group(namespace, pod, "resume").freeze(frozen=False)

    def partition(self, namespace: str, pod: str, *, peers: Iterable[str] | None = None) -> None:
        """Drop all packets between a pod and `peers`, which are addresses; everything where None.

        Packets are dropped, not rejected: connections hang. Probes of the node are cut off, too, when
        everything is. Raises InputError where BPF programs cannot be attached.
        """
        group = self._group(namespace, pod, "partition")
        uid = self.nodes.find(ObjectKey(namespace, pod)).uid
        try:
            made = Partition(group.path, peers)
        except OSError as error:
            raise InputError(f"pod {namespace}/{pod}: a partition needs BPF: {error}") from error
        self._partitions.setdefault(uid, []).append(made)

    def heal(self, namespace: str, pod: str) -> None:
        """End all partitions of a pod."""
        uid = self.nodes.find(ObjectKey(namespace, pod)).uid
        self.forget(uid)

    def forget(self, uid: str) -> None:
        """End the partitions of a pod that is no more."""
        for partition in self._partitions.pop(uid, ()):
            partition.heal()

    def close(self) -> None:
        """End all partitions."""
        for uid in list(self._partitions):
            self.forget(uid)

    async def lose(self, node: str) -> None:
        """Let a node fail as by a power cut: its processes end, and it reports nothing any more.

        The Node is marked at once as the node lifecycle controller marks it after its grace period:
        Ready is Unknown, taints say that it is unreachable, and its pods are not ready. Raises
        InputError for a node that is not one of these.
        """
        pods = self.nodes.on_node(node)
        await self.nodes.stop_node(node)
        for state in pods.values():
            for one in state.running:
                if one.child is not None:
                    one.child.kill()
        await self._mark_node(node)
        for key in pods:
            await self._mark_pod(key)

    async def restore(self, node: str) -> None:
        """Let a lost node come back: its pods start again. Raises InputError."""
        for state in self.nodes.on_node(node).values():
            state.initialized = False
            for one in state.containers:
                one.rerun()
        await self.nodes.start_node(node)

    def _group(self, namespace: str, pod: str, verb: str) -> PodGroup:
        state = self.nodes.find(ObjectKey(namespace, pod))
        if state.space.group is None:
            raise InputError(
                f"cannot {verb} pod {namespace}/{pod}: that needs root and a writable cgroup v2"
            )
        return state.space.group

    async def _mark_node(self, node: str) -> None:
        held = await self.api.get(NODES, node)
        moment = format_time(self.clock.now())
        conditions = []
        for one in held["status"]["conditions"]:
            text = "Kubelet stopped posting node status."
            change = {"status": "Unknown", "reason": "NodeStatusUnknown", "message": text}
            conditions.append({**one, **change, "lastTransitionTime": moment})
        status = {"status": {"conditions": conditions}}
        await self.api.patch(NODES, node, status, patch_type=PatchType.MERGE, subresource="status")
        kept = [it for it in held["spec"].get("taints") or () if it["key"] != _UNREACHABLE]
        taints = [
            *kept,
            {"key": _UNREACHABLE, "effect": "NoSchedule"},
            {"key": _UNREACHABLE, "effect": "NoExecute", "timeAdded": moment},
        ]
        await self.api.patch(NODES, node, {"spec": {"taints": taints}}, patch_type=PatchType.MERGE)

    async def _mark_pod(self, key: ObjectKey) -> None:
        try:
            pod = await self.api.get(PODS, key.name, namespace=key.namespace)
        except NotFound:
            return
        conditions = [_unready(one) for one in pod["status"].get("conditions") or ()]
        await self.api.patch(
            PODS,
            key.name,
            {"status": {"conditions": conditions}},
            patch_type=PatchType.MERGE,
            namespace=key.namespace,
            subresource="status",
        )


def _unready(condition: JSONObject) -> JSONObject:
    return {**condition, "status": "False"} if condition["type"] == "Ready" else condition
