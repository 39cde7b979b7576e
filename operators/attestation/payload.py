"""What is signed for an image.

What belongs here: the payloads that this operator's commands sign. What does not: reading them (`signatures`). Pure.
"""

from __future__ import annotations

import json

from operators.attestation.images import ImageReference

__all__ = ["in_toto", "jwt_claims", "simple_signing"]


def simple_signing(image: ImageReference) -> bytes:
    """Return the simple-signing payload of an image: it names the repository and the digest."""
    content = {
        "critical": {
            "identity": {"docker-reference": image.name},
            "image": {"docker-manifest-digest": image.digest},
            "type": "atomic container signature",
        },
        "optional": {},
    }
    return json.dumps(content, separators=(",", ":")).encode()


def in_toto(image: ImageReference) -> bytes:
    """Return an in-toto statement about an image, without a predicate of its own."""
    assert image.digest is not None, "an image that is signed has a digest"
    algorithm, _, encoded = image.digest.partition(":")
    content = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": image.name, "digest": {algorithm: encoded}}],
        "predicateType": "https://attest.operatorkit.dev/attestation/v1",
        "predicate": {},
    }
    return json.dumps(content, separators=(",", ":")).encode()


def jwt_claims(image: ImageReference, issued_at: int) -> bytes:
    """Return the claims of a token about an image."""
    content = {
        "sub": f"container:digest:{image.digest}",
        "aud": "attest.operatorkit.dev",
        "iat": issued_at,
    }
    return json.dumps(content, separators=(",", ":")).encode()
