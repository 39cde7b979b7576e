"""Certificates for TLS between operatorkit's own servers and their clients.

What belongs here: an authority and the leaves that it signs, with the extensions that OpenSSL's
strict checks require. What does not: when certificates are renewed and where they are stored
(`operatorkit.webhooks.certificates`, and the credentials of a control plane), and certificates that
users request (`operators.pki`).

Source: RFC 5280, section 4.2; https://docs.openssl.org/master/man3/X509_VERIFY_PARAM_set_flags/ (X509_STRICT)
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

__all__ = [
    "certificate_pem",
    "common_name",
    "host_names",
    "key_pem",
    "new_authority",
    "new_key",
    "new_leaf",
]

_BACKDATED = timedelta(hours=1)  # the clocks of two machines differ
_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a new private key on the curve P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key as PEM, in PKCS #8 and not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """Return a certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def common_name(name: str) -> x509.Name:
    """Return a subject that consists of a common name, of which at most 64 characters are kept."""
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name[:64])])


def host_names(hosts: Iterable[str]) -> x509.SubjectAlternativeName:
    """Return the alternative names of a server: IP addresses as such, everything else as DNS names."""
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return x509.SubjectAlternativeName(names)


def new_authority(
    key: ec.EllipticCurvePrivateKey, name: str, *, now: datetime, life: timedelta
) -> x509.Certificate:
    """Return a self-signed authority that signs leaves only; it is valid from an hour ago until `life` from now."""
    subject = common_name(name)
    return (
        _builder(subject, subject, key, now, life)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
        .sign(key, hashes.SHA256())
    )


def new_leaf(
    key: ec.EllipticCurvePrivateKey,
    subject: x509.Name,
    *,
    signed_by: tuple[x509.Certificate, ec.EllipticCurvePrivateKey],
    purpose: x509.ObjectIdentifier,
    now: datetime,
    life: timedelta,
    names: x509.SubjectAlternativeName | None = None,
) -> x509.Certificate:
    """Return a certificate for a server or a client, as `purpose` says: an OID of `ExtendedKeyUsageOID`.

    It is valid from an hour ago until `life` from now, but never longer than the authority.
    """
    authority, authority_key = signed_by
    signer = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        _builder(
            subject, authority.subject, key, now, min(life, authority.not_valid_after_utc - now)
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage("digital_signature"), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(signer), critical=False
        )
    )
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    return builder.sign(authority_key, hashes.SHA256())


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    life: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*granted: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in granted for usage in _USAGES})
