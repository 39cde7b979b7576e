"""Which event loop a command runs in."""

from __future__ import annotations

import asyncio
import sys

from operatorkit.cli._loop import run


async def loop_in_use() -> str:
    return type(asyncio.get_running_loop()).__module__


def test_uvloop_is_used_where_it_is_installed():
    assert run(loop_in_use()).partition(".")[0] == "uvloop"


def test_without_uvloop_asyncio_is_used(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert run(loop_in_use()).partition(".")[0] == "asyncio"
