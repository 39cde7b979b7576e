from __future__ import annotations

from typing import Any

import pytest

from operatorkit.cluster.api import PatchType
from operatorkit.controlplane.embedded.local import LocalCluster
from operatorkit.errors import Conflict, Invalid, NotFound, Throttled
from operatorkit.names import ApiResource
from tests.unit.controlplane.embedded.conftest import NAMESPACES, PODS

DEPLOYMENTS = ApiResource("apps", "v1", "Deployment", "deployments", namespaced=True)
BUDGETS = ApiResource("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", namespaced=True)


def _pod(**metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p", **metadata}, "spec": {"containers": [{"name": "c", "image": "i"}]}}


async def _bind(local: LocalCluster, node: str = "n1") -> None:
    body = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": node}}
    await local.create(PODS, body, namespace="default", name="p", subresource="binding")


async def test_a_binding_assigns_a_pod_once(local: LocalCluster) -> None:
    await local.create(PODS, _pod(), namespace="default")
    await _bind(local)
    pod = await local.get(PODS, "p", namespace="default")
    assert pod["spec"]["nodeName"] == "n1"
    assert [(it["type"], it["status"]) for it in pod["status"]["conditions"]] == [("PodScheduled", "True")]
    with pytest.raises(Conflict, match='pod p is already assigned to node "n1"'):
        await _bind(local, "n2")


async def test_a_pod_that_runs_is_given_grace_and_one_that_does_not_goes_at_once(local: LocalCluster) -> None:
    await local.create(PODS, _pod(), namespace="default")
    await local.delete(PODS, "p", namespace="default")
    with pytest.raises(NotFound):
        await local.get(PODS, "p", namespace="default")
    await local.create(PODS, _pod(), namespace="default")
    await _bind(local)
    await local.delete(PODS, "p", namespace="default")
    pod = await local.get(PODS, "p", namespace="default")
    assert pod["metadata"]["deletionGracePeriodSeconds"] == 30
    assert pod["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:30Z"
    await local.delete(PODS, "p", namespace="default", grace_period_seconds=5)
    assert (await local.get(PODS, "p", namespace="default"))["metadata"]["deletionGracePeriodSeconds"] == 5
    await local.delete(PODS, "p", namespace="default", grace_period_seconds=0)
    with pytest.raises(NotFound):
        await local.get(PODS, "p", namespace="default")


async def test_an_eviction_asks_the_budgets(local: LocalCluster) -> None:
    await local.create(PODS, _pod(labels={"app": "x"}), namespace="default")
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}}
    await local.create(BUDGETS, {"metadata": {"name": "b"}, "spec": spec}, namespace="default")
    eviction = {"metadata": {"name": "p"}}
    running = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    await local.patch(PODS, "p", running, patch_type=PatchType.MERGE, namespace="default", subresource="status")
    with pytest.raises(Throttled, match="would violate the pod's disruption budget"):
        await local.create(PODS, eviction, namespace="default", name="p", subresource="eviction")
    status = {
        "status": {
            "observedGeneration": 1,
            "disruptionsAllowed": 1,
            "currentHealthy": 1,
            "desiredHealthy": 1,
            "expectedPods": 1,
        }
    }
    await local.patch(BUDGETS, "b", status, patch_type=PatchType.MERGE, namespace="default", subresource="status")
    await local.create(PODS, eviction, namespace="default", name="p", subresource="eviction")
    with pytest.raises(NotFound):
        await local.get(PODS, "p", namespace="default")


async def test_a_scale_shows_and_changes_the_replicas(local: LocalCluster) -> None:
    labels = {"app": "x"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    await local.create(DEPLOYMENTS, {"metadata": {"name": "d"}, "spec": spec}, namespace="default")
    scale = await local.get(DEPLOYMENTS, "d", namespace="default", subresource="scale")
    assert (scale["kind"], scale["spec"], scale["status"]) == (
        "Scale",
        {"replicas": 2},
        {"replicas": 0, "selector": "app=x"},
    )
    scale["spec"]["replicas"] = 5
    await local.replace(DEPLOYMENTS, "d", scale, namespace="default", subresource="scale")
    found = await local.get(DEPLOYMENTS, "d", namespace="default")
    assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (5, 2)
    with pytest.raises(Conflict):
        await local.replace(DEPLOYMENTS, "d", scale, namespace="default", subresource="scale")
    patch = {"spec": {"replicas": -1}}
    with pytest.raises(Invalid, match="must be greater than or equal to 0"):
        await local.patch(DEPLOYMENTS, "d", patch, patch_type=PatchType.MERGE, namespace="default", subresource="scale")


async def test_a_namespace_goes_when_it_is_finalized(local: LocalCluster) -> None:
    await local.create(NAMESPACES, {"metadata": {"name": "n"}})
    await local.delete(NAMESPACES, "n")
    found = await local.get(NAMESPACES, "n")
    assert (found["status"]["phase"], found["spec"]["finalizers"]) == ("Terminating", ["kubernetes"])
    with pytest.raises(Conflict, match="The system is ensuring all content is removed"):
        await local.delete(NAMESPACES, "n")
    await local.replace(NAMESPACES, "n", found | {"spec": {}}, subresource="finalize")
    with pytest.raises(NotFound):
        await local.get(NAMESPACES, "n")
