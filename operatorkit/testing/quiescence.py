"""Waiting until an engine is idle.

What belongs here: when nothing is left to do now. What does not: claims that no request is made (`idle` in
`operatorkit.testing.cluster`), and starting an engine (`operatorkit.testing.running`).
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from operatorkit._runtime import Engine
from operatorkit.cluster import ObjectList, key_of
from operatorkit.errors import NoKindMatch, NotFound
from operatorkit.names import ApiResource

__all__ = ["wait_until_idle"]


async def wait_until_idle(engine: Engine, *, within: timedelta = timedelta(minutes=4)) -> None:
    """Return when caches hold what the cluster does, no key waits, nothing runs, and no Event is being sent.

    It lists every kind. Keys that wait for time to pass do not count. Raises AssertionError, which names what is not
    idle, when that lasts longer than `within`, in real time.
    """
    pending = ["it is not ready"]
    try:
        async with asyncio.timeout(within.total_seconds()) as timer:
            await _wait(engine, pending)
    except TimeoutError:
        if not timer.expired():
            raise
        busy = "; ".join([*pending, *_busy(engine)])
        raise AssertionError(
            f"{engine.app.name} was not idle within {within.total_seconds():g} s: {busy}"
        ) from None


async def _wait(engine: Engine, pending: list[str]) -> None:
    """Wait for idle queues between two looks at the caches that saw no change.

    Why so: a change between the list and the comparison may enqueue a key, and a run between two looks may have written
    an object whose watch event is still to come.
    """
    await engine.ready()
    queues = [controller.queue for controller in engine.controllers]
    changed = asyncio.Event()
    unsubscribe = [
        engine.caches.subscribe(resource, lambda _: changed.set())
        for resource in engine.caches.resources
    ]
    try:
        while True:
            pending.clear()
            while not all(
                queue.idle for queue in queues
            ):  # one may become busy while another is awaited
                await asyncio.gather(*(queue.wait_idle() for queue in queues))
            await engine.events.idle()
            changed.clear()
            runs = sum(queue.handed_out for queue in queues)
            behind = [
                each
                for each in engine.caches.resources
                if not await _is_current(engine, each, pending)
            ]
            if behind:
                await changed.wait()
            elif (
                not changed.is_set()
                and all(queue.idle for queue in queues)
                and runs == sum(queue.handed_out for queue in queues)
            ):
                return
    finally:
        for end in unsubscribe:
            end()


async def _is_current(engine: Engine, resource: ApiResource, pending: list[str]) -> bool:
    """Return whether a cache holds what a list returns, once its watch has reached the versions of that list."""
    pending.append(f"the cache of {resource.qualified} is not known to be up to date")
    try:
        found = await engine.api.list(resource, **engine.caches.scope(resource))
    except (NoKindMatch, NotFound):
        if resource not in engine.app.optional_kinds:
            raise
        found = ObjectList([], "")
    for obj in found.items:
        await engine.caches.informer_of(resource, obj).wait_for(obj["metadata"]["resourceVersion"])
    is_current = {key_of(obj) for obj in found.items} == set(engine.caches.keys(resource))
    if is_current:
        pending.pop()
    return is_current


def _busy(engine: Engine) -> list[str]:
    return [
        f"{controller.resource.kind} {key} {state}"
        for controller in engine.controllers
        for key, state in controller.queue.busy().items()
    ]
