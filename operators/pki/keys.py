"""Private keys: made, written and read.

What belongs here: the three kinds of keys and their PEM form. What does not: certificates
(`operators.pki.issue`).
"""

from __future__ import annotations

from typing import cast

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from operators.pki.api import KeyAlgorithm
from operators.pki.parsing import PARSE_ERRORS

__all__ = [
    "PrivateKey",
    "PublicKey",
    "generate_key",
    "kind_of_key",
    "public_bytes",
    "read_key",
    "write_key",
]

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey

_CURVES: dict[int, type[ec.EllipticCurve]] = {
    256: ec.SECP256R1,
    384: ec.SECP384R1,
    521: ec.SECP521R1,
}
_RSA_EXPONENT = 65537


def generate_key(algorithm: KeyAlgorithm, size: int) -> PrivateKey:
    """Make a key. One of RSA takes tens to hundreds of milliseconds."""
    if algorithm == "RSA":
        return rsa.generate_private_key(_RSA_EXPONENT, size)
    if algorithm == "Ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(_CURVES[size]())


def read_key(pem: bytes) -> PrivateKey:
    """Read an unencrypted key in PEM. Raises ValueError, which says what is wrong and shows nothing of the key."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
        public_bytes(cast("PrivateKey", key).public_key())
    except TypeError as error:
        raise ValueError("the private key is encrypted: store it without a password") from error
    except PARSE_ERRORS as error:
        raise ValueError("it is not a private key in PEM") from error
    if not isinstance(key, PrivateKey):
        raise ValueError(  # noqa: TRY004
            f"a key of type {type(key).__name__} cannot be used: use ECDSA, RSA or Ed25519"
        )
    return key


def write_key(key: PrivateKey) -> bytes:
    """Write a key as PEM, PKCS 8."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def kind_of_key(key: object) -> tuple[KeyAlgorithm, int] | None:
    """Return algorithm and size (0 for Ed25519) of a private or public key, or None for other kinds and curves."""
    if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        curve = _CURVES.get(key.curve.key_size)
        return (
            ("ECDSA", key.curve.key_size)
            if curve is not None and isinstance(key.curve, curve)
            else None
        )
    if isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey):
        return "RSA", key.key_size
    if isinstance(key, ed25519.Ed25519PrivateKey | ed25519.Ed25519PublicKey):
        return "Ed25519", 0
    return None


def public_bytes(key: object) -> bytes:
    """Return a public key as DER, to compare it with another."""
    return cast("PublicKey", key).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
