"""An operator at work while its API server goes away and comes back: with all that it had, with nothing, or another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Self

import pytest
from kubernetes.client.models import V1ConfigMap

from operatorkit import Context, Model, Operator, Resource
from operatorkit.clock import SystemClock
from operatorkit.cluster import ClusterConfig, Credentials, LiveCluster
from operatorkit.controlplane.embedded import EmbeddedServer
from operatorkit.resource import ObjectMeta, api_resource_of
from operatorkit.testing import eventually
from operatorkit.testing.running import RunningOperator, install_crds, running

CONFIG_MAPS = api_resource_of(V1ConfigMap)


class LeafSpec(Model):
    text: str = ""


class LeafStatus(Model):
    text: str = ""


class Leaf(Resource[LeafSpec, LeafStatus], group="restarts.example.io", version="v1", plural="leaves"):
    """A text, and a ConfigMap with it."""


LEAVES = Leaf.api_resource()


class Hasty(SystemClock):
    """A clock by which watches that fail are opened again, and silent ones doubted, twenty times sooner."""

    def monotonic(self) -> float:
        return super().monotonic() * 20

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / 20)


def copier() -> Operator:
    app = Operator("copier")

    @app.reconcile(Leaf, owns=[V1ConfigMap])
    async def reconcile(leaf: Leaf, ctx: Context) -> None:
        await ctx.apply(V1ConfigMap(metadata={"name": leaf.metadata.name}, data={"text": leaf.spec.text}))
        leaf.status.text = leaf.spec.text

    return app


class LoadBalancer:
    """An address behind which the server may change: `target` is its port, None refuses.

    `drop` resets what is open; `stall` lets it stay open and carries nothing more on it, for ever.
    """

    def __init__(self) -> None:
        self.target: int | None = None
        self.token = ""
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: list[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = []
        self._stalled: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.drop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.target is None:
                raise ConnectionRefusedError
            onward, out = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self._open.append((writer, out))
        await asyncio.gather(self._carry(reader, out, writer), self._carry(onward, writer, writer))

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, caller: Any) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 16):
                if caller not in self._stalled:
                    sink.write(data)
                    await sink.drain()
        if caller not in self._stalled:
            sink.close()

    def use(self, server: EmbeddedServer) -> None:
        self.target, self.token = server._port, server.token

    def drop(self) -> None:
        for pair in self._open:
            for writer in pair:
                writer.transport.abort()
        self._open.clear()

    def stall(self) -> None:
        self._stalled.update(writer for writer, _ in self._open)

    def client(self, port: int | None = None, token: str | None = None) -> LiveCluster:
        def credentials() -> Any:
            return (("Authorization", f"Bearer {token or self.token}"),), None

        server = f"http://127.0.0.1:{port or self.port}"
        return LiveCluster(ClusterConfig(server=server, credentials=Credentials(credentials()[0], credentials)))


@pytest.fixture
async def balancer() -> AsyncIterator[LoadBalancer]:
    async with LoadBalancer() as made:
        yield made


async def create(api: Any, name: str, text: str) -> None:
    obj = Leaf(metadata=ObjectMeta(name=name), spec=LeafSpec(text=text)).write()
    await api.create(LEAVES, obj, namespace="default")


async def is_copied(api: Any, name: str, text: str) -> bool:
    leaf = await api.get(LEAVES, name, namespace="default")
    child = await api.get(CONFIG_MAPS, name, namespace="default")
    owner = child["metadata"]["ownerReferences"][0]["uid"]
    found = (leaf.get("status"), child["data"], owner)
    return bool(found == ({"text": text}, {"text": text}, leaf["metadata"]["uid"]))


def cached(operator: RunningOperator) -> list[str]:
    return [key.name for key in operator.engine.caches.keys(LEAVES)]


@asynccontextmanager
async def at_work(balancer: LoadBalancer, server: EmbeddedServer) -> AsyncIterator[RunningOperator]:
    """An operator that has copied three leaves, and has seen what the server wrote last."""
    balancer.use(server)
    async with balancer.client() as api:
        await install_crds(api, [Leaf])
        for name in ("a", "b", "c"):
            await create(api, name, "one")
        async with running(copier(), api, namespace="default", network_clock=Hasty()) as operator:
            await operator.settled()
            yield operator


async def filled(balancer: LoadBalancer, server: EmbeddedServer, writes: int) -> None:
    """Give another server what an operator needs, a leaf "d", and a history of its own."""
    async with balancer.client(server._port, server.token) as api:
        await install_crds(api, [Leaf])
        await create(api, "d", "two")
        for number in range(writes):
            await api.create(CONFIG_MAPS, {"metadata": {"name": f"x{number}"}}, namespace="default")


async def follows(operator: RunningOperator, balancer: LoadBalancer) -> None:
    """Wait until the operator serves the other server, and has written nothing for what that does not have."""
    async with balancer.client() as api:
        await eventually(lambda: is_copied(api, "d", "two"), timeout=60)
        await eventually(lambda: cached(operator) == ["d"], timeout=60)
        await operator.settled()
        maps = {obj["metadata"]["name"] for obj in (await api.list(CONFIG_MAPS, namespace="default")).items}
        assert not maps & {"a", "b", "c"}, "a parent that is no more has made a child"
        assert {call.name for call in operator.cluster.calls if call.is_write} == {"d"}


async def test_an_operator_goes_on_when_its_server_comes_back_with_all_that_it_had(balancer, tmp_path):
    async with AsyncExitStack() as stack:
        first = EmbeddedServer(tls=False, data=tmp_path / "data")
        await first.__aenter__()
        operator = await stack.enter_async_context(at_work(balancer, first))
        balancer.target = None
        balancer.drop()
        await first.__aexit__(None, None, None)
        second = await stack.enter_async_context(EmbeddedServer(tls=False, data=tmp_path / "data"))
        async with balancer.client(second._port, second.token) as direct:
            await direct.delete(LEAVES, "a", namespace="default")
            await create(direct, "d", "two")
        balancer.use(second)
        async with balancer.client() as api:
            await eventually(lambda: is_copied(api, "d", "two"), timeout=60)
            await eventually(lambda: cached(operator) == ["b", "c", "d"], timeout=60)
            assert await is_copied(api, "b", "one")
        await operator.settled()


@pytest.mark.parametrize("writes", [0, 100], ids=["behind", "ahead"])
async def test_an_operator_believes_an_empty_server_wherever_its_versions_are(balancer, writes):
    async with EmbeddedServer(tls=False) as first, at_work(balancer, first) as operator:
        balancer.target = None
        balancer.drop()
        operator.cluster.forget()
        async with EmbeddedServer(tls=False) as second:
            await filled(balancer, second, writes)
            balancer.use(second)
            await follows(operator, balancer)


@pytest.mark.parametrize("writes", [0, 100], ids=["behind", "ahead"])
async def test_a_server_that_changes_behind_connections_that_stay_open_is_noticed(balancer, writes):
    async with (
        EmbeddedServer(tls=False) as first,
        EmbeddedServer(tls=False) as second,
        at_work(balancer, first) as operator,
    ):
        await filled(balancer, second, writes)
        balancer.stall()
        operator.cluster.forget()
        balancer.use(second)
        await follows(operator, balancer)


async def test_changes_are_seen_again_when_every_connection_has_fallen_silent(balancer):
    async with EmbeddedServer(tls=False) as server, at_work(balancer, server) as operator:
        balancer.stall()
        async with balancer.client(server._port) as direct:
            await create(direct, "d", "two")
            await eventually(lambda: is_copied(direct, "d", "two"), timeout=60)
        assert cached(operator) == ["a", "b", "c", "d"]
