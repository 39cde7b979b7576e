"""Verification: a signature against the keys of an authority.

What belongs here: trying each key, and what is said when none fits. What does not: each kind of signature. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from operators.attestation.signatures.keys import VerificationKey, key_fault
from operators.attestation.signatures.pgp import verify_pgp
from operators.attestation.signatures.results import Refusal, Refused, SignedBytes, Verified
from operators.attestation.signatures.statement import StatementError, read_statement

__all__ = ["verify"]

# what is said when no key fits: the refusal that came furthest
_PROGRESS = (
    Refusal.UNCLEAR_STATEMENT,
    Refusal.SIGNATURE_EXPIRED,
    Refusal.KEY_NOT_VALID,
    Refusal.NO_PAYLOAD,
    Refusal.TOO_LARGE,
    Refusal.NOT_SIGNED_BY_KEY,
    Refusal.MALFORMED,
)


def verify(signed: SignedBytes, keys: Sequence[VerificationKey], now: datetime) -> Verified | Refused:
    """Return the statement that the first fitting key has made, or why there is none.

    Guarantees: never raises, for any bytes; each key is tried, whatever id the signature claims.
    """
    refusals: list[Refused] = []
    for key in keys:
        result = _verify_with(signed, key, now)
        if isinstance(result, Verified):
            return result
        refusals.append(result)
    if not refusals:
        return Refused(Refusal.NOT_SIGNED_BY_KEY, "the authority has no keys")
    return min(refusals, key=lambda refused: _PROGRESS.index(refused.reason))


def _verify_with(signed: SignedBytes, key: VerificationKey, now: datetime) -> Verified | Refused:
    match key.type:
        case "PGP":
            found = verify_pgp(signed, key, now)
            if isinstance(found, Refused):
                return found
            payload, fingerprint, signed_at = found.payload, found.fingerprint, found.signed_at
        case _:
            return Refused(Refusal.KEY_NOT_VALID, f"key {key.id!r} is of type {key.type}, which is not verified yet")
    if (fault := key_fault(key, now)) is not None:
        return Refused(Refusal.KEY_NOT_VALID, fault)
    try:
        return Verified(read_statement(payload), key.id, fingerprint, signed_at)
    except StatementError as error:
        return Refused(Refusal.UNCLEAR_STATEMENT, str(error))
