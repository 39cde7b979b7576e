"""The reasons of conditions and Events: CamelCase words that people search for and programs match.

What belongs here: each word, once, and what it means. They are part of the stable interface: never
renamed.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "CERTIFICATE_ISSUED",
    "CERTIFICATE_RENEWED",
    "DENIED_BY_POLICY",
    "INVALID_SPEC",
    "ISSUER_NOT_FOUND",
    "ISSUER_NOT_READY",
    "ISSUER_READY",
    "KEY_POLICY_MISMATCH",
    "POLICY_READY",
    "PROFILE_VIOLATION",
    "RETRY_SCHEDULED",
    "SECRET_CONFLICT",
    "SECRET_NOT_FOUND",
    "SIGNING_FAILED",
    "UP_TO_DATE",
]

DENIED_BY_POLICY: Final = "DeniedByPolicy"
"""No CertificatePolicy allows the request in its namespace; the message names the nearest allowed name."""
INVALID_SPEC: Final = "InvalidSpec"
"""The spec asks for something that cannot be; the message names every field, its value and the remedy."""
ISSUER_NOT_FOUND: Final = "IssuerNotFound"
"""The issuer that the certificate refers to does not exist."""
ISSUER_NOT_READY: Final = "IssuerNotReady"
"""The issuer exists but cannot sign: its Secret is missing, invalid, expired, or its key does not match."""
SECRET_CONFLICT: Final = "SecretConflict"  # noqa: S105 - not a password
"""The Secret belongs to an older Certificate, or to an owner that this operator does not know; it is left as it is."""
SECRET_NOT_FOUND: Final = "SecretNotFound"  # noqa: S105 - not a password
"""At a Pod: it waits for a Secret that does not exist and that no Certificate writes; one writes a similar name."""
SIGNING_FAILED: Final = "SigningFailed"
"""A certificate was signed but did not pass verification, so it was not written."""
PROFILE_VIOLATION: Final = "ProfileViolation"
"""The issuer's chain forbids what is asked for; no attempt is made until the spec or the issuer changes."""
KEY_POLICY_MISMATCH: Final = "KeyPolicyMismatch"
"""rotationPolicy Never keeps a key of another kind or size than spec.privateKey asks for."""
RETRY_SCHEDULED: Final = "RetryScheduled"
"""An attempt failed for a reason that may pass; the message says when the next one is made."""
CERTIFICATE_ISSUED: Final = "CertificateIssued"
"""The Secret holds a new certificate."""
CERTIFICATE_RENEWED: Final = "CertificateRenewed"
"""The Secret holds a certificate that replaced one of the same request."""

UP_TO_DATE: Final = "UpToDate"
"""Condition Ready: the Secret holds a valid certificate for this spec."""
ISSUER_READY: Final = "IssuerReady"
"""Condition Ready of an issuer: it can sign."""
POLICY_READY: Final = "PolicyReady"
"""Condition Ready of a policy: it is understood."""
