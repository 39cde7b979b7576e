"""Statements for tables on shards and nodes."""

from __future__ import annotations

import pytest

from operatorkit.errors import InputError
from operators.mysql_sharding.api import Column, MysqlTable, TableKey
from operators.mysql_sharding.proxy.ddl import (
    BucketTable,
    bucket_statement,
    create_node_table,
    fingerprint,
    type_problem,
)

ORDERS = MysqlTable(
    name="orders",
    database="shop",
    shard_key="customer",
    columns=[Column(name="customer", type="BIGINT NOT NULL"), Column(name="n", type="INT NOT NULL")],
    primary_key=["customer", "n"],
)
NOTE = Column(name="note", type="VARCHAR(40) NOT NULL DEFAULT ''")
BY_N = TableKey(name="by_n", columns=["n"])
GROWN = ORDERS.model_copy(update={"columns": [*ORDERS.columns, NOTE], "keys": [BY_N]})


def there(table):
    keys = {"primary", *(key.name for key in table.keys)}
    return BucketTable(tuple(column.name for column in table.columns), frozenset(keys), fingerprint(table))


def test_a_missing_table_is_created_with_its_fingerprint():
    assert bucket_statement(ORDERS, 7, None) == (
        "CREATE TABLE `shop_b07`.`orders` (`customer` BIGINT NOT NULL, `n` INT NOT NULL,"
        " PRIMARY KEY (`customer`, `n`)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"
        f" COLLATE=utf8mb4_general_ci COMMENT='{fingerprint(ORDERS)}'"
    )


def test_a_table_that_is_as_defined_needs_nothing():
    assert bucket_statement(ORDERS, 7, there(ORDERS)) is None


def test_what_an_earlier_form_lacks_is_added_by_one_statement():
    assert bucket_statement(GROWN, 0, there(ORDERS)) == (
        "ALTER TABLE `shop_b00`.`orders` ADD COLUMN `note` VARCHAR(40) NOT NULL DEFAULT '',"
        f" ADD KEY `by_n` (`n`), COMMENT='{fingerprint(GROWN)}'"
    )


@pytest.mark.parametrize(
    "other",
    [
        there(GROWN),
        BucketTable(("customer", "n"), frozenset({"primary"}), "of a user"),
        there(ORDERS.model_copy(update={"columns": [ORDERS.columns[0], Column(name="n", type="BIGINT")]})),
    ],
)
def test_a_table_that_is_no_earlier_form_is_left_alone(other):
    with pytest.raises(InputError, match=r"shop_b07\.orders has another definition"):
        bucket_statement(ORDERS, 7, other)


def test_the_order_of_keys_is_no_part_of_a_definition():
    keys = [BY_N, TableKey(name="a", columns=["n"])]
    one, other = (ORDERS.model_copy(update={"keys": each}) for each in (keys, keys[::-1]))
    assert fingerprint(one) == fingerprint(other)


def test_a_node_has_one_partition_for_each_bucket():
    statement = create_node_table(ORDERS, 2)
    assert "ENGINE=SPIDER" in statement
    assert "PARTITION BY KEY ALGORITHM=2 (`customer`)" in statement
    assert """PARTITION b00 COMMENT 'srv "b00", database "shop_b00"' ENGINE=SPIDER""" in statement
    assert """PARTITION b01 COMMENT 'srv "b01", database "shop_b01"' ENGINE=SPIDER""" in statement


@pytest.mark.parametrize(
    "text",
    [
        "BIGINT",
        "bigint unsigned not null",
        "DECIMAL(10, 2) NOT NULL DEFAULT 0.00",
        "VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT 'it''s; --'",
        "ENUM('a','b') NULL DEFAULT NULL",
        "TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)",
    ],
)
def test_types_of_mariadb_are_accepted(text):
    assert type_problem(text) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("BIGINT AUTO_INCREMENT", "within one bucket only"),
        ("INT) ENGINE=MyISAM; DROP TABLE x; --", "no type that is supported"),
        ("INT /* */", "no type that is supported"),
        ("VARCHAR(4) DEFAULT 'a\\' , x'", "no type that is supported"),
        ("INT PRIMARY KEY", "no type that is supported"),
        ("INT COMMENT 'x'", "no type that is supported"),
    ],
)
def test_what_is_more_than_a_type_is_not(text, message):
    assert message in type_problem(text)
