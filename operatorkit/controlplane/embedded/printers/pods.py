"""What `kubectl get pods` says about a pod: its one-word status, and how many of its containers are ready.

Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from operatorkit.controlplane.embedded.printers.ages import age

__all__ = ["pod_cells", "pod_row_conditions"]

JSONObject = Mapping[str, Any]


@dataclass(slots=True)
class _Summary:
    """What is counted while the containers are looked at."""

    reason: str
    ready: int = 0
    restarts: int = 0
    last_restart: str = ""

    def count(self, status: JSONObject) -> None:
        self.restarts += status.get("restartCount", 0)
        finished = ((status.get("lastState") or {}).get("terminated") or {}).get("finishedAt") or ""
        self.last_restart = max(self.last_restart, finished)


def pod_cells(pod: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of a pod's row."""
    spec, status, metadata = pod.get("spec") or {}, pod.get("status") or {}, pod["metadata"]
    sidecars = {
        it["name"] for it in spec.get("initContainers", ()) if it.get("restartPolicy") == "Always"
    }
    summary = _summarize(pod, sidecars)
    total = len(spec.get("containers") or ()) + len(sidecars)
    restarts = str(summary.restarts)
    if summary.restarts and summary.last_restart:
        restarts = f"{summary.restarts} ({age(summary.last_restart, now)} ago)"
    addresses = status.get("podIPs") or ()
    return [
        metadata["name"],
        f"{summary.ready}/{total}",
        summary.reason,
        restarts,
        age(metadata.get("creationTimestamp"), now),
        (addresses[0].get("ip") if addresses else "") or "<none>",
        spec.get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        _readiness_gates(spec, status),
    ]


def pod_row_conditions(pod: JSONObject) -> list[dict[str, Any]]:
    """Return what a row says about a pod that has ended."""
    match (pod.get("status") or {}).get("phase"):
        case "Succeeded":
            reason, message = "Succeeded", "The pod has completed successfully."
        case "Failed":
            reason, message = "Failed", "The pod failed."
        case _:
            return []
    return [{"type": "Completed", "status": "True", "reason": reason, "message": message}]


def _summarize(pod: JSONObject, sidecars: set[str]) -> _Summary:
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    conditions = status.get("conditions") or ()
    summary = _Summary(status.get("reason") or status.get("phase", ""))
    if any(
        it.get("type") == "PodScheduled" and it.get("reason") == "SchedulingGated"
        for it in conditions
    ):
        summary.reason = "SchedulingGated"
    initializing, sidecar_restarts = _look_at_init(summary, spec, status, sidecars)
    if not initializing or _is_true(conditions, "Initialized"):
        summary.restarts, summary.last_restart = (
            sidecar_restarts.restarts,
            sidecar_restarts.last_restart,
        )
        _look_at_containers(summary, status, conditions)
    if "deletionTimestamp" in pod["metadata"]:
        if status.get("reason") == "NodeLost":
            summary.reason = "Unknown"
        elif status.get("phase") not in {"Succeeded", "Failed"}:
            summary.reason = "Terminating"
    return summary


def _is_true(conditions: Any, type_: str) -> bool:
    return any(it.get("type") == type_ and it.get("status") == "True" for it in conditions)


def _ended(terminated: JSONObject) -> str:
    """Say why a container ended."""
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _look_at_init(
    summary: _Summary, spec: JSONObject, status: JSONObject, sidecars: set[str]
) -> tuple[bool, _Summary]:
    """Look at the init containers up to the first that is not done; return whether there is one."""
    of_sidecars = _Summary("")
    for position, container in enumerate(status.get("initContainerStatuses") or ()):
        summary.count(container)
        state = container.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting") or {}
        sidecar = container.get("name") in sidecars
        if sidecar:
            of_sidecars.count(container)
        if terminated is not None and not terminated.get("exitCode"):
            continue
        if sidecar and container.get("started"):
            summary.ready += bool(container.get("ready"))
            continue
        if terminated is not None:
            summary.reason = f"Init:{_ended(terminated)}"
        elif waiting.get("reason") not in {None, "", "PodInitializing"}:
            summary.reason = f"Init:{waiting['reason']}"
        else:
            summary.reason = f"Init:{position}/{len(spec.get('initContainers', ()))}"
        return True, of_sidecars
    return False, of_sidecars


def _look_at_containers(summary: _Summary, status: JSONObject, conditions: Any) -> None:
    running, failure = False, ""
    for container in reversed(status.get("containerStatuses") or []):
        summary.count(container)
        state = container.get("state") or {}
        waiting, terminated = state.get("waiting") or {}, state.get("terminated")
        if waiting.get("reason"):
            summary.reason = waiting["reason"]
        elif terminated is not None:
            summary.reason = _ended(terminated)
            if terminated.get("exitCode"):
                failure = summary.reason
        elif container.get("ready") and state.get("running") is not None:
            running = True
            summary.ready += 1
    if summary.reason == "Completed":
        if running and _is_true(conditions, "Ready"):
            summary.reason = "Running"
        elif failure:
            summary.reason = failure
        elif running:
            summary.reason = "NotReady"


def _readiness_gates(spec: JSONObject, status: JSONObject) -> str:
    gates = spec.get("readinessGates") or ()
    if not gates:
        return "<none>"
    passed = sum(
        _is_true(status.get("conditions") or (), it.get("conditionType", "")) for it in gates
    )
    return f"{passed}/{len(gates)}"
