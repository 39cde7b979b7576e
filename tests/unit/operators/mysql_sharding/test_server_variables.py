"""What MariaDB accepts in its option file."""

from __future__ import annotations

import pytest

from operators.mysql_sharding.server_variables import INSTEAD, option_names, problem, variables


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_connections", 500),
        ("max-connections", "500"),
        ("innodb_buffer_pool_size", "4G"),
        ("long_query_time", "0.5"),
        ("sql_mode", "STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION"),
        ("sql_mode", ""),
        ("binlog_format", "row"),
        ("binlog_format", 2),
        ("optimizer_switch", "index_merge=off,mrr=on"),
        ("optimizer_switch", "default"),
        ("skip_name_resolve", "ON"),
        ("init_rpl_role", "SLAVE"),
        ("datadir", "/var/lib/mysql"),
    ],
)
def test_a_value_that_the_server_takes_is_no_problem(name: str, value: str | int) -> None:
    assert not problem(name, value)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("max_conections", 500, "MariaDB has no variable max_conections; did you mean max_connections?"),
        ("zzz", 1, "MariaDB has no variable zzz"),
        ("super_read_only", 1, "MariaDB has no variable super_read_only; use read_only"),
        ("pseudo_thread_id", 1, "pseudo_thread_id cannot be set in an option file"),
        ("max_connections", 5, "max_connections: expected at least 10, found 5"),
        ("max_connections", "1M", "max_connections: expected at most 100000, found 1M"),
        ("max_connections", "many", "expected a whole number, such as 512 or 16M, found 'many'"),
        ("max_connections", "1.5", "expected a whole number"),
        ("long_query_time", "nan", "long_query_time: expected a number, found 'nan'"),
        ("long_query_time", "-1", "long_query_time: expected at least 0.0, found -1"),
        ("read_only", "maybe", "read_only: expected ON or OFF, found 'maybe'"),
        ("binlog_format", "fast", "expected one of MIXED, STATEMENT, ROW, found 'fast'"),
        ("binlog_format", 3, "found '3'"),
        ("sql_mode", "STRICT_TRANS_TABLES,NONE", "found 'NONE'"),
        ("optimizer_switch", "index_merg=off", "it has no flag 'index_merg'; did you mean index_merge?"),
        ("optimizer_switch", "mrr=maybe", "the flag mrr is on, off or default, found 'maybe'"),
        ("datadir", "/a\nskip-grant-tables", "datadir: a value has one line"),
    ],
)
def test_any_other_is_one_that_says_why(name: str, value: str | int, says: str) -> None:
    assert says in problem(name, value)


def test_names_for_an_option_file_are_options_and_no_words_of_its_help() -> None:
    assert {"max_connections", "datadir", "wsrep_osu_method"} <= option_names()
    assert option_names().isdisjoint({"and", "boolean", "options", "pseudo_thread_id", "gtid_current_pos"})


def test_what_changes_without_a_restart_is_known() -> None:
    known = variables()
    assert known["innodb_buffer_pool_size"].dynamic
    assert not known["skip_name_resolve"].dynamic
    assert not known["pseudo_thread_id"].dynamic


def test_no_variable_of_mariadb_is_listed_as_missing() -> None:
    assert not INSTEAD.keys() & variables().keys()
