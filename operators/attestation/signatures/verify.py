"""Verification: a signature against the keys of an authority.

What belongs here: trying each key, and what is said when none fits. What does not: each kind of signature. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from operators.attestation.signatures.keys import VerificationKey, key_fault
from operators.attestation.signatures.pgp import verify_pgp
from operators.attestation.signatures.results import Rejected, Rejection, SignedBytes, Verified
from operators.attestation.signatures.statement import StatementError, read_statement

__all__ = ["verify"]

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


def verify(signed: SignedBytes, keys: Sequence[VerificationKey], now: datetime) -> Verified | Rejected:
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
    match key.type:
        case "PGP":
            found = verify_pgp(signed, key, now)
            if isinstance(found, Rejected):
                return found
            payload, fingerprint, signed_at = found.payload, found.fingerprint, found.signed_at
        case _:
            return Rejected(Rejection.KEY_NOT_VALID, f"key {key.id!r} is of type {key.type}, which is not verified yet")
    if (fault := key_fault(key, now)) is not None:
        return Rejected(Rejection.KEY_NOT_VALID, fault)
    try:
        return Verified(read_statement(payload), key.id, fingerprint, signed_at)
    except StatementError as error:
        return Rejected(Rejection.UNCLEAR_STATEMENT, str(error))
