"""Images that were not scanned, that have vulnerabilities, or that another builder has built."""

from __future__ import annotations

import json
from typing import Any

import pytest
from scenarios.attestation.team import image, pod
from scenarios.attestation.test_forgeries import KEY, admits, b64, digest, pem

from operatorkit.cluster import PatchType
from operatorkit.errors import Invalid
from operatorkit.testing import eventually
from operators.attestation import AttestationAuthority, ImagePolicy


async def policy(team: Any, **spec: Any) -> None:
    await team.cluster.patch(
        ImagePolicy.api_resource(),
        "signed",
        {"spec": spec},
        patch_type=PatchType.MERGE,
        namespace=team.cluster.namespace,
    )
    await team.ready(ImagePolicy, "signed")


async def denied(team: Any, reference: str, text: str) -> None:
    async def is_denied() -> bool:
        return text in await team.answer(pod(reference))

    await eventually(is_denied, message=text)


async def found(team: Any, reference: str, note: str, **content: Any) -> None:
    body = {"resourceUri": f"https://{reference}", "noteName": f"projects/scans/notes/{note}", **content}
    await team.post("projects/scans/occurrences", body)


async def test_an_image_that_was_not_scanned_or_has_a_vulnerability_is_denied(team):
    rule = {"parent": "projects/scans", "server": team.cluster.namespace, "maximumSeverity": "MEDIUM"}
    await policy(team, vulnerability=rule)
    await team.post("projects/scans/notes?noteId=scan", {"discovery": {"analysisKind": "VULNERABILITY"}})
    await team.post("projects/scans/notes?noteId=CVE-2026-1", {"vulnerability": {"severity": "HIGH"}})
    reference = image()
    await team.attest(reference)
    await denied(team, reference, "it was not scanned")
    await found(team, reference, "scan", discovery={"analysisStatus": "SCANNING"})
    await denied(team, reference, "it was not scanned")
    await found(team, reference, "scan", discovery={"analysisStatus": "FINISHED_SUCCESS"})
    await admits(team, reference)
    await found(team, reference, "CVE-2026-1", vulnerability={"effectiveSeverity": "HIGH"})
    await denied(team, reference, "it has CVE-2026-1 (HIGH, no fix)")
    await policy(team, vulnerability={**rule, "allowCVEs": [{"id": "CVE-2026-1"}]})
    await admits(team, reference)
    await policy(team, vulnerability={**rule, "allowCVEs": [{"id": "CVE-2026-1", "expires": "2020-01-01T00:00:00Z"}]})
    await denied(team, reference, "it has CVE-2026-1")
    await policy(team, vulnerability={**rule, "allowCVEs": [], "maximumFixUnavailableSeverity": "HIGH"})
    await admits(team, reference)
    await policy(team, vulnerability={**rule, "server": "absent"})
    await denied(team, reference, "there is no GrafeasServer 'absent'")


async def test_provenance_must_name_a_builder_that_the_policy_accepts(team):
    note = "projects/team/notes/slsa"
    await team.post("projects/team/notes?noteId=slsa", {"dsseAttestation": {"hint": {"humanReadableName": "ci"}}})
    spec = {"noteReference": note, "keys": [{"id": "ci", "type": "DSSE", "publicKey": pem()}]}
    await team.cluster.patch(
        AttestationAuthority.api_resource(),
        "qa",
        {"spec": spec},
        patch_type=PatchType.MERGE,
        namespace=team.cluster.namespace,
    )
    await policy(team, provenance={"builderIDs": ["https://ci.example.com/trusted"]})
    reference, in_toto = image(), "application/vnd.in-toto+json"

    async def provenance(builder: str, kind: str = "https://slsa.dev/provenance/v1") -> None:
        payload = json.dumps(
            {
                "_type": "https://in-toto.io/Statement/v1",
                "subject": [{"name": "app", "digest": {"sha256": digest(reference).removeprefix("sha256:")}}],
                "predicateType": kind,
                "predicate": {"buildDefinition": {}, "runDetails": {"builder": {"id": builder}}},
            }
        ).encode()
        content = b"DSSEv1 %d %b %d %b" % (len(in_toto), in_toto.encode(), len(payload), payload)
        envelope = {"payload": b64(payload), "payloadType": in_toto, "signatures": [{"sig": b64(KEY.sign(content))}]}
        body = {"resourceUri": f"https://{reference}", "noteName": note, "dsseAttestation": {"envelope": envelope}}
        await team.post("projects/team/occurrences", body)

    await provenance("https://ci.example.com/other")
    await denied(team, reference, "it was built by https://ci.example.com/other, which the policy does not accept")
    await provenance("https://ci.example.com/trusted", kind="https://example.com/other-predicate")
    await denied(team, reference, "which the policy does not accept")
    await provenance("https://ci.example.com/trusted")
    await admits(team, reference)


async def test_a_policy_that_asks_for_nothing_is_rejected(team):
    for spec, text in (
        ({}, "set spec.require or spec.vulnerability"),
        ({"vulnerability": {"parent": "projects/s"}, "provenance": {"builderIDs": ["x"]}}, "needs spec.require"),
    ):
        with pytest.raises(Invalid, match=text):
            await team.make(ImagePolicy, "nothing", spec)
