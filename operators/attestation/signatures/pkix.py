"""Signatures by bare public keys: RSA, ECDSA, Ed25519 and ML-DSA-65.

What belongs here: reading a key in PEM, the algorithm that goes with it, and verification over bytes. What does not:
what the bytes state, and the envelopes around them (`dsse`, `jwt`). Pure.

One key has one algorithm: it is given, or follows from the key. A signature never chooses it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa

from operators.attestation.signatures.keys import PublicKeyError, VerificationKey

__all__ = ["ALGORITHMS", "BareKey", "read_bare_key"]

_CURVES: dict[str, tuple[str, Any, str]] = {
    "secp256r1": ("ECDSA_P256_SHA256", hashes.SHA256(), "ES256"),
    "secp384r1": ("ECDSA_P384_SHA384", hashes.SHA384(), "ES384"),
    "secp521r1": ("ECDSA_P521_SHA512", hashes.SHA512(), "ES512"),
}
_RSA_SIZES = (2048, 3072, 4096)
_RSA: dict[str, tuple[int, Any, bool, str]] = {  # size, hash, PSS, JWT's name
    **{f"RSA_PSS_{size}_SHA256": (size, hashes.SHA256(), True, "PS256") for size in _RSA_SIZES},
    **{
        f"RSA_SIGN_PKCS1_{size}_SHA256": (size, hashes.SHA256(), False, "RS256")
        for size in _RSA_SIZES
    },
    "RSA_PSS_4096_SHA512": (4096, hashes.SHA512(), True, "PS512"),
    "RSA_SIGN_PKCS1_4096_SHA512": (4096, hashes.SHA512(), False, "RS512"),
}
ALGORITHMS: Final = (*_RSA, *(name for name, _, _ in _CURVES.values()), "ED25519", "ML_DSA_65")
"""The names of algorithms, as Binary Authorization has them where it has them."""


@dataclass(frozen=True, slots=True)
class BareKey:
    """A public key with its one algorithm. `jwt_algorithm` is JWT's word for it; `fingerprint` is of the key alone."""

    algorithm: str
    jwt_algorithm: str
    fingerprint: str
    check: Callable[[bytes, bytes], None]
    coordinate_bytes: int | None = None

    def verifies(self, signature: bytes, content: bytes) -> bool:
        """Return whether the signature is by this key over these bytes."""
        try:
            self.check(signature, content)
        except (InvalidSignature, ValueError, UnsupportedAlgorithm):
            return False
        return True


def read_bare_key(key: VerificationKey) -> BareKey:
    """Read the key in PEM. Raises PublicKeyError, which says what is wrong with the key or its algorithm."""
    return _read(
        key.public_key, key.signature_algorithm, "RSA_SIGN_PKCS1" if key.type == "Cosign" else None
    )


@lru_cache(maxsize=1024)
def _read(data: bytes, algorithm: str | None, rsa_default: str | None) -> BareKey:
    try:
        public = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise PublicKeyError(
            f"the key is not a public key in PEM (-----BEGIN PUBLIC KEY-----): {error}"
        ) from error
    fingerprint = hashlib.sha256(
        public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    ).hexdigest()
    size: int | None = None
    match public:
        case rsa.RSAPublicKey():
            return _rsa(public, algorithm, rsa_default, fingerprint)
        case ec.EllipticCurvePublicKey():
            found = _CURVES.get(public.curve.name)
            if found is None:
                raise PublicKeyError(
                    f"the key is on the curve {public.curve.name}: use P-256, P-384 or P-521"
                )
            name, digest, jwt = found
            size = (public.curve.key_size + 7) // 8
            check = _ecdsa(public, digest)
        case ed25519.Ed25519PublicKey():
            name, jwt, check = "ED25519", "EdDSA", _plain(public)
        case mldsa.MLDSA65PublicKey():
            name, jwt, check = "ML_DSA_65", "ML-DSA-65", _plain(public)
        case _:
            raise PublicKeyError(
                f"the key is a {type(public).__name__}: use RSA, ECDSA, Ed25519 or ML-DSA-65"
            )
    if algorithm not in {None, name}:
        raise PublicKeyError(
            f"signatureAlgorithm is {algorithm}, but the key is one for {name}: write that, or nothing"
        )
    return BareKey(name, jwt, fingerprint, check, size)


def _rsa(
    public: rsa.RSAPublicKey, algorithm: str | None, default: str | None, fingerprint: str
) -> BareKey:
    if public.key_size not in _RSA_SIZES:
        raise PublicKeyError(f"the RSA key has {public.key_size} bits: use 2048, 3072 or 4096")
    if algorithm is None and default is not None:
        algorithm = f"{default}_{public.key_size}_SHA256"
    if algorithm is None:
        raise PublicKeyError(
            f"an RSA key needs signatureAlgorithm, such as RSA_PSS_{public.key_size}_SHA256"
        )
    found = _RSA.get(algorithm)
    if found is None or found[0] != public.key_size:
        raise PublicKeyError(
            f"signatureAlgorithm is {algorithm}, but the key is an RSA key of {public.key_size} bits"
        )
    _, digest, is_pss, jwt = found
    scheme: Any = (
        padding.PSS(padding.MGF1(digest), digest.digest_size) if is_pss else padding.PKCS1v15()
    )

    def check(signature: bytes, content: bytes) -> None:
        public.verify(signature, content, scheme, digest)

    return BareKey(algorithm, jwt, fingerprint, check)


def _ecdsa(public: ec.EllipticCurvePublicKey, digest: Any) -> Callable[[bytes, bytes], None]:
    def check(signature: bytes, content: bytes) -> None:
        public.verify(signature, content, ec.ECDSA(digest))

    return check


def _plain(public: Any) -> Callable[[bytes, bytes], None]:
    def check(signature: bytes, content: bytes) -> None:
        public.verify(signature, content)

    return check
