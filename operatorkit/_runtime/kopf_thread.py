"""The handlers of kopf that belong to an operator, at work beside a test.

What belongs here: running them in a thread and a loop of their own, because kopf cancels what it finds in its loop when
it stops. What does not: which handlers these are (`kopf_handlers`), and the process of an operator (`host`).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import kopf

from operatorkit._runtime.host import kopf_settings
from operatorkit._runtime.kopf_handlers import has_handlers, registry_of
from operatorkit.cluster import ClusterConfig, LiveCluster
from operatorkit.operator import Operator

__all__ = ["handlers_running"]


@asynccontextmanager
async def handlers_running(
    app: Operator, config: ClusterConfig, *, namespace: str | None
) -> AsyncIterator[None]:
    """Run the handlers of kopf in an operator's modules until the block is left; nothing, where there are none.

    They have been started when the block is entered; what they do then is not waited for. What ends kopf early is
    raised when the block is left.
    """
    registry = registry_of(app, kopf.get_default_registry())
    if not has_handlers(registry):
        yield
        return
    stop, started = threading.Event(), threading.Event()

    def work() -> None:
        try:
            asyncio.run(_operate(registry, config, namespace=namespace, stop=stop, started=started))
        finally:
            started.set()

    working = asyncio.create_task(asyncio.to_thread(work), name=f"kopf's handlers of {app.name}")
    try:
        await asyncio.to_thread(started.wait)
        yield
    finally:
        stop.set()
        await working


async def _operate(
    registry: kopf.OperatorRegistry,
    config: ClusterConfig,
    *,
    namespace: str | None,
    stop: threading.Event,
    started: threading.Event,
) -> None:
    async with LiveCluster(config) as api:

        async def login(**_: Any) -> kopf.AiohttpSession:
            return kopf.AiohttpSession(server=api.config.server, aiohttp_session=api.session)

        kopf.on.login(registry=registry, id="operatorkit.login")(login)
        await kopf.operator(
            registry=registry,
            settings=kopf_settings(scanning=True),
            standalone=True,
            clusterwide=namespace is None,
            namespaces=[] if namespace is None else [namespace],
            stop_flag=stop,
            ready_flag=started,
        )
