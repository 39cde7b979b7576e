"""Values as Go prints them, because the API server's messages contain them.

What belongs here: Go's `%q`, `%v` of numbers, and `encoding/json`. What does not: sentences.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

__all__ = ["Struct", "is_integral", "json_text", "number", "quote", "value_text"]

_ESCAPES = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
}
_MAX_JSON_INTEGER = float(2**53 - 1)
_EPSILON = 1e-9


@dataclass(frozen=True, slots=True)
class Struct:
    """A value that is a struct in Go: its JSON keeps the order of the fields, also inside of them."""

    fields: Mapping[str, Any]


def quote(text: str) -> str:
    """Return `%q` of a string."""
    return '"' + "".join(_quoted(character) for character in text) + '"'


def _quoted(character: str) -> str:
    if character == '"':
        return '\\"'
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x80:
        return f"\\x{code:02x}"
    if 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def number(value: float) -> str:
    """Return `%v` of an int64 or a float64."""
    if isinstance(value, int):
        return str(value)
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    scientific = len(digits) + exponent - 1
    if value != 0 and (scientific < -4 or scientific >= 6):
        head, tail = str(digits[0]), "".join(map(str, digits[1:]))
        mantissa = f"{head}.{tail}" if tail else head
        return (
            f"{'-' if sign else ''}{mantissa}e{'-' if scientific < 0 else '+'}{abs(scientific):02d}"
        )
    plain = format(Decimal(repr(value)), "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def json_text(value: Any) -> str:
    """Return what `json.Marshal` writes: keys sorted, no spaces, and <, > and & escaped."""
    return _json_text(value, sort_keys=True)


def _json_text(value: Any, *, sort_keys: bool) -> str:
    if isinstance(value, Struct):
        return _json_text(value.fields, sort_keys=False)
    if isinstance(value, float):
        return _json_number(value)
    if isinstance(value, Mapping):
        keys = sorted(value) if sort_keys else value
        inside = (f"{json_text(key)}:{_json_text(value[key], sort_keys=sort_keys)}" for key in keys)
        return "{" + ",".join(inside) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_json_text(item, sort_keys=sort_keys) for item in value) + "]"
    text = json.dumps(value, ensure_ascii=False)
    if isinstance(value, str):
        for character in "<>&\u2028\u2029":
            text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _json_number(value: float) -> str:
    magnitude = abs(value)
    if magnitude and (magnitude < 1e-6 or magnitude >= 1e21):
        text = number(value)
        return text.replace("e-0", "e-") if "e-0" in text else text
    plain = format(Decimal(repr(value)), "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def value_text(value: Any) -> str:
    """Return a value as field errors show it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, str):
        return quote(value)
    return json_text(value)


def is_integral(value: float) -> bool:
    """Return whether the API server takes a float as an integer: whole, or nearly so, and below 2^53."""
    if math.isnan(value) or math.isinf(value) or abs(value) > _MAX_JSON_INTEGER:
        return False
    whole = float(math.trunc(value))
    if value == whole:
        return True
    if value < 0 or whole == 0:
        return False
    return abs(value - whole) / (abs(value) + abs(whole)) < _EPSILON
