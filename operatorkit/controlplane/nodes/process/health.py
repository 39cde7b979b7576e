"""The probes and hooks of running containers, as tasks beside them.

What belongs here: starting and ending those tasks, and what a result changes. What does not: how a
probe is done (`probes`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from functools import partial
from signal import SIGTERM
from typing import Any, Literal, Protocol

from operatorkit.clock import Clock
from operatorkit.controlplane.nodes.process.child import Child
from operatorkit.controlplane.nodes.process.probes import Action, Kind, Outcome, Probe, run_probe
from operatorkit.controlplane.nodes.process.records import Container

__all__ = ["Health", "Steps"]

_AFTER_STARTUP: tuple[Kind, ...] = ("liveness", "readiness")
_HOOK_SECONDS = 24 * 3600.0  # of postStart, which Kubernetes does not limit


class Steps(Protocol):
    """What results lead to."""

    def changed(self, uid: str) -> None:
        """Have the pod looked at again."""

    async def unhealthy(
        self,
        uid: str,
        container: Container,
        reason: Literal["Unhealthy", "FailedPostStartHook", "FailedPreStopHook"],
        message: str,
    ) -> None:
        """Report a failure."""

    async def restart(self, uid: str, container: Container, why: str) -> None:
        """End a container, so that it is started again."""


@dataclass(slots=True)
class Health:
    """Runs probes and hooks."""

    steps: Steps
    clock: Clock
    mark: str
    _tasks: dict[Child, list[asyncio.Task[None]]] = field(default_factory=dict)

    def started(self, uid: str, container: Container, address: str, group: str) -> None:
        """Begin with a container that has just been started."""
        child = container.child
        assert child is not None
        self._tasks[child] = []
        child.exited.add_done_callback(lambda _: self._end(child))
        action = self._action(container, address, group)
        if hook := (container.spec.get("lifecycle") or {}).get("postStart"):
            self._run(child, self._post_start(uid, container, action, hook))
        kinds: tuple[Kind, ...] = (
            ("startup",) if container.spec.get("startupProbe") else _AFTER_STARTUP
        )
        self._probe(uid, container, action, kinds)

    def stop(
        self, uid: str, container: Container, address: str, group: str, grace_seconds: float
    ) -> None:
        """Ask a container to end: its preStop hook first, for at most `grace_seconds`."""
        child = container.child
        assert child is not None
        hook = (container.spec.get("lifecycle") or {}).get("preStop")
        if not hook or grace_seconds <= 0:
            child.send(SIGTERM)
            return
        action = self._action(container, address, group)
        self._run(child, self._pre_stop(uid, container, action, hook, grace_seconds))

    def _end(self, child: Child) -> None:
        for task in self._tasks.pop(child, ()):
            task.cancel()

    def _run(self, child: Child, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.setdefault(child, []).append(task)

    def _probe(
        self, uid: str, container: Container, action: Action, kinds: tuple[Kind, ...]
    ) -> None:
        child = container.child
        assert child is not None
        for kind in kinds:
            if (probe := Probe.of(kind, container.spec)) is not None:
                report = partial(self._on_result, uid, container, child, action)
                self._run(child, run_probe(probe, action, self.clock, report))

    async def _on_result(
        self,
        uid: str,
        container: Container,
        child: Child,
        action: Action,
        probe: Probe,
        outcome: Outcome,
        full: bool,
    ) -> bool:
        """Take a result; return whether to go on probing."""
        if container.child is not child or (container.stop_sent and probe.kind != "readiness"):
            return False
        if not outcome.success:
            text = f"{probe.kind.capitalize()} probe failed: {outcome.output}"
            await self.steps.unhealthy(uid, container, "Unhealthy", text)
        if not full:
            return True
        if probe.kind == "readiness":
            if container.ready != outcome.success:
                container.ready = outcome.success
                self.steps.changed(uid)
            return True
        if not outcome.success:
            why = f"Container {container.name} failed {probe.kind} probe, will be restarted"
            await self.steps.restart(uid, container, why)
            return False
        if probe.kind == "startup":
            container.started = True
            container.ready = not container.spec.get("readinessProbe")
            self._probe(uid, container, action, _AFTER_STARTUP)
            self.steps.changed(uid)
            return False
        return True

    async def _post_start(
        self, uid: str, container: Container, action: Action, hook: Mapping[str, Any]
    ) -> None:
        outcome = await action.run(hook, _HOOK_SECONDS)
        if not outcome.success:
            text = f"PostStartHook failed: {outcome.output}"
            await self.steps.unhealthy(uid, container, "FailedPostStartHook", text)
            await self.steps.restart(uid, container, "FailedPostStartHook")

    async def _pre_stop(
        self,
        uid: str,
        container: Container,
        action: Action,
        hook: Mapping[str, Any],
        grace_seconds: float,
    ) -> None:
        child = container.child
        outcome = await action.run(hook, grace_seconds)
        if not outcome.success:
            text = f"PreStopHook failed: {outcome.output}"
            await self.steps.unhealthy(uid, container, "FailedPreStopHook", text)
        if child is not None:
            child.send(SIGTERM)

    def _action(self, container: Container, address: str, group: str) -> Action:
        assert container.child is not None
        ports = {
            it["name"]: it["containerPort"]
            for it in container.spec.get("ports") or ()
            if it.get("name")
        }
        return Action(container.child, address, ports, group, self.mark)
