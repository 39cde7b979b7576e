"""Parsing: certificates and keys as others wrote them.

What belongs here: what a parser may raise, in one list, and reading a certificate to its last
attribute. What does not: what must be in a certificate (`operators.pki.signer`,
`operators.pki.issue`).

`cryptography` parses a certificate in part only, and the rest when an attribute is read: whatever
is wrong with it must be found here, where a message can name the Secret, and not where the
attribute happens to be read first.
"""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509 import verification

__all__ = ["PARSE_ERRORS", "VERIFY_ERRORS", "read_certificates"]

PARSE_ERRORS: Final = (
    ValueError,  # wrong DER, PEM, text, dates and numbers; UnicodeDecodeError is one
    TypeError,  # a key that needs a password, and extensions of an unexpected form
    OverflowError,  # numbers beyond those of C
    UnsupportedAlgorithm,  # keys, curves and hashes that are not known
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    x509.AttributeNotFound,
)
"""All that reading a certificate or a key raises."""

VERIFY_ERRORS: Final = (
    *PARSE_ERRORS,
    InvalidSignature,
    verification.VerificationError,
    x509.ExtensionNotFound,
)
"""All that checking one against another raises."""


def read_certificates(pem: bytes) -> tuple[x509.Certificate, ...]:
    """Read all certificates of a PEM file, each to its last attribute. Raises ValueError, which says what is wrong."""
    try:
        found = tuple(x509.load_pem_x509_certificates(pem))
        for certificate in found:
            _read(certificate)
    except PARSE_ERRORS as error:
        raise ValueError(str(error) or type(error).__name__) from error
    return found


def _read(certificate: x509.Certificate) -> tuple[object, ...]:
    return (
        certificate.version,
        certificate.serial_number,
        certificate.subject.rfc4514_string(),
        certificate.issuer.rfc4514_string(),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
        certificate.public_key(),
        certificate.signature_algorithm_oid,
        certificate.signature_hash_algorithm,
        [extension.value for extension in certificate.extensions],
    )
