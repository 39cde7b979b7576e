"""JSON to and from bytes: orjson where it is installed (extra `speed`), the standard library otherwise."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["dumps", "dumps_to_keep", "dumps_to_send", "loads"]

_ESCAPES = tuple(
    (character.encode(), b"\\u%04x" % ord(character)) for character in "&<>\u2028\u2029"
)
"""What Go's encoding/json writes as an escape; outside of strings JSON has none of these."""

try:
    import orjson
except ImportError:  # pragma: no cover - the extra `speed` is not installed

    def dumps(value: Any) -> bytes:
        """Encode as compact UTF-8. Raises TypeError for what JSON cannot say."""
        return json.dumps(
            value, ensure_ascii=False, separators=(",", ":"), allow_nan=False
        ).encode()

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


def dumps_to_send(value: Any) -> bytes:
    """Encode as Go's encoding/json does: an API server keeps the bytes of some fields, and compares them.

    The data of a ControllerRevision must not change. A server encodes it again when the object is
    patched, and rejects as a change that `a && b`, sent as it stands, then has escapes for its
    ampersands.
    """
    data = dumps(value)
    for plain, escaped in _ESCAPES:
        if plain in data:
            data = data.replace(plain, escaped)
    return data
