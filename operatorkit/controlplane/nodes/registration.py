"""Nodes as objects: registering them, and saying that they are alive.

What belongs here: Node objects and their Leases. What does not: pods.

Kubernetes' node lifecycle controller, where it runs, marks a node as lost when its Lease is not renewed for 50 seconds;
one renewal every ten seconds is all it asks for, and all that is written while nothing happens.
"""

from __future__ import annotations

from datetime import timedelta

from operatorkit.clock import Clock, format_micro_time, format_time
from operatorkit.cluster.api import ClusterAPI, JSONObject, PatchType
from operatorkit.controlplane.nodes.kinds import LEASES, NODES
from operatorkit.controlplane.nodes.status import Host
from operatorkit.errors import AlreadyExists, ClusterError

__all__ = [
    "LEASE_NAMESPACE",
    "heartbeat",
    "host",
    "is_of_runtime",
    "is_simulated",
    "pod_address",
    "register",
    "renew",
]

LEASE_NAMESPACE = "kube-node-lease"
_LEASE_DURATION = timedelta(seconds=40)
_AGAIN_AFTER = timedelta(seconds=1)
_CAPACITY = {"cpu": "64", "memory": "256Gi", "ephemeral-storage": "1Ti", "pods": "250"}
_SIMULATED = "simulated"
_KUBELET_VERSION = "v1.36.3"
_TAINTS_OF_THE_LOST = frozenset({"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"})


def host(number: int) -> Host:
    """Return the name and the address of the n-th node, counted from 1."""
    return Host(name=f"node-{number}", ip=f"10.245.0.{number}")


def pod_address(number: int, serial: int) -> str:
    """Return the n-th address (counted from 0) for pods on the n-th node (counted from 1, at most 250).

    The first 253 are of the node's own block; more pods than a node takes get addresses of other blocks.
    """
    block, last = divmod(serial, 253)
    return f"10.{246 + block % 8}.{number}.{2 + last}"


def is_simulated(node: JSONObject) -> bool:
    """Whether a Node is simulated, of this run or an earlier one."""
    return is_of_runtime(node, _SIMULATED)


def is_of_runtime(node: JSONObject, runtime: str) -> bool:
    """Whether a Node was registered by `register` with that runtime."""
    return str((node.get("spec") or {}).get("providerID", "")).startswith(f"{runtime}://")


def _node(node: Host, clock: Clock, runtime: str, kubelet_port: int) -> JSONObject:
    labels = {
        "kubernetes.io/hostname": node.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": "amd64",
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "labels": labels},
        "spec": {"providerID": f"{runtime}://{node.name}"},
        "status": _status(node, clock, runtime, kubelet_port),
    }


def _status(node: Host, clock: Clock, runtime: str, kubelet_port: int) -> JSONObject:
    moment = format_time(clock.now())

    def condition(type_: str, status: str, reason: str, message: str) -> JSONObject:
        return {
            "type": type_,
            "status": status,
            "reason": reason,
            "message": message,
            "lastHeartbeatTime": moment,
            "lastTransitionTime": moment,
        }

    return {
        "capacity": _CAPACITY,
        "allocatable": _CAPACITY,
        "addresses": [
            {"type": "InternalIP", "address": node.ip},
            # An API server prefers the name to the address, and nothing resolves this one.
            *([{"type": "Hostname", "address": node.name}] if runtime == _SIMULATED else []),
        ],
        "conditions": [
            condition(
                "MemoryPressure",
                "False",
                "KubeletHasSufficientMemory",
                "kubelet has sufficient memory available",
            ),
            condition(
                "DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"
            ),
            condition(
                "PIDPressure",
                "False",
                "KubeletHasSufficientPID",
                "kubelet has sufficient PID available",
            ),
            condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
        ],
        "nodeInfo": {
            "architecture": "amd64",
            "bootID": "",
            "containerRuntimeVersion": f"{runtime}://1",
            "kernelVersion": runtime,
            "kubeProxyVersion": "",
            "kubeletVersion": _KUBELET_VERSION,
            "machineID": "",
            "operatingSystem": "linux",
            "osImage": f"operatorkit {runtime} node",
            "systemUUID": "",
        },
        "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet_port}},
    }


async def register(
    api: ClusterAPI,
    node: Host,
    *,
    clock: Clock,
    runtime: str = _SIMULATED,
    kubelet_port: int = 10250,
) -> JSONObject:
    """Create a Node, ready for pods, or take over the one of that name; return it.

    `runtime` is what runs the containers, and `kubelet_port` where an API server requests their logs.
    """
    wanted = _node(node, clock, runtime, kubelet_port)
    try:
        await api.create(NODES, wanted)
    except AlreadyExists:
        labels = {"metadata": {"labels": wanted["metadata"]["labels"]}}
        await api.patch(NODES, node.name, labels, patch_type=PatchType.MERGE)
        await api.patch(
            NODES,
            node.name,
            {"status": wanted["status"]},
            patch_type=PatchType.MERGE,
            subresource="status",
        )
    # New nodes are born tainted as not ready, and one that was switched off is tainted as lost: where no node lifecycle
    # controller runs nothing else removes the taints, and where one does it takes its time.
    return await _lift_taints(api, node)


async def _lift_taints(api: ClusterAPI, node: Host) -> JSONObject:
    held = await api.get(NODES, node.name)
    taints = (held.get("spec") or {}).get("taints") or []
    kept = [taint for taint in taints if taint["key"] not in _TAINTS_OF_THE_LOST]
    if kept == taints:
        return held
    body = {
        "metadata": {"resourceVersion": held["metadata"]["resourceVersion"]},
        "spec": {"taints": kept or None},
    }
    try:
        return await api.patch(NODES, node.name, body, patch_type=PatchType.MERGE)
    except ClusterError as error:
        if error.code != 409:
            raise
        return await _lift_taints(
            api, node
        )  # the controller was quicker, or touched something else


async def renew(api: ClusterAPI, node: Host, *, clock: Clock) -> None:
    """Say that a node is alive now: renew its Lease, or make it."""
    spec = {
        "holderIdentity": node.name,
        "leaseDurationSeconds": int(_LEASE_DURATION.total_seconds()),
        "renewTime": format_micro_time(clock.now()),
    }
    try:
        await api.patch(
            LEASES, node.name, {"spec": spec}, patch_type=PatchType.MERGE, namespace=LEASE_NAMESPACE
        )
    except ClusterError as error:
        if error.code != 404:
            raise
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": node.name, "namespace": LEASE_NAMESPACE},
            "spec": spec,
        }
        await api.create(LEASES, lease, namespace=LEASE_NAMESPACE)


async def heartbeat(api: ClusterAPI, node: Host, *, clock: Clock, every: timedelta) -> None:
    """Renew a node's Lease now and for ever; a failure is made good soon.

    The first may fail on a control plane so new that it has no namespace for Leases yet.
    """
    while True:
        pause = every
        try:
            await renew(api, node, clock=clock)
        except ClusterError:
            pause = min(every, _AGAIN_AFTER)
        await clock.sleep(pause.total_seconds())
