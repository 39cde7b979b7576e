"""JSON bytes, in and out.

What belongs here: encoding objects as they are stored and sent, and decoding bodies. orjson is used where it is
installed (extra `speed`). What does not: choosing between media types (`negotiation`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["decode", "encode", "split_envelope"]

try:
    import orjson
except ImportError:  # the standard library does, more slowly

    def encode(value: Any) -> bytes:
        """Return `value` as compact JSON."""
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()

    def decode(data: bytes) -> Any:
        """Return what compact JSON of our own making says."""
        return json.loads(data)

else:

    def encode(value: Any) -> bytes:
        """Return `value` as compact JSON."""
        try:
            return orjson.dumps(value)
        except TypeError:  # an integer beyond 64 bits, which JSON allows
            return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()

    def decode(data: bytes) -> Any:
        """Return what compact JSON of our own making says."""
        return orjson.loads(data)


def split_envelope(obj: Mapping[str, Any]) -> bytes:
    """Return an object without `kind` and `apiVersion`, and without the opening brace.

    This is how objects are kept: any envelope can then be put before the same bytes, which is how an item of a list
    differs from the object itself, and one version of a custom resource from another.
    """
    return encode({key: value for key, value in obj.items() if key not in {"kind", "apiVersion"}})[
        1:
    ]
