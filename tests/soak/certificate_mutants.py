"""One-byte mutants of certificates, keys and PEM files: whatever is read of them, the outcome is a named error.

What belongs here: the originals, the mutations, and what reads them. What does not: which error it is.

    python -m soak.certificate_mutants [--count N] [--first SEED]
"""

from __future__ import annotations

import argparse
import random
import ssl
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from operators.pki.issue import Material, VerificationError, issue, read_material, verify
from operators.pki.keys import generate_key, kind_of_key, read_key
from operators.pki.request import Request
from operators.pki.signer import SelfSigner, Signer, SignerError, read_ca
from soak.certificates import CONSTRAINTS, request_of

__all__ = ["Original", "mutate_many", "originals"]

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
_CHUNK = 5000
NAMED = (VerificationError, SignerError)


@dataclass(frozen=True, slots=True)
class Original:
    """A file, how it is written into its Secret, and what reads that."""

    name: str
    content: bytes
    armoured: Callable[[bytes], bytes]
    read: Callable[[bytes], None]


def mutate_many(*, count: int, first: int = 0) -> tuple[Counter[str], list[str]]:
    """Read mutants; return how often each outcome was seen, and what escaped, with what makes it again."""
    rng, files = random.Random(first), originals()
    seen, escaped = Counter[str](), list[str]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is deprecated: it is read, or it is not
        for index in range(count):
            original = files[index % len(files)]
            content = bytearray(original.content)
            place, difference = rng.randrange(len(content)), rng.randrange(1, 256)
            content[place] ^= difference
            try:
                original.read(original.armoured(bytes(content)))
            except NAMED as error:
                seen[f"{original.name}: {type(error).__name__}"] += 1
            except BaseException as error:  # noqa: BLE001 - a parser in Rust may panic, which is no Exception
                escaped.append(f"{original.name}, byte {place} xor {difference}: {type(error).__name__}: {error}")
            else:
                seen[f"{original.name}: accepted"] += 1
    return seen, escaped


def originals() -> list[Original]:
    """Return leaves, CAs and keys of every kind, as DER in PEM and as PEM itself."""
    root_request = _request({"isCA": True, "commonName": "root", "duration": "87600h"})
    root = _made(root_request, SelfSigner())
    authority = read_ca("ns/ca", root.data(), NOW)
    constrained = replace(root_request, common_name="below", name_constraints=CONSTRAINTS)
    names = {"dnsNames": ["a.example"], "ipAddresses": ["10.0.0.1"], "uris": ["spiffe://e.org/a"]}
    found = []
    for kind in ({}, {"algorithm": "RSA"}, {"algorithm": "Ed25519"}):
        request = _request({**names, "emailAddresses": ["a@example.com"], "privateKey": kind})
        found += _leaf(kind.get("algorithm", "ECDSA"), request, _made(request, authority), authority)
    found += _ca("root", root) + _ca("CA with name constraints", _made(constrained, authority))
    return found


def _leaf(name: str, request: Request, material: Material, signer: Signer) -> list[Original]:
    data = material.data()

    def stored(**changed: bytes) -> None:
        verify(
            read_material({**data, **{key.replace("_", "."): value for key, value in changed.items()}}),
            request,
            signer,
            now=NOW,
        )

    key = material.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return [
        Original(
            f"{name} leaf", material.certificate.public_bytes(Encoding.DER), _armour, lambda pem: stored(tls_crt=pem)
        ),
        Original(f"{name} leaf, PEM", data["tls.crt"], bytes, lambda pem: stored(tls_crt=pem)),
        Original(f"{name} key", key, lambda der: _armour(der, "PRIVATE KEY"), lambda pem: stored(tls_key=pem)),
        Original(f"{name} key, PEM", data["tls.key"], bytes, lambda pem: stored(tls_key=pem)),
        Original(f"{name} key alone", key, lambda der: _armour(der, "PRIVATE KEY"), _read_key),
        Original(f"{name} root of trust, PEM", data["ca.crt"], bytes, lambda pem: stored(ca_crt=pem)),
    ]


def _ca(name: str, material: Material) -> list[Original]:
    data = material.data()
    rest = data["tls.crt"].partition(b"-----END CERTIFICATE-----\n")[2]

    def read(pem: bytes) -> None:
        signer = read_ca("ns/ca", {**data, "tls.crt": pem + rest}, NOW)
        assert (signer.not_after, signer.may_sign_cas, signer.intermediates) is not None

    def read_alone(pem: bytes) -> None:
        read_ca("ns/ca", {"tls.crt": pem + rest, "tls.key": data["tls.key"]}, NOW)

    der = material.certificate.public_bytes(Encoding.DER)
    return [
        Original(name, der, _armour, read),
        Original(f"{name}, without ca.crt", der, _armour, read_alone),
        Original(f"{name}, PEM", data["tls.crt"], bytes, lambda pem: read(pem.removesuffix(rest))),
        Original(f"{name}, key", data["tls.key"], bytes, lambda pem: _read_ca_key(data, pem)),
    ]


def _read_key(pem: bytes) -> None:
    try:
        kind_of_key(read_key(pem))
    except ValueError as error:
        if type(error) is not ValueError:  # one of a parser, whose message may show the key
            raise
        raise VerificationError(str(error)) from error


def _read_ca_key(data: dict[str, bytes], pem: bytes) -> None:
    read_ca("ns/ca", {**data, "tls.key": pem}, NOW)


def _armour(der: bytes, label: str = "CERTIFICATE") -> bytes:
    return ssl.DER_cert_to_PEM_cert(der).replace("CERTIFICATE", label).encode()


def _request(spec: dict[str, object]) -> Request:
    request = request_of(spec)
    assert request is not None
    return request


def _made(request: Request, signer: Signer) -> Material:
    return issue(request, signer, generate_key(request.algorithm, request.size), serial=7, now=NOW).material


def main(arguments: Iterable[str] | None = None) -> int:
    """Read as many mutants as the command line asks for; the exit code is 1 where one escapes."""
    parser = argparse.ArgumentParser(
        prog="python -m soak.certificate_mutants", description="One-byte mutants of certificates."
    )
    parser.add_argument("--count", type=int, default=50_000, help="how many mutants (default: 50000)")
    parser.add_argument("--first", type=int, default=0, help="the seed (default: 0)")
    options = parser.parse_args(None if arguments is None else list(arguments))
    seen, escaped = Counter[str](), list[str]()
    for begin in range(0, options.count, _CHUNK):
        found, fled = mutate_many(count=min(_CHUNK, options.count - begin), first=options.first + begin)
        seen.update(found)
        escaped += fled
        print(f"{min(begin + _CHUNK, options.count)} of {options.count} mutants, {len(escaped)} escaped", flush=True)
    for what, number in sorted(seen.items()):
        print(f"{number:8} {what}")
    for line in escaped[:50]:
        print(line)
    return 1 if escaped else 0


if __name__ == "__main__":
    sys.exit(main())
