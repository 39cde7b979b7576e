"""What goes into a verification and what comes out of it.

What belongs here: the values. What does not: cryptography. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from operators.attestation.signatures.statement import Statement

__all__ = ["MAX_SIGNED_BYTES", "Rejected", "Rejection", "SignedBytes", "Verified"]

MAX_SIGNED_BYTES = 256 * 1024


class Rejection(StrEnum):
    """Why a signature proves nothing."""

    MALFORMED = "Malformed"
    """The bytes are not a signature of the kind, or there is something before, after or beside it."""
    TOO_LARGE = "TooLarge"
    """Signature or payload are larger than any attestation."""
    NO_PAYLOAD = "NoPayload"
    """A detached signature without what it signs."""
    NOT_SIGNED_BY_KEY = "NotSignedByKey"
    """None of the keys has made the signature, or it uses an algorithm that is not accepted."""
    KEY_NOT_VALID = "KeyNotValid"
    """The key that made it is revoked, expired, or not valid yet."""
    SIGNATURE_EXPIRED = "SignatureExpired"
    """The signature itself says until when it holds, and that is over; or it was made in the future."""
    UNCLEAR_STATEMENT = "UnclearStatement"
    """The signature is good, but its payload does not name one digest in a form that is accepted."""


@dataclass(frozen=True, slots=True)
class SignedBytes:
    """A signature as it is stored, with its payload where that is apart.

    `form` is how it was stored: only keys that make such signatures are tried. An envelope has a payload type.
    """

    signature: bytes
    payload: bytes = b""
    form: Literal["plain", "jwt", "dsse"] = "plain"
    payload_type: str = ""


@dataclass(frozen=True, slots=True)
class Verified:
    """A statement that one key has made.

    `fingerprint` is that of the key material, so that one key under two ids counts once. `signed_at` is what the
    signer says, None where the kind of signature does not say.
    """

    statement: Statement
    key_id: str
    fingerprint: str
    signed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """No statement: the reason, and a message for people."""

    reason: Rejection
    message: str
