"""Signatures beside an image in a registry: where cosign keeps them, and what is left out."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import subprocess
from datetime import UTC, datetime

import pytest
from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from registries import INDEX, MANIFEST, build, find, lying, running
from registries.bundles import SigningAuthority, provenance

from operators.attestation.cosign import SIGN_PREDICATE, read_signatures
from operators.attestation.facts import signed_bytes
from operators.attestation.images import parse_image
from operators.attestation.registry import RegistryError
from operators.attestation.signatures import VerificationKey, Verified, verify
from operators.attestation.signatures.dsse import IN_TOTO, pre_authentication

KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
NOTE = "projects/team/notes/qa"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"


def b64(content):
    return base64.b64encode(content).decode()


def sign(content):
    return KEY.sign(content, ec.ECDSA(hashes.SHA256()))


def digest_of(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def simple(name, digest):
    critical = {
        "identity": {"docker-reference": name},
        "image": {"docker-manifest-digest": digest},
        "type": "cosign container image signature",
    }
    return json.dumps({"critical": critical, "optional": None}).encode()


def bundle(digest, predicate_type=SIGN_PREDICATE):
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": digest.removeprefix("sha256:")}}],
        "predicateType": predicate_type,
        "predicate": {},
    }
    payload = json.dumps(statement).encode()
    envelope = {
        "payload": b64(payload),
        "payloadType": IN_TOTO,
        "signatures": [{"sig": b64(sign(pre_authentication(IN_TOTO, payload)))}],
    }
    return json.dumps({"mediaType": BUNDLE, "verificationMaterial": {}, "dsseEnvelope": envelope}).encode()


class Beside:
    """What a registry has beside an image, by paths; it answers with the digests of the bytes."""

    def __init__(self, host, registry):
        self.registry = registry
        self.image = parse_image(f"{host}/team/app@sha256:{'ab' * 32}")
        self.digest = self.image.digest

    def put(self, path, body, type_="application/octet-stream"):
        async def answer(request):
            del request
            return web.Response(body=body, headers={"Content-Type": type_})

        self.registry.answers[f"/v2/team/app/{path}"] = answer

    def blob(self, content, type_, **annotations):
        self.put(f"blobs/{digest_of(content)}", content)
        return {"mediaType": type_, "digest": digest_of(content), "size": len(content), "annotations": annotations}

    def tagged(self, *layers):
        body = json.dumps({"mediaType": MANIFEST, "layers": layers}).encode()
        self.put(f"manifests/{self.digest.replace(':', '-')}.sig", body, MANIFEST)

    def referrers(self, *layers, path=None):
        entries = []
        for layer in layers:
            body = json.dumps({"mediaType": MANIFEST, "layers": [layer]}).encode()
            self.put(f"manifests/{digest_of(body)}", body, MANIFEST)
            entries.append({"mediaType": MANIFEST, "digest": digest_of(body)})
        body = json.dumps({"mediaType": INDEX, "manifests": entries}).encode()
        self.put(path or f"referrers/{self.digest}", body, INDEX)

    async def read(self, **options):
        return await read_signatures(self.image, {}, seconds=10.0, **options)


@pytest.fixture
async def beside():
    async with lying() as (host, registry):
        yield Beside(host, registry)


def statement_of(content, type_, digest, public=PUBLIC):
    (signed,) = signed_bytes({"noteName": NOTE, **content}, NOTE)
    result = verify(signed, [VerificationKey(id="qa", type=type_, public_key=public)], datetime.now(UTC))
    assert isinstance(result, Verified), result
    assert result.statement.digest == digest
    return result.statement


def signature_layer(beside, **annotations):
    payload = simple(beside.image.name, beside.digest)
    signature = {"dev.cosignproject.cosign/signature": b64(sign(payload))}
    return beside.blob(payload, PAYLOAD, **{**signature, **annotations})


async def test_a_signature_under_a_tag_and_a_bundle_that_refers_are_found(beside):
    beside.tagged(signature_layer(beside))
    beside.referrers(beside.blob(bundle(beside.digest), BUNDLE))
    (tagged,) = (await beside.read(form="tag")).contents
    (referring,) = (await beside.read()).contents
    assert statement_of(tagged, "Cosign", beside.digest).name == beside.image.name
    statement_of(referring, "DSSE", beside.digest)


async def test_a_registry_without_the_api_of_referrers_has_them_under_a_tag(beside):
    layer = beside.blob(bundle(beside.digest), BUNDLE)
    beside.referrers(layer, layer, path=f"manifests/{beside.digest.replace(':', '-')}")
    (content,) = (await beside.read()).contents
    statement_of(content, "DSSE", beside.digest)


async def test_an_image_without_signatures_has_none(beside):
    assert (await beside.read()).contents == (await beside.read(form="tag")).contents == ()


async def test_signatures_by_certificates_and_statements_of_another_purpose_are_left_out(beside):
    github = SigningAuthority()
    keyless = json.dumps(github.bundle(provenance("x", beside.digest))).encode()
    sbom = bundle(beside.digest, "https://spdx.dev/Document")
    beside.tagged(signature_layer(beside, **{"dev.sigstore.cosign/certificate": "PEM"}), beside.blob(b"{}", PAYLOAD))
    beside.referrers(*(beside.blob(one, BUNDLE) for one in (keyless, sbom, b"[]", b"{")))
    bundles, tagged = await beside.read(), await beside.read(form="tag")
    assert bundles.contents == tagged.contents == ()
    for part, message in zip(
        tagged.left_out + bundles.left_out,
        ("with a certificate", "has no annotation", "countersign", "spdx.dev", "mediaType is None", "Expecting"),
        strict=True,
    ):
        assert message in part
    (content,) = (await beside.read(predicate_type="https://spdx.dev/Document")).contents
    statement_of(content, "DSSE", beside.digest)


async def test_a_registry_that_answers_with_other_bytes_or_too_many_gives_nothing(beside):
    layer = signature_layer(beside)
    beside.tagged(layer)
    beside.put(f"blobs/{layer['digest']}", simple(beside.image.name, beside.digest) + b" ")
    with pytest.raises(RegistryError, match="other bytes than those of sha256:"):
        await beside.read(form="tag")
    beside.put(f"blobs/{layer['digest']}", b"x" * (256 * 1024 + 1))
    with pytest.raises(RegistryError, match="more than 262144 bytes"):
        await beside.read(form="tag")
    beside.tagged(*[beside.blob(b"{}", PAYLOAD)] * 101)
    with pytest.raises(RegistryError, match="more than 100 signatures"):
        await beside.read(form="tag")
    beside.put(f"manifests/{beside.digest.replace(':', '-')}.sig", b"[]", MANIFEST)
    with pytest.raises(RegistryError, match="is not a JSON object"):
        await beside.read(form="tag")


async def test_a_blob_is_read_where_the_registry_sends_to_without_its_token(beside):
    layer = signature_layer(beside)
    beside.tagged(layer)
    payload = simple(beside.image.name, beside.digest)
    seen = []

    async def sent(request):
        del request
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    async def elsewhere(request):
        seen.append(request.headers.get("Authorization"))
        return web.Response(body=payload)

    beside.registry.answers[f"/v2/team/app/blobs/{layer['digest']}"] = sent
    beside.registry.answers["/elsewhere"] = elsewhere
    assert len((await beside.read(form="tag")).contents) == 1
    assert seen == [None]


async def test_a_real_registry_gives_what_was_pushed(tmp_path):
    if build("go-containerregistry") is None:
        pytest.skip("go-containerregistry is built by PYTHONPATH=tests python -m registries, which needs Go")
    async with running("go-containerregistry", tmp_path) as registry:
        digest = await registry.push_image("team/app", "v1")
        image = parse_image(f"{registry.host}/team/app@{digest}")
        payload = simple(image.name, digest)
        blob = await registry.push_blob("team/app", payload)
        layer = {"mediaType": PAYLOAD, "digest": blob, "size": len(payload)}
        layer["annotations"] = {"dev.cosignproject.cosign/signature": b64(sign(payload))}
        config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": blob, "size": len(payload)}
        body = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}
        await registry.push("team/app", f"{digest.replace(':', '-')}.sig", json.dumps(body).encode(), MANIFEST)
        (content,) = (await read_signatures(image, {}, form="tag", seconds=10.0)).contents
        statement_of(content, "Cosign", digest)


@pytest.mark.parametrize("type_", ["DSSE", "Cosign"])
async def test_what_cosign_itself_signs_is_read_and_verified(tmp_path, type_):
    cosign = find("cosign")
    if cosign is None or build("go-containerregistry") is None:
        pytest.skip("cosign is built by PYTHONPATH=tests python -m registries, which needs Go")
    environment = {**os.environ, "COSIGN_PASSWORD": "x", "HOME": str(tmp_path)}

    async def run(*arguments):
        process = await asyncio.create_subprocess_exec(
            cosign, *arguments, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await asyncio.wait_for(process.communicate(), 120)
        assert process.returncode == 0, output.decode()

    async with running("go-containerregistry", tmp_path) as registry:
        digest = await registry.push_image("team/app", "v1")
        image = parse_image(f"{registry.host}/team/app@{digest}")
        await run("generate-key-pair")
        option = f"--new-bundle-format={str(type_ == 'DSSE').lower()}"
        form = "bundle" if type_ == "DSSE" else "tag"
        await run(
            "sign",
            "--yes",
            "--key",
            "cosign.key",
            "--use-signing-config=false",
            "--tlog-upload=false",
            option,
            str(image),
        )
        found = await read_signatures(image, {}, form=form, seconds=30.0)
        other = parse_image(f"{registry.host}/team/app@{await registry.push_image('team/app', 'v2')}")
        assert (await read_signatures(other, {}, form=form, seconds=30.0)).contents == ()
    (content,) = found.contents
    statement = statement_of(content, type_, digest, (tmp_path / "cosign.pub").read_bytes())
    assert statement.name == (None if type_ == "DSSE" else image.name)
