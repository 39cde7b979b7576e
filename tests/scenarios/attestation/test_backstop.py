"""The backstop denies images without a digest in the API server itself, without any webhook."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio
from scenarios.attestation.team import PODS, image, pod
from scenarios.attestation.test_kinds import KINDS, workload

from operatorkit.cluster import PatchType
from operatorkit.errors import Forbidden
from operatorkit.names import ApiResource
from operatorkit.testing import eventually
from operators.attestation.backstop import backstop

pytestmark = pytest.mark.real  # the embedded control plane evaluates no ValidatingAdmissionPolicy

_GROUP = "admissionregistration.k8s.io"
POLICIES = ApiResource(_GROUP, "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies", namespaced=False)
BINDINGS = ApiResource(
    _GROUP, "v1", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", namespaced=False
)
NAMESPACES = ApiResource("", "v1", "Namespace", "namespaces", namespaced=False)


@pytest_asyncio.fixture
async def guarded(cluster, pytestconfig):
    """Apply the backstop for the namespace of the test alone, and wait until it is in force."""
    if pytestconfig.getoption("--controlplane") == "embedded":
        pytest.skip("the embedded control plane evaluates no ValidatingAdmissionPolicy")
    listed = await cluster.list(NAMESPACES)
    others = [one["metadata"]["name"] for one in listed.items if one["metadata"]["name"] != cluster.namespace]
    policy, binding = backstop(others)
    name = f"{cluster.namespace}.example.com"
    for obj in (policy, binding):
        obj["metadata"]["name"] = name
    binding["spec"]["policyName"] = name
    await cluster.create(POLICIES, policy)
    await cluster.create(BINDINGS, binding)

    async def in_force() -> bool:
        return "images need a digest" in await answer(cluster, PODS, pod("nginx:1", name="probe"))

    await eventually(in_force, message="the policy is in force")
    yield cluster
    await cluster.delete(BINDINGS, name)
    await cluster.delete(POLICIES, name)


async def answer(cluster: Any, resource: ApiResource, body: dict[str, Any]) -> str:
    try:
        await cluster.create(resource, body, namespace=cluster.namespace, dry_run=True)
    except Forbidden as error:
        return error.message
    return ""


async def test_an_image_without_a_digest_is_denied_in_every_kind(guarded):
    good = image()
    for kind in [kind for kind in KINDS if kind != "PetSet"] + ["PodTemplate"]:
        resource, body = workload(kind, containers=pod(good)["spec"]["containers"])
        assert await answer(guarded, resource, body) == "", kind
        resource, body = workload(kind, containers=pod(good, "nginx:1")["spec"]["containers"])
        assert "a tag can move: nginx:1" in await answer(guarded, resource, body), kind
    init, volume = [{"name": "i", "image": "x:v1"}], {"name": "v", "image": {"reference": "y:v1"}}
    said = await answer(guarded, PODS, pod(good, initContainers=init, volumes=[volume]))
    assert "x:v1, y:v1" in said
    for bad in ("app@sha256:abc", "app@sha256:" + "A" * 64, "app@md5:" + "a" * 32):
        assert "images need a digest" in await answer(guarded, PODS, pod(bad))


async def test_what_runs_can_still_be_changed_and_gets_no_other_tag(guarded):
    namespace, good = guarded.namespace, image()
    await guarded.create(PODS, pod(good), namespace=namespace)

    async def change(**body: Any) -> str:
        try:
            await guarded.patch(PODS, "web", body, patch_type=PatchType.STRATEGIC, namespace=namespace)
        except Forbidden as error:
            return error.message
        return ""

    assert await change(metadata={"labels": {"a": "b"}}) == ""
    assert "images need a digest" in await change(spec={"containers": [{"name": "c0", "image": "nginx:1"}]})
    assert await change(spec={"containers": [{"name": "c0", "image": image()}]}) == ""
    debug = {"spec": {"ephemeralContainers": [{"name": "d", "image": "busybox"}]}}
    try:
        await guarded.patch(
            PODS, "web", debug, patch_type=PatchType.STRATEGIC, subresource="ephemeralcontainers", namespace=namespace
        )
        said = ""
    except Forbidden as error:
        said = error.message
    assert "busybox" in said
