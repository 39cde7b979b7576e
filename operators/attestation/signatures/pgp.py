"""PGP signatures, by Sequoia behind a frame that it does not have.

What belongs here: the frame of an armoured message, and verification with one certificate. What does not: which keys
there are (`verify`). Pure, with one exception: Sequoia compares times with the clock of the machine. Needs pysequoia.

Sequoia rejects revoked keys, bad hashes and forged signatures. What it lets pass, and the frame rejects: text before or
after the armour, several messages in one, cleartext headers other than Hash, a certificate that has expired since the
signature was made, and messages that grow without bound when they are decompressed.
"""

from __future__ import annotations

import base64
import binascii
import bz2
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

import pysequoia
from pysequoia import Cert, Sig
from pysequoia.packet import PacketPile, SignatureType, Tag

from operators.attestation.signatures.keys import PublicKeyError, VerificationKey
from operators.attestation.signatures.results import (
    MAX_SIGNED_BYTES,
    Rejected,
    Rejection,
    SignedBytes,
)

__all__ = ["PgpSigned", "claimed_issuer", "fingerprints_of", "read_certificate", "verify_pgp"]

_CLOCK_SKEW: Final = timedelta(minutes=5)
_MAX_CERTIFICATE_BYTES: Final = 1024 * 1024

_BASE64 = r"[A-Za-z0-9+/=\r\n \t]+"
_HEADERS = r"(?:(?:Version|Comment): [^\r\n]*\r?\n)*"
_END = r"[ \t\r\n]*"
_CLEAR = re.compile(
    rf"-----BEGIN PGP SIGNED MESSAGE-----[ \t]*\r?\n(?:Hash: [A-Za-z0-9, -]+\r?\n)*\r?\n(?P<text>.*?)"
    rf"\r?\n(?P<signature>-----BEGIN PGP SIGNATURE-----[ \t]*\r?\n{_HEADERS}\r?\n{_BASE64}"
    rf"-----END PGP SIGNATURE-----){_END}",
    re.DOTALL,
)
_MESSAGE = re.compile(
    rf"-----BEGIN PGP MESSAGE-----[ \t]*\r?\n{_HEADERS}\r?\n(?P<data>{_BASE64})-----END PGP MESSAGE-----{_END}"
)
_DETACHED = re.compile(
    rf"-----BEGIN PGP SIGNATURE-----[ \t]*\r?\n{_HEADERS}\r?\n(?P<data>{_BASE64})-----END PGP SIGNATURE-----{_END}"
)
_CHECKSUM = re.compile(r"\r?\n=[A-Za-z0-9+/]{4}\s*$")
_BEGINS = "-----BEGIN PGP "
_DATA_TYPES = (SignatureType.Binary, SignatureType.Text)  # not hashable


@dataclass(frozen=True, slots=True)
class PgpSigned:
    """The bytes that were signed, and by which certificate, when."""

    payload: bytes
    fingerprint: str
    signed_at: datetime


@lru_cache(maxsize=1024)
def read_certificate(data: bytes) -> Cert:
    """Read one armoured or binary certificate without a secret key. Raises PublicKeyError."""
    if len(data) > _MAX_CERTIFICATE_BYTES:
        raise PublicKeyError(
            f"the PGP key has {len(data)} bytes: export one key, `gpg --armor --export KEY`"
        )
    try:
        tags = [packet.tag for packet in PacketPile.from_bytes(data)]
        certificates = [] if Tag.SecretKey in tags else Cert.split_bytes(data)
    except Exception as error:
        raise PublicKeyError(f"the PGP key cannot be read: {_first_line(error)}") from error
    if Tag.SecretKey in tags:
        raise PublicKeyError(
            "this is a secret PGP key: give the public one, `gpg --armor --export KEY`"
        )
    if len(certificates) != 1:
        raise PublicKeyError(
            f"there are {len(certificates)} PGP keys instead of one: use an entry for each"
        )
    return certificates[0]


def fingerprints_of(key: VerificationKey) -> frozenset[str]:
    """Return the fingerprints of a key and its subkeys; none when it cannot be read."""
    try:
        certificate = read_certificate(key.public_key)
    except PublicKeyError:
        return frozenset()
    packets = PacketPile.from_bytes(bytes(certificate))
    return frozenset(
        packet.fingerprint for packet in packets if packet.tag in (Tag.PublicKey, Tag.PublicSubkey)
    )


def verify_pgp(signed: SignedBytes, key: VerificationKey, now: datetime) -> PgpSigned | Rejected:
    """Verify a clearsigned message, an attached armoured one, or a detached signature over a payload."""
    if len(signed.signature) > MAX_SIGNED_BYTES or len(signed.payload) > MAX_SIGNED_BYTES:
        return Rejected(
            Rejection.TOO_LARGE,
            f"the signature or its payload has more than {MAX_SIGNED_BYTES} bytes",
        )
    try:
        text = signed.signature.decode("utf-8").lstrip(" \t\r\n")
    except UnicodeDecodeError:
        return Rejected(Rejection.MALFORMED, "the PGP signature is not armoured text")
    try:
        certificate = read_certificate(key.public_key)
    except PublicKeyError as error:
        return Rejected(Rejection.KEY_NOT_VALID, f"key {key.id!r}: {error}")
    try:
        return _verified(text, signed.payload, key, certificate, now)
    except _FrameError as error:
        return Rejected(error.reason, str(error))
    except BaseException as error:
        # any getter of Sequoia's objects raises for values that it does not know, and a panic is no Exception
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            return Rejected(
                Rejection.MALFORMED, f"the PGP signature cannot be read: {_first_line(error)}"
            )
        raise


def claimed_issuer(signature: bytes) -> str | None:
    """Return the fingerprint that a signature says it is by, unverified: a hint for what to look at first."""
    at = signature.rfind(b"-----BEGIN PGP SIGNATURE")
    try:
        fingerprint: str | None = (
            Sig.from_bytes(signature[at:]).issuer_fingerprint if at >= 0 else None
        )
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it claims nothing
        return None
    return fingerprint


class _FrameError(ValueError):
    def __init__(self, message: str, reason: Rejection = Rejection.MALFORMED) -> None:
        super().__init__(message)
        self.reason = reason


def _verified(
    text: str, payload: bytes, key: VerificationKey, certificate: Cert, now: datetime
) -> PgpSigned | Rejected:
    if clear := _CLEAR.fullmatch(text):
        if _BEGINS in clear["text"]:
            raise _FrameError("the message holds a second armour")
        signature = _one_signature(_decoded(clear["signature"]))
        found = _call(lambda store: pysequoia.verify(bytes=text.encode(), store=store), certificate)
    elif attached := _MESSAGE.fullmatch(text):
        data = _uncompressed(_base64(attached["data"]))
        signature = _one_signature(data)
        found = _call(lambda store: pysequoia.verify(bytes=data, store=store), certificate)
    elif detached := _DETACHED.fullmatch(text):
        if not payload:
            raise _FrameError(
                "the payload of the detached PGP signature is missing",
                Rejection.NO_PAYLOAD,
            )
        raw = _base64(detached["data"])
        signature = _one_signature(raw)
        found = _call(
            lambda store: pysequoia.verify(
                bytes=payload, store=store, signature=Sig.from_bytes(raw)
            ),
            certificate,
        )
    else:
        raise _FrameError(
            "the PGP signature is not exactly one armoured message: there is text before or after it, a header other "
            "than Hash, or no armour (make it with gpg --clearsign, or gpg --armor --sign)"
        )
    if isinstance(found, Rejected):
        return found
    return _in_time(found, signature, key, certificate, now)


def _call(
    verify: Callable[[Callable[[list[str]], list[Cert]]], pysequoia.Decrypted], certificate: Cert
) -> pysequoia.Decrypted | Rejected:
    try:
        found = verify(lambda _: [certificate])
    except Exception as error:  # noqa: BLE001 - Sequoia raises RuntimeError and others, for whatever is wrong
        return Rejected(
            Rejection.NOT_SIGNED_BY_KEY,
            f"not a valid PGP signature by this key: {_first_line(error)}",
        )
    if not found.valid_sigs or any(
        sig.certificate != certificate.fingerprint for sig in found.valid_sigs
    ):
        return Rejected(Rejection.NOT_SIGNED_BY_KEY, "not a valid PGP signature by this key")
    return found


def _in_time(
    found: pysequoia.Decrypted,
    signature: Sig,
    key: VerificationKey,
    certificate: Cert,
    now: datetime,
) -> PgpSigned | Rejected:
    """Check what Sequoia checks by the time of the signature, by the time of now."""
    created = signature.created
    if found.bytes is None or created is None:
        return Rejected(Rejection.MALFORMED, "the PGP signature has no payload or no creation time")
    for end in (
        certificate.expiration,
        _subkey_expiration(certificate, found.valid_sigs[0].signing_key),
    ):
        if end is not None and now >= end:
            return Rejected(
                Rejection.KEY_NOT_VALID, f"key {key.id!r} has expired at {end.isoformat()}"
            )
    if certificate.is_revoked:
        return Rejected(Rejection.KEY_NOT_VALID, f"key {key.id!r} is revoked")
    if signature.expiration is not None and now >= signature.expiration:
        return Rejected(
            Rejection.SIGNATURE_EXPIRED,
            f"the signature has expired at {signature.expiration.isoformat()}",
        )
    if created > now + _CLOCK_SKEW:
        return Rejected(
            Rejection.SIGNATURE_EXPIRED,
            f"the signature was made in the future, at {created.isoformat()}",
        )
    return PgpSigned(found.bytes, certificate.fingerprint, created.astimezone(UTC))


def _subkey_expiration(certificate: Cert, fingerprint: str) -> datetime | None:
    """Return when a subkey expires, by the last binding that says so; None for the primary key."""
    created: datetime | None = None
    end: datetime | None = None
    mine = False
    for packet in PacketPile.from_bytes(bytes(certificate)):
        if packet.tag in (Tag.PublicSubkey, Tag.PublicKey):
            mine = packet.tag == Tag.PublicSubkey and packet.fingerprint == fingerprint
            created = packet.key_created if mine else created
        elif (
            mine
            and packet.tag == Tag.Signature
            and packet.signature_type == SignatureType.SubkeyBinding
        ):
            period = packet.key_validity_period
            end = created + period if created is not None and period else None
    return end


def _one_signature(data: bytes) -> Sig:
    """Return the only signature among packets; with several, one would vouch for the others."""
    try:
        packets = list(PacketPile.from_bytes(data))
    except Exception as error:
        raise _FrameError(f"the PGP packets cannot be read: {_first_line(error)}") from error
    allowed = (Tag.Signature, Tag.OnePassSig, Tag.Literal)
    signatures = [packet for packet in packets if packet.tag == Tag.Signature]
    if len(signatures) != 1 or any(packet.tag not in allowed for packet in packets):
        raise _FrameError(
            f"there are {len(signatures)} PGP signatures, or other packets: send exactly one "
            f"signature"
        )
    if signatures[0].signature_type not in _DATA_TYPES:
        raise _FrameError("the PGP signature is not over data")
    try:
        return Sig.from_bytes(bytes(signatures[0]))
    except Exception as error:
        raise _FrameError(f"the PGP signature cannot be read: {_first_line(error)}") from error


def _decoded(armour: str) -> bytes:
    match = _DETACHED.fullmatch(armour)
    if match is None:
        raise _FrameError("the armour of the PGP signature cannot be read")
    return _base64(match["data"])


def _base64(data: str) -> bytes:
    body = _CHECKSUM.sub("", data.rstrip())
    try:
        return base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _FrameError(f"the armour of the PGP signature is not base64: {error}") from error


# Compression ---------------------------------------------------------------------------------------------------------


def _uncompressed(data: bytes) -> bytes:
    """Return packets as they are, or those in one compressed packet, at most MAX_SIGNED_BYTES of them."""
    tag, body = _first_packet(data)
    if tag != 8:
        return data
    if not body:
        raise _FrameError("the compressed PGP packet is empty")
    algorithm, content = body[0], body[1:]
    try:
        if algorithm == 0:
            return content
        inflated = _inflate(algorithm, content)
    except (zlib.error, OSError, ValueError, EOFError) as error:
        raise _FrameError(f"the compressed PGP packet cannot be read: {error}") from error
    if len(inflated) > MAX_SIGNED_BYTES:
        raise _FrameError(
            f"the PGP message has more than {MAX_SIGNED_BYTES} bytes", Rejection.TOO_LARGE
        )
    return inflated


def _inflate(algorithm: int, content: bytes) -> bytes:
    limit = MAX_SIGNED_BYTES + 1
    if algorithm == 1:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, limit)
    if algorithm == 2:
        return zlib.decompressobj().decompress(content, limit)
    if algorithm == 3:
        return bz2.BZ2Decompressor().decompress(content, limit)
    raise _FrameError(f"the PGP message is compressed by algorithm {algorithm}, which is not known")


def _first_packet(data: bytes) -> tuple[int, bytes]:
    """Return tag and body of the first packet; a body of partial or indeterminate length goes to the end.

    Source: RFC 9580, section 4.2
    """
    if len(data) < 2 or not data[0] & 0x80:
        raise _FrameError("the armour holds no PGP packets")
    if not data[0] & 0x40:  # the old format
        tag, kind = (data[0] >> 2) & 0x0F, data[0] & 0x03
        size = (1, 2, 4, 0)[kind]
        if kind == 3:
            return tag, data[1:]
        return tag, _exactly(data, 1 + size, int.from_bytes(data[1 : 1 + size], "big"))
    tag, first = data[0] & 0x3F, data[1]
    if first < 192:
        return tag, _exactly(data, 2, first)
    if first < 224:
        return tag, _exactly(data, 3, ((first - 192) << 8) + int.from_bytes(data[2:3], "big") + 192)
    if first == 255:
        return tag, _exactly(data, 6, int.from_bytes(data[2:6], "big"))
    return tag, _joined(data) if tag == 8 else b""


def _exactly(data: bytes, begin: int, length: int) -> bytes:
    body = data[begin : begin + length]
    if len(body) != length:
        raise _FrameError("a PGP packet is cut off")
    if data[0] & 0x3F == 8 and data[0] & 0x40 and len(data) != begin + length:
        raise _FrameError("there is data after the compressed PGP packet")
    return body


def _joined(data: bytes) -> bytes:
    """Join the parts of a packet of partial lengths."""
    parts, at = [], 1
    while True:
        if at >= len(data):
            raise _FrameError("a PGP packet is cut off")
        first = data[at]
        if 224 <= first < 255:
            size = 1 << (first & 0x1F)
            parts.append(data[at + 1 : at + 1 + size])
            at += 1 + size
            continue
        last = _first_packet(bytes([0xC8]) + data[at:])[1]
        return b"".join([*parts, last])


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
