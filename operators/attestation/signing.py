"""Making keys and signatures, for small teams and tests.

What belongs here: key pairs in files, and an occurrence that attests an image. What does not: verification
(`signatures`). For keys that matter, use gpg with a card, a KMS, or cosign; `verify` and the policies take those too.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from pysequoia import SignatureMode, Tsk
from pysequoia import sign as sign_pgp

from operatorkit.errors import InputError
from operators.attestation.images import ImageReference
from operators.attestation.payload import in_toto, jwt_claims, simple_signing
from operators.attestation.signatures.dsse import IN_TOTO, pre_authentication
from operators.attestation.signatures.keys import KeyType, VerificationKey
from operators.attestation.signatures.pkix import ALGORITHMS, read_bare_key

__all__ = ["ALGORITHM_CHOICES", "KeyPair", "attest", "generate", "sign_statement"]

ALGORITHM_CHOICES: Final = tuple(name for name in ALGORITHMS if name != "ML_DSA_65")
_CURVES: Final[Mapping[str, Callable[[], ec.EllipticCurve]]] = {
    "P256": ec.SECP256R1,
    "P384": ec.SECP384R1,
    "P521": ec.SECP521R1,
}
_HASHES: Final = {"SHA256": hashes.SHA256(), "SHA384": hashes.SHA384(), "SHA512": hashes.SHA512()}


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A private key, not encrypted, and its public key, as they are written to files."""

    private: bytes
    public: bytes


def generate(type_: KeyType, algorithm: str, user: str) -> KeyPair:
    """Make a key pair; the algorithm is not for PGP, the user is for PGP only."""
    if type_ == "PGP":
        key = Tsk.generate(user)
        return KeyPair(bytes(key), str(key.extract_certificate()).encode())
    private: Any
    if algorithm == "ED25519":
        private = ed25519.Ed25519PrivateKey.generate()
    elif algorithm.startswith("ECDSA"):
        private = ec.generate_private_key(_CURVES[algorithm.split("_")[1]]())
    else:
        private = rsa.generate_private_key(65537, int(algorithm.split("_")[-2]))
    return KeyPair(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
    )


def attest(
    image: ImageReference,
    note: str,
    private: bytes,
    type_: KeyType,
    algorithm: str | None,
    *,
    now: int,
) -> dict[str, Any]:
    """Return the occurrence that attests an image by a key. `now` is in seconds. Raises InputError."""
    content: dict[str, Any] = {"resourceUri": f"https://{image.pinned}", "noteName": note}
    if type_ == "PGP":
        text = sign_pgp(
            _pgp(private).signer(), str(image.pinned).encode(), mode=SignatureMode.CLEAR
        )
        return content | {"attestation": {"signatures": [{"signature": _b64(text)}]}}
    key = _private(private)
    found = read_bare_key(
        VerificationKey(id="", type=type_, public_key=_public(key), signature_algorithm=algorithm)
    )
    if type_ == "JWT":
        head = f'{{"alg":"{found.jwt_algorithm}","typ":"JWT"}}'.encode()
        signed = _b64url(head) + b"." + _b64url(jwt_claims(image, now))
        signature = _native(_signature(key, found.algorithm, signed), found.coordinate_bytes)
        token = signed + b"." + _b64url(signature)
        return content | {"attestation": {"jwts": [{"compactJwt": token.decode()}]}}
    if type_ == "DSSE":
        envelope = sign_statement(in_toto(image), private, algorithm)
        return content | {"dsseAttestation": {"envelope": envelope}}
    payload = simple_signing(image)
    signature = _signature(key, found.algorithm, payload)
    return content | {
        "attestation": {
            "serializedPayload": _b64(payload),
            "signatures": [{"signature": _b64(signature)}],
        }
    }


def sign_statement(payload: bytes, private: bytes, algorithm: str | None) -> dict[str, Any]:
    """Return the DSSE envelope of an in-toto statement. Raises InputError and PublicKeyError."""
    key = _private(private)
    found = read_bare_key(
        VerificationKey(id="", type="DSSE", public_key=_public(key), signature_algorithm=algorithm)
    )
    signature = _signature(key, found.algorithm, pre_authentication(IN_TOTO, payload))
    return {
        "payload": _b64(payload),
        "payloadType": IN_TOTO,
        "signatures": [{"sig": _b64(signature)}],
    }


def _signature(key: Any, algorithm: str, content: bytes) -> bytes:
    digest: Any = _HASHES.get(algorithm.rpartition("_")[2])
    signature: bytes
    if algorithm.startswith("RSA_PSS"):
        signature = key.sign(content, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
    elif algorithm.startswith("RSA"):
        signature = key.sign(content, padding.PKCS1v15(), digest)
    elif algorithm.startswith("ECDSA"):
        signature = key.sign(content, ec.ECDSA(digest))
    else:
        signature = key.sign(content)
    return signature


def _native(signature: bytes, coordinate_bytes: int | None) -> bytes:
    if coordinate_bytes is None:
        return signature
    r, s = decode_dss_signature(signature)
    return r.to_bytes(coordinate_bytes, "big") + s.to_bytes(coordinate_bytes, "big")


def _pgp(private: bytes) -> Tsk:
    try:
        return Tsk.from_bytes(private)
    except Exception as error:
        raise InputError(f"the key is not a PGP private key: {error}") from error


def _private(pem: bytes) -> Any:
    try:
        return serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"the key is not a private key in PEM without a passphrase: {error}"
        ) from error


def _public(key: Any) -> bytes:
    found: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return found


def _b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _b64url(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")
