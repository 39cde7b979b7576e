from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from operatorkit.cluster import LiveCluster
from operatorkit.cluster.api import PatchType
from operatorkit.controlplane.controllers import Controllers
from operatorkit.controlplane.controllers.event_recorder import EVENTS
from operatorkit.controlplane.controllers.workloads import DEPLOYMENTS, PODS, REPLICA_SETS
from operatorkit.controlplane.nodes import SimulatedNodes
from operatorkit.names import ApiResource
from operatorkit.testing.polling import eventually

NAMESPACES = ApiResource("", "v1", "Namespace", "namespaces", namespaced=False)
_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
async def running(api: LiveCluster) -> AsyncIterator[None]:
    async with Controllers(api), SimulatedNodes(api, count=2):
        yield


@pytest.fixture
async def namespace(api: LiveCluster) -> str:
    name = f"deployments-{next(_numbers)}"
    await api.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


async def _deploy(api: LiveCluster, namespace: str, **spec: Any) -> dict[str, Any]:
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "app", "image": "web:1"}], "automountServiceAccountToken": False},
    }
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template, **spec},
    }
    return await api.create(DEPLOYMENTS, body, namespace=namespace)


async def _image(api: LiveCluster, namespace: str, image: str) -> None:
    body = {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}}}
    await api.patch(DEPLOYMENTS, "web", body, patch_type=PatchType.STRATEGIC, namespace=namespace)


async def _rolled_out(api: LiveCluster, namespace: str, image: str, replicas: int) -> dict[str, Any]:
    async def check() -> dict[str, Any]:
        deployment = await api.get(DEPLOYMENTS, "web", namespace=namespace)
        status = deployment["status"]
        pods = (await api.list(PODS, namespace=namespace)).items
        assert status.get("observedGeneration") == deployment["metadata"]["generation"], status
        counts = {status.get(f"{key}Replicas", 0) for key in ("updated", "ready", "available")}
        assert (counts, status.get("replicas", 0)) == ({replicas}, replicas), status
        assert [pod["spec"]["containers"][0]["image"] for pod in pods] == [image] * replicas
        conditions = {one["type"]: (one["status"], one["reason"]) for one in status["conditions"]}
        assert conditions == {
            "Available": ("True", "MinimumReplicasAvailable"),
            "Progressing": ("True", "NewReplicaSetAvailable"),
        }
        return deployment

    return await eventually(check)


async def test_a_deployment_gets_its_pods_and_says_so(api: LiveCluster, namespace: str) -> None:
    await _deploy(api, namespace)

    deployment = await _rolled_out(api, namespace, "web:1", 3)

    assert deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
    (replica_set,) = (await api.list(REPLICA_SETS, namespace=namespace)).items
    digest = replica_set["metadata"]["labels"]["pod-template-hash"]
    assert replica_set["metadata"]["name"] == f"web-{digest}"
    for pod in (await api.list(PODS, namespace=namespace)).items:
        assert pod["metadata"]["name"].startswith(f"web-{digest}-")
        assert pod["metadata"]["ownerReferences"][0]["uid"] == replica_set["metadata"]["uid"]
    events = [one["message"] for one in (await api.list(EVENTS, namespace=namespace)).items]
    assert f"Scaled up replica set web-{digest} from 0 to 3" in events


async def test_a_deleted_pod_is_replaced(api: LiveCluster, namespace: str) -> None:
    await _deploy(api, namespace)
    await _rolled_out(api, namespace, "web:1", 3)
    victim = (await api.list(PODS, namespace=namespace)).items[0]["metadata"]

    await api.delete(PODS, victim["name"], namespace=namespace)

    async def replaced() -> bool:
        uids = {pod["metadata"]["uid"] for pod in (await api.list(PODS, namespace=namespace)).items}
        return victim["uid"] not in uids and len(uids) == 3

    await eventually(replaced)
    await _rolled_out(api, namespace, "web:1", 3)


async def test_a_new_template_rolls_out_and_a_rollback_finds_its_old_set(api: LiveCluster, namespace: str) -> None:
    await _deploy(api, namespace)
    await _rolled_out(api, namespace, "web:1", 3)

    await _image(api, namespace, "web:2")
    second = await _rolled_out(api, namespace, "web:2", 3)
    await _image(api, namespace, "web:1")
    third = await _rolled_out(api, namespace, "web:1", 3)

    revision = "deployment.kubernetes.io/revision"
    assert (second["metadata"]["annotations"][revision], third["metadata"]["annotations"][revision]) == ("2", "3")
    sets = (await api.list(REPLICA_SETS, namespace=namespace)).items
    assert sorted(one["metadata"]["annotations"][revision] for one in sets) == ["2", "3"]


async def test_recreate_never_has_both_versions(api: LiveCluster, namespace: str) -> None:
    await _deploy(api, namespace, strategy={"type": "Recreate"})
    await _rolled_out(api, namespace, "web:1", 3)

    await _image(api, namespace, "web:2")
    await _rolled_out(api, namespace, "web:2", 3)

    sets = {one["spec"]["replicas"] for one in (await api.list(REPLICA_SETS, namespace=namespace)).items}
    assert sets == {0, 3}


@pytest.mark.parametrize("replicas", [5, 1, 0])
async def test_scaling_makes_or_ends_pods(api: LiveCluster, namespace: str, replicas: int) -> None:
    await _deploy(api, namespace)
    await _rolled_out(api, namespace, "web:1", 3)

    body = {"spec": {"replicas": replicas}}
    await api.patch(DEPLOYMENTS, "web", body, patch_type=PatchType.MERGE, namespace=namespace)

    await _rolled_out(api, namespace, "web:1", replicas)


async def test_old_sets_beyond_the_history_are_cleared_away(api: LiveCluster, namespace: str) -> None:
    await _deploy(api, namespace, revisionHistoryLimit=1)
    for image in ("web:1", "web:2", "web:3"):
        await _image(api, namespace, image)
        await _rolled_out(api, namespace, image, 3)

    async def cleared() -> bool:
        sets = (await api.list(REPLICA_SETS, namespace=namespace)).items
        return {one["spec"]["template"]["spec"]["containers"][0]["image"] for one in sets} == {"web:2", "web:3"}

    await eventually(cleared)


async def test_a_deployment_takes_its_sets_and_pods_with_it(api: LiveCluster, namespace: str) -> None:
    await _deploy(api, namespace)
    await _rolled_out(api, namespace, "web:1", 3)

    await api.delete(DEPLOYMENTS, "web", namespace=namespace)

    async def gone() -> bool:
        sets = (await api.list(REPLICA_SETS, namespace=namespace)).items
        return not sets and not (await api.list(PODS, namespace=namespace)).items

    await eventually(gone)


async def test_a_pod_whose_labels_change_is_let_go_and_a_stray_one_is_taken_in(
    api: LiveCluster, namespace: str
) -> None:
    await _deploy(api, namespace, replicas=1)
    await _rolled_out(api, namespace, "web:1", 1)
    (pod,) = (await api.list(PODS, namespace=namespace)).items
    labels = pod["metadata"]["labels"]

    away = {"metadata": {"labels": {"app": "debug"}}}
    await api.patch(PODS, pod["metadata"]["name"], away, patch_type=PatchType.MERGE, namespace=namespace)

    async def replaced() -> bool:
        pods = (await api.list(PODS, namespace=namespace)).items
        owners = {one["metadata"]["labels"]["app"]: "ownerReferences" in one["metadata"] for one in pods}
        return owners == {"debug": False, "web": True}

    await eventually(replaced)
    back = {"metadata": {"labels": labels}}
    await api.patch(PODS, pod["metadata"]["name"], back, patch_type=PatchType.MERGE, namespace=namespace)

    async def one_left() -> bool:
        pods = (await api.list(PODS, namespace=namespace)).items
        return len(pods) == 1 and "ownerReferences" in pods[0]["metadata"]

    await eventually(one_left)
