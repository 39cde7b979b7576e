from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operatorkit.controlplane.embedded.fields import sets
from operatorkit.controlplane.embedded.fields.sets import EMPTY, FieldSet, field, index, item, key, path_text

NAMES = st.text("abc.<&", min_size=1, max_size=3)
VALUES = st.one_of(st.booleans(), st.integers(-3, 3), st.text("xy<", max_size=2))
ELEMENTS = st.one_of(
    NAMES.map(field),
    st.dictionaries(NAMES, VALUES, min_size=1, max_size=2).map(key),
    VALUES.map(item),
    st.integers(0, 9).map(index),
)
PATHS = st.lists(ELEMENTS, min_size=1, max_size=3).map(tuple)
SETS = st.lists(PATHS, max_size=6).map(lambda paths: FieldSet.of(*paths))


@settings(max_examples=60, deadline=None)
@given(SETS)
def test_what_is_encoded_is_decoded_to_the_same(fields):
    assert FieldSet.decode(json.loads(json.dumps(fields.encode()))) == fields


@settings(max_examples=60, deadline=None)
@given(SETS, SETS)
def test_a_union_has_the_members_of_both_and_nothing_else(left, right):
    assert set(left | right) == set(left) | set(right)


@settings(max_examples=60, deadline=None)
@given(SETS, SETS)
def test_an_intersection_has_what_is_in_both(left, right):
    assert set(left & right) == set(left) & set(right)


@settings(max_examples=60, deadline=None)
@given(SETS, SETS)
def test_a_difference_has_what_is_only_in_the_first(left, right):
    assert set(left - right) == set(left) - set(right)


@settings(max_examples=60, deadline=None)
@given(SETS, SETS)
def test_only_and_without_divide_a_set_at_prefixes(fields, prefixes):
    members = set(prefixes)

    def below(path):
        return any(path[:length] in members for length in range(1, len(path) + 1))

    assert set(fields.only(prefixes)) == {it for it in fields if below(it)}
    assert set(fields.without(prefixes)) == {it for it in fields if not below(it)}


@settings(max_examples=60, deadline=None)
@given(SETS)
def test_members_are_found_and_others_are_not(fields):
    assert all(path in fields for path in fields)
    assert ("f:zzz",) not in fields
    assert () not in fields
    assert bool(fields) == bool(list(fields))


def test_elements_are_written_as_kubernetes_writes_them():
    assert key({"protocol": "TCP", "containerPort": 80}) == 'k:{"containerPort":80,"protocol":"TCP"}'
    assert item("a<b") == 'v:"a\\u003cb"'
    assert FieldSet.of((field("a"), item(True)), (field("a"),)).encode() == {"f:a": {".": {}, "v:true": {}}}


def test_fields_come_before_keys_values_and_positions():
    fields = FieldSet.of((index(0),), (item("a"),), (item(2),), (key({"k": 1}),), (field("z"),), (field("b"),))
    assert list(fields.encode()) == ["f:b", "f:z", 'k:{"k":1}', "v:2", 'v:"a"', "i:0"]


def test_paths_are_written_as_messages_have_them():
    path = (field("spec"), field("ports"), key({"port": 80, "name": "a"}), field("targetPort"))
    assert path_text(path) == '.spec.ports[name="a",port=80].targetPort'
    assert path_text((field("set"), item("a"), index(3))) == '.set[="a"][3]'


@pytest.mark.parametrize("written", [{"x:a": {}}, {"f": {}}, {"k:[1]": {}}, {"k:{": {}}, {"f:a": 1}, {"i:x": {}}])
def test_what_is_no_field_set_is_rejected(written):
    with pytest.raises(ValueError, match=r"."):
        FieldSet.decode(written)


def test_the_empty_set_is_shared_and_stays_empty():
    grown = EMPTY | FieldSet.named("metadata.name")
    assert set(grown) == {("f:metadata", "f:name")}
    assert not EMPTY
    assert sets.EMPTY.below("f:x") is EMPTY
