"""Policy reports: a PolicyReport for each running Pod, where that kind is installed.

What belongs here: its content, and applying it. What does not: what is reported (`continuous`).

The kind is that of the Kubernetes policy working group, which dashboards read. A report is owned by its Pod, and is
deleted with it. Where the kind is not installed, nothing is written.

Source: https://github.com/kubernetes-sigs/wg-policy-prototypes/tree/master/policy-report
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from operatorkit.cluster import ClusterAPI, PatchType
from operatorkit.errors import NoKindMatch, NotFound
from operatorkit.names import ApiResource
from operatorkit.resource import Model, NoStatus, Resource
from operators.attestation.app import app
from operators.attestation.policy import Problem
from operators.attestation.workloads import ImageUse

__all__ = ["REPORTS", "PolicyReport", "content_of", "report"]

_MANAGER: Final = "attestation"
_SEVERITY: Final = {"Enforce": "high", "Warn": "medium", "Audit": "low"}


class AnySpec(Model):
    """A PolicyReport has no spec."""


class PolicyReport(
    Resource[AnySpec, NoStatus], group="wgpolicyk8s.io", version="v1alpha2", external=True
):
    """A report on one object."""


REPORTS: Final[ApiResource] = PolicyReport.api_resource()

app.needs(
    PolicyReport,
    "get",
    "create",
    "patch",
    reason="running Pods are reported there, where it is installed",
)

Results = Sequence[tuple[ImageUse, str, Problem | None]]


def content_of(pod: Mapping[str, Any], results: Results, now: datetime) -> dict[str, Any]:
    """Return the report on a Pod; `now` is the time of each result."""
    metadata = pod["metadata"]
    subject = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
    found = [_result(use, policy, problem, now) for use, policy, problem in results]
    counts = {
        word: sum(one["result"] == word for one in found)
        for word in ("pass", "fail", "warn", "error", "skip")
    }
    return {
        "apiVersion": REPORTS.api_version,
        "kind": REPORTS.kind,
        "metadata": {
            "name": f"attestation-{metadata['uid']}",
            "namespace": metadata["namespace"],
            "labels": {"app.kubernetes.io/managed-by": _MANAGER},
            "ownerReferences": [subject],
        },
        "scope": {**subject, "namespace": metadata["namespace"]},
        "summary": counts,
        "results": found,
    }


def _result(use: ImageUse, policy: str, problem: Problem | None, now: datetime) -> dict[str, Any]:
    result: dict[str, Any] = {
        "source": _MANAGER,
        "policy": policy,
        "rule": use.field,
        "result": "pass",
        "message": f"{use.image} has the attestations that the policy requires",
        "timestamp": {"seconds": int(now.timestamp()), "nanos": 0},
    }
    if problem is not None:
        result |= {
            "result": "fail" if problem.policy.mode == "Enforce" else "warn",
            "severity": _SEVERITY[problem.policy.mode],
            "message": str(problem),
            "properties": {"reason": problem.reason},
        }
    return result


async def report(api: ClusterAPI, pod: Mapping[str, Any], results: Results, now: datetime) -> None:
    """Write the report on a Pod, unless it says the same already. Raises ClusterError."""
    content = content_of(pod, results, now)
    name, namespace = content["metadata"]["name"], content["metadata"]["namespace"]
    try:
        known = await api.get(REPORTS, name, namespace=namespace)
    except (NotFound, NoKindMatch):
        if not results:
            return
        known = {}
    if _without_times(known) == _without_times(content):
        return
    with suppress(NotFound, NoKindMatch):  # its namespace is deleted; the kind is not installed
        await api.patch(
            REPORTS,
            name,
            content,
            patch_type=PatchType.APPLY,
            namespace=namespace,
            field_manager=_MANAGER,
            force=True,
        )


def _without_times(content: Mapping[str, Any]) -> Any:
    results = [
        {key: value for key, value in one.items() if key != "timestamp"}
        for one in content.get("results") or ()
    ]
    return content.get("summary"), results
