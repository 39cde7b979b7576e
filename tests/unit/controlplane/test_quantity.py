from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operatorkit.controlplane._quantity import canonical, parse


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("1", "1"),
        ("1000m", "1"),
        ("0.5", "500m"),
        ("1.5", "1500m"),
        ("100000", "100k"),
        ("1000k", "1M"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Ki", "512"),
        ("1024", "1024"),
        ("1e3", "1e3"),
        ("12E6", "12e6"),
        ("1E", "1E"),
        ("0", "0"),
        ("-0.1", "-100m"),
        (".5", "500m"),
        ("5.", "5"),
        ("1n", "1n"),
        ("0.0000000001", "1n"),
        ("+3", "3"),
    ],
)
def test_a_quantity_is_written_in_its_canonical_form(written, stored):
    assert canonical(written) == stored


@pytest.mark.parametrize("text", ["", "abc", "1.2.3", "1 Gi", "1gi", "Ki", "1ee3", "--1", "1m1"])
def test_what_is_no_quantity_is_rejected(text):
    with pytest.raises(ValueError, match="quantities must match the regular expression"):
        canonical(text)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(-(10**6), 10**6),
    st.sampled_from(["", "m", "k", "M", "G", "Ki", "Mi", "Gi", "e3", "u", "n"]),
)
def test_the_canonical_form_has_the_same_value_and_is_its_own(number, suffix):
    written = canonical(f"{number}{suffix}")
    assert parse(written) == parse(f"{number}{suffix}")
    assert canonical(written) == written


def test_suffixes_have_their_values():
    assert parse("2Ki") == Decimal(2048)
    assert parse("250m") == Decimal("0.25")
