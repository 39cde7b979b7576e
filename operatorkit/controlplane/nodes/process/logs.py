"""What containers write, and reading it back as `kubectl logs` wants it.

What belongs here: log files, one for each run of a container, and selections of them. What does not:
HTTP (`kubelet`).

A line of a file is `TIME F TEXT`, or `TIME P TEXT` for a part of a line that goes on: the format of
Kubernetes' container runtimes without the stream, since both streams are one pipe here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

__all__ = ["ContainerLog", "LogOptions", "select"]

_LINE_BYTES = 16 * 1024
_FILE_BYTES = 10 * 1024 * 1024
_STAMP_BYTES = len("2026-01-02T03:04:05.123456000Z")


class ContainerLog:
    """The log file of one run of a container; the file before it is kept when it grows too long."""

    def __init__(self, path: Path) -> None:
        self.path: Path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        self._size = 0
        self._rest = b""
        self._waiters: list[asyncio.Future[None]] = []
        self.closed: bool = False

    def write(self, data: bytes) -> None:
        """Append what a container has written; nothing means that no more will come."""
        if self.closed:
            return
        lines: list[bytes] = []
        moment = _now()
        *whole, rest = (self._rest + data).split(b"\n")
        lines += [b"%b F %b\n" % (moment, line) for line in whole]
        while len(rest) > _LINE_BYTES:
            lines.append(b"%b P %b\n" % (moment, rest[:_LINE_BYTES]))
            rest = rest[_LINE_BYTES:]
        if not data and rest:
            lines.append(b"%b P %b\n" % (moment, rest))
            rest = b""
        self._rest = rest
        text = b"".join(lines)
        self._file.write(text)
        self._size += len(text)
        if not data:
            self._file.close()
            self.closed = True
        elif self._size > _FILE_BYTES:
            self._rotate()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    def remove(self) -> None:
        """Delete the file."""
        self.path.unlink(missing_ok=True)
        self.path.with_suffix(".old").unlink(missing_ok=True)

    async def grown(self) -> None:
        """Return when more was written, or the file was closed."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def _rotate(self) -> None:
        self._file.close()
        self.path.replace(self.path.with_suffix(".old"))
        self._file = self.path.open("ab", buffering=0)
        self._size = 0


def _now() -> bytes:
    now = datetime.now(UTC)
    return now.strftime("%Y-%m-%dT%H:%M:%S.%f000Z").encode()


@dataclass(frozen=True, slots=True)
class LogOptions:
    """PodLogOptions that select lines."""

    tail: int | None = None
    since: datetime | None = None
    timestamps: bool = False


def select(path: Path, options: LogOptions, *, offset: int = 0) -> tuple[Iterator[bytes], int]:
    """Return the selected pieces of a log file from `offset` on, and where to go on reading."""
    data = path.read_bytes() if path.exists() else b""
    if offset > len(data):
        offset = 0  # another file has taken the place of a long one
    data, start = data[offset:], offset
    end = data.rfind(b"\n") + 1
    lines = data[:end].splitlines()
    if options.since is not None:
        since = options.since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f").encode()
        lines = [line for line in lines if line[:26] >= since]
    if options.tail is not None:
        lines = _last(lines, options.tail)
    return (_shown(line, options) for line in lines), start + end


def _last(lines: list[bytes], count: int) -> list[bytes]:
    """Return the records of the last `count` lines, counting parts of a line once."""
    kept: deque[bytes] = deque()
    found = 0
    for line in reversed(lines):
        if line[_STAMP_BYTES : _STAMP_BYTES + 3] == b" F ":
            found += 1
        elif not kept:
            found += 1  # a last line without its end
        if found > count:
            break
        kept.appendleft(line)
    return list(kept)


def _shown(line: bytes, options: LogOptions) -> bytes:
    moment, flag, text = line.split(b" ", 2)
    stamp = moment + b" " if options.timestamps else b""
    return stamp + text + (b"\n" if flag == b"F" else b"")
