"""Verification: a signature against the keys of an authority.

What belongs here: trying each key, and what is said when none fits. What does not: each kind of signature. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from operators.attestation.signatures.dsse import IN_TOTO, pre_authentication, read_in_toto
from operators.attestation.signatures.jwt import verify_jwt
from operators.attestation.signatures.keys import PublicKeyError, VerificationKey, key_problem
from operators.attestation.signatures.pgp import verify_pgp
from operators.attestation.signatures.pkix import read_bare_key
from operators.attestation.signatures.results import (
    MAX_SIGNED_BYTES,
    Rejected,
    Rejection,
    SignedBytes,
    Verified,
)
from operators.attestation.signatures.statement import StatementError, read_statement

__all__ = ["verify"]

_FORMS = {"PGP": "plain", "PKIX": "plain", "Cosign": "plain", "JWT": "jwt", "DSSE": "dsse"}

# what is said when no key fits: the rejection that came furthest
_PROGRESS = (
    Rejection.UNCLEAR_STATEMENT,
    Rejection.SIGNATURE_EXPIRED,
    Rejection.KEY_NOT_VALID,
    Rejection.NO_PAYLOAD,
    Rejection.TOO_LARGE,
    Rejection.NOT_SIGNED_BY_KEY,
    Rejection.MALFORMED,
)


def verify(
    signed: SignedBytes, keys: Sequence[VerificationKey], now: datetime
) -> Verified | Rejected:
    """Return the statement that the first fitting key has made, or why there is none.

    Guarantees: never raises, for any bytes; each key is tried, whatever id the signature claims.
    """
    rejections: list[Rejected] = []
    for key in keys:
        result = _verify_with(signed, key, now)
        if isinstance(result, Verified):
            return result
        rejections.append(result)
    if not rejections:
        return Rejected(Rejection.NOT_SIGNED_BY_KEY, "the authority has no keys")
    return min(rejections, key=lambda rejected: _PROGRESS.index(rejected.reason))


def _verify_with(signed: SignedBytes, key: VerificationKey, now: datetime) -> Verified | Rejected:
    if _FORMS[key.type] != signed.form:
        return Rejected(
            Rejection.NOT_SIGNED_BY_KEY,
            f"key {key.id!r} of type {key.type} does not support signatures of this type",
        )
    if (problem := key_problem(key, now)) is not None:
        return Rejected(Rejection.KEY_NOT_VALID, problem)
    if max(len(signed.signature), len(signed.payload)) > MAX_SIGNED_BYTES:
        return Rejected(
            Rejection.TOO_LARGE,
            f"the signature or its payload has more than {MAX_SIGNED_BYTES} bytes",
        )
    try:
        return _by_pgp(signed, key, now) if key.type == "PGP" else _by_bare_key(signed, key, now)
    except PublicKeyError as error:
        return Rejected(Rejection.KEY_NOT_VALID, f"key {key.id!r}: {error}")
    except StatementError as error:
        return Rejected(Rejection.UNCLEAR_STATEMENT, str(error))


def _by_pgp(signed: SignedBytes, key: VerificationKey, now: datetime) -> Verified | Rejected:
    found = verify_pgp(signed, key, now)
    if isinstance(found, Rejected):
        return found
    return Verified(read_statement(found.payload), key.id, found.fingerprint, found.signed_at)


def _by_bare_key(signed: SignedBytes, key: VerificationKey, now: datetime) -> Verified | Rejected:
    bare = read_bare_key(key)
    if key.type == "JWT":
        token = verify_jwt(signed.signature, bare, now)
        if isinstance(token, Rejected):
            return token
        return Verified(token.statement, key.id, bare.fingerprint, token.signed_at)
    if not signed.payload:
        return Rejected(Rejection.NO_PAYLOAD, "the payload of the signature is missing")
    content = signed.payload
    if key.type == "DSSE":
        if signed.payload_type != IN_TOTO:
            return Rejected(
                Rejection.UNCLEAR_STATEMENT,
                f"the payload type is {signed.payload_type!r}, not {IN_TOTO}",
            )
        content = pre_authentication(signed.payload_type, signed.payload)
    if not bare.verifies(signed.signature, content):
        return Rejected(
            Rejection.NOT_SIGNED_BY_KEY,
            f"the signature is not by key {key.id!r} ({bare.algorithm})",
        )
    if key.type == "DSSE":
        return Verified(read_in_toto(signed.payload), key.id, bare.fingerprint)
    statement = read_statement(
        signed.payload, only="simple-signing" if key.type == "Cosign" else None
    )
    return Verified(statement, key.id, bare.fingerprint)
