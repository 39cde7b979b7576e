"""Values look as Go prints them; the expected texts were printed by Go."""

from __future__ import annotations

from typing import Any

import pytest

from operatorkit.crd.golang import is_integral, json_text, number, quote, value_text


@pytest.mark.parametrize(
    ("value", "text", "in_json"),
    [
        (0.0, "0", "0"),
        (1.0, "1", "1"),
        (-1.5, "-1.5", "-1.5"),
        (100000.0, "100000", "100000"),
        (1e6, "1e+06", "1000000"),
        (2100000.0, "2.1e+06", "2100000"),
        (123456789.125, "1.23456789125e+08", "123456789.125"),
        (1234567890123456789.0, "1.2345678901234568e+18", "1234567890123456800"),
        (1e20, "1e+20", "100000000000000000000"),
        (1e21, "1e+21", "1e+21"),
        (0.0001, "0.0001", "0.0001"),
        (0.00001, "1e-05", "0.00001"),
        (1e-7, "1e-07", "1e-7"),
        (1e-10, "1e-10", "1e-10"),
        (1e100, "1e+100", "1e+100"),
    ],
)
def test_a_float_is_printed_as_by_go(value: float, text: str, in_json: str) -> None:
    assert number(value) == text
    assert json_text(value) == in_json


def test_what_is_no_number_is_printed_as_by_go() -> None:
    assert [number(float(value)) for value in ("inf", "-inf", "nan")] == ["+Inf", "-Inf", "NaN"]
    assert number(2**63 - 1) == "9223372036854775807"


def test_text_is_quoted_as_by_go() -> None:
    text = 'a"b\\\n\t\x01\x7f\u00e9\u2028\U0001f600\ufeff\u00a0'
    assert quote(text) == '"a\\"b\\\\\\n\\t\\x01\\x7f\u00e9\\u2028\U0001f600\\ufeff\\u00a0"'


def test_json_is_written_as_by_go() -> None:
    value = {"b": [1, "<&>\u2028\u00e9\x01", None, True], "a": 1e-7, "c": 1e21}
    assert json_text(value) == '{"a":1e-7,"b":[1,"\\u003c\\u0026\\u003e\\u2028\u00e9\\u0001",null,true],"c":1e+21}'


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), (False, "false"), (5, "5"), ("x", '"x"'), (None, "null"), ({"a": [1]}, '{"a":[1]}')],
)
def test_a_value_is_shown_as_in_field_errors(value: Any, text: str) -> None:
    assert value_text(value) == text


@pytest.mark.parametrize(
    ("value", "integral"),
    [(1.0, True), (-2.0, True), (1.5, False), (2.0**53, False), (float("inf"), False), (0.1, False)],
)
def test_a_whole_float_counts_as_an_integer(value: float, integral: bool) -> None:
    assert is_integral(value) is integral
