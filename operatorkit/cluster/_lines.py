"""Cutting a byte stream into lines of any length."""

from __future__ import annotations

__all__ = ["LineSplitter"]


class LineSplitter:
    """Collects chunks and gives back whole lines, without their ends. Guarantees: each byte is searched once."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that `chunk` completes, empty lines left out."""
        head, newline, tail = chunk.rpartition(b"\n")
        if not newline:
            self._rest += chunk
            return []
        lines = (bytes(self._rest) + head).split(b"\n")
        self._rest = bytearray(tail)
        return [line for line in lines if line.strip()]

    @property
    def rest(self) -> bytes:
        """What came after the last line end: at the end of a stream, a truncated line."""
        return bytes(self._rest)
