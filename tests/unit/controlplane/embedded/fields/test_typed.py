from __future__ import annotations

import pytest

from operatorkit.controlplane.embedded.fields import typed
from operatorkit.controlplane.embedded.fields.schema import DEDUCED, of_structural
from operatorkit.controlplane.embedded.fields.sets import FieldSet

WORDS = {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}
SCHEMA = of_structural({"type": "object", "properties": {"words": WORDS, "map": {"type": "object"}}})


@pytest.mark.parametrize(
    ("live", "applied", "merged"),
    [
        # As a kube-apiserver 1.36.3 merges them.
        ("abc", "adb", "adbc"),
        ("abcd", "dcba", "dcba"),
        ("abcd", "ca", "bcda"),
        ("abc", "xcby", "axcby"),
        ("abcde", "exb", "acdexb"),
        ("ab", "cba", "cba"),
        ("abcd", "bxd", "abcxd"),
        ("abc", "c", "abc"),
        ("abcde", "badxe", "bcadxe"),
    ],
)
def test_a_merged_list_keeps_the_order_of_both_sides_where_it_can(live, applied, merged):
    result = typed.merge(SCHEMA, {"words": list(live)}, {"words": list(applied)})
    assert "".join(result["words"]) == merged


def test_true_is_not_one():
    assert not typed.equal({"a": [True]}, {"a": [1]})
    assert typed.equal({"a": [1.0]}, {"a": [1]})


def test_without_a_schema_maps_are_merged_and_lists_replaced():
    merged = typed.merge(DEDUCED, {"a": {"b": 1, "c": [1, 2]}}, {"a": {"c": [3], "d": {}}})
    assert merged == {"a": {"b": 1, "c": [3], "d": {}}}


def test_what_loses_all_its_parts_is_null():
    fields = FieldSet.named("map.a")
    assert typed.remove(SCHEMA, {"map": {"a": 1}, "words": []}, fields) == {"map": None, "words": []}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"words": ["a", "a"]}, '.words: duplicate entries for key [="a"]'),
        ({"words": [{}]}, ".words: element 0: associative list without keys has an element that's a map type"),
        ({"words": [None]}, ".words: element 0: associative list without keys has an element that's an explicit null"),
        ({"other": 1}, ".other: field not declared in schema"),
    ],
)
def test_a_value_of_another_type_is_reported_where(value, message):
    with pytest.raises(typed.TypedError) as caught:
        typed.check(SCHEMA, value)
    assert str(caught.value) == message


def test_repeated_items_may_be_there_but_are_compared_as_one():
    typed.check(SCHEMA, {"words": ["a", "a"]}, duplicates=True)
    comparison = typed.compare(SCHEMA, {"words": ["a", "a"]}, {"words": ["a"]})
    assert set(comparison.removed) == {("f:words", 'v:"a"')}
    assert set(comparison.added) == {("f:words", 'v:"a"')}
