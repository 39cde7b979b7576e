"""Termination messages: what a container leaves in its file, or in its log, for `kubectl get pod`.

What belongs here: the file, its mount, and reading it. What does not: the container's state (`records`).

A path below /dev, such as the default one, is not mounted: /dev is the container's own. Containers that have a message
name another path.

Source: https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from operatorkit.controlplane.nodes.process.logs import LogOptions, select
from operatorkit.controlplane.nodes.process.sandbox import Mount

__all__ = ["message", "mount"]

_MAX_BYTES = 4096
_LOG_BYTES = 2048
_LOG_LINES = 80
_DEVICES = PurePosixPath("/dev")


def mount(directory: Path, container: Mapping[str, Any]) -> Mount | None:
    """Return the mount of an empty file for a container's message; None for a path below /dev."""
    path = PurePosixPath(container.get("terminationMessagePath") or "/dev/termination-log")
    if _DEVICES in path.parents:
        return None
    file = _file(directory, container)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"")
    file.chmod(0o666)  # the user of the container writes it
    return Mount(file, str(path))


def message(
    directory: Path, container: Mapping[str, Any], log: Path | None, *, failed: bool
) -> str:
    """Return the message of a container that has ended, "" where it has none.

    It is cut to 4096 bytes; that of a log, to its last 2048 bytes and 80 lines.
    """
    file = _file(directory, container)
    found = file.read_bytes()[:_MAX_BYTES] if file.is_file() else b""
    falls_back = container.get("terminationMessagePolicy") == "FallbackToLogsOnError"
    if not found and failed and falls_back and log is not None:
        lines, _ = select(log, LogOptions(tail=_LOG_LINES))
        found = b"".join(lines)[-_LOG_BYTES:]
    return found.decode(errors="replace")


def _file(directory: Path, container: Mapping[str, Any]) -> Path:
    return directory / "termination" / str(container["name"])
