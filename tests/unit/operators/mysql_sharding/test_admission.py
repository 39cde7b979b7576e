"""What is rejected before it is stored, each with its field."""

from __future__ import annotations

import pytest

from operatorkit.resource import ObjectMeta
from operators.mysql_sharding.admission import check_change, check_cluster, check_shard
from operators.mysql_sharding.api import (
    MysqlCluster,
    MysqlClusterSpec,
    MysqlDatabase,
    MysqlDatabaseSpec,
    MysqlUser,
    RestoreFrom,
    SecretKey,
    Storage,
)


def shard(name="shop0", **spec):
    return MysqlDatabase(metadata=ObjectMeta(name=name), spec=MysqlDatabaseSpec(**spec))


def user(name="app", privileges=("SELECT",), databases=("shop",)):
    return MysqlUser(
        name=name, password_from=SecretKey(name="app"), privileges=list(privileges), databases=list(databases)
    )


def problems(one):
    return [f"{cause.field}: {cause.message}" for cause in check_shard(one)]


def test_a_good_shard_has_no_problem():
    assert problems(shard(databases=["shop"], users=[user()], config={"max_connections": 100})) == []


@pytest.mark.parametrize(
    ("spec", "field", "words"),
    [
        ({"config": {"max_connection": 1}}, "spec.config[max_connection]", "did you mean max_connections?"),
        ({"config": {"zzzzzz": 1}}, "spec.config[zzzzzz]", "MariaDB has no variable zzzzzz"),
        ({"config": {"max_connections": 1}}, "spec.config[max_connections]", "expected at least 10, found 1"),
        ({"config": {"gtid_binlog_pos": "0-1-1"}}, "spec.config[gtid_binlog_pos]", "cannot be set in an option file"),
        ({"config": {"read_only": "OFF"}}, "spec.config[read_only]", "belongs to the operator"),
        ({"config": {"sync_binlog": 0}}, "spec.config[sync_binlog]", "belongs to the operator"),
        ({"config": {"slave_skip_errors": "all"}}, "spec.config[slave_skip_errors]", "belongs to the operator"),
        ({"config": {"sql_mode": "A\nB"}}, "spec.config[sql_mode]", "one line"),
        ({"databases": ["mysql"]}, "spec.databases[0]", "of the server itself"),
        (
            {"databases": ["shop"], "users": [user(privileges=["ALL"])]},
            "spec.users[0].privileges[0]",
            "passes read_only",
        ),
        (
            {"databases": ["shop"], "users": [user(privileges=["SELECT", "super"])]},
            "spec.users[0].privileges[1]",
            "passes read_only",
        ),
        (
            {"databases": ["shop"], "users": [user(privileges=["SELEC"])]},
            "spec.users[0].privileges[0]",
            "did you mean SELECT?",
        ),
        ({"databases": ["shop"], "users": [user(name="root")]}, "spec.users[0].name", "reserved"),
        ({"databases": ["shop"], "users": [user(name="operatorkit")]}, "spec.users[0].name", "reserved"),
        ({"users": [user()]}, "spec.users[0].databases[0]", "not in spec.databases"),
        ({"switchover_to": "shop0-7"}, "spec.switchoverTo", "use one of shop0-0, shop0-1, shop0-2"),
    ],
)
def test_bad_input_is_rejected_with_its_field(spec, field, words):
    [found] = problems(shard(**spec))
    assert found.startswith(f"{field}: ")
    assert words in found


@pytest.mark.parametrize("name", ["a" * 46, "shop.0"])
def test_a_name_that_does_not_fit_its_pods_and_services_is_rejected(name):
    [found] = problems(shard(name))
    assert found.startswith("metadata.name: ")


def test_the_name_of_a_cluster_leaves_space_for_its_last_shard():
    spec = MysqlClusterSpec(shards=64)
    fits = MysqlCluster(metadata=ObjectMeta(name="a" * 43), spec=spec)
    too_long = MysqlCluster(metadata=ObjectMeta(name="a" * 44), spec=spec)
    assert check_cluster(fits) == []
    assert [cause.field for cause in check_cluster(too_long)] == ["metadata.name"]


@pytest.mark.parametrize(
    ("before", "after", "fields"), [("1Gi", "1024Mi", []), ("1Gi", "2Gi", []), ("1Gi", "1000M", ["spec.storage.size"])]
)
def test_storage_never_shrinks(before, after, fields):
    old, new = (MysqlDatabaseSpec(storage=Storage(size=size)) for size in (before, after))
    assert [cause.field for cause in check_change(old, new)] == fields


@pytest.mark.parametrize(
    ("source", "accepted"),
    [
        (None, True),
        ({"backup": "nightly"}, True),
        ({"claim": "backups", "path": "shop/nightly"}, True),
        ({}, False),
        ({"claim": "backups"}, False),
        ({"path": "shop/nightly"}, False),
        ({"backup": "nightly", "claim": "backups"}, False),
        ({"backup": "nightly", "claim": "backups", "path": "shop/nightly"}, False),
    ],
)
def test_a_restore_names_a_backup_or_a_claim_and_a_path(source, accepted):
    given = None if source is None else RestoreFrom(**source)
    cluster = MysqlCluster(metadata=ObjectMeta(name="shop"), spec=MysqlClusterSpec(restore_from=given))
    fields = [cause.field for cause in check_cluster(cluster)]
    assert fields == ([] if accepted else ["spec.restoreFrom"])


def test_what_a_cluster_was_restored_from_does_not_change():
    old = MysqlClusterSpec(restore_from=RestoreFrom(backup="nightly"))
    for new in (MysqlClusterSpec(), MysqlClusterSpec(restore_from=RestoreFrom(backup="other"))):
        assert [cause.field for cause in check_change(old, new)] == ["spec.restoreFrom"]
    assert check_change(old, old) == []
