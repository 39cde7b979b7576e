"""disruption-controller: how many pods may be evicted now, in the status of each PodDisruptionBudget.

What belongs here: counting. What does not: evictions, which the server carries out (`evicting`).

    desiredHealthy     minAvailable, or the expected pods less maxUnavailable (percentages round up)
    expectedPods       the pods selected, or, for a percentage or maxUnavailable, the scale of what controls them
    currentHealthy     the pods selected that are ready, not terminating, and not evicted a moment ago
    disruptionsAllowed currentHealthy less desiredHealthy, never negative, and 0 where no pod is expected

Source: https://kubernetes.io/docs/tasks/run-application/configure-pdb/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from operatorkit.clock import format_time, parse_time
from operatorkit.cluster import Change
from operatorkit.cluster.api import JSONObject
from operatorkit.controlplane.controllers.context import ControllerContext
from operatorkit.controlplane.controllers.event_recorder import ComponentEventRecorder, EventType
from operatorkit.controlplane.controllers.work_queue import WorkQueue
from operatorkit.controlplane.controllers.workloads import is_ready, scaled
from operatorkit.errors import NoKindMatch, NotFound
from operatorkit.kinds import POD_DISRUPTION_BUDGETS as BUDGETS
from operatorkit.kinds import PODS
from operatorkit.names import ObjectKey
from operatorkit.selectors import matches
from operatorkit.transitions import set_json_condition

__all__ = ["BUDGETS", "DisruptionController"]

_DELETION_TIMEOUT = timedelta(minutes=2)
"""How long an evicted pod counts as gone although it is still there."""
_UNMANAGED = (
    "Pods selected by this PodDisruptionBudget (selector: {}) were found to be unmanaged. As a result, the status "
    "of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods "
    'please set ".spec.minAvailable" field of the PDB to an integer value.'
)


class _NoScaleError(Exception):
    """What controls a pod is not there, or has no scale."""


class DisruptionController:
    """Keeps the status of every PodDisruptionBudget."""

    name = "disruption-controller"

    def __init__(self, context: ControllerContext) -> None:
        self._api = context.api
        self._budgets = context.informer(BUDGETS)
        self._pods = context.informer(PODS)
        self._clock = context.clock
        self._events = ComponentEventRecorder(context.api, clock=context.clock)
        self._queue: WorkQueue[ObjectKey] = WorkQueue(
            self._sync, clock=context.clock, pace=context.pace, workers=2, name=self.name
        )
        self._budgets.subscribe(self._on_budget)
        self._pods.subscribe(self._on_pod)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._budgets.synced()
        await self._pods.synced()
        await self._queue.run()

    async def idle(self) -> None:
        """Return when there is no work that can be done now."""
        await self._queue.idle()

    def _on_budget(self, change: Change) -> None:
        if change.new is not None:
            self._queue.add(change.key)

    def _on_pod(self, change: Change) -> None:
        for budget in self._budgets.cache.list(change.key.namespace):
            if any(_selects(budget, pod) for pod in (change.old, change.new) if pod is not None):
                self._queue.add(ObjectKey(change.key.namespace, budget["metadata"]["name"]))

    async def _sync(self, key: ObjectKey) -> timedelta | None:
        budget = self._budgets.cache.get(key)
        if budget is None:
            return None
        pods = [pod for pod in self._pods.cache.list(key.namespace) if _selects(budget, pod)]
        if not pods:
            await self._record_event(budget, "Normal", "NoPods", "No matching pods found")
        try:
            expected, desired = await self._expected(budget, pods)
        except _NoScaleError as error:
            text = f"Failed to calculate the number of expected pods: {error}"
            await self._record_event(budget, "Warning", "CalculateExpectedPodCountFailed", text)
            await self._write(budget, _failed(budget, str(error), format_time(self._clock.now())))
            return None  # until one of the pods changes
        disrupted, wait = self._disrupted(budget, pods)
        healthy = sum(1 for pod in pods if _is_healthy(pod, disrupted))
        allowed = max(0, healthy - desired) if expected > 0 else 0
        counted: JSONObject = {
            "disruptionsAllowed": allowed,
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "expectedPods": expected,
            "observedGeneration": budget["metadata"].get("generation", 0),
        }
        if disrupted:
            counted["disruptedPods"] = disrupted
        reason = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
        counted["conditions"] = _conditions(
            budget, *reason, "", format_time(self._clock.now()), counted
        )
        await self._write(budget, counted)
        return wait

    # --------------------------------------------------------------------------------------------------------- counting

    async def _expected(self, budget: JSONObject, pods: Sequence[JSONObject]) -> tuple[int, int]:
        """Return how many pods are expected, and how many are to be healthy. Raises _NoScaleError."""
        spec = budget["spec"]
        most_unavailable, least_available = spec.get("maxUnavailable"), spec.get("minAvailable")
        if most_unavailable is not None:
            expected = await self._scale(budget, pods)
            return expected, max(0, expected - scaled(most_unavailable, expected, up=True))
        if isinstance(least_available, str):
            expected = await self._scale(budget, pods)
            return expected, scaled(least_available, expected, up=True)
        return (len(pods), least_available) if least_available is not None else (0, 0)

    async def _scale(self, budget: JSONObject, pods: Sequence[JSONObject]) -> int:
        """Return how many pods those who control these pods want in all. Raises _NoScaleError."""
        scales: dict[str, int] = {}
        seen: set[str] = set()
        unmanaged = False
        for pod in pods:
            owner = _controller(pod)
            if owner is None:
                unmanaged = True
            elif owner["uid"] not in seen:
                seen.add(owner["uid"])
                uid, replicas = await self._scale_of(pod, owner)
                scales[uid] = replicas
        if unmanaged:
            await self._record_event(
                budget,
                "Warning",
                "UnmanagedPods",
                _UNMANAGED.format(_shown(budget["spec"]["selector"])),
            )
        return sum(scales.values())

    async def _scale_of(self, pod: JSONObject, owner: Mapping[str, Any]) -> tuple[str, int]:
        """Return the uid and the replicas of what controls a pod; a Deployment's where a ReplicaSet is its own."""
        namespace = pod["metadata"]["namespace"]
        missing = _NoScaleError(f'found no controllers for pod "{pod["metadata"]["name"]}"')
        group, _, version = str(owner["apiVersion"]).rpartition("/")
        try:
            resource = await self._api.resolve(group, owner["kind"], version)
            if (group, owner["kind"]) == ("apps", "ReplicaSet"):
                above = _controller(
                    await self._api.get(resource, owner["name"], namespace=namespace)
                )
                if above is not None and above["kind"] == "Deployment":
                    return await self._scale_of(pod, above)
            scale = await self._api.get(
                resource, owner["name"], namespace=namespace, subresource="scale"
            )
        except (NotFound, NoKindMatch):
            raise missing from None
        if scale["metadata"].get("uid") != owner["uid"]:
            raise missing
        return owner["uid"], (scale.get("spec") or {}).get("replicas", 0)

    def _disrupted(
        self, budget: JSONObject, pods: Sequence[JSONObject]
    ) -> tuple[dict[str, str], timedelta | None]:
        """Return the evicted pods that are still there, and when to look again whether they have gone."""
        evicted: Mapping[str, str] = (budget.get("status") or {}).get("disruptedPods") or {}
        now, result, waits = self._clock.now(), {}, []
        for pod in pods:
            name = pod["metadata"]["name"]
            if name not in evicted or "deletionTimestamp" in pod["metadata"]:
                continue
            left = parse_time(evicted[name]) + _DELETION_TIMEOUT - now
            if left >= timedelta(0):
                result[name] = evicted[name]
                waits.append(left + timedelta(milliseconds=1))
        return result, min(waits, default=None)

    # ---------------------------------------------------------------------------------------------------------- writing

    async def _write(self, budget: JSONObject, status: JSONObject) -> None:
        if (budget.get("status") or {}) == status:
            return
        metadata = budget["metadata"]
        written = await self._api.replace(
            BUDGETS,
            metadata["name"],
            {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", **budget, "status": status},
            namespace=metadata["namespace"],
            subresource="status",
        )
        self._budgets.put(written)

    async def _record_event(
        self, budget: JSONObject, type_: EventType, reason: str, message: str
    ) -> None:
        subject = {**budget, "apiVersion": "policy/v1", "kind": "PodDisruptionBudget"}
        await self._events.count(subject, type_, reason, message, component="controllermanager")


def _selects(budget: JSONObject, pod: JSONObject) -> bool:
    selector = (budget.get("spec") or {}).get("selector")
    return selector is not None and matches(selector, pod["metadata"].get("labels") or {})


def _is_healthy(pod: JSONObject, disrupted: Mapping[str, str]) -> bool:
    metadata = pod["metadata"]
    return (
        "deletionTimestamp" not in metadata and metadata["name"] not in disrupted and is_ready(pod)
    )


def _controller(obj: JSONObject) -> Mapping[str, Any] | None:
    references = obj["metadata"].get("ownerReferences") or ()
    return next((it for it in references if it.get("controller")), None)


def _conditions(
    budget: JSONObject, value: str, reason: str, message: str, now: str, status: JSONObject
) -> list[JSONObject]:
    """Return the conditions with DisruptionAllowed as it is now."""
    conditions = list((budget.get("status") or {}).get("conditions") or ())
    condition = {"type": "DisruptionAllowed", "status": value, "reason": reason, "message": message}
    if generation := status.get("observedGeneration", 0):
        condition["observedGeneration"] = generation
    set_json_condition(conditions, condition, now=now)
    return conditions


def _failed(budget: JSONObject, why: str, now: str) -> JSONObject:
    """Return the status of a budget that cannot be counted: it allows nothing."""
    status = {**(budget.get("status") or {}), "disruptionsAllowed": 0}
    for name in ("currentHealthy", "desiredHealthy", "expectedPods"):
        status.setdefault(name, 0)
    status["conditions"] = _conditions(budget, "False", "SyncFailed", why, now, status)
    return status


def _shown(selector: Mapping[str, Any]) -> str:
    """Return a selector in short, as `kubectl get` shows it."""
    labels = ",".join(
        f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())
    )
    return labels or "<none>"
