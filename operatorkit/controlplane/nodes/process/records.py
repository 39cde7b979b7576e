"""What a node remembers of a container between two looks at its pod.

What belongs here: the state of a container as a value that statuses and plans are made from. What
does not: the process (`child`) and decisions (`plan`).

        start                    exits                  back-off over
    waiting ──► running (startup, ready) ──► terminated ──► waiting ──► running ...
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from operatorkit.clock import format_time
from operatorkit.cluster.api import JSONObject
from operatorkit.controlplane.nodes.process.child import Child
from operatorkit.controlplane.nodes.process.logs import ContainerLog
from operatorkit.controlplane.nodes.status import Waiting

__all__ = ["BACK_OFF_LIMIT", "Container", "Role", "containers_of"]

Role = Literal["init", "sidecar", "main"]

BACK_OFF_LIMIT = timedelta(minutes=5)
_run_numbers = itertools.count(1)


@dataclass(slots=True)
class Container:
    """A container of a pod. Times called `_at` are of the clock's `monotonic`."""

    spec: Mapping[str, Any]
    role: Role
    restarts: int = 0
    child: Child | None = None
    identity: str = ""
    started_at: datetime | None = None
    waiting: Waiting | None = None
    terminated: JSONObject | None = None
    last: JSONObject | None = None
    started: bool = False
    ready: bool = False
    back_off: timedelta = timedelta(0)
    again_at: float = 0.0
    stop_sent: bool = False
    kill_at: float | None = None
    log: ContainerLog | None = None
    previous_log: ContainerLog | None = None

    @property
    def name(self) -> str:
        """The container's name."""
        return str(self.spec["name"])

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return self.child is not None

    @property
    def exit_code(self) -> int | None:
        """The exit code of its last run; None before the first has ended."""
        ended = self.terminated or self.last
        return None if ended is None else int(ended["exitCode"])

    @property
    def ever_ran(self) -> bool:
        """Whether it was started before."""
        return self.running or self.exit_code is not None

    def on_started(self, child: Child, now: datetime, uid: str) -> None:
        """Note that a process runs."""
        if self.exit_code is not None:
            self.restarts += 1
            self.last = self.terminated or self.last
        self.child, self.started_at, self.waiting, self.terminated = child, now, None, None
        self.identity = f"process://{uid}/{self.name}/{next(_run_numbers)}"
        self.started, self.ready, self.stop_sent, self.kill_at = False, False, False, None

    def on_exited(
        self, code: int, now: datetime, monotonic: float, base: timedelta, *, message: str = ""
    ) -> None:
        """Note the end of its process, and the message that it left."""
        started = self.started_at or now
        self.note_end(code, now, reason="Completed" if code == 0 else "Error", message=message)
        self.child, self.ready, self.started = None, False, False
        if now - started > 2 * BACK_OFF_LIMIT:
            self.back_off = timedelta(0)
        self.delay(monotonic, base)

    def delay(self, monotonic: float, base: timedelta) -> None:
        """Set when it may start again, ever later."""
        self.again_at = monotonic + self.back_off.total_seconds()
        self.back_off = min(max(base, self.back_off * 2), BACK_OFF_LIMIT)

    def take_over(self, status: Mapping[str, Any] | None) -> None:
        """Go on from the status that an earlier run of the node wrote.

        Init containers run again: what they left in the pod's volumes is no longer there.
        """
        if status is None or self.role == "init":
            return
        self.restarts = status.get("restartCount", 0)
        self.last = (status.get("lastState") or {}).get("terminated")
        state = status.get("state") or {}
        if running := state.get("running"):
            lost = {"exitCode": 137, "reason": "ContainerStatusUnknown", **running}
            message = "The container could not be located when the pod was terminated"
            self.terminated = {**lost, "finishedAt": running["startedAt"], "message": message}
        else:
            self.terminated = state.get("terminated")

    def rerun(self) -> None:
        """Forget that an init container succeeded: the node was lost, and it runs again."""
        if self.role == "init":
            self.last, self.terminated = None, None

    def note_end(self, code: int, now: datetime, *, reason: str, message: str = "") -> None:
        """Set the terminated state."""
        if self.terminated is not None:
            self.last = self.terminated
        self.terminated = {
            "exitCode": code,
            "reason": reason,
            "startedAt": format_time(self.started_at or now),
            "finishedAt": format_time(now),
            **({"containerID": self.identity} if self.identity else {}),
            **({"message": message} if message else {}),
        }
        self.waiting = None

    def wait(self, waiting: Waiting) -> None:
        """Show the container as waiting; how it ended becomes its last state."""
        self.last, self.terminated = self.terminated or self.last, None
        self.waiting = waiting

    def status(self, *, initializing: bool) -> JSONObject:
        """Return its part of the pod's status."""
        state: JSONObject
        if self.child is not None:
            state = {"running": {"startedAt": format_time(self.started_at)}}  # type: ignore[arg-type]
        elif self.terminated is not None:
            state = {"terminated": self.terminated}
        else:
            reason = "PodInitializing" if initializing else "ContainerCreating"
            state = (self.waiting or Waiting(reason)).state()
        done = self.role == "init" and self.terminated is not None
        return {
            "name": self.name,
            "image": self.spec.get("image", ""),
            "imageID": f"process://{self.spec.get('image', '')}" if self.identity else "",
            "restartCount": self.restarts,
            "ready": self.exit_code == 0 if done else self.ready,
            "started": self.started,
            "state": state,
            "lastState": {"terminated": self.last} if self.last else {},
            **({"containerID": self.identity} if self.identity else {}),
        }


def containers_of(pod: JSONObject) -> list[Container]:
    """Return the containers of a pod, none of them started: init containers first, in order."""
    spec = pod["spec"]
    return [
        *(
            Container(one, "sidecar" if one.get("restartPolicy") == "Always" else "init")
            for one in spec.get("initContainers") or ()
        ),
        *(Container(one, "main") for one in spec["containers"]),
    ]
