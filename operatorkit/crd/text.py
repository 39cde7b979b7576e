"""Durations, quantities and names of fields as text, as Kubernetes writes them.

What belongs here: reading, writing and recognising that text. What does not: the types of fields
that hold it (`operatorkit.crd.fields`).
"""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal

__all__ = ["DURATION_PATTERN", "QUANTITY_PATTERN", "cel_name", "format_duration", "parse_duration"]

DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$"
QUANTITY_PATTERN = (
    r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))"
    r"(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
)

_TOO_LONG = 2**63  # nanoseconds: Go keeps durations in an int64
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h)")
_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}


def parse_duration(text: str) -> timedelta:
    """Read a duration as Go writes it: `1h30m`, `720h`, `250ms`. Raises ValueError for anything else.

    Negative durations are rejected, and those that Go cannot hold, of 292 years and more; what is
    finer than a microsecond is lost.
    """
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration: write it like 90s, 1h30m or 720h")
    nanoseconds = sum(Decimal(number) * _NANOSECONDS[unit] for number, unit in parts)
    if nanoseconds >= _TOO_LONG:
        shown = text if len(text) <= 40 else f"{text[:37]}..."
        raise ValueError(
            f"{shown!r} is longer than any duration that Go can hold: 2562047h is the most"
        )
    return timedelta(microseconds=int(nanoseconds) // 1_000)


def format_duration(duration: timedelta) -> str:
    """Write a duration as Go does: `1h30m0s`, `250ms`. Raises ValueError for a negative one."""
    microseconds = duration // timedelta(microseconds=1)
    if microseconds < 0:
        raise ValueError(f"{duration} is negative")
    if microseconds == 0:
        return "0s"
    if microseconds < 1_000:
        return f"{microseconds}µs"
    if microseconds < 1_000_000:
        return f"{_trimmed(microseconds, 1_000)}ms"
    minutes, rest = divmod(microseconds, 60_000_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h" if hours else ""
    text += f"{minutes}m" if hours or minutes else ""
    return f"{text}{_trimmed(rest, 1_000_000)}s"


def _trimmed(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    fraction = f"{rest:0{len(str(unit)) - 1}d}".rstrip("0")
    return f"{whole}.{fraction}" if fraction else str(whole)


_CEL_SYMBOLS = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}
_CEL_RESERVED = frozenset(
    {
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
    }
    | {"let", "loop", "package", "namespace", "return", "var", "void", "while"}
)


def cel_name(name: str) -> str:
    """Return a field's name in JSON as rules in CEL write it: `namespace` is `__namespace__`, `a-b` is `a__dash__b`.

    Source: https://kubernetes.io/docs/reference/using-api/cel/#escaping
    """
    if name in _CEL_RESERVED:
        return f"__{name}__"
    return re.sub(r"__|[./-]", lambda match: _CEL_SYMBOLS[match[0]], name)
