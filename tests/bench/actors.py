"""Those who are compared, each a process that reconciles the Things of one namespace: `python -m bench.actors WHO ...`.

Each does the same work (`noop`, `status` or `child`), and counts the objects for which it did. kopf is given every
advantage that its users could take: no Events, no peering, aiohttp for the child, no second write of a status.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

import aiohttp
import kopf
import orjson
from kubernetes.client.models import V1ConfigMap

from bench.control import answer_for_ever
from bench.kinds import CHILDREN, THINGS, Thing, child, status
from operatorkit import Context, Operator
from operatorkit._runtime import Engine
from operatorkit.cluster import ClusterConfig, Credentials, LiveCluster

__all__ = ["ACTORS", "config_of"]

_APPLY = {"Content-Type": "application/apply-patch+yaml"}
_WORKERS = 4


class Actor:
    """One who works: `handled` counts the objects for which it did the work."""

    def __init__(self, work: str, url: str, token: str, namespace: str) -> None:
        self.work = work
        self.url = url
        self.token = token
        self.namespace = namespace
        self.handled = 0

    async def run(self) -> None:
        """Work until cancelled."""
        raise AssertionError("each actor has its own")

    async def ready(self) -> bool:
        """Tell whether it is at work."""
        return True

    async def state(self) -> int:
        """Return how many objects it handled."""
        return self.handled

    async def do(self, objects: list[dict[str, Any]]) -> None:
        """Do the work for these objects, for those who do not watch for themselves."""
        raise AssertionError(f"{type(self).__name__} watches: it cannot be told about {len(objects)} objects")

    def session(self) -> aiohttp.ClientSession:
        """Open a session of plain aiohttp."""
        return aiohttp.ClientSession(headers={"Authorization": f"Bearer {self.token}"})

    def path(self, plural: str) -> str:
        """Return the URL of the objects of a kind in the actor's namespace."""
        group = "api/v1" if plural == CHILDREN.plural else f"apis/{THINGS.api_version}"
        return f"{self.url}/{group}/namespaces/{self.namespace}/{plural}"

    async def write(self, session: aiohttp.ClientSession, obj: dict[str, Any]) -> None:
        """Do the work by one bare request, its answer read and decoded."""
        name = obj["metadata"]["name"]
        if self.work == "status":
            url, body = f"{self.path(THINGS.plural)}/{name}/status", status(obj)
        else:
            url, body = f"{self.path(CHILDREN.plural)}/{name}", child(obj)
        query = "?fieldManager=bench&force=true"
        async with session.patch(url + query, data=orjson.dumps(body), headers=_APPLY) as answer:
            orjson.loads(await answer.read())
            answer.raise_for_status()


class Ours(Actor):
    """The engine, on the live client."""

    engine: Engine | None = None

    async def ready(self) -> bool:
        return self.engine is not None and self.engine.is_ready

    async def run(self) -> None:
        app = Operator("bench")

        @app.reconcile(Thing, owns=[V1ConfigMap] if self.work == "child" else [], workers=_WORKERS)
        async def reconcile(obj: Thing, ctx: Context) -> None:
            self.handled += 1
            if self.work == "status":
                obj.status.observed = obj.spec.value
            elif self.work == "child":
                await ctx.apply(V1ConfigMap(metadata={"name": obj.metadata.name}, data={"text": obj.spec.text}))

        async with LiveCluster(config_of(self.url, self.token)) as api:
            self.engine = Engine(app, api, namespace=self.namespace)
            await self.engine.run()


class Kopf(Actor):
    """Plain kopf; `event` handles events and keeps nothing, `create` is what its tutorial teaches."""

    started: asyncio.Event

    async def ready(self) -> bool:
        return self.started.is_set()

    def register(self, registry: kopf.OperatorRegistry) -> None:
        """Add the handlers."""
        raise AssertionError("each kopf has its own")

    async def act(self, obj: Any, patch: Any) -> None:
        """Do the work as a kopf user would."""
        self.handled += 1
        if self.work == "status":
            patch.status["observed"] = obj["spec"]["value"]
        elif self.work == "child":
            await self.write(self.bare, obj)

    async def run(self) -> None:
        self.started = asyncio.Event()
        logging.getLogger("kopf").setLevel(logging.ERROR)
        registry = kopf.OperatorRegistry()

        async def login(**_: Any) -> kopf.ConnectionInfo:
            return kopf.ConnectionInfo(server=self.url, token=self.token)

        kopf.on.login(registry=registry, id="login")(login)
        self.register(registry)
        settings = kopf.OperatorSettings()
        settings.posting.enabled = False
        async with self.session() as self.bare:
            await kopf.operator(
                registry=registry,
                settings=settings,
                standalone=True,
                namespaces=[self.namespace],
                ready_flag=self.started,
            )


class KopfEvents(Kopf):
    """The cheapest kopf: raw events, no diff, no annotation."""

    def register(self, registry: kopf.OperatorRegistry) -> None:
        async def event(event: Any, body: Any, patch: Any, **_: Any) -> None:
            done = self.work == "status" and (body.get("status") or {}).get("observed") == body["spec"]["value"]
            if event["type"] != "DELETED" and not done:
                await self.act(body, patch)

        kopf.on.event(THINGS.group, THINGS.version, THINGS.plural, registry=registry, id="event")(event)


class KopfCreates(Kopf):
    """kopf as it is taught: create and update handlers, with its last-handled annotation."""

    def register(self, registry: kopf.OperatorRegistry) -> None:
        async def changed(body: Any, patch: Any, **_: Any) -> None:
            await self.act(body, patch)

        place = (THINGS.group, THINGS.version, THINGS.plural)
        kopf.on.create(*place, registry=registry, id="made")(changed)
        kopf.on.update(*place, registry=registry, id="changed", field="spec")(changed)


class Informer(Actor):
    """The least that works: watch, decode, a set of dirty names, a few workers that write."""

    listening = False

    async def ready(self) -> bool:
        return self.listening

    async def run(self) -> None:
        known: dict[str, Any] = {}
        dirty: set[str] = set()
        signal = asyncio.Semaphore(0)

        async def worker(session: aiohttp.ClientSession) -> None:
            while True:
                await signal.acquire()
                obj = known[dirty.pop()]
                done = self.work == "status" and obj.get("status", {}).get("observed") == obj["spec"]["value"]
                if not done:
                    self.handled += 1
                    if self.work != "noop":
                        await self.write(session, obj)

        async with self.session() as session, asyncio.TaskGroup() as group:
            for _ in range(_WORKERS):
                group.create_task(worker(session))
            async for event in self._events(session):
                obj = event["object"]
                name = obj["metadata"]["name"]
                if event["type"] == "DELETED":
                    known.pop(name, None)
                else:
                    known[name] = obj
                    if name not in dirty:
                        dirty.add(name)
                        signal.release()

    async def _events(self, session: aiohttp.ClientSession) -> Any:
        url = self.path(THINGS.plural)
        async with session.get(url) as answer:
            version = (await answer.json())["metadata"]["resourceVersion"]
        forever = aiohttp.ClientTimeout(total=None)
        async with session.get(f"{url}?watch=1&resourceVersion={version}", timeout=forever) as answer:
            self.listening = True
            async for line in answer.content:
                yield orjson.loads(line)


class Requests(Actor):
    """Bare requests and nothing else: told which objects there are, it does the work for each."""

    async def run(self) -> None:
        async with self.session() as self.bare:
            await asyncio.Event().wait()

    async def do(self, objects: list[dict[str, Any]]) -> None:
        rest = iter(objects)

        async def worker() -> None:
            for obj in rest:
                await self.write(self.bare, obj)
                self.handled += 1

        await asyncio.gather(*(worker() for _ in range(_WORKERS)))


ACTORS: dict[str, type[Actor]] = {
    "ours": Ours,
    "kopf on.event": KopfEvents,
    "kopf on.create": KopfCreates,
    "bare informer": Informer,
    "bare request": Requests,
}


def config_of(url: str, token: str) -> ClusterConfig:
    """Return how the live client reaches the server."""
    return ClusterConfig(server=url, credentials=Credentials((("Authorization", f"Bearer {token}"),)))


async def _main() -> None:
    who, *rest = sys.argv[1:]
    actor = ACTORS[who](*rest)
    running = asyncio.create_task(actor.run())
    answering = asyncio.create_task(answer_for_ever({"ready": actor.ready, "state": actor.state, "do": actor.do}))
    await asyncio.wait({running, answering}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()


if __name__ == "__main__":
    asyncio.run(_main())
