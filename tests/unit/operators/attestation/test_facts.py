"""Signatures in occurrences: each form is found, and only below the note of the authority."""

from __future__ import annotations

import base64

import pytest

from operators.attestation.facts import signed_bytes
from operators.attestation.signatures import SignedBytes

NOTE = "projects/p/notes/qa"
X = base64.b64encode(b"x").decode()
Y = base64.b64encode(b"y").decode()

FORMS = [
    ({"attestation": {"signatures": [{"signature": X}]}}, [SignedBytes(b"x")]),
    ({"attestation": {"serializedPayload": Y, "signatures": [{"signature": X, "publicKeyId": "k"}]}}, [SignedBytes(b"x", b"y")]),
    ({"attestation": {"jwts": [{"compactJwt": "a.b.c"}]}}, [SignedBytes(b"a.b.c", form="jwt")]),
    (
        {"dsseAttestation": {"envelope": {"payload": Y, "payloadType": "t", "signatures": [{"sig": X}, {"sig": Y}]}}},
        [SignedBytes(b"x", b"y", "dsse", "t"), SignedBytes(b"y", b"y", "dsse", "t")],
    ),
    ({"attestation": {}}, []),
    ({"attestation": {"signatures": ["x", {"signature": "%"}, {"signature": 5}, {}]}}, []),
    ({"attestation": {"serializedPayload": "%", "signatures": [{"signature": X}]}}, []),
    ({"dsseAttestation": {"envelope": {"payload": Y, "signatures": [{"sig": X}]}}}, []),
    ({"build": {}}, []),
]  # fmt: skip


@pytest.mark.parametrize(("content", "expected"), FORMS)
def test_each_form_of_signature_is_found(content, expected):
    assert list(signed_bytes({"noteName": NOTE, **content}, NOTE)) == expected
    assert list(signed_bytes({"noteName": f"{NOTE}-evil", **content}, NOTE)) == []


@pytest.mark.parametrize("occurrence", [None, "x", [], {}])
def test_what_is_no_occurrence_has_no_signatures(occurrence):
    assert list(signed_bytes(occurrence, NOTE)) == []
