"""DSSE envelopes with in-toto statements.

What belongs here: the bytes that a DSSE signature is over, and the digest that an in-toto statement names. What does
not: cryptography (`pkix`). Pure.

Source: https://github.com/secure-systems-lab/dsse/blob/master/protocol.md,
https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md and https://slsa.dev/spec/v1.0/provenance
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from operators.attestation.signatures.statement import (
    Statement,
    StatementError,
    check_statement_digest,
    strict_json,
)

__all__ = ["IN_TOTO", "pre_authentication", "read_in_toto"]

IN_TOTO: Final = "application/vnd.in-toto+json"
_PROVENANCE = "https://slsa.dev/provenance/"
_TYPES = frozenset({"https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"})


def pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that are signed: both parts with their lengths, so that neither can lend from the other."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def read_in_toto(payload: bytes) -> Statement:
    """Return the one digest that an in-toto statement is about. Raises StatementError."""
    try:
        content = strict_json(payload.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise StatementError("the payload is not UTF-8 text") from error
    if content.get("_type") not in _TYPES:
        raise StatementError(
            f"_type is {content.get('_type')!r}: expected one of {', '.join(sorted(_TYPES))}"
        )
    subjects = content.get("subject")
    if not isinstance(subjects, list) or len(subjects) != 1:
        raise StatementError(
            "the in-toto statement must have exactly one subject: sign one statement for each image"
        )
    digests: Any = subjects[0].get("digest") if isinstance(subjects[0], dict) else None
    encoded = digests.get("sha256") if isinstance(digests, dict) else None
    if not isinstance(encoded, str):
        raise StatementError("subject[0].digest.sha256 is missing")
    digest = f"sha256:{encoded}"
    check_statement_digest(digest, "subject[0].digest.sha256")
    return Statement(digest, None, "in-toto", builder=_builder(content))


def _builder(content: Mapping[str, Any]) -> str | None:
    """Return the id of the builder, where the statement is SLSA provenance: of v1, or of v0.2 and v0.1."""
    if not str(content.get("predicateType", "")).startswith(_PROVENANCE):
        return None
    predicate = content.get("predicate")
    details = predicate.get("runDetails") if isinstance(predicate, dict) else None
    holder = details if isinstance(details, dict) else predicate
    builder = holder.get("builder") if isinstance(holder, dict) else None
    found = builder.get("id") if isinstance(builder, dict) else None
    return found if isinstance(found, str) and found else None
