"""The operator whose histories are drawn: shelves and halls, with books for children, and what they shall come to.

What belongs here: the kinds, the reconcile functions, and how an end is judged. What does not: what happens meanwhile.
"""

from __future__ import annotations

import asyncio
import base64
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from kubernetes.client.models import V1ConfigMap, V1Secret

from operatorkit import (
    BackOff,
    Condition,
    Context,
    Model,
    ObjectKey,
    Operator,
    Requeue,
    Resource,
    Settings,
    TerminalError,
    Watch,
)
from operatorkit.cluster import ClusterAPI
from operatorkit.context import Reader
from operatorkit.errors import Conflict, NotFound
from operatorkit.operator import generation_changed
from operatorkit.resource import ObjectMeta, api_resource_of

__all__ = ["CONFIG_MAPS", "HALLS", "RULES", "SECRETS", "SHELVES", "Hall", "Rule", "RunLog", "Shelf", "Traits"]

CONFIG_MAPS = api_resource_of(V1ConfigMap)
SECRETS = api_resource_of(V1Secret)
GROUP = "soak.example.io"


class ShelfSpec(Model):
    books: dict[str, str] = {}
    rule: str = ""
    mode: str = "plain"


class ReadableSpec(ShelfSpec):
    mode: Literal["plain", "terminal", "again", "soon"] = "plain"


class ShelfStatus(Model):
    view: str = ""
    other: str = ""
    seen: str = ""
    conditions: list[Condition] = []


class StoredShelf(Resource[ShelfSpec, ShelfStatus], group=GROUP, version="v1", kind="Shelf", plural="shelves"):
    """A shelf as the API takes it."""


class Shelf(Resource[ReadableSpec, ShelfStatus], group=GROUP, version="v1", kind="Shelf", plural="shelves"):
    """A shelf as the operator reads it: not every mode is one that it knows."""


class HallSpec(Model):
    namespace: str = ""
    books: dict[str, str] = {}


class HallStatus(Model):
    view: str = ""


class Hall(Resource[HallSpec, HallStatus], group=GROUP, version="v1", scope="Cluster"):
    """Books in some namespace."""


class RuleSpec(Model):
    text: str = ""


class Rule(Resource[RuleSpec, Model], group=GROUP, version="v1"):
    """What is written into each book of the shelves that follow it."""


SHELVES, HALLS, RULES = Shelf.api_resource(), Hall.api_resource(), Rule.api_resource()


@dataclass(slots=True, kw_only=True)
class Traits:
    """How the operator of a history is made."""

    finalize: bool
    predicate: bool
    look: bool
    ask: bool
    workers: int
    failing: float
    pace: float

    @classmethod
    def drawn(cls, rng: random.Random) -> Traits:
        """Draw them."""
        return cls(
            finalize=rng.random() < 0.5,
            predicate=rng.random() < 0.3,
            look=rng.random() < 0.3,
            ask=rng.random() < 0.2,
            workers=rng.choice([1, 2, 4]),
            failing=rng.choice([0.0, 0.0, 0.1, 0.3]),
            pace=rng.choice([0.0, 0.0, 0.01, 0.3]),
        )


@dataclass(slots=True)
class RunLog:
    """What the reconcile functions did to the world outside the cluster, through all restarts."""

    outside: set[str] = field(default_factory=set)
    again: Counter[str] = field(default_factory=Counter)
    at_work: set[tuple[str, ObjectKey]] = field(default_factory=set)
    runs: int = 0


def operator(traits: Traits, run_log: RunLog, rng: random.Random) -> Operator:
    """Make the operator anew, as a process that starts does."""
    back_off = BackOff(limit=timedelta(seconds=2), jitter=0.0)
    app = Operator("librarian", settings=Settings(back_off=back_off, workers=traits.workers))
    app.index(Shelf, "rule", lambda shelf: [shelf.spec.rule] if shelf.spec.rule else [])

    def followers(rule: Rule, reader: Reader) -> Iterable[ObjectKey]:
        found = reader.list(Shelf, namespace=rule.metadata.namespace, index=("rule", rule.metadata.name or ""))
        return [shelf.key for shelf in found]

    async def stumble() -> None:
        if traits.pace:
            await asyncio.sleep(rng.expovariate(1 / traits.pace))
        if rng.random() < traits.failing:
            raise rng.choice([RuntimeError("a fault"), Conflict("stale", code=409), KeyError("k")])

    async def reconcile(shelf: Shelf, ctx: Context) -> Requeue | None:
        if traits.finalize:
            assert shelf.metadata.finalizers, "the finalizer is there before the first run"
            run_log.outside.add(str(shelf.metadata.uid))
        shelf.status.seen = shelf.status.other
        if traits.look:
            ctx.list(V1ConfigMap, namespace=ctx.key.namespace)
        if traits.ask:
            await ctx.api.list(CONFIG_MAPS, namespace=ctx.key.namespace, limit=1)
        await stumble()
        rule = ctx.get(Rule, shelf.spec.rule) if shelf.spec.rule else None
        text = rule.spec.text if rule is not None else ""
        if shelf.spec.mode == "terminal":
            shelf.status.view = view(shelf.spec.books, text)
            raise TerminalError(f"no such shelf: {text}", reason="NoShelf")
        for made in await ctx.apply(*children(shelf.metadata.name or "", shelf.spec.books, text)):
            found = ctx.get(type(made), made.metadata.name)  # unless a user was faster
            assert found is None or version(found) >= version(made), "an own write was not read"
        await stumble()
        shelf.status.view = view(shelf.spec.books, text)
        ctx.condition("Ready", True, "Placed")
        run_log.again[f"{shelf.metadata.uid} {shelf.metadata.generation}"] += 1
        if shelf.spec.mode == "again" and run_log.again[f"{shelf.metadata.uid} {shelf.metadata.generation}"] < 3:
            wait = timedelta(seconds=rng.random() * 5)
            return Requeue(at=ctx.clock.now() + wait) if rng.random() < 0.5 else Requeue(after=wait)
        if shelf.spec.mode == "soon" and run_log.again[f"{shelf.metadata.uid} {shelf.metadata.generation}"] < 3:
            return Requeue()
        return None

    async def furnish(hall: Hall, ctx: Context) -> None:
        await stumble()
        await ctx.apply(
            *(
                V1ConfigMap(
                    metadata={"name": f"{hall.metadata.name}-{name}", "namespace": hall.spec.namespace},
                    data={"text": text},
                )
                for name, text in sorted(hall.spec.books.items())
            )
        )
        hall.status.view = view(hall.spec.books, "")

    async def clear(shelf: Shelf, ctx: Context) -> Requeue | None:
        await stumble()
        if rng.random() < 0.2:
            return Requeue(after=timedelta(seconds=rng.random()))
        run_log.outside.discard(str(shelf.metadata.uid))
        return None

    def alone(function: Any) -> Any:
        async def guarded(obj: Any, ctx: Context) -> Requeue | None:
            me = (type(obj).__name__, ctx.key)
            assert me not in run_log.at_work, "a key runs twice at once"
            run_log.at_work.add(me)
            run_log.runs += 1
            try:
                result: Requeue | None = await function(obj, ctx)
                return result
            finally:
                run_log.at_work.discard(me)

        return guarded

    app.reconcile(
        Shelf,
        owns=[V1ConfigMap, V1Secret],
        watches=[Watch(Rule, to=followers)],
        predicate=generation_changed if traits.predicate else None,
    )(alone(reconcile))
    app.reconcile(Hall, owns=[V1ConfigMap])(alone(furnish))
    if traits.finalize:
        app.finalize(Shelf)(alone(clear))
    return app


def children(shelf: str, books: dict[str, str], rule: str) -> list[Any]:
    """Return what a shelf shall have."""
    found: list[Any] = [
        V1ConfigMap(metadata={"name": f"{shelf}-{name}"}, data={"text": text, **({"rule": rule} if rule else {})})
        for name, text in sorted(books.items())
    ]
    if "x" in books:
        found.append(V1Secret(metadata={"name": f"{shelf}-key"}, string_data={"key": books["x"]}))
    return found


def view(books: dict[str, str], rule: str) -> str:
    """Return what the status says."""
    return f"{sorted(books.items())} {rule}"


def version(obj: Any) -> int:
    """Return the version of an object as a number."""
    return int(obj.metadata.resource_version)


async def errors_of(api: ClusterAPI, namespace: str, halls: str, traits: Traits, run_log: RunLog) -> list[str]:
    """Return how the cluster differs from what it should be, now that all is at rest; halls are known by a prefix."""
    rules = {o["metadata"]["name"]: o["spec"].get("text", "") for o in await _all(api, RULES, namespace)}
    shelves = await _all(api, SHELVES, namespace)
    found_halls = [o for o in await _all(api, HALLS, None) if o["metadata"]["name"].startswith(halls)]
    owned = {SECRETS: {}, CONFIG_MAPS: {}}  # type: dict[Any, dict[str, dict[str, Any]]]
    for resource, by_owner in owned.items():
        for obj in await _all(api, resource, namespace):
            for owner in obj["metadata"].get("ownerReferences") or ():
                content = {k: v for k, v in obj.get("data", {}).items() if k != "more"}  # a user's own field
                by_owner.setdefault(owner["uid"], {})[obj["metadata"]["name"]] = content
    faults = []

    def check(where: str, what: str, found: Any, wanted: Any) -> None:
        if found != wanted:
            faults.append(f"{where}: {what} is {found}, not {wanted}")

    for shelf in shelves:
        meta, spec, status = shelf["metadata"], shelf.get("spec", {}), shelf.get("status", {})
        where, books, rule = f"Shelf {meta['name']}", spec.get("books", {}), rules.get(spec.get("rule", ""), "")
        maps, secrets = owned[CONFIG_MAPS].pop(meta["uid"], {}), owned[SECRETS].pop(meta["uid"], {})
        if spec.get("mode") == "odd":
            continue  # it cannot be read, so it cannot be finalized either
        check(where, "its deletion", meta.get("deletionTimestamp"), None)
        ready = [(c["status"], c["reason"], c["message"]) for c in status.get("conditions", []) if c["type"] == "Ready"]
        check(where, "the view", status.get("view"), view(books, rule))
        if not traits.predicate:
            check(where, "what it saw", status.get("seen", ""), status.get("other", ""))
        if spec.get("mode") == "terminal":
            check(where, "Ready", ready, [("False", "NoShelf", f"no such shelf: {rule}")])
            continue
        check(where, "Ready", ready, [("True", "Placed", "")])
        wanted = {c.metadata.name: c.data for c in children(meta["name"], books, rule) if hasattr(c, "binary_data")}
        check(where, "its books", maps, wanted)
        keys = {f"{meta['name']}-key": {"key": base64.b64encode(books["x"].encode()).decode()}} if "x" in books else {}
        check(where, "its keys", secrets, keys)
    for hall in found_halls:
        meta, books = hall["metadata"], hall["spec"].get("books", {})
        check(f"Hall {meta['name']}", "its view", hall.get("status", {}).get("view"), view(books, ""))
        wanted = {f"{meta['name']}-{name}": {"text": text} for name, text in books.items()}
        check(f"Hall {meta['name']}", "its books", owned[CONFIG_MAPS].pop(meta["uid"], {}), wanted)
    check("ghosts", "what is owned by nobody", owned, {SECRETS: {}, CONFIG_MAPS: {}})
    if traits.finalize:
        check("outside", "what is left", run_log.outside - {o["metadata"]["uid"] for o in shelves}, set())
    return faults


async def _all(api: ClusterAPI, resource: Any, namespace: str | None) -> list[dict[str, Any]]:
    return (await api.list(resource, namespace=namespace)).items


def shelf(name: str, books: dict[str, str], rule: str, mode: str) -> dict[str, Any]:
    """Return a shelf as its users write it."""
    obj = StoredShelf(metadata=ObjectMeta(name=name), spec=ShelfSpec(books=books, rule=rule, mode=mode)).write()
    obj["spec"] = {"books": books, "rule": rule, "mode": mode}
    return obj


async def ignoring(request: Any) -> None:
    """Await a request whose object may be gone, or be there already."""
    try:
        await request
    except (NotFound, Conflict):
        return
