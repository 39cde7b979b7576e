"""Signers: who signs certificates, and what their Secret must hold.

What belongs here: the CA read from a Secret, checked, and the self-signer. What does not: the
certificates themselves (`operators.pki.issue`) and how Secrets are fetched
(`operators.pki.reconcile`).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509

from operators.pki.keys import PrivateKey, kind_of_key, public_bytes, read_key
from operators.pki.parsing import VERIFY_ERRORS, read_certificates

__all__ = ["CaSigner", "SelfSigner", "Signer", "SignerError", "read_ca", "subject_key_identifier"]

MINIMUM_LIFE = timedelta(hours=1)


class SignerError(Exception):
    """An issuer cannot sign; the message says what is wrong with its Secret, and the remedy first.

    `until` is when it will be able to, where time alone is the remedy; `absent` says that there is
    no such Secret, and `invalid` that the issuer's spec is wrong.
    """

    def __init__(
        self,
        message: str,
        *,
        until: datetime | None = None,
        absent: bool = False,
        invalid: bool = False,
    ) -> None:
        super().__init__(message)
        self.invalid = invalid
        self.until = until
        self.absent = absent


@dataclass(frozen=True, slots=True)
class CaSigner:
    """A CA: `chain` begins with its own certificate, and each next one signed the one before. `root` ends the chain."""

    key: PrivateKey
    chain: tuple[x509.Certificate, ...]
    root: x509.Certificate

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate whose key signs."""
        return self.chain[0]

    @property
    def intermediates(self) -> tuple[x509.Certificate, ...]:
        """What a server sends after its own certificate: the chain without a root."""
        return tuple(
            certificate for certificate in self.chain if certificate.subject != certificate.issuer
        )

    @property
    def path(self) -> tuple[x509.Certificate, ...]:
        """All of the chain, up to the root."""
        return self.chain if self.chain[-1] == self.root else (*self.chain, self.root)

    @property
    def not_after(self) -> datetime:
        """The end of the first certificate of the chain that ends."""
        return min(certificate.not_valid_after_utc for certificate in self.path)

    @property
    def may_sign_cas(self) -> bool:
        """Whether a CA that it signs could sign in turn: no pathLen of the chain forbids that."""
        lengths = [_path_length(certificate) for certificate in self.path]
        return all(length is None or length > depth for depth, length in enumerate(lengths))


@dataclass(frozen=True, slots=True)
class SelfSigner:
    """Signs each certificate with the certificate's own key."""


Signer = CaSigner | SelfSigner


def read_ca(secret: str, data: Mapping[str, bytes], now: datetime) -> CaSigner:
    """Read and check the CA in the data of a Secret; `secret` is its namespace and name, for messages.

    Raises SignerError: a key is missing, invalid or does not match, the certificate is no CA,
    the chain does not hold together, or it has expired.
    """
    missing = [name for name in ("tls.crt", "tls.key") if not data.get(name)]
    if missing:
        raise SignerError(
            f"Put the CA into {' and '.join(missing)} of Secret {secret}: it is missing"
        )
    chain = _read_certificates(secret, "tls.crt", data["tls.crt"])
    try:
        key = read_key(data["tls.key"])
    except ValueError as error:
        raise SignerError(
            f"Put the CA's private key into tls.key of Secret {secret}: {error}"
        ) from error
    if public_bytes(key.public_key()) != public_bytes(chain[0].public_key()):
        raise SignerError(
            f"Put the key of the certificate {_name(chain[0])} into tls.key of Secret {secret}: "
            f"the key in it does not match the certificate in tls.crt"
        )
    root = (
        _read_certificates(secret, "ca.crt", data["ca.crt"])[0] if data.get("ca.crt") else chain[-1]
    )
    for certificate in dict.fromkeys((*chain, root)):
        _check_ca(secret, certificate, now)
    _check_links(secret, chain, root)
    return CaSigner(key, chain, root)


def subject_key_identifier(certificate: x509.Certificate) -> bytes:
    """Return what a CA calls its key, for those that it signs to repeat."""
    return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


def _read_certificates(secret: str, key: str, pem: bytes) -> tuple[x509.Certificate, ...]:
    try:
        return read_certificates(pem)
    except ValueError as error:
        raise SignerError(
            f"Put certificates in PEM into {key} of Secret {secret}: they cannot be read: {error}"
        ) from error


def _check_ca(secret: str, certificate: x509.Certificate, now: datetime) -> None:
    name = _name(certificate)
    extensions = certificate.extensions
    if not certificate.subject.rdns:
        raise SignerError(
            f"Replace the CA in Secret {secret} by one with a subject: verifiers identify it by "
            f"its subject"
        )
    try:
        basic = extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        basic = None
    if basic is None or not basic.value.ca or not basic.critical:
        raise SignerError(
            f"Replace {name} in Secret {secret} by a CA: it lacks the critical extension "
            f"basicConstraints CA:TRUE"
        )
    try:
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        usage = None
    if usage is None or not usage.key_cert_sign:
        raise SignerError(
            f"Replace {name} in Secret {secret} by a CA with the extension keyUsage keyCertSign and cRLSign: it "
            f"{'has no keyUsage' if usage is None else 'may not sign certificates'}"
        )
    _check_key_identifiers(secret, name, certificate, extensions)
    kind = kind_of_key(certificate.public_key())
    if kind is None or (kind[0] == "RSA" and kind[1] < 2048):
        raise SignerError(
            f"Replace {name} in Secret {secret} by a CA with an ECDSA (P-256, P-384, P-521), Ed25519 or RSA key of at "
            f"least 2048 bits"
        )
    if certificate.not_valid_before_utc > now:
        begin = certificate.not_valid_before_utc
        raise SignerError(
            f"Wait until {begin:%Y-%m-%dT%H:%M:%SZ}: {name} in Secret {secret} is not valid before",
            until=begin,
        )
    if certificate.not_valid_after_utc <= now + MINIMUM_LIFE:
        raise SignerError(
            f"Renew the CA in Secret {secret}: {name} ends at {certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
        )


def _check_key_identifiers(
    secret: str, name: str, certificate: x509.Certificate, extensions: x509.Extensions
) -> None:
    """Reject a CA whose chains strict verifiers do not accept: they find each issuer by the identifier of its key."""
    needed: list[type[x509.ExtensionType]] = [x509.SubjectKeyIdentifier]
    if certificate.subject != certificate.issuer:
        needed.append(x509.AuthorityKeyIdentifier)
    for kind in needed:
        try:
            extensions.get_extension_for_class(kind)
        except x509.ExtensionNotFound as error:
            lacking = kind.__name__[0].lower() + kind.__name__[1:]
            raise SignerError(
                f"Replace {name} in Secret {secret} by a CA with the extension {lacking}: it has none"
            ) from error


def _check_links(secret: str, chain: tuple[x509.Certificate, ...], root: x509.Certificate) -> None:
    path = chain if chain[-1] == root else (*chain, root)
    for lower, upper in itertools.pairwise(path):
        try:
            lower.verify_directly_issued_by(upper)
        except VERIFY_ERRORS as error:
            raise SignerError(
                f"Order the chain in Secret {secret} from the CA upwards: {_name(upper)} did not sign {_name(lower)}"
            ) from error
    if root.subject == root.issuer:
        try:
            root.verify_directly_issued_by(root)
        except VERIFY_ERRORS as error:
            raise SignerError(
                f"Replace {_name(root)} in Secret {secret}: it was changed after it was signed, or is not the root"
            ) from error
    for cas_below, certificate in enumerate(path):
        length = _path_length(certificate)
        if length is not None and length < cas_below:
            raise SignerError(
                f"Replace {_name(certificate)} in Secret {secret}: its pathLen {length} is below {cas_below}"
            )


def _path_length(certificate: x509.Certificate) -> int | None:
    return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or "a certificate without a subject"
