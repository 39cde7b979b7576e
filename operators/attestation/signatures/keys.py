"""Verification keys: what an authority trusts.

What belongs here: the value, and whether a key may be used at a time. What does not: reading key material (`pgp`).
Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

__all__ = ["KeyType", "PublicKeyError", "VerificationKey", "key_problem"]


class PublicKeyError(ValueError):
    """A public key cannot be used; the message says why."""


KeyType = Literal["PGP", "PKIX", "JWT", "DSSE", "Cosign"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationKey:
    """One public key of an authority. `id` is for messages; it never decides which key is tried.

    A key counts from `not_before` until `not_after`, both by the time of verification. From `revoked_at` on, none of
    its signatures counts, whenever it says that it was made: who has stolen a key can write any time.
    """

    id: str
    type: KeyType
    public_key: bytes
    signature_algorithm: str | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None
    revoked_at: datetime | None = None


def key_problem(key: VerificationKey, now: datetime) -> str | None:
    """Return why a key may not be used now, None when it may."""
    if key.revoked_at is not None and now >= key.revoked_at:
        return f"key {key.id!r} is revoked since {key.revoked_at.isoformat()}"
    if key.not_after is not None and now >= key.not_after:
        return f"key {key.id!r} has expired at {key.not_after.isoformat()}"
    if key.not_before is not None and now < key.not_before:
        return f"key {key.id!r} is not valid before {key.not_before.isoformat()}"
    return None
