"""One program of a control plane: started under a guard, logged to a file, stopped for certain."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from operatorkit.controlplane.backend import StartError

__all__ = ["Process"]

_GUARD = Path(__file__).with_name("_guard.py")
_GRACE_SECONDS = 5.0
_LINES_SHOWN = 15


class Process:
    """A running program, in a process group of its own; its working directory is that of its log.

    Guarantees: it ends when `stop` is called, and when this interpreter ends, however it ends; then `remove`, a
    directory, is removed.
    """

    def __init__(
        self, program: Path, arguments: Sequence[str], *, log: Path, remove: Path | None = None
    ) -> None:
        self.name = program.name
        self._log = log
        guard = [sys.executable, "-I", "-S", str(_GUARD), str(_GRACE_SECONDS), str(remove or "")]
        with log.open("wb") as output:
            self._guard = subprocess.Popen(  # noqa: S603 - our own command line
                [*guard, str(program), *arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=log.parent,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise StartError, with the end of the log, when the program has ended."""
        code = self._guard.poll()
        if code is not None:
            raise StartError(
                f"{self.name} exited with code {code}; the end of its output:\n{self.last_words()}"
            )

    def last_words(self) -> str:
        """Return the last lines of the log."""
        lines = self._log.read_text(errors="replace").splitlines()
        return "\n".join(f"    {line}" for line in lines[-_LINES_SHOWN:])

    def ask_to_stop(self) -> None:
        """Let the guard end the program; returns at once."""
        assert self._guard.stdin is not None
        with suppress(BrokenPipeError):
            self._guard.stdin.close()

    def stop(self) -> None:
        """End the program and everything it started; return when it is gone. May be called again."""
        self.ask_to_stop()
        try:
            self._guard.wait(_GRACE_SECONDS + 5)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self._guard.pid, signal.SIGKILL)
            self._guard.wait()
