"""What MariaDB accepts in its option file: names, types, ranges, and what changes without a restart.

What belongs here: the rules of the server, from the table that tools/mariadb_variables.py derives
from an installed one. What does not: which variables a user may set (`admission`). Pure, but for
the table, which is read once from this package.

Source: information_schema.SYSTEM_VARIABLES, https://mariadb.com/kb/en/server-system-variables/
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType

__all__ = ["Variable", "normalized", "option_names", "problem", "variables"]

_SUFFIXES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "P": 2**50, "E": 2**60}
_BOOLEANS = frozenset({"ON", "OFF", "TRUE", "FALSE", "1", "0"})

INSTEAD = MappingProxyType(
    {
        "default_authentication_plugin": "no variable: the accounts of `users` choose their plugin",
        "enforce_gtid_consistency": "no variable: MariaDB logs every transaction with a GTID",
        "gtid_mode": "gtid_strict_mode",
        "innodb_buffer_pool_instances": "no variable: MariaDB has one buffer pool",
        "innodb_dedicated_server": "innodb_buffer_pool_size and innodb_log_file_size",
        "innodb_file_format": "no variable: there is one file format",
        "innodb_large_prefix": "no variable: it is always on",
        "innodb_locks_unsafe_for_binlog": "transaction_isolation READ-COMMITTED",
        "innodb_log_files_in_group": "innodb_log_file_size",
        "innodb_redo_log_capacity": "innodb_log_file_size",
        "innodb_support_xa": "no variable: it is always on",
        "innodb_thread_concurrency": "thread_pool_size",
        "replica_parallel_workers": "slave_parallel_threads",
        "rpl_semi_sync_source_enabled": "rpl_semi_sync_master_enabled",
        "super_read_only": "read_only",
    }
)
"""Variables of MySQL, and of earlier versions of MariaDB, and what there is in their place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One variable: `type` as SYSTEM_VARIABLES names it, "OPTION" for one of the command line only.

    `dynamic` says that SET GLOBAL changes it; otherwise the server restarts. `option` says that it
    may stand in an option file. `values` are those of an ENUM, a SET or a FLAGSET.
    """

    name: str
    type: str
    dynamic: bool
    option: bool
    minimum: float | None = None
    maximum: float | None = None
    values: tuple[str, ...] = ()


@cache
def variables(*, spider: bool = False) -> MappingProxyType[str, Variable]:
    """Return all variables by name, with underscores; on request with those of the Spider engine."""
    if spider:
        return MappingProxyType({**variables(), **_table("spider_variables.json")})
    return _table("mariadb_variables.json")


def _table(file: str) -> MappingProxyType[str, Variable]:
    text = resources.files(__package__).joinpath(file).read_text("utf-8")
    table = json.loads(text)["variables"]
    return MappingProxyType(
        {
            name: Variable(name=name, **(row | {"values": tuple(row.get("values", ()))}))
            for name, row in table.items()
        }
    )


@cache
def option_names() -> frozenset[str]:
    """Return the names that the server accepts in its option file, with underscores."""
    return frozenset(name for name, known in variables().items() if known.option)


def normalized(name: str) -> str:
    """Return the name with underscores and in lower case, as MariaDB reads it."""
    return name.strip().replace("-", "_").lower()


def problem(name: str, value: str | int, *, spider: bool = False) -> str:
    """Return why the server would not start with a variable, or not as written; "" where it would.

    `spider` says that it has the Spider engine. The message names the variable, what was found and
    what is expected.
    """
    plain = normalized(name)
    known = variables(spider=spider).get(plain)
    if known is None:
        return _unknown(name, plain, variables(spider=spider))
    if not known.option:
        return (
            f"{name} cannot be set in an option file: it belongs to a session or is reported only"
        )
    wrong = _wrong_value(known, str(value).strip())
    return f"{name}: {wrong}" if wrong else ""


def _unknown(name: str, plain: str, known: Iterable[str]) -> str:
    if plain in INSTEAD:
        return f"MariaDB has no variable {name}; use {INSTEAD[plain]}"
    close = difflib.get_close_matches(plain, known, n=1, cutoff=0.8)
    return f"MariaDB has no variable {name}" + (f"; did you mean {close[0]}?" if close else "")


def _wrong_value(known: Variable, value: str) -> str:
    if "\n" in value or "\r" in value:
        return "a value has one line"
    if "INT" in known.type:
        return _wrong_number(known, _whole(value), value)
    if known.type == "DOUBLE":
        return _wrong_number(known, _decimal(value), value)
    if known.type == "BOOLEAN":
        return "" if value.upper() in _BOOLEANS else f"expected ON or OFF, found {value!r}"
    if known.type == "ENUM":
        return _wrong_choice(known, value)
    if known.type == "SET":
        items = [part.strip() for part in value.split(",") if part.strip()]
        return next((wrong for item in items if (wrong := _wrong_choice(known, item))), "")
    if known.type == "FLAGSET":
        return next((wrong for item in value.split(",") if (wrong := _wrong_flag(known, item))), "")
    return ""


def _whole(value: str) -> int | None:
    found = re.fullmatch(r"([+-]?\d+)([KMGTPE]?)", value, re.ASCII | re.IGNORECASE)
    return int(found[1]) * _SUFFIXES[found[2].upper()] if found else None


def _decimal(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _wrong_number(known: Variable, number: float | None, value: str) -> str:
    kind = "a number" if known.type == "DOUBLE" else "a whole number, such as 512 or 16M"
    if number is None:
        return f"expected {kind}, found {value!r}"
    if known.minimum is not None and number < known.minimum:
        return f"expected at least {known.minimum}, found {value}"
    if known.maximum is not None and number > known.maximum:
        return f"expected at most {known.maximum}, found {value}"
    return ""


def _wrong_choice(known: Variable, value: str) -> str:
    """Return what is wrong with one of several names; each has a number too, its place."""
    names = {each.upper() for each in known.values}
    numbered = value.isascii() and value.isdecimal()
    if value.upper() in names or (numbered and _numbers(known, int(value))):
        return ""
    return f"expected {_listed(known.values)}, found {value!r}"


def _numbers(known: Variable, number: int) -> bool:
    return number < (2 ** len(known.values) if known.type == "SET" else len(known.values))


def _wrong_flag(known: Variable, item: str) -> str:
    flag, equals, state = (part.strip() for part in item.partition("="))
    if not equals and flag.lower() == "default":
        return ""
    if flag.lower() not in {each.lower() for each in known.values}:
        close = difflib.get_close_matches(flag, known.values, n=1)
        return f"it has no flag {flag!r}" + (f"; did you mean {close[0]}?" if close else "")
    if state.lower() not in {"on", "off", "default"}:
        return f"the flag {flag} is on, off or default, found {state!r}"
    return ""


def _listed(values: tuple[str, ...]) -> str:
    shown = ", ".join(values[:12])
    return f"one of {shown}" + (", ..." if len(values) > 12 else "")
