"""Sigstore bundles: what a certificate has signed counts for its identity, its CA and its digest only."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from registries.bundles import BUILDER, ISSUER, WORKFLOW, SigningAuthority, provenance

from operatorkit.errors import InputError
from operators.attestation.bundles import BundleError, read_bundle, read_bundles, read_trusted_root, verify_bundle
from operators.attestation.cli import command
from operators.attestation.facts import signed_bytes
from operators.attestation.signatures import VerificationKey, Verified, verify

DIGEST = "sha256:" + "ab" * 32
NAME = "ghcr.io/team/app"
NOTE = "projects/team/notes/built"


@pytest.fixture(scope="module")
def github():
    return SigningAuthority()


def verified(github, content, *, roots=None, identity=WORKFLOW, issuer=ISSUER):
    authorities = read_trusted_root((roots or github.trusted_root()).encode())
    return verify_bundle(read_bundle(content), authorities, digest=DIGEST, identity=identity, issuer=issuer)


def test_a_bundle_of_a_workflow_states_the_digest_and_the_builder(github):
    content = github.bundle(provenance(NAME, DIGEST))
    statement = verified(github, content)
    assert (statement.digest, statement.builder) == (DIGEST, BUILDER)
    pattern = "https://github.com/team/app/.github/workflows/release.yml@refs/*/*"
    assert verified(github, content, identity=pattern) == statement
    material = content["verificationMaterial"]
    older = {"x509CertificateChain": {"certificates": [material["certificate"]]}}
    media_type = "application/vnd.dev.sigstore.bundle+json;version=0.2"
    assert verified(github, {**content, "verificationMaterial": older, "mediaType": media_type}) == statement


UNKNOWN = (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)


@pytest.mark.parametrize(
    ("made", "wanted", "message"),
    [
        ({"identity": WORKFLOW.replace("team", "evil")}, {}, "not of https://github.com/team/app"),
        ({"identity": f"{WORKFLOW}/more"}, {"identity": WORKFLOW.replace("main", "*")}, "more, not of"),
        ({"identity": WORKFLOW.replace("release.yml", "releasexyml")}, {}, "releasexyml"),
        ({"issuer": "https://issuer.example"}, {}, "its OIDC issuer is 'https://issuer.example'"),
        ({"usage": ExtendedKeyUsageOID.SERVER_AUTH}, {}, "it is not for code signing"),
        ({"ca": True}, {}, "it is one of a CA"),
        ({"more": [UNKNOWN]}, {}, "it has the critical extension 1.2.3.4"),
        ({"payload_type": "text/plain"}, {}, "the payload type is 'text/plain'"),
    ],
)
def test_a_certificate_that_is_not_the_wanted_one_proves_nothing(github, made, wanted, message):
    with pytest.raises(BundleError) as error:
        verified(github, github.bundle(provenance(NAME, DIGEST), **made), **wanted)
    assert message in str(error.value)


def test_another_ca_one_out_of_use_and_one_not_yet_in_use_prove_nothing(github):
    content = github.bundle(provenance(NAME, DIGEST))
    day = timedelta(days=1)
    for roots in (
        SigningAuthority(github.made).trusted_root(),
        github.trusted_root(end=github.made - day),
        github.trusted_root(start=github.made + day),
    ):
        with pytest.raises(BundleError, match="no CA of the trusted root has issued"):
            verified(github, content, roots=roots)


def test_a_statement_that_is_changed_or_about_another_digest_proves_nothing(github):
    other = github.bundle(provenance(NAME, "sha256:" + "cd" * 32))
    with pytest.raises(BundleError, match="the statement is about sha256:cdcd"):
        verified(github, other)
    other["dsseEnvelope"]["payload"] = base64.b64encode(provenance(NAME, DIGEST)).decode()
    with pytest.raises(BundleError, match="not signed by the key of the certificate"):
        verified(github, other)
    with pytest.raises(BundleError, match="exactly one subject"):
        verified(github, github.bundle(b'{"_type": "https://in-toto.io/Statement/v1", "subject": []}'))
    by_key = github.bundle(provenance(NAME, DIGEST))
    by_key["verificationMaterial"] = {"publicKey": {"hint": "x"}}
    with pytest.raises(BundleError, match="a key has signed it"):
        verified(github, by_key)
    broken = github.bundle(provenance(NAME, DIGEST))
    broken["verificationMaterial"]["certificate"]["rawBytes"] = base64.b64encode(b"junk").decode()
    with pytest.raises(BundleError, match="the certificate is not accepted"):
        verified(github, broken)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has 0 lines"),
        (b"{}\n{", "line 2 of a bundle is not JSON"),
        (b"[]", "line 1 of a bundle is not a JSON object"),
        (b"{}", "mediaType is None"),
        (b'{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json"}', "has no dsseEnvelope"),
    ],
)
def test_files_without_bundles_are_rejected_with_the_line(content, message):
    with pytest.raises(BundleError) as error:
        read_bundles(content)
    assert message in str(error.value)


@pytest.mark.parametrize("change", [{"signatures": []}, {"payload": "%"}, {"payloadType": None}, {"payload": ""}])
def test_an_envelope_that_is_not_complete_is_rejected(github, change):
    content = github.bundle(provenance(NAME, DIGEST))
    content["dsseEnvelope"] |= change
    with pytest.raises(BundleError, match=f"dsseEnvelope.{next(iter(change))}"):
        read_bundle(content)


@pytest.mark.parametrize("root", ["{}", '{"mediaType": "application/vnd.dev.sigstore.trustedroot+json"}'])
def test_a_trusted_root_without_authorities_is_rejected(root):
    with pytest.raises(BundleError, match=r"mediaType|has no certificateAuthorities"):
        read_trusted_root(root.encode())
    media_type = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
    with pytest.raises(BundleError, match="certificateAuthorities cannot be read"):
        read_trusted_root(json.dumps({"mediaType": media_type, "certificateAuthorities": [{}]}).encode())


def test_countersign_verifies_and_signs_the_statement_with_the_own_key(github, tmp_path):
    def run(*arguments):
        done = CliRunner().invoke(command, [str(one) for one in arguments])
        if isinstance(done.exception, InputError):
            raise done.exception
        assert done.exit_code == 0, (done.output, done.exception)
        return done

    run("keygen", "--type", "DSSE", "-o", tmp_path / "gate")
    (tmp_path / "root.jsonl").write_text(f"{SigningAuthority().trusted_root()}\n{github.trusted_root()}\n")
    other = github.bundle(provenance(NAME, DIGEST), identity=WORKFLOW.replace("main", "evil"))
    good = github.bundle(provenance(NAME, DIGEST))
    options = (
        "countersign", f"{NAME}@{DIGEST}", "--bundle", tmp_path / "b.jsonl", "--trusted-root", tmp_path / "root.jsonl",
        "--identity", WORKFLOW, "--key", tmp_path / "gate.key", "--note", NOTE,
    )  # fmt: skip
    (tmp_path / "b.jsonl").write_text(json.dumps(other))
    with pytest.raises(InputError, match=r"proves nothing about ghcr\.io/team/app@.*: bundle 1: the certificate"):
        run(*options)
    (tmp_path / "b.jsonl").write_text(f"{json.dumps(other)}\n{json.dumps(good)}\n")
    done = run(*options)
    assert f"verified: {DIGEST} by {WORKFLOW}, built by {BUILDER}" in done.stderr
    (signed,) = signed_bytes(json.loads(done.stdout), NOTE)
    key = VerificationKey(id="gate", type="DSSE", public_key=(tmp_path / "gate.pub").read_bytes())
    result = verify(signed, [key], datetime.now(UTC))
    assert isinstance(result, Verified), result
    assert (result.statement.digest, result.statement.builder) == (DIGEST, BUILDER)
    (tmp_path / "root.jsonl").write_text("{}")
    with pytest.raises(InputError, match=r"root\.jsonl: mediaType is None"):
        run(*options)
