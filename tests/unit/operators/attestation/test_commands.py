"""Keys, signatures, policies over manifests, and imports, by the commands that people type."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
import yaml
from click.testing import CliRunner

from operatorkit.errors import InputError
from operatorkit.resource import read
from operators.attestation import (
    AttestationAuthority,
    ClusterAttestationAuthority,
    ClusterImagePolicy,
    ImagePolicy,
    admission,
)
from operators.attestation.cli import command
from operators.attestation.facts import signed_bytes
from operators.attestation.observe import policy_of
from operators.attestation.policy import plan
from operators.attestation.signatures import VerificationKey, Verified, verify
from operators.attestation.workloads import ImageUse

DIGEST = "sha256:" + "ab" * 32
IMAGE = f"gcr.io/team/app@{DIGEST}"
NOTE = "projects/team/notes/qa"
KINDS = {one.kind: one for one in (AttestationAuthority, ClusterAttestationAuthority, ClusterImagePolicy, ImagePolicy)}


def run(*arguments, code=0):
    done = CliRunner().invoke(command, [str(one) for one in arguments])
    if isinstance(done.exception, InputError):
        raise done.exception
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


@pytest.mark.parametrize(
    ("type_", "algorithm"),
    [
        ("PGP", "ED25519"),
        *(("PKIX", one) for one in ("ED25519", "ECDSA_P256_SHA256", "ECDSA_P521_SHA512", "RSA_PSS_2048_SHA256")),
        ("PKIX", "RSA_SIGN_PKCS1_2048_SHA256"),
        ("Cosign", "ECDSA_P256_SHA256"),
        *(("JWT", one) for one in ("ED25519", "ECDSA_P384_SHA384")),
        ("DSSE", "ECDSA_P256_SHA256"),
    ],
)
def test_what_sign_prints_is_verified_by_the_key_of_keygen(tmp_path, type_, algorithm):
    run("keygen", "--type", type_, "--algorithm", algorithm, "-o", tmp_path / "qa")
    assert (tmp_path / "qa.key").stat().st_mode & 0o777 == 0o600
    options = ["--algorithm", algorithm] if algorithm.startswith("RSA") else []
    output = run("sign", IMAGE, "--key", tmp_path / "qa.key", "--note", NOTE, "--type", type_, *options)
    (signed,) = signed_bytes(json.loads(output), NOTE)
    public = (tmp_path / "qa.pub").read_bytes()
    named = algorithm if type_ != "PGP" else None
    key = VerificationKey(id="qa", type=type_, public_key=public, signature_algorithm=named)
    result = verify(signed, [key], datetime.now(UTC))
    assert isinstance(result, Verified), result
    assert result.statement.digest == DIGEST


def test_a_key_is_never_written_over_and_errors_name_the_remedy(tmp_path):
    run("keygen", "-o", tmp_path / "qa")
    with pytest.raises(InputError, match="exists already"):
        run("keygen", "-o", tmp_path / "qa")
    with pytest.raises(InputError, match="give one of RSA_PSS_2048_SHA256"):
        run("keygen", "--algorithm", "DSA", "-o", tmp_path / "x")
    (tmp_path / "junk").write_text("junk")
    with pytest.raises(InputError, match="not a private key in PEM"):
        run("sign", IMAGE, "--key", tmp_path / "junk", "--note", NOTE)
    with pytest.raises(InputError, match="not a PGP private key"):
        run("sign", IMAGE, "--key", tmp_path / "junk", "--note", NOTE, "--type", "PGP")
    run("keygen", "--algorithm", "RSA_PSS_2048_SHA256", "-o", tmp_path / "rsa")
    with pytest.raises(InputError, match="an RSA key needs signatureAlgorithm"):
        run("sign", IMAGE, "--key", tmp_path / "rsa.key", "--note", NOTE)
    with pytest.raises(InputError, match="has no digest"):
        run("sign", "gcr.io/app:v1", "--key", tmp_path / "qa.key", "--note", NOTE)


@pytest.fixture
def files(tmp_path):
    run("keygen", "-o", tmp_path / "qa")
    authority = {
        "apiVersion": "attest.operatorkit.dev/v1alpha1",
        "kind": "ClusterAttestationAuthority",
        "metadata": {"name": "qa"},
        "spec": {
            "noteReference": NOTE,
            "keys": [{"id": "qa", "type": "PKIX", "publicKey": (tmp_path / "qa.pub").read_text()}],
        },
    }
    policy = {
        "apiVersion": "attest.operatorkit.dev/v1alpha1",
        "kind": "ClusterImagePolicy",
        "metadata": {"name": "all"},
        "spec": {"match": {"images": ["gcr.io/**"]}, "require": {"allOf": [{"name": "qa"}]}},
    }
    (tmp_path / "policies.yaml").write_text(yaml.safe_dump_all([authority, policy]))
    template = {"spec": {"containers": [{"name": "c", "image": IMAGE}]}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"template": template},
    }
    other = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"containers": [{"image": "quay.io/x:v1"}]},
    }
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "all.yaml").write_text(
        yaml.safe_dump_all(
            [{"apiVersion": "v1", "kind": "List", "items": [deployment, other]}, None, {"kind": "ConfigMap"}]
        )
    )
    return tmp_path


def test_manifests_are_evaluated_offline(files):
    test = ("policy", "test", "-f", files / "manifests", "-p", files / "policies.yaml")
    output = run(*test, code=1)
    assert "Deployment default/web: denied" in output
    assert "(spec.template.spec.containers[0].image): ClusterImagePolicy all: ClusterAttestationAuthority qa" in output
    assert "Pod default/p: no policy applies: it is admitted" in output
    assert output.endswith("2 with images, 1 denied\n")
    (files / "qa.json").write_text(run("sign", IMAGE, "--key", files / "qa.key", "--note", NOTE))
    output = run(*test, "--occurrences", files / "qa.json")
    assert "Deployment default/web: admitted" in output
    other = run("sign", IMAGE.replace("ab", "cd"), "--key", files / "qa.key", "--note", NOTE)
    (files / "qa.json").write_text(json.dumps({"occurrences": [json.loads(other)]}))
    assert "signature over sha256:cdcd" in run(*test, "--occurrences", files / "qa.json", code=1)


def test_files_that_cannot_be_read_are_named(files):
    (files / "manifests" / "bad.yaml").write_text("a: [")
    with pytest.raises(InputError, match=r"bad\.yaml cannot be read as YAML"):
        run("policy", "test", "-f", files / "manifests")
    (files / "manifests" / "bad.yaml").write_text("just text")
    with pytest.raises(InputError, match="has a document that is not an object"):
        run("policy", "test", "-f", files / "manifests")
    (files / "manifests" / "bad.yaml").unlink()
    (files / "bad.json").write_text("5")
    with pytest.raises(InputError, match="is not an occurrence"):
        run("policy", "test", "-f", files / "manifests", "--occurrences", files / "bad.json")


BINARY_AUTHORIZATION = """
name: projects/shop/policy
globalPolicyEvaluationMode: ENABLE
admissionWhitelistPatterns:
- namePattern: gcr.io/google_containers/*
- namePattern: gcr.io/shop/tool@sha256:abc
defaultAdmissionRule:
  evaluationMode: REQUIRE_ATTESTATION
  enforcementMode: ENFORCED_BLOCK_AND_AUDIT_LOG
  requireAttestationsBy: [projects/shop/attestors/built-by-ci, projects/shop/attestors/qa]
clusterAdmissionRules:
  us-east1-a.prod: {evaluationMode: ALWAYS_DENY, enforcementMode: ENFORCED_BLOCK_AND_AUDIT_LOG}
kubernetesNamespaceAdmissionRules:
  sandbox: {evaluationMode: ALWAYS_ALLOW, enforcementMode: ENFORCED_BLOCK_AND_AUDIT_LOG}
  locked: {evaluationMode: ALWAYS_DENY, enforcementMode: ENFORCED_BLOCK_AND_AUDIT_LOG}
  trial:
    evaluationMode: REQUIRE_ATTESTATION
    enforcementMode: DRYRUN_AUDIT_LOG_ONLY
    requireAttestationsBy: [projects/shop/attestors/qa]
---
name: projects/shop/attestors/qa
userOwnedGrafeasNote:
  noteReference: projects/shop/notes/qa
  publicKeys:
  - id: //keys/1
    pkixPublicKey: {publicKeyPem: "-----BEGIN PUBLIC KEY-----", signatureAlgorithm: EC_SIGN_P256_SHA256}
  - id: "2"
    asciiArmoredPgpPublicKey: "-----BEGIN PGP PUBLIC KEY BLOCK-----"
  - id: "3"
"""

KRITIS = """
apiVersion: kritis.grafeas.io/v1beta1
kind: AttestationAuthority
metadata: {name: qa-attestator, namespace: shop}
spec:
  noteReference: v1alpha1/projects/image-attestor
  privateKeySecretName: secret
  publicKeyData: LS0tLS1CRUdJTiBQR1AgUFVCTElDIEtFWSBCTE9DSy0tLS0t
---
apiVersion: kritis.grafeas.io/v1beta1
kind: GenericAttestationPolicy
metadata: {name: gap, namespace: shop}
spec:
  attestationAuthorityNames: [qa-attestator]
  admissionAllowlistPatterns: [{namePattern: gcr.io/shop/base}]
---
apiVersion: kritis.grafeas.io/v1beta1
kind: ImageSecurityPolicy
metadata: {name: isp, namespace: shop}
spec:
  imageAllowlist: [gcr.io/shop/tool]
  packageVulnerabilityRequirements:
    maximumSeverity: MEDIUM
    maximumFixUnavailableSeverity: ALLOW_ALL
    allowlistCVEs: [providers/goog-vulnz/notes/CVE-2017-1000082]
---
kind: ConfigMap
"""


def imported(tmp_path, text):
    (tmp_path / "in.yaml").write_text(text)
    done = CliRunner().invoke(command, ["import", str(tmp_path / "in.yaml")])
    assert done.exit_code == 0, done.output
    objects = [read(KINDS[one["kind"]], one) for one in yaml.safe_load_all(done.stdout)]
    for one in objects:
        if isinstance(one, ImagePolicy | ClusterImagePolicy):
            assert not hasattr(admission.validate_policy(one), "causes")
    return {one.metadata.name: one for one in objects}, done.stderr


def test_a_policy_of_binary_authorization_becomes_policies_that_are_no_looser(tmp_path):
    found, remarks = imported(tmp_path, BINARY_AUTHORIZATION)
    assert set(found) == {"shop", "shop-locked", "shop-trial", "qa"}
    policy = found["shop"].spec
    assert [one.name for one in policy.require.all_of] == ["built-by-ci", "qa"]
    assert policy.exempt == ["gcr.io/google_containers/*"]
    (expression,) = policy.match.namespace_selector.match_expressions
    assert (expression.operator, expression.values) == ("NotIn", ["locked", "sandbox", "trial"])
    assert found["shop-trial"].spec.mode == "Audit"
    (denied,) = plan([ImageUse(IMAGE, "x")], [policy_of(found["shop-locked"])])
    assert denied.policy.authorities == (("ClusterAttestationAuthority", "", "no-authority"),)
    assert [(key.type, key.signature_algorithm) for key in found["qa"].spec.keys] == [
        ("PKIX", "ECDSA_P256_SHA256"),
        ("PGP", None),
    ]
    for part in (
        "names a digest",
        "clusterAdmissionRules",
        "globalPolicyEvaluationMode",
        "sandbox always allows",
        "key '3'",
    ):
        assert part in remarks


def test_resources_of_kritis_become_policies(tmp_path):
    found, remarks = imported(tmp_path, KRITIS)
    assert set(found) == {"qa-attestator", "gap", "isp"}
    assert found["qa-attestator"].spec.note_reference == "projects/image-attestor/notes/qa-attestator"
    assert found["qa-attestator"].spec.keys[0].public_key == "-----BEGIN PGP PUBLIC KEY BLOCK-----"
    (reference,) = found["gap"].spec.require.any_of
    assert (reference.kind, reference.name) == ("AttestationAuthority", "qa-attestator")
    assert found["gap"].spec.exempt == ["gcr.io/shop/base"]
    rule = found["isp"].spec.vulnerability
    assert (rule.maximum_severity, rule.maximum_fix_unavailable_severity) == ("MEDIUM", "ALLOW_ALL")
    assert [one.id for one in rule.allow_cves] == ["CVE-2017-1000082"]
    assert found["isp"].spec.require is None
    assert all(one.metadata.namespace == "shop" for one in found.values())
    assert "ConfigMap is neither a resource of Kritis nor of Binary Authorization" in remarks
    assert "set spec.vulnerability.parent" in remarks
