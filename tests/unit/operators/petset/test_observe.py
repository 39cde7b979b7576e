"""What the caches say of a PetSet's pods, as values."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from kubernetes.client.models import V1Node, V1Pod, V1PodDisruptionBudget
from soak.petset_world import START, petset

from operatorkit import ObjectKey
from operatorkit.resource import read
from operators.petset import reasons
from operators.petset.observe import allows_more, node_index, observe, sets_of_budget, sets_of_node, taints_changed
from operators.petset.plan import plan
from operators.petset.state import Held
from operators.petset.status import conditions_of

OWNER = {"apiVersion": "apps.operatorkit.dev/v1alpha1", "kind": "PetSet", "name": "web", "uid": "uid-web"}
GONE = "2026-01-01T00:00:00Z"


def pod(name="web-0", *, status=None, node="n", deleted=True, **metadata):
    meta = {"name": name, "namespace": "default", "uid": f"uid-{name}", "labels": {"app": "web"}}
    meta |= {"ownerReferences": [{**OWNER, "controller": True}], "finalizers": ["apps.operatorkit.dev/member"]}
    meta |= {"deletionTimestamp": GONE} if deleted else {}
    spec = {"nodeName": node, "containers": [{"name": "app", "image": "web:1"}]}
    return read(
        V1Pod,
        {"apiVersion": "v1", "kind": "Pod", "metadata": {**meta, **metadata}, "spec": spec, "status": status or {}},
    )


def node(*taints):
    spec = {"taints": [{"key": taint, "effect": "NoExecute"} for taint in taints]}
    return read(V1Node, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "spec": spec})


def reader(*pods, node=None, sets=()):
    """Return what `observe` and the mapping functions read from."""
    found = {V1Pod: list(pods)}

    def listed(kind, **options):
        del options
        return found.get(kind, list(sets))

    return SimpleNamespace(get=lambda kind, name, **options: node if kind is V1Node else None, list=listed)


def container(state):
    return {"name": "app", "image": "web:1", "imageID": "", "ready": False, "restartCount": 0, "state": state}


ENDED = {"terminated": {"exitCode": 0}}
RUNS = {"running": {}}
WAITS = {"waiting": {"reason": "ImagePullBackOff"}}


@pytest.mark.parametrize(
    ("status", "node_name", "found", "stopped"),
    [
        ({}, "", None, True),
        ({}, "n", None, True),
        ({}, "n", node(), False),
        ({}, "n", node("node.kubernetes.io/unreachable"), False),
        ({}, "n", node("node.kubernetes.io/out-of-service"), True),
        ({"phase": "Failed"}, "n", node(), True),
        ({"phase": "Running", "containerStatuses": [container(ENDED)]}, "n", node(), True),
        ({"phase": "Running", "containerStatuses": [container(RUNS)]}, "n", node(), False),
        ({"phase": "Pending", "containerStatuses": [container(WAITS)]}, "n", node(), False),
        (
            {
                "phase": "Running",
                "containerStatuses": [container(ENDED)],
                "initContainerStatuses": [container(RUNS)],
            },
            "n",
            node(),
            False,
        ),
        (
            {
                "phase": "Running",
                "containerStatuses": [container(ENDED)],
                "ephemeralContainerStatuses": [container(RUNS)],
            },
            "n",
            node(),
            False,
        ),
    ],
    ids=[
        "never scheduled",
        "node gone",
        "nothing reported",
        "unreachable",
        "out of service",
        "failed",
        "all terminated",
        "one runs",
        "one waits",
        "a sidecar runs",
        "a debug container runs",
    ],
)
def test_a_terminating_pod_has_stopped_when_a_user_who_knows_says_so(status, node_name, found, stopped):
    seen = observe(petset(), reader(pod(status=status, node=node_name), node=found), START)
    assert seen.members[0].releasable is stopped
    assert seen.members[0].node_missing is (node_name != "" and found is None)


def test_a_pod_is_a_member_a_stray_an_orphan_or_in_the_way():
    other = [{**OWNER, "uid": "another", "controller": True}]
    pods = [
        pod("web-0"),
        pod("web-1", labels={"app": "debug"}),
        pod("web-2", ownerReferences=[], deleted=False),
        pod("web-3", ownerReferences=other),
        pod("web-04"),
        pod("web-5", ownerReferences=[], labels={}),
    ]
    seen = observe(petset(), reader(*pods), START)
    assert list(seen.members) == [0]
    assert [each.pod for each in seen.strays] == ["web-1", "web-04"]
    assert [each.pod for each in seen.orphans] == ["web-2"]
    assert seen.occupied == {"web-1", "web-04", "web-2", "web-3", "web-5"}


def test_the_end_of_a_node_concerns_the_sets_whose_members_it_has():
    assert list(node_index(pod())) == ["n"]
    assert list(node_index(pod(finalizers=[]))) == []
    assert list(node_index(pod(node=""))) == []
    assert set(sets_of_node(node(), reader(pod("web-0"), pod("web-1")))) == {ObjectKey("default", "web")}
    assert taints_changed(None, node())
    assert taints_changed(node(), node("node.kubernetes.io/out-of-service"))
    assert not taints_changed(node("a"), node("a"))


def budget(selector, allowed):
    body = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b", "namespace": "default"}}
    counts = dict.fromkeys(("currentHealthy", "desiredHealthy", "expectedPods"), 1)
    return read(
        V1PodDisruptionBudget,
        {**body, "spec": {"selector": selector}, "status": {"disruptionsAllowed": allowed, **counts}},
    )


@pytest.mark.parametrize(
    ("selector", "concerned"),
    [({"matchLabels": {"app": "web"}}, True), ({"matchLabels": {"app": "db"}}, False), ({}, True), (None, False)],
)
def test_a_budget_concerns_the_sets_whose_members_it_selects(selector, concerned):
    keys = list(sets_of_budget(budget(selector, 0), reader(sets=[petset()])))
    assert keys == ([ObjectKey("default", "web")] if concerned else [])


def test_a_set_is_reconciled_when_a_budget_allows_more():
    assert allows_more(budget({}, 0), budget({}, 1))
    assert not allows_more(budget({}, 1), budget({}, 1))
    assert not allows_more(budget({}, 1), budget({}, 0))
    assert not allows_more(None, budget({}, 0))


def test_what_a_budget_holds_is_said_in_the_condition_with_the_servers_words():
    seen = observe(petset(), reader(), START)
    _, progressing, _ = conditions_of(seen, plan(seen), [Held("web-2", "b needs 3"), Held("web-1", "b needs 3")])
    assert (progressing.status, progressing.reason) == (True, reasons.DISRUPTION_BUDGET)
    assert progressing.message == "Waiting for the eviction of web-2, web-1 to be allowed (b needs 3)"
