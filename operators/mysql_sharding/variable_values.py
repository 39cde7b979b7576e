"""Whether a server runs a variable as it was configured.

What belongs here: what is written in an option file and what a server reports, compared. What does
not: which values are valid (`server_variables`), and reading servers (`rollout_shard`). Pure.

A server reports a size in bytes, rounded to the block of the variable, and a boolean as ON or OFF;
it lowers what the machine cannot give. All these are the value that was configured.

Source: https://mariadb.com/kb/en/information-schema-system_variables-table/
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from operators.mysql_sharding.server_variables import Variable, variables

__all__ = ["Reported", "runs", "statement_value"]

_SUFFIXES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "P": 2**50, "E": 2**60}
_NUMBER = re.compile(r"([+-]?\d+)([KMGTPE]?)", re.ASCII | re.IGNORECASE)
_ON = frozenset({"ON", "TRUE", "1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A row of information_schema.SYSTEM_VARIABLES: the global value, its default and its origin.

    `origin` is COMPILE-TIME, CONFIG, SQL or AUTO; `block` the multiple to which a number is rounded.
    """

    value: str
    default: str
    origin: str
    block: int = 1


def runs(name: str, wanted: str | None, reported: Reported) -> bool:
    """Return whether a server runs a variable as wanted; None stands for its default.

    A value that the server itself has chosen (AUTO) is the default, or a number that it has lowered
    to what it can give.
    """
    if wanted is None and reported.origin in {"AUTO", "COMPILE-TIME"}:
        return True
    if wanted is not None and reported.origin == "AUTO" and _lowered(wanted, reported.value):
        return True
    known = variables().get(name)
    if known is None:
        return True
    target = reported.default if wanted is None else wanted
    return _equal(known, target.strip(), reported.value.strip(), max(1, reported.block))


def _equal(known: Variable, wanted: str, found: str, block: int) -> bool:
    if "INT" in known.type:
        one, other = number_of(wanted), number_of(found)
        return one is not None and other is not None and abs(one - other) < block
    if known.type == "DOUBLE":
        return _decimal(wanted) == _decimal(found)
    if known.type == "BOOLEAN":
        return (wanted.upper() in _ON) == (found.upper() in _ON)
    if known.type == "ENUM":
        return _choice(known, wanted) == _choice(known, found)
    if known.type == "SET":
        return _choices(known, wanted) == _choices(known, found)
    if known.type == "FLAGSET":
        flags = _flags(found)
        return all(
            state == "default" or flags.get(flag, state) == state
            for flag, state in _flags(wanted).items()
        )
    return wanted.strip("'\"") == found


def _lowered(wanted: str, found: str) -> bool:
    one, other = number_of(wanted.strip()), number_of(found.strip())
    return one is not None and other is not None and other < one


def number_of(text: str) -> int | None:
    """Return a whole number with an optional suffix such as M, None for other text."""
    found = _NUMBER.fullmatch(text)
    return int(found[1]) * _SUFFIXES[found[2].upper()] if found else None


def statement_value(name: str, wanted: str) -> str | int:
    """Return a value as SET GLOBAL takes it: sizes in bytes, no quotes of an option file."""
    known = variables().get(name)
    number = number_of(wanted.strip())
    if known is not None and number is not None and known.type not in {"VARCHAR", "DOUBLE"}:
        return number
    return wanted.strip().strip("'\"")


def _decimal(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _choice(known: Variable, text: str) -> str:
    if text.isascii() and text.isdecimal() and int(text) < len(known.values):
        return known.values[int(text)].upper()
    return text.upper()


def _choices(known: Variable, text: str) -> set[str]:
    if text.isascii() and text.isdecimal():
        bits = int(text)
        return {name.upper() for place, name in enumerate(known.values) if bits >> place & 1}
    return {part.strip().upper() for part in text.split(",") if part.strip()}


def _flags(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(",") if "=" in part)
    return {flag.strip().lower(): state.strip().lower() for flag, _, state in pairs}
