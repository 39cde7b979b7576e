"""Statements that create and change tables, on the shards and on the nodes. Values only.

A table on a shard carries a fingerprint of its definition as its comment. The same statement that
changes the columns writes it, so that what there is can be compared exactly: MariaDB shows a type in
words of its own (BIGINT as bigint(20)), which say nothing about equality.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from operatorkit.errors import InputError
from operators.mysql_sharding.api import MysqlTable, TableKey
from operators.mysql_sharding.proxy.buckets import schema_of, server_of
from operators.mysql_sharding.sql import quoted

__all__ = [
    "BucketTable",
    "alter_bucket_table",
    "bucket_statement",
    "create_bucket_table",
    "create_node_table",
    "digest_of_tables",
    "fingerprint",
    "type_problem",
]

_OPTIONS: Final = "DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci"
"""The same everywhere: a node hashes the shard key by its collation."""
_TEXT: Final = r"'(?:[^'\\\x00-\x1f]|'')*'"
_TYPE: Final = re.compile(
    r"(?:(?:TINY|SMALL|MEDIUM|BIG)?INT|INTEGER|BOOL|BOOLEAN|DECIMAL|NUMERIC|FLOAT|DOUBLE|BIT"
    r"|DATE|TIME|DATETIME|TIMESTAMP|YEAR|CHAR|VARCHAR|BINARY|VARBINARY"
    r"|(?:TINY|MEDIUM|LONG)?(?:BLOB|TEXT)|JSON|UUID|INET4|INET6|ENUM|SET)"
    rf"(?:\((?:\d+(?: *, *\d+)?|{_TEXT}(?: *, *{_TEXT})*)\))?"
    r"(?: UNSIGNED)?"
    r"(?: CHARACTER SET \w+)?(?: COLLATE \w+)?"
    r"(?: NOT NULL| NULL)?"
    rf"(?: DEFAULT (?:NULL|-?\d+(?:\.\d+)?|{_TEXT}|CURRENT_TIMESTAMP(?:\(\d?\))?))?"
    r"(?: ON UPDATE CURRENT_TIMESTAMP(?:\(\d?\))?)?",
    re.IGNORECASE,
)


def type_problem(text: str) -> str | None:
    """Return why a type cannot be used, None where it can."""
    if re.search(r"\bAUTO_INCREMENT\b", text, re.IGNORECASE):
        return "AUTO_INCREMENT counts within one bucket only: let clients choose the value"
    if not _TYPE.fullmatch(text):
        return (
            "is no type that is supported: write a type of MariaDB, then in this order UNSIGNED, "
            "CHARACTER SET, COLLATE, NOT NULL, DEFAULT and a literal or CURRENT_TIMESTAMP, ON UPDATE"
        )
    return None


def fingerprint(table: MysqlTable) -> str:
    """Return the comment of a table, which shows whether it is as its definition."""
    ordered = table.model_copy(update={"keys": sorted(table.keys, key=lambda key: key.name)})
    digest = hashlib.sha256(ordered.model_dump_json().encode()).hexdigest()
    return f"operatorkit {digest[:32]}"


def digest_of_tables(tables: Iterable[MysqlTable]) -> str:
    """Return what changes with any definition of a table."""
    content = sorted((one.database, one.name, fingerprint(one)) for one in tables)
    return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class BucketTable:
    """A table in a bucket, as it is on a shard."""

    columns: tuple[str, ...]
    keys: frozenset[str]
    comment: str


def bucket_statement(table: MysqlTable, bucket: int, found: BucketTable | None) -> str | None:
    """Return the statement that makes a table in a bucket what it shall be, None where it is.

    Raises InputError for a table that is no earlier form of the definition.
    """
    if found is None:
        return create_bucket_table(table, bucket)
    if found.comment == fingerprint(table):
        return None
    known = [key for key in table.keys if key.name.lower() in found.keys]
    columns = table.columns[: len(found.columns)]
    earlier = table.model_copy(update={"columns": columns, "keys": known})
    if found.comment != fingerprint(earlier):
        name = f"{schema_of(table.database, bucket)}.{table.name}"
        raise InputError(f"{name} has another definition: drop it, or restore spec.tables")
    return alter_bucket_table(table, bucket, found.columns, found.keys)


def _columns(names: Collection[str]) -> str:
    return ", ".join(quoted(name) for name in names)


def _key(key: TableKey) -> str:
    return f"{'UNIQUE ' if key.unique else ''}KEY {quoted(key.name)} ({_columns(key.columns)})"


def _body(table: MysqlTable) -> str:
    parts = [f"{quoted(column.name)} {column.type}" for column in table.columns]
    parts.append(f"PRIMARY KEY ({_columns(table.primary_key)})")
    parts += [_key(key) for key in table.keys]
    return ", ".join(parts)


def create_bucket_table(table: MysqlTable, bucket: int, name: str = "") -> str:
    """Return the statement that creates a table in a bucket, on a shard, under its own name or another."""
    name = f"{quoted(schema_of(table.database, bucket))}.{quoted(name or table.name)}"
    return (
        f"CREATE TABLE {name} ({_body(table)}) ENGINE=InnoDB {_OPTIONS}"
        f" COMMENT='{fingerprint(table)}'"
    )


def alter_bucket_table(
    table: MysqlTable, bucket: int, columns: Collection[str], keys: Collection[str]
) -> str:
    """Return the statement that adds what a table in a bucket lacks, given its columns and keys.

    One statement: a server that dies within it has all of it afterwards, or none.
    """
    name = f"{quoted(schema_of(table.database, bucket))}.{quoted(table.name)}"
    has = {column.lower() for column in columns}
    has_keys = {key.lower() for key in keys}
    changes = [
        f"ADD COLUMN {quoted(column.name)} {column.type}"
        for column in table.columns
        if column.name.lower() not in has
    ]
    changes += [f"ADD {_key(key)}" for key in table.keys if key.name.lower() not in has_keys]
    changes.append(f"COMMENT='{fingerprint(table)}'")
    return f"ALTER TABLE {name} {', '.join(changes)}"


def create_node_table(table: MysqlTable, buckets: int) -> str:
    """Return the statement that creates a table on a node, or replaces it: it holds no rows.

    The algorithm of the hash is written out: one that another version chose would look for a row in
    another bucket than it is in.
    """
    partitions = ", ".join(
        f'PARTITION {server_of(bucket)} COMMENT \'srv "{server_of(bucket)}",'
        f' database "{schema_of(table.database, bucket)}"\' ENGINE=SPIDER'
        for bucket in range(buckets)
    )
    return (
        f"CREATE OR REPLACE TABLE {quoted(table.database)}.{quoted(table.name)} ({_body(table)})"
        f' ENGINE=SPIDER {_OPTIONS} COMMENT=\'wrapper "mysql", table "{table.name}"\''
        f" PARTITION BY KEY ALGORITHM=2 ({quoted(table.shard_key)}) ({partitions})"
    )
