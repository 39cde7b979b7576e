"""JSON Web Tokens that attest a digest, as Binary Authorization defines them.

What belongs here: reading a compact token, its header and its claims. What does not: cryptography (`pkix`). Pure.

The algorithm is the key's: a token that says another one, `none` among them, is rejected before anything is verified.

Source: RFC 7515, RFC 7519
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from operators.attestation.signatures.pkix import BareKey
from operators.attestation.signatures.results import Rejected, Rejection
from operators.attestation.signatures.statement import (
    Statement,
    StatementError,
    check_statement_digest,
    strict_json,
)

__all__ = ["JwtSigned", "verify_jwt"]

_SUBJECT: Final = "container:digest:"
_AUDIENCES = frozenset({"//binaryauthorization.googleapis.com", "attest.operatorkit.dev"})
_CLOCK_SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class JwtSigned:
    """What a token states, and when it says that it was made."""

    statement: Statement
    signed_at: datetime | None


def verify_jwt(token: bytes, key: BareKey, now: datetime) -> JwtSigned | Rejected:
    """Verify a compact token by one key."""
    parts = token.split(b".")
    if len(parts) != 3:
        return Rejected(Rejection.MALFORMED, "the JWT does not have three parts")
    try:
        header, signature = strict_json(_decoded(parts[0]).decode()), _decoded(parts[2])
        problem = _header_problem(header, key)
    except (StatementError, UnicodeDecodeError) as error:
        return Rejected(Rejection.MALFORMED, f"the JWT cannot be read: {error}")
    if problem is not None:
        return Rejected(Rejection.NOT_SIGNED_BY_KEY, problem)
    if not key.verifies(_native(signature, key), parts[0] + b"." + parts[1]):
        return Rejected(Rejection.NOT_SIGNED_BY_KEY, "the JWT is not signed by this key")
    try:
        claims = strict_json(_decoded(parts[1]).decode())
        moments = {name: _moment(claims, name) for name in ("exp", "nbf", "iat")}
        statement = _statement(claims)
    except (StatementError, UnicodeDecodeError) as error:
        return Rejected(
            Rejection.UNCLEAR_STATEMENT, f"the claims of the JWT are not accepted: {error}"
        )
    ends, begins, made = moments["exp"], moments["nbf"], moments["iat"]
    if ends is not None and now >= ends:
        return Rejected(Rejection.SIGNATURE_EXPIRED, f"the JWT has expired at {ends.isoformat()}")
    if any(moment is not None and moment > now + _CLOCK_SKEW for moment in (begins, made)):
        return Rejected(Rejection.SIGNATURE_EXPIRED, "the JWT is not valid yet")
    return JwtSigned(statement, made)


def _header_problem(header: Mapping[str, Any], key: BareKey) -> str | None:
    if header.get("alg") != key.jwt_algorithm:
        return f"the JWT says alg {header.get('alg')!r}, but the algorithm of the key is {key.jwt_algorithm}"
    if header.get("typ") not in {None, "JWT"}:
        return f"the JWT has typ {header.get('typ')!r}: expected JWT"
    if unknown := set(header) - {"alg", "typ", "kid"}:
        return f"the header of the JWT has {min(unknown)!r}, which is not accepted"
    return None


def _statement(claims: Mapping[str, Any]) -> Statement:
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject.startswith(_SUBJECT):
        raise StatementError(f"sub is {subject!r}: expected {_SUBJECT}sha256:...")
    if claims.get("aud") not in _AUDIENCES:
        raise StatementError(
            f"aud is {claims.get('aud')!r}: expected one of {', '.join(sorted(_AUDIENCES))}"
        )
    digest = subject.removeprefix(_SUBJECT)
    check_statement_digest(digest, "sub")
    return Statement(digest, None, "digest")


def _moment(claims: Mapping[str, Any], name: str) -> datetime | None:
    value = claims.get(name)
    if value is None:
        return None
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 <= value < 253402300800
    ):
        raise StatementError(f"{name} is not a time in seconds")
    return datetime.fromtimestamp(value, UTC)


def _native(signature: bytes, key: BareKey) -> bytes:
    """Return a signature as the library takes it: JWT writes the two numbers of ECDSA one after the other."""
    size = key.coordinate_bytes
    if size is None:
        return signature
    if len(signature) != 2 * size:
        return b""
    return encode_dss_signature(
        int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
    )


def _decoded(part: bytes) -> bytes:
    if b"=" in part:
        raise StatementError("a part of the token has padding")
    try:
        decoded = base64.b64decode(part + b"=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise StatementError(f"a part of the token is not base64url: {error}") from error
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != part:
        raise StatementError("a part of the token is not in canonical base64url")
    return decoded
