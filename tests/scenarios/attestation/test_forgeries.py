"""Forged, expired and misplaced signatures, and reviews that are not what they claim; each fails closed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import ssl
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pysequoia import SignatureMode, Tsk, sign
from scenarios.attestation.team import NOTE, image, pod

from operatorkit.cluster import PatchType
from operatorkit.names import ApiResource
from operatorkit.testing import eventually
from operators.attestation import AttestationAuthority, ClusterImagePolicy, ImagePolicy

KEY = ed25519.Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
NAMESPACES = ApiResource("", "v1", "Namespace", "namespaces", namespaced=False)
VALIDATING = ApiResource(
    "admissionregistration.k8s.io",
    "v1",
    "ValidatingWebhookConfiguration",
    "validatingwebhookconfigurations",
    namespaced=False,
)


def digest(reference: str) -> str:
    return reference.partition("@")[2]


def armoured(key: Tsk) -> str:
    public = base64.encodebytes(bytes(key.extract_certificate())).decode()
    return f"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n{public}-----END PGP PUBLIC KEY BLOCK-----\n"


def pem() -> str:
    return KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


async def use_keys(team: Any, *keys: dict[str, Any], **more: Any) -> None:
    """Give the authority of the team these keys."""
    spec = {"keys": list(keys), **more}
    await team.cluster.patch(
        AttestationAuthority.api_resource(),
        "qa",
        {"spec": spec},
        patch_type=PatchType.MERGE,
        namespace=team.cluster.namespace,
    )
    await team.ready(AttestationAuthority, "qa")


async def admits(team: Any, reference: str) -> None:
    async def is_admitted() -> bool:
        return not await team.answer(pod(reference, name="probe"))

    await eventually(is_admitted, message=f"{reference} is admitted")


async def occur(
    team: Any, reference: str, attestation: dict[str, Any], kind: str = "attestation", note: str = NOTE
) -> None:
    body = {"resourceUri": f"https://{reference}", "noteName": note, kind: attestation}
    await team.post("projects/team/occurrences", body)


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


async def test_text_around_a_signature_and_a_signature_without_its_payload_prove_nothing(team):
    reference = image()
    signed = sign(team.key.signer(), digest(reference).encode(), mode=SignatureMode.CLEAR)
    other = sign(team.key.signer(), digest(image()).encode(), mode=SignatureMode.CLEAR)
    text = digest(reference).encode() + b"\n"
    for forged in (text + other, other + text, text + signed, signed + text, other.replace(b"\n\n", b"\n\n" + text, 1)):
        await team.occur(reference, forged)
    detached = sign(team.key.signer(), digest(reference).encode(), mode=SignatureMode.DETACHED)
    await team.occur(reference, detached)
    await team.denied(pod(reference))
    await team.occur(reference, signed)
    await team.create(pod(reference))


async def test_key_ids_with_path_characters_choose_nothing(team):
    reference = image()
    signed = b64(sign(Tsk.generate("x@example.com").signer(), digest(reference).encode(), mode=SignatureMode.CLEAR))
    for key_id in ("../qa", "qa", "/etc/passwd", "qa%2f..", "qa\u0000", "https://example.com/key", "-" * 1000):
        await occur(team, reference, {"signatures": [{"signature": signed, "publicKeyId": key_id}]})
    await team.denied(pod(reference))
    genuine = b64(sign(team.key.signer(), digest(reference).encode(), mode=SignatureMode.CLEAR))
    await occur(team, reference, {"signatures": [{"signature": genuine, "publicKeyId": "../../x"}]})
    await team.create(pod(reference))


async def test_one_key_under_two_authorities_counts_once_in_a_threshold(team):
    reference, second = image(), Tsk.generate("second@example.com")
    await team.post("projects/team/notes?noteId=build", {"attestation": {}})
    build = {**team.authority(), "noteReference": "projects/team/notes/build"}
    await team.make(AttestationAuthority, "build", build)
    await team.ready(AttestationAuthority, "build")
    references = [{"kind": "AttestationAuthority", "name": name} for name in ("qa", "build")]
    await team.cluster.patch(
        ImagePolicy.api_resource(), "signed",
        {"spec": {"require": {"allOf": None, "threshold": {"count": 2, "authorities": references}}}},
        patch_type=PatchType.MERGE, namespace=team.cluster.namespace,
    )  # fmt: skip
    await team.ready(ImagePolicy, "signed")
    await team.attest(reference)
    await team.attest(reference, note="projects/team/notes/build")
    assert "two authorities share the only key" in await team.denied(pod(reference))
    keys = [{"id": "build", "publicKey": armoured(second)}]
    await team.cluster.patch(
        AttestationAuthority.api_resource(), "build", {"spec": {"keys": keys}}, patch_type=PatchType.MERGE,
        namespace=team.cluster.namespace,
    )  # fmt: skip
    await team.attest(reference, note="projects/team/notes/build", key=second)
    await admits(team, reference)


async def test_a_key_that_has_expired_or_is_not_valid_yet_and_an_old_signature_do_not_count(team):
    reference = image()
    await team.attest(reference)
    await admits(team, reference)
    (known,) = team.authority()["keys"]
    now = datetime.now(UTC)

    def at(delta: timedelta) -> str:
        return (now + delta).strftime("%Y-%m-%dT%H:%M:%SZ")

    for field, moment, text in (
        ("notAfter", at(-timedelta(hours=1)), "has expired at"),
        ("notBefore", at(timedelta(hours=1)), "is not valid before"),
    ):
        await use_keys(team, {**known, field: moment})

        async def denied(text: str = text) -> bool:
            return text in await team.answer(pod(reference))

        await eventually(denied, message=text)
    await use_keys(team, known, maxAge="1ms")

    async def too_old() -> bool:
        return "the signature is of" in await team.answer(pod(reference))

    await eventually(too_old, message="the signature is too old")


def b64url(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


async def test_a_token_that_chooses_its_algorithm_proves_nothing(team):
    await use_keys(team, {"id": "ci", "type": "JWT", "publicKey": pem()})
    reference = image()
    claims = {"sub": f"container:digest:{digest(reference)}", "aud": "attest.operatorkit.dev"}

    def signed_part(header: dict[str, Any]) -> bytes:
        return b64url(json.dumps(header).encode()) + b"." + b64url(json.dumps(claims).encode())

    none = signed_part({"alg": "none"})
    confused = signed_part({"alg": "HS256"})
    mac = hmac.new(pem().encode(), confused, hashlib.sha256).digest()
    embedded = signed_part({"alg": "EdDSA", "jwk": {"kty": "OKP"}})
    for token in (
        none + b".",
        none + b"." + b64url(KEY.sign(none)),
        confused + b"." + b64url(mac),
        embedded + b"." + b64url(KEY.sign(embedded)),
    ):
        await occur(team, reference, {"jwts": [{"compactJwt": token.decode()}]})
    await team.denied(pod(reference))
    genuine = signed_part({"alg": "EdDSA", "typ": "JWT"})
    token = genuine + b"." + b64url(KEY.sign(genuine))
    await occur(team, reference, {"jwts": [{"compactJwt": token.decode()}]})
    await admits(team, reference)


async def test_an_envelope_of_another_payload_type_proves_nothing(team):
    await use_keys(team, {"id": "ci", "type": "DSSE", "publicKey": pem()})
    await team.post("projects/team/notes?noteId=dsse", {"dsseAttestation": {"hint": {"humanReadableName": "ci"}}})
    spec = {"noteReference": "projects/team/notes/dsse"}
    await team.cluster.patch(
        AttestationAuthority.api_resource(),
        "qa",
        {"spec": spec},
        patch_type=PatchType.MERGE,
        namespace=team.cluster.namespace,
    )
    reference = image()
    payload = json.dumps(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": "app", "digest": {"sha256": digest(reference).removeprefix("sha256:")}}],
            "predicateType": "x",
            "predicate": {},
        }
    ).encode()

    async def envelope(kind: str, signed_as: str) -> None:
        content = b"DSSEv1 %d %b %d %b" % (len(signed_as), signed_as.encode(), len(payload), payload)
        found = {"payload": b64(payload), "payloadType": kind, "signatures": [{"sig": b64(KEY.sign(content))}]}
        await occur(team, reference, {"envelope": found}, "dsseAttestation", "projects/team/notes/dsse")

    in_toto = "application/vnd.in-toto+json"
    await envelope("text/plain", "text/plain")
    await envelope(in_toto, "text/plain")
    await envelope("text/plain", in_toto)
    await team.denied(pod(reference))
    await envelope(in_toto, in_toto)
    await admits(team, reference)


async def test_a_namespace_cannot_leave_a_policy_by_its_labels(team, cleanup):
    namespace, reference = team.cluster.namespace, image()
    await team.cluster.delete(ImagePolicy.api_resource(), "signed", namespace=namespace)
    named = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    async with cleanup((ClusterImagePolicy, namespace)):
        spec = {"match": {"namespaceSelector": named}, "require": {"allOf": [{"name": "absent"}]}}
        await team.make(ClusterImagePolicy, namespace, spec)

        async def denied() -> bool:
            return f"ClusterImagePolicy {namespace}" in await team.answer(pod(reference))

        await eventually(denied, message="the policy is known")
        for labels in ({"kubernetes.io/metadata.name": None}, {"attestation": "disabled", "control-plane": "x"}):
            await team.cluster.patch(
                NAMESPACES, namespace, {"metadata": {"labels": labels}}, patch_type=PatchType.MERGE
            )
            await team.denied(pod(reference))


async def test_a_review_that_is_malformed_admits_nothing(team):
    listed = await team.cluster.list(VALIDATING)
    (client,) = [
        hook["clientConfig"]
        for one in listed.items
        if team.cluster.namespace in one["metadata"]["name"]
        for hook in one["webhooks"]
        if hook["name"] == "validate.pods.core"
    ]
    context = ssl.create_default_context(cadata=base64.b64decode(client["caBundle"]).decode())
    request = {
        "uid": "1",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "namespace": team.cluster.namespace,
        "name": "web",
        "operation": "CREATE",
        "object": pod(image()),
    }
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
    bodies = [
        b"",
        b"{",
        b"[]",
        json.dumps(review).encode(),
        *(json.dumps({**review, "request": {**request, **change}}).encode() for change in (
            {"uid": ""}, {"kind": {}}, {"operation": "LOOK"}, {"object": []}, {"object": {"spec": 5}},
            {"object": {"spec": {"containers": {"image": "x"}}}}, {"subResource": "status"}, {"kind": {"kind": "Secret"}},
            {"object": None}, {"object": {"kind": "Pod", "apiVersion": "v1", "spec": {"containers": [{}]}}},
        )),
        json.dumps({**review, "request": request}).encode().replace(b'"uid"', b'"uid": "2", "uid"', 1),
        json.dumps({**review, "request": request}).encode() + b"{}",
    ]  # fmt: skip
    async with aiohttp.ClientSession() as session:
        for body in bodies:
            headers = {"Content-Type": "application/json"}
            async with session.post(client["url"], data=body, headers=headers, ssl=context) as answer:
                content = await answer.json(content_type=None)
            allowed = answer.status == 200 and content.get("response", {}).get("allowed") is True
            assert not allowed, (body, content)
