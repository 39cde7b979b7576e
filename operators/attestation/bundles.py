"""Sigstore bundles: a DSSE envelope beside the certificate, or the name of the key, that has signed it.

What belongs here: the bundles of `cosign sign`, `cosign attest` and `gh attestation download`, and verifying one that a
short-lived certificate has signed. What does not: registries (`cosign`), and signatures by keys of an authority
(`signatures`): the envelope of such a bundle is uploaded as it is. Pure.

What `verify_bundle` verifies: the signature of the envelope by the key of the certificate, the chain of certificates to
a CA of the trusted root, the identity and the OIDC issuer in the certificate, and the digest in the statement. What it
does not: the transparency log, timestamps and signed certificate timestamps. So the time of the signature is not
proven: an attacker who obtains the private key of a certificate could sign after the ten minutes for which it is valid.

Source: https://github.com/sigstore/protobuf-specs (bundle, trusted root) and
https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from operators.attestation.signatures.dsse import IN_TOTO, pre_authentication, read_in_toto
from operators.attestation.signatures.keys import PublicKeyError, VerificationKey
from operators.attestation.signatures.pkix import read_bare_key
from operators.attestation.signatures.results import MAX_SIGNED_BYTES
from operators.attestation.signatures.statement import Statement, StatementError

__all__ = [
    "BUNDLE_TYPE",
    "Bundle",
    "BundleError",
    "CertificateAuthority",
    "read_bundle",
    "read_bundles",
    "read_trusted_root",
    "verify_bundle",
]

BUNDLE_TYPE: Final = "application/vnd.dev.sigstore.bundle"
"""How the media types of bundles begin, whatever their version."""
_ROOT_TYPE: Final = "application/vnd.dev.sigstore.trustedroot"
_MAX_LINES: Final = 1000
_ISSUER: Final = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_UTF8_STRING: Final = 0x0C


class BundleError(ValueError):
    """A bundle or a trusted root cannot be read, or a bundle proves nothing; the message says why."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A DSSE envelope. `certificate` is in DER; None where a public key has signed."""

    payload: bytes
    payload_type: str
    signature: bytes
    certificate: bytes | None

    @property
    def envelope(self) -> dict[str, Any]:
        """The envelope as an occurrence has it."""
        return {
            "payload": base64.b64encode(self.payload).decode(),
            "payloadType": self.payload_type,
            "signatures": [{"sig": base64.b64encode(self.signature).decode()}],
        }


@dataclass(frozen=True, slots=True)
class CertificateAuthority:
    """A chain from the certificate that issues leaves to a root, and when it was in use."""

    chain: tuple[x509.Certificate, ...]
    start: datetime
    end: datetime | None


# Reading -------------------------------------------------------------------------------------------------------------


def read_bundles(content: bytes) -> list[Bundle]:
    """Return the bundles of a file: one, or one on each line. Raises BundleError."""
    return [read_bundle(one) for one in _objects(content, "a bundle")]


def read_bundle(content: Mapping[str, Any]) -> Bundle:
    """Return a bundle with a DSSE envelope. Raises BundleError."""
    media_type = content.get("mediaType")
    if not isinstance(media_type, str) or not media_type.startswith(BUNDLE_TYPE):
        raise BundleError(f"mediaType is {media_type!r}: expected {BUNDLE_TYPE}.v0.3+json")
    envelope = content.get("dsseEnvelope")
    if not isinstance(envelope, dict):
        raise BundleError("the bundle has no dsseEnvelope: only attestations have one")
    signatures = envelope.get("signatures")
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise BundleError("dsseEnvelope.signatures must have exactly one signature")
    material = content.get("verificationMaterial")
    payload_type = envelope.get("payloadType")
    if not isinstance(payload_type, str):
        raise BundleError("dsseEnvelope.payloadType is missing")
    return Bundle(
        payload=_base64(envelope.get("payload"), "dsseEnvelope.payload"),
        payload_type=payload_type,
        signature=_base64(
            signatures[0].get("sig") if isinstance(signatures[0], dict) else None,
            "dsseEnvelope.signatures[0].sig",
        ),
        certificate=_leaf(material if isinstance(material, dict) else {}),
    )


def _leaf(material: Mapping[str, Any]) -> bytes | None:
    """Return the certificate of the signer: bundles before v0.3 have it first in a chain."""
    found = material.get("certificate")
    chain = material.get("x509CertificateChain")
    if found is None and isinstance(chain, dict):
        found = next(iter(chain.get("certificates") or ()), None)
    if not isinstance(found, dict):
        return None
    return _base64(found.get("rawBytes"), "verificationMaterial.certificate.rawBytes")


def read_trusted_root(content: bytes) -> list[CertificateAuthority]:
    """Return the CAs of a trusted root, as `gh attestation trusted-root` prints it. Raises BundleError."""
    found: list[CertificateAuthority] = []
    for root in _objects(content, "a trusted root"):
        if not str(root.get("mediaType")).startswith(_ROOT_TYPE):
            raise BundleError(
                f"mediaType is {root.get('mediaType')!r}: expected {_ROOT_TYPE}+json;version=0.1"
            )
        found += [_authority(one) for one in root.get("certificateAuthorities") or ()]
    if not found:
        raise BundleError("the trusted root has no certificateAuthorities")
    return found


def _authority(content: Any) -> CertificateAuthority:
    try:
        chain = tuple(
            x509.load_der_x509_certificate(base64.b64decode(one["rawBytes"], validate=True))
            for one in content["certChain"]["certificates"]
        )
        valid = content["validFor"]
        end = valid.get("end")
        start = datetime.fromisoformat(valid["start"])
        ends = None if end is None else datetime.fromisoformat(end)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"certificateAuthorities cannot be read: {error!r}") from error
    if not chain:
        raise BundleError("certificateAuthorities has a certChain without certificates")
    return CertificateAuthority(chain, start, ends)


def _objects(content: bytes, what: str) -> list[Mapping[str, Any]]:
    """Return the JSON objects of a file: JSON, or JSON Lines."""
    try:
        whole = json.loads(content)
    except ValueError:
        whole = None
    lines = [line for line in content.splitlines() if line.strip()] if whole is None else [content]
    if not lines or len(lines) > _MAX_LINES:
        raise BundleError(f"{what} has {len(lines)} lines: expected 1 to {_MAX_LINES}")
    objects: list[Mapping[str, Any]] = []
    for number, line in enumerate(lines, 1):
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BundleError(f"line {number} of {what} is not JSON: {error}") from error
        if not isinstance(found, dict):
            raise BundleError(f"line {number} of {what} is not a JSON object")
        objects.append(found)
    return objects


def _base64(text: Any, where: str) -> bytes:
    try:
        found = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError) as error:
        raise BundleError(f"{where} is not base64: {error}") from error
    if not found:
        raise BundleError(f"{where} is missing")
    return found


# Verifying -----------------------------------------------------------------------------------------------------------


def verify_bundle(
    bundle: Bundle,
    authorities: Sequence[CertificateAuthority],
    *,
    digest: str,
    identity: str,
    issuer: str,
) -> Statement:
    """Return the statement about a digest that a certificate of an identity has signed. Raises BundleError.

    `identity` is the URI in the certificate; `*` in it stands for any text without `/`.
    """
    if bundle.certificate is None:
        raise BundleError(
            "the bundle has no certificate: a key has signed it, so upload it as it is"
        )
    if bundle.payload_type != IN_TOTO:
        raise BundleError(f"the payload type is {bundle.payload_type!r}, not {IN_TOTO}")
    if len(bundle.payload) > MAX_SIGNED_BYTES:
        raise BundleError(f"the payload has more than {MAX_SIGNED_BYTES} bytes")
    try:
        leaf = x509.load_der_x509_certificate(bundle.certificate)
        _check_leaf(leaf)
        _check_identity(leaf, identity, issuer)
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension) as error:
        raise BundleError(f"the certificate is not accepted: {error}") from error
    if not any(_issued(leaf, authority) for authority in authorities):
        raise BundleError("no CA of the trusted root has issued the certificate")
    if not _signed(leaf, bundle):
        raise BundleError("the envelope is not signed by the key of the certificate")
    try:
        statement = read_in_toto(bundle.payload)
    except StatementError as error:
        raise BundleError(str(error)) from error
    if statement.digest != digest:
        raise BundleError(f"the statement is about {statement.digest}, not {digest}")
    return statement


def _check_leaf(leaf: x509.Certificate) -> None:
    """Raise ValueError unless the certificate is for signing, of a leaf, and wholly understood."""
    for extension in leaf.extensions:
        if extension.critical and isinstance(extension.value, x509.UnrecognizedExtension):
            raise BundleError(f"it has the critical extension {extension.oid.dotted_string}")
    usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    if ExtendedKeyUsageOID.CODE_SIGNING not in usages:
        raise BundleError("it is not for code signing")
    if _may_issue(leaf):
        raise BundleError("it is one of a CA")


def _check_identity(leaf: x509.Certificate, identity: str, issuer: str) -> None:
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    found = names.get_values_for_type(x509.UniformResourceIdentifier)
    pattern = "[^/]*".join(re.escape(part) for part in identity.split("*"))
    if len(found) != 1 or re.fullmatch(pattern, found[0]) is None:
        raise BundleError(f"it is of {', '.join(found) or 'no URI'}, not of {identity}")
    value = leaf.extensions.get_extension_for_oid(_ISSUER).value
    named = _utf8(value.value) if isinstance(value, x509.UnrecognizedExtension) else None
    if named != issuer:
        raise BundleError(f"its OIDC issuer is {named!r}, not {issuer!r}")


def _utf8(der: bytes) -> str | None:
    """Return a UTF8String of at most 127 bytes in DER, which issuers are; None for anything else."""
    if len(der) < 2 or der[0] != _UTF8_STRING or der[1] != len(der) - 2 or der[1] > 127:
        return None
    try:
        return der[2:].decode()
    except UnicodeDecodeError:
        return None


def _issued(leaf: x509.Certificate, authority: CertificateAuthority) -> bool:
    """Return whether a CA has issued the certificate while it was in use."""
    made = leaf.not_valid_before_utc
    if made < authority.start or (authority.end is not None and made > authority.end):
        return False
    return _chains(leaf, authority.chain, made)


def _chains(leaf: x509.Certificate, chain: Iterable[x509.Certificate], made: datetime) -> bool:
    child = leaf
    for parent in chain:
        if not parent.not_valid_before_utc <= made <= parent.not_valid_after_utc:
            return False
        try:
            child.verify_directly_issued_by(parent)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            return False
        if not _may_issue(parent):
            return False
        child = parent
    return True


def _may_issue(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (ValueError, x509.ExtensionNotFound):
        return False


def _signed(leaf: x509.Certificate, bundle: Bundle) -> bool:
    try:
        public = leaf.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        key = read_bare_key(VerificationKey(id="certificate", type="DSSE", public_key=public))
    except (PublicKeyError, ValueError, UnsupportedAlgorithm) as error:
        raise BundleError(f"the key of the certificate: {error}") from error
    return key.verifies(bundle.signature, pre_authentication(bundle.payload_type, bundle.payload))
