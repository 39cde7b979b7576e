"""Nodes in a thread of their own, for control planes and commands without an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import Any, Self

from operatorkit.clock import SYSTEM_CLOCK, Clock
from operatorkit.cluster import load_config
from operatorkit.cluster.api import ClusterAPI
from operatorkit.controlplane.nodes.simulated import SimulatedNodes

__all__ = ["NodesThread"]

_CHECK_EVERY_SECONDS = 0.2


class NodesThread:
    """Runs nodes against the cluster of a kubeconfig, simulated ones unless `make` returns others: a context manager.

    Entering returns when the nodes are ready for pods, and raises what prevents it; `check` is called now and then
    until then, and may raise. Leaving raises what went wrong since.
    """

    def __init__(
        self,
        kubeconfig: Mapping[str, Any],
        *,
        count: int,
        clock: Clock = SYSTEM_CLOCK,
        heartbeat_every: timedelta | None = timedelta(seconds=10),
        check: Callable[[], None] = lambda: None,
        make: Callable[[ClusterAPI], AbstractAsyncContextManager[Any]] | None = None,
    ) -> None:
        self._kubeconfig = dict(kubeconfig)
        self._make = make or partial(
            SimulatedNodes, count=count, clock=clock, heartbeat_every=heartbeat_every
        )
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._check = check
        self._unwanted = False
        self._thread = threading.Thread(target=self._run, name="operatorkit-nodes", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            while not self._ready.wait(_CHECK_EVERY_SECONDS):
                self._check()
        except BaseException:  # the check failed, or we were interrupted
            self._stop()
            raise
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()
        if self._failure is not None and error is None:
            raise self._failure

    def _stop(self) -> None:
        self._unwanted = True
        if self._loop is not None and self._task is not None:
            with contextlib.suppress(RuntimeError):  # it ended by itself
                self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except asyncio.CancelledError:
            pass  # stopped
        except BaseException as error:  # noqa: BLE001 - raised by the thread that waits for us
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        from operatorkit.cluster import LiveCluster

        self._task, self._loop = asyncio.current_task(), asyncio.get_running_loop()
        if self._unwanted:  # interrupted before there was a loop to stop
            return
        config = load_config(self._kubeconfig)
        async with LiveCluster(config) as api, self._make(api):
            self._ready.set()
            await asyncio.Event().wait()  # until we are cancelled
