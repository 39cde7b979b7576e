"""What a kubelet writes into a pod's status at each stage of its life.

What belongs here: pure functions of a pod, its node and the time. What does not: deciding which stage comes next
(`pods`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from operatorkit.clock import format_time
from operatorkit.cluster.api import JSONObject
from operatorkit.transitions import set_json_condition

__all__ = [
    "Host",
    "Waiting",
    "base",
    "crashed",
    "outdated",
    "pulling",
    "resized",
    "restarted",
    "running",
    "set_conditions",
    "stopped",
    "terminated",
    "unready",
    "unschedulable",
    "waiting",
]


@dataclass(frozen=True, slots=True)
class Host:
    """The node that a pod is on, as its status names it."""

    name: str
    ip: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a container does not run yet."""

    reason: str
    message: str = ""

    def state(self) -> JSONObject:
        """Return the container state."""
        return {
            "waiting": {
                "reason": self.reason,
                **({"message": self.message} if self.message else {}),
            }
        }


_ALL_CONDITIONS = (
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
)


def _containers(pod: JSONObject, key: str = "containers") -> list[Mapping[str, Any]]:
    return list(pod["spec"].get(key) or ())


def _names(pod: JSONObject, key: str = "containers") -> str:
    return "[" + " ".join(container["name"] for container in _containers(pod, key)) + "]"


def set_conditions(
    pod: JSONObject, now: datetime, wanted: Mapping[str, tuple[bool, str, str]]
) -> list[JSONObject]:
    """Set conditions by type to (status, reason, message); the transition time moves only with the status."""
    conditions = list((pod.get("status") or {}).get("conditions") or ())
    for type_, (true, reason, message) in wanted.items():
        condition: JSONObject = {
            "type": type_,
            "status": "True" if true else "False",
            "observedGeneration": pod["metadata"].get("generation", 1),
        }
        if reason:
            condition["reason"] = reason
        if message:
            condition["message"] = message
        set_json_condition(conditions, condition, now=format_time(now))
    return conditions


def base(pod: JSONObject, host: Host, now: datetime, phase: str) -> JSONObject:
    """Return the fields that every status of a pod on a node has."""
    status = pod.get("status") or {}
    return {
        "phase": phase,
        "observedGeneration": pod["metadata"].get("generation", 1),
        "hostIP": host.ip,
        "hostIPs": [{"ip": host.ip}],
        "startTime": status.get("startTime") or format_time(now),
    }


def _container_status(
    pod: JSONObject, container: Mapping[str, Any], state: JSONObject, **more: Any
) -> JSONObject:
    image = container.get("image", "")
    ran = "running" in state or "terminated" in state
    identity = f"simulated://{pod['metadata']['uid']}/{container['name']}" if ran else ""
    return {
        "name": container["name"],
        "image": image,
        "imageID": f"simulated://{image}" if ran else "",
        "restartCount": 0,
        "ready": "running" in state,
        "started": "running" in state,
        "state": state,
        "lastState": {},
        **({"containerID": identity} if ran else {}),
        **(_resources(container) if "running" in state else {}),
        **more,
    }


def _resources(container: Mapping[str, Any]) -> JSONObject:
    """Return what a kubelet reports of the resources that a running container has."""
    resources = container.get("resources")
    return (
        {"resources": resources, "allocatedResources": resources.get("requests") or {}}
        if resources
        else {}
    )


def _finished(pod: JSONObject, container: Mapping[str, Any], now: datetime) -> JSONObject:
    """Return the state of an init container that has done its work."""
    for old in (pod.get("status") or {}).get("initContainerStatuses") or ():
        if old["name"] == container["name"] and "terminated" in old.get("state", {}):
            state: JSONObject = old["state"]
            return state
    moment = format_time(now)
    return {
        "terminated": {
            "exitCode": 0,
            "reason": "Completed",
            "startedAt": moment,
            "finishedAt": moment,
        }
    }


def unschedulable(pod: JSONObject, message: str, now: datetime) -> JSONObject:
    """Return the status of a pod that fits on no node."""
    return {
        "conditions": set_conditions(pod, now, {"PodScheduled": (False, "Unschedulable", message)})
    }


def waiting(
    pod: JSONObject, host: Host, now: datetime, reasons: Mapping[str, Waiting], *, pod_ip: str = ""
) -> JSONObject:
    """Return the status of a pod whose containers wait; `reasons` by container name, ContainerCreating for the rest.

    With `pod_ip`, the volumes are there and the network is up.
    """
    names = _names(pod)
    up = bool(pod_ip)
    unready = f"containers with unready status: {names}"
    initialized = (True, "", "")
    if _containers(pod, "initContainers") and not up:
        incomplete = f"containers with incomplete status: {_names(pod, 'initContainers')}"
        initialized = (False, "ContainersNotInitialized", incomplete)
    status = {
        **base(pod, host, now, "Pending"),
        "conditions": set_conditions(
            pod,
            now,
            {
                "PodReadyToStartContainers": (up, "", ""),
                "Initialized": initialized,
                "Ready": (False, "ContainersNotReady", unready),
                "ContainersReady": (False, "ContainersNotReady", unready),
                "PodScheduled": (True, "", ""),
            },
        ),
        "containerStatuses": [
            _container_status(
                pod, container, reasons.get(container["name"], _creating(pod, up=up)).state()
            )
            for container in _containers(pod)
        ],
    }
    if _containers(pod, "initContainers"):
        status["initContainerStatuses"] = [
            _container_status(
                pod, container, _finished(pod, container, now), ready=True, started=False
            )
            if up
            else _container_status(pod, container, Waiting("PodInitializing").state())
            for container in _containers(pod, "initContainers")
        ]
    return {**status, **_addresses(pod_ip)}


def _creating(pod: JSONObject, *, up: bool) -> Waiting:
    return Waiting(
        "PodInitializing" if _containers(pod, "initContainers") and not up else "ContainerCreating"
    )


def _addresses(pod_ip: str) -> JSONObject:
    return {"podIP": pod_ip, "podIPs": [{"ip": pod_ip}]} if pod_ip else {}


def running(pod: JSONObject, host: Host, now: datetime, pod_ip: str) -> JSONObject:
    """Return the status of a pod all of whose containers run and are ready."""
    state = {"running": {"startedAt": format_time(now)}}
    status = {
        **base(pod, host, now, "Running"),
        "conditions": set_conditions(
            pod,
            now,
            dict.fromkeys(_ALL_CONDITIONS, (True, "", "")),
        ),
        "containerStatuses": [
            _container_status(pod, container, state) for container in _containers(pod)
        ],
        **_addresses(pod_ip),
    }
    if _containers(pod, "initContainers"):
        status["initContainerStatuses"] = [
            _container_status(
                pod, container, _finished(pod, container, now), ready=True, started=False
            )
            for container in _containers(pod, "initContainers")
        ]
    return status


def unready(pod: JSONObject, host: Host, now: datetime, pod_ip: str) -> JSONObject:
    """Return the status of a pod whose containers run and are not ready."""
    status = running(pod, host, now, pod_ip)
    old = {it["name"]: it for it in (pod.get("status") or {}).get("containerStatuses") or ()}
    for one in status["containerStatuses"]:
        one["ready"] = False
        if "running" in (before := old.get(one["name"], {}).get("state") or {}):
            one["state"] = before  # since when it runs
    return {**status, "conditions": _not_ready(pod, now)}


def crashed(pod: JSONObject, host: Host, now: datetime, pod_ip: str) -> JSONObject:
    """Return the status of a pod whose containers have exited once more and wait to be started again."""
    status = running(pod, host, now, pod_ip)
    old = {it["name"]: it for it in (pod.get("status") or {}).get("containerStatuses") or ()}
    moment = format_time(now)
    for one in status["containerStatuses"]:
        name = one["name"]
        before = old.get(name) or {}
        exited = {"exitCode": 1, "reason": "Error", "startedAt": moment, "finishedAt": moment}
        back_off = (
            f"back-off restarting failed container={name} "
            f"pod={pod['metadata']['name']}_{pod['metadata']['namespace']}({pod['metadata']['uid']})"
        )
        one.update(
            ready=False,
            started=False,
            restartCount=before.get("restartCount", 0) + 1,
            lastState={"terminated": {**exited, "containerID": one["containerID"]}},
            state=Waiting("CrashLoopBackOff", back_off).state(),
        )
    return {**status, "conditions": _not_ready(pod, now)}


def _not_ready(pod: JSONObject, now: datetime) -> list[JSONObject]:
    """Return the conditions of a pod that runs while its containers are not ready."""
    text = f"containers with unready status: {_names(pod)}"
    wanted = dict.fromkeys(_ALL_CONDITIONS, (True, "", ""))
    wanted |= dict.fromkeys(("Ready", "ContainersReady"), (False, "ContainersNotReady", text))
    return set_conditions(pod, now, wanted)


def outdated(pod: JSONObject) -> list[str]:
    """Return the containers that run another image than the spec has, in order."""
    reported = {
        one["name"]: one for one in (pod.get("status") or {}).get("containerStatuses") or ()
    }
    return [
        container["name"]
        for container in _containers(pod)
        if container["name"] in reported
        and reported[container["name"]].get("image") != container.get("image", "")
    ]


def stopped(
    pod: JSONObject, host: Host, now: datetime, pod_ip: str, names: Sequence[str]
) -> JSONObject:
    """Return the status of a pod whose containers `names` have ended, to be started again with another image."""
    status = running(pod, host, now, pod_ip)
    status["containerStatuses"] = [
        _ended(old, now) if old["name"] in names else old
        for old in pod["status"]["containerStatuses"]
    ]
    return {**status, "conditions": _not_ready(pod, now)}


def _ended(old: Mapping[str, Any], now: datetime) -> JSONObject:
    started = ((old.get("state") or {}).get("running") or {}).get("startedAt") or format_time(now)
    state = {
        "exitCode": 0,
        "reason": "Completed",
        "startedAt": started,
        "finishedAt": format_time(now),
    }
    ended = {**state, **({"containerID": old["containerID"]} if old.get("containerID") else {})}
    return {**old, "ready": False, "started": False, "state": {"terminated": ended}}


def restarted(
    pod: JSONObject, host: Host, now: datetime, pod_ip: str, names: Sequence[str]
) -> JSONObject:
    """Return the status of a pod whose containers `names` run the image of the spec; the others run on."""
    status = running(pod, host, now, pod_ip)
    old = {one["name"]: one for one in pod["status"]["containerStatuses"]}
    status["containerStatuses"] = [
        _again(one, old[one["name"]]) if one["name"] in names else old.get(one["name"], one)
        for one in status["containerStatuses"]
    ]
    return status


def _again(new: JSONObject, old: Mapping[str, Any]) -> JSONObject:
    """Return the status of a container that was started once more."""
    count = old.get("restartCount", 0) + 1
    state = old.get("state") or {}
    last = {"lastState": state} if "terminated" in state else {}
    return {**new, "restartCount": count, "containerID": f"{new['containerID']}/{count}", **last}


def pulling(
    pod: JSONObject, host: Host, now: datetime, pod_ip: str, reasons: Mapping[str, Waiting]
) -> JSONObject:
    """Return the status of a running pod some of whose containers wait for another image; `reasons` by name."""
    status = running(pod, host, now, pod_ip)
    status["containerStatuses"] = [
        {**old, "ready": False, "started": False, "state": reasons[old["name"]].state()}
        if old["name"] in reasons
        else old
        for old in pod["status"]["containerStatuses"]
    ]
    return {**status, "conditions": _not_ready(pod, now)}


def resized(pod: JSONObject) -> list[JSONObject] | None:
    """Return the statuses of containers with the resources of the spec; None where they report these already."""
    specs = {container["name"]: container for container in _containers(pod)}
    old = list((pod.get("status") or {}).get("containerStatuses") or ())
    new = [
        {**one, **_resources(specs.get(one["name"], {}))}
        if "running" in one.get("state", {})
        else one
        for one in old
    ]
    return new if new != old else None


def terminated(pod: JSONObject, host: Host, now: datetime) -> JSONObject:
    """Return the last status of a pod that is being deleted: its containers have ended in good order."""
    old = pod.get("status") or {}
    states = {one["name"]: one.get("state") or {} for one in old.get("containerStatuses") or ()}
    ended = []
    for container in _containers(pod):
        started_at = (states.get(container["name"], {}).get("running") or {}).get("startedAt")
        state = {
            "exitCode": 0,
            "reason": "Completed",
            "startedAt": started_at or format_time(now),
            "finishedAt": format_time(now),
        }
        ended.append(_container_status(pod, container, {"terminated": state}, started=False))
    return {
        **base(pod, host, now, "Succeeded"),
        "conditions": set_conditions(
            pod,
            now,
            {
                "PodReadyToStartContainers": (False, "", ""),
                "Initialized": (True, "PodCompleted", ""),
                "Ready": (False, "PodCompleted", ""),
                "ContainersReady": (False, "PodCompleted", ""),
            },
        ),
        "containerStatuses": ended,
    }
