"""Tags become digests where policies resolve them, and what the registry says proves nothing."""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from registries import MANIFEST, build, find, lying, manifest, running
from scenarios.attestation.team import DEPLOYMENTS, PODS, pod
from scenarios.attestation.test_kinds import LABELS, SELECTOR

from operatorkit.cluster import PatchType
from operators.attestation import ImagePolicy


@pytest_asyncio.fixture
async def resolving(team: Any) -> Any:
    """Have the policy of the team resolve tags."""
    await policy(team, tags="Resolve")
    return team


async def policy(team: Any, **change: Any) -> None:
    await team.cluster.patch(
        ImagePolicy.api_resource(),
        "signed",
        {"spec": change},
        patch_type=PatchType.MERGE,
        namespace=team.cluster.namespace,
    )
    await team.ready(ImagePolicy, "signed")


class Tags:
    """A registry in this process: each tag has a manifest, and says what its digest is."""

    def __init__(self, host: str, registry: Any) -> None:
        self.host = host
        self.registry = registry

    def push(self, tag: str, *, said: str | None = None) -> str:
        body = manifest("sha256:" + secrets.token_hex(32), 2)
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"

        async def answer(request: web.Request) -> web.Response:
            del request
            headers = {"Content-Type": MANIFEST, "Docker-Content-Digest": said or digest}
            return web.Response(body=body, headers=headers)

        self.registry.answers[f"/v2/team/app/manifests/{tag}"] = answer
        return digest


@pytest_asyncio.fixture
async def tags():
    async with lying() as (host, registry):
        yield Tags(host, registry)


def image_of(obj: dict[str, Any]) -> str:
    spec = obj["spec"].get("template", obj)["spec"]
    return spec["containers"][0]["image"]


async def test_a_tag_becomes_the_digest_that_it_has_and_that_must_be_attested(resolving, tags):
    team, tagged = resolving, f"{tags.host}/team/app:v1"
    digest = tags.push("v1")
    assert "has no occurrence for it" in await team.denied(pod(tagged))
    await team.attest(f"{tags.host}/team/app@{digest}")
    assert image_of(await team.create(pod(tagged))) == f"{tagged}@{digest}"
    template = {"metadata": {"labels": LABELS}, "spec": pod(tagged)["spec"]}
    spec = {"replicas": 0, "selector": SELECTOR, "template": template}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}
    assert image_of(await team.create(body, DEPLOYMENTS)) == f"{tagged}@{digest}"
    moved = tags.push("v1")
    assert moved in await team.denied(pod(tagged, name="again"))


async def test_an_ephemeral_container_and_an_image_volume_are_resolved_too(resolving, tags):
    team, tagged = resolving, f"{tags.host}/team/app:v1"
    digest = tags.push("v1")
    pinned = f"{tagged}@{digest}"
    await team.attest(f"{tags.host}/team/app@{digest}")
    volume = {"name": "v", "image": {"reference": tagged}}
    made = await team.create(pod(tagged, volumes=[volume], initContainers=[{"name": "i", "image": tagged}]))
    assert [one["image"]["reference"] for one in made["spec"]["volumes"] if "image" in one] == [pinned]
    assert made["spec"]["initContainers"][0]["image"] == pinned
    change = {"spec": {"ephemeralContainers": [{"name": "d", "image": tagged}]}}
    changed = await team.cluster.patch(
        PODS, "web", change, patch_type=PatchType.STRATEGIC, subresource="ephemeralcontainers",
        namespace=team.cluster.namespace,
    )  # fmt: skip
    assert changed["spec"]["ephemeralContainers"][0]["image"] == pinned


async def test_a_tag_that_is_not_resolved_is_denied(resolving, tags):
    team, tagged = resolving, f"{tags.host}/team/app:v1"
    assert "it has no digest" in await team.denied(pod(tagged))
    attested = tags.push("good")
    await team.attest(f"{tags.host}/team/app@{attested}")
    tags.push("v1", said=attested)
    assert "it has no digest" in await team.denied(pod(tagged)), "the registry lies about the digest"
    await policy(team, tags="Deny")
    tagged = f"{tags.host}/team/app:good"
    before = len(tags.registry.asked)
    assert "it has no digest" in await team.denied(pod(tagged))
    assert len(tags.registry.asked) == before, "no registry is asked where the policy denies tags"


async def test_one_policy_that_denies_tags_suffices(resolving, tags):
    team, tagged = resolving, f"{tags.host}/team/app:v1"
    digest = tags.push("v1")
    await team.attest(f"{tags.host}/team/app@{digest}")
    more = {"require": {"allOf": [{"kind": "AttestationAuthority", "name": "qa"}]}}
    await team.make(ImagePolicy, "strict", more)
    await team.ready(ImagePolicy, "strict")
    assert "it has no digest" in await team.denied(pod(tagged))


@pytest.mark.parametrize("name", ["go-containerregistry", "distribution"])
async def test_a_tag_of_a_real_registry_becomes_its_digest(resolving, tmp_path, name):
    if (build(name) if name == "go-containerregistry" else find(name)) is None:
        pytest.skip(f"{name} is built by PYTHONPATH=tests python -m registries, which needs Go")
    team = resolving
    async with running(name, tmp_path) as registry:
        tagged, multi = f"{registry.host}/team/app:v1", f"{registry.host}/team/app:multi"
        digest = await registry.push_image("team/app", "v1")
        index = await registry.push_index("team/app", "multi")
        await team.denied(pod(tagged))
        for one in (digest, index):
            await team.attest(f"{registry.host}/team/app@{one}")
        made = await team.create(pod(tagged, multi))
        assert [one["image"] for one in made["spec"]["containers"]] == [f"{tagged}@{digest}", f"{multi}@{index}"]
        assert json.dumps(made).count("@sha256:") >= 2
