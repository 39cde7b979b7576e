"""Signatures: from bytes to a verified statement about one digest, or a rejection with a name.

What belongs here: the kinds of signatures, what a signed payload states, and keys. What does not: where signatures and
keys come from, and which of them a policy asks for. Pure: the time is an argument.

    SignedBytes + VerificationKeys + now ──> verify ──> Verified(statement, key, signed time)
                                               │  └──> Rejected(reason, message)
                                               ├── pgp    clearsigned, attached and detached (needs pysequoia)
                                               ├── pkix   bare keys; dsse and jwt: the envelopes around
                                               └── statement  what the payload names: full match, or strict JSON

Rules that hold for every kind: the bytes are verified as they are stored; the statement is read from the bytes that
were verified; key ids choose no key (each key is tried); a payload that is ambiguous is rejected.
"""

from __future__ import annotations

from operators.attestation.signatures.keys import KeyType, VerificationKey
from operators.attestation.signatures.results import Rejected, Rejection, SignedBytes, Verified
from operators.attestation.signatures.statement import Statement
from operators.attestation.signatures.verify import verify

__all__ = [
    "KeyType",
    "Rejected",
    "Rejection",
    "SignedBytes",
    "Statement",
    "VerificationKey",
    "Verified",
    "verify",
]
