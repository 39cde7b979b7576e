"""The embedded server in the test's own loop, without controllers: what it does is its own doing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from operatorkit.controlplane.embedded.local import LocalCluster
from operatorkit.controlplane.embedded.server import EmbeddedServer
from operatorkit.names import ApiResource
from operatorkit.testing import FakeClock

CONFIG_MAPS = ApiResource("", "v1", "ConfigMap", "configmaps", namespaced=True)
SECRETS = ApiResource("", "v1", "Secret", "secrets", namespaced=True)
PODS = ApiResource("", "v1", "Pod", "pods", namespaced=True)
EVENTS = ApiResource("", "v1", "Event", "events", namespaced=True)
NAMESPACES = ApiResource("", "v1", "Namespace", "namespaces", namespaced=False)
ACCOUNTS = ApiResource("", "v1", "ServiceAccount", "serviceaccounts", namespaced=True)
CRDS = ApiResource(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "spec": {"type": "object", "properties": {"size": {"type": "integer", "default": 3, "maximum": 9}}},
        "status": {"type": "object", "properties": {"size": {"type": "integer"}}},
    },
}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def server(clock: FakeClock) -> AsyncIterator[EmbeddedServer]:
    async with EmbeddedServer(clock=clock, controllers="") as running:
        yield running


@pytest.fixture
def local(server: EmbeddedServer) -> LocalCluster:
    return server.local


def config_map(name: str = "a", **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": {"k": "v"}}


def crd(plural: str = "widgets", kind: str = "Widget", **spec: Any) -> dict[str, Any]:
    version = {"name": "v1", "served": True, "storage": True, "subresources": {"status": {}}}
    return {
        "metadata": {"name": f"{plural}.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind},
            "versions": [version | {"schema": {"openAPIV3Schema": SCHEMA}}],
            **spec,
        },
    }
