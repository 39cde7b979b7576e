"""What counts as an answer, and the words for what does not."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from operatorkit.controlplane.embedded.admission.review import CallFailed, denial, read_verdict

REVIEW = {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {"uid": "u"}}


def body(review: dict[str, Any] | None = None, **response: Any) -> bytes:
    head = {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"} | (review or {})
    return json.dumps(head | {"response": {"uid": "u", **response}}).encode()


def encoded(value: Any) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


@pytest.mark.parametrize(
    ("answer", "mutating", "reported"),
    [
        (b"", False, "0-length response"),
        (b"{", False, "couldn't get version/kind; json parse error"),
        (b"[" * 100_000, False, "couldn't get version/kind; json parse error"),
        (b"[]", False, "couldn't get version/kind"),
        (body({"kind": "Pod", "apiVersion": "v1"}), False, 'no kind "Pod" is registered for version "v1"'),
        (body({"kind": "", "apiVersion": ""}), False, "expected webhook response of admission.k8s.io/v1"),
        (body(uid="x"), False, 'expected response.uid="u", got "x"'),
        (body(allowed="yes"), False, "cannot unmarshal"),
        (body(allowed=True, patch=encoded([])), False, "validating webhook may not return response.patch"),
        (body(allowed=True, patchType="JSONPatch"), False, "validating webhook may not return response.patchType"),
        (body(allowed=True, patch=encoded([])), True, "webhook returned response.patch but not response.patchType"),
        (body(allowed=True, patchType="JSONPatch"), True, "response.patchType but not response.patch"),
        (body(allowed=True, patch="!", patchType="JSONPatch"), True, "illegal base64 data at input byte 0"),
        (body(allowed=True, patch=encoded({}), patchType="JSONPatch"), True, "received undecodable patch"),
        (body(allowed=True, patch=encoded([{}]), patchType="Merge"), True, 'unsupported patch type "Merge"'),
    ],
)
def test_an_answer_that_answers_nothing_is_said_to(answer: bytes, mutating: bool, reported: str) -> None:
    with pytest.raises(CallFailed) as caught:
        read_verdict(answer, REVIEW, mutating=mutating)
    assert reported in str(caught.value)


def test_an_answer_without_allowed_denies() -> None:
    verdict = read_verdict(body(), REVIEW, mutating=False)
    assert not verdict.allowed


def test_a_denial_with_a_code_that_http_cannot_say_is_an_error_of_the_server() -> None:
    assert denial("a.b.c", {"code": 1000}).status["code"] == 500


@pytest.mark.parametrize(("code", "given"), [(400, 0), (400, -1), (400, 200), (403, 403), (600, 600)])
def test_a_denial_is_an_error_whatever_its_code(code: int, given: int) -> None:
    rejection = denial("a.b.c", {"code": given, "message": "no"})
    assert rejection.status["code"] == code
    assert rejection.status["message"] == 'admission webhook "a.b.c" denied the request: no'
