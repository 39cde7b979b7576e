"""What the body of a request must say about its kind, and in which media types. The words are a real server's."""

from __future__ import annotations

import json
import re

import pytest

from operatorkit.controlplane.embedded.errors.errors import ApiError
from operatorkit.controlplane.embedded.serializer import syntax
from operatorkit.controlplane.embedded.serializer.decoding import read_object
from operatorkit.names import GroupVersionKind

CUSTOM = GroupVersionKind("example.com", "v1", "Widget")
BUILT_IN = GroupVersionKind("", "v1", "ConfigMap")
PROTOBUF = "application/vnd.kubernetes.protobuf"


def rejected(data: bytes, gvk: GroupVersionKind, media: str = "application/json") -> ApiError:
    with pytest.raises(ApiError) as caught:
        read_object(data, media, gvk, builtin=gvk is BUILT_IN)
    return caught.value


@pytest.mark.parametrize("data", [b"k8s\x00\n\x00", b"", b"nonsense"])
def test_custom_resources_have_no_protobuf(data: bytes) -> None:
    error = rejected(data, CUSTOM, PROTOBUF)
    assert (error.code, error.reason) == (415, "UnsupportedMediaType")
    assert error.message.endswith("accepted media types include: application/json, application/yaml")


def test_a_media_type_that_no_kind_has_is_answered_with_those_that_there_are() -> None:
    error = rejected(b"x", BUILT_IN, "text/x")
    assert error.code == 415
    assert error.message.endswith(f"application/json, application/yaml, {PROTOBUF}")


@pytest.mark.parametrize("given", [{}, {"kind": "", "apiVersion": None}])
def test_a_built_in_object_may_leave_its_kind_to_the_url(given: dict[str, object]) -> None:
    obj = read_object(json.dumps(given).encode(), "application/json", BUILT_IN, builtin=True)
    assert obj == {"apiVersion": "v1", "kind": "ConfigMap"}


@pytest.mark.parametrize(
    ("data", "gvk", "message"),
    [
        (b"[1]", CUSTOM, "cannot unmarshal array into Go value of type struct "),
        (b"3", BUILT_IN, "cannot unmarshal number into Go value of type struct "),
        (b"[1]", CUSTOM, " (5b315d)"),
        (b'{"kind": 3}', BUILT_IN, 'cannot unmarshal number into Go struct field .kind of type string ({"kind": 3})'),
        (b'{"apiVersion": true}', CUSTOM, "cannot unmarshal bool into Go struct field .apiVersion of type string"),
        (b'{"apiVersion": "a/b/c", "kind": "Widget"}', CUSTOM, "unexpected GroupVersion string: a/b/c ("),
        (b"spec:\n  size: 3\n", CUSTOM, "Object 'Kind' is missing in 'spec:\n  size: 3\n' ("),
        (b"zzz", BUILT_IN, "(7a7a7a)"),
        (
            b'{"apiVersion": "v2", "kind": "ConfigMap"}',
            BUILT_IN,
            'no kind "ConfigMap" is registered for version "v2" in scheme "pkg/runtime/scheme.go:111"',
        ),
        (
            b'{"apiVersion": "apps/v1", "kind": "Deployment"}',
            BUILT_IN,
            "the API version in the data (apps/v1) does not match the expected API version (v1)",
        ),
    ],
)
def test_what_is_no_object_of_the_kind_is_rejected_in_the_servers_words(
    data: bytes, gvk: GroupVersionKind, message: str
) -> None:
    media = "application/yaml" if data.startswith(b"spec") else "application/json"
    error = rejected(data, gvk, media)
    assert (error.code, error.reason) == (400, "BadRequest")
    assert message in error.message


def test_only_the_beginning_of_a_long_body_is_shown() -> None:
    text = '{"metadata": {"name": "long"}, "spec": {}}'
    assert rejected(text.encode(), CUSTOM).message == (
        f"the object provided is unrecognized (must be of type Widget): Object 'Kind' is missing in '{text}' "
        '({"metadata": {"name": "long"}, ...)'
    )


@pytest.mark.parametrize(
    ("text", "described"),
    [
        ("", "unexpected end of JSON input"),
        ("{", "unexpected end of JSON input"),
        ('{"a": "b', "unexpected end of JSON input"),
        ("[1, ", "unexpected end of JSON input"),
        ("nul", "unexpected end of JSON input"),
        ("nulx", "invalid character 'x' in literal null (expecting 'l')"),
        ("a: b", "invalid character 'a' looking for beginning of value"),
        ("[NaN]", "invalid character 'N' looking for beginning of value"),
        ("{a: 1}", "invalid character 'a' looking for beginning of object key string"),
        ('{"a" 1}', "invalid character '1' after object key"),
        ('{"a": "]" "b"}', "invalid character '\"' after object key:value pair"),
        ('[{"a": "["} 2]', "invalid character '2' after array element"),
        ("{} x", "invalid character 'x' after top-level value"),
        ('"\\x"', "invalid character 'x' in string escape code"),
        ('"\n"', "invalid character '\\n' in string literal"),
    ],
)
def test_what_is_no_json_is_described_as_go_does(text: str, described: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(described)}$"):
        syntax.loads(text)
