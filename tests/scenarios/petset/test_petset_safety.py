"""What a PetSet respects: budgets, the names of members that may still run, and the pods of others."""

from __future__ import annotations

import pytest

from operatorkit.errors import NotFound
from operatorkit.names import ApiResource
from operatorkit.testing import eventually

PODS = ApiResource("", "v1", "Pod", "pods", namespaced=True)
NODES = ApiResource("", "v1", "Node", "nodes", namespaced=False)
CONFIGS = ApiResource("", "v1", "ConfigMap", "configmaps", namespaced=True)
BUDGETS = ApiResource("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", namespaced=True)
FINALIZER = "apps.operatorkit.dev/member"


def pod(name, *, labels=None, owner=None):
    metadata = {"name": name, "labels": {"app": "web", **(labels or {})}}
    if owner is not None:
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"]}
        metadata["ownerReferences"] = [{**reference, "uid": owner["metadata"]["uid"], "controller": True}]
    containers = [{"name": "app", "image": "web:1"}]
    spec = {"containers": containers, "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


async def budget(stateful, **spec):
    """Create a budget of the user's own and wait until it is counted."""
    body = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "users"}}
    body["spec"] = {"selector": {"matchLabels": {"app": "web"}}, **spec}
    await stateful.cluster.create(BUDGETS, body, namespace=stateful.namespace)

    async def is_counted():
        status = (await stateful.get(BUDGETS, "users")).get("status") or {}
        return status.get("observedGeneration") == 1 and status.get("currentHealthy") == 3

    await eventually(is_counted)


# Budgets


async def test_an_update_waits_for_a_budget_says_so_and_goes_on_when_it_allows(sets):
    async with sets() as stateful:
        await stateful.create(podManagementPolicy="Parallel", updateStrategy={"rollingUpdate": {"maxUnavailable": 2}})
        await stateful.available(3)
        await budget(stateful, minAvailable=3)
        await stateful.set_image("web:2")
        found = await stateful.says("Progressing", "DisruptionBudget", "web-2, web-1", "users needs 3 healthy pods")
        assert found["status"] == "True"
        assert set((await stateful.images()).values()) == {"web:1"}
        await stateful.patch(BUDGETS, "users", {"spec": {"minAvailable": 1}})
        await stateful.completed("web:2")
        await stateful.says("Progressing", "Complete")


async def test_scaling_down_waits_for_a_budget_too(sets):
    async with sets() as stateful:
        await stateful.create()
        await stateful.available(3)
        await budget(stateful, minAvailable=3)
        await stateful.change({"spec": {"replicas": 2}})
        await stateful.says("Progressing", "DisruptionBudget", "the eviction of web-2")
        await stateful.delete(BUDGETS, "users")
        await stateful.become({"web-0": "web:1", "web-1": "web:1"})


async def test_a_member_that_cannot_start_is_replaced_whatever_a_budget_says(sets):
    async with sets() as stateful:
        await stateful.create()
        await stateful.available(3)
        await stateful.update("web:2", "image-pull-failure")
        await stateful.says("Degraded", "MemberFailing", "web-2", "ImagePull", status="True")
        body = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "users"}}
        body["spec"] = {"selector": {"matchLabels": {"app": "web"}}, "maxUnavailable": 1}
        await stateful.cluster.create(BUDGETS, body, namespace=stateful.namespace)
        await stateful.update("web:3")
        await stateful.completed("web:3")


async def test_the_budget_of_a_set_becomes_a_pod_disruption_budget_and_goes_with_the_field(sets):
    async with sets() as stateful:
        await stateful.create(disruption={"budget": 1})
        await stateful.available(3)
        made = await stateful.get(BUDGETS, "web")
        assert made["spec"]["maxUnavailable"] == 1
        assert made["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
        assert made["spec"]["selector"] == {"matchLabels": {"app": "web"}}
        await stateful.set_image("web:2")
        await stateful.completed("web:2")
        await stateful.change({"spec": {"disruption": {"budget": None}}})

        async def is_gone():
            with pytest.raises(NotFound):
                await stateful.get(BUDGETS, "web")
            return True

        await eventually(is_gone)


# memberSafety Strict


async def test_a_strict_member_is_recreated_once_its_containers_are_reported_terminated(sets):
    async with sets() as stateful:
        await stateful.create(memberSafety="Strict", grace_seconds=5)
        await stateful.available(3)
        before = await stateful.pods()
        assert all(FINALIZER in each["metadata"]["finalizers"] for each in before.values())
        await stateful.delete(PODS, "web-1")

        async def is_another():
            return (await stateful.uids()).get("web-1") not in {None, before["web-1"]["metadata"]["uid"]}

        await eventually(is_another)
        await stateful.available(3)


@pytest.mark.parametrize("end", ["the node is out of service", "the node is gone"])
async def test_a_strict_member_keeps_its_name_after_a_forced_deletion_until_its_node_ends(sets, end):
    """Nobody reports of a pod that was deleted by force: its containers may still run."""
    async with sets() as stateful:
        await stateful.create(memberSafety="Strict")
        await stateful.available(3)
        before = await stateful.uids()
        node = (await stateful.get(PODS, "web-1"))["spec"]["nodeName"]
        await stateful.delete(PODS, "web-1", grace_period_seconds=0)
        await stateful.says("Progressing", "Progressing", "web-1, which is terminating, to be deleted")
        await stateful.engine.settled()
        kept = await stateful.get(PODS, "web-1")
        assert (kept["metadata"]["uid"], kept["metadata"]["finalizers"]) == (before["web-1"], [FINALIZER])
        if end == "the node is gone":
            await stateful.cluster.delete(NODES, node)
        else:
            taint = {"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoSchedule"}
            await stateful.patch(NODES, node, {"spec": {"taints": [taint]}}, namespace=None)

        async def is_another():
            return (await stateful.uids()).get("web-1") not in {None, before["web-1"]}

        await eventually(is_another)
        if end != "the node is gone":
            await stateful.patch(NODES, node, {"spec": {"taints": None}}, namespace=None)


async def test_release_lets_go_of_a_set_and_its_members_without_the_operator(sets):
    async with sets() as stateful:
        await stateful.create(memberSafety="Strict", replicas=1)
        await stateful.available(1)
    said = (await stateful.command("release", "web")).splitlines()
    assert said == ["pod/web-0 released", "petset.apps.operatorkit.dev/web released"]
    assert "finalizers" not in (await stateful.get(PODS, "web-0"))["metadata"]
    assert "have no finalizers" in await stateful.command("release", "web")


# Pods of others


async def test_a_pod_without_a_controller_is_adopted_by_its_name_and_labels(sets):
    async with sets() as stateful:
        made = await stateful.cluster.create(PODS, pod("web-1"), namespace=stateful.namespace)
        await stateful.create(replicas=2, updateStrategy={"type": "OnDelete"})
        await stateful.available(2)
        adopted = await stateful.get(PODS, "web-1")
        [owner] = adopted["metadata"]["ownerReferences"]
    assert adopted["metadata"]["uid"] == made["metadata"]["uid"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("PetSet", "web", True)
    assert adopted["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "1"


async def test_a_pod_whose_labels_no_longer_match_is_released_and_replaced_when_it_is_gone(sets):
    async with sets() as stateful:
        await stateful.create(replicas=2)
        await stateful.available(2)
        await stateful.patch(PODS, "web-1", {"metadata": {"labels": {"app": "debug"}}})
        await stateful.says("Progressing", "NameConflict", "web-1")
        released = await stateful.get(PODS, "web-1")
        assert not released["metadata"].get("ownerReferences")
        await stateful.delete(PODS, "web-1")
        await stateful.available(2)
        assert (await stateful.uids())["web-1"] != released["metadata"]["uid"]


async def test_a_name_that_another_owner_has_is_left_alone_and_waited_for(sets):
    async with sets() as stateful:
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other"}}
        owner = await stateful.cluster.create(CONFIGS, config, namespace=stateful.namespace)
        made = await stateful.cluster.create(PODS, pod("web-1", owner=owner), namespace=stateful.namespace)
        await stateful.create(replicas=2)
        await stateful.says("Progressing", "NameConflict", "pod web-1, which another owner controls")
        assert (await stateful.uids())["web-1"] == made["metadata"]["uid"]
        await stateful.delete(PODS, "web-1")
        await stateful.available(2)
