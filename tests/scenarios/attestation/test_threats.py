"""What an attacker tries at admission; each ends in a denial that names the image."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime
from typing import Any

import pytest
from pysequoia import SignatureMode, Tsk, sign
from scenarios.attestation.team import DEPLOYMENTS, NOTE, PODS, image, pod

from operatorkit.cluster import PatchType
from operatorkit.errors import Forbidden
from operatorkit.testing import eventually
from operators.attestation import AttestationAuthority, GrafeasServer


async def test_one_unsigned_image_among_signed_ones_is_found_wherever_it_is(team):
    good, bad = image(), image()
    await team.attest(good)
    container = {"name": "x", "image": bad}
    assert "spec.containers[1].image" in await team.denied(pod(good, bad))
    assert "spec.initContainers[0].image" in await team.denied(pod(good, initContainers=[container]))
    volume = {"name": "v", "image": {"reference": bad}}
    assert "spec.volumes[0].image.reference" in await team.denied(pod(good, volumes=[volume]))
    await team.create(pod(good))


async def test_an_ephemeral_container_is_evaluated(team):
    good, bad = image(), image()
    await team.attest(good)
    await team.create(pod(good))

    async def debug(reference: str) -> None:
        change = {"spec": {"ephemeralContainers": [{"name": f"d{secrets.token_hex(2)}", "image": reference}]}}
        await team.cluster.patch(
            PODS, "web", change, patch_type=PatchType.STRATEGIC, subresource="ephemeralcontainers",
            namespace=team.cluster.namespace,
        )  # fmt: skip

    with pytest.raises(Forbidden, match=r"spec\.ephemeralContainers\[0\]\.image"):
        await debug(bad)
    await debug(good)


async def test_an_image_that_is_changed_in_place_is_evaluated_and_other_changes_are_not(team, stack):
    good, bad, new = image(), image(), image()
    await team.attest(good)
    await team.attest(new)
    await team.create(pod(good))
    namespace = team.cluster.namespace

    async def change(**body: Any) -> None:
        await team.cluster.patch(PODS, "web", body, patch_type=PatchType.STRATEGIC, namespace=namespace)

    with pytest.raises(Forbidden, match="No matched signatures"):
        await change(spec={"containers": [{"name": "c0", "image": bad}]})
    await stack.aclose()  # the server is gone: what runs can still be changed and deleted
    await change(metadata={"labels": {"a": "b"}})
    status = {"status": {"conditions": [{"type": "x", "status": "True"}]}}
    await team.cluster.patch(
        PODS, "web", status, patch_type=PatchType.STRATEGIC, subresource="status", namespace=namespace
    )
    await team.cluster.delete(PODS, "web", namespace=namespace)
    assert "the metadata server did not respond" in await team.denied(pod(new, name="new"))


async def test_an_object_with_a_template_is_evaluated_as_its_pods_are(team):
    labels = {"app": "web"}

    def deployment(reference: str) -> dict[str, Any]:
        template = {"metadata": {"labels": labels}, "spec": pod(reference)["spec"]}
        spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}

    good = image()
    await team.attest(good)
    assert "spec.template.spec.containers[0].image" in await team.denied(deployment(image()), DEPLOYMENTS)
    await team.create(deployment(good), DEPLOYMENTS)


async def test_what_users_write_on_a_pod_proves_nothing(team):
    body = pod(image(), nodeName="nowhere")
    body["metadata"]["annotations"] = {
        "attest.operatorkit.dev/verified": "true",
        "kubernetes.io/config.mirror": "x",
        "kubernetes.io/config.source": "file",
    }
    await team.denied(body)
    await team.denied(body, dry_run=True)


async def test_a_signature_counts_for_its_own_image_note_and_key_only(team):
    one, other = image(), image()
    await team.attest(one, text=other.partition("@")[2])
    assert "an occurrence holds a signature over sha256:" in await team.denied(pod(one))
    await team.post("projects/team/notes?noteId=other", {"attestation": {}})
    two = image()
    await team.attest(two, note="projects/team/notes/other")
    assert f"{NOTE} has no occurrence for it" in await team.denied(pod(two))
    three = image()
    await team.attest(three, key=Tsk.generate("stranger@example.com"))
    assert "not a valid PGP signature by this key" in await team.denied(pod(three))


async def test_a_look_alike_is_another_image(team):
    good = image()
    await team.attest(good)
    digest = good.partition("@")[2]
    await team.cluster.patch(
        AttestationAuthority.api_resource(), "qa", {"spec": {"identity": "Repository"}}, patch_type=PatchType.MERGE,
        namespace=team.cluster.namespace,
    )  # fmt: skip
    await team.ready(AttestationAuthority, "qa")
    assert "a digest alone" in await team.denied(pod(good))
    await team.attest(good, text=good)
    await team.create(pod(good))
    for name in ("gcr.io.evil.example/app", "gcr.io/app-evil", "evil/gcr.io/app", "gcr.io:444/app"):
        assert "it was signed as gcr.io/app" in await team.denied(pod(f"{name}@{digest}", name="evil"))


async def test_a_valid_attestation_wins_over_the_junk_around_it(team):
    good = image()
    stranger, digest = Tsk.generate("x@example.com").signer(), good.partition("@")[2].encode()
    await team.occur(good, b"junk", count=100)
    for _ in range(200):
        await team.occur(good, sign(stranger, digest, mode=SignatureMode.CLEAR))
    await team.attest(good)
    begun = asyncio.get_running_loop().time()
    await team.create(pod(good))
    assert asyncio.get_running_loop().time() - begun < 5.0  # the bound that the webhook itself has


async def test_a_key_that_the_authority_revokes_ends_at_once(team):
    good = image()
    await team.attest(good)
    await team.create(pod(good))
    revoked = team.authority(revokedAt=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    await team.cluster.patch(
        AttestationAuthority.api_resource(), "qa", {"spec": revoked}, patch_type=PatchType.MERGE,
        namespace=team.cluster.namespace,
    )  # fmt: skip
    await team.ready(AttestationAuthority, "qa")
    assert "key 'qa' is revoked since" in await team.denied(pod(good, name="again"))


async def test_without_an_authority_or_a_server_nothing_is_attested(team):
    good = image()
    await team.attest(good)
    await team.cluster.delete(GrafeasServer.api_resource(), team.cluster.namespace)

    async def noticed() -> bool:
        return "there is no GrafeasServer" in await team.answer(pod(good))

    await eventually(noticed)
    await team.cluster.delete(AttestationAuthority.api_resource(), "qa", namespace=team.cluster.namespace)

    async def noticed_too() -> bool:
        return "qa does not exist" in await team.answer(pod(good))

    await eventually(noticed_too)


async def test_an_attestation_that_is_deleted_ends_within_moments(team):
    good = image()
    await team.attest(good)
    await team.create(pod(good))
    async with team.session.get(f"{team.url}/v1/{NOTE}/occurrences") as answer:
        (occurrence,) = (await answer.json())["occurrences"]
    async with team.session.delete(f"{team.url}/v1/{occurrence['name']}") as answer:
        assert answer.status == 200

    async def noticed() -> bool:
        return "has no occurrence for it" in await team.answer(pod(good, name="again"))

    await eventually(noticed)
