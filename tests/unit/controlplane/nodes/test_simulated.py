from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from operatorkit.cluster import LiveCluster
from operatorkit.cluster.api import PatchType
from operatorkit.controlplane.controllers import Controllers
from operatorkit.controlplane.controllers.event_recorder import EVENTS
from operatorkit.controlplane.nodes import SimulatedNodes
from operatorkit.controlplane.nodes.kinds import LEASES, NODES, PODS, SECRETS
from operatorkit.errors import NotFound
from operatorkit.names import ApiResource
from operatorkit.testing import FakeClock
from operatorkit.testing.polling import eventually

NAMESPACES = ApiResource("", "v1", "Namespace", "namespaces", namespaced=False)
ACCOUNTS = ApiResource("", "v1", "ServiceAccount", "serviceaccounts", namespaced=True)
_numbers = itertools.count(1)


@pytest.fixture
async def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def nodes(api: LiveCluster, clock: FakeClock) -> AsyncIterator[SimulatedNodes]:
    async with SimulatedNodes(api, count=2, clock=clock) as simulated:
        yield simulated


@pytest.fixture
async def namespace(api: LiveCluster) -> str:
    name = f"nodes-{next(_numbers)}"
    await api.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    # Admission of a real server refuses pods until somebody has made the account.
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    await api.create(ACCOUNTS, account, namespace=name)
    return name


async def _run(api: LiveCluster, namespace: str, **spec: Any) -> None:
    container = {"name": "app", "image": "registry.example/web:1", **spec.pop("container", {})}
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web"},
        "spec": {"containers": [container], "automountServiceAccountToken": False, **spec},
    }
    await api.create(PODS, body, namespace=namespace)


async def _secret(api: LiveCluster, namespace: str, name: str, **data: str) -> None:
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}
    await api.create(SECRETS, body, namespace=namespace)


async def _pod_when(api: LiveCluster, namespace: str, **wanted: Any) -> dict[str, Any]:
    """Return the pod once its phase, or the reason why its container waits, is as wanted."""

    async def check() -> dict[str, Any] | None:
        pod = await api.get(PODS, "web", namespace=namespace)
        status = pod["status"]
        states = [one["state"] for one in status.get("containerStatuses", [])]
        seen = {
            "phase": status.get("phase"),
            "waits": next((state["waiting"]["reason"] for state in states if "waiting" in state), None),
            "ready": all(one["ready"] for one in status.get("containerStatuses", [{"ready": False}])),
        }
        assert {key: seen[key] for key in wanted} == wanted, pod["status"]
        return pod

    return await eventually(check)


async def _events(api: LiveCluster, namespace: str, **wanted: str) -> list[dict[str, Any]]:
    listed = await api.list(EVENTS, namespace=namespace)
    return [one for one in listed.items if all(one[key] == value for key, value in wanted.items())]


@pytest.mark.usefixtures("nodes")
async def test_nodes_are_ready_and_have_leases(api: LiveCluster) -> None:
    for name in ("node-1", "node-2"):

        async def ready(name: str = name) -> bool:
            node = await api.get(NODES, name)
            conditions = {one["type"]: one["status"] for one in node["status"]["conditions"]}
            assert conditions == {
                "MemoryPressure": "False",
                "DiskPressure": "False",
                "PIDPressure": "False",
                "Ready": "True",
            }
            return not node["spec"].get("taints")

        await eventually(ready)  # a node lifecycle controller may act on what it saw of an earlier life
        lease = await eventually(lambda name=name: api.get(LEASES, name, namespace="kube-node-lease"))
        assert lease["spec"]["holderIdentity"] == name


@pytest.mark.usefixtures("nodes")
async def test_a_pod_that_lacks_nothing_runs_and_is_ready(api: LiveCluster, namespace: str) -> None:
    await _run(api, namespace, initContainers=[{"name": "prepare", "image": "tools:1"}])

    pod = await _pod_when(api, namespace, phase="Running", ready=True)

    assert pod["spec"]["nodeName"] in {"node-1", "node-2"}
    status = pod["status"]
    assert status["podIP"] == status["podIPs"][0]["ip"]
    assert {one["type"] for one in status["conditions"] if one["status"] == "True"} == {
        "PodScheduled",
        "Initialized",
        "PodReadyToStartContainers",
        "ContainersReady",
        "Ready",
    }
    assert status["initContainerStatuses"][0]["state"]["terminated"]["reason"] == "Completed"
    by_reason = {one["reason"]: one["message"] for one in await _events(api, namespace)}
    assert by_reason == {
        "Scheduled": f"Successfully assigned {namespace}/web to {pod['spec']['nodeName']}",
        "Pulled": by_reason["Pulled"],
        "Created": "Container created",
        "Started": "Container started",
    }
    assert by_reason["Pulled"].endswith("already present on machine and can be accessed by the pod")


async def test_a_pod_waits_for_its_secret_and_starts_as_soon_as_it_is_there(
    api: LiveCluster, namespace: str, nodes: SimulatedNodes, clock: FakeClock
) -> None:
    await _run(api, namespace, volumes=[{"name": "tls", "secret": {"secretName": "web-tls"}}])
    await _pod_when(api, namespace, phase="Pending", waits="ContainerCreating")
    await nodes.idle()

    (event,) = await _events(api, namespace, reason="FailedMount")
    assert (event["type"], event["count"], event["message"]) == (
        "Warning",
        1,
        'MountVolume.SetUp failed for volume "tls" : secret "web-tls" not found',
    )
    assert event["source"]["component"] == "kubelet"

    for step, count in ((0.5, 2), (1.0, 3), (2.0, 4)):
        await nodes.idle()  # the Event is written a moment before the next try has its time
        await clock.advance(step)

        async def counted(count: int = count) -> bool:
            (event,) = await _events(api, namespace, reason="FailedMount")
            return event["count"] == count

        await eventually(counted)

    await _secret(api, namespace, "web-tls", key="x")  # and the clock stands still
    await _pod_when(api, namespace, phase="Running", ready=True)


@pytest.mark.usefixtures("nodes")
async def test_a_variable_that_cannot_be_set_holds_the_container_with_its_reason(
    api: LiveCluster, namespace: str
) -> None:
    variable = {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}
    await _run(api, namespace, container={"env": [variable]})

    pod = await _pod_when(api, namespace, phase="Pending", waits="CreateContainerConfigError")
    waiting = pod["status"]["containerStatuses"][0]["state"]["waiting"]
    assert waiting["message"] == 'secret "db" not found'

    async def reported() -> bool:
        return bool(await _events(api, namespace, reason="Failed", message='Error: secret "db" not found'))

    await eventually(reported)
    await _secret(api, namespace, "db", password="x")
    await _pod_when(api, namespace, phase="Running")


@pytest.mark.usefixtures("nodes")
async def test_a_pod_that_fits_nowhere_says_why_and_goes_where_a_node_starts_to_fit(
    api: LiveCluster, namespace: str
) -> None:
    await _run(api, namespace, nodeSelector={"for": namespace})

    async def rejected() -> bool:
        return bool(await _events(api, namespace, reason="FailedScheduling"))

    await eventually(rejected)
    pod = await api.get(PODS, "web", namespace=namespace)
    (condition,) = [one for one in pod["status"]["conditions"] if one["type"] == "PodScheduled"]
    assert (condition["status"], condition["reason"]) == ("False", "Unschedulable")
    assert condition["message"].startswith(
        "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector"
    )

    label = {"metadata": {"labels": {"for": namespace}}}
    await api.patch(NODES, "node-2", label, patch_type=PatchType.MERGE)

    pod = await _pod_when(api, namespace, phase="Running")
    assert pod["spec"]["nodeName"] == "node-2"


@pytest.mark.usefixtures("nodes")
async def test_a_deleted_pod_ends_gracefully_and_is_gone(api: LiveCluster, namespace: str) -> None:
    await _run(api, namespace)
    await _pod_when(api, namespace, phase="Running")

    await api.delete(PODS, "web", namespace=namespace)

    async def gone() -> bool:
        try:
            await api.get(PODS, "web", namespace=namespace)
        except NotFound:
            return True
        return False

    await eventually(gone)
    (event,) = await _events(api, namespace, reason="Killing")
    assert event["message"] == "Stopping container app"


@pytest.mark.usefixtures("nodes")
async def test_a_finalizer_keeps_an_ended_pod_and_its_last_status(api: LiveCluster, namespace: str) -> None:
    await _run(api, namespace)
    await _pod_when(api, namespace, phase="Running")
    held = {"metadata": {"finalizers": ["example.com/hold"]}}
    await api.patch(PODS, "web", held, patch_type=PatchType.MERGE, namespace=namespace)

    await api.delete(PODS, "web", namespace=namespace)

    pod = await _pod_when(api, namespace, phase="Succeeded", ready=False)
    assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
    lifted = {"metadata": {"finalizers": None}}
    await api.patch(PODS, "web", lifted, patch_type=PatchType.MERGE, namespace=namespace)

    async def gone() -> bool:
        try:
            await api.get(PODS, "web", namespace=namespace)
        except NotFound:
            return True
        return False

    await eventually(gone)


@pytest.mark.usefixtures("nodes")
async def test_a_namespace_with_a_running_pod_can_be_deleted(api: LiveCluster, namespace: str) -> None:
    await _run(api, namespace)
    await _pod_when(api, namespace, phase="Running")

    async with Controllers(api):
        await api.delete(NAMESPACES, namespace)

        async def gone() -> bool:
            try:
                await api.get(NAMESPACES, namespace)
            except NotFound:
                return True
            return False

        await eventually(gone)


async def test_nodes_of_an_earlier_run_are_taken_over_or_deleted(api: LiveCluster, namespace: str) -> None:
    async with SimulatedNodes(api, count=3):
        kept = await api.get(NODES, "node-1")
    lost = {"spec": {"taints": [{"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"}]}}
    await api.patch(NODES, "node-1", lost, patch_type=PatchType.MERGE)

    async with SimulatedNodes(api, count=1):
        await _run(api, namespace)
        pod = await _pod_when(api, namespace, phase="Running")

    assert pod["spec"]["nodeName"] == "node-1"
    (node,) = (await api.list(NODES)).items
    assert node["metadata"]["uid"] == kept["metadata"]["uid"]


async def test_pods_that_came_while_no_node_was_there_are_taken_up(api: LiveCluster, namespace: str) -> None:
    await _run(api, namespace)

    async with SimulatedNodes(api, count=1):
        await _pod_when(api, namespace, phase="Running")
