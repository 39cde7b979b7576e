"""Whether a server runs a variable as it was configured."""

from __future__ import annotations

import pytest

from operators.mysql_sharding.variable_values import Reported, runs, statement_value


@pytest.mark.parametrize(
    ("name", "wanted", "value", "same"),
    [
        ("max_connections", "100", "100", True),
        ("max_connections", "100", "101", False),
        ("innodb_log_file_size", "8M", "8388608", True),
        ("skip_name_resolve", "1", "ON", True),
        ("skip_name_resolve", "off", "ON", False),
        ("binlog_format", "2", "ROW", True),
        ("binlog_format", "mixed", "MIXED", True),
        ("binlog_format", "mixed", "ROW", False),
        ("sql_mode", "ANSI_QUOTES,STRICT_TRANS_TABLES", "STRICT_TRANS_TABLES,ANSI_QUOTES", True),
        ("sql_mode", "ANSI_QUOTES", "STRICT_TRANS_TABLES,ANSI_QUOTES", False),
        ("long_query_time", "2", "2.000000", True),
        ("long_query_time", "2", "2.5", False),
        ("optimizer_switch", "index_merge=off", "index_merge=off,mrr=on", True),
        ("optimizer_switch", "mrr=off", "index_merge=off,mrr=on", False),
        ("slow_query_log_file", "'a.log'", "a.log", True),
        ("slow_query_log_file", "a.log", "b.log", False),
    ],
)
def test_what_is_written_and_what_is_reported_are_compared(name: str, wanted: str, value: str, same: bool) -> None:
    assert runs(name, wanted, Reported(value=value, default="", origin="CONFIG")) is same


def test_a_number_is_rounded_to_the_block_of_the_variable() -> None:
    pool = Reported(value="134217728", default="", origin="SQL", block=1048576)
    assert runs("innodb_buffer_pool_size", "134000000", pool)
    assert not runs("innodb_buffer_pool_size", "130000000", pool)


def test_what_the_server_has_lowered_counts() -> None:
    found = Reported(value="214", default="151", origin="AUTO")
    assert runs("max_connections", "100000", found)
    assert runs("max_connections", None, found)
    assert not runs("max_connections", "100", found), "it can be set"


@pytest.mark.parametrize(("origin", "value", "same"), [("SQL", "151", True), ("SQL", "7", False)])
def test_a_removed_variable_has_its_default(origin: str, value: str, same: bool) -> None:
    found = Reported(value=value, default="151", origin=origin)
    assert runs("max_connections", None, found) is same


def test_sizes_are_set_in_bytes_and_texts_without_quotes() -> None:
    assert statement_value("innodb_buffer_pool_size", "16M") == 16 * 2**20
    assert statement_value("slow_query_log_file", "'a.log'") == "a.log"
    assert statement_value("sql_mode", "ANSI_QUOTES") == "ANSI_QUOTES"
