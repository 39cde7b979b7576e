"""Values as Go reads and writes them, and the errors of its parsers, which kube-apiserver's messages quote.

What belongs here: Go's `%v` and `%T`, how it writes numbers, and what of its packages strconv and time requests meet.
What does not: the messages around them.
"""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import Any

__all__ = [
    "INT64",
    "after",
    "numbers",
    "parse_duration",
    "parse_int",
    "parse_uint",
    "quoted",
    "shown",
    "type_name",
]

INT64 = range(-(2**63), 2**63)
"""The values of an int64."""

_EXPONENT_FROM = 1e21
_INT, _UINT = re.compile(r"[+-]?[0-9]+"), re.compile(r"[0-9]+")
_MAX_DIGITS = 4000  # Python converts no longer texts; no number that Go keeps is nearly as long
_NUMBER, _UNIT = re.compile(r"([0-9]*)(?:\.([0-9]*))?"), re.compile(r"[^.0-9]+")
_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "\N{MICRO SIGN}s": 1_000,
    "\N{GREEK SMALL LETTER MU}s": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}


def quoted(text: str) -> str:
    """Return a text in quotes, as strconv.Quote does."""
    return json.dumps(text, ensure_ascii=False)


def parse_int(text: str) -> int:
    """Read a decimal int64. Raises ValueError with the words of strconv.ParseInt."""
    return _parsed(text, _INT, "ParseInt", INT64)


def parse_uint(text: str) -> int:
    """Read a decimal uint64. Raises ValueError with the words of strconv.ParseUint."""
    return _parsed(text, _UINT, "ParseUint", range(2**64))


def _parsed(text: str, syntax: re.Pattern[str], function: str, values: range) -> int:
    if not syntax.fullmatch(text):
        raise ValueError(f"strconv.{function}: parsing {quoted(text)}: invalid syntax")
    significant = text.lstrip("+-0")
    if (
        len(significant) > _MAX_DIGITS
        or (number := int(f"{text[0] if text[0] == '-' else ''}0{significant}")) not in values
    ):
        raise ValueError(f"strconv.{function}: parsing {quoted(text)}: value out of range")
    return number


def parse_duration(text: str) -> int:
    """Read a duration such as `1h30m` as nanoseconds. Raises ValueError with the words of time.ParseDuration."""
    shown = _bytes_quoted(text)
    invalid = ValueError(f"time: invalid duration {shown}")
    negative, rest = text.startswith("-"), text[1:] if text[:1] in {"+", "-"} else text
    if rest == "0":
        return 0
    if not rest:
        raise invalid
    total = 0
    while rest:
        found = _NUMBER.match(rest)
        if found is None or not (found[1] or found[2]):
            raise invalid
        whole, fraction = found[1].lstrip("0"), (found[2] or "")[:18]
        if len(whole) > 19:  # digits: more than an int64 holds
            raise invalid
        rest = rest[found.end() :]
        unit = _UNIT.match(rest)
        if unit is None:
            raise ValueError(f"time: missing unit in duration {shown}")
        rest = rest[unit.end() :]
        nanoseconds = _NANOSECONDS.get(unit[0])
        if nanoseconds is None:
            raise ValueError(f"time: unknown unit {_bytes_quoted(unit[0])} in duration {shown}")
        total += int(whole or "0") * nanoseconds + int(fraction or "0") * nanoseconds // 10 ** len(
            fraction
        )
        if total > 2**63:
            raise invalid
    if total == 2**63 and not negative:
        raise invalid
    return -total if negative else total


def _bytes_quoted(text: str) -> str:
    """Return a text in quotes as the package time does: bytes beyond ASCII as their numbers."""
    written = (
        chr(it) if 0x20 <= it < 0x7F else f"\\x{it:02x}"
        for it in text.encode(errors="surrogateescape")
    )
    return '"' + "".join(f"\\{it}" if it in {'"', "\\"} else it for it in written) + '"'


def after(moment: datetime, seconds: int) -> datetime:
    """Return `moment` plus seconds as Go adds them: nanoseconds that an int64 does not hold wrap around."""
    nanoseconds = (seconds * 1_000_000_000 + 2**63) % 2**64 - 2**63
    return moment + timedelta(microseconds=nanoseconds // 1_000)


def shown(value: Any) -> str:
    """Return a JSON value as Go's %v prints it."""
    match value:
        case dict():
            return f"map[{' '.join(f'{key}:{shown(value[key])}' for key in sorted(value))}]"
        case list():
            return f"[{' '.join(map(shown, value))}]"
        case bool():
            return str(value).lower()
        case None:
            return "<nil>"
    return str(value)


def type_name(value: Any) -> str:
    """Return the Go type in which a JSON value is kept, as %T prints it."""
    match value:
        case dict():
            return "map[string]interface {}"
        case list():
            return "[]interface {}"
        case bool():
            return "bool"
        case int():
            return "int64"
        case float():
            return "float64"
        case str():
            return "string"
    return "<nil>"


def numbers(value: Any) -> Any:
    """Return a JSON value with its numbers as Go writes them: 1.0 is 1. Containers are changed in place."""
    if isinstance(value, dict):
        for key, inner in value.items():
            value[key] = numbers(inner)
    elif isinstance(value, list):
        value[:] = map(numbers, value)
    elif isinstance(value, float) and value.is_integer() and abs(value) < _EXPONENT_FROM:
        return int(value)
    return value
