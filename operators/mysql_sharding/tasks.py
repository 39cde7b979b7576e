"""A task for each object of a kind, for as long as the object exists.

What belongs here: starting and ending tasks. What does not: what they do (`shards`, `proxy.loop`,
`reshard.loop`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from operatorkit.names import ObjectKey
from operatorkit.operator import Background

__all__ = ["run_for_each"]


async def run_for_each(
    world: Background,
    kind: type[Any],
    index: tuple[str, str],
    run: Callable[[ObjectKey], Coroutine[Any, Any, None]],
    name: str,
    *,
    seconds: float,
) -> None:
    """Run `run` in a task for each object that the index finds, until cancelled; all tasks have ended then.

    The keys are looked at every `seconds`. `name` and the key name a task.
    """
    tasks: dict[ObjectKey, asyncio.Task[None]] = {}
    try:
        while True:
            keys = set(world.reader.keys(kind, index=index, namespace=world.namespace))
            for key in keys - tasks.keys():
                tasks[key] = asyncio.create_task(run(key), name=f"{name} {key}")
            await _end([tasks.pop(key) for key in tasks.keys() - keys])
            await world.clock.sleep(seconds)
    finally:
        await _end(tasks.values())


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
