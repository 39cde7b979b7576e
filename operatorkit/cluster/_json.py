"""JSON to and from bytes: orjson where it is installed (extra `speed`), the standard library otherwise."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["dumps", "dumps_to_keep", "loads"]

try:
    import orjson
except ImportError:  # pragma: no cover - the extra `speed` is not installed

    def dumps(value: Any) -> bytes:
        """Encode as compact UTF-8. Raises TypeError for what JSON cannot say."""
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()

    def loads(data: bytes | bytearray | str) -> Any:
        """Decode. Raises ValueError for what is not JSON."""
        return json.loads(data)

else:

    def dumps(value: Any) -> bytes:
        """Encode as compact UTF-8. Raises TypeError for what JSON cannot say."""
        return orjson.dumps(value)

    def loads(data: bytes | bytearray | str) -> Any:
        """Decode. Raises ValueError for what is not JSON."""
        return orjson.loads(data)


def dumps_to_keep(value: Any) -> bytes:
    """Encode what is kept for long, without the kilobytes that orjson may leave behind its answer."""
    return bytes(memoryview(dumps(value)))
