"""Certificates: built by the rules, and verified before anybody sees them.

What belongs here: X.509. What does not: Kubernetes, policies, and when to issue
(`operators.pki.plan`). Time, the serial number and the keys are arguments.

The rules: a CA has critical basicConstraints (no pathLen when self-signed) and critical keyUsage
keyCertSign+cRLSign; a leaf critical CA:FALSE, critical keyUsage digitalSignature (and
keyEncipherment for RSA servers: clients sign only), extendedKeyUsage not critical; subjectAltName
is critical if and only if the subject is empty; the subject of what signs itself is not;
subjectKeyIdentifier always; authorityKeyIdentifier is byte for byte the issuer's identifier, and
absent from roots only, as section 4.2.1.1 has it; nameConstraints, where the policy gives them, are
critical; at most 159 bits of serial number; validity begins five minutes ago and never ends after
that of the chain.

Source: https://www.rfc-editor.org/rfc/rfc5280 sections 4.1.2.2, 4.2.1 and 6.1
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from operators.pki.api import Usage
from operators.pki.constraints import extension_of
from operators.pki.keys import PrivateKey, kind_of_key, public_bytes, read_key, write_key
from operators.pki.parsing import VERIFY_ERRORS, read_certificates
from operators.pki.request import COMMON_NAME_MAX_LENGTH, Request
from operators.pki.signer import CaSigner, SelfSigner, Signer, subject_key_identifier

__all__ = [
    "Issued",
    "Material",
    "VerificationError",
    "issue",
    "new_serial",
    "read_material",
    "verify",
]

BACKDATED = timedelta(minutes=5)
SERIAL_BITS = 159
_USAGES: dict[Usage, x509.ObjectIdentifier] = {
    "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "client auth": ExtendedKeyUsageOID.CLIENT_AUTH,
}


class VerificationError(Exception):
    """A certificate is not what was asked for, or would not be accepted; the message says which rule it breaks."""


@dataclass(frozen=True, slots=True)
class Material:
    """What a Secret holds: the certificate with its chain, the root of trust, and the key."""

    certificate: x509.Certificate
    intermediates: tuple[x509.Certificate, ...]
    root: x509.Certificate
    key: PrivateKey

    def data(self) -> dict[str, bytes]:
        """Return the data of the Secret."""
        return {
            "tls.crt": b"".join(
                _pem(certificate) for certificate in (self.certificate, *self.intermediates)
            ),
            "tls.key": write_key(self.key),
            "ca.crt": _pem(self.root),
        }

    @property
    def serial(self) -> str:
        """The serial number, hexadecimal."""
        return f"{self.certificate.serial_number:x}"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, hexadecimal."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()


@dataclass(frozen=True, slots=True)
class Issued:
    """A new certificate. `clamped` says that its life was cut to that of the chain."""

    material: Material
    clamped: bool


def new_serial() -> int:
    """Draw a serial number: positive, and of at most 159 bits, so that DER needs at most 20 octets."""
    return secrets.randbits(SERIAL_BITS) or 1


def issue(
    request: Request, signer: Signer, key: PrivateKey, *, serial: int, now: datetime
) -> Issued:
    """Build a certificate for `key` and verify it. Raises VerificationError; nothing is returned unverified."""
    wanted = now.replace(microsecond=0) + request.duration
    subject = _subject(request, signer)
    if isinstance(signer, CaSigner):
        issuer, signing_key, not_after = (
            signer.certificate.subject,
            signer.key,
            min(wanted, signer.not_after),
        )
    else:
        issuer, signing_key, not_after = subject, key, wanted
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now.replace(microsecond=0) - BACKDATED)
        .not_valid_after(not_after)
    )
    for extension, critical in _extensions(request, signer, key):
        builder = builder.add_extension(extension, critical=critical)
    try:
        certificate = builder.sign(signing_key, _digest(signing_key))
    except ValueError as error:
        raise VerificationError(f"the certificate cannot be built: {error}") from error
    if isinstance(signer, CaSigner):
        material = Material(certificate, signer.intermediates, signer.root, key)
    else:
        material = Material(certificate, (), certificate, key)
    verify(material, request, signer, now=now)
    return Issued(material, clamped=not_after < wanted)


def read_material(data: dict[str, bytes]) -> Material:
    """Read what a Secret holds. Raises VerificationError."""
    missing = [name for name in ("tls.crt", "tls.key", "ca.crt") if not data.get(name)]
    if missing:
        raise VerificationError(f"{' and '.join(missing)} is missing")
    try:
        chain = read_certificates(data["tls.crt"])
        root = read_certificates(data["ca.crt"])[0]
        key = read_key(data["tls.key"])
    except ValueError as error:
        raise VerificationError(f"it cannot be read: {error}") from error
    return Material(chain[0], chain[1:], root, key)


def verify(material: Material, request: Request, signer: Signer, *, now: datetime) -> None:
    """Check that the material is what was asked for, from this signer, and what verifiers accept.

    Raises VerificationError.
    """
    certificate = material.certificate
    if public_bytes(material.key.public_key()) != public_bytes(certificate.public_key()):
        raise VerificationError("the private key does not match the certificate")
    if kind_of_key(material.key) != (request.algorithm, request.size):
        raise VerificationError(f"the key is not {request.algorithm} {request.size or ''}".rstrip())
    if not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc:
        raise VerificationError(
            f"it is valid until {certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ} only"
        )
    _verify_contents(certificate, request, signer, material.key)
    _verify_signature(material, request, signer)
    _verify_chain(material, request, signer, now)


def _verify_contents(
    certificate: x509.Certificate, request: Request, signer: Signer, key: PrivateKey
) -> None:
    found = {
        extension.oid: (extension.value, extension.critical) for extension in certificate.extensions
    }
    wanted = {
        extension.oid: (extension, critical)
        for extension, critical in _extensions(request, signer, key)
    }
    constraints = found.get(x509.NameConstraints.oid)
    if (
        request.is_ca
        and request.name_constraints is None
        and constraints is not None
        and constraints[1]
    ):
        del found[
            x509.NameConstraints.oid
        ]  # those that a policy gave when it was issued: it is not asked again
    for oid in (*wanted, *found):
        if found.get(oid) != wanted.get(oid):
            name = getattr(oid, "_name", oid.dotted_string)
            raise VerificationError(f"its extension {name} is not the requested one")
    if certificate.subject != _subject(request, signer):
        raise VerificationError(f"its subject is {certificate.subject.rfc4514_string()!r}")
    if certificate.serial_number.bit_length() > SERIAL_BITS:
        raise VerificationError(
            f"its serial number has {certificate.serial_number.bit_length()} bits"
        )


def _verify_signature(material: Material, request: Request, signer: Signer) -> None:
    issuer = signer.certificate if isinstance(signer, CaSigner) else material.certificate
    try:
        material.certificate.verify_directly_issued_by(issuer)
    except VERIFY_ERRORS as error:
        raise VerificationError("it was not signed by the current key of the issuer") from error
    if isinstance(signer, CaSigner) and (material.intermediates, material.root) != (
        signer.intermediates,
        signer.root,
    ):
        raise VerificationError("its chain is not that of the issuer")
    if isinstance(signer, SelfSigner) and (
        material.intermediates or material.root != material.certificate
    ):
        raise VerificationError("the chain of a self-signed certificate must contain only itself")
    if request.is_ca and isinstance(signer, CaSigner) and not signer.may_sign_cas:
        raise VerificationError(
            "no certificate that it signs would be accepted: the pathLen of its chain allows no "
            "CA below"
        )
    if isinstance(signer, CaSigner) and material.certificate.not_valid_after_utc > signer.not_after:
        raise VerificationError("it outlives its chain")


def _verify_chain(material: Material, request: Request, signer: Signer, now: datetime) -> None:
    """Verify with the library's path builder, as a client of the certificate would.

    It knows neither CAs as subjects, nor Ed25519, nor clients that trust a leaf itself: those are
    verified by the checks before this one, which are stricter.
    """
    path = (material.certificate, *material.intermediates, material.root)
    if request.is_ca or isinstance(signer, SelfSigner):
        return
    if any(isinstance(certificate.public_key(), ed25519.Ed25519PublicKey) for certificate in path):
        return
    store = verification.Store([material.root])
    builder = (
        verification.PolicyBuilder().store(store).time(now.astimezone(UTC).replace(tzinfo=None))
    )
    intermediates = list(material.intermediates)
    try:
        if "client auth" in request.usages:
            builder.build_client_verifier().verify(material.certificate, intermediates)
        if "server auth" in request.usages:
            for subject in _verifiable_names(request):
                builder.build_server_verifier(subject).verify(material.certificate, intermediates)
    except VERIFY_ERRORS as error:
        raise VerificationError(f"no verifier would accept it: {error}") from error


def _verifiable_names(request: Request) -> list[x509.DNSName | x509.IPAddress]:
    """Return a name of each that is requested; of a wildcard, one of its own length, which no limit cuts."""
    names: list[x509.DNSName | x509.IPAddress] = [
        x509.DNSName(name.replace("*", "w", 1)) for name in request.dns_names
    ]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in request.ip_addresses]
    return names


def _subject(request: Request, signer: Signer) -> x509.Name:
    """Return the subject: the common name, or none; what signs itself needs one, since an issuer must have a name."""
    name = request.common_name
    if name is None and isinstance(signer, SelfSigner):
        name = next(
            (each for _, each in request.names() if len(each) <= COMMON_NAME_MAX_LENGTH), None
        )
        if name is None:  # all are too long for a common name
            return x509.Name([x509.NameAttribute(NameOID.DN_QUALIFIER, request.digest("self"))])
    return x509.Name([] if name is None else [x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _extensions(
    request: Request, signer: Signer, key: PrivateKey
) -> Sequence[tuple[x509.ExtensionType, bool]]:
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=request.is_ca, path_length=_path_length(request, signer)), True),
        (_key_usage(request), True),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
    ]
    if isinstance(signer, CaSigner):
        identifier = subject_key_identifier(signer.certificate)
        extensions.append((x509.AuthorityKeyIdentifier(identifier, None, None), False))
    elif not request.is_ca:
        extensions.append(
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False)
        )
    if request.name_constraints is not None:
        extensions.append((extension_of(request.name_constraints), True))
    if request.usages:
        extensions.append(
            (x509.ExtendedKeyUsage([_USAGES[usage] for usage in request.usages]), False)
        )
    names = _alternative_names(request)
    if names:
        extensions.append((x509.SubjectAlternativeName(names), not _subject(request, signer).rdns))
    return extensions


def _path_length(request: Request, signer: Signer) -> int | None:
    """Return 0 for CAs that another signed: they sign leaves only and are never cross-signed. None for roots."""
    return 0 if request.is_ca and isinstance(signer, CaSigner) else None


def _key_usage(request: Request) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not request.is_ca,
        content_commitment=False,
        key_encipherment=request.algorithm == "RSA" and "server auth" in request.usages,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=request.is_ca,
        crl_sign=request.is_ca,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative_names(request: Request) -> list[x509.GeneralName]:
    return [
        *(x509.DNSName(name) for name in request.dns_names),
        *(x509.IPAddress(ipaddress.ip_address(address)) for address in request.ip_addresses),
        *(x509.UniformResourceIdentifier(uri) for uri in request.uris),
        *(x509.RFC822Name(address) for address in request.email_addresses),
    ]


def _digest(key: PrivateKey) -> Any:
    """Return the hash that goes with a signing key: as strong as its curve, none for Ed25519."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return None
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}[
            key.curve.key_size
        ]
    return hashes.SHA256()


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
