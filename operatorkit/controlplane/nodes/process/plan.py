"""What to do next with the containers of a pod, and what its phase is: decisions, without doing them.

What belongs here: the order of init containers, sidecars and main containers, and restart policies.
What does not: starting processes (`pod`).

Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from operatorkit.controlplane.nodes.process.records import Container

__all__ = ["Plan", "is_initialized", "phase", "plan"]


@dataclass(slots=True)
class Plan:
    """The containers to start, those whose back-off is not over, and whether the pod's work is done."""

    start: list[Container] = field(default_factory=list)
    back_off: list[Container] = field(default_factory=list)
    complete: bool = False


def plan(containers: Sequence[Container], policy: str, now: float, *, initialized: bool) -> Plan:
    """Decide. `initialized` once the main containers were allowed to start: it stays so."""
    result = Plan()
    for one in containers:
        if one.role == "init" and not initialized:
            if _succeeded(one):
                continue
            if not one.running:
                if one.ever_ran and policy == "Never":
                    result.complete = True
                else:
                    _start(one, result, now)
            return result
        if one.role == "sidecar":
            if not one.running:
                _start(one, result, now)
            if not initialized and not one.started:
                return result
        if one.role == "main" and not one.running and not _is_final(one, policy):
            _start(one, result, now)
    main = [one for one in containers if one.role == "main"]
    result.complete = all(_is_final(one, policy) for one in main)
    if result.complete:
        result.start.clear()
        result.back_off.clear()
    return result


def is_initialized(containers: Sequence[Container]) -> bool:
    """Whether the main containers may start: init containers succeeded, sidecars have started."""
    return all(
        _succeeded(one) if one.role == "init" else one.started
        for one in containers
        if one.role != "main"
    )


def _succeeded(one: Container) -> bool:
    return not one.running and one.terminated is not None and one.exit_code == 0


def _is_final(one: Container, policy: str) -> bool:
    """Whether a main container has ended and is not started again."""
    if one.running or not one.ever_ran or policy == "Always":
        return False
    return policy == "Never" or one.exit_code == 0


def _start(one: Container, result: Plan, now: float) -> None:
    (result.back_off if one.again_at > now else result.start).append(one)


def _has_failed_init(containers: Sequence[Container]) -> bool:
    """Return whether an init container has failed, and nothing runs any more."""
    if any(one.running for one in containers):
        return False
    return any(
        one.role == "init" and one.terminated is not None and one.exit_code for one in containers
    )


def phase(containers: Sequence[Container], spec: dict[str, Any], *, initialized: bool) -> str:
    """Return the phase, as a kubelet derives it from the containers."""
    policy = spec.get("restartPolicy", "Always")
    if not initialized:
        failed = policy == "Never" and _has_failed_init(containers)
        return "Failed" if failed else "Pending"
    main = [one for one in containers if one.role == "main"]
    if any(not one.ever_ran for one in main):
        return "Pending"
    if any(one.running for one in containers) or policy == "Always":
        return "Running"  # a sidecar that has to end yet keeps the pod running, too
    if all(one.exit_code == 0 for one in main):
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"
