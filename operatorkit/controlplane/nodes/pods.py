"""A pod's way through the simulation: one function that looks at a pod and takes its next steps.

What belongs here: the order of things, as kube-scheduler and kubelet have it, and the writes. What does not: deciding
when to look again (`simulated`), and the words and forms (`references`, `fitting`, `status`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from operatorkit.clock import Clock, parse_time
from operatorkit.cluster.api import ClusterAPI, JSONObject
from operatorkit.controlplane.controllers.event_recorder import ComponentEventRecorder, EventType
from operatorkit.controlplane.nodes import status
from operatorkit.controlplane.nodes.behavior import Behavior, behavior_of
from operatorkit.controlplane.nodes.kinds import PODS
from operatorkit.controlplane.nodes.references import SourceKind, config_failure, mount_failures
from operatorkit.controlplane.nodes.scheduling import Scheduler, is_schedulable
from operatorkit.controlplane.nodes.status import Host, Waiting
from operatorkit.controlplane.nodes.writing import write_status
from operatorkit.errors import Conflict, NotFound
from operatorkit.names import ObjectKey

__all__ = ["Attempt", "PodSteps", "World"]

_PULL_REASONS = ("ErrImagePull", "ImagePullBackOff")
_FIRST_RETRY = timedelta(milliseconds=500)
_LONGEST_RETRY = timedelta(minutes=2, seconds=2)


class World(Protocol):
    """What the steps read: the caches, up to date with our own writes."""

    def source(self, namespace: str, kind: SourceKind, name: str) -> JSONObject | None:
        """Return a Secret or ConfigMap, or None."""

    def host(self, node: str) -> Host | None:
        """Return the node if it is simulated here."""

    def address(self, node: str, pod: ObjectKey) -> str:
        """Return the address of a pod on a node; the same each time."""

    def wrote(self, pod: JSONObject) -> None:
        """Remember the answer to a write."""


@dataclass(slots=True)
class Attempt:
    """How often a pod could not start, and what was said about it: the kubelet repeats itself ever more slowly."""

    failures: int = 0
    reported: Sequence[str] = field(default_factory=list)
    again_at: float = 0.0

    def fail(self, problems: Sequence[str], now: float) -> bool:
        """Note the problems found at `now`; return whether it is time to report them."""
        if problems == self.reported and now < self.again_at:
            return False
        pause = min(_FIRST_RETRY * 2 ** min(self.failures, 16), _LONGEST_RETRY)
        self.failures, self.reported, self.again_at = (
            self.failures + 1,
            problems,
            now + pause.total_seconds(),
        )
        return True

    def remaining(self, now: float) -> timedelta:
        """Return how long it is from `now` until the next try."""
        return timedelta(seconds=max(0.001, self.again_at - now))


@dataclass(slots=True)
class PodSteps:
    """Takes a pod as far as it can go now.

    `advance` returns how long to wait before the next look, or None when only a change can help. Looking twice does
    no harm: what is done already is not done again, and what was said is repeated only when it is time.
    """

    api: ClusterAPI
    world: World
    scheduler: Scheduler
    events: ComponentEventRecorder
    clock: Clock

    async def advance(self, pod: JSONObject, attempt: Attempt) -> timedelta | None:
        """Take the next steps; `attempt` is the memory of this pod's failures to start."""
        try:
            return await self._advance(pod, attempt)
        except NotFound:
            return None  # deleted while we looked: the watch says so, too
        except Conflict:
            return timedelta(0) if await self._refresh(pod) else None

    async def _refresh(self, pod: JSONObject) -> bool:
        try:
            fresh = await self.api.get(
                PODS, pod["metadata"]["name"], namespace=pod["metadata"]["namespace"]
            )
        except NotFound:
            return False
        self.world.wrote(fresh)
        return True

    async def _advance(self, pod: JSONObject, attempt: Attempt) -> timedelta | None:
        spec, deleting = pod["spec"], "deletionTimestamp" in pod["metadata"]
        if not spec.get("nodeName"):
            if not deleting and is_schedulable(spec):
                await self.scheduler.schedule(pod)
            return None
        host = self.world.host(spec["nodeName"])
        if host is None:
            return None
        if deleting:
            await self._terminate(pod, host)
            return None
        try:
            behavior = behavior_of(pod)
        except ValueError as error:
            await self._record_event(pod, host, "Warning", "InvalidBehavior", str(error))
            behavior = Behavior()
        phase = (pod.get("status") or {}).get("phase", "Pending")
        if phase == "Running" and (
            behavior.kind == "crash-loop" or (behavior.kind == "runs" and not _all_ready(pod))
        ):
            return await self._run(pod, host, attempt, behavior)
        if phase == "Running" and (names := status.outdated(pod)):
            return await self._replace_containers(pod, host, attempt, behavior, names)
        if phase == "Running" and (sized := status.resized(pod)) is not None:
            await self._write(pod, {"containerStatuses": sized})
            return None
        if phase != "Pending":
            return None
        return await self._start(pod, host, attempt, behavior)

    async def _replace_containers(
        self,
        pod: JSONObject,
        host: Host,
        attempt: Attempt,
        behavior: Behavior,
        names: Sequence[str],
    ) -> timedelta | None:
        """Stop containers whose image has changed in the spec, and start them with it, as a kubelet does in place."""
        address, now = self._address(pod, host), self.clock.now()
        changed = [
            container for container in pod["spec"]["containers"] if container["name"] in names
        ]
        if _any_runs(pod, names):
            for container in changed:
                text = f"Container {container['name']} definition changed, will be restarted"
                await self._record_event(
                    pod, host, "Normal", "Killing", text, container=container["name"]
                )
            pod = await self._write(pod, status.stopped(pod, host, now, address, names))
        if behavior.kind == "image-pull-failure":
            reasons = {
                container["name"]: _pull_failure(container, attempt) for container in changed
            }
            pod = await self._write(pod, status.pulling(pod, host, now, address, reasons))
            mono = self.clock.monotonic()
            if attempt.fail(
                [f"{name}: {reason.message}" for name, reason in reasons.items()], mono
            ):
                await self._report_configuration(pod, host, reasons)
            return attempt.remaining(mono)
        for container in changed:
            await self._report_start(pod, host, container)
        await self._write(pod, status.restarted(pod, host, now, address, names))
        return None

    async def _start(
        self, pod: JSONObject, host: Host, attempt: Attempt, behavior: Behavior
    ) -> timedelta | None:
        namespace = pod["metadata"]["namespace"]

        def lookup(kind: SourceKind, name: str) -> JSONObject | None:
            return self.world.source(namespace, kind, name)

        problems = mount_failures(pod, lookup)
        if problems or not _seen_by_kubelet(pod):
            pod = await self._write(pod, status.waiting(pod, host, self.clock.now(), {}))
        now = self.clock.monotonic()
        if problems:
            for message in problems if attempt.fail(problems, now) else ():
                await self._record_event(pod, host, "Warning", "FailedMount", message)
            return attempt.remaining(now)
        address = self._address(pod, host)
        if (left := self._until_started(pod, behavior)) > timedelta(0):
            return left
        reasons = (
            {
                container["name"]: _pull_failure(container, attempt)
                for container in pod["spec"]["containers"]
            }
            if behavior.kind == "image-pull-failure"
            else {
                container["name"]: Waiting("CreateContainerConfigError", problem)
                for container in pod["spec"]["containers"]
                if (problem := config_failure(pod, container, lookup)) is not None
            }
        )
        if reasons:
            pod = await self._write(
                pod, status.waiting(pod, host, self.clock.now(), reasons, pod_ip=address)
            )
            if attempt.fail([f"{name}: {reason.message}" for name, reason in reasons.items()], now):
                await self._report_configuration(pod, host, reasons)
            return attempt.remaining(now)
        for container in (*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]):
            await self._report_start(pod, host, container)
        return await self._run(pod, host, attempt, behavior)

    async def _run(
        self, pod: JSONObject, host: Host, attempt: Attempt, behavior: Behavior
    ) -> timedelta | None:
        """Let the containers of a pod run as its behavior has it."""
        address, now = self._address(pod, host), self.clock.now()
        match behavior.kind:
            case "never-ready":
                await self._write(pod, status.unready(pod, host, now, address))
            case "crash-loop":
                if attempt.fail(["crash"], self.clock.monotonic()):
                    for container in pod["spec"]["containers"]:
                        text = f"Back-off restarting failed container {container['name']} in pod"
                        await self._record_event(
                            pod, host, "Warning", "BackOff", text, container=container["name"]
                        )
                    await self._write(pod, status.crashed(pod, host, now, address))
                return attempt.remaining(self.clock.monotonic())
            case _:
                await self._write(pod, status.running(pod, host, now, address))
        return None

    def _address(self, pod: JSONObject, host: Host) -> str:
        return self.world.address(
            host.name, ObjectKey(pod["metadata"]["namespace"], pod["metadata"]["name"])
        )

    def _until_started(self, pod: JSONObject, behavior: Behavior) -> timedelta:
        """Return how long the containers of a pod still take to start."""
        since = (pod.get("status") or {}).get("startTime")
        return parse_time(since) + behavior.delay - self.clock.now() if since else behavior.delay

    async def _report_configuration(
        self, pod: JSONObject, host: Host, reasons: Mapping[str, Waiting]
    ) -> None:
        for container in pod["spec"]["containers"]:
            name = container["name"]
            if name in reasons and reasons[name].reason in _PULL_REASONS:
                reason = "BackOff" if reasons[name].reason == "ImagePullBackOff" else "Failed"
                await self._record_event(
                    pod, host, "Warning", reason, reasons[name].message, container=name
                )
            elif name in reasons:
                await self._report_pulled(pod, host, container)
                message = f"Error: {reasons[name].message}"
                await self._record_event(pod, host, "Warning", "Failed", message, container=name)

    async def _record_event(
        self,
        pod: JSONObject,
        host: Host,
        type_: EventType,
        reason: str,
        message: str,
        *,
        container: str = "",
    ) -> None:
        pod = {**pod, "apiVersion": "v1", "kind": "Pod"}
        await self.events.count(
            pod, type_, reason, message, component="kubelet", host=host.name, container=container
        )

    async def _report_pulled(
        self, pod: JSONObject, host: Host, container: Mapping[str, Any]
    ) -> None:
        image = container.get("image", "")
        message = (
            f'Container image "{image}" already present on machine and can be accessed by the pod'
        )
        await self._record_event(
            pod, host, "Normal", "Pulled", message, container=container["name"]
        )

    async def _report_start(
        self, pod: JSONObject, host: Host, container: Mapping[str, Any]
    ) -> None:
        await self._report_pulled(pod, host, container)
        for reason, message in (("Created", "Container created"), ("Started", "Container started")):
            await self._record_event(
                pod, host, "Normal", reason, message, container=container["name"]
            )

    async def _terminate(self, pod: JSONObject, host: Host) -> None:
        metadata = pod["metadata"]
        if metadata.get("deletionGracePeriodSeconds") == 0:
            return  # forced, or confirmed by us before: a finalizer keeps it
        current = pod.get("status") or {}
        if current.get("phase", "Pending") in {"Running", "Pending"}:
            for one in current.get("containerStatuses") or ():
                if "running" in (one.get("state") or {}):
                    await self._record_event(
                        pod,
                        host,
                        "Normal",
                        "Killing",
                        f"Stopping container {one['name']}",
                        container=one["name"],
                    )
            await self._write(pod, status.terminated(pod, host, self.clock.now()))
        await self.api.delete(
            PODS,
            metadata["name"],
            namespace=metadata["namespace"],
            grace_period_seconds=0,
            uid=metadata["uid"],
        )

    async def _write(self, pod: JSONObject, new: JSONObject) -> JSONObject:
        """Patch the status if that changes something; return the pod as it is then. Raises Conflict."""
        written = await write_status(self.api, pod, new)
        if written is not pod:
            self.world.wrote(written)
        return written


def _pull_failure(container: Mapping[str, Any], attempt: Attempt) -> Waiting:
    """Return why a container whose image cannot be pulled waits: the error first, then the pause after it."""
    image = container.get("image", "")
    error = f'failed to pull and unpack image "{image}": not found'
    if not attempt.failures:
        return Waiting("ErrImagePull", error)
    return Waiting("ImagePullBackOff", f'Back-off pulling image "{image}": ErrImagePull: {error}')


def _all_ready(pod: JSONObject) -> bool:
    return all(one.get("ready") for one in (pod.get("status") or {}).get("containerStatuses") or ())


def _any_runs(pod: JSONObject, names: Sequence[str]) -> bool:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return any("running" in (one.get("state") or {}) for one in statuses if one["name"] in names)


def _seen_by_kubelet(pod: JSONObject) -> bool:
    return bool((pod.get("status") or {}).get("containerStatuses"))
