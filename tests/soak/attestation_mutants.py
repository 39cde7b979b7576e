"""Mutants of admission reviews, signatures and payloads: none may admit an image that was not attested.

What belongs here: the originals, the mutations, and the oracle, which does not use the code under test. What does not:
which denial it is.

Each seed is one mutant, made by that seed alone: a run is resumed with --first, and one mutant is made again with
--first SEED --count 1. PGP keys are new in each run, so of a PGP mutant the bytes are printed.

    PYTHONPATH=tests python -m soak.attestation_mutants [--count N] [--first SEED]
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import random
import resource
import secrets
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fuzz.attestation import mutate
from pysequoia import SignatureMode, Tsk, sign

from operatorkit._runtime.reading import reading
from operatorkit.clock import SYSTEM_CLOCK
from operatorkit.listed import ListedReader
from operatorkit.resource import read
from operatorkit.webhooks.dispatch import Dispatcher
from operators.attestation import (
    AttestationAuthority,
    ClusterAttestationAuthority,
    ClusterImagePolicy,
    GrafeasServer,
    ImagePolicy,
    ImagePolicyException,
    ImageRevocation,
    app,
)
from operators.attestation.server.access import OpenAccess
from operators.attestation.server.serve import Listen, serving
from operators.attestation.signatures import SignedBytes, VerificationKey, Verified, verify
from operators.attestation.signatures.dsse import IN_TOTO, pre_authentication

__all__ = ["Outcome", "run"]

NOTE = "projects/team/notes/qa"
DIGEST, OTHER = "sha256:" + "ab" * 32, "sha256:" + "cd" * 32
NOW = datetime(2026, 1, 1, tzinfo=UTC)
_CHUNK = 5000


@dataclass
class Outcome:
    """What became of the mutants, and the worst of time and memory."""

    seen: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    slowest_seconds: float = 0.0


# Signatures and payloads ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Original:
    """A signature that verifies, and the keys that it verifies by."""

    name: str
    signed: SignedBytes
    key: VerificationKey


def _private(number: int) -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


def _key(type_: Any) -> VerificationKey:
    pem = _private(1).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return VerificationKey(id="qa", type=type_, public_key=pem)


def simple_signing(digest: str) -> bytes:
    """Return the simple-signing payload of a digest."""
    critical = {
        "identity": {"docker-reference": "gcr.io/app"},
        "image": {"docker-manifest-digest": digest},
        "type": "atomic container signature",
    }
    return json.dumps({"critical": critical, "optional": None}).encode()


def _b64(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def originals(pgp: Tsk) -> list[Original]:
    """Return a signature of each kind."""
    payload, private = simple_signing(DIGEST), _private(1)
    statement = json.dumps(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": "app", "digest": {"sha256": DIGEST.removeprefix("sha256:")}}],
            "predicateType": "x",
            "predicate": {},
        }
    ).encode()
    claims = {"sub": f"container:digest:{DIGEST}", "aud": "attest.operatorkit.dev"}
    head = _b64(b'{"alg":"EdDSA","typ":"JWT"}') + b"." + _b64(json.dumps(claims).encode())
    token = head + b"." + _b64(private.sign(head))
    pgp_key = VerificationKey(id="qa", type="PGP", public_key=armoured(pgp))
    clear = sign(pgp.signer(), DIGEST.encode(), mode=SignatureMode.CLEAR)
    attached = sign(pgp.signer(), payload, mode=SignatureMode.INLINE)
    detached = sign(pgp.signer(), payload, mode=SignatureMode.DETACHED)
    envelope = private.sign(pre_authentication(IN_TOTO, statement))
    return [
        Original("PGP cleartext", SignedBytes(clear), pgp_key),
        Original("PGP attached", SignedBytes(attached), pgp_key),
        Original("PGP detached", SignedBytes(detached, payload), pgp_key),
        Original("PKIX", SignedBytes(private.sign(payload), payload), _key("PKIX")),
        Original("Cosign", SignedBytes(private.sign(payload), payload), _key("Cosign")),
        Original("JWT", SignedBytes(token, form="jwt"), _key("JWT")),
        Original("DSSE", SignedBytes(envelope, statement, "dsse", IN_TOTO), _key("DSSE")),
    ]


def armoured(key: Tsk) -> bytes:
    """Return the public part of a key in armour."""
    public = base64.encodebytes(bytes(key.extract_certificate())).decode()
    return f"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n{public}-----END PGP PUBLIC KEY BLOCK-----\n".encode()


def signature_mutant(seed: int, known: list[Original]) -> tuple[Original, SignedBytes]:
    """Return the mutant of a seed: of the signature, of the payload, or of both."""
    chance = random.Random(seed)
    original = known[seed % len(known)]
    signed = original.signed
    part = chance.choice(("signature", "payload", "both")) if signed.payload else "signature"
    signature = signed.signature if part == "payload" else mutate(signed.signature, chance)
    payload = signed.payload if part == "signature" else _payload(signed.payload, chance)
    return original, SignedBytes(signature, payload, signed.form, signed.payload_type)


def _payload(payload: bytes, chance: random.Random) -> bytes:
    swapped = payload.replace(DIGEST.removeprefix("sha256:").encode(), OTHER.removeprefix("sha256:").encode())
    return swapped if chance.random() < 0.1 else mutate(payload, chance)


def check_signature(seed: int, known: list[Original], outcome: Outcome) -> None:
    """Verify the mutant of a seed. One that is accepted for another digest is wrong."""
    original, mutant = signature_mutant(seed, known)
    begun = time.perf_counter()
    try:
        result: Any = verify(mutant, [original.key], datetime.now(UTC))
    except BaseException as error:  # noqa: BLE001 - a parser in Rust may panic, which is no Exception
        outcome.wrong.append(f"seed {seed}: {original.name} raised {error!r}: {mutant!r}")
        return
    outcome.slowest_seconds = max(outcome.slowest_seconds, time.perf_counter() - begun)
    accepted = isinstance(result, Verified)
    if accepted and result.statement.digest != DIGEST:
        outcome.wrong.append(f"seed {seed}: {original.name} verified for {result.statement.digest}: {mutant!r}")
    outcome.seen[f"{original.name}: {'verified' if accepted else result.reason.value}"] += 1


# Reviews -------------------------------------------------------------------------------------------------------------


GOOD, BAD = f"gcr.io/app@{DIGEST}", f"gcr.io/app@{OTHER}"


def review(*images: str, kind: str = "Pod") -> dict[str, Any]:
    """Return a review of the creation of a workload with these images."""
    containers = [{"name": f"c{number}", "image": image} for number, image in enumerate(images)]
    spec: dict[str, Any] = {
        "containers": containers[:1],
        "initContainers": containers[1:2],
        "volumes": [{"name": "v", "image": {"reference": image}} for image in images[2:3]],
    }
    api, resource_name, version = ("v1", "pods", "v1") if kind == "Pod" else ("apps/v1", "deployments", "v1")
    obj: dict[str, Any] = {"apiVersion": api, "kind": kind, "metadata": {"name": "web", "namespace": "team"}}
    selector = {"matchLabels": {"a": "b"}}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": spec}
    obj["spec"] = spec if kind == "Pod" else {"selector": selector, "template": template}
    group = "" if kind == "Pod" else "apps"
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "7d1a",
            "kind": {"group": group, "version": version, "kind": kind},
            "resource": {"group": group, "version": version, "resource": resource_name},
            "name": "web",
            "namespace": "team",
            "operation": "CREATE",
            "userInfo": {"username": "ann"},
            "object": obj,
            "dryRun": True,
            "options": {},
        },
    }


def review_mutant(seed: int) -> tuple[str, bytes]:
    """Return the path and the body of a seed: an attested review that was changed, or one with an unattested image."""
    chance = random.Random(seed)
    kind = chance.choice(("Pod", "Deployment"))
    images = [GOOD, GOOD, GOOD]
    if chance.random() < 0.5:
        images[chance.randrange(3)] = BAD
    content = review(*images, kind=kind)
    if chance.random() < 0.5:
        _change(content["request"], chance)
    body = json.dumps(content).encode()
    if chance.random() < 0.7:
        body = _mutated(body, chance)
    path = "/validate/core/v1/pods" if kind == "Pod" else "/validate/apps/v1/deployments"
    return path, body


def _mutated(body: bytes, chance: random.Random) -> bytes:
    """Change bytes: mostly in the images, where it matters."""
    places = [at for at in range(len(body) - 6) if body[at : at + 6] in (b"gcr.io", b"sha256")]
    if not places or chance.random() < 0.3:
        return mutate(body, chance)
    at = chance.choice(places) + chance.randrange(80)
    return body[:at] + bytes([chance.choice(b'0123456789abcdefABCDEF:@/. \\"u')]) + body[at + 1 :]


def _change(request: dict[str, Any], chance: random.Random) -> None:
    """Change the structure at a random place: drop, repeat, retype, rename or nest."""
    places = list(_places(request["object"])) + list(_places(request))
    holder, key = chance.choice(places)
    value = holder[key]
    choice = chance.randrange(6)
    if choice == 0:
        del holder[key]
    elif choice == 1:
        holder[key] = chance.choice([None, 0, "", [], {}, True, [value], {"x": value}])
    elif choice == 2 and isinstance(holder, list):
        holder.append(json.loads(json.dumps(value)))
    elif choice == 3 and isinstance(holder, dict):
        holder[str(key).swapcase()] = value
    elif choice == 4 and isinstance(value, str):
        holder[key] = value + chance.choice(["\u0000", " ", "\n", "\u200b", "@" + DIGEST, ":v1"])
    else:
        holder[key] = BAD if isinstance(value, str) else value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from _places(inner)


def images_of(value: Any) -> Iterator[Any]:
    """Yield whatever a review's object has where a runtime would look for an image, by another way than the code's."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in {"containers", "initContainers", "ephemeralContainers"} and isinstance(inner, list):
                yield from (one.get("image") for one in inner if isinstance(one, dict))
            if key == "volumes" and isinstance(inner, list):
                sources = [one.get("image") for one in inner if isinstance(one, dict)]
                yield from (one.get("reference") for one in sources if isinstance(one, dict))
            yield from images_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from images_of(inner)


def expected_to_be_denied(body: bytes) -> bool:
    """Return whether an object of this review would run something that was not attested."""
    obj = json.loads(body)["request"].get("object")
    if not isinstance(obj, Mapping):
        return False
    spec = obj.get("spec")
    kind = obj.get("kind")
    if kind == "Deployment":
        template = spec.get("template") if isinstance(spec, dict) else None
        spec = template.get("spec") if isinstance(template, dict) else None
    found = list(images_of({"spec": spec}))
    return any(not (isinstance(one, str) and one.endswith(f"@{DIGEST}") and one.count("@") == 1) for one in found)


class Reader(ListedReader):
    """The listed objects, and what an engine would keep in memory, which `forget` empties as a restart does."""

    def __init__(self, objects: Mapping[type[Any], Iterable[Any]]) -> None:
        super().__init__(objects)
        self._memory: dict[Any, Any] = {}

    def memory(self, kind: Any) -> Any:
        """Return the value of a class, made when first requested."""
        return self._memory.setdefault(kind, kind())

    def forget(self) -> None:
        """Forget all that was kept."""
        self._memory.clear()


@asynccontextmanager
async def admission(pgp: Tsk) -> AsyncIterator[tuple[Dispatcher, Reader]]:
    """Have the webhooks of the operator, a metadata server with one attestation, and a policy for every image."""
    with TemporaryDirectory() as folder:
        database = f"sqlite:///{Path(folder) / 'a.db'}"
        async with serving(database, OpenAccess(), Listen(port=0), clock=SYSTEM_CLOCK) as server:
            await _attest(server.url(), pgp)
            reader = Reader(_objects(server.url(), armoured(pgp).decode()))
            bound = reading(app, reader, events=None, api=None)  # type: ignore[arg-type] - a dry run uses neither
            dispatcher = Dispatcher(bound.webhooks)
            try:
                yield dispatcher, reader
            finally:
                dispatcher.close()


async def _attest(url: str, pgp: Tsk) -> None:
    signature = base64.b64encode(sign(pgp.signer(), DIGEST.encode(), mode=SignatureMode.CLEAR)).decode()
    body = {
        "resourceUri": f"https://{GOOD}",
        "noteName": NOTE,
        "attestation": {"signatures": [{"signature": signature}]},
    }
    async with aiohttp.ClientSession() as session:
        for path, content in (("notes?noteId=qa", {"attestation": {}}), ("occurrences", body)):
            async with session.post(f"{url}/v1/projects/team/{path}", json=content) as answer:
                assert answer.status == 200, await answer.text()


def _objects(url: str, key: str) -> dict[type[Any], list[Any]]:
    from kubernetes.client.models import V1Namespace

    def made(kind: type[Any], name: str, spec: Mapping[str, Any]) -> Any:
        body = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": name}, "spec": spec}
        return read(kind, body)

    authority = {"noteReference": NOTE, "keys": [{"id": "qa", "publicKey": key}]}
    found: dict[type[Any], list[Any]] = {
        AttestationAuthority: [],
        ImagePolicy: [],
        ImagePolicyException: [],
        ImageRevocation: [],
        V1Namespace: [],
    }
    found[GrafeasServer] = [made(GrafeasServer, "default", {"url": url})]
    found[ClusterAttestationAuthority] = [made(ClusterAttestationAuthority, "qa", authority)]
    found[ClusterImagePolicy] = [made(ClusterImagePolicy, "all", {"require": {"allOf": [{"name": "qa"}]}})]
    return found


async def check_review(seed: int, dispatcher: Dispatcher, outcome: Outcome) -> None:
    """Answer the mutant of a seed. One that is admitted with another image is wrong, and so is no answer."""
    path, body = review_mutant(seed)
    webhook = dispatcher.find(path)
    assert webhook is not None
    begun = time.perf_counter()
    answer = await dispatcher.answer(webhook, body, seconds=5.0)
    outcome.slowest_seconds = max(outcome.slowest_seconds, time.perf_counter() - begun)
    if answer.status != 200:
        outcome.seen[f"review: HTTP {answer.status}"] += 1
        return
    response = answer.body["response"]
    if not response["allowed"]:
        outcome.seen[f"review: {response['status']['reason']}"] += 1
        return
    outcome.seen["review: admitted"] += 1
    if expected_to_be_denied(body):
        outcome.wrong.append(f"seed {seed}: admitted {body!r}")


# The run -------------------------------------------------------------------------------------------------------------


async def run(*, count: int, first: int = 0) -> Outcome:
    """Check the mutants of `count` seeds: a third are reviews, the others signatures and payloads."""
    outcome, pgp = Outcome(), Tsk.generate(f"{secrets.token_hex(4)}@example.com")
    known = originals(pgp)
    for original in known:
        assert isinstance(verify(original.signed, [original.key], datetime.now(UTC)), Verified), original.name
    async with admission(pgp) as (dispatcher, _):
        for seed in range(first, first + count):
            if seed % 3 == 0:
                await check_review(seed, dispatcher, outcome)
            else:
                check_signature(seed, known, outcome)
    return outcome


def main() -> int:
    """Run in chunks and print what was seen; exit code 1 for a wrong one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    seen, wrong, slowest, begun = Counter[str](), 0, 0.0, time.monotonic()
    for first in range(options.first, options.first + options.count, _CHUNK):
        size = min(_CHUNK, options.first + options.count - first)
        outcome = asyncio.run(run(count=size, first=first))
        seen += outcome.seen
        wrong += len(outcome.wrong)
        slowest = max(slowest, outcome.slowest_seconds)
        for line in outcome.wrong:
            print(line[:2000])
        megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(
            f"seeds {options.first} to {first + size - 1} in {time.monotonic() - begun:.0f} s: {wrong} wrong, slowest "
            f"{slowest * 1000:.0f} ms, {megabytes} MB",
            flush=True,
        )
    for name, number in sorted(seen.items()):
        print(f"  {number:8} {name}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
