"""A program in a sandbox ends with what started it."""

from __future__ import annotations

import asyncio
import os
import secrets
from contextlib import suppress
from pathlib import Path

import pytest

from operatorkit.controlplane.nodes.process.child import Child
from operatorkit.controlplane.nodes.process.sandbox import Sandbox, unavailable
from operatorkit.testing import eventually

pytestmark = pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))


def running(argument: str) -> list[int]:
    """Return the processes that have this argument: bubblewrap's own are among them while it prepares."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            with suppress(OSError):
                if argument.encode() in (Path(entry.path) / "cmdline").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


async def test_a_start_that_is_cancelled_at_any_moment_leaves_no_process() -> None:
    begun = 0
    for moment in range(60):
        argument = f"1{secrets.randbelow(10**9):09}"
        sandbox = Sandbox(command=["/bin/sleep", argument], environment={}, hostname="h")
        start = asyncio.create_task(Child.start(sandbox, on_output=lambda _: None, mark="mark"))
        await asyncio.sleep(moment * 0.0005)
        if start.done():
            start.result().kill()
            await start.result().exited
            continue
        begun += 1
        start.cancel()
        await asyncio.wait({start})
        await eventually(lambda argument=argument: not running(argument), timeout=10)
    assert begun > 2, "some are cancelled on the way"
