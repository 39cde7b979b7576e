"""What happens to a write while webhooks are asked about it, with a webhook server in the test's own loop."""

from __future__ import annotations

import base64
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from operatorkit.cluster.api import PatchType
from operatorkit.controlplane._credentials import Authority
from operatorkit.controlplane.embedded.local import LocalCluster
from operatorkit.errors import AlreadyExists, ClusterError, Conflict, NotFound
from operatorkit.names import ApiResource

CONFIG_MAPS = ApiResource("", "v1", "ConfigMap", "configmaps", namespaced=True)
SERVICES = ApiResource("", "v1", "Service", "services", namespaced=True)
SLICES = ApiResource("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", namespaced=True)
HOOKS = ApiResource(
    "admissionregistration.k8s.io",
    "v1",
    "ValidatingWebhookConfiguration",
    "validatingwebhookconfigurations",
    namespaced=False,
)
HERE = "default"


def config_map(name: str = "a", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


class Meddler:
    """A webhook that does something to the cluster, once, before it allows."""

    def __init__(self) -> None:
        self.authority = Authority.create("webhooks")
        self.hosts: list[str] = []
        self.asked = 0
        self.meddle: Any = None
        self.port = 0

    async def handle(self, request: web.Request) -> web.Response:
        review = await request.json()
        self.asked += 1
        self.hosts.append(request.headers["Host"])
        meddle, self.meddle = self.meddle, None
        if meddle is not None:
            await meddle()
        head = {"kind": review["kind"], "apiVersion": review["apiVersion"]}
        return web.json_response(head | {"response": {"uid": review["request"]["uid"], "allowed": True}})

    def configuration(self, **client: Any) -> dict[str, Any]:
        bundle = base64.b64encode(self.authority.cert_pem).decode()
        client = client or {"url": f"https://127.0.0.1:{self.port}/"}
        rule = {"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
        hook = {
            "name": "a.example.org",
            "clientConfig": {"caBundle": bundle, **client},
            "rules": [rule],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }
        return {"metadata": {"name": "a"}, "webhooks": [hook]}


@pytest.fixture
async def meddler(tmp_path: Path) -> AsyncIterator[Meddler]:
    found = Meddler()
    pair = found.authority.issue_server(["127.0.0.1", "hook.default.svc"])
    (tmp_path / "pair.pem").write_bytes(pair.cert_pem + pair.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pair.pem")
    app = web.Application()
    app.router.add_post("/{path:.*}", found.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    found.port = runner.addresses[0][1]
    yield found
    assert runner.server is not None
    for connection in runner.server.connections:
        if connection.transport is not None:
            connection.transport.abort()
    await runner.cleanup()


async def be_faster(local: LocalCluster, data: dict[str, str]) -> None:
    """Change the object while somebody else's change of it is under review."""
    await local.patch(CONFIG_MAPS, "a", {"data": data}, patch_type=PatchType.MERGE, namespace=HERE)


async def test_an_object_changed_meanwhile_is_changed_from_its_new_state(local: LocalCluster, meddler: Meddler) -> None:
    await local.create(CONFIG_MAPS, config_map(), namespace=HERE)
    await local.create(HOOKS, meddler.configuration())
    meddler.meddle = lambda: be_faster(local, {"theirs": "1"})
    patch = {"data": {"mine": "1"}}
    made = await local.patch(CONFIG_MAPS, "a", patch, patch_type=PatchType.MERGE, namespace=HERE)
    assert made["data"] == {"theirs": "1", "mine": "1"}


async def test_a_replacement_of_a_version_changed_meanwhile_conflicts(local: LocalCluster, meddler: Meddler) -> None:
    made = await local.create(CONFIG_MAPS, config_map(), namespace=HERE)
    await local.create(HOOKS, meddler.configuration())
    meddler.meddle = lambda: be_faster(local, {"theirs": "1"})
    with pytest.raises(Conflict):
        await local.replace(CONFIG_MAPS, "a", made | {"data": {"mine": "1"}}, namespace=HERE)
    meddler.meddle = lambda: be_faster(local, {"theirs": "2"})
    last = await local.replace(CONFIG_MAPS, "a", config_map(mine="1"), namespace=HERE)
    assert last["data"] == {"mine": "1"}


async def test_an_object_created_meanwhile_exists(local: LocalCluster, meddler: Meddler) -> None:
    await local.create(HOOKS, meddler.configuration())

    async def create() -> None:
        await local.create(CONFIG_MAPS, config_map(theirs="1"), namespace=HERE)

    meddler.meddle = create
    with pytest.raises(AlreadyExists):
        await local.create(CONFIG_MAPS, config_map(mine="1"), namespace=HERE)
    assert (await local.get(CONFIG_MAPS, "a", namespace=HERE))["data"] == {"theirs": "1"}


async def test_a_deletion_is_asked_about_again_when_the_object_changed_meanwhile(
    local: LocalCluster, meddler: Meddler
) -> None:
    made = await local.create(CONFIG_MAPS, config_map(), namespace=HERE)
    await local.create(HOOKS, meddler.configuration())
    meddler.meddle = lambda: be_faster(local, {"theirs": "1"})
    revision = made["metadata"]["resourceVersion"]
    with pytest.raises(Conflict):
        await local.delete(CONFIG_MAPS, "a", namespace=HERE, resource_version=revision)
    await local.delete(CONFIG_MAPS, "a", namespace=HERE)
    with pytest.raises(NotFound):
        await local.get(CONFIG_MAPS, "a", namespace=HERE)


async def test_a_service_is_reached_at_a_ready_endpoint_by_its_own_name(local: LocalCluster, meddler: Meddler) -> None:
    service = {"name": "hook", "namespace": HERE, "path": "/v"}
    await local.create(HOOKS, meddler.configuration(service=service))
    ports = [{"port": 443, "name": "https", "targetPort": 8443}]
    await local.create(SERVICES, {"metadata": {"name": "hook"}, "spec": {"ports": ports}}, namespace=HERE)
    with pytest.raises(ClusterError, match='no endpoints available for service "hook"'):
        await local.create(CONFIG_MAPS, config_map(), namespace=HERE)
    endpoints = [{"addresses": ["192.0.2.1"], "conditions": {"ready": False}}, {"addresses": ["127.0.0.1"]}]
    slice_ = {
        "metadata": {"name": "hook-1", "labels": {"kubernetes.io/service-name": "hook"}},
        "addressType": "IPv4",
        "ports": [{"name": "https", "port": meddler.port}],
        "endpoints": endpoints,
    }
    await local.create(SLICES, slice_, namespace=HERE)
    await local.create(CONFIG_MAPS, config_map(), namespace=HERE)
    assert meddler.hosts == ["hook.default.svc:443"]
