"""What the scenarios of pki share: a team with a namespace, a CA, a policy, and the operator at work for it."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from cryptography import x509

from operatorkit.clock import SYSTEM_CLOCK
from operatorkit.cluster import LiveCluster, PatchType, load_config
from operatorkit.errors import NotFound
from operatorkit.events import EVENTS
from operatorkit.names import ApiResource
from operatorkit.testing import FakeClock, eventually
from operatorkit.testing.running import install_crds, running
from operators.pki import Certificate, CertificatePolicy, ClusterIssuer, Issuer, Pki, app
from operators.pki.issue import SelfSigner, issue, new_serial
from operators.pki.keys import generate_key
from operators.pki.request import Request

SECRETS = ApiResource("", "v1", "Secret", "secrets", namespaced=True)
PODS = ApiResource("", "v1", "Pod", "pods", namespaced=True)
DEPLOYMENTS = ApiResource("apps", "v1", "Deployment", "deployments", namespaced=True)
KINDS = {kind.kind: kind.api_resource() for kind in (Certificate, CertificatePolicy, ClusterIssuer, Issuer, Pki)}
KINDS |= {"Secret": SECRETS, "Pod": PODS, "Deployment": DEPLOYMENTS}


async def make_ca(name: str, now, *, days: int = 3650) -> dict[str, bytes]:
    """Return the data of a Secret with a new root."""
    request = Request(
        common_name=name,
        dns_names=(),
        ip_addresses=(),
        uris=(),
        email_addresses=(),
        is_ca=True,
        usages=(),
        duration=timedelta(days=days),
        renew_before=None,
        algorithm="ECDSA",
        size=256,
        rotate_key=True,
    )
    key = generate_key("ECDSA", 256)
    return issue(request, SelfSigner(), key, serial=new_serial(), now=now).material.data()


class Team:
    """A namespace, and what its people do and see there."""

    def __init__(self, cluster: Any, clock: Any) -> None:
        self.cluster = cluster
        self.clock = clock
        self.namespace: str = cluster.namespace
        self.kinds = KINDS
        self._cluster_scoped: list[tuple[ApiResource, str]] = []

    async def create(self, kind: str, name: str, **body: Any) -> dict[str, Any]:
        resource = KINDS[kind]
        namespace = self.namespace if resource.namespaced else None
        if namespace is None:
            self._cluster_scoped.append((resource, name))
        obj = {"apiVersion": resource.api_version, "kind": kind, "metadata": {"name": name}, **body}
        return await self.cluster.create(resource, obj, namespace=namespace)

    async def get(self, kind: str, name: str) -> dict[str, Any]:
        resource = KINDS[kind]
        return await self.cluster.get(resource, name, namespace=self.namespace if resource.namespaced else None)

    async def find(self, kind: str, name: str) -> dict[str, Any] | None:
        try:
            return await self.get(kind, name)
        except NotFound:
            return None

    async def change(self, kind: str, name: str, **body: Any) -> dict[str, Any]:
        resource = KINDS[kind]
        namespace = self.namespace if resource.namespaced else None
        return await self.cluster.patch(resource, name, body, patch_type=PatchType.MERGE, namespace=namespace)

    async def delete(self, kind: str, name: str) -> None:
        resource = KINDS[kind]
        await self.cluster.delete(resource, name, namespace=self.namespace if resource.namespaced else None)

    async def secret(self, name: str, data: dict[str, bytes]) -> dict[str, Any]:
        encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        return await self.create("Secret", name, data=encoded, type="Opaque")

    async def new_ca(self, *, begins_in: timedelta = timedelta(0)) -> dict[str, bytes]:
        return await make_ca(f"root of {self.namespace}", self.clock.now() + begins_in)

    async def ca(self, **spec: Any) -> dict[str, bytes]:
        """Give the team a CA, as Issuer `ca`, and a policy: app1, and all names of Services in the namespace."""
        data = await make_ca(f"root of {self.namespace}", self.clock.now(), **spec)
        await self.secret("ca", data)
        await self.create("Issuer", "ca", spec={"ca": {"secretName": "ca"}})
        await self.policy()
        return data

    async def policy(self, **spec: Any) -> None:
        allowed = {"dnsNames": ["app1", "app1.{{namespace}}"]}
        names = {} if "allowedNames" in spec else {"allow": allowed}
        spec = {"namespaces": [self.namespace], **names, **spec}
        await self.create("CertificatePolicy", self.namespace, spec=spec)

    async def root_policy(self) -> None:
        """Allow a CA called root, which may sign app1 and nothing else, and app1 itself."""
        allow = {"commonNames": ["root"], "dnsNames": ["app1"]}
        constraints = {"permitted": {"dnsDomains": ["app1"]}, "excluded": {"ipRanges": ["0.0.0.0/0", "::/0"]}}
        await self.policy(allow=allow, allowCA=True, nameConstraints=constraints)

    async def certificate(self, name: str = "web", **spec: Any) -> dict[str, Any]:
        spec = {"secretName": f"{name}-tls", "issuerRef": {"name": "ca"}, "dnsNames": ["app1"], **spec}
        return await self.create("Certificate", name, spec=spec)

    async def pod(self, name: str = "web", secret: str = "web-tls") -> dict[str, Any]:
        volume = {"name": "tls", "secret": {"secretName": secret}}
        container = {"name": "web", "image": "web", "volumeMounts": [{"name": "tls", "mountPath": "/tls"}]}
        return await self.create("Pod", name, spec={"volumes": [volume], "containers": [container]})

    async def events(self, kind: str, name: str, reason: str | None = None) -> list[dict[str, Any]]:
        """Return what pki says about an object, as `kubectl describe` finds it: by name and uid."""
        uid = (await self.get(kind, name))["metadata"]["uid"]
        found = await self.cluster.list(EVENTS, namespace=self.namespace)
        return [
            event
            for event in found.items
            if event.get("reportingComponent") == "pki"
            and event["involvedObject"].get("uid") == uid
            and event["involvedObject"]["name"] == name
            and reason in {None, event["reason"]}
        ]

    async def event(self, kind: str, name: str, reason: str) -> dict[str, Any]:
        """Wait for one event."""

        async def found() -> dict[str, Any] | None:
            events = await self.events(kind, name, reason)
            assert len(events) <= 1, events
            return events[0] if events else None

        return await eventually(found, message=f"{reason} at {kind} {name}")

    async def condition(
        self, kind: str, name: str, *, status: str, reason: str | None = None, within: float = 30.0
    ) -> dict[str, Any]:
        """Wait until the condition Ready is that, for the spec as it is now."""

        async def found() -> dict[str, Any]:
            obj = await self.get(kind, name)
            ready = [c for c in obj.get("status", {}).get("conditions", []) if c["type"] == "Ready"]
            assert ready, "no condition Ready"
            assert ready[0]["observedGeneration"] == obj["metadata"]["generation"]
            assert (ready[0]["status"], reason or ready[0]["reason"]) == (status, ready[0]["reason"]), ready[0]
            return ready[0]

        return await eventually(found, timeout=within, message=f"Ready={status} {reason or ''} of {kind} {name}")

    async def data(self, name: str) -> dict[str, bytes]:
        secret = await self.get("Secret", name)
        return {key: base64.b64decode(value) for key, value in secret["data"].items()}

    async def leaf(self, name: str = "web-tls") -> x509.Certificate:
        return x509.load_pem_x509_certificates((await self.data(name))["tls.crt"])[0]

    async def ready(self, name: str = "web") -> x509.Certificate:
        """Wait until a Certificate is ready, and return it."""
        await self.condition("Certificate", name, status="True")
        return await self.leaf((await self.get("Certificate", name))["spec"]["secretName"])

    async def leave(self) -> None:
        for resource, name in self._cluster_scoped:
            try:
                await self.cluster.delete(resource, name)
            except NotFound:
                continue


@pytest.fixture
def fake_clock() -> FakeClock:
    return FakeClock()


@pytest_asyncio.fixture
async def team(cluster, request) -> AsyncIterator[Team]:
    """A team; its clock is `fake_clock` where the test asks for that too."""
    clock = request.getfixturevalue("fake_clock") if "fake_clock" in request.fixturenames else SYSTEM_CLOCK
    await install_crds(cluster, app.kinds())
    team = Team(cluster, clock)
    yield team
    await team.leave()


@pytest.fixture
def operator(operator, cluster):
    """Run the operator as the user of PKI_KUBECONFIG where that is set: tests/real/test_least_privilege.py sets it."""
    kubeconfig = os.environ.get("PKI_KUBECONFIG")
    if kubeconfig is None:
        return operator

    @asynccontextmanager
    async def run(app, *, clock=SYSTEM_CLOCK, allow_shrink=False, **options) -> AsyncIterator[Any]:
        await install_crds(cluster, app.kinds(), shrinking="always" if allow_shrink else "own")
        async with LiveCluster(load_config(kubeconfig)) as api, running(app, api, clock=clock, **options) as started:
            yield started

    return run


@pytest.fixture
def pki(operator, team, monkeypatch):
    """Run pki for the team; ClusterIssuers find their Secrets in the team's namespace too."""
    monkeypatch.setattr(app, "settings", replace(app.settings, own_namespace=team.namespace))

    @asynccontextmanager
    async def run(**options: Any) -> AsyncIterator[Any]:
        options = {"webhooks": None} | options  # what they deny is tested by itself
        async with operator(app, clock=team.clock, namespace=team.namespace, **options) as running:
            yield running

    return run
