from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operatorkit.crd.text import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("1h30m0s", timedelta(minutes=90)),
        ("90s", timedelta(seconds=90)),
        ("1.5h", timedelta(minutes=90)),
        ("250ms", timedelta(milliseconds=250)),
        ("5us", timedelta(microseconds=5)),
        ("0s", timedelta()),
        ("720h", timedelta(days=30)),
    ],
)
def test_a_duration_is_read_as_go_reads_it(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize("text", ["", "1", "h", "1d", "-1h", "1h x", " 1h", "1h-5m", "P1D", "1,5h"])
def test_what_is_no_duration_is_rejected_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration: write it like 90s"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(), "0s"),
        (timedelta(hours=2), "2h0m0s"),
        (timedelta(minutes=1, seconds=2, milliseconds=500), "1m2.5s"),
        (timedelta(milliseconds=1, microseconds=20), "1.02ms"),
        (timedelta(microseconds=7), "7\u00b5s"),
        (timedelta(seconds=1, microseconds=1), "1.000001s"),
    ],
)
def test_a_duration_is_written_as_go_writes_it(duration: timedelta, text: str) -> None:
    assert format_duration(duration) == text


def test_a_negative_duration_is_rejected() -> None:
    with pytest.raises(ValueError, match="is negative"):
        format_duration(timedelta(seconds=-1))


@given(st.timedeltas(min_value=timedelta(), max_value=timedelta(days=100_000)))
def test_a_duration_survives(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize("text", ["9" * 400 + "s", "2562048h", "9223372036854775808ns", "9" * 5_000 + "ns"])
def test_a_duration_that_go_cannot_hold_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match="is longer than any duration that Go can hold"):
        parse_duration(text)
