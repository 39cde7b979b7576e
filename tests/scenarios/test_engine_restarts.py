"""An operator at work while its API server goes away and comes back, with all that it had or with nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from kubernetes.client.models import V1ConfigMap

from operatorkit import Context, Model, Operator, Resource
from operatorkit.clock import SystemClock
from operatorkit.cluster import ClusterConfig, Credentials, LiveCluster
from operatorkit.controlplane.embedded import EmbeddedServer
from operatorkit.errors import NotFound, Unreachable
from operatorkit.resource import ObjectMeta, api_resource_of
from operatorkit.testing import eventually
from operatorkit.testing.running import install_crds, running

CONFIG_MAPS = api_resource_of(V1ConfigMap)


class LeafSpec(Model):
    text: str = ""


class LeafStatus(Model):
    text: str = ""


class Leaf(Resource[LeafSpec, LeafStatus], group="restarts.example.io", version="v1", plural="leaves"):
    """A text, and a ConfigMap with it."""


LEAVES = Leaf.api_resource()


class Hasty(SystemClock):
    """A clock by which watches that fail are opened again twenty times sooner."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / 20)


def copier() -> Operator:
    app = Operator("copier")

    @app.reconcile(Leaf, owns=[V1ConfigMap])
    async def reconcile(leaf: Leaf, ctx: Context) -> None:
        await ctx.apply(V1ConfigMap(metadata={"name": leaf.metadata.name}, data={"text": leaf.spec.text}))
        leaf.status.text = leaf.spec.text

    return app


class Place:
    """Where a server is, and who may ask: another one may take its place."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.token = ""

    @asynccontextmanager
    async def served(self, **options: Any) -> AsyncIterator[None]:
        async with EmbeddedServer(tls=False, port=self.port, **options) as server:
            self.token = server.token
            yield

    def client(self) -> LiveCluster:
        def credentials() -> Any:
            return (("Authorization", f"Bearer {self.token}"),), None

        server = f"http://127.0.0.1:{self.port}"
        return LiveCluster(ClusterConfig(server=server, credentials=Credentials(credentials()[0], credentials)))


async def create(api: LiveCluster, name: str, text: str) -> None:
    obj = Leaf(metadata=ObjectMeta(name=name), spec=LeafSpec(text=text)).write()
    await api.create(LEAVES, obj, namespace="default")


async def is_copied(api: LiveCluster, name: str, text: str) -> bool:
    leaf = await api.get(LEAVES, name, namespace="default")
    child = await api.get(CONFIG_MAPS, name, namespace="default")
    owner = child["metadata"]["ownerReferences"][0]["uid"]
    found = (leaf.get("status"), child["data"], owner)
    return bool(found == ({"text": text}, {"text": text}, leaf["metadata"]["uid"]))


@pytest.mark.parametrize("kept", [True, False], ids=["with all that it had", "with nothing"])
async def test_an_operator_goes_on_when_its_server_comes_back(free_port, tmp_path, kept):
    place, options = Place(free_port), {"data": tmp_path / "data"} if kept else {}
    first = place.served(**options)
    await first.__aenter__()
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(place.client())
        await install_crds(api, [Leaf])
        for name in ("a", "b", "c"):
            await create(api, name, "one")
        operator = await stack.enter_async_context(running(copier(), api, namespace="default", network_clock=Hasty()))
        await operator.settled()
        for number in range(30):  # versions that the next server will not soon come to
            await api.create(CONFIG_MAPS, {"metadata": {"name": f"x{number}"}}, namespace="default")
        await first.__aexit__(None, None, None)
        informers = [kind.informer for kind in operator.engine.caches._kinds.values()]
        await eventually(lambda: all(isinstance(each.error, Unreachable) for each in informers), timeout=60)
        await stack.enter_async_context(place.served(**options))
        await install_crds(api, [Leaf])
        if kept:
            await api.delete(LEAVES, "a", namespace="default")
            await eventually(lambda: is_gone(api, "a"), timeout=60)
        # a child of an "a" that is no more may be made before that is known: this server has no garbage collector
        name = "a" if kept else "d"
        await create(api, name, "two")
        await eventually(lambda: is_copied(api, name, "two"), timeout=60)
        await operator.settled()
        leaves = [key.name for key in operator.engine.caches.keys(LEAVES)]
        assert leaves == (["a", "b", "c"] if kept else ["d"])
        if kept:
            assert await is_copied(api, "b", "one")


async def is_gone(api: LiveCluster, name: str) -> bool:
    try:
        await api.get(CONFIG_MAPS, name, namespace="default")
    except NotFound:
        return True
    return False
