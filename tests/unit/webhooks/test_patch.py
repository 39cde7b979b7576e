"""The patch of a mutation: exactly what changed, and nothing that the class does not know."""

from __future__ import annotations

import copy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operatorkit import Model, Resource
from operatorkit.controlplane.embedded.fields.patch import json_patch as apply_patch
from operatorkit.resource import NoStatus, read, write
from operatorkit.webhooks.patch import carried_over, json_patch


class Port(Model):
    name: str = ""
    number: int = 0


class ThingSpec(Model):
    size: int = 1
    names: list[str] = []
    ports: list[Port] = []
    weights: dict[str, int] = {}


class Thing(Resource[ThingSpec, NoStatus], group="example.io", version="v1"):
    """A thing."""


KEYS = st.text(alphabet="ab/~ é", min_size=1, max_size=3)
SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2) | st.text(max_size=3)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)
OBJECTS = st.dictionaries(KEYS, JSON, max_size=4)
NUMBERS = st.integers(-5, 5)
NAMES = st.text(alphabet="xyz", max_size=2)

# what a class does not know has keys that it cannot mistake for its own
UNKNOWN = st.dictionaries(st.sampled_from(["xA", "x/B", "x~C"]), JSON, max_size=3)
PORTS = st.lists(
    st.builds(lambda extra, name, number: {**extra, "name": name, "number": number}, UNKNOWN, NAMES, NUMBERS),
    max_size=4,
)
WEIGHTS = st.dictionaries(NAMES, NUMBERS, max_size=3)

RANDOM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy


@st.composite
def things(draw):
    spec = draw(UNKNOWN)
    for name, values in {
        "size": NUMBERS,
        "names": st.lists(NAMES, max_size=4),
        "ports": PORTS,
        "weights": WEIGHTS,
    }.items():
        if draw(st.booleans()):
            spec[name] = draw(values)
    metadata = {**draw(UNKNOWN), "name": "a", "labels": draw(st.dictionaries(NAMES, NAMES, max_size=2))}
    return {**draw(UNKNOWN), "apiVersion": "example.io/v1", "kind": "Thing", "metadata": metadata, "spec": spec}


@RANDOM
@given(OBJECTS, OBJECTS)
def test_the_patch_makes_the_second_object_of_the_first(original, changed):
    patched = apply_patch(copy.deepcopy(original), json_patch(original, changed))
    assert repr(_sorted(patched)) == repr(_sorted(changed))


@RANDOM
@given(things(), st.data())
def test_what_a_function_changed_is_changed_and_unknown_fields_stay(original, data):
    """The same edits are made to the typed object and to the JSON: both ways must give the same."""
    thing, expected = read(Thing, copy.deepcopy(original)), copy.deepcopy(original)
    before = write(thing)
    for edit in data.draw(st.lists(st.sampled_from(list(EDITS)), max_size=4)):
        EDITS[edit](thing, expected, data)
    patch = json_patch(original, carried_over(original, before, write(thing)))
    patched = apply_patch(copy.deepcopy(original), patch)
    assert repr(_sorted(patched)) == repr(_sorted(expected))
    if patched == original and expected == original:
        assert patch == json_patch(original, expected)


def _set_size(thing, expected, data):
    thing.spec.size = expected["spec"]["size"] = data.draw(NUMBERS.filter(lambda size: size != 1))


def _label(thing, expected, data):
    value = data.draw(NAMES)
    thing.metadata.labels = {**thing.metadata.labels, "new": value}
    expected["metadata"]["labels"]["new"] = value


def _append_name(thing, expected, data):
    name = data.draw(NAMES)
    thing.spec.names = [*thing.spec.names, name]
    expected["spec"]["names"] = [*expected["spec"].get("names", []), name]


def _renumber_a_port(thing, expected, data):
    if thing.spec.ports:
        at = data.draw(st.integers(0, len(thing.spec.ports) - 1))
        thing.spec.ports[at].number = expected["spec"]["ports"][at]["number"] = data.draw(st.integers(10, 20))


def _weigh(thing, expected, data):
    if "weights" in expected["spec"]:
        thing.spec.weights["heavy"] = expected["spec"]["weights"]["heavy"] = data.draw(NUMBERS)


def _weigh_no_more(thing, expected, data):
    if expected["spec"].get("weights"):
        name = data.draw(st.sampled_from(sorted(expected["spec"]["weights"])))
        del thing.spec.weights[name]
        del expected["spec"]["weights"][name]


EDITS = {
    function.__name__: function
    for function in (_set_size, _label, _append_name, _renumber_a_port, _weigh, _weigh_no_more)
}


def test_a_removed_key_is_removed_and_one_that_the_class_never_showed_stays():
    original = {"a": 1, "b": 2, "hidden": 3}
    assert carried_over(original, {"a": 1, "b": 2}, {"a": 1}) == {"a": 1, "hidden": 3}


def test_a_removed_item_takes_only_itself():
    original = {"spec": {"ports": [{"name": "a", "x": 1}, {"name": "b", "x": 2}, {"name": "c", "x": 3}]}}
    before = {"spec": {"ports": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}}
    after = {"spec": {"ports": [{"name": "a"}, {"name": "c"}]}}
    result = carried_over(original, before, after)
    assert result == {"spec": {"ports": [{"name": "a", "x": 1}, {"name": "c", "x": 3}]}}
    assert json_patch(original, result) == [{"op": "remove", "path": "/spec/ports/1"}]


def test_a_value_that_its_class_writes_in_another_form_stays_as_it_was():
    assert carried_over({"cpu": 1, "n": 1}, {"cpu": "1", "n": 1}, {"cpu": "1", "n": 2}) == {"cpu": 1, "n": 2}


@pytest.mark.parametrize(("one", "other"), [(1, True), (0, False), (1, 1.0), ("1", 1), ([], {}), (None, {})])
def test_values_that_only_python_holds_for_equal_are_replaced(one, other):
    assert json_patch({"a": one}, {"a": other}) == [{"op": "replace", "path": "/a", "value": other}]


def _sorted(value):
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value
