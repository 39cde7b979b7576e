from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from operatorkit.controlplane.embedded.scheme.codec import decode, loads
from operatorkit.controlplane.embedded.scheme.decode_error import DecodeError, Problem
from operatorkit.names import GroupVersionKind

# What a kube-apiserver 1.36.3 answered; tests/real/record_decoding.py records it anew.
RECORDED = json.loads(Path(__file__).with_name("data").joinpath("decoding.json").read_text())
CONFIG_MAP = GroupVersionKind("", "v1", "ConfigMap")
POD = GroupVersionKind("", "v1", "Pod")


@pytest.mark.parametrize("case", RECORDED, ids=[f"{at}-{it['kind']}" for at, it in enumerate(RECORDED)])
def test_what_a_real_server_cannot_decode_is_rejected_in_its_words(case):
    kind = GroupVersionKind.of(case["apiVersion"], case["kind"])

    def decode_strictly():
        decoded = decode(kind, loads(case["sent"]))
        if decoded.unexpected:
            raise decoded.strict_error(kind)

    with pytest.raises(DecodeError) as caught:
        decode_strictly()
    assert (caught.value.code, caught.value.reason) == (400, "BadRequest")
    assert caught.value.message == case["message"]


def test_unknown_fields_go_and_are_reported():
    sent = {"metadata": {"name": "a"}, "data": {"x": "y"}, "dta": 1}
    before = copy.deepcopy(sent)
    decoded = decode(CONFIG_MAP, sent)
    assert decoded.object == {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"}, "data": {"x": "y"}}
    assert decoded.unexpected == ['unknown field "dta"']
    assert sent == before


def test_nulls_and_empty_optional_fields_go():
    sent = {"metadata": {"name": "a", "labels": {}, "annotations": None}, "data": {}, "immutable": False}
    assert decode(CONFIG_MAP, sent).object["metadata"] == {"name": "a"}
    assert "data" not in decode(CONFIG_MAP, sent).object


def test_an_empty_pointer_stays_because_it_says_something():
    sent = {"metadata": {}, "immutable": False, "spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}
    assert decode(CONFIG_MAP, sent).object["immutable"] is False
    assert decode(POD, sent).object["spec"]["volumes"] == [{"name": "v", "emptyDir": {}}]


def test_structs_appear_even_when_nothing_is_in_them():
    spec = decode(POD, {"spec": {"containers": [{"name": "a"}]}}).object["spec"]
    assert spec["containers"] == [{"name": "a", "resources": {}}]
    assert decode(POD, {}).object["status"] == {}


def test_quantities_and_times_are_written_in_one_form():
    limits = {"cpu": 1, "memory": "1024Mi", "ephemeral-storage": 0.5}
    sent = {
        "metadata": {"creationTimestamp": "2026-01-01T02:00:00+02:00"},
        "spec": {"containers": [{"name": "a", "resources": {"limits": limits}}]},
    }
    decoded = decode(POD, sent).object
    assert decoded["spec"]["containers"][0]["resources"]["limits"] == {
        "cpu": "1",
        "memory": "1Gi",
        "ephemeral-storage": "500m",
    }
    assert decoded["metadata"]["creationTimestamp"] == "2026-01-01T00:00:00Z"


def test_what_was_decoded_decodes_to_itself():
    sent = {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "a", "ports": [{"containerPort": 1}]}]}}
    once = decode(POD, sent)
    twice = decode(POD, once.object)
    assert (twice.object, twice.unexpected) == (once.object, [])


@pytest.mark.parametrize(
    ("spec", "path", "expected", "got", "number", "problem"),
    [
        ({"nodeName": 1}, "PodSpec.spec.nodeName", "string", "number", None, Problem.TYPE),
        ({"priority": 1.5}, "PodSpec.spec.priority", "int32", "number", 1.5, Problem.TYPE),
        ({"overhead": {"cpu": "x"}}, "", "", "", None, Problem.VALUE),
    ],
)
def test_a_decode_error_holds_its_facts_as_data(spec, path, expected, got, number, problem):
    with pytest.raises(DecodeError) as caught:
        decode(POD, {"metadata": {"name": "a"}, "spec": spec})
    error = caught.value
    assert (error.kind, error.path, error.expected, error.got) == (POD, path, expected, got)
    assert (error.number, error.problem) == (number, problem)
    assert error.message == f'Pod in version "v1" cannot be handled as a Pod: {error.why}'
