from __future__ import annotations

import re
from typing import Any

import pytest

from operatorkit.controlplane.nodes.fitting import Unschedulable, choose


def _node(name: str = "node-1", labels: dict[str, str] | None = None, pods: str = "110", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": labels or {}},
        "spec": spec,
        "status": {"allocatable": {"pods": pods}},
    }


def _requires(*terms: dict[str, Any]) -> dict[str, Any]:
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
    return {"affinity": {"nodeAffinity": required}}


def _expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


TAINT = {"key": "dedicated", "value": "db", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("pod", "node", "fits"),
    [
        ({}, _node(), True),
        ({"nodeSelector": {"disk": "ssd"}}, _node(labels={"disk": "ssd"}), True),
        ({"nodeSelector": {"disk": "ssd"}}, _node(labels={"disk": "hdd"}), False),
        (_requires(_expression("disk", "In", "ssd", "nvme")), _node(labels={"disk": "nvme"}), True),
        (_requires(_expression("disk", "In", "ssd")), _node(), False),
        (_requires(_expression("disk", "NotIn", "ssd")), _node(), True),
        (_requires(_expression("disk", "Exists")), _node(labels={"disk": ""}), True),
        (_requires(_expression("disk", "DoesNotExist")), _node(labels={"disk": ""}), False),
        (_requires(_expression("cores", "Gt", "8")), _node(labels={"cores": "16"}), True),
        (_requires(_expression("cores", "Lt", "8")), _node(labels={"cores": "16"}), False),
        (_requires(_expression("cores", "Gt", "8")), _node(labels={"cores": "many"}), False),
        (_requires(_expression("a", "Exists"), _expression("b", "Exists")), _node(labels={"b": ""}), True),
        (_requires({}), _node(), False),
        (
            _requires({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]}),
            _node(),
            True,
        ),
        ({}, _node(taints=[TAINT]), False),
        ({}, _node(taints=[{**TAINT, "effect": "PreferNoSchedule"}]), True),
        ({"tolerations": [{"key": "dedicated", "value": "db"}]}, _node(taints=[TAINT]), True),
        ({"tolerations": [{"key": "dedicated", "value": "web"}]}, _node(taints=[TAINT]), False),
        ({"tolerations": [{"key": "dedicated", "operator": "Exists"}]}, _node(taints=[TAINT]), True),
        ({"tolerations": [{"operator": "Exists"}]}, _node(taints=[TAINT]), True),
        ({"tolerations": [{"operator": "Exists", "effect": "NoExecute"}]}, _node(taints=[TAINT]), False),
        ({}, _node(unschedulable=True), False),
        ({"tolerations": [{"operator": "Exists"}]}, _node(unschedulable=True), True),
        ({}, _node(pods="3"), False),
        ({}, _node(pods="4"), True),
    ],
)
def test_a_pod_goes_where_it_fits(pod: dict[str, Any], node: dict[str, Any], fits: bool) -> None:
    if fits:
        assert choose({"spec": pod}, [node], {"node-1": 3}) == "node-1"
    else:
        with pytest.raises(Unschedulable, match=r"^0/1 nodes are available: 1 "):
            choose({"spec": pod}, [node], {"node-1": 3})


def test_the_emptiest_node_is_taken_and_the_first_of_equals() -> None:
    nodes = [_node("node-2"), _node("node-1"), _node("node-3")]

    assert choose({"spec": {}}, nodes, {"node-1": 1, "node-2": 1}) == "node-3"
    assert choose({"spec": {}}, nodes, {}) == "node-1"


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([], "no nodes available to schedule pods"),
        (
            [_node("a", taints=[TAINT]), _node("b"), _node("c"), _node("d", {"disk": "ssd"}, pods="0")],
            (
                "0/4 nodes are available: 1 Too many pods, 1 node(s) had untolerated taint(s), "
                "2 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, preemption: 0/4 nodes "
                "are available: 1 No preemption victims found for incoming pod, "
                "3 Preemption is not helpful for scheduling."
            ),
        ),
    ],
)
def test_the_verdict_counts_reasons_as_the_scheduler_does(nodes: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(Unschedulable, match=f"^{re.escape(message)}$"):
        choose({"spec": {"nodeSelector": {"disk": "ssd"}}}, nodes, {})
