from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from operatorkit.controlplane.embedded.fields import typed
from operatorkit.controlplane.embedded.fields.managed import Tracking, apply, track
from operatorkit.controlplane.embedded.fields.patch import json_patch, merge_patch
from operatorkit.controlplane.embedded.fields.schema import of_structural
from operatorkit.controlplane.embedded.fields.sets import FieldSet
from operatorkit.names import GroupVersionKind

SCHEMA = of_structural(
    {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "text": {"type": "string"},
                    "map": {"type": "object", "additionalProperties": {"type": "integer"}},
                    "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
                    "whole": {"type": "array", "items": {"type": "integer"}},
                    "items": {
                        "type": "array",
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["name"],
                        "items": {
                            "type": "object",
                            "properties": {"name": {"type": "string"}, "value": {"type": "integer"}},
                        },
                    },
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                },
            }
        },
    }
)
KIND = GroupVersionKind("example.com", "v1", "Thing")
TRACKING = Tracking(kind=KIND, schema=SCHEMA)
THEN, LATER = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 2, tzinfo=UTC)
WORDS = st.sampled_from("abcd")
NUMBERS = st.integers(0, 3)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=6,
)
ITEMS = st.lists(
    st.fixed_dictionaries({"name": WORDS}, optional={"value": NUMBERS}), max_size=4, unique_by=lambda it: it["name"]
)
SPECS = st.fixed_dictionaries(
    {},
    optional={
        "text": WORDS,
        "map": st.dictionaries(WORDS, NUMBERS, min_size=1, max_size=3),
        "set": st.lists(WORDS, min_size=1, max_size=4, unique=True),
        "whole": st.lists(NUMBERS, min_size=1, max_size=3),
        "items": ITEMS.filter(bool),
    },
)


OWN = st.dictionaries(WORDS, NUMBERS, min_size=1, max_size=3)
THEIRS = st.dictionaries(st.sampled_from("wxyz"), NUMBERS, min_size=1, max_size=3)


def thing(spec):
    return {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": copy.deepcopy(spec)}


def applied(live, spec, manager, *, force=False, now=THEN):
    return apply(TRACKING, live, thing(spec), manager=manager, force=force, now=now)


@settings(max_examples=40, deadline=None)
@given(SPECS)
def test_what_one_manager_applies_to_nothing_is_what_there_is(spec):
    assert applied(None, spec, "alice")["spec"] == spec


@settings(max_examples=40, deadline=None)
@given(SPECS, SPECS)
def test_applying_twice_changes_nothing_the_second_time(first, second):
    live = applied(None, first, "alice")
    once = applied(live, second, "bob", force=True)
    assert applied(once, second, "bob", force=True, now=LATER) == once


@settings(max_examples=40, deadline=None)
@given(SPECS, SPECS)
def test_a_manager_alone_can_always_go_back(first, second):
    live = applied(None, first, "alice")
    there = applied(live, second, "alice")
    back = applied(there, first, "alice")
    assert unordered(back.get("spec") or {}) == unordered(live["spec"])


def unordered(spec):
    """Lists by key keep the order of before where they can, so going back may leave another order."""
    return {
        name: sorted(it, key=partial(json.dumps, sort_keys=True)) if name in {"set", "items"} else it
        for name, it in spec.items()
        if it not in ({}, [])
    }


@settings(max_examples=40, deadline=None)
@given(OWN, THEIRS)
def test_managers_of_different_fields_do_not_care_who_is_first(own, theirs):
    one = applied(applied(None, {"map": own}, "alice"), {"map": theirs}, "bob")
    other = applied(applied(None, {"map": theirs}, "bob"), {"map": own}, "alice")
    assert one["spec"] == other["spec"]
    assert one["metadata"] == other["metadata"]


@settings(max_examples=40, deadline=None)
@given(SPECS, SPECS, SPECS)
def test_a_forced_apply_wins_everything_it_says(first, second, third):
    live = applied(applied(None, first, "alice"), second, "bob", force=True)
    result = applied(live, third, "carol", force=True)
    assert typed.equal(applied(result, third, "carol")["spec"], result["spec"])
    assert typed.merge(SCHEMA, result, thing(third))["spec"] == result["spec"]


@settings(max_examples=40, deadline=None)
@given(SPECS, SPECS)
def test_what_is_not_there_has_no_owner(first, second):
    live = track(TRACKING, applied(None, first, "alice"), thing(second), manager="writer", now=LATER)
    there = typed.fields_of(SCHEMA, live)
    for entry in live["metadata"].get("managedFields", ()):
        owned = typed.with_named_fields(SCHEMA, FieldSet.decode(entry["fieldsV1"]))
        named = typed.with_named_fields(SCHEMA, there)
        assert set(owned) - set(named) <= {("f:spec",)}


@settings(max_examples=40, deadline=None)
@given(SPECS, SPECS)
def test_nothing_given_is_changed(first, second):
    live = applied(None, first, "alice")
    before = copy.deepcopy(live)
    config = thing(second)
    apply(TRACKING, live, config, manager="bob", force=True, now=LATER)
    track(TRACKING, live, config, manager="bob", now=LATER)
    assert live == before
    assert config == thing(second)


@settings(max_examples=40, deadline=None)
@given(SPECS, SPECS)
def test_a_comparison_reports_exactly_what_a_merge_must_bring(first, second):
    comparison = typed.compare(SCHEMA, thing(first), thing(second))
    same = typed.equal(unordered(first), unordered(second))
    differences = [comparison.added, comparison.modified, comparison.removed]
    assert any(differences) != same
    merged = typed.merge(SCHEMA, thing(first), thing(second))
    lost = typed.compare(SCHEMA, merged, thing(second))
    assert not lost.added
    assert not lost.modified


def difference(old, new):
    """A merge patch from one object to another; as in any, null cannot be a value."""
    patch = {name: None for name in old if name not in new}
    for name, value in new.items():
        if isinstance(value, dict) and isinstance(old.get(name), dict):
            patch[name] = difference(old[name], value)
        elif name not in old or not typed.equal(old[name], value):
            patch[name] = value
    return patch


def without_nulls(value):
    if isinstance(value, dict):
        return {name: without_nulls(it) for name, it in value.items() if it is not None}
    return value


OBJECTS = st.dictionaries(WORDS, JSON, max_size=4).map(without_nulls)


@settings(max_examples=40, deadline=None)
@given(OBJECTS, OBJECTS)
def test_the_difference_of_two_objects_merges_one_into_the_other(old, new):
    assert typed.equal(merge_patch(old, difference(old, new)), new)


@settings(max_examples=40, deadline=None)
@given(OBJECTS, OBJECTS)
def test_json_operations_rebuild_an_object(old, new):
    operations = [{"op": "remove", "path": f"/{name}"} for name in old]
    operations += [{"op": "add", "path": f"/{name}", "value": value} for name, value in new.items()]
    operations += [{"op": "test", "path": f"/{name}", "value": value} for name, value in new.items()]
    before = copy.deepcopy(old)
    assert typed.equal(json_patch(old, operations), new)
    assert old == before
