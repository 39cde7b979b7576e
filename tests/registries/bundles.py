"""A CA like GitHub's for attestations, and the bundles that its short-lived certificates sign."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from operators.attestation.signatures.dsse import IN_TOTO, pre_authentication

__all__ = ["BUILDER", "ISSUER", "WORKFLOW", "SigningAuthority", "provenance"]

WORKFLOW = "https://github.com/team/app/.github/workflows/release.yml@refs/heads/main"
BUILDER = "https://github.com/actions/runner/github-hosted"
ISSUER = "https://token.actions.githubusercontent.com"
_ISSUER_OID = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_TEN_MINUTES = timedelta(minutes=10)


def _b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def provenance(name: str, digest: str, builder: str = BUILDER) -> bytes:
    """Return the SLSA provenance of an image, as `actions/attest-build-provenance` writes it."""
    content = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {"buildType": "https://actions.github.io/buildtypes/workflow/v1"},
            "runDetails": {"builder": {"id": builder}},
        },
    }
    return json.dumps(content).encode()


@dataclass
class SigningAuthority:
    """A root, an intermediate, and what they issue. `made` is when its leaves are made."""

    made: datetime = field(default_factory=lambda: datetime.now(UTC) - timedelta(days=30))

    def __post_init__(self) -> None:
        self._root_key = ec.generate_private_key(ec.SECP384R1())
        self._key = ec.generate_private_key(ec.SECP384R1())
        self.root = self._issue("root", self._root_key.public_key(), "root", self._root_key, ca=True)
        self.intermediate = self._issue("intermediate", self._key.public_key(), "root", self._root_key, ca=True)

    def _issue(
        self, name: str, public: Any, issuer: str, key: Any, *, ca: bool, extensions: Any = ()
    ) -> x509.Certificate:
        begins = self.made - timedelta(days=365) if ca else self.made
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if ca else []))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(self.made + (timedelta(days=3650) if ca else _TEN_MINUTES))
        )
        if ca:
            builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        for value, critical in extensions:
            builder = builder.add_extension(value, critical=critical)
        return builder.sign(key, hashes.SHA384())

    def trusted_root(self, *, start: datetime | None = None, end: datetime | None = None) -> str:
        """Return the line that `gh attestation trusted-root` prints for this CA."""
        chain = [self.intermediate, self.root]
        valid = {"start": (start or self.made - timedelta(days=365)).isoformat()}
        if end is not None:
            valid["end"] = end.isoformat()
        certificates = [{"rawBytes": _b64(one.public_bytes(Encoding.DER))} for one in chain]
        authority = {"uri": "fulcio.example", "certChain": {"certificates": certificates}, "validFor": valid}
        media_type = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
        return json.dumps({"mediaType": media_type, "certificateAuthorities": [authority]})

    def bundle(
        self,
        payload: bytes,
        *,
        identity: str = WORKFLOW,
        issuer: str = ISSUER,
        usage: Any = ExtendedKeyUsageOID.CODE_SIGNING,
        ca: bool = False,
        more: Any = (),
        payload_type: str = IN_TOTO,
    ) -> dict[str, Any]:
        """Return a bundle of v0.3 whose envelope a new leaf has signed."""
        key = ec.generate_private_key(ec.SECP256R1())
        named = bytes([0x0C, len(issuer)]) + issuer.encode()
        extensions = [
            (x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]), True),
            (x509.ExtendedKeyUsage([usage]), False),
            (x509.UnrecognizedExtension(_ISSUER_OID, named), False),
            *more,
        ]
        leaf = self._issue("leaf", key.public_key(), "intermediate", self._key, ca=ca, extensions=extensions)
        signature = key.sign(pre_authentication(payload_type, payload), ec.ECDSA(hashes.SHA256()))
        return {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": {"rawBytes": _b64(leaf.public_bytes(Encoding.DER))},
                "tlogEntries": [],
                "timestampVerificationData": {},
            },
            "dsseEnvelope": {
                "payload": _b64(payload),
                "payloadType": payload_type,
                "signatures": [{"sig": _b64(signature)}],
            },
        }
