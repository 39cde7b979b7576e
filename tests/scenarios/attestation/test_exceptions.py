"""Breakglass with a record, and revocations that end what was admitted."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from scenarios.attestation.team import DEPLOYMENTS, PODS, image, pod

from operatorkit.cluster import PatchType
from operatorkit.errors import Forbidden
from operatorkit.events import EVENTS
from operatorkit.names import ApiResource
from operatorkit.testing import eventually
from operators.attestation import AttestationAuthority, ImagePolicyException, ImageRevocation

REPLICA_SETS = ApiResource("apps", "v1", "ReplicaSet", "replicasets", namespaced=True)
DAY = timedelta(days=1)
RBAC = "rbac.authorization.k8s.io/v1"


def digest(reference: str) -> str:
    return reference.partition("@")[2]


def until(delta: timedelta) -> str:
    return (datetime.now(UTC) + delta).strftime("%Y-%m-%dT%H:%M:%SZ")


def exception(*references: str, expires: timedelta = DAY, **more: Any) -> dict[str, Any]:
    return {
        "digests": [digest(one) for one in references],
        "reason": "the shop is down",
        "expires": until(expires),
    } | more


async def events(team: Any, reason: str) -> list[dict[str, Any]]:
    listed = await team.cluster.list(EVENTS, namespace=team.cluster.namespace)
    return [event for event in listed.items if event["reason"] == reason]


@pytest.fixture
def run_command(kubeconfig):
    """Run a program with the kubeconfig of the test; return its exit code and what it printed."""

    async def run(*command: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            *command,
            env={**os.environ, "KUBECONFIG": str(kubeconfig)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(), 240)
        return process.returncode or 0, output.decode()

    return run


async def admitted(team: Any, name: str, body: dict[str, Any]) -> None:
    """Wait until the operator has seen an exception: a dry run of the body is admitted."""

    async def seen() -> bool:
        return not await team.answer(body)

    await eventually(seen, message=f"the exception {name} is known")


async def uses(team: Any) -> list[dict[str, Any]]:
    obj = await team.cluster.get(ImagePolicyException.api_resource(), "fire", namespace=team.cluster.namespace)
    return obj.get("status", {}).get("uses", [])


async def test_an_exception_admits_its_digest_with_a_record_and_an_event_and_as_often_as_it_says(team):
    bad, other = image(), image()
    await team.denied(pod(bad))
    await team.make(ImagePolicyException, "fire", exception(bad, maxUses=2))
    await admitted(team, "fire", pod(bad, name="probe"))
    assert await uses(team) == [], "a dry run is no use"
    await team.create(pod(bad, name="one"))
    assert "sha256" in await team.denied(pod(bad, other, name="mixed"))
    await team.create(pod(bad, name="two"))
    found = await uses(team)
    assert [(use["pod"], use["images"]) for use in found] == [("one", [bad]), ("two", [bad])]
    assert all(use["user"] and use["time"] for use in found)

    async def reported() -> bool:
        return len(await events(team, "BreakglassUsed")) == 2

    await eventually(reported, message="an Event for each use")
    (first, *_) = await events(team, "BreakglassUsed")
    assert first["involvedObject"]["kind"] == "ImagePolicyException"
    assert "the shop is down" in first["message"]

    with pytest.raises(Forbidden, match=r"has admitted 2 Pods, the maximum|No matched signatures"):
        await team.create(pod(bad, name="three"))
    assert len(await uses(team)) == 2


async def test_uses_at_once_are_each_counted(team):
    bad = image()
    await team.make(ImagePolicyException, "fire", exception(bad, maxUses=3))
    await admitted(team, "fire", pod(bad, name="probe"))
    done = await asyncio.gather(*(team.create(pod(bad, name=f"p{n}")) for n in range(6)), return_exceptions=True)
    created = [one for one in done if not isinstance(one, BaseException)]
    assert len(created) <= 3
    assert len(await uses(team)) == 3 or len(created) == len(await uses(team))
    assert all(isinstance(one, dict | Forbidden) for one in done)


async def test_an_exception_that_has_expired_or_is_for_another_digest_admits_nothing(team):
    bad = image()
    await team.make(ImagePolicyException, "old", exception(bad, expires=-DAY))
    await team.make(ImagePolicyException, "other", exception(other := image()))
    await admitted(team, "other", pod(other, name="probe"))
    await team.denied(pod(bad))
    tagged = bad.partition("@")[0] + ":v1"
    assert "it has no digest" in await team.denied(pod(tagged))


async def test_an_exception_needs_the_verb_breakglass(team, http, stranger):
    resource, fire = "attest.operatorkit.dev/v1alpha1/imagepolicyexceptions", image()
    rule = {"apiGroups": ["attest.operatorkit.dev"], "resources": ["imagepolicyexceptions"]}
    role = {"metadata": {"name": "r"}, "rules": [{**rule, "verbs": ["get", "create", "patch"]}]}
    await http.created(f"{RBAC}/roles", role)
    subjects = [{"kind": "User", "name": stranger.user.name, "apiGroup": "rbac.authorization.k8s.io"}]
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
    binding = {"metadata": {"name": "b"}, "subjects": subjects, "roleRef": reference}
    await http.created(f"{RBAC}/rolebindings", binding)
    kind = {"apiVersion": ImagePolicyException.api_version, "kind": "ImagePolicyException"}
    body = {**kind, "metadata": {"name": "fire"}, "spec": exception(fire)}

    async def answers(text: str, code: int) -> bool:
        answer = await stranger.post(http.path(resource), body)
        assert answer.status == code, answer.text
        return text in answer.text

    await eventually(lambda: answers("has no verb breakglass on imagepolicyexceptions", 403))
    await http.patch(
        http.path(f"{RBAC}/roles", "r"), {"rules": [{**rule, "verbs": ["get", "create", "patch", "breakglass"]}]}
    )
    await eventually(lambda: answers("", 201))
    await http.patch(http.path(f"{RBAC}/roles", "r"), {"rules": role["rules"]})

    async def changed(change: dict[str, Any], code: int) -> bool:
        answer = await stranger.patch(http.path(resource, "fire"), change)
        assert answer.status == code, answer.text
        return True

    await eventually(lambda: changed({"spec": {"digests": [digest(image())]}}, 403))
    assert await changed({"metadata": {"labels": {"a": "b"}}}, 200)


async def test_a_revoked_image_is_denied_whatever_attests_or_excuses_it(team, cleanup):
    good = image()
    await team.attest(good)
    await team.create(pod(good))
    await team.make(ImagePolicyException, "fire", exception(good))
    name = team.cluster.namespace
    async with cleanup((ImageRevocation, name)):
        await team.make(ImageRevocation, name, {"digest": digest(good), "reason": "it mines coins"})
        begun = asyncio.get_running_loop().time()

        async def denied() -> bool:
            return "its digest is revoked: it mines coins" in await team.answer(pod(good, name="again"))

        await eventually(denied, message="the revocation is known")
        assert asyncio.get_running_loop().time() - begun < 5.0
        message = await team.denied(pod(good, name="again"))
        assert f"ImageRevocation {name}: its digest is revoked: it mines coins" in message
        assert f"kubectl delete imagerevocations.attest.operatorkit.dev {name}" in message
        change = {"metadata": {"labels": {"a": "b"}}}
        await team.cluster.patch(
            PODS, "web", change, patch_type=PatchType.MERGE, namespace=team.cluster.namespace
        )  # what runs can be changed


async def test_a_revoked_key_counts_in_no_authority(team, cleanup):
    good = image()
    await team.attest(good)
    await team.create(pod(good))
    fingerprint = (await team.cluster.get(AttestationAuthority.api_resource(), "qa", namespace=team.cluster.namespace))[
        "status"
    ]["keys"][0]["fingerprint"]
    name = team.cluster.namespace
    async with cleanup((ImageRevocation, name)):
        await team.make(ImageRevocation, name, {"keyFingerprint": fingerprint.upper(), "reason": "it was stolen"})

        async def denied() -> bool:
            return "is revoked: it was stolen" in await team.answer(pod(good, name="again"))

        await eventually(denied, message="the revocation is known")


async def below_a_deployment(team, bad: str) -> dict[str, Any]:
    """Create a Deployment and its ReplicaSet; return a Pod of them, with an image that is not attested."""
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": pod(good := image())["spec"]}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    await team.attest(good)
    deployment = await team.create(
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}, DEPLOYMENTS
    )

    def owned_by(owner: dict[str, Any]) -> list[dict[str, Any]]:
        reference = {key: owner[key] for key in ("apiVersion", "kind")} | {
            key: owner["metadata"][key] for key in ("name", "uid")
        }
        return [{**reference, "controller": True, "blockOwnerDeletion": False}]

    hashed = {**labels, "pod-template-hash": "1"}
    owners = owned_by({"apiVersion": "apps/v1", "kind": "Deployment", **deployment})
    replica_set = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": "web-1", "labels": hashed, "ownerReferences": owners},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": hashed},
            "template": {**template, "metadata": {"labels": hashed}},
        },
    }
    made = await team.create(replica_set, REPLICA_SETS)
    body = pod(bad, name="web-1-x")
    body["metadata"]["ownerReferences"] = owned_by({"apiVersion": "apps/v1", "kind": "ReplicaSet", **made})
    return body


async def test_a_denied_pod_is_reported_on_the_deployment_above_it(team):
    body = await below_a_deployment(team, image())
    await team.denied(body, dry_run=True)
    assert await events(team, "ImageNotAttested") == []
    await team.denied(body)

    async def reported() -> bool:
        found = await events(team, "ImageNotAttested")
        return [event["involvedObject"]["name"] for event in found] == ["web"]

    await eventually(reported, message="an Event on the Deployment")
    (event,) = await events(team, "ImageNotAttested")
    assert event["involvedObject"]["kind"] == "Deployment"
    assert "operatorkit attest upload" in event["message"]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
async def test_describe_and_explain_show_the_image_the_policy_the_authority_and_the_command(team, run_command):
    bad, namespace = image(), team.cluster.namespace
    body = await below_a_deployment(team, bad)
    await team.denied(body)
    wanted = [
        bad,
        f"AttestationAuthority {namespace}/qa has not attested it",
        f"ImagePolicy {namespace}/signed",
        "operatorkit attest upload --note projects/team/notes/qa",
    ]

    async def described() -> bool:
        _, text = await run_command("kubectl", "describe", "deployment", "web")
        return all(" ".join(part.split()) in " ".join(text.split()) for part in ["ImageNotAttested", *wanted])

    await eventually(described, timeout=60, message="kubectl describe shows the denial")
    explain = (sys.executable, "-m", "operatorkit", "attest", "explain", "-n", namespace, bad)
    code, text = await run_command(*explain)
    assert code == 1, text
    assert [part for part in wanted if part not in text] == []


async def test_explain_knows_revocations_and_exceptions_as_admission_does(team, run_command, cleanup):
    bad, good, namespace = image("bad"), image("good"), team.cluster.namespace
    await team.attest(good)
    explain = (sys.executable, "-m", "operatorkit", "attest", "explain", "-n", namespace)
    assert (await run_command(*explain, good))[0] == 0
    await team.make(ImagePolicyException, "fire", exception(bad))
    await admitted(team, "fire", pod(bad))
    code, text = await run_command(*explain, bad)
    assert code == 0, text
    assert f"ImagePolicyException {namespace}/fire: a Pod with it is admitted" in text
    async with cleanup((ImageRevocation, namespace)):
        await team.make(ImageRevocation, namespace, {"digest": digest(good), "reason": "it mines coins"})
        code, text = await run_command(*explain, good)
        assert code == 1, text
        assert f"ImageRevocation {namespace}: its digest is revoked: it mines coins" in text
        assert f"kubectl delete imagerevocations.attest.operatorkit.dev {namespace}" in text
