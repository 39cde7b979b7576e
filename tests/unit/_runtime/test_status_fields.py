"""Which fields of a status are sent: those that are owned or were changed, to the leaf."""

from __future__ import annotations

import pytest

from operatorkit._runtime.status_fields import own_fields, without_empty, would_change_nothing

ITEMS = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["name"],
    "items": {
        "type": "object",
        "required": ["name", "kind"],
        "properties": {"name": {"type": "string"}, "kind": {"type": "string"}, "size": {"type": "integer"}},
    },
}
TEXT = {"type": "string"}
SCHEMA = {
    "type": "object",
    "properties": {
        "text": TEXT,
        "map": {"type": "object", "additionalProperties": {"type": "object", "additionalProperties": TEXT}},
        "whole": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": TEXT},
        "items": ITEMS,
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": TEXT},
        "list": {"type": "array", "items": TEXT},
    },
}
A, B = {"name": "a", "kind": "k", "size": 1}, {"name": "b", "kind": "k", "size": 1}


@pytest.mark.parametrize(
    ("before", "after", "owned", "sent"),
    [
        pytest.param({}, {"text": "x"}, {}, {"text": "x"}, id="new"),
        pytest.param({"text": "x"}, {"text": "x"}, {}, {}, id="others'"),
        pytest.param({"text": "x"}, {"text": "x"}, {"f:text": {}}, {"text": "x"}, id="ours"),
        pytest.param({"text": "x"}, {"text": "y"}, {}, {"text": "y"}, id="changed"),
        pytest.param(
            {"map": {"a": {"x": "1", "y": "1"}, "b": {"x": "1"}}},
            {"map": {"a": {"x": "1", "y": "2"}, "b": {"x": "1"}}},
            {},
            {"map": {"a": {"y": "2"}}},
            id="one leaf of a map of maps",
        ),
        pytest.param(
            {"map": {"a": {}}}, {"map": {"a": {}, "b": {}}}, {}, {"map": {"b": {}}}, id="an empty map is a leaf"
        ),
        pytest.param(
            {"whole": {"a": "1"}},
            {"whole": {"a": "1", "b": "1"}},
            {},
            {"whole": {"a": "1", "b": "1"}},
            id="an atomic map",
        ),
        pytest.param({"items": [A, B]}, {"items": [A, B]}, {}, {}, id="items of others"),
        pytest.param(
            {"items": [A, B]},
            {"items": [B, A]},
            {"f:items": {'k:{"name":"b"}': {".": {}, "f:name": {}, "f:size": {}}}},
            {"items": [B]},
            id="an item of ours, with what it needs to be one",
        ),
        pytest.param(
            {"items": [A]},
            {"items": [{**A, "size": 2}]},
            {},
            {"items": [{"name": "a", "kind": "k", "size": 2}]},
            id="a changed leaf of an item",
        ),
        pytest.param(
            {"set": ["a", "b"]}, {"set": ["a", "b", "c"]}, {"f:set": {'v:"b"': {}}}, {"set": ["b", "c"]}, id="a set"
        ),
        pytest.param({"list": ["a"]}, {"list": ["a"]}, {}, {}, id="others' list"),
        pytest.param({"list": ["a"]}, {"list": ["a", "b"]}, {}, {"list": ["a", "b"]}, id="an atomic list"),
    ],
)
def test_only_what_is_owned_or_changed_is_sent(before, after, owned, sent):
    assert own_fields(after, before, owned, SCHEMA) == sent


def test_without_a_schema_what_is_owned_says_which_lists_are_maps():
    owned = {"f:items": {'k:{"name":"b"}': {".": {}, "f:name": {}, "f:size": {}}}}
    changed = {"items": [A, {**B, "size": 2}]}
    assert own_fields(changed, {"items": [A, B]}, owned, None) == {"items": [{"name": "b", "size": 2}]}
    assert own_fields(changed, {"items": [A, B]}, {}, None) == changed


def test_what_others_have_beside_it_is_no_reason_to_write():
    owned = {"f:map": {"f:a": {"f:x": {}}}}
    before = {"map": {"a": {"x": "1"}, "b": {"x": "1"}}}
    assert would_change_nothing({"map": {"a": {"x": "1"}}}, before, owned)
    assert not would_change_nothing({"map": {"a": {"x": "2"}}}, before, owned)
    assert not would_change_nothing({}, before, {})


def test_none_and_empty_are_as_good_as_absent():
    assert without_empty(
        {"a": None, "b": {}, "c": [], "d": {"e": None}, "f": 0, "g": "", "h": [None, {}], "i": False}
    ) == {
        "f": 0,
        "g": "",
        "h": [None, {}],
        "i": False,
    }
