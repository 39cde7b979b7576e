"""A pod's status, from what its node knows of its containers; pure.

What belongs here: conditions and the order of the fields. What does not: the phase (`plan`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from operatorkit.cluster.api import JSONObject
from operatorkit.controlplane.nodes.process.plan import phase
from operatorkit.controlplane.nodes.process.records import Container
from operatorkit.controlplane.nodes.status import Host, base, set_conditions

__all__ = ["pod_status"]


def pod_status(
    pod: JSONObject,
    host: Host,
    now: datetime,
    containers: Sequence[Container],
    *,
    pod_ip: str,
    initialized: bool,
    ended: bool = False,
) -> JSONObject:
    """Return the status. `pod_ip` is empty until the volumes are there; `ended` once all is stopped."""
    main = [one for one in containers if one.role == "main"]
    inits = [one for one in containers if one.role != "main"]
    current = phase(containers, pod["spec"], initialized=initialized)
    if ended:
        current = "Failed" if any(one.exit_code for one in main) else "Succeeded"
        if any(not one.ever_ran for one in main):
            current = "Failed"
    status = {
        **base(pod, host, now, current),
        "conditions": _conditions(
            pod,
            now,
            containers,
            current=current,
            up=bool(pod_ip) and not ended,
            initialized=initialized,
        ),
        "containerStatuses": [
            one.status(initializing=not initialized and bool(inits)) for one in main
        ],
    }
    if inits:
        status["initContainerStatuses"] = [one.status(initializing=True) for one in inits]
    if pod_ip:
        status |= {"podIP": pod_ip, "podIPs": [{"ip": pod_ip}]}
    return status


def _conditions(
    pod: JSONObject,
    now: datetime,
    containers: Sequence[Container],
    *,
    current: str,
    up: bool,
    initialized: bool,
) -> list[JSONObject]:
    completed = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(current, "")
    unready = [one.name for one in containers if one.role != "init" and not one.ready]
    incomplete = [
        one.name
        for one in containers
        if one.role != "main" and not (one.exit_code == 0 if one.role == "init" else one.started)
    ]
    containers_ready = (not unready, "", "")
    if completed:
        containers_ready = (False, completed, "")
    elif unready:
        text = f"containers with unready status: {_names(unready)}"
        containers_ready = (False, "ContainersNotReady", text)
    ready = containers_ready
    if not completed and not unready and (missing := _closed_gates(pod)):
        ready = (False, "ReadinessGatesNotReady", missing)
    if initialized:
        begun = (True, "PodCompleted" if current == "Succeeded" else "", "")
    else:
        text = f"containers with incomplete status: {_names(incomplete)}"
        begun = (False, "ContainersNotInitialized", text)
    return set_conditions(
        pod,
        now,
        {
            "PodReadyToStartContainers": (up, "", ""),
            "Initialized": begun,
            "Ready": ready,
            "ContainersReady": containers_ready,
            "PodScheduled": (True, "", ""),
        },
    )


def _names(names: Sequence[str]) -> str:
    return "[" + " ".join(names) + "]"


def _closed_gates(pod: JSONObject) -> str:
    """Return the message of readiness gates whose condition is not true, or ""."""
    held = {one["type"]: one["status"] for one in (pod.get("status") or {}).get("conditions") or ()}
    messages = []
    for gate in pod["spec"].get("readinessGates") or ():
        name = gate["conditionType"]
        if name not in held:
            messages.append(
                f'corresponding condition of pod readiness gate "{name}" does not exist.'
            )
        elif held[name] != "True":
            messages.append(
                f'the status of pod readiness gate "{name}" is not "True", but {held[name]}'
            )
    return ", ".join(messages)
