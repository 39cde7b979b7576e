"""Schemas and objects are judged as kube-apiserver judged them when recorded.json was made."""

from __future__ import annotations

import copy
import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operatorkit.crd import FieldError, Structural

HERE = Path(__file__).parent
RECORDED: dict[str, Any] = json.loads((HERE / "recorded.json").read_text())
CASES = runpy.run_path(str(HERE / "schema_cases.py"))
VALUES, FORMATS, UPDATES = CASES["VALUES"], CASES["FORMATS"], CASES["UPDATES"]
SCHEMAS, ROOTS, DEFAULTS = CASES["SCHEMAS"], CASES["ROOTS"], CASES["DEFAULTS"]


def with_spec(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}


def reported(errors: list[FieldError]) -> list[list[str]]:
    return sorted([error.path, error.reason, error.message] for error in errors)


def verdict(schema: Structural, obj: dict[str, Any], old: dict[str, Any] | None = None) -> list[list[str]]:
    obj = schema.prune(schema.default(copy.deepcopy(obj)))
    return reported(schema.validate(obj, old))


VALUE_CASES = [
    pytest.param(field, at, id=f"{field}-{json.dumps(value)[:40]}")
    for field, (_, values) in VALUES.items()
    for at, value in enumerate(values)
]


@pytest.mark.parametrize(("field", "at"), VALUE_CASES)
def test_a_value_is_evaluated_as_by_the_real_server(field: str, at: int) -> None:
    schema, values = VALUES[field]
    expected = sorted(RECORDED["values"][field][at])
    assert verdict(Structural(with_spec({field: schema})), {"spec": {field: values[at]}}) == expected


@pytest.mark.parametrize("name", FORMATS)
def test_texts_are_of_a_format_where_the_real_server_says_so(name: str) -> None:
    schema = Structural(with_spec({"x": {"type": "string", "format": name}}))
    accepted = {text: not schema.validate({"spec": {"x": text}}) for text in FORMATS[name]}
    assert accepted == dict(zip(FORMATS[name], RECORDED["formats"][name], strict=True))


@pytest.mark.parametrize("at", range(len(UPDATES)))
def test_an_update_may_leave_what_was_invalid_before(at: int) -> None:
    field, old, new = UPDATES[at]
    schema = Structural(with_spec({name: schema for name, (schema, _) in VALUES.items()}))
    assert verdict(schema, {"spec": {field: new}}, {"spec": {field: old}}) == sorted(RECORDED["updates"][at])


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_rejected_as_by_the_real_server(name: str) -> None:
    errors = Structural(with_spec({"x": SCHEMAS[name]})).check()
    assert reported(errors) == sorted(RECORDED["schemas"][name])


@pytest.mark.parametrize("name", ROOTS)
def test_a_root_schema_is_rejected_as_by_the_real_server(name: str) -> None:
    assert reported(Structural(ROOTS[name]).check()) == sorted(RECORDED["roots"][name])


NAMES = st.sampled_from(["a", "b", "c", "d"])
LEAVES = st.sampled_from(
    [
        {"type": "string"},
        {"type": "string", "default": "x"},
        {"type": "integer", "default": 3},
        {"type": "string", "nullable": True},
        {"type": "string", "nullable": True, "default": "y"},
        {"x-kubernetes-preserve-unknown-fields": True},
        {"x-kubernetes-int-or-string": True},
    ]
)
SCHEMAS_BELOW = st.recursive(
    LEAVES,
    lambda below: st.one_of(
        st.dictionaries(NAMES, below, min_size=1).map(lambda fields: {"type": "object", "properties": fields}),
        below.map(lambda value: {"type": "object", "additionalProperties": value}),
        below.map(lambda item: {"type": "array", "items": item}),
        st.dictionaries(NAMES, below, min_size=1).map(
            lambda fields: {"type": "object", "properties": fields, "x-kubernetes-preserve-unknown-fields": True}
        ),
    ),
    max_leaves=8,
)
VALUES_BELOW = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.sampled_from(["", "x", "zz"]), st.just(1.5)),
    lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(NAMES | st.just("z"), below, max_size=4)),
    max_leaves=12,
)


def is_part(part: Any, whole: Any) -> bool:
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(key in whole and is_part(value, whole[key]) for key, value in part.items())
    if isinstance(part, list) and isinstance(whole, list):
        return len(part) == len(whole) and all(map(is_part, part, whole))
    return part == whole


@given(st.dictionaries(NAMES, SCHEMAS_BELOW, min_size=1), st.dictionaries(NAMES, VALUES_BELOW))
def test_pruning_and_defaulting_twice_changes_nothing_more(fields: dict[str, Any], spec: dict[str, Any]) -> None:
    schema = Structural(with_spec(fields))
    once = schema.default(schema.prune({"spec": copy.deepcopy(spec)}))
    assert schema.default(schema.prune(copy.deepcopy(once))) == once


@given(st.dictionaries(NAMES, SCHEMAS_BELOW, min_size=1), st.dictionaries(NAMES, VALUES_BELOW))
def test_pruning_only_takes_away_and_says_what(fields: dict[str, Any], spec: dict[str, Any]) -> None:
    unknown: list[str] = []
    pruned = Structural(with_spec(fields)).prune({"spec": copy.deepcopy(spec)}, unknown=unknown)
    assert is_part(pruned["spec"], spec)
    assert (pruned["spec"] == spec) is (not unknown)


@given(st.dictionaries(NAMES, SCHEMAS_BELOW, min_size=1), st.dictionaries(NAMES, VALUES_BELOW))
def test_what_an_update_does_not_touch_is_not_reported(fields: dict[str, Any], spec: dict[str, Any]) -> None:
    schema = Structural(with_spec(fields))
    obj = schema.prune(schema.default({"spec": spec}))
    old = copy.deepcopy(obj)
    known_only = all("preserve" not in json.dumps(each) for each in fields.values())
    if known_only:
        assert schema.validate(obj, old) == []


def test_rules_are_listed_with_the_paths_of_their_values() -> None:
    rule = {"x-kubernetes-validations": [{"rule": "self > 1"}]}
    schema = with_spec(
        {
            "list": {"type": "array", "items": {"type": "integer", **rule}},
            "map": {"type": "object", "additionalProperties": {"type": "integer", **rule}},
        }
    )
    assert Structural(schema).rules() == [("spec.list[*]", "self > 1"), ("spec.map[*]", "self > 1")]


def test_metadata_is_not_pruned_and_unknown_fields_are_reported_in_order() -> None:
    unknown: list[str] = []
    obj = {"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "n"}, "z": 1, "spec": {"l": [{"b": 1}], "a": 1}}
    schema = with_spec({"l": {"type": "array", "items": {"type": "object", "properties": {"c": {"type": "string"}}}}})
    pruned = Structural(schema).prune(obj, unknown=unknown)
    assert pruned == {"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "n"}, "spec": {"l": [{}]}}
    assert unknown == ["spec.a", "spec.l[0].b", "z"]


def test_a_status_alone_is_evaluated_at_its_own_path() -> None:
    status = {"type": "object", "required": ["phase"], "properties": {"phase": {"type": "string"}}}
    part = Structural({"type": "object", "properties": {"status": status}}).part("status")
    assert part is not None
    assert reported(part.validate({"phase": 1}, prefix="status")) == [
        [
            "status.phase",
            "FieldValueTypeInvalid",
            'Invalid value: "integer": phase in body must be of type string: "integer"',
        ]
    ]
    assert part.validate({}, prefix="status") == [FieldError("status.phase", "FieldValueRequired", "Required value")]


@pytest.mark.parametrize("schema", [5, {"type": 5}, {"type": "object", "properties": []}, {"allOf": {}}, {"items": 1}])
def test_what_is_no_schema_at_all_is_an_error_and_not_a_traceback(schema: Any) -> None:
    assert Structural(with_spec({"x": schema})).check()
    Structural(with_spec({"x": schema})).validate({"spec": {"x": {"y": 1}}})


@pytest.mark.parametrize("at", range(len(DEFAULTS)))
def test_defaults_are_filled_in_as_by_the_real_server(at: int) -> None:
    schema, spec = DEFAULTS[at]
    evaluate = Structural(with_spec({"x": schema}))
    assert evaluate.prune(evaluate.default({"spec": copy.deepcopy(spec)})) == {"spec": RECORDED["defaults"][at]}


def test_a_default_is_a_copy_of_its_own() -> None:
    schema = Structural(with_spec({"x": {"type": "array", "items": {"type": "string"}, "default": ["a"]}}))
    schema.default({"spec": {}})["spec"]["x"].append("b")
    assert schema.default({"spec": {}})["spec"]["x"] == ["a"]


def test_the_same_error_is_reported_once() -> None:
    schema = Structural(with_spec({"x": {"type": "string", "allOf": [{"minLength": 3}, {"minLength": 3}]}}))
    assert [error.message for error in schema.validate({"spec": {"x": "a"}})] == [
        'Invalid value: "a": spec.x in body should be at least 3 chars long',
        'Invalid value: "": "spec.x" must validate all the schemas (allOf). None validated',
    ]


def test_a_bound_that_float64_rounds_out_of_int64_rejects_every_value() -> None:
    number = {"type": "integer", "format": "int64", "maximum": 2**63 - 1}
    schema = {"type": "object", "properties": {"a": {**number, "default": 1}}}
    (error,) = Structural(schema).check("schema")
    assert "Maximum boundary value must be of type integer with format int64" in error.message
    assert Structural({"type": "object", "properties": {"a": number}}).validate({"a": 1})
