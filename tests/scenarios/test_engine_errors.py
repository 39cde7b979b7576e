"""The engine while requests fail, answers get lost and watches end: it settles on what the specs say, all the same."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from datetime import timedelta

import pytest
from kubernetes.client.models import V1ConfigMap

from operatorkit import BackOff, Context, Model, ObjectKey, Operator, Resource, Settings, TerminalError
from operatorkit.clock import SystemClock
from operatorkit.cluster import PatchType
from operatorkit.errors import AlreadyExists, ClusterError, Conflict, Gone, NotFound, Throttled, Timeout, Unreachable
from operatorkit.events import EVENTS
from operatorkit.names import LABEL_OWNER_UID
from operatorkit.resource import ObjectMeta, api_resource_of
from operatorkit.testing import FakeClock, eventually
from operatorkit.testing.cluster import idle
from operatorkit.testing.running import install_crds, running

CONFIG_MAPS = api_resource_of(V1ConfigMap)
QUICK = BackOff(limit=timedelta(milliseconds=100))


class ShelfSpec(Model):
    books: dict[str, str] = {}


class ShelfStatus(Model):
    books: int = 0
    hash: str = ""


class Shelf(Resource[ShelfSpec, ShelfStatus], group="faults.example.io", version="v1", plural="shelves"):
    """Books, a ConfigMap each."""


SHELVES = Shelf.api_resource()


class Hasty(SystemClock):
    """A clock by which watches that fail are opened again twenty times sooner."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / 20)


class Faulty:
    """A cluster whose requests fail before or after they were carried out, and whose watches end early."""

    WRITES = (
        lambda: Conflict("the object has been modified"),
        lambda: ClusterError("etcd is not well"),
        lambda: Throttled("slow down"),
        lambda: Timeout("no answer"),
        lambda: Unreachable("connection reset"),
    )

    def __init__(self, api, rng: random.Random) -> None:
        self.api = api
        self.rng = rng
        self.share = 0.15
        self.injected: Counter[str] = Counter()

    def __getattr__(self, name):
        return getattr(self.api, name)

    def fail(self, what: str, faults=WRITES) -> None:
        if self.rng.random() < self.share:
            self.injected[what] += 1
            make = self.rng.choice(faults)
            raise make()

    async def list(self, resource, **options):
        self.fail("list", self.WRITES[1:])
        return await self.api.list(resource, **options)

    async def patch(self, resource, name, body, **options):
        self.fail("patch not done")
        answer = await self.api.patch(resource, name, body, **options)
        self.fail("patch done, answer lost", self.WRITES[3:])
        return answer

    async def create(self, resource, obj, **options):
        self.fail("create not done", self.WRITES[1:])
        answer = await self.api.create(resource, obj, **options)
        self.fail("create done, answer lost", self.WRITES[3:])
        return answer

    async def delete(self, resource, name, **options):
        self.fail("delete not done", self.WRITES[1:])
        await self.api.delete(resource, name, **options)
        self.fail("delete done, answer lost", self.WRITES[3:])

    async def watch(self, resource, **options):
        async for event in self.api.watch(resource, **options):
            yield event
            if self.rng.random() < self.share:
                self.injected["watch ended"] += 1
                if self.rng.random() < 0.5:
                    raise Gone("too old resource version")
                return


def librarian(ran: Counter[ObjectKey]) -> Operator:
    app, at_work = Operator("librarian", settings=Settings(back_off=QUICK)), set()

    @app.reconcile(Shelf, owns=[V1ConfigMap], workers=4)
    async def reconcile(shelf: Shelf, ctx: Context) -> None:
        assert ctx.key not in at_work, "a key runs twice at once"
        at_work.add(ctx.key)
        ran[ctx.key] += 1
        try:
            books = shelf.spec.books
            for made in await ctx.apply(*(book(shelf, name, text) for name, text in sorted(books.items()))):
                found = ctx.get(V1ConfigMap, made.metadata.name)  # unless a user was faster
                assert found is None or version(found) >= version(made), "an own write was not read"
            shelf.status.books, shelf.status.hash = len(books), repr(sorted(books.items()))
        finally:
            at_work.discard(ctx.key)

    return app


def version(obj: V1ConfigMap) -> int:
    return int(obj.metadata.resource_version)


def book(shelf: Shelf, name: str, text: str) -> V1ConfigMap:
    return V1ConfigMap(metadata={"name": f"{shelf.metadata.name}-{name}"}, data={"text": text})


class Users:
    """They create, change, delete and deface, and remember what they asked for."""

    def __init__(self, cluster, rng: random.Random) -> None:
        self.cluster, self.rng = cluster, rng
        self.wanted: dict[str, dict[str, str]] = {}

    async def act(self) -> None:
        action = self.rng.choice([self.put, self.put, self.put, self.remove, self.deface, self.burn])
        await action(self.rng.choice("abc"))

    async def put(self, shelf: str) -> None:
        books = {name: str(self.rng.randrange(5)) for name in "xyz" if self.rng.random() < 0.6}
        obj = Shelf(metadata=ObjectMeta(name=shelf), spec=ShelfSpec(books=books)).write()
        obj["spec"] = {"books": books}
        try:
            await self.cluster.create(SHELVES, obj, namespace=self.cluster.namespace)
        except AlreadyExists:
            replaced = [{"op": "add", "path": "/spec", "value": {"books": books}}]
            await self.cluster.patch(
                SHELVES, shelf, replaced, patch_type=PatchType.JSON, namespace=self.cluster.namespace
            )
        self.wanted[shelf] = books

    async def remove(self, shelf: str) -> None:
        if self.wanted.pop(shelf, None) is not None:
            await self.cluster.delete(SHELVES, shelf, namespace=self.cluster.namespace)

    async def deface(self, shelf: str) -> None:
        await self.vandalize(
            self.cluster.patch(
                CONFIG_MAPS,
                f"{shelf}-x",
                {"data": {"text": "!"}},
                patch_type=PatchType.MERGE,
                namespace=self.cluster.namespace,
            )
        )

    async def burn(self, shelf: str) -> None:
        await self.vandalize(self.cluster.delete(CONFIG_MAPS, f"{shelf}-y", namespace=self.cluster.namespace))

    async def vandalize(self, request) -> None:
        with contextlib.suppress(NotFound):
            await request

    async def see_what_they_asked_for(self) -> bool:
        shelves = {obj["metadata"]["name"]: obj for obj in await self.all(SHELVES)}
        assert shelves.keys() == self.wanted.keys()
        uids = {obj["metadata"]["uid"] for obj in shelves.values()}
        maps = {
            obj["metadata"]["name"]: obj["data"]["text"]
            for obj in await self.all(CONFIG_MAPS)
            if obj["metadata"].get("labels", {}).get(LABEL_OWNER_UID) in uids
        }
        assert maps == {f"{s}-{name}": text for s, books in self.wanted.items() for name, text in books.items()}
        for name, books in self.wanted.items():
            assert shelves[name].get("status", {}).get("hash") == repr(sorted(books.items()))
        return True

    async def all(self, resource):
        return (await self.cluster.list(resource, namespace=self.cluster.namespace)).items


@pytest.mark.parametrize("seed", range(4))
async def test_it_settles_on_what_the_specs_say_whatever_fails_on_the_way(cluster, seed):
    rng = random.Random(seed)
    faulty, users, ran = Faulty(cluster, rng), Users(cluster, rng), Counter()
    app = librarian(ran)
    await install_crds(cluster, app.kinds())
    async with running(app, faulty, namespace=cluster.namespace, network_clock=Hasty()) as operator:
        for _ in range(60):
            await users.act()
            await asyncio.sleep(rng.random() * 0.01)
        faulty.share = 0
        await eventually(users.see_what_they_asked_for, timeout=120)  # the garbage collector's pace
        await operator.settled()

        async def quiet() -> bool:
            runs = ran.total()
            await idle(operator.cluster, period=0.5)
            return ran.total() == runs

        await eventually(quiet, timeout=60, message="nothing is left to do")  # a watch may still wait to be opened
    assert sum(faulty.injected.values()) > 10, faulty.injected


async def test_after_a_crash_between_any_two_writes_the_next_process_finishes_the_work(cluster):
    app, ran = librarian(Counter()), 0
    await install_crds(cluster, app.kinds())
    for crash_after in range(5):
        shelf = Shelf(metadata=ObjectMeta(name=f"s{crash_after}"), spec=ShelfSpec(books={"x": "1", "y": "2", "z": "3"}))
        await cluster.create(SHELVES, shelf.write(), namespace=cluster.namespace)
        mortal = Mortal(cluster, crash_after)
        async with running(app, mortal, namespace=cluster.namespace):
            await mortal.dead.wait()
        async with running(app, cluster, namespace=cluster.namespace) as operator:
            await operator.settled()
            ran += operator.writes().total()
            status = (await cluster.get(SHELVES, f"s{crash_after}", namespace=cluster.namespace))["status"]
            assert status["books"] == 3
    assert ran == 4 + 3 + 2 + 1 + 0, "each process writes only what was not written yet"


class Unwell:
    """A cluster that fails the next writes of a status with these errors."""

    def __init__(self, api, *errors: ClusterError) -> None:
        self.api, self.errors = api, [*errors]

    def __getattr__(self, name):
        return getattr(self.api, name)

    async def patch(self, *args, **options):
        if options.get("subresource") == "status" and self.errors:
            raise self.errors.pop()
        return await self.api.patch(*args, **options)


@pytest.mark.parametrize("error", [Timeout("no answer"), ClusterError("etcd is not well"), Conflict("changed")])
async def test_a_status_that_could_not_be_written_is_written_later_also_where_the_run_is_not_repeated(cluster, error):
    """Nothing changes meanwhile, and nothing would wake the key: it is the failed write that is tried again."""
    app = Operator("shelves", settings=Settings(back_off=QUICK))

    @app.reconcile(Shelf)
    async def reconcile(shelf: Shelf, ctx: Context) -> None:
        shelf.status.hash = "wrong"
        raise TerminalError("write fewer books")

    await install_crds(cluster, app.kinds())
    async with running(app, Unwell(cluster, error), namespace=cluster.namespace):
        await cluster.create(SHELVES, Shelf(metadata=ObjectMeta(name="a")).write(), namespace=cluster.namespace)

        async def said() -> bool:
            return (await cluster.get(SHELVES, "a", namespace=cluster.namespace)).get("status", {}).get(
                "hash"
            ) == "wrong"

        await eventually(said)


async def test_a_failure_that_gave_way_to_one_that_the_function_reports_itself_is_not_repeated_in_events(cluster):
    app, clock, runs = Operator("shelves", settings=Settings(back_off=QUICK)), FakeClock(), Counter()

    @app.reconcile(Shelf)
    async def reconcile(shelf: Shelf, ctx: Context) -> None:
        runs[ctx.key] += 1
        if runs[ctx.key] == 1:
            raise ClusterError("etcd is not well")
        raise TerminalError("write fewer books", reported=True)

    await install_crds(cluster, app.kinds())
    async with running(app, cluster, namespace=cluster.namespace, clock=clock) as operator:
        await cluster.create(SHELVES, Shelf(metadata=ObjectMeta(name="a")).write(), namespace=cluster.namespace)

        async def events() -> list[tuple[str, int]]:
            found = (await cluster.list(EVENTS, namespace=cluster.namespace)).items
            return [(event["reason"], event["count"]) for event in found]

        assert await eventually(events) == [("ReconcileFailed", 1)]
        await operator.settled()
        await clock.advance(timedelta(seconds=1))  # the back-off
        await operator.settled()
        assert runs.total() == 2
        for _ in range(40):
            await clock.advance(timedelta(minutes=1))
        await operator.settled()
        assert await events() == [("ReconcileFailed", 1)]


class Mortal:
    """A cluster that takes so many writes of its client, and none after that: to the world the client is dead."""

    def __init__(self, api, writes: int) -> None:
        self.api, self.left = api, writes
        self.dead = asyncio.Event()
        if not writes:
            self.dead.set()

    def __getattr__(self, name):
        return getattr(self.api, name)

    async def patch(self, *args, **options):
        if not self.left:
            self.dead.set()
            raise Unreachable("dead")
        self.left -= 1
        answer = await self.api.patch(*args, **options)
        if not self.left:
            self.dead.set()
        return answer

    async def create(self, *args, **options):
        raise Unreachable("dead")


async def test_a_failure_is_logged_with_its_traceback_once_and_then_in_one_line(cluster, operator, caplog):
    app, faults = Operator("shelves", settings=Settings(back_off=QUICK)), [{"a": 1}, []]

    @app.reconcile(Shelf)
    async def reconcile(shelf: Shelf, ctx: Context) -> None:
        faults[0][7]

    def lines(word: str) -> int:
        return sum(word in line for line in caplog.text.splitlines())

    async with operator(app, namespace=cluster.namespace):
        odd = {"apiVersion": SHELVES.api_version, "kind": "Shelf", "metadata": {"name": "odd"}}
        await cluster.create(SHELVES, odd, namespace=cluster.namespace)
        await eventually(lambda: lines("reconcile failed as before, next try in") >= 2)
        assert (lines("Traceback"), lines("KeyError: 7") > 2) == (1, True)
        assert "_runtime" not in caplog.text.split("Traceback")[1].split("KeyError")[0]
        del faults[0]
        await eventually(lambda: lines("IndexError: list index out of range") > 2)
        assert lines("Traceback") == 2
