"""Running Pods are evaluated again when what admitted them changes: within seconds, by Events and policy reports."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest_asyncio
from scenarios.attestation.team import NOTE, PODS, image, pod

from operatorkit.cluster import PatchType
from operatorkit.events import EVENTS
from operatorkit.testing import eventually
from operatorkit.testing.running import install_stand_ins
from operators.attestation import AttestationAuthority, GrafeasServer, ImagePolicy, ImageRevocation
from operators.attestation.reports import REPORTS, PolicyReport


async def reasons(team: Any, name: str = "web") -> list[str]:
    listed = await team.cluster.list(EVENTS, namespace=team.cluster.namespace)
    return [
        event["reason"]
        for event in listed.items
        if event["involvedObject"]["name"] == name and event["source"]["component"] == "attestation"
    ]


async def warned(team: Any, reason: str, name: str = "web") -> None:
    async def seen() -> bool:
        return reason in await reasons(team, name)

    await eventually(seen, message=f"{reason} on {name}")


@pytest_asyncio.fixture
async def runs(team: Any) -> str:
    """Run a Pod whose image is attested, and return the image."""
    good = image()
    await team.attest(good)
    await team.create(pod(good))

    async def followed() -> bool:
        server = await team.cluster.get(GrafeasServer.api_resource(), team.cluster.namespace)
        return server.get("status", {}).get("sequence") is not None

    await eventually(followed, message="the server's changes are followed")
    return good


async def test_an_attestation_that_is_deleted_is_reported_within_seconds_and_its_return_too(team, runs):
    async with team.session.get(f"{team.url}/v1/{NOTE}/occurrences") as answer:
        (occurrence,) = (await answer.json())["occurrences"]
    assert await reasons(team) == []
    begun = asyncio.get_running_loop().time()
    async with team.session.delete(f"{team.url}/v1/{occurrence['name']}") as answer:
        assert answer.status == 200
    await warned(team, "ImageNotAttested")
    assert asyncio.get_running_loop().time() - begun < 30.0
    await team.attest(runs)
    await warned(team, "ImageAttested")


async def test_a_revoked_key_a_revoked_image_and_a_changed_policy_are_reported(team, runs, cleanup):
    namespace = team.cluster.namespace
    revoked = team.authority(revokedAt=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    await team.cluster.patch(
        AttestationAuthority.api_resource(), "qa", {"spec": revoked}, patch_type=PatchType.MERGE, namespace=namespace
    )
    await warned(team, "ImageNotAttested")
    async with cleanup((ImageRevocation, namespace)):
        spec = {"digest": runs.partition("@")[2], "reason": "it mines coins"}
        await team.make(ImageRevocation, namespace, spec)
        await warned(team, "AttestationRevoked")


async def test_a_pod_cannot_be_left_out_by_its_author(team, runs):
    namespace = team.cluster.namespace
    annotations = {"operatorkit.dev/paused": "true", "attest.operatorkit.dev/verified": "true"}
    await team.cluster.patch(
        PODS, "web", {"metadata": {"annotations": annotations}}, patch_type=PatchType.MERGE, namespace=namespace
    )
    more = {"require": {"allOf": [{"kind": "AttestationAuthority", "name": "absent"}]}}
    await team.make(ImagePolicy, "stricter", more)
    await warned(team, "ImageNotAttested")


async def test_a_policy_report_says_what_is_so_where_its_kind_is_installed(team, runs):
    namespace = team.cluster.namespace
    await install_stand_ins([PolicyReport], team.cluster)
    uid = (await team.cluster.get(PODS, "web", namespace=namespace))["metadata"]["uid"]

    async def report(**policy: Any) -> dict[str, Any]:
        if policy:
            await team.cluster.patch(
                ImagePolicy.api_resource(), "signed", {"spec": policy}, patch_type=PatchType.MERGE, namespace=namespace
            )
        return await team.cluster.get(REPORTS, f"attestation-{uid}", namespace=namespace)

    async def passes() -> bool:
        found = await report(exempt=["gcr.io/other"])
        return found["summary"] == {"pass": 1, "fail": 0, "warn": 0, "error": 0, "skip": 0}

    await eventually(passes, message="a report that the Pod passes")
    (result,) = (await report())["results"]
    assert result["policy"] == f"ImagePolicy {namespace}/signed"
    assert result["rule"] == "spec.containers[0].image"
    absent = {"allOf": [{"kind": "AttestationAuthority", "name": "absent"}]}

    async def fails() -> bool:
        return (await report(require=absent))["summary"]["fail"] == 1

    await eventually(fails, message="a report that the Pod fails")
    found = await report()
    assert found["results"][0]["properties"] == {"reason": "ImageNotAttested"}
    assert found["metadata"]["ownerReferences"][0]["uid"] == found["scope"]["uid"] == uid

    async def warns() -> bool:
        return (await report(mode="Warn"))["summary"]["warn"] == 1

    await eventually(warns, message="a report that the Pod would be warned of")


async def test_a_server_that_does_not_answer_is_said_so_in_its_status(team, runs, stack):
    await stack.aclose()

    async def said() -> bool:
        server = await team.cluster.get(GrafeasServer.api_resource(), team.cluster.namespace)
        (ready,) = server["status"]["conditions"]
        return (ready["status"], ready["reason"]) == ("False", "ChangesNotRead") and team.url in ready["message"]

    await eventually(said, message="the server is not ready")
