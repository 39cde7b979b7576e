"""The engine: runs an operator against a cluster until it is stopped.

What belongs here: which runnables there are, and in which groups. What does not: starting and supervising them
(`groups`), the process around the engine (`host`), and each part itself.

    caches synced, webhooks served ──> (leader elected) ──> controllers started, every key enqueued ──> ...
                                       ... ──> stop ──> queues closed, runs finish ──> webhooks drained
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, Final

from operatorkit._runtime.admission import AdmissionService, ClientConfig
from operatorkit._runtime.caches import Caches
from operatorkit._runtime.controller import Controller
from operatorkit._runtime.groups import Group, Groups, Runnable
from operatorkit._runtime.leases import LeaseElector
from operatorkit._runtime.reading import reading
from operatorkit._runtime.services import Services
from operatorkit._runtime.why import explain
from operatorkit.clock import SYSTEM_CLOCK, Clock
from operatorkit.cluster import Change, ClusterAPI
from operatorkit.events import EventRecorder
from operatorkit.metrics import Metrics
from operatorkit.names import ApiResource
from operatorkit.operator import Background, BackgroundFunction, Operator

__all__ = ["Engine"]

_EVENTS_SENT_WITHIN_SECONDS: Final = 5.0


class Engine:
    """Runs one operator in the loop of its caller.

    `clock` is the operator's: back-off, Requeue, conditions, Events. `network_clock` paces the watches when they fail;
    it stays real where a test controls the other. `namespace` limits the engine to one namespace (cluster-scoped kinds
    aside); `instance` names this process in Events. `webhooks` is where API servers reach the operator's webhooks;
    with None they are not served. `webhook_clock` is that of their certificates, which API servers check by the real
    time, where `clock` is a test's. With `elector`, only a leader runs controllers; a standby replica keeps its caches
    in sync, serves webhooks and is ready. `metrics` receives what the engine measures.

    Guarantees: no key of a kind runs twice at once, also in several replicas with electors of one Lease; when nothing
    changes, the only requests are the open watches, about every 15 seconds one probe for all of them
    (`Settings.watch_probe`), and those of the elector; an engine that was stopped leaves no task behind.
    """

    def __init__(
        self,
        app: Operator,
        api: ClusterAPI,
        *,
        clock: Clock = SYSTEM_CLOCK,
        network_clock: Clock = SYSTEM_CLOCK,
        namespace: str | None = None,
        instance: str | None = None,
        webhooks: ClientConfig | None = None,
        webhook_clock: Clock | None = None,
        elector: LeaseElector | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.app: Operator = app
        self.api: ClusterAPI = api
        self.namespace: str | None = namespace
        self._clock = clock
        self._stopping = asyncio.Event()
        self._ready = asyncio.Event()
        self._leading = asyncio.Event()
        self._elector = elector
        self._groups = Groups(app.name)
        self.caches: Caches = Caches(app, api, clock=network_clock, namespace=namespace)
        self.events: EventRecorder = EventRecorder(
            api,
            component=app.name,
            instance=instance or f"{app.name}-{socket.gethostname()}",
            clock=clock,
        )
        self._services = Services.of(
            app, api, caches=self.caches, events=self.events, clock=clock, metrics=metrics
        )
        self.controllers: list[Controller] = [
            Controller(self._services, reconciler) for reconciler in app.reconcilers
        ]
        self._admission = (
            AdmissionService(
                reading(app, self._services.reader, events=self.events, api=api),
                api,
                webhooks,
                namespace=namespace,
                clock=webhook_clock or clock,
                network_clock=network_clock,
                history=self.caches.history,
                metrics=self._services.metrics,
            )
            if webhooks is not None and app.webhooks
            else None
        )
        for resource in self.caches.resources:
            self.caches.subscribe(resource, partial(self._forget_deleted, resource))
        self.caches.history.subscribe(self._hold)

    async def run(self) -> None:
        """Run until `stop`; then let runs that have begun finish, for `Settings.shutdown_timeout` at most.

        Raises the cause when a part ends that should not: LeaseLost, for one, when the elector lost its Lease. Then
        runs are cancelled, and nothing is written any more.
        """
        try:
            await self._unless_stopped(self._start())
            await self._groups.until(self._stopping.wait)
            await self._finish()
        finally:
            self._ready.clear()
            await self._groups.stop_all()
            self._leading.clear()

    async def _start(self) -> None:
        groups = self._groups
        await groups.start(Group.CACHES, self._caches())
        await groups.start(Group.WEBHOOKS, self._webhooks())
        await groups.start(Group.OTHERS, self._others())
        if self._elector is not None:
            self._ready.set()
            await groups.until(self._elector.acquired)
        await groups.start(Group.LEADER_ONLY, self._leader_only())
        self._leading.set()
        self._ready.set()

    def _caches(self) -> list[Runnable]:
        return [
            Runnable(name=name, run=informer.run, synced=informer.synced)
            for name, informer in self.caches.informers()
        ]

    def _webhooks(self) -> list[Runnable]:
        service = self._admission
        if service is None:
            return []
        return [Runnable(name="webhooks", start=service.start, run=service.run, close=service.stop)]

    def _others(self) -> list[Runnable]:
        found = [Runnable(name="events", run=self.events.run)]
        if self._elector is not None:
            # released when the group LEADER_ONLY has stopped: no run of this replica goes on beside the next leader's
            found.append(
                Runnable(name="leader election", run=self._elector.run, close=self._elector.release)
            )
        return found

    def _leader_only(self) -> list[Runnable]:
        found = [runnable for controller in self.controllers for runnable in controller.runnables()]
        if self.app.settings.resync is not None:
            found.append(Runnable(name="resync", run=self._resync))
        found.extend(
            Runnable(
                name=getattr(function, "__name__", "background"),
                run=partial(self._background, function),
            )
            for function in self.app.backgrounds
        )
        return found

    async def _background(self, function: BackgroundFunction) -> None:
        """Run a background function, which is cancelled when the group stops."""
        services = self._services
        await function(
            Background(
                reader=services.reader,
                api=services.writes,
                events=self.events,
                clock=self._clock,
                namespace=self.namespace,
            )
        )

    async def _resync(self) -> None:
        every = self.app.settings.resync
        assert every is not None, "there is no such runnable without it"
        while True:
            await self._clock.sleep(every.total_seconds())
            for controller in self.controllers:
                controller.resync()

    async def _finish(self) -> None:
        """Let runs finish, and then send the Events that they recorded, while other parts still run."""
        await self._groups.stop(Group.LEADER_ONLY, grace=self.app.settings.shutdown_timeout)
        with suppress(
            TimeoutError
        ):  # an API server that accepts no Events must not delay the shutdown for long
            async with asyncio.timeout(_EVENTS_SENT_WITHIN_SECONDS):
                await self.events.idle()

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        """Await `work`, but cancel it when `stop` is called first."""
        working, stopping = asyncio.create_task(work), asyncio.create_task(self._wait_for_stop())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
        finally:
            for task in (working, stopping):
                task.cancel()
            await asyncio.wait({working, stopping})

    async def _wait_for_stop(self) -> None:
        await self._stopping.wait()

    def stop(self) -> None:
        """Begin to stop: `run` returns when what runs now has finished."""
        self._stopping.set()

    async def ready(self) -> None:
        """Return when caches have synced, webhooks are served, and workers run or wait for this replica to lead.

        Does not return for an engine whose `run` failed.
        """
        await self._ready.wait()

    async def leading(self) -> None:
        """Return when workers run: with an elector, when this replica leads."""
        await self._leading.wait()

    @property
    def is_stopping(self) -> bool:
        """True once `stop` was called."""
        return self._stopping.is_set()

    @property
    def is_leading(self) -> bool:
        """True while workers run."""
        return self._leading.is_set()

    def why(self, text: str) -> tuple[bool, str]:
        """Return whether `text` names an object of a kind that is reconciled, and why that one runs, or does not."""
        return explain(text, self.controllers, self.caches, leads=self.is_leading)

    @property
    def admission(self) -> AdmissionService | None:
        """The part that serves the webhooks; None where they are not served."""
        return self._admission

    @property
    def is_ready(self) -> bool:
        """True from synced caches until the stop."""
        return self._ready.is_set() and not self._stopping.is_set()

    def _hold(self, in_doubt: bool) -> None:
        """Let nothing run while caches may hold objects of a server that was replaced."""
        for controller in self.controllers:
            if in_doubt:
                controller.hold()
            else:
                controller.queue.release()

    def _forget_deleted(self, resource: ApiResource, change: Change) -> None:
        if change.type == "DELETED":
            self._services.last_applied.forget(resource, change.key)
