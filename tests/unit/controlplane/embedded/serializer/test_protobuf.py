"""Protobuf bodies, as clients written in Go send them."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operatorkit.controlplane.embedded.errors.errors import ApiError
from operatorkit.controlplane.embedded.scheme import codec
from operatorkit.controlplane.embedded.serializer import protobuf
from operatorkit.controlplane.embedded.serializer.negotiation import read_body
from operatorkit.names import GroupVersionKind


def varint(number: int) -> bytes:
    out = bytearray()
    number &= (1 << 64) - 1
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def part(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def enveloped(api_version: str, kind: str, raw: bytes) -> bytes:
    return b"k8s\x00" + part(1, part(1, api_version) + part(2, kind)) + part(2, raw) + part(3, "") + part(4, "")


def test_a_config_map_is_read():
    raw = part(1, part(1, "settings") + part(3, "ns") + part(8, b"")) + part(2, part(1, "k") + part(2, "v"))
    assert protobuf.decode(enveloped("v1", "ConfigMap", raw)) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings", "namespace": "ns", "creationTimestamp": None},
        "data": {"k": "v"},
    }


def test_bytes_are_base64_and_times_are_text():
    moment = part(1, 1_767_225_600) + part(2, 0)
    raw = part(1, part(1, "s") + part(8, moment)) + part(2, part(1, "k") + part(2, b"\x00\xff"))
    secret = protobuf.decode(enveloped("v1", "Secret", raw))
    assert secret["data"] == {"k": "AP8="}
    assert secret["metadata"]["creationTimestamp"] == "2026-01-01T00:00:00Z"


def test_embedded_structs_are_one_level_higher_in_json():
    volume = part(1, "tls") + part(2, part(6, part(1, "late")))
    pod = protobuf.decode(enveloped("v1", "Pod", part(2, part(1, volume))))
    assert pod["spec"]["volumes"] == [{"name": "tls", "secret": {"secretName": "late"}}]


def test_negative_numbers_are_negative():
    pod = protobuf.decode(enveloped("v1", "Pod", part(2, part(25, -7))))
    assert pod["spec"]["priority"] == -7


def test_fields_of_a_newer_kubernetes_are_passed_over():
    assert protobuf.decode(enveloped("v1", "ConfigMap", part(9999, "new"))) == {"apiVersion": "v1", "kind": "ConfigMap"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{}", "does not appear to be a protobuf message"),
        (b"k8s\x00\x0a\x7f", "unexpected EOF"),
        (b"k8s\x00" + b"\xff" * 11, "integer overflow"),
        (b"k8s\x00\x0b", "illegal wireType 3"),
        (enveloped("v1", "Widget", b""), 'no kind "Widget" is registered for version "v1"'),
        (enveloped("v1", "ConfigMap", part(1, 5)), "wrong wireType = 0"),
        (enveloped("v1", "ConfigMap", part(1, part(8, part(1, 1 << 60)))), "beyond the year 9999"),
    ],
)
def test_what_is_no_protobuf_is_a_bad_request(body, message):
    with pytest.raises(ApiError, match=message) as rejection:
        read_body(body, protobuf.MEDIA_TYPE)
    assert rejection.value.code == 400


@given(st.binary(max_size=200))
def test_no_body_raises_anything_but_a_value_error(noise):
    body = enveloped("v1", "Pod", noise)
    with contextlib.suppress(ValueError):
        protobuf.decode(body)


@pytest.mark.slow
def test_kubernetes_own_samples_are_read_as_their_json_is():
    """Each kind of k8s.io/api in both forms, where the Go module is in the cache: every field is set in them."""
    if shutil.which("go") is None:
        pytest.skip("there is no Go, and so no module cache with samples")
    root = subprocess.run(["go", "env", "GOMODCACHE"], capture_output=True, text=True, check=True).stdout.strip()
    samples = sorted(Path(root, "k8s.io/api@v0.36.3/testdata/HEAD").glob("*.v?.*.pb"))
    if not samples:
        pytest.skip("k8s.io/api v0.36.3 is not in the module cache")
    compared = 0
    for sample in samples:
        wanted = json.loads(sample.with_suffix(".json").read_text())
        try:
            found = protobuf.decode(sample.read_bytes())
            gvk = GroupVersionKind.of(found["apiVersion"], found["kind"])
            assert codec.decode(gvk, found).object == codec.decode(gvk, wanted).object, sample.name
        except (ValueError, KeyError):
            continue  # parameters of requests, not objects
        compared += 1
    assert compared > 60


_DEFINITION = Path(__file__).parents[4] / "scenarios" / "definition.pb"


def test_a_definition_in_protobuf_is_what_it_is_in_json():
    """Both forms were written by Kubernetes' own types in Go: schemas that may be a boolean, a list, or any JSON."""
    wanted = json.loads(_DEFINITION.with_suffix(".json").read_text())
    found = protobuf.decode(_DEFINITION.read_bytes())
    gvk = GroupVersionKind.of("apiextensions.k8s.io/v1", "CustomResourceDefinition")
    assert codec.decode(gvk, found) == codec.decode(gvk, wanted)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (part(30, part(1, 0)), {"additionalProperties": False}),
        (part(30, part(1, 1)), {"additionalProperties": True}),
        (part(30, b""), {"additionalProperties": False}),
        (part(30, part(1, 1) + part(2, part(5, "string"))), {"additionalProperties": {"type": "string"}}),
        (part(24, part(1, part(5, "string"))), {"items": {"type": "string"}}),
        (part(24, part(2, part(5, "string"))), {"items": [{"type": "string"}]}),
        (part(32, part(1, "a") + part(2, part(2, "b"))), {"dependencies": {"a": ["b"]}}),
        (part(32, part(1, "a") + part(2, part(1, part(5, "string")))), {"dependencies": {"a": {"type": "string"}}}),
        (part(8, part(1, "false")), {"default": False}),
        (part(8, part(1, "null")), {"default": None}),
        (part(8, part(1, '{"a":[1]}')), {"default": {"a": [1]}}),
        (part(3, "#/a") + part(38, 0), {"$ref": "#/a", "x-kubernetes-preserve-unknown-fields": False}),
        (part(14, 0) + part(37, 0) + part(4, ""), {"minLength": 0}),
    ],
)
def test_the_unions_of_a_schema_are_written_as_json_has_them(schema, expected):
    version = part(1, "v1") + part(4, part(1, schema))
    found = protobuf.decode(enveloped("apiextensions.k8s.io/v1", "CustomResourceDefinition", part(2, part(7, version))))
    assert found["spec"]["versions"][0]["schema"]["openAPIV3Schema"] == expected
