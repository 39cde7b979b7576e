"""Random certificates, linted: drawn specs, what pki makes of them, and what pkilint, zlint and OpenSSL say to that.

What belongs here: the draw, the linters, and the findings that we argue away. What does not: how certificates are made.

    python -m soak.certificates [--count N] [--first SEED]

zlint is built from its Go module where Go is there, into a cache; without it, it is left out, and the output says so.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.serialization import Encoding

from operators.pki.api import CertificateSpec, NameConstraints, NameConstraintSubtrees
from operators.pki.issue import Material, VerificationError, issue
from operators.pki.keys import PrivateKey, generate_key
from operators.pki.request import Request, read_request
from operators.pki.signer import CaSigner, SelfSigner, Signer, read_ca

__all__ = ["ALLOWED", "Linters", "drawn_specs", "lint_many", "request_of"]

ZLINT = "github.com/zmap/zlint/v3/cmd/zlint@v3.7.2"
ZLINT_SOURCES = "RFC3279,RFC5280,RFC5480,RFC5891,RFC8813,Community"

_INTERNET = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")


def _has_cluster_names(request: Request) -> bool:
    return not all(map(_INTERNET.fullmatch, request.dns_names))


def _has_uris_of_no_web_site(request: Request) -> bool:
    hosts = [(urlsplit(uri).scheme, urlsplit(uri).netloc) for uri in request.uris]  # linters read me@host as a host
    return not all(scheme in {"http", "https"} and _INTERNET.fullmatch(host) for scheme, host in hosts)


def _has_cluster_mails(request: Request) -> bool:
    return not all(_INTERNET.fullmatch(mail.rpartition("@")[2]) for mail in request.email_addresses)


def _always(request: Request) -> bool:
    return request is not None


ALLOWED: dict[str, tuple[str, Callable[[Request], bool]]] = {
    "pkilint pkix.subject_key_identifier_method_1_identified": ("says how it was made: as RFC 5280 has it", _always),
    "pkilint pkix.invalid_domain_name_syntax": (
        "takes names of Internet hosts only: not web or a.x1, which clusters have, nor wildcards, which RFC 9525 has",
        _has_cluster_names,
    ),
    "pkilint pkix.invalid_uri_syntax": (
        "takes addresses of web sites only: neither urn:, nor spiffe:, nor hosts of a cluster, which RFC 3986 allows",
        _has_uris_of_no_web_site,
    ),
    "pkilint pkix.invalid_email_address_syntax": (
        "takes domains of the Internet only: not a@x, which RFC 5321 allows",
        _has_cluster_mails,
    ),
    "zlint n_san_iana_pub_suffix_empty": (
        "speaks of last labels that stand alone: names of a cluster, not of the Internet",
        _always,
    ),
    "zlint e_ext_san_uri_host_not_fqdn_or_ip": (
        "does not take spiffe://cluster and localhost: SPIFFE has trust domains of one label",
        _has_uris_of_no_web_site,
    ),
}
"""Findings that stand, each with the argument, and with the requests of which it holds."""

_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


def request_of(spec: dict[str, Any]) -> Request | None:
    """Return the request of a spec, or None where the spec is refused."""
    full = {"secretName": "s", "issuerRef": {"name": "i"}, **spec}
    return read_request(CertificateSpec.model_validate(full))[0]


def drawn_specs(seed: int) -> Iterator[dict[str, Any]]:
    """Draw specs for ever: most of them legal, some on the edge, a few beyond it."""
    rng = random.Random(seed)
    while True:
        yield _drawn(rng)


def _drawn(rng: random.Random) -> dict[str, Any]:
    is_ca = rng.random() < 0.15
    spec: dict[str, Any] = {
        "dnsNames": [_dns_name(rng) for _ in range(rng.choice([0, 1, 1, 2, 5]))],
        "ipAddresses": [_address(rng) for _ in range(rng.choice([0, 0, 0, 1, 3]))],
        "uris": [_uri(rng) for _ in range(rng.choice([0, 0, 0, 1, 2]))],
        "emailAddresses": [_email(rng) for _ in range(rng.choice([0, 0, 0, 1, 2]))],
        "usages": rng.choice([["server auth"], ["client auth"], ["server auth", "client auth"]]),
        "duration": f"{rng.choice([1, 24, 720, 2160, 8760, rng.randrange(1, 80000)])}h",
        "privateKey": rng.choice(
            [{}, {}, {"size": 384}, {"size": 521}, {"algorithm": "Ed25519"}, {"algorithm": "RSA"}]
        ),
        "isCA": is_ca,
    }
    names = [name for field in ("dnsNames", "ipAddresses", "uris", "emailAddresses") for name in spec[field]]
    if is_ca:
        spec["commonName"] = rng.choice(["Root", "Our CA 7", "CA de l'équipe", "根", "x" * 64])
    elif names and rng.random() < 0.4 and len(name := rng.choice(names)) <= 64:
        spec["commonName"] = name
    return spec


def _label(rng: random.Random) -> str:
    odd = ["xn--bcher-kva", "a", "1", "0x1", "127", "a-b", "a--b", "x" * 63, "kubernetes", "com"]
    return rng.choice(odd) if rng.random() < 0.3 else "".join(rng.choices(_ALPHABET, k=rng.randrange(1, 12)))


def _dns_name(rng: random.Random) -> str:
    name = ".".join(_label(rng) for _ in range(rng.choice([1, 2, 2, 3, 4])))
    if rng.random() < 0.5:  # names of the Internet, of which every linter knows what they look like
        name = f"{name}.{rng.choice(['example.com', 'org', 'svc'])}"
    return f"*.{name}" if rng.random() < 0.15 else name


def _address(rng: random.Random) -> str:
    if rng.random() < 0.5:
        return str(IPv4Address(rng.getrandbits(32)))
    return rng.choice([str(IPv6Address(rng.getrandbits(128))), "::1", "::ffff:10.0.0.1", "fe80::1"])


def _uri(rng: random.Random) -> str:
    host = rng.choice([_dns_name(rng).removeprefix("*."), "example.org", "10.0.0.1", "[::1]", "localhost"])
    path = rng.choice(["", "/", "/ns/team/sa/web", "/a%20b", "/x?y=z", "/x#y", "/a//b", "/../b"])
    shapes = [f"spiffe://{host}{path}", f"https://{host}{path}", f"https://{host}:8443{path}", "urn:uuid:1", "urn:a:b"]
    return rng.choice([*shapes, f"https://me@{host}{path}", "mailto:a@example.com", f"HTTPS://{host.upper()}{path}"])


def _email(rng: random.Random) -> str:
    local = rng.choice(["a", "first.last", "a+b", ".a", "a..b", "a.", "x" * 64, "o'neill", "{x}"])
    return f"{local}@{rng.choice([_dns_name(rng).removeprefix('*.'), 'example.com', 'Example.COM', 'x'])}"


# Linters -------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Linters:
    """What judges certificates; `zlint` is None where it cannot be built."""

    pkilint: Any
    zlint: Path | None
    openssl: str | None

    @classmethod
    def find(cls, *, build: bool) -> Linters:
        """Return the linters of this machine; `build` says whether zlint is to be built where it is not yet."""
        return cls(_pkilint(), find_zlint(build=build), shutil.which("openssl"))

    def findings(self, material: Material) -> set[str]:
        """Return the codes of what is found in the certificate, with what is argued away."""
        der = material.certificate.public_bytes(Encoding.DER)
        return {*self._pkilint(der), *self._zlint(der), *self._openssl(material)}

    def _pkilint(self, der: bytes) -> Iterator[str]:
        from pkilint import loader
        from pkilint.validation import ValidationFindingSeverity

        document = loader.load_certificate(der, "certificate")
        for result in self.pkilint.validate(document.root):
            for finding in result.finding_descriptions:
                if finding.finding.severity <= ValidationFindingSeverity.NOTICE:  # the gravest is 0
                    yield f"pkilint {finding.finding.code}"

    def _zlint(self, der: bytes) -> Iterator[str]:
        if self.zlint is None:
            return
        command = [self.zlint, "-format", "pem", "-includeSources", ZLINT_SOURCES]
        done = subprocess.run(
            command, input=ssl.DER_cert_to_PEM_cert(der), capture_output=True, text=True, check=False, timeout=60
        )
        if done.returncode != 0:
            yield f"zlint cannot read it: {done.stderr.strip()[:200]}"
            return
        for name, found in json.loads(done.stdout).items():
            if found["result"] in {"info", "warn", "error", "fatal"}:
                yield f"zlint {name}"

    def _openssl(self, material: Material) -> Iterator[str]:
        if self.openssl is None:
            return
        with tempfile.TemporaryDirectory() as folder:
            for name, value in material.data().items():
                (Path(folder) / name).write_bytes(value)
            moment = str(int(material.certificate.not_valid_before_utc.timestamp()) + 600)
            strict = [self.openssl, "verify", "-x509_strict", "-check_ss_sig", "-attime", moment, "-CAfile", "ca.crt"]
            done = subprocess.run(
                [*strict, "-untrusted", "tls.crt", "tls.crt"],
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
        if done.returncode != 0:
            yield f"openssl {done.stderr.strip()[-200:]}"


def _pkilint() -> Any:
    from pkilint.pkix import certificate, extension, name

    return certificate.create_pkix_certificate_validator_container(
        certificate.create_decoding_validators(name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS),
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )


def find_zlint(*, build: bool) -> Path | None:
    """Return the program, built once from its Go module into the cache."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "operatorkit" / "zlint" / ZLINT.rpartition("@")[2]
    program = folder / "zlint"
    if not program.exists() and build and shutil.which("go") is not None:
        folder.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "GOBIN": str(folder), "GOFLAGS": "-mod=mod"}
        done = subprocess.run(["go", "install", ZLINT], env=environment, check=False, timeout=900, cwd=folder)
        if done.returncode != 0:
            return None
    return program if program.exists() else None


# Linting many --------------------------------------------------------------------------------------------------------


@functools.cache
def _rsa_key() -> PrivateKey:
    return generate_key("RSA", 2048)


def _key(request: Request) -> PrivateKey:
    return _rsa_key() if request.algorithm == "RSA" else generate_key(request.algorithm, request.size)


def _authorities(now: datetime) -> list[Signer]:
    root_request = request_of({"isCA": True, "commonName": "root", "duration": "87600h"})
    assert root_request is not None
    root = issue(root_request, SelfSigner(), _key(root_request), serial=1, now=now).material
    signer = read_ca("ns/ca", root.data(), now)
    below = replace(root_request, common_name="below")
    intermediate = issue(below, signer, _key(below), serial=2, now=now).material
    return [signer, read_ca("ns/ca", intermediate.data(), now), SelfSigner()]


CONSTRAINTS = NameConstraints(
    permitted=NameConstraintSubtrees(dns_domains=["team.svc"], ip_ranges=["10.0.0.0/8"], uri_domains=[".example.org"]),
    excluded=NameConstraintSubtrees(dns_domains=["forbidden.team.svc"], email_addresses=["example.com"]),
)


def lint_many(linters: Linters, *, count: int, first: int = 0) -> tuple[Counter[str], list[str]]:
    """Make and lint certificates; return what was done, and each finding that is not argued away, with its spec."""
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    done, wrong = Counter[str](), list[str]()
    specs, authorities = drawn_specs(first), _authorities(now)
    serials = random.Random(first)
    while done["certificates"] < count:
        spec = next(specs)
        request = request_of(spec)
        if request is None:
            done["refused specs"] += 1
            continue
        signer = authorities[done["certificates"] % len(authorities)]
        if request.is_ca:
            request = replace(request, name_constraints=CONSTRAINTS)
            signer = authorities[0] if isinstance(signer, CaSigner) else signer
        try:
            made = issue(request, signer, _key(request), serial=serials.getrandbits(158) + 1, now=now)
        except VerificationError as error:
            wrong.append(f"{spec}: not issued: {error}")
            done["certificates"] += 1
            continue
        done["certificates"] += 1
        done["cas" if request.is_ca else "self-signed leaves" if isinstance(signer, SelfSigner) else "leaves"] += 1
        found = linters.findings(made.material)
        argued = {finding for finding in found & ALLOWED.keys() if ALLOWED[finding][1](request)}
        done["findings argued away"] += len(argued)
        wrong += [f"{spec}, {type(signer).__name__}: {finding}" for finding in sorted(found - argued)]
    return done, wrong


def main(arguments: Iterable[str] | None = None) -> int:
    """Lint what the command line asks for; the exit code is 1 where something is found."""
    parser = argparse.ArgumentParser(prog="python -m soak.certificates", description="Random certificates, linted.")
    parser.add_argument("--count", type=int, default=1000, help="how many certificates (default: 1000)")
    parser.add_argument("--first", type=int, default=0, help="the seed (default: 0)")
    options = parser.parse_args(None if arguments is None else list(arguments))
    linters = Linters.find(build=True)
    for name in ("zlint", "openssl"):
        if getattr(linters, name) is None:
            print(f"without {name}: it is not there and cannot be built")
    done, wrong = lint_many(linters, count=options.count, first=options.first)
    print(", ".join(f"{number} {what}" for what, number in sorted(done.items())))
    for line in wrong[:50]:
        print(line)
    print(Counter(line.rpartition(": ")[2] for line in wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
