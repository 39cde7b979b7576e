"""Which node a pod fits on.

What belongs here: the rules of the scheduler that tests and demonstrations meet: taints, selectors, required node
affinity, cordoned nodes and the number of pods; pure. What does not: scores, pre-emption, and resources, of which
simulated nodes have plenty. The messages are kube-scheduler's own.

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from operatorkit.cluster.api import JSONObject
from operatorkit.selectors import requirements

__all__ = ["Unschedulable", "choose"]

_NO_MATCH = "node(s) didn't match Pod's node affinity/selector"
_TAINTED = "node(s) had untolerated taint(s)"
_CORDONED = "node(s) were unschedulable"
_FULL = "Too many pods"
_UNSCHEDULABLE_TAINT = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
_NOT_RESOLVED_BY_PREEMPTION = "Preemption is not helpful for scheduling"
_NO_VICTIMS = "No preemption victims found for incoming pod"


class Unschedulable(Exception):  # noqa: N818 - a decision rather than a failure
    """No node fits; the message is that of the FailedScheduling event."""


def choose(pod: JSONObject, nodes: Sequence[JSONObject], pods_per_node: Mapping[str, int]) -> str:
    """Return the name of the node with the fewest pods among those that fit. Raises Unschedulable."""
    if not nodes:
        raise Unschedulable("no nodes available to schedule pods")
    reasons: Counter[str] = Counter()
    fitting: list[str] = []
    for node in nodes:
        reason = _rejection(pod, node, pods_per_node.get(node["metadata"]["name"], 0))
        if reason is None:
            fitting.append(node["metadata"]["name"])
        else:
            reasons[reason] += 1
    if not fitting:
        raise Unschedulable(_message(reasons, len(nodes)))
    return min(fitting, key=lambda name: (pods_per_node.get(name, 0), name))


def _message(reasons: Counter[str], total: int) -> str:
    listed = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
    after = Counter(
        {
            _NO_VICTIMS: reasons[_FULL],
            _NOT_RESOLVED_BY_PREEMPTION: reasons.total() - reasons[_FULL],
        }
    )
    preemption = ", ".join(sorted(f"{count} {reason}" for reason, count in after.items() if count))
    head = f"0/{total} nodes are available:"
    return f"{head} {listed}. no new claims to deallocate, preemption: {head} {preemption}."


def _rejection(pod: JSONObject, node: JSONObject, pods: int) -> str | None:
    """Return why a node does not take a pod, in the order of the scheduler's filters, or None when it does."""
    spec, node_spec = pod["spec"], node.get("spec") or {}
    tolerations = spec.get("tolerations") or ()
    if node_spec.get("unschedulable") and not _tolerates(_UNSCHEDULABLE_TAINT, tolerations):
        return _CORDONED
    for taint in node_spec.get("taints") or ():
        if taint["effect"] in {"NoSchedule", "NoExecute"} and not _tolerates(taint, tolerations):
            return _TAINTED
    if not _selected(spec, node):
        return _NO_MATCH
    capacity = int(((node.get("status") or {}).get("allocatable") or {}).get("pods", 110))
    return _FULL if pods >= capacity else None


def _tolerates(taint: Mapping[str, Any], tolerations: Sequence[Mapping[str, Any]]) -> bool:
    for toleration in tolerations:
        if toleration.get("effect") not in {None, "", taint["effect"]}:
            continue
        if toleration.get("operator") == "Exists":
            if toleration.get("key") in {None, "", taint["key"]}:
                return True
        elif toleration.get("key") == taint["key"] and toleration.get("value", "") == taint.get(
            "value", ""
        ):
            return True
    return False


def _selected(spec: Mapping[str, Any], node: JSONObject) -> bool:
    labels: Mapping[str, str] = node["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    fields = {"metadata.name": node["metadata"]["name"]}
    return any(_term_matches(term, labels, fields) for term in required["nodeSelectorTerms"])


def _term_matches(
    term: Mapping[str, Any], labels: Mapping[str, str], fields: Mapping[str, str]
) -> bool:
    expressions, by_field = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not by_field:
        return False  # an empty term matches no node
    return all(one.holds(labels) for one in requirements(expressions)) and all(
        one.holds(fields) for one in requirements(by_field)
    )
