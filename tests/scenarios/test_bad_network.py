"""Informers behind a network that cuts and stalls connections: late, perhaps, but never wrong."""

from __future__ import annotations

import asyncio
import itertools
import random
from contextlib import suppress
from datetime import timedelta
from urllib.parse import urlsplit

import pytest_asyncio

from operatorkit.clock import SYSTEM_CLOCK
from operatorkit.cluster import Informer, LiveCluster, PatchType, load_config
from operatorkit.names import ApiResource
from operatorkit.testing import eventually

CONFIG_MAPS = ApiResource("", "v1", "ConfigMap", "configmaps", namespaced=True)


class BadNetwork:
    """Forwards to the API server; while `bad`, each connection is cut, or goes dead without a word, at some byte."""

    def __init__(self, upstream: str, chance: random.Random) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname, parts.port)
        self._chance = chance
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.bad = False
        self.cut = 0
        self.stalled = 0

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(*self._upstream)
            self._writers.add(upstream_writer)
            try:
                async with asyncio.TaskGroup() as pumps:
                    pumps.create_task(self._pump(reader, upstream_writer))
                    pumps.create_task(self._pump(upstream_reader, writer))
            finally:
                upstream_writer.transport.abort()
        except* (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _pump(self, reader, writer):
        left = self._chance.choice([3_000, 8_000, 20_000, 50_000])
        while data := await reader.read(1024):
            if self.bad and left <= 0:
                if self._chance.random() < 0.3:
                    self.stalled += 1
                    await asyncio.Event().wait()  # the connection is open, and nothing comes any more
                self.cut += 1
                raise ConnectionAbortedError
            left -= len(data)
            writer.write(data)
            await writer.drain()
        raise ConnectionAbortedError  # one side is done


@pytest_asyncio.fixture
async def network(controlplane):
    async with BadNetwork(controlplane.url, random.Random(7)) as bad:
        yield bad


async def test_a_cache_behind_a_bad_network_ends_at_the_servers_state(cluster, network, controlplane, config_map):
    namespace, chance = cluster.namespace, random.Random(11)
    kubeconfig = controlplane.kubeconfig(namespace=namespace)
    kubeconfig["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{network.port}"
    known: dict[str, str] = {}

    def note(change):
        assert (change.type == "ADDED") == (change.key.name not in known), "subscribers are told one history"
        if change.type == "DELETED":
            del known[change.key.name]
        else:
            known[change.key.name] = change.new["metadata"]["resourceVersion"]

    options = {"request_timeout": timedelta(seconds=2), "watch_idle_timeout": timedelta(seconds=1)}
    async with LiveCluster(load_config(kubeconfig), **options) as api:
        informer = Informer(api, CONFIG_MAPS, namespace=namespace, clock=SYSTEM_CLOCK)
        faults = []
        informer.subscribe(lambda change: _guard(faults, note, change))
        running = asyncio.create_task(informer.run())
        await informer.synced()
        network.bad = True
        there: set[str] = set()
        for number in itertools.count():
            if number >= 250 and network.cut + network.stalled >= 5:
                break  # it was bad enough for this test to mean something
            name = f"c{chance.randrange(20)}"
            if name not in there:
                await cluster.create(CONFIG_MAPS, config_map(name, {"n": "x" * 300}), namespace=namespace)
                there.add(name)
            elif chance.random() < 0.3:
                await cluster.delete(CONFIG_MAPS, name, namespace=namespace)
                there.remove(name)
            else:
                body = {"data": {"n": str(number)}}
                await cluster.patch(CONFIG_MAPS, name, body, patch_type=PatchType.MERGE, namespace=namespace)
            if number % 50 == 49:  # let it fall behind, and catch up over connections that break
                await eventually(lambda: set(known) >= there, timeout=60)
        network.bad = False

        async def same():
            listed = await cluster.list(CONFIG_MAPS, namespace=namespace)
            wanted = {obj["metadata"]["name"]: obj["metadata"]["resourceVersion"] for obj in listed.items}
            cached = {obj["metadata"]["name"]: obj["metadata"]["resourceVersion"] for obj in informer.cache.list()}
            return wanted == cached == known

        await eventually(same, timeout=60)
        assert not running.done()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    assert faults == []


def _guard(faults, callback, change):
    try:
        callback(change)
    except AssertionError as error:
        faults.append((change.type, change.key, str(error)))
