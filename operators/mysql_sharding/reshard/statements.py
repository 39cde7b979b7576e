"""The SQL of a move: names of its tables, triggers, and rows as literals. Values only.

A row travels as text that each server writes and reads without loss: strings and bytes in
hexadecimal digits with their character set, FLOAT as DOUBLE (its own text has six digits), times in
UTC, members of ENUM and SET by number, which is also the order of a key.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from operatorkit.errors import InputError
from operators.mysql_sharding.api import Column, MysqlTable
from operators.mysql_sharding.proxy.buckets import schema_of
from operators.mysql_sharding.sql import quoted

__all__ = ["Literal", "TableMove"]

Literal = str
"""A value of a column as it is written in a statement."""

_NUMBERS: Final = frozenset(
    [
        "TINYINT",
        "SMALLINT",
        "MEDIUMINT",
        "INT",
        "BIGINT",
        "INTEGER",
        "BOOL",
        "BOOLEAN",
        "DECIMAL",
        "NUMERIC",
        "YEAR",
    ]
)
_INDEXED: Final = frozenset({"BIT", "ENUM", "SET"})
_QUOTED: Final = frozenset(["DATE", "TIME", "DATETIME", "TIMESTAMP", "UUID", "INET4", "INET6"])
_BYTES: Final = frozenset(["BINARY", "VARBINARY", "TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB"])
_CHARSET: Final = re.compile(r"CHARACTER SET (\w+)", re.IGNORECASE)
_COLLATION: Final = re.compile(r"COLLATE ([a-z0-9]+)_", re.IGNORECASE)
_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?", re.IGNORECASE)
_PLAIN: Final = re.compile(r"[0-9A-Za-z:. +-]*")
_HEX: Final = re.compile(r"(?:[0-9A-F]{2})*")


class _Kind(Enum):
    NUMBER = auto()
    REAL = auto()
    INDEXED = auto()
    QUOTED = auto()
    BYTES = auto()
    TEXT = auto()


def _kind(column: Column) -> _Kind:
    word = re.split(r"[ (]", column.type.upper(), maxsplit=1)[0]
    if word in _NUMBERS:
        return _Kind.NUMBER
    if word in {"FLOAT", "DOUBLE"}:
        return _Kind.REAL
    if word in _INDEXED:
        return _Kind.INDEXED
    if word in _QUOTED:
        return _Kind.QUOTED
    return _Kind.BYTES if word in _BYTES else _Kind.TEXT


def _charset(column: Column) -> str:
    if (found := _CHARSET.search(column.type)) is not None:
        return found[1].lower()
    if (found := _COLLATION.search(column.type)) is not None:
        return "utf8mb4" if found[1].lower() == "uca1400" else found[1].lower()
    return "utf8mb4"


def _expression(column: Column) -> str:
    """Return what is selected of a column."""
    name = quoted(column.name)
    match _kind(column):
        case _Kind.REAL:
            return f"CAST(CAST({name} AS DOUBLE) AS CHAR)"
        case _Kind.INDEXED:
            return f"CAST({name} + 0 AS CHAR)"
        case _Kind.BYTES | _Kind.TEXT:
            return f"HEX({name})"
        case _:
            return f"CAST({name} AS CHAR)"


def _literal(column: Column, value: str | None) -> Literal:
    """Return a value as selected by `_expression` as a literal. Raises InputError."""
    if value is None:
        return "NULL"
    match _kind(column):
        case _Kind.NUMBER | _Kind.INDEXED if _NUMBER.fullmatch(value):
            return value
        case _Kind.REAL if _NUMBER.fullmatch(value):
            return value if "e" in value.lower() else f"{value}e0"
        case _Kind.QUOTED if _PLAIN.fullmatch(value):
            return f"'{value}'"
        case _Kind.BYTES if _HEX.fullmatch(value):
            return f"X'{value}'"
        case _Kind.TEXT if _HEX.fullmatch(value):
            return f"_{_charset(column)} X'{value}'"
    raise InputError(f"column {column.name}: {value!r} is no value of {column.type}")


@dataclass(frozen=True, slots=True)
class TableMove:
    """One table of a bucket that moves: `number` is that of the move.

    On the source there are the `log` of changes, filled by triggers, and the table itself, later
    under the name `fenced`; on the target the copy under the name `staged`, and the placeholder,
    later under the name `replaced`. All are in the schema of the bucket.
    """

    table: MysqlTable
    bucket: int
    number: int

    @property
    def schema(self) -> str:
        """The schema of the bucket, on both shards."""
        return schema_of(self.table.database, self.bucket)

    def _own(self, kind: str) -> str:
        name = hashlib.sha256(self.table.name.encode()).hexdigest()[:12]
        return f"zzz_operatorkit_{kind}{self.number}_{name}"

    @property
    def staged(self) -> str:
        """Name of the copy."""
        return self._own("staged")

    @property
    def replaced(self) -> str:
        """Name that the placeholder gets."""
        return self._own("replaced")

    @property
    def fenced(self) -> str:
        """Name that the table gets on the source."""
        return self._own("fenced")

    @property
    def log(self) -> str:
        """Name of the log of changes."""
        return self._own("log")

    @property
    def mark(self) -> str:
        """Comment of the placeholder."""
        return f"operatorkit placeholder {self.number}"

    def named(self, name: str) -> str:
        """Return a name in the schema of the bucket, quoted."""
        return f"{quoted(self.schema)}.{quoted(name)}"

    # definitions -----------------------------------------------------------------------------------

    def create_placeholder(self) -> str:
        """Return the statement for a table that no statement of an application fits."""
        return (
            f"CREATE TABLE IF NOT EXISTS {self.named(self.table.name)}"
            f" (operatorkit_placeholder INT PRIMARY KEY) ENGINE=InnoDB COMMENT='{self.mark}'"
        )

    def create_log(self) -> str:
        """Return the statement for the log: a number, and the primary key of the changed row."""
        columns = ", ".join(f"{quoted(one.name)} {one.type}" for one in self._key)
        return (
            f"CREATE TABLE {self.named(self.log)} (operatorkit_id BIGINT UNSIGNED AUTO_INCREMENT"
            f" PRIMARY KEY, {columns}) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"
            " COLLATE=utf8mb4_general_ci"
        )

    @property
    def triggers(self) -> dict[str, str]:
        """The statements that create the triggers, by name. A changed key is logged twice."""
        names = ", ".join(quoted(one.name) for one in self._key)
        old = ", ".join(f"OLD.{quoted(one.name)}" for one in self._key)
        new = ", ".join(f"NEW.{quoted(one.name)}" for one in self._key)
        rows = {"INSERT": f"({new})", "UPDATE": f"({old}), ({new})", "DELETE": f"({old})"}
        table = self.named(self.table.name)
        insert = f"INSERT INTO {self.named(self.log)} ({names}) VALUES"
        made = {}
        for event, values in rows.items():
            name = f"{self.log}_{event[0].lower()}"
            when = f"AFTER {event} ON {table} FOR EACH ROW"
            made[name] = f"CREATE TRIGGER {self.named(name)} {when} {insert} {values}"
        return made

    # rows ------------------------------------------------------------------------------------------

    @property
    def _key(self) -> list[Column]:
        known = {column.name: column for column in self.table.columns}
        return [known[name] for name in self.table.primary_key]

    def select(self, name: str, *, after: Sequence[Literal] | None, limit: int) -> str:
        """Return the statement that reads rows in the order of the key, behind the key `after`."""
        where = f" WHERE {self._behind(after)}" if after is not None else ""
        order = ", ".join(quoted(one.name) for one in self._key)
        return f"{self._select(name)}{where} ORDER BY {order} LIMIT {limit}"

    def select_keys(self, name: str, keys: Iterable[Sequence[Literal]]) -> str:
        """Return the statement that reads the rows that have one of the keys."""
        return f"{self._select(name)} WHERE {self._among(keys)}"

    def last_key(self, name: str) -> str:
        """Return the statement that reads the greatest key."""
        order = ", ".join(f"{quoted(one.name)} DESC" for one in self._key)
        parts = [f"{_expression(one)} AS k{number}" for number, one in enumerate(self._key)]
        return f"SELECT {', '.join(parts)} FROM {self.named(name)} ORDER BY {order} LIMIT 1"  # noqa: S608

    def read_log(self, limit: int) -> str:
        """Return the statement that reads changed keys, oldest first."""
        parts = [f"{_expression(one)} AS k{number}" for number, one in enumerate(self._key)]
        return (
            f"SELECT operatorkit_id AS id, {', '.join(parts)} FROM {self.named(self.log)}"  # noqa: S608
            f" ORDER BY operatorkit_id LIMIT {limit}"
        )

    def count_log(self, limit: int) -> str:
        """Return the statement that counts changes, up to a limit."""
        return (
            f"SELECT COUNT(*) AS n FROM (SELECT 1 FROM {self.named(self.log)} LIMIT {limit}) AS t"  # noqa: S608
        )

    def forget(self, numbers: Iterable[int]) -> str:
        """Return the statement that removes changes from the log."""
        among = ", ".join(str(number) for number in numbers)
        return f"DELETE FROM {self.named(self.log)} WHERE operatorkit_id IN ({among})"  # noqa: S608

    def delete(self, name: str, keys: Iterable[Sequence[Literal]]) -> str:
        """Return the statement that deletes the rows that have one of the keys."""
        return f"DELETE FROM {self.named(name)} WHERE {self._among(keys)}"  # noqa: S608

    def replace(self, name: str, rows: Iterable[Sequence[Literal]]) -> str:
        """Return the statement that writes rows in the place of those with equal keys."""
        columns = ", ".join(quoted(one.name) for one in self.table.columns)
        values = ", ".join(f"({', '.join(row)})" for row in rows)
        return f"REPLACE INTO {self.named(name)} ({columns}) VALUES {values}"  # noqa: S608

    def row(self, found: Sequence[str | None]) -> list[Literal]:
        """Return a row that was read, as literals. Raises InputError."""
        pairs = zip(self.table.columns, found, strict=True)
        return [_literal(column, value) for column, value in pairs]

    def key(self, found: Sequence[str | None]) -> tuple[Literal, ...]:
        """Return a key that was read, as literals. Raises InputError."""
        pairs = zip(self._key, found, strict=True)
        return tuple(_literal(column, value) for column, value in pairs)

    def key_of(self, row: Sequence[Literal]) -> tuple[Literal, ...]:
        """Return the key of a row."""
        places = [column.name for column in self.table.columns]
        return tuple(row[places.index(one.name)] for one in self._key)

    def _select(self, name: str) -> str:
        parts = [f"{_expression(one)} AS c{n}" for n, one in enumerate(self.table.columns)]
        return f"SELECT {', '.join(parts)} FROM {self.named(name)}"  # noqa: S608

    def _behind(self, key: Sequence[Literal]) -> str:
        """Return the condition for keys behind one, in a form for which the server uses the index."""
        names = [quoted(one.name) for one in self._key]
        ways = []
        for place, name in enumerate(names):
            equal = [f"{names[n]} = {key[n]}" for n in range(place)]
            ways.append(" AND ".join([*equal, f"{name} > {key[place]}"]))
        return f"{names[0]} >= {key[0]} AND (({') OR ('.join(ways)}))"

    def _among(self, keys: Iterable[Sequence[Literal]]) -> str:
        names = [quoted(one.name) for one in self._key]
        if len(names) == 1:
            return f"{names[0]} IN ({', '.join(key[0] for key in keys)})"
        ways = [" AND ".join(f"{n} = {v}" for n, v in zip(names, key, strict=True)) for key in keys]
        return f"(({') OR ('.join(ways)}))"
