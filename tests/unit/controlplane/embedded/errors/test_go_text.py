from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from operatorkit.controlplane.embedded.errors.go_text import after, parse_duration, parse_int, parse_uint

_MAX = 2**63 - 1


@pytest.mark.parametrize(
    ("text", "number"), [("0", 0), ("-0", 0), ("+7", 7), ("007", 7), (str(_MAX), _MAX), (str(-(2**63)), -(2**63))]
)
def test_an_integer_is_read_as_go_reads_it(text: str, number: int) -> None:
    assert parse_int(text) == number


@pytest.mark.parametrize("text", [str(2**63), str(-(2**63) - 1), "9" * 5_000, "-" + "9" * 5_000])
def test_an_integer_beyond_64_bits_is_out_of_range(text: str) -> None:
    with pytest.raises(ValueError, match=r"^strconv\.ParseInt: parsing .*: value out of range$"):
        parse_int(text)


@pytest.mark.parametrize("text", ["", "+", "1_0", "\N{FULLWIDTH DIGIT ONE}", " 1", "1\n", "1e3", "0x1"])
def test_what_is_no_decimal_integer_is_invalid(text: str) -> None:
    with pytest.raises(ValueError, match=r"invalid syntax$"):
        parse_int(text)


def test_an_unsigned_integer_has_no_sign() -> None:
    assert parse_uint(str(2**64 - 1)) == 2**64 - 1
    for text in ("+1", "-1", "-0"):
        with pytest.raises(ValueError, match=r"ParseUint.*invalid syntax$"):
            parse_uint(text)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("-0", 0),
        ("1h0.5m", 3_630_000_000_000),
        ("-1.5s", -1_500_000_000),
        (".5us", 500),
        ("5.ns", 5),
        ("1\N{MICRO SIGN}s", 1_000),
        ("0." + "3" * 400 + "s", 333_333_333),
        ("9223372036854775807ns", _MAX),
        ("-9223372036854775808ns", -(2**63)),
    ],
)
def test_a_duration_is_read_as_go_reads_it(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'time: invalid duration ""'),
        ("+", 'time: invalid duration "+"'),
        (".h", 'time: invalid duration ".h"'),
        ("9223372036854775808ns", 'time: invalid duration "9223372036854775808ns"'),
        ("1h2562047h", 'time: invalid duration "1h2562047h"'),
        ("5", 'time: missing unit in duration "5"'),
        ("1d", 'time: unknown unit "d" in duration "1d"'),
        ("\N{FULLWIDTH DIGIT ONE}s", r'time: invalid duration "\xef\xbc\x91s"'),
    ],
)
def test_what_is_no_duration_is_described_as_go_describes_it(text: str, message: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - compared as a whole below
        parse_duration(text)
    assert str(raised.value) == message


def test_seconds_beyond_gos_durations_wrap_around() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert after(now, 60) == now + timedelta(minutes=1)
    assert after(now, _MAX) == now - timedelta(seconds=1)
    assert after(now, 10**10).year == 1758
