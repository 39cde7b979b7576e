"""Evictions: deletions of pods that disruption budgets may forbid.

What belongs here: what a POST to a pod's `eviction` does. What does not: counting what the budgets allow, which
disruption-controller does (`controllers.disruption`); without it no budget allows anything.

    ended, Pending or terminating? ──yes──────────────────────────────────────┐
      │ no                                                                    ▼
    budgets that select it: none ────────────────────────────────────────► deleted, with DisruptionTarget
      │ one                       not ready, and its budget permits that ──►  ▲
      ▼                                                                       │
    status.disruptionsAllowed > 0 ──yes─► counted down, disruptedPods ────────┘
      │ no
     429

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from operatorkit.clock import format_time
from operatorkit.controlplane.embedded.endpoints.core import Core
from operatorkit.controlplane.embedded.endpoints.reading import read_one
from operatorkit.controlplane.embedded.endpoints.writing import Target, WriteContext
from operatorkit.controlplane.embedded.errors.errors import (
    ApiError,
    bad_request,
    forbidden,
    too_many_requests,
)
from operatorkit.controlplane.embedded.registry.selectors import selects
from operatorkit.controlplane.embedded.registry.table import Served
from operatorkit.controlplane.embedded.request.options import DeleteOptions, WriteOptions
from operatorkit.names import GroupVersionKind
from operatorkit.transitions import set_json_condition

__all__ = ["Evictions"]

Object = dict[str, Any]

_BUDGET = GroupVersionKind("policy", "v1", "PodDisruptionBudget")
_WITHOUT_BUDGET = frozenset({"Succeeded", "Failed", "Pending"})
_MAX_DISRUPTED_PODS = 2000
_RETRY_AFTER_SECONDS = 10
_VIOLATION = "Cannot evict pod as it would violate the pod's disruption budget."
_SEVERAL = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."


class Evictions:
    """Evicts pods."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def evict(self, target: Target, body: Object, options: WriteOptions) -> Object:
        """Delete a pod unless its budget forbids it. Raises `ApiError` (400, 403, 404, 409, 429, 500)."""
        if (body.get("metadata") or {}).get("name", "") != target.name:
            raise bad_request("name in URL does not match name in Eviction object")
        given = DeleteOptions.read({}, (), body.get("deleteOptions") or None)
        given = replace(given, dry_run=given.dry_run or options.dry_run)
        pod = target.served.read(
            read_one(self._core.storage, target.served, target.namespace, target.name)
        )
        if not _needs_no_budget(pod):
            budgets = self._budgets(pod)
            if len(budgets) > 1:
                raise ApiError(500, "", _SEVERAL)
            if budgets and not _is_free(pod, budgets[0]):
                await self._count_down(pod, budgets[0], given)
        await self._delete(target, given)
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "code": 201,
        }

    def _budgets(self, pod: Object) -> list[Object]:
        """Return the budgets that select a pod."""
        served, labels = self._served(), pod["metadata"].get("labels") or {}
        records = self._core.storage.collection(served.collection).select(
            pod["metadata"]["namespace"]
        )
        budgets = [served.read(record) for record in records]
        return [it for it in budgets if selects((it.get("spec") or {}).get("selector"), labels)]

    def _served(self) -> Served:
        served = self._core.registry.by_kind(_BUDGET)
        assert served is not None
        return served

    async def _count_down(self, pod: Object, budget: Object, given: DeleteOptions) -> None:
        """Take one disruption from what a budget allows. Raises `ApiError` (403, 429)."""
        name, namespace = budget["metadata"]["name"], budget["metadata"]["namespace"]
        now = format_time(self._core.clock.now())

        def count(live: Object) -> Object:
            status = live.setdefault("status", {})
            _require_allowed(live, status)
            status["disruptionsAllowed"] -= 1
            if not status["disruptionsAllowed"]:
                condition = {
                    "type": "DisruptionAllowed",
                    "status": "False",
                    "observedGeneration": status.get("observedGeneration", 0),
                    "reason": "InsufficientPods",
                    "message": "",
                }
                set_json_condition(status.setdefault("conditions", []), condition, now=now)
            status["disruptedPods"] = {
                **(status.get("disruptedPods") or {}),
                pod["metadata"]["name"]: now,
            }
            return live

        await self._change(
            Target(self._served(), namespace, name, "status"), count, dry_run=given.dry_run
        )

    async def _delete(self, target: Target, given: DeleteOptions) -> None:
        if not given.dry_run:
            now = format_time(self._core.clock.now())

            def mark(live: Object) -> Object:
                status = live.setdefault("status", {})
                condition = {
                    "type": "DisruptionTarget",
                    "status": "True",
                    "lastProbeTime": None,
                    "reason": "EvictionByEvictionAPI",
                    "message": "Eviction API: evicting",
                }
                set_json_condition(status.setdefault("conditions", []), condition, now=now)
                return live

            self._core.deleter.require(target.served, target.namespace, target.name, given)
            await self._change(Target(target.served, target.namespace, target.name, "status"), mark)
            given = replace(
                given, resource_version=None
            )  # that was checked, and our own write has changed it
        self._core.deleter.delete(target.served, target.namespace, target.name, given)

    async def _change(self, target: Target, change: Any, *, dry_run: bool = False) -> None:
        options = WriteOptions(field_manager="kube-apiserver", dry_run=dry_run)
        own = partial(self._core.field_managers.track, target.served, target.subresource, options)
        await self._core.writer.change(target, change, WriteContext(options=options), own)


def _needs_no_budget(pod: Object) -> bool:
    phase = (pod.get("status") or {}).get("phase", "Pending")
    return phase in _WITHOUT_BUDGET or "deletionTimestamp" in pod["metadata"]


def _is_free(pod: Object, budget: Object) -> bool:
    """Whether a pod may go without being counted: it is not ready, and its budget lets such pods go."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    if any(it["type"] == "Ready" and it["status"] == "True" for it in conditions):
        return False
    if budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    return bool(status.get("currentHealthy", 0) >= status.get("desiredHealthy", 0) > 0)


def _require_allowed(budget: Object, status: Object) -> None:
    """Raise `ApiError` (403, 429) unless a budget allows one more disruption."""
    name, allowed = budget["metadata"]["name"], status.get("disruptionsAllowed", 0)
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
        text = f"The disruption budget {name} is still being processed by the server."
        raise _violation(text, retry_after_seconds=_RETRY_AFTER_SECONDS)
    if allowed < 0:
        raise forbidden(
            "policy", "poddisruptionbudget", name, "pdb disruptions allowed is negative"
        )
    if len(status.get("disruptedPods") or ()) > _MAX_DISRUPTED_PODS:
        why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise forbidden("policy", "poddisruptionbudget", name, why)
    if not allowed:
        raise _violation(_why(name, status))


def _why(name: str, status: Object) -> str:
    """Return why a budget allows nothing."""
    conditions = status.get("conditions") or ()
    condition: Object = next((it for it in conditions if it["type"] == "DisruptionAllowed"), {})
    message = condition.get("status") == "False" and condition.get("message")
    if message and condition.get("reason") == "SyncFailed":
        return f"The disruption budget {name} does not allow evicting pods currently because it failed sync: {message}"
    needs, has = status.get("desiredHealthy", 0), status.get("currentHealthy", 0)
    if has <= needs:
        return f"The disruption budget {name} needs {needs} healthy pods and has {has} currently"
    if message:
        return f"The disruption budget {name} does not allow evicting pods currently ({condition['reason']}): {message}"
    return f"The disruption budget {name} does not allow evicting pods currently"


def _violation(text: str, *, retry_after_seconds: int = 0) -> ApiError:
    details: Object = {"causes": [{"reason": "DisruptionBudget", "message": text}]}
    if retry_after_seconds:
        details["retryAfterSeconds"] = retry_after_seconds
    return too_many_requests(_VIOLATION, details=details, retry_after_seconds=retry_after_seconds)
