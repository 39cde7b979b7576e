import pytest

from operatorkit.cluster import is_newer
from operatorkit.cluster.versions import went_back


@pytest.mark.parametrize(
    ("version", "than", "expected"),
    [
        ("10", "9", True),
        ("9", "10", False),
        ("10", "10", False),
        ("18446744073709551616", "18446744073709551615", True),
        ("b", "a", True),
        ("a", "b", True),
        ("a", "a", False),
        ("", "5", True),
    ],
)
def test_versions_are_ordered_as_numbers_and_others_are_believed(version, than, expected):
    assert is_newer(version, than) is expected


@pytest.mark.parametrize(
    ("version", "before", "expected"),
    [("9", "10", True), ("10", "9", False), ("9", "9", False), ("a", "b", False), ("", "9", False), ("9", "", False)],
)
def test_only_a_lower_number_is_a_step_back(version, before, expected):
    assert went_back(version, before) is expected
