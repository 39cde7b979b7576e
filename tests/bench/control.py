"""Processes of a benchmark and the line of JSON by which they are asked.

What belongs here: starting, asking and ending them, and what each can say of itself. What does not: what they do.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Self

__all__ = ["Process", "answer_for_ever", "resident_bytes"]

Command = Callable[..., Awaitable[Any]]
_HERE = Path(__file__).resolve().parents[1]
_LINE_BYTES = 1 << 24
_ANSWER_SECONDS = 180.0


class Process:
    """A child process that answers commands; an async context manager."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._arguments = [sys.executable, "-m", module, *arguments]
        self._process: asyncio.subprocess.Process | None = None
        self.name = " ".join(arguments)

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(_HERE), "PYTHONHASHSEED": "0"},
            limit=_LINE_BYTES,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.communicate()

    async def ask(self, command: str, **arguments: Any) -> Any:
        """Return the answer to a command. Raises RuntimeError when the process ended, or says that it failed."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"command": command, **arguments}).encode() + b"\n")
        async with asyncio.timeout(_ANSWER_SECONDS):
            line = await process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended when it was asked to {command}: its own output says why")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{self.name} could not {command}: {answer['error']}")
        return answer["result"]


async def answer_for_ever(commands: Mapping[str, Command]) -> None:
    """Answer what is asked on stdin, until it is closed; each process knows `cpu` beside its own commands."""
    known: dict[str, Command] = {"cpu": _cpu, **commands}
    reader = asyncio.StreamReader(limit=_LINE_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        asked = json.loads(line)
        try:
            answer = {"result": await known[asked.pop("command")](**asked)}
        except Exception as error:  # noqa: BLE001 - the outermost loop: the parent raises it
            answer = {"error": repr(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


async def _cpu() -> float:
    """Return the CPU seconds, user and system, that this process has used."""
    return time.process_time()


def resident_bytes() -> int:
    """Return the memory that this process holds, after giving back what is free."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
