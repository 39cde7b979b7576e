"""The metadata server with --auth=kubernetes: the control plane says who a caller is and what RBAC allows."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest_asyncio
import yaml

from operatorkit.cluster import LiveCluster, load_config
from operatorkit.kinds import SERVICE_ACCOUNTS
from operatorkit.testing import FakeClock, eventually
from operators.attestation.server.kubernetes_access import KubernetesAccess
from operators.attestation.server.serve import Listen, serving

GROUP = "attest.operatorkit.dev"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
NOTE = {"attestation": {}}


class Caller:
    """A ServiceAccount that sends requests to the metadata server."""

    def __init__(self, cluster: Any, session: aiohttp.ClientSession, url: str, name: str, clock: FakeClock) -> None:
        self.clock = clock
        self.cluster = cluster
        self.session = session
        self.url = url
        self.name = name
        self.token = ""

    async def log_in(self, *audiences: str) -> None:
        namespace = self.cluster.namespace
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{self.name}/token"
        spec = {"audiences": list(audiences)} if audiences else {}
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        self.token = (await self.cluster.request("POST", path, body=request))["status"]["token"]

    async def may(self, *rules: tuple[str, str]) -> str:
        """Allow verbs on resources in the project with the name of the namespace; return the binding's path."""
        base = f"{RBAC}/namespaces/{self.cluster.namespace}"
        found = [{"apiGroups": [GROUP], "resources": [resource], "verbs": [verb]} for verb, resource in rules]
        await self.cluster.request("POST", f"{base}/roles", body={"metadata": {"name": self.name}, "rules": found})
        body = {
            "metadata": {"name": self.name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": self.name},
            "subjects": [{"kind": "ServiceAccount", "name": self.name, "namespace": self.cluster.namespace}],
        }
        await self.cluster.request("POST", f"{base}/rolebindings", body=body)
        return f"{base}/rolebindings/{self.name}"

    async def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        async with self.session.request(method, f"{self.url}/v1/{path}", json=body, headers=headers) as answer:
            content = await answer.json()
            return answer.status, str(content.get("message", ""))

    async def becomes(self, status: int, *request: Any) -> None:
        """Wait until the control plane knows of a Role that was just written, and no older answer counts."""

        async def so() -> bool:
            await self.clock.advance(11)
            return (await self(*request))[0] == status

        await eventually(so, message=f"{self.name}: {request[:2]} returns {status}")


@pytest_asyncio.fixture(params=[(), ("attest",)], ids=["any audience", "own audience"])
async def callers(cluster, tmp_path, request):
    clock = FakeClock()
    access = KubernetesAccess(cluster, clock=clock, audiences=request.param)
    async with (
        serving(f"sqlite:///{tmp_path}/a.db", access, Listen(port=0), clock=clock) as server,
        aiohttp.ClientSession() as session,
    ):

        async def caller(name: str) -> Caller:
            await cluster.create(SERVICE_ACCOUNTS, {"metadata": {"name": name}}, namespace=cluster.namespace)
            found = Caller(cluster, session, server.url(), name, clock)
            await found.log_in(*request.param)
            return found

        yield caller


async def test_tokens_and_roles_of_the_cluster_decide_who_attests(callers, cluster):
    caller = callers
    project = f"projects/{cluster.namespace}"
    owner, ci, attester = await caller("owner"), await caller("ci"), await caller("attester")
    notes, occurrences = f"{project}/notes?noteId=qa", f"{project}/occurrences"
    body = {"resourceUri": "https://gcr.io/app", "noteName": f"{project}/notes/qa", "attestation": {}}

    known, owner.token = owner.token, "not-a-token"
    assert (await owner("POST", notes, NOTE))[0] == 401
    owner.token = ""
    assert await owner("POST", notes, NOTE) == (401, "the request has no token: send Authorization: Bearer TOKEN")
    owner.token = known
    name = f"system:serviceaccount:{cluster.namespace}:owner"
    assert await owner("POST", notes, NOTE) == (403, f"{name!r} may not create notes in {project}")

    await owner.may(("create", "notes"))
    await owner.becomes(200, "POST", notes, NOTE)
    await ci.may(("create", "occurrences"))
    await ci.becomes(403, "POST", occurrences, body)

    async def only_attaching_is_missing() -> bool:
        await ci.clock.advance(11)
        return "may not attach notes in" in (await ci("POST", occurrences, body))[1]

    await eventually(only_attaching_is_missing, message="to create occurrences does not make an attester")
    binding = await attester.may(("create", "occurrences"), ("attach", "notes"))
    await attester.becomes(200, "POST", occurrences, body)
    assert (await attester("POST", "projects/other/occurrences", body))[0] == 403
    assert (await attester("GET", "changes"))[0] == 403

    await cluster.request("DELETE", binding)
    await attester.becomes(403, "POST", occurrences, body)
    await attester.log_in("another")
    assert (await attester("POST", occurrences, body))[0] == 401, "the token is for another server"
    await cluster.delete(SERVICE_ACCOUNTS, "owner", namespace=cluster.namespace)
    await owner.becomes(401, "POST", notes, NOTE)


async def test_an_api_server_that_does_not_answer_lets_none_in(cluster, tmp_path):
    """The server has no way to know who calls: it says so, and that one can try again."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "x", "user": {"token": "x"}}],
    }
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    async with LiveCluster(load_config(str(tmp_path / "config"))) as api:
        access = KubernetesAccess(api, clock=FakeClock())
        async with (
            serving(f"sqlite:///{tmp_path}/a.db", access, Listen(port=0), clock=FakeClock()) as server,
            aiohttp.ClientSession() as session,
        ):
            caller = Caller(cluster, session, server.url(), "ci", FakeClock())
            caller.token = "x"
            status, message = await caller("GET", "projects/p/notes")
            assert status == 503
            assert "the API server did not respond to a TokenReview" in message
