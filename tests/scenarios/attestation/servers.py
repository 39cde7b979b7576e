"""Metadata servers of the tests, each a process of its own."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path


class MetadataServer:
    """`operatorkit attest serve` as a process."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.process = process
        self.url = url

    @property
    def address(self) -> str:
        return self.url.removeprefix("http://")


@asynccontextmanager
async def attest_serve(folder: Path, name: str, prefix: tuple[str, ...] = ()) -> AsyncIterator[MetadataServer]:
    """Run it with the database and the log `name` in a folder, below the command `prefix`."""
    arguments = ("-m", "operatorkit", "attest", "serve", "--port", "0", "--database", f"sqlite:///{folder}/{name}.db")
    log_file = folder / f"{name}.log"
    with log_file.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *prefix, sys.executable, *arguments, stdout=subprocess.PIPE, stderr=log
        )
    try:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
        found = re.fullmatch(r"serving (http://\S+)\n", line)
        assert found, (line, log_file.read_text())
        yield MetadataServer(process, found[1])
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
