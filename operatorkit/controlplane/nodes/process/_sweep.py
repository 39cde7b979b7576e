"""Remove what a run of process nodes leaves, once its launcher has ended, however it ended.

A script of its own, run by `python -I -S`, so it imports the standard library only. Its standard input
is a pipe that the launcher holds open: the pipe closes when the launcher closes it or dies in any way,
SIGKILL included. Containers die with the launcher by themselves; this kills what the launcher was
just starting, and removes control groups and files.

    usage: _sweep.py MARK DIRECTORY CONTROL_GROUP     (an empty CONTROL_GROUP: there is none)
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

_LIMIT_SECONDS = 10.0
_PAUSE_SECONDS = 0.01


def marked(mark: bytes) -> list[int]:
    """Return the processes that have `mark` as a variable of their environment."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with suppress(OSError):
                if mark in (Path(entry.path) / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def kill_all(mark: bytes, group: str) -> None:
    """Kill every process of the run, until none is left."""
    deadline = time.monotonic() + _LIMIT_SECONDS
    while time.monotonic() < deadline:
        pids = marked(mark)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if group:
            with suppress(OSError):
                (Path(group) / "cgroup.kill").write_text("1")
        if not pids and not _populated(group):
            return
        time.sleep(_PAUSE_SECONDS)


def _populated(group: str) -> bool:
    try:
        return "populated 1" in (Path(group) / "cgroup.events").read_text() if group else False
    except OSError:
        return False


def remove_groups(group: str) -> None:
    """Remove a control group and those in it."""
    for directory, _, _ in os.walk(group, topdown=False):
        with suppress(OSError):
            Path(directory).rmdir()


def main(arguments: list[str]) -> None:
    """Wait for the launcher's end, and remove what it leaves."""
    mark, directory, group = arguments
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    kill_all(mark.encode(), group)
    if group:
        remove_groups(group)
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1:])
