"""Control groups of pods: which processes belong to a pod, frozen and killed as one.

What belongs here: directories of the cgroup v2 hierarchy. What does not: what the network of a group
does (`network`). Where the hierarchy is missing or not writable, pods have no group; `available` says.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["PodGroup", "RunGroup", "hierarchy"]

_MOUNTS = Path("/proc/self/mountinfo")


def hierarchy() -> Path | None:
    """Return where cgroup v2 is mounted and groups may be made, or None."""
    for line in _MOUNTS.read_text().splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            place = Path(before.split()[4])
            if os.geteuid() == 0 and os.access(place, os.W_OK):
                return place
    return None


class PodGroup:
    """The control group of one pod."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()

    def add(self, pid: int) -> None:
        """Put a process, and what it starts from now on, into the group."""
        (self.path / "cgroup.procs").write_text(str(pid))

    def freeze(self, *, frozen: bool) -> None:
        """Stop all processes where they are, or let them go on."""
        (self.path / "cgroup.freeze").write_text("1" if frozen else "0")

    def kill(self) -> None:
        """Kill all processes."""
        (self.path / "cgroup.kill").write_text("1")

    def remove(self) -> None:
        """Remove the group, which must be empty."""
        with suppress(OSError):
            self.path.rmdir()


class RunGroup:
    """The group of all pods of one run of the nodes."""

    def __init__(self, place: Path, name: str) -> None:
        self.path: Path = place / name
        self.path.mkdir()

    def pod(self, uid: str) -> PodGroup:
        """Make the group of a pod."""
        return PodGroup(self.path / uid)
