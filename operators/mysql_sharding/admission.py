"""Admission of clusters and shards: what cannot work is rejected before it is stored, each problem with its field.

What belongs here: checks across fields, and those of changes. What does not: what the schema says (`api`). Pure, but
for the declaration.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, Final

from kubernetes.utils.quantity import parse_quantity

from operatorkit import AdmissionRequest, Allowed, Cause, Denied
from operatorkit.names import dns_label_error
from operatorkit.webhooks import invalid
from operators.mysql_sharding.api import (
    MysqlCluster,
    MysqlClusterSpec,
    MysqlDatabase,
    MysqlDatabaseSpec,
    MysqlUser,
    RestoreFrom,
    ShardTemplate,
)
from operators.mysql_sharding.app import app
from operators.mysql_sharding.backup.check import check_policy
from operators.mysql_sharding.objects import OPERATOR_USER, SYSTEM_USERS, server_variables
from operators.mysql_sharding.proxy.buckets import moving
from operators.mysql_sharding.proxy.ddl import digest_of_tables
from operators.mysql_sharding.proxy.tables import check_proxy, check_table_changes, check_tables
from operators.mysql_sharding.server_variables import problem

__all__ = [
    "check_change",
    "check_cluster",
    "check_moving",
    "check_shard",
    "describe",
    "validate_cluster",
    "validate_shard",
]

_NAME_MAX_LENGTH: Final = 45
"""Of a shard: the names of its pods, with hash labels and suffixes, must fit into 63 characters."""
_PRIVILEGES: Final = frozenset(
    {
        "ALTER",
        "ALTER ROUTINE",
        "CREATE",
        "CREATE ROUTINE",
        "CREATE TEMPORARY TABLES",
        "CREATE VIEW",
        "DELETE",
        "DELETE HISTORY",
        "DROP",
        "EVENT",
        "EXECUTE",
        "INDEX",
        "INSERT",
        "LOCK TABLES",
        "REFERENCES",
        "SELECT",
        "SHOW VIEW",
        "TRIGGER",
        "UPDATE",
    }
)
_PASS_READ_ONLY: Final = frozenset(
    {"ALL", "ALL PRIVILEGES", "SUPER", "READ_ONLY ADMIN", "READ ONLY ADMIN"}
)
_SYSTEM_DATABASES: Final = frozenset(
    {"mysql", "sys", "performance_schema", "information_schema", "operatorkit"}
)
_OTHERS: Final = frozenset(
    {
        "bind_address",
        "binlog_expire_logs_seconds",
        "defaults_file",
        "expire_logs_days",
        "gtid_binlog_state",
        "gtid_slave_pos",
        "init_connect",
        "init_slave",
        "replicate_do_db",
        "replicate_do_table",
        "replicate_ignore_db",
        "replicate_ignore_table",
        "replicate_wild_do_table",
        "replicate_wild_ignore_table",
        "report_host",
        "rpl_semi_sync_master_enabled",
        "rpl_semi_sync_master_timeout",
        "rpl_semi_sync_master_wait_no_slave",
        "rpl_semi_sync_master_wait_point",
        "rpl_semi_sync_slave_enabled",
        "rpl_semi_sync_slave_kill_conn_timeout",
        "init_rpl_role",
        "server_id",
        "skip_grant_tables",
        "skip_log_bin",
        "skip_networking",
        "slave_skip_errors",
        "sql_log_bin",
        "user",
        "wsrep_on",
    }
)
"""Variables that are rejected beside those of `server_variables`: each would make replication miss a write.

A member whose data is deleted replicates everything again, so that no binary log may expire.
"""


@app.validate(MysqlCluster)
async def validate_cluster(
    new: MysqlCluster, old: MysqlCluster | None, request: AdmissionRequest
) -> Allowed | Denied:
    """Reject a cluster that cannot work, with all its problems at once."""
    del request
    if new.metadata.deletion_timestamp is not None or (old is not None and old.spec == new.spec):
        return Allowed()
    causes = [*check_cluster(new), *(check_change(old.spec, new.spec) if old is not None else ())]
    if old is not None:
        causes += check_moving(old, new)
    return Denied(*causes) if causes else Allowed()


@app.validate(MysqlDatabase)
async def validate_shard(
    new: MysqlDatabase, old: MysqlDatabase | None, request: AdmissionRequest
) -> Allowed | Denied:
    """Reject a shard that cannot work, with all its problems at once."""
    del request
    if new.metadata.deletion_timestamp is not None or (old is not None and old.spec == new.spec):
        return Allowed()
    causes = [*check_shard(new), *(check_change(old.spec, new.spec) if old is not None else ())]
    return Denied(*causes) if causes else Allowed()


def describe(causes: Sequence[Cause]) -> str:
    """Return all problems in one line."""
    return "; ".join(f"{cause.field}: {cause.message}" for cause in causes)


def check_cluster(cluster: MysqlCluster) -> list[Cause]:
    """Return the problems of a cluster by itself."""
    last = f"{cluster.metadata.name}{cluster.spec.shards - 1}"
    return [
        *_name_problems(cluster.metadata.name, last),
        *_template_problems(cluster.spec),
        *_restore_problems(cluster.spec.restore_from),
        *check_policy(cluster.metadata.name, cluster.spec.backup),
        *check_tables(cluster.spec),
        *check_proxy(cluster.spec),
    ]


def check_shard(shard: MysqlDatabase) -> list[Cause]:
    """Return the problems of a shard by itself."""
    name = shard.metadata.name
    return [
        *_name_problems(name, name),
        *_template_problems(shard.spec),
        *_switchover_problems(shard.metadata.name, shard.spec),
    ]


def check_change(old: ShardTemplate, new: ShardTemplate) -> list[Cause]:
    """Return the problems of a change of a stored object."""
    causes = []
    before, after = old.storage, new.storage
    if parse_quantity(str(after.size)) < parse_quantity(str(before.size)):
        message = f"volumes cannot shrink: it was {before.size}, keep it"
        causes.append(invalid("spec.storage.size", str(after.size), message))
    if after.class_name != before.class_name:
        message = f"is immutable, and was {before.class_name!r}: create another object"
        causes.append(invalid("spec.storage.className", after.class_name, message))
    if isinstance(old, MysqlClusterSpec) and isinstance(new, MysqlClusterSpec):
        causes += _removed_shards(old, new)
        causes += check_table_changes(old, new)
    causes += _changed_origin(old, new)
    return causes


def check_moving(old: MysqlCluster, new: MysqlCluster) -> Iterator[Cause]:
    """Return the problems of a change while a bucket is being moved."""
    moved = moving(old.status)
    if moved is None:
        return
    waiting = (
        f"bucket {moved} is being moved, with the tables as they are: set updateStrategy.paused to true, "
        "wait until status.reshard.step is Waiting, change the tables, and set it to false"
    )
    if digest_of_tables(old.spec.tables) != digest_of_tables(new.spec.tables):
        names = ", ".join(f"{one.database}.{one.name}" for one in new.spec.tables)
        yield invalid("spec.tables", names, waiting)
    if old.spec.proxy is not None and new.spec.proxy is None:
        message = f"bucket {moved} is being moved: wait until status.reshard.step is Complete"
        yield invalid("spec.proxy", "null", message)


def _changed_origin(old: ShardTemplate, new: ShardTemplate) -> Iterator[Cause]:
    if not isinstance(new, MysqlClusterSpec | MysqlDatabaseSpec) or type(old) is not type(new):
        return
    if getattr(old, "restore_from", None) != new.restore_from:
        found = new.restore_from
        value = found.model_dump(exclude_none=True) if found is not None else ""
        message = "is immutable, since the data is there: create another cluster from the backup"
        yield invalid("spec.restoreFrom", str(value), message)


def _restore_problems(source: RestoreFrom | None) -> Iterator[Cause]:
    if source is None:
        return
    given = source.model_dump(exclude_none=True).keys() - {"pointInTime"}
    if given not in ({"backup"}, {"claim", "path"}):
        found = ", ".join(given) or "nothing"
        message = f"give backup, or both claim and path: it has {found}"
        yield invalid("spec.restoreFrom", found, message)


def _removed_shards(old: MysqlClusterSpec, new: MysqlClusterSpec) -> Iterator[Cause]:
    if new.shards < old.shards:
        message = (
            "shards cannot be removed, since their data would be too: use "
            f"{old.shards} or more; for fewer, copy into another cluster"
        )
        yield invalid("spec.shards", new.shards, message)


def _name_problems(name: str, longest: str) -> Iterator[Cause]:
    error = dns_label_error(name)
    if error is not None:
        yield invalid("metadata.name", name, f"{error}; it names Services")
    elif len(longest) > _NAME_MAX_LENGTH:
        yield invalid(
            "metadata.name",
            name,
            f"names of shards such as {longest} may have {_NAME_MAX_LENGTH} characters at most: "
            "choose a shorter name",
        )


def _template_problems(spec: ShardTemplate) -> Iterator[Cause]:
    yield from _config_problems(spec.config)
    for index, name in enumerate(spec.databases):
        if name.lower() in _SYSTEM_DATABASES:
            yield invalid(
                f"spec.databases[{index}]", name, "is a database of the server itself: remove it"
            )
    for index, user in enumerate(spec.users):
        yield from _user_problems(f"spec.users[{index}]", user, spec)


def _config_problems(config: dict[str, Any]) -> Iterator[Cause]:
    reserved = {*server_variables(MysqlDatabase(spec=MysqlDatabaseSpec())), *_OTHERS}
    for name, value in sorted(config.items()):
        path = f"spec.config[{name}]"
        if name in reserved:
            yield invalid(
                path,
                value,
                "belongs to the operator, which keeps acknowledged writes safe by it: remove it",
            )
        elif wrong := problem(name, value):
            yield invalid(path, value, wrong)
        elif not str(value).isprintable():
            yield invalid(path, value, "must be one line of printable characters")


def _user_problems(path: str, user: MysqlUser, spec: ShardTemplate) -> Iterator[Cause]:
    if user.name == "root" or user.name in SYSTEM_USERS or user.name.startswith(OPERATOR_USER):
        yield invalid(f"{path}.name", user.name, "is reserved for the server and the operator")
    for index, privilege in enumerate(user.privileges):
        name = privilege.upper()
        where = f"{path}.privileges[{index}]"
        if name in _PASS_READ_ONLY:
            yield invalid(
                where,
                privilege,
                "passes read_only, so that a write on a replica would be lost: list the privileges "
                "that the application needs",
            )
        elif name not in _PRIVILEGES:
            close = difflib.get_close_matches(name, _PRIVILEGES, n=1)
            hint = (
                f": did you mean {close[0]}?"
                if close
                else f": use {', '.join(sorted(_PRIVILEGES))}"
            )
            yield invalid(where, privilege, f"is no privilege on a database{hint}")
    for index, name in enumerate(user.databases):
        if name not in spec.databases:
            yield invalid(
                f"{path}.databases[{index}]", name, "is not in spec.databases: add it there"
            )


def _switchover_problems(shard: str, spec: MysqlDatabaseSpec) -> Iterator[Cause]:
    names = [f"{shard}-{ordinal}" for ordinal in range(spec.replicas)]
    if spec.switchover_to and spec.switchover_to not in names:
        yield invalid(
            "spec.switchoverTo", spec.switchover_to, f"is no member: use one of {', '.join(names)}"
        )
