from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operatorkit.controlplane.embedded.errors.errors import ApiError
from operatorkit.controlplane.embedded.registry.selectors import parse_fields, parse_labels

LABELS = {"app": "web", "tier": "front", "size": "3", "empty": ""}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("", True),
        ("app=web", True),
        ("app==web,tier=front", True),
        ("app!=web", False),
        ("other!=x", True),
        ("app in (web, api)", True),
        ("app notin (web,api)", False),
        ("other notin (x)", True),
        ("app", True),
        ("!app", False),
        ("!other", True),
        ("size>2", True),
        ("size<3", False),
        ("app>2", False),
        ("empty=", True),
        ("app in (web),tier,!other", True),
        ("in=x", False),
    ],
)
def test_a_label_selector_holds_or_not(text: str, holds: bool) -> None:
    assert parse_labels(text).matches(LABELS) is holds


@pytest.mark.parametrize(
    "text", ["=a", "app in web", "app in (web", "a b", "app=web,", "app=a b", "a>x", "-a=b", "a=-"]
)
def test_a_label_selector_that_is_none_is_a_bad_request(text: str) -> None:
    with pytest.raises(ApiError, match=r"expected: |Invalid value: ") as raised:
        parse_labels(text)
    assert raised.value.code == 400


@given(st.text(alphabet="ab=!(),<> in\t-.é", max_size=20))
def test_no_text_makes_reading_a_label_selector_fail_otherwise(text: str) -> None:
    with contextlib.suppress(ApiError):
        parse_labels(text).matches(LABELS)


def _fields(text: str) -> bool:
    selector = parse_fields(
        text, known=lambda it: it in {"metadata.name", "type"}, unknown=lambda it: f"field label not supported: {it}"
    )
    return selector.matches({"metadata.name": "a,b", "type": "Opaque"})


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("", True),
        (r"metadata.name=a\,b", True),
        ("type==Opaque", True),
        ("type!=Opaque", False),
        ("type=Opaque,metadata.name!=x", True),
    ],
)
def test_a_field_selector_holds_or_not(text: str, holds: bool) -> None:
    assert _fields(text) is holds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("spec.x=1", "field label not supported: spec.x"),
        ("x", "can't understand 'x'"),
        ("metadata.name=a=b", "unescaped character in value: 61"),
        ("metadata.name=a\\x", r"invalid escape sequence: \\x"),
        ("metadata.name=a\\", r"invalid escape sequence: \\$"),
    ],
)
def test_a_field_selector_that_is_none_is_a_bad_request(text: str, message: str) -> None:
    with pytest.raises(ApiError, match=message) as raised:
        _fields(text)
    assert raised.value.code == 400
