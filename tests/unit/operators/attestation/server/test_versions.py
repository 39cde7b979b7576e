"""v1beta1 and v1alpha1: what is written in one version is read in the same, and in the others by their names."""

from __future__ import annotations

import base64

import pytest

from operators.attestation.server.schema import DETAILS, checked
from operators.attestation.server.versions import from_v1, to_v1

ARMOUR = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nsha256:x\n"
IMAGE = "https://gcr.io/app@sha256:" + "a" * 64
VERSION = {"name": "1", "kind": "NORMAL"}
LOCATION = {"cpeUri": "cpe:/o:debian:9", "package": "glibc", "version": VERSION}

NOTES = [  # version, field, its content, kind in that version, field and content in v1
    ("v1beta1", "vulnerability", {"severity": "HIGH", "details": [{"cpeUri": "c", "package": "p", "minAffectedVersion": VERSION, "fixedLocation": LOCATION}]}, "VULNERABILITY", "vulnerability",
     {"severity": "HIGH", "details": [{"affectedCpeUri": "c", "affectedPackage": "p", "affectedVersionStart": VERSION, "fixedCpeUri": LOCATION["cpeUri"], "fixedPackage": "glibc", "fixedVersion": VERSION}]}),
    ("v1beta1", "build", {"builderVersion": "1", "signature": {"publicKey": "k"}}, "BUILD", "build", {"builderVersion": "1"}),
    ("v1beta1", "baseImage", {"resourceUrl": "u", "fingerprint": {"v1Name": "a"}}, "IMAGE", "image", {"resourceUrl": "u", "fingerprint": {"v1Name": "a"}}),
    ("v1beta1", "package", {"name": "glibc"}, "PACKAGE", "package", {"name": "glibc"}),
    ("v1beta1", "deployable", {"resourceUri": ["u"]}, "DEPLOYMENT", "deployment", {"resourceUri": ["u"]}),
    ("v1beta1", "discovery", {"analysisKind": "VULNERABILITY"}, "DISCOVERY", "discovery", {"analysisKind": "VULNERABILITY"}),
    ("v1beta1", "attestationAuthority", {"hint": {"humanReadableName": "qa"}}, "ATTESTATION", "attestation", {"hint": {"humanReadableName": "qa"}}),
    ("v1alpha1", "vulnerabilityType", {"severity": "LOW"}, "PACKAGE_VULNERABILITY", "vulnerability", {"severity": "LOW"}),
    ("v1alpha1", "buildType", {"builderVersion": "1"}, "BUILD_DETAILS", "build", {"builderVersion": "1"}),
    ("v1alpha1", "baseImage", {"resourceUrl": "u"}, "IMAGE_BASIS", "image", {"resourceUrl": "u"}),
    ("v1alpha1", "package", {"name": "x"}, "PACKAGE_MANAGER", "package", {"name": "x"}),
    ("v1alpha1", "deployable", {"resourceUri": ["u"]}, "DEPLOYABLE", "deployment", {"resourceUri": ["u"]}),
    ("v1alpha1", "discovery", {"analysisKind": "PACKAGE_VULNERABILITY"}, "DISCOVERY", "discovery", {"analysisKind": "VULNERABILITY"}),
    ("v1alpha1", "attestationAuthority", {"hint": {"humanReadableName": "qa"}}, "ATTESTATION_AUTHORITY", "attestation", {"hint": {"humanReadableName": "qa"}}),
]  # fmt: skip

SIGNED = {"signatures": [{"signature": base64.b64encode(ARMOUR.encode()).decode(), "publicKeyId": "AB"}]}
ISSUE = {"affectedLocation": LOCATION, "fixedLocation": LOCATION, "severityName": "HIGH"}
ISSUE_V1 = {
    "affectedCpeUri": LOCATION["cpeUri"],
    "affectedPackage": "glibc",
    "affectedVersion": VERSION,
    "fixedCpeUri": LOCATION["cpeUri"],
    "fixedPackage": "glibc",
    "fixedVersion": VERSION,
}
PGP = {"pgpSignedAttestation": {"signature": ARMOUR, "contentType": "SIMPLE_SIGNING_JSON", "pgpKeyId": "AB"}}
PGP_BASE64 = {
    "pgpSignedAttestation": {
        "signature": base64.encodebytes(ARMOUR.encode()).decode(),
        "contentType": "application/vnd.gcr.image.url.v1",
        "pgpKeyId": "AB",
    }
}
GENERIC = {
    "genericSignedAttestation": {"serializedPayload": "eA==", "signatures": [{"signature": "eQ==", "publicKeyId": "k"}]}
}

OCCURRENCES = [
    ("v1beta1", "vulnerability", {"effectiveSeverity": "HIGH", "packageIssue": [ISSUE]}, "vulnerability", {"effectiveSeverity": "HIGH", "packageIssue": [ISSUE_V1]}),
    ("v1beta1", "build", {"provenanceBytes": "x"}, "build", {"provenanceBytes": "x"}),
    ("v1beta1", "derivedImage", {"derivedImage": {"distance": 2}}, "image", {"distance": 2}),
    ("v1beta1", "installation", {"installation": {"location": [{"path": "/x"}]}}, "package", {"location": [{"path": "/x"}]}),
    ("v1beta1", "deployment", {"deployment": {"userEmail": "a@b"}}, "deployment", {"userEmail": "a@b"}),
    ("v1beta1", "discovered", {"discovered": {"analysisStatus": "FINISHED_SUCCESS", "lastAnalysisTime": "2026-01-01T00:00:00Z"}}, "discovery", {"analysisStatus": "FINISHED_SUCCESS", "lastScanTime": "2026-01-01T00:00:00Z"}),
    ("v1beta1", "attestation", {"attestation": PGP}, "attestation", SIGNED),
    ("v1beta1", "attestation", {"attestation": PGP_BASE64}, "attestation", SIGNED),
    ("v1beta1", "attestation", {"attestation": GENERIC}, "attestation", GENERIC["genericSignedAttestation"]),
    ("v1alpha1", "vulnerabilityDetails", {"severity": "HIGH", "packageIssue": [ISSUE]}, "vulnerability", {"severity": "HIGH", "packageIssue": [ISSUE_V1]}),
    ("v1alpha1", "buildDetails", {"provenanceBytes": "x"}, "build", {"provenanceBytes": "x"}),
    ("v1alpha1", "derivedImageDetails", {"distance": 2}, "image", {"distance": 2}),
    ("v1alpha1", "derivedImage", {"distance": 2}, "image", {"distance": 2}),
    ("v1alpha1", "installationDetails", {"location": [{"path": "/x"}]}, "package", {"location": [{"path": "/x"}]}),
    ("v1alpha1", "deploymentDetails", {"userEmail": "a@b"}, "deployment", {"userEmail": "a@b"}),
    ("v1alpha1", "discoveredDetails", {"operation": {"name": "o"}}, "discovery", {}),
    ("v1alpha1", "attestationDetails", PGP, "attestation", SIGNED),
    ("v1alpha1", "attestation", PGP_BASE64, "attestation", SIGNED),
]  # fmt: skip


@pytest.mark.parametrize(("version", "field", "content", "kind", "v1_field", "v1_content"), NOTES)
async def test_a_note_of_an_older_version(client, version, field, content, kind, v1_field, v1_content):
    sent = {"shortDescription": "s", "kind": kind, field: content}
    made = await client("POST", f"/{version}/projects/p/notes", sent, noteId="n")
    assert made.status == 200, made.body
    assert {key: made.body[key] for key in sent} == sent
    assert (await client("GET", f"/{version}/projects/p/notes/n")).body == made.body
    assert (await client("GET", "/v1/projects/p/notes/n")).body[v1_field] == v1_content


@pytest.mark.parametrize(("version", "field", "content", "v1_field", "v1_content"), OCCURRENCES)
async def test_an_occurrence_of_an_older_version(client, version, field, content, v1_field, v1_content):
    await client.note("n", **{v1_field: {"analysisKind": "BUILD"} if v1_field == "discovery" else {}})
    resource = {"resourceUrl": IMAGE} if version == "v1alpha1" else {"resource": {"uri": IMAGE, "name": "old"}}
    sent = {**resource, "noteName": "projects/p/notes/n", field: content}
    made = await client("POST", f"/{version}/projects/p/occurrences", sent)
    assert made.status == 200, made.body
    assert {key: made.body[key] for key in sent} == sent
    name = made.body["name"]
    assert (await client("GET", f"/{version}/{name}")).body == made.body
    in_v1 = (await client("GET", f"/v1/{name}")).body
    assert (in_v1["resourceUri"], in_v1[v1_field]) == (IMAGE, v1_content)


async def test_an_update_in_another_version_is_seen_in_all(client):
    await client.note("n", attestation={})
    body = {"resourceUrl": IMAGE, "noteName": "projects/p/notes/n", "attestation": PGP_BASE64}
    name = (await client("POST", "/v1alpha1/projects/p/occurrences", body)).body["name"]
    await client("PATCH", f"/v1/{name}", {"remediation": "x"}, updateMask="remediation")
    for version in ("v1", "v1beta1", "v1alpha1"):
        assert (await client("GET", f"/{version}/{name}")).body["remediation"] == "x"
    again = await client("PATCH", f"/v1beta1/{name}", {"remediation": "y"}, updateMask="remediation")
    assert again.body["attestation"]["attestation"]["pgpSignedAttestation"]["signature"] == ARMOUR
    assert (await client("GET", f"/v1/{name}")).body["attestation"] == SIGNED


@pytest.mark.parametrize("version", ["v1beta1", "v1alpha1"])
@pytest.mark.parametrize("collection", DETAILS)
def test_each_kind_of_v1_can_be_read_and_written_back_in_an_older_version(version, collection):
    for kind, field in DETAILS[collection].items():
        body = checked(collection, {field: {}, "resourceUri": IMAGE} if collection == "occurrences" else {field: {}})
        older = from_v1(version, collection, body)
        assert checked(collection, to_v1(version, collection, older))["kind"] == kind


@pytest.mark.parametrize("field", ["intoto", "sbom", "spdxPackage"])
async def test_a_kind_that_only_an_older_version_has_is_rejected(client, field):
    wrong = await client("POST", "/v1beta1/projects/p/notes", {field: {}}, noteId="n")
    assert (wrong.status, field in wrong.body["message"]) == (400, True)


async def test_two_spellings_of_one_field_are_rejected(client):
    body = {"attestation": {}, "attestationDetails": {}, "resourceUrl": IMAGE, "noteName": "projects/p/notes/n"}
    wrong = await client("POST", "/v1alpha1/projects/p/occurrences", body)
    assert (wrong.status, "names of the same field" in wrong.body["message"]) == (400, True)


@pytest.mark.parametrize("spelling", ["resourceUri", "resourceUrl", "resource_uri", "resource_url", "resource"])
@pytest.mark.parametrize("version", ["v1", "v1beta1", "v1alpha1"])
async def test_each_spelling_of_the_resource_is_read_in_each_version(client, version, spelling):
    await client.note("n", build={})
    value = {"uri": IMAGE} if spelling == "resource" else IMAGE
    field = "buildDetails" if version == "v1alpha1" else "build"
    made = await client(
        "POST", f"/{version}/projects/p/occurrences", {spelling: value, "noteName": "projects/p/notes/n", field: {}}
    )
    assert made.status == 200, made.body
    assert (await client("GET", f"/v1/{made.body['name']}")).body["resourceUri"] == IMAGE
