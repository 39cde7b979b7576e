"""JSON, and the errors of malformed text, in the words of Go's decoder.

What belongs here: `loads`, and the words. What does not: what the text may hold (`decoding`, `scheme`).
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from operatorkit.controlplane.embedded.scheme import codec

__all__ = ["NumberTooLarge", "loads"]

_SHORTER_THAN_ANY_INFINITY = 308  # digits
_LITERALS = {"t": "true", "f": "false", "n": "null"}
_PLACES = {
    "Expecting value": "looking for beginning of value",
    "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
    "Illegal trailing comma before end of object": "looking for beginning of object key string",
    "Illegal trailing comma before end of array": "looking for beginning of value",
    "Expecting ':' delimiter": "after object key",
    "Extra data": "after top-level value",
    "Invalid control character at": "in string literal",
    "Invalid \\escape": "in string escape code",
    "Invalid \\uXXXX escape": "in \\u hexadecimal character escape",
}


class NumberTooLarge(ValueError):  # noqa: N818 - what is wrong with the number
    """A number that no float64 holds."""


def loads(text: str) -> Any:
    """Parse JSON as `codec.loads` does. Raises ValueError with Go's description of what is wrong."""
    try:
        return codec.loads(text, parse_constant=_no_number, parse_float=_finite, parse_int=_integer)
    except json.JSONDecodeError as error:
        raise ValueError(_described(error)) from None


def _no_number(name: str) -> NoReturn:
    """Reject what Python reads as a number and JSON does not have."""
    raise ValueError(f"invalid character '{name[0]}' looking for beginning of value")


def _finite(text: str) -> float:
    """Reject a number that is too large: Python reads infinity, which is no JSON."""
    number = float(text)
    if math.isinf(number):
        raise NumberTooLarge(f"json: cannot unmarshal number {text} into Go value of type float64")
    return number


def _integer(text: str) -> int:
    """Reject an integer that not even a float holds."""
    if len(text) > _SHORTER_THAN_ANY_INFINITY:
        _finite(text)
    return int(text)


def _described(error: json.JSONDecodeError) -> str:
    inside = error.msg.startswith("Invalid")  # inside a string, where white space is to be shown
    skipped = error.msg.startswith(("Illegal trailing comma", "Invalid \\escape"))
    rest = error.doc[error.pos + skipped :]
    rest = rest if inside else rest.lstrip(" \t\r\n")
    if error.msg == "Expecting value" and (literal := _LITERALS.get(rest[:1])):
        right = next((at for at, it in enumerate(literal) if rest[at : at + 1] != it), 0)
        rest, place = rest[right:], f"in literal {literal} (expecting {_quoted(literal[right])})"
    else:
        place = _PLACES.get(error.msg.removesuffix(": ")) or _after_element(error.doc[: error.pos])
    if not rest or error.msg == "Unterminated string starting at":
        return "unexpected end of JSON input"
    return f"invalid character {_quoted(rest[0])} {place}"


def _after_element(text: str) -> str:
    """Return after what a comma or an end is due: an element of the innermost array, or a pair of an object."""
    depth, inside = 0, False
    for at in range(len(text) - 1, -1, -1):
        character = text[at]
        if character == '"' and (len(text[:at]) - len(text[:at].rstrip("\\"))) % 2 == 0:
            inside = not inside
        elif not inside and character in "]}":
            depth += 1
        elif not inside and character in "[{":
            if not depth:
                return "after array element" if character == "[" else "after object key:value pair"
            depth -= 1
    return "after top-level value"


def _quoted(character: str) -> str:
    """Return a character as Go's errors show it."""
    match character:
        case "'":
            return "'\\''"
        case '"':
            return "'\"'"
    return f"'{json.dumps(character, ensure_ascii=False)[1:-1]}'"
