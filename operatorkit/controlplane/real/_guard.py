"""Run one program, and end it when the parent process is gone.

A script of its own, run by `python -I -S`, so it imports the standard library only. Its standard input is a pipe
that the launcher holds open: the pipe closes when the launcher closes it or dies in any way, SIGKILL included, and
then the program is asked to stop, and killed `GRACE` seconds later; `DIRECTORY`, if it is not empty, is removed with
all that is in it. The kernel kills the program, too, if this script itself is killed (Linux).

    usage: _guard.py GRACE DIRECTORY PROGRAM [ARGUMENT...]
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys

_PR_SET_PDEATHSIG = 1


_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _before_exec() -> None:
    for number in _IGNORED:
        signal.signal(number, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main(arguments: list[str]) -> int:
    """Run the program and return its exit code, negative when a signal ended it."""
    grace_seconds, directory, command = float(arguments[0]), arguments[1], arguments[2:]
    ended_read, ended_write = os.pipe()
    os.set_blocking(ended_write, False)
    signal.set_wakeup_fd(ended_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    process = subprocess.Popen(  # noqa: S603 - the launcher's own command line
        command,
        stdin=subprocess.DEVNULL,
        preexec_fn=_before_exec,  # noqa: PLW1509 - this process has one thread
    )
    while process.poll() is None:
        ready, _, _ = select.select([sys.stdin.fileno(), ended_read], [], [])
        if ended_read in ready:
            os.read(ended_read, 512)
        if sys.stdin.fileno() in ready:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(grace_seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if directory:
                shutil.rmtree(directory, ignore_errors=True)
    return process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
