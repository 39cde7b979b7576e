"""What is rejected of tables and of the proxy, each problem with its field. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from operatorkit import Cause
from operatorkit.webhooks import invalid
from operators.mysql_sharding.api import MysqlClusterSpec, MysqlTable
from operators.mysql_sharding.proxy.buckets import is_bucket_schema
from operators.mysql_sharding.proxy.ddl import type_problem
from operators.mysql_sharding.proxy.objects import node_variables
from operators.mysql_sharding.server_variables import normalized, problem

__all__ = ["check_proxy", "check_table_changes", "check_tables"]

_RESERVED: Final = frozenset(
    {
        "bind_address",
        "defaults_file",
        "init_connect",
        "read_only",
        "server_id",
        "skip_grant_tables",
        "skip_networking",
        "spider_force_commit",
        "spider_internal_xa_snapshot",
        "spider_remote_autocommit",
        "spider_support_xa",
        "spider_xa_register_mode",
        "user",
    }
)
"""Variables of nodes that are rejected beside those of `node_variables`: a node could not be configured, or would
not end a transaction on all of its shards alike."""


def check_proxy(spec: MysqlClusterSpec) -> Iterator[Cause]:
    """Return the problems of the configuration of the nodes."""
    reserved = _RESERVED | node_variables().keys()
    config = spec.proxy.config if spec.proxy is not None else {}
    for name, value in sorted(config.items()):
        path = f"spec.proxy.config[{name}]"
        if normalized(name) in reserved:
            message = "belongs to the operator, which configures the nodes by it: remove it"
            yield invalid(path, value, message)
        elif wrong := problem(name, value, spider=True):
            yield invalid(path, value, wrong)
        elif not str(value).isprintable():
            yield invalid(path, value, "must be one line of printable characters")


def check_tables(spec: MysqlClusterSpec) -> Iterator[Cause]:
    """Return the problems of the tables of a cluster."""
    if spec.buckets < spec.shards:
        message = f"each shard needs a bucket: use {spec.shards} or more"
        yield invalid("spec.buckets", spec.buckets, message)
    if spec.tables and spec.proxy is None:
        message = "a table is served by the proxy: add spec.proxy"
        yield invalid("spec.tables", _shown(table.name for table in spec.tables), message)
    seen: set[tuple[str, str]] = set()
    for index, table in enumerate(spec.tables):
        path = f"spec.tables[{index}]"
        identity = (table.database.lower(), table.name.lower())
        if identity in seen:
            message = f"{table.database}.{table.name} is in the list before: remove one of them"
            yield invalid(f"{path}.name", table.name, message)
        seen.add(identity)
        if table.database not in spec.databases:
            message = "is not in spec.databases: add it there"
            yield invalid(f"{path}.database", table.database, message)
        yield from _table_problems(path, table)
    yield from _name_problems(spec)


def _name_problems(spec: MysqlClusterSpec) -> Iterator[Cause]:
    for database in sorted({table.database for table in spec.tables}):
        for index, name in enumerate(spec.databases):
            if is_bucket_schema(name, database):
                message = f"is a name of a bucket of {database}: choose another"
                yield invalid(f"spec.databases[{index}]", name, message)


def _table_problems(path: str, table: MysqlTable) -> Iterator[Cause]:
    names = [column.name for column in table.columns]
    for index, column in enumerate(table.columns):
        if (wrong := type_problem(column.type)) is not None:
            yield invalid(f"{path}.columns[{index}].type", column.type, wrong)
    for index, name in _repeated(names):
        yield invalid(f"{path}.columns[{index}].name", name, "is in the list before: remove it")
    for index, name in _repeated([key.name for key in table.keys]):
        yield invalid(f"{path}.keys[{index}].name", name, "is in the list before: remove it")
    if table.shard_key not in names:
        message = f"is no column of the table: use one of {', '.join(names)}"
        yield invalid(f"{path}.shardKey", table.shard_key, message)
        return
    yield from _key_problems(f"{path}.primaryKey", table, table.primary_key, unique=True)
    for index, key in enumerate(table.keys):
        where = f"{path}.keys[{index}].columns"
        yield from _key_problems(where, table, key.columns, unique=key.unique)


def _repeated(names: Sequence[str]) -> Iterator[tuple[int, str]]:
    counts: Counter[str] = Counter()
    for index, name in enumerate(names):
        counts[name.lower()] += 1
        if counts[name.lower()] > 1:
            yield index, name


def _key_problems(
    path: str, table: MysqlTable, columns: Sequence[str], *, unique: bool
) -> Iterator[Cause]:
    names = {column.name for column in table.columns}
    for index, name in enumerate(columns):
        if name not in names:
            message = f"is no column of {table.name}: add it to columns, or remove it here"
            yield invalid(f"{path}[{index}]", name, message)
    if unique and table.shard_key not in columns:
        yield invalid(
            path,
            list(columns),
            f"must contain the shard key {table.shard_key}: each bucket is checked by itself, and "
            "rows of equal values could be in two buckets",
        )


def check_table_changes(old: MysqlClusterSpec, new: MysqlClusterSpec) -> Iterator[Cause]:
    """Return the problems of a change of tables.

    What may fail on the rows of one bucket after another has it is not possible: only what can always be
    added is.
    """
    if new.buckets != old.buckets:
        message = f"is immutable, and was {old.buckets}: create another cluster, and copy"
        yield invalid("spec.buckets", new.buckets, message)
    before = {(table.database, table.name): table for table in old.tables}
    for index, table in enumerate(new.tables):
        was = before.get((table.database, table.name))
        if was is not None:
            yield from _changes(f"spec.tables[{index}]", was, table)


def _changes(path: str, old: MysqlTable, new: MysqlTable) -> Iterator[Cause]:
    if new.shard_key != old.shard_key:
        message = f"decides where each row is, and was {old.shard_key}: create another table"
        yield invalid(f"{path}.shardKey", new.shard_key, message)
    if new.primary_key != old.primary_key:
        message = f"is immutable, and was {old.primary_key}: create another table, and copy"
        yield invalid(f"{path}.primaryKey", new.primary_key, message)
    kept = new.columns[: len(old.columns)]
    if kept != old.columns:
        message = (
            "columns can be added at the end only; a change of one may fail on the rows of some "
            "buckets after others have it: create another table, and copy"
        )
        yield invalid(f"{path}.columns", _shown(column.name for column in new.columns), message)
        return
    for index, column in enumerate(new.columns[len(old.columns) :], len(old.columns)):
        text = column.type.upper()
        if "NOT NULL" in text and "DEFAULT" not in text:
            message = "rows that there are need a value: add DEFAULT, or remove NOT NULL"
            yield invalid(f"{path}.columns[{index}].type", column.type, message)
    had = {key.name.lower(): key for key in old.keys}
    if missing := had.keys() - {key.name.lower() for key in new.keys}:
        message = f"keys cannot be removed: keep {', '.join(sorted(missing))}"
        yield invalid(f"{path}.keys", _shown(key.name for key in new.keys), message)
    for index, key in enumerate(new.keys):
        was = had.get(key.name.lower())
        if was is None and key.unique:
            message = "rows of some buckets may violate it: a unique key is part of a new table"
            yield invalid(f"{path}.keys[{index}].unique", key.unique, message)
        elif was is not None and was != key:
            message = "is immutable: add a key of another name"
            yield invalid(f"{path}.keys[{index}].name", key.name, message)


def _shown(names: Iterable[str]) -> str:
    return ", ".join(names)
