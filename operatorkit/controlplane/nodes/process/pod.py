"""A pod on its node: one function that looks at it and takes its next steps.

What belongs here: the order of things, as a kubelet has it: volumes, containers, restarts, the end.
What does not: deciding when to look again (`agent`), what to start next (`plan`), and how one container
is made (`launch`).

    mounts there? ──► init containers ──► sidecars, main containers ──► all ended: Succeeded, Failed
         │                    any time: deleted
         ▼                            ▼
    FailedMount, again       SIGTERM ──► grace period ──► SIGKILL ──► status ──► object deleted
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from operatorkit.clock import Clock
from operatorkit.cluster.api import ClusterAPI, JSONObject
from operatorkit.controlplane.controllers.event_recorder import ComponentEventRecorder, EventType
from operatorkit.controlplane.nodes.kinds import PODS
from operatorkit.controlplane.nodes.pods import Attempt
from operatorkit.controlplane.nodes.process.health import Health
from operatorkit.controlplane.nodes.process.launch import ConfigError, Launcher, PodSpace
from operatorkit.controlplane.nodes.process.plan import Plan, is_initialized, plan
from operatorkit.controlplane.nodes.process.podstatus import pod_status
from operatorkit.controlplane.nodes.process.records import Container, containers_of
from operatorkit.controlplane.nodes.references import Lookup
from operatorkit.controlplane.nodes.status import Host, Waiting
from operatorkit.controlplane.nodes.writing import write_status

__all__ = ["PodState", "PodSync", "World"]

_FORCED = timedelta(seconds=2)
_FINISHED = frozenset({"Succeeded", "Failed"})


@dataclass(slots=True)
class PodState:
    """What a node remembers of a pod."""

    uid: str
    host: Host
    space: PodSpace
    containers: list[Container]
    initialized: bool = False
    up: bool = False
    attempt: Attempt = field(default_factory=Attempt)
    kill_at: float | None = None
    complete: bool = False

    @property
    def running(self) -> list[Container]:
        """The containers whose processes run."""
        return [one for one in self.containers if one.running]

    @classmethod
    def of(cls, pod: JSONObject, host: Host, space: PodSpace) -> PodState:
        """Return the state of a pod that this agent sees for the first time.

        One that ran before, on a node that has stopped since, starts again with its restarts counted.
        """
        containers = containers_of(pod)
        status = pod.get("status") or {}
        seen = {
            one["name"]: one
            for key in ("initContainerStatuses", "containerStatuses")
            for one in status.get(key) or ()
        }
        for container in containers:
            container.take_over(seen.get(container.name))
        done = status.get("phase") in _FINISHED
        return cls(pod["metadata"]["uid"], host, space, containers, complete=done, initialized=done)


class World(Protocol):
    """What the steps need of the agent."""

    def lookup(self, namespace: str) -> Lookup:
        """Return the function that finds Secrets and ConfigMaps of a namespace."""

    def wrote(self, pod: JSONObject) -> None:
        """Remember the response to a write."""

    def pod(self, uid: str) -> tuple[JSONObject, PodState] | None:
        """Return a pod and its state, or None once it is no more."""

    def changed(self, uid: str) -> None:
        """Have a pod looked at again, soon."""

    def ended(self, state: PodState) -> None:
        """Forget a pod that is no more: its address and files are free."""


@dataclass(slots=True)
class PodSync:
    """Takes a pod as far as it can go now; `sync` returns how long to wait before the next look."""

    api: ClusterAPI
    world: World
    launcher: Launcher
    reporter: ComponentEventRecorder
    clock: Clock
    back_off: timedelta
    health: Health = field(init=False)

    def __post_init__(self) -> None:
        self.health = Health(self, self.clock, self.launcher.mark)

    async def sync(self, pod: JSONObject | None, state: PodState) -> timedelta | None:
        """Take the next steps of a pod; None is one that the API server no longer has.

        Raises Conflict, NotFound, ClusterError: calling again later does no harm.
        """
        self._collect_exits(state)
        if pod is None:
            return self._abandon(state)
        if "deletionTimestamp" in pod["metadata"]:
            return await self._terminate(pod, state)
        if state.complete and not state.running:
            if (pod.get("status") or {}).get("phase") not in _FINISHED:
                await self._write(pod, state)
            return None
        if not state.up:
            wait = await self._set_up(pod, state)
            if wait is not None:
                return wait
        return await self._advance(pod, state)

    # ---------------------------------------------------------------------------------- running

    async def _set_up(self, pod: JSONObject, state: PodState) -> timedelta | None:
        """Make the volumes; return how long to wait where one is missing."""
        problems = await self.launcher.prepare(pod, state.space)
        if problems:
            pod = await self._write(pod, state)
            now = self.clock.monotonic()
            for message in problems if state.attempt.fail(problems, now) else ():
                await self.report(pod, state, "Warning", "FailedMount", message)
            return state.attempt.remaining(now)
        state.up = True
        state.attempt = Attempt()
        return None

    async def _advance(self, pod: JSONObject, state: PodState) -> timedelta | None:
        policy = pod["spec"].get("restartPolicy", "Always")
        waits: list[float] = []
        while True:
            now = self.clock.monotonic()
            decided = plan(state.containers, policy, now, initialized=state.initialized)
            started = [await self._start(pod, state, one) for one in decided.start]
            if not state.initialized and is_initialized(state.containers):
                state.initialized = True
                continue
            if not any(started):
                break
        state.complete = state.complete or decided.complete
        if state.complete:
            waits += self._stop(state, state.running, self._grace(pod))
        waits += await self._back_off(pod, state, decided)
        waits += self._overdue(state)
        if (due := await self.launcher.refresh(pod, state.space)) is not None:
            waits.append(due)
        await self._write(pod, state)
        return timedelta(seconds=max(0.001, min(waits))) if waits else None

    async def _start(self, pod: JSONObject, state: PodState, container: Container) -> bool:
        """Start a container; return whether that changed anything that others may wait for."""
        try:
            child = await self.launcher.start(pod, state.space, container)
        except ConfigError as error:
            now = self.clock.monotonic()
            text = f"{container.name}: {error}"
            if state.attempt.fail([text], now):
                message = str(error) if error.reason.endswith("BackOff") else f"Error: {error}"
                await self.report(pod, state, "Warning", "Failed", message, container)
            container.wait(Waiting(error.reason, str(error)))
            container.again_at = now + state.attempt.remaining(now).total_seconds()
            return False
        except OSError as error:
            container.started_at = None
            container.note_end(128, self.clock.now(), reason="StartError", message=str(error))
            container.delay(self.clock.monotonic(), self.back_off)
            await self.report(pod, state, "Warning", "Failed", f"Error: {error}", container)
            return True
        container.on_started(child, self.clock.now(), state.uid)
        container.started = not container.spec.get("startupProbe")
        container.ready = container.started and not container.spec.get("readinessProbe")
        child.exited.add_done_callback(lambda _: self.world.changed(state.uid))
        self.health.started(state.uid, container, state.space.address, state.space.group_path)
        image = container.spec.get("image", "")
        pulled = (
            f'Container image "{image}" already present on machine and can be accessed by the pod'
        )
        for reason, message in (
            ("Pulled", pulled),
            ("Created", "Container created"),
            ("Started", "Container started"),
        ):
            await self.report(pod, state, "Normal", reason, message, container)
        return True

    def _collect_exits(self, state: PodState) -> None:
        for one in state.running:
            assert one.child is not None
            if one.child.exited.done():
                code, now = one.child.exited.result(), self.clock.monotonic()
                message = self.launcher.termination_message(state.space, one, code)
                one.on_exited(code, self.clock.now(), now, self.back_off, message=message)

    async def _back_off(self, pod: JSONObject, state: PodState, decided: Plan) -> list[float]:
        """Show the containers that wait for their next start; return how long each waits."""
        now = self.clock.monotonic()
        metadata = pod["metadata"]
        for one in decided.back_off:
            if one.terminated is None:
                continue
            name = f"{metadata['name']}_{metadata['namespace']}({metadata['uid']})"
            wait = one.again_at - now
            text = f"back-off {wait:.0f}s restarting failed container={one.name} pod={name}"
            one.wait(Waiting("CrashLoopBackOff", text))
            message = f"Back-off restarting failed container {one.name} in pod {name}"
            await self.report(pod, state, "Warning", "BackOff", message, one)
        return [one.again_at - now for one in decided.back_off]

    # ------------------------------------------------------------------------------------- ending

    def changed(self, uid: str) -> None:
        """Have a pod looked at again, soon."""
        self.world.changed(uid)

    async def unhealthy(self, uid: str, container: Container, reason: str, message: str) -> None:
        """Report a failed probe or hook."""
        if (found := self.world.pod(uid)) is not None:
            await self.report(*found, "Warning", reason, message, container)

    async def restart(self, uid: str, container: Container, why: str) -> None:
        """End a container that has to be started again, and report why."""
        if (found := self.world.pod(uid)) is None or container.stop_sent:
            return
        pod, state = found
        await self.report(pod, state, "Normal", "Killing", why, container)
        if container.running:
            self._stop(state, [container], self._grace(pod, container))
            self.world.changed(uid)

    def _stop(self, state: PodState, containers: list[Container], grace: timedelta) -> list[float]:
        """Ask containers to end, main ones first; return how long to wait before they are killed."""
        now = self.clock.monotonic()
        main = [one for one in containers if one.role != "sidecar"]
        waits = []
        for one in main or containers[-1:]:
            assert one.child is not None
            if not one.stop_sent:
                one.stop_sent, one.kill_at = True, now + grace.total_seconds()
                space = state.space
                self.health.stop(
                    state.uid, one, space.address, space.group_path, grace.total_seconds()
                )
            one.kill_at = min(one.kill_at or now, now + grace.total_seconds())
            waits.append(one.kill_at - now)
        return waits + self._overdue(state)

    def _overdue(self, state: PodState) -> list[float]:
        """Kill what was asked to end and did not; return how long others still have."""
        now = self.clock.monotonic()
        waits = []
        for one in state.running:
            if one.kill_at is None:
                continue
            if one.kill_at <= now:
                assert one.child is not None
                one.child.kill()
            else:
                waits.append(one.kill_at - now)
        return waits

    @staticmethod
    def _grace(pod: JSONObject, container: Container | None = None) -> timedelta:
        seconds = pod["spec"].get("terminationGracePeriodSeconds", 30)
        probe = (container.spec.get("livenessProbe") or {}) if container is not None else {}
        return timedelta(seconds=probe.get("terminationGracePeriodSeconds", seconds))

    async def _terminate(self, pod: JSONObject, state: PodState) -> timedelta | None:
        metadata = pod["metadata"]
        now = self.clock.monotonic()
        if state.running:
            if state.kill_at is None:
                for one in state.running:
                    message = f"Stopping container {one.name}"
                    await self.report(pod, state, "Normal", "Killing", message, one)
            given = now + float(metadata.get("deletionGracePeriodSeconds") or 0)
            state.kill_at = given if state.kill_at is None else min(state.kill_at, given)
            left = timedelta(seconds=max(0.0, state.kill_at - now))
            waits = self._stop(state, state.running, left)
            return timedelta(seconds=max(0.001, min(waits))) if waits else None
        if metadata.get("deletionGracePeriodSeconds") == 0:
            self.world.ended(state)  # a finalizer keeps the object, which nothing runs for
            return None
        state.complete = True
        pod = await self._write(pod, state, ended=True)
        await self.api.delete(
            PODS,
            metadata["name"],
            namespace=metadata["namespace"],
            grace_period_seconds=0,
            uid=metadata["uid"],
        )
        return None

    def _abandon(self, state: PodState) -> timedelta | None:
        """End what runs for a pod that was deleted by force."""
        if not state.running:
            self.world.ended(state)
            return None
        now = self.clock.monotonic()
        if state.kill_at is None:
            state.kill_at = now + _FORCED.total_seconds()
        waits = self._stop(state, state.running, timedelta(seconds=max(0.0, state.kill_at - now)))
        return timedelta(seconds=max(0.001, min(waits))) if waits else None

    # ------------------------------------------------------------------------------------ writing

    async def _write(self, pod: JSONObject, state: PodState, *, ended: bool = False) -> JSONObject:
        new = pod_status(
            pod,
            state.host,
            self.clock.now(),
            state.containers,
            pod_ip=state.space.address if state.up or state.complete else "",
            initialized=state.initialized,
            ended=ended,
        )
        written = await write_status(self.api, pod, new)
        if written is not pod:
            self.world.wrote(written)
        return written

    async def report(
        self,
        pod: JSONObject,
        state: PodState,
        type_: EventType,
        reason: str,
        message: str,
        container: Container | None = None,
    ) -> None:
        """Report an Event as the kubelet of the pod's node."""
        path = container.name if container is not None else ""
        await self.reporter.count(
            {**pod, "apiVersion": "v1", "kind": "Pod"},
            type_,
            reason,
            message,
            component="kubelet",
            host=state.host.name,
            container=path,
        )
