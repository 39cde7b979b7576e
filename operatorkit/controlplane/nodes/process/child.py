"""One program in a sandbox: started, signalled, waited for.

What belongs here: the process and the file descriptors that belong to it. What does not: why it is
started or ended (`pod`), and what it sees (`sandbox`).

Guarantees: the program and all that it starts end when this interpreter ends, however it ends:
bubblewrap is killed by the kernel with its parent thread, the first process of the PID namespace with
bubblewrap, and the kernel then kills all others in that namespace.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

from operatorkit.controlplane.nodes.process.sandbox import Sandbox, arguments

__all__ = ["MARK", "Child", "SandboxError"]

MARK = "OPERATORKIT_PROCESS_NODES"
"""The variable in the environment of bubblewrap, not of containers, that names the node's directory."""

_CHUNK = 1 << 16
_POLL_SECONDS = 0.005


class SandboxError(Exception):
    """A sandbox could not be set up; the message is bubblewrap's."""


class Child:
    """A running program in its sandbox. Use `start`; it belongs to the running loop and its thread.

    `exited` is set to the exit code, 128 and the signal's number for a signal.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        popen: subprocess.Popen[bytes],
        on_output: Callable[[bytes], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self.sandbox = sandbox
        self._popen = popen
        self._on_output = on_output
        self._loop = loop
        self._pidfd = os.pidfd_open(popen.pid)
        self._inner = -1
        self.pid: int = 0
        self.exited: asyncio.Future[int] = loop.create_future()
        self._output = -1
        self._report = -1  # open until the end: bubblewrap also writes the exit code
        loop.add_reader(self._pidfd, self._on_exit)

    @classmethod
    async def start(
        cls,
        sandbox: Sandbox,
        *,
        on_output: Callable[[bytes], None],
        mark: str,
        before_exec: Callable[[int], None] = lambda _: None,
    ) -> Self:
        """Start a program; return when it is about to be executed.

        `on_output` gets what it writes to stdout and stderr. `before_exec` gets its process id, and
        returns before the program runs. Raises SandboxError, OSError.
        """
        options, command = arguments(sandbox)
        data = os.memfd_create("options")
        report_read, report_write = os.pipe()
        go_read, go_write = os.pipe()
        output_read, output_write = os.pipe()
        inherited: tuple[int, ...] = (data, report_write, go_read)
        child: Self | None = None
        try:
            with os.fdopen(os.dup(data), "wb") as file:
                file.write(b"".join(option.encode() + b"\0" for option in options))
            os.lseek(data, 0, os.SEEK_SET)
            descriptors = ["--json-status-fd", str(report_write), "--block-fd", str(go_read)]
            popen = subprocess.Popen(  # noqa: ASYNC220, S603 - its parent must be this thread
                ["bwrap", *descriptors, "--args", str(data), "--", *command],  # noqa: S607
                stdin=subprocess.DEVNULL,
                stdout=output_write,
                stderr=output_write,
                pass_fds=inherited,
                cwd="/",
                env=_environment(mark),
                start_new_session=True,
            )
            os.close(output_write)
            output_write = -1
            child = cls(sandbox, popen, on_output)
            child._read_output(output_read)
            output_read = -1
            for descriptor in (data, report_write, go_read):
                os.close(descriptor)
            inherited = ()
            child._report, reading, report_read = report_read, report_read, -1
            child._adopt(await _first_line(reading))
            before_exec(child.pid)
        except BaseException:
            if child is not None:
                child.kill()
            raise
        finally:
            for descriptor in (*inherited, report_read, go_write, output_read, output_write):
                if descriptor >= 0:
                    os.close(descriptor)  # closing go_write lets bubblewrap go on
        return child

    def _adopt(self, line: bytes) -> None:
        try:
            self.pid = json.loads(line)["child-pid"]
            self._inner = os.pidfd_open(self.pid)
        except (ValueError, KeyError, OSError) as error:
            raise SandboxError("bubblewrap exited before it created a sandbox") from error

    async def executed(self) -> None:
        """Return once the sandbox is complete and its program runs, or has ended."""
        while self._is_preparing():  # noqa: ASYNC110 - the kernel reports no execve
            await asyncio.sleep(_POLL_SECONDS)

    def _is_preparing(self) -> bool:
        try:
            return Path(f"/proc/{self.pid}/exe").readlink().name == "bwrap"
        except OSError:
            return False

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the first process of the container; nothing happens once it has ended."""
        if self._inner >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._inner, number)

    def kill(self) -> None:
        """Kill the container, all its processes."""
        self.send(signal.SIGKILL)
        if self._inner < 0 and not self.exited.done():
            with suppress(ProcessLookupError, ChildProcessError):
                self._kill_bubblewrap()

    def _kill_bubblewrap(self) -> None:
        """Kill bubblewrap, and the process that it may have forked for the container already.

        That one asks the kernel to die with bubblewrap only just before it runs the program. Stopped,
        bubblewrap cannot fork between the two.
        """
        signal.pidfd_send_signal(self._pidfd, signal.SIGSTOP)
        pid = self._popen.pid
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        with suppress(OSError):
            for forked in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                os.kill(int(forked), signal.SIGKILL)
        signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _on_exit(self) -> None:
        code = self._popen.poll()
        if code is None:
            return
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        for descriptor in (self._inner, self._report):
            if descriptor >= 0:
                os.close(descriptor)
        self._inner = self._report = -1
        self._drain()
        if not self.exited.done():
            self.exited.set_result(128 - code if code < 0 else code)

    def _read_output(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._output = descriptor
        self._loop.add_reader(descriptor, self._on_readable)

    def _on_readable(self) -> None:
        try:
            data = os.read(self._output, _CHUNK)
        except BlockingIOError:
            return
        if data:
            self._on_output(data)
        else:
            self._close_output()

    def _drain(self) -> None:
        """Pass on what is left in the pipe: all writers have ended with the PID namespace."""
        while self._output >= 0:
            try:
                data = os.read(self._output, _CHUNK)
            except BlockingIOError:
                data = b""
            if not data:
                self._close_output()
                return
            self._on_output(data)

    def _close_output(self) -> None:
        if self._output >= 0:
            self._loop.remove_reader(self._output)
            os.close(self._output)
            self._output = -1
            self._on_output(b"")


def _environment(mark: str) -> Mapping[str, str]:
    return {MARK: mark, "PATH": os.environ.get("PATH", os.defpath)}


async def _first_line(descriptor: int) -> bytes:
    """Return the first line that comes from a pipe, or what came before its end."""
    loop = asyncio.get_running_loop()
    os.set_blocking(descriptor, False)
    line = bytearray()
    done: asyncio.Future[None] = loop.create_future()

    def on_readable() -> None:
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return
        line.extend(data)
        if (not data or b"\n" in data) and not done.done():
            done.set_result(None)

    loop.add_reader(descriptor, on_readable)
    try:
        await done
    finally:
        loop.remove_reader(descriptor)
    return bytes(line)
