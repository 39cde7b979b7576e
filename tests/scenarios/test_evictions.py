"""Evictions, and the budgets that may forbid them."""

from __future__ import annotations

import pytest

from operatorkit.testing import eventually

BUDGETS = "policy/v1/poddisruptionbudgets"
READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


@pytest.fixture
def pods(http):
    """Make pods that no node has, and say of them whether they are ready."""

    async def make(*names, ready=True, owner=None):
        for name in names:
            metadata = {"name": name, "labels": {"app": "a"}}
            if owner is not None:
                reference = {key: owner[key] for key in ("apiVersion", "kind")}
                metadata["ownerReferences"] = [
                    {
                        **reference,
                        "name": owner["metadata"]["name"],
                        "uid": owner["metadata"]["uid"],
                        "controller": True,
                    }
                ]
            spec = {
                "nodeName": "nowhere",
                "containers": [{"name": "c", "image": "i"}],
                "terminationGracePeriodSeconds": 0,
            }
            await http.created("pods", {"metadata": metadata, "spec": spec})
            status = READY if ready else {"phase": "Running"}
            assert (await http.patch(http.path("pods", name, sub="status"), {"status": status})).status == 200

    return make


async def budget(http, status, name="b", **spec):
    """Create a budget for the pods and wait until its status is counted so."""
    await http.created(
        BUDGETS, {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"app": "a"}}, **spec}}
    )
    await counted(http, status, name)


async def counted(http, status, name="b"):
    async def is_so():
        found = (await http.get(http.path(BUDGETS, name))).json["status"]
        fields = ("expectedPods", "currentHealthy", "desiredHealthy", "disruptionsAllowed")
        seen = [found.get(it) for it in fields]
        assert seen == status, found
        assert found["observedGeneration"] == 1
        return True

    await eventually(is_so)


async def evict(http, name, **options):
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}, **options}
    return await http.post(http.path("pods", name, sub="eviction"), body)


async def test_an_eviction_without_a_budget_deletes_the_pod_and_says_so_in_its_conditions(http, pods):
    await pods("p")
    async with http.watch(http.path("pods"), fieldSelector="metadata.name=p") as watch:
        answer = await evict(http, "p")
        assert (answer.status, answer.json["status"]) == (201, "Success")
        last = await watch.until("DELETED", "p")
    [condition] = [it for it in last["status"]["conditions"] if it["type"] == "DisruptionTarget"]
    assert (condition["status"], condition["reason"], condition["message"]) == (
        "True",
        "EvictionByEvictionAPI",
        "Eviction API: evicting",
    )


async def test_a_budget_allows_so_many_evictions_and_no_more(http, pods):
    await pods("p0", "p1", "p2")
    await budget(http, [3, 3, 2, 1], minAvailable=2)
    assert (await evict(http, "p0")).status == 201
    await counted(http, [2, 2, 2, 0])
    rejected = await evict(http, "p1")
    assert (rejected.status, rejected.json["reason"]) == (429, "TooManyRequests")
    assert rejected.json["message"] == "Cannot evict pod as it would violate the pod's disruption budget."
    assert rejected.json["details"]["causes"] == [
        {"reason": "DisruptionBudget", "message": "The disruption budget b needs 2 healthy pods and has 2 currently"}
    ]
    await pods("p3")
    await counted(http, [3, 3, 2, 1])
    assert (await evict(http, "p1")).status == 201


async def test_a_budget_says_in_a_condition_whether_it_allows_anything(http, pods):
    await pods("p0")
    await budget(http, [1, 1, 1, 0], minAvailable=1)

    async def condition():
        [found] = (await http.get(http.path(BUDGETS, "b"))).json["status"]["conditions"]
        return found["type"], found["status"], found["reason"], found["observedGeneration"]

    assert await condition() == ("DisruptionAllowed", "False", "InsufficientPods", 1)
    await pods("p1")
    await counted(http, [2, 2, 1, 1])
    assert await condition() == ("DisruptionAllowed", "True", "SufficientPods", 1)


async def test_what_is_unhealthy_does_not_count_and_may_go_while_the_budget_is_kept(http, pods):
    await pods("well")
    await pods("ill", ready=False)
    await budget(http, [2, 1, 1, 0], minAvailable=1)
    assert (await evict(http, "ill")).status == 201
    await http.gone(http.path("pods", "ill"))
    assert (await evict(http, "well")).status == 429


@pytest.mark.parametrize(("policy", "status"), [("AlwaysAllow", 201), ("IfHealthyBudget", 429)])
async def test_what_is_unhealthy_goes_from_a_broken_application_as_its_policy_says(http, pods, policy, status):
    await pods("ill", ready=False)
    await budget(http, [1, 0, 1, 0], minAvailable=1, unhealthyPodEvictionPolicy=policy)
    assert (await evict(http, "ill")).status == status


async def test_a_pod_that_waits_or_has_ended_needs_no_budget(http, pods):
    await pods("p")
    await budget(http, [1, 1, 1, 0], minAvailable=1)
    for phase in ("Pending", "Failed"):
        await http.patch(http.path("pods", "p", sub="status"), {"status": {"phase": phase}})
        answer = await evict(http, "p", deleteOptions={"dryRun": ["All"]})
        assert answer.status == 201, answer.text


async def test_an_eviction_in_a_dry_run_changes_nothing(http, pods):
    await pods("p0", "p1")
    await budget(http, [2, 2, 1, 1], minAvailable=1)
    for _ in range(2):
        assert (await evict(http, "p0", deleteOptions={"dryRun": ["All"]})).status == 201
    assert "DisruptionTarget" not in (await http.get(http.path("pods", "p0"))).text
    await counted(http, [2, 2, 1, 1])


async def test_an_eviction_heeds_preconditions(http, pods):
    await pods("p")
    answer = await evict(http, "p", deleteOptions={"preconditions": {"uid": "another"}})
    assert answer.status == 409
    assert "the UID in the precondition (another) does not match" in answer.json["message"]


async def test_two_budgets_of_one_pod_are_an_error(http, pods):
    await pods("p")
    await budget(http, [1, 1, 0, 1], minAvailable=0)
    await budget(http, [1, 1, 0, 1], name="c", minAvailable=0)
    answer = await evict(http, "p")
    assert answer.status == 500
    assert answer.json["message"] == (
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    )


async def test_the_name_of_an_eviction_is_that_of_the_pod(http, pods):
    await pods("p")
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "q"}}
    answer = await http.post(http.path("pods", "p", sub="eviction"), body)
    assert (answer.status, answer.json["message"]) == (400, "name in URL does not match name in Eviction object")


async def test_a_budget_in_percent_counts_the_replicas_that_are_wanted(http, pods):
    # the selector is that of the pods: a real controller releases those that it does not select
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": 5, "selector": {"app": "a"}, "template": template}
    owner = await http.created("replicationcontrollers", {"metadata": {"name": "o"}, "spec": spec})
    owner = {**owner, "apiVersion": "v1", "kind": "ReplicationController"}
    await pods("p0", "p1", "p2", owner=owner)
    await budget(http, [5, 3, 3, 0], minAvailable="50%")
    await budget(http, [5, 3, 2, 1], name="c", maxUnavailable="50%")
    await budget(http, [5, 3, 4, 0], name="d", maxUnavailable=1)


async def test_a_budget_that_cannot_be_counted_says_so_and_allows_nothing(http, pods):
    owner = {"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "o", "uid": "nobody"}}
    template = {"metadata": {"labels": {"app": "other"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": 1, "selector": {"app": "other"}, "template": template}
    made = await http.created("replicationcontrollers", {"metadata": {"name": "o"}, "spec": spec})
    del owner["metadata"]["uid"]
    owner["metadata"]["uid"] = made["metadata"]["uid"]
    owner["kind"] = "Nonsense"
    owner["apiVersion"] = "nowhere.example.com/v1"
    await pods("p", owner=owner)
    spec = {"selector": {"matchLabels": {"app": "a"}}, "maxUnavailable": 1}
    await http.created(BUDGETS, {"metadata": {"name": "b"}, "spec": spec})

    async def failed():
        status = (await http.get(http.path(BUDGETS, "b"))).json["status"]
        [condition] = status["conditions"]
        assert (condition["status"], condition["reason"]) == ("False", "SyncFailed")
        assert status["disruptionsAllowed"] == 0
        return True

    await eventually(failed)
    assert (await evict(http, "p")).status == 429
