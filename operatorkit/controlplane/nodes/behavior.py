"""How a pod is to fail on a simulated node: scripted by an annotation of the pod.

What belongs here: reading the annotation. What does not: acting on it (`pods`).

    nodes.operatorkit.dev/behavior: unschedulable       no node fits
                                    image-pull-failure  ErrImagePull, then ImagePullBackOff
                                    crash-loop          starts, exits with 1, CrashLoopBackOff, and so on
                                    never-ready         runs, and is not ready
                                    slow-start=30s      ContainerCreating so long, counted from the pod's start
                                    runs                runs and is ready: an end to the other behaviors

The annotation may change at any time. Without it a pod runs, and its status is left as others write it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from operatorkit.cluster.api import JSONObject
from operatorkit.crd.text import parse_duration

__all__ = ["ANNOTATION", "Behavior", "behavior_of"]

ANNOTATION = "nodes.operatorkit.dev/behavior"
Kind = Literal[
    "", "runs", "unschedulable", "image-pull-failure", "crash-loop", "never-ready", "slow-start"
]
_KINDS: dict[str, Kind] = {
    "runs": "runs",
    "unschedulable": "unschedulable",
    "image-pull-failure": "image-pull-failure",
    "crash-loop": "crash-loop",
    "never-ready": "never-ready",
    "slow-start": "slow-start",
}


@dataclass(frozen=True, slots=True)
class Behavior:
    """What a pod does; `kind` is empty for one that simply runs. `delay` belongs to slow-start."""

    kind: Kind = ""
    delay: timedelta = timedelta(0)


def behavior_of(pod: JSONObject) -> Behavior:
    """Return what a pod's annotation asks for. Raises ValueError, which names annotation, value and remedy."""
    text: str = (pod["metadata"].get("annotations") or {}).get(ANNOTATION, "")
    if not text:
        return Behavior()
    name, given, duration = text.partition("=")
    kind = _KINDS.get(name)
    if kind is None or bool(given) != (kind == "slow-start"):
        known = ", ".join(f"{it}=DURATION" if it == "slow-start" else it for it in _KINDS)
        raise ValueError(
            f"annotation {ANNOTATION}: {text!r} is not a behavior: write one of {known}"
        )
    if not given:
        return Behavior(kind)
    try:
        return Behavior(kind, parse_duration(duration))
    except ValueError as error:
        raise ValueError(f"annotation {ANNOTATION}: {error}") from None
