"""What is rejected of tables, and with which field."""

from __future__ import annotations

import pytest

from operators.mysql_sharding.admission import check_change, check_cluster
from operators.mysql_sharding.api import MysqlCluster, MysqlClusterSpec

ORDERS = {
    "name": "orders",
    "database": "shop",
    "shardKey": "customer",
    "columns": [{"name": "customer", "type": "BIGINT NOT NULL"}, {"name": "n", "type": "INT NOT NULL"}],
    "primaryKey": ["customer", "n"],
}


def spec(*tables, **others):
    content = {"shards": 2, "databases": ["shop"], "proxy": {}, "tables": list(tables), **others}
    return MysqlClusterSpec.model_validate(content)


def problems(*tables, **others):
    cluster = MysqlCluster.model_validate({"metadata": {"name": "shop"}, "spec": spec(*tables, **others).model_dump()})
    return {cause.field: cause.message for cause in check_cluster(cluster)}


def test_a_table_that_can_be_spread_is_accepted():
    assert problems(ORDERS) == {}


@pytest.mark.parametrize(
    ("table", "field", "message"),
    [
        ({"shardKey": "client"}, "spec.tables[0].shardKey", "use one of customer, n"),
        ({"primaryKey": ["n"]}, "spec.tables[0].primaryKey", "must contain the shard key customer"),
        ({"primaryKey": ["customer", "m"]}, "spec.tables[0].primaryKey[1]", "no column of orders"),
        (
            {"keys": [{"name": "u", "columns": ["n"], "unique": True}]},
            "spec.tables[0].keys[0].columns",
            "must contain the shard key customer",
        ),
        ({"database": "store"}, "spec.tables[0].database", "not in spec.databases"),
        (
            {"columns": [*ORDERS["columns"], {"name": "N", "type": "INT"}]},
            "spec.tables[0].columns[2].name",
            "in the list before",
        ),
        (
            {"columns": [ORDERS["columns"][0], {"name": "n", "type": "INT AUTO_INCREMENT"}]},
            "spec.tables[0].columns[1].type",
            "within one bucket only",
        ),
    ],
)
def test_a_table_that_cannot_be_spread_is_rejected_with_its_field(table, field, message):
    found = problems({**ORDERS, **table})
    assert set(found) == {field}
    assert message in found[field]


def test_a_secondary_key_needs_no_shard_key():
    assert problems({**ORDERS, "keys": [{"name": "by_n", "columns": ["n"]}]}) == {}


def test_two_tables_of_one_name_are_rejected():
    found = problems(ORDERS, {**ORDERS, "name": "ORDERS"})
    assert list(found) == ["spec.tables[1].name"]


def test_a_database_with_the_name_of_a_bucket_is_rejected():
    assert list(problems(ORDERS, databases=["shop", "shop_b03"])) == ["spec.databases[1]"]


def test_tables_need_a_proxy_and_each_shard_a_bucket():
    assert list(problems(ORDERS, proxy=None)) == ["spec.tables"]
    assert list(problems(ORDERS, buckets=1)) == ["spec.buckets"]


COLUMN = {"name": "note", "type": "VARCHAR(9)"}


@pytest.mark.parametrize(
    "change",
    [
        {"columns": [*ORDERS["columns"], COLUMN]},
        {"columns": [*ORDERS["columns"], {**COLUMN, "type": "INT NOT NULL DEFAULT 0"}]},
        {"keys": [{"name": "by_n", "columns": ["n"]}]},
    ],
)
def test_what_no_row_can_prevent_may_be_added(change):
    assert check_change(spec(ORDERS), spec({**ORDERS, **change})) == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"columns": [COLUMN, *ORDERS["columns"]]}, "columns"),
        ({"columns": [ORDERS["columns"][0], {"name": "n", "type": "BIGINT NOT NULL"}]}, "columns"),
        ({"columns": [*ORDERS["columns"], {**COLUMN, "type": "INT NOT NULL"}]}, "columns[2].type"),
        ({"shardKey": "n"}, "shardKey"),
        ({"primaryKey": ["customer"]}, "primaryKey"),
        ({"keys": [{"name": "u", "columns": ["customer"], "unique": True}]}, "keys[0].unique"),
    ],
)
def test_what_may_fail_in_some_buckets_only_is_rejected(change, field):
    found = check_change(spec(ORDERS), spec({**ORDERS, **change}))
    assert [cause.field for cause in found] == [f"spec.tables[0].{field}"]


def test_keys_are_neither_changed_nor_removed():
    key = {"name": "by_n", "columns": ["n"]}
    before = spec({**ORDERS, "keys": [key]})
    [removed] = check_change(before, spec(ORDERS))
    [changed] = check_change(before, spec({**ORDERS, "keys": [{**key, "columns": ["customer"]}]}))
    assert (removed.field, changed.field) == ("spec.tables[0].keys", "spec.tables[0].keys[0].name")


def test_the_number_of_buckets_is_immutable():
    [cause] = check_change(spec(ORDERS), spec(ORDERS, buckets=32))
    assert cause.field == "spec.buckets"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"max_conections": 10}, "did you mean max_connections"),
        ({"max_connections": "many"}, "expected a whole number"),
        ({"spider_net_read_timeout": "-2"}, "expected at least -1"),
        ({"spider_net_read_timeot": 5}, "did you mean spider_net_read_timeout"),
        ({"spider_internal_xa": "OFF"}, "belongs to the operator"),
        ({"spider_force_commit": 2}, "belongs to the operator"),
        ({"init_connect": "SET a\nB"}, "belongs to the operator"),
        ({"log_error": "a\tb"}, "one line of printable characters"),
    ],
)
def test_variables_of_the_nodes_are_checked_as_those_of_the_members(config, message):
    [(field, found)] = problems(ORDERS, proxy={"config": config}).items()
    assert field == f"spec.proxy.config[{next(iter(config))}]"
    assert message in found


def test_variables_of_the_spider_engine_are_known_for_nodes_only():
    config = {"max_connections": 100, "spider_net_read_timeout": 5, "spider_bgs_mode": 1}
    assert problems(ORDERS, proxy={"config": config}) == {}
    assert list(problems(ORDERS, config={"spider_bgs_mode": 1})) == ["spec.config[spider_bgs_mode]"]
