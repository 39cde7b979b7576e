"""The engine: runs an operator against a cluster until it is told to stop.

What belongs here: the order of start and stop. What does not: the process around it (`host`), and each part itself.

    caches filled, webhooks served ──> controllers listen, every key once ──> ready ──> ...
                                       ... ──> stop ──> webhooks drained, queues closed, runs finish
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Coroutine
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

from operatorkit._runtime.admission import AdmissionService, Topology
from operatorkit._runtime.caches import CacheReader, Caches
from operatorkit._runtime.controller import Controller
from operatorkit._runtime.reading import reading
from operatorkit.children import Sent
from operatorkit.clock import SYSTEM_CLOCK, Clock
from operatorkit.cluster import Change, ClusterAPI
from operatorkit.errors import OperatorKitError
from operatorkit.events import EventRecorder
from operatorkit.names import ApiResource, ObjectKey
from operatorkit.operator import Operator

__all__ = ["Engine"]

_EVENTS_SENT_WITHIN_SECONDS: Final = 5.0
_log = logging.getLogger("operatorkit.runtime")


class Engine:
    """Runs one operator in the loop of its caller.

    `clock` is the operator's: back-off, Requeue, conditions, Events. `network_clock` paces the watches when they fail;
    it stays real where a test holds the other. `namespace` limits the engine to one namespace (cluster-scoped kinds
    aside); `instance` names this process in Events. `webhooks` says where API servers find the operator's webhooks;
    with None they are not served. `webhook_clock` is that of their certificates, which API servers check by the real
    time, where `clock` is a test's.

    Guarantees: no key of a kind runs twice at once; when nothing changes, the only requests are the open watches and,
    about every 15 seconds, one probe for all of them (`Settings.watch_probe`); an engine that was stopped leaves no
    task behind.
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
        webhooks: Topology | None = None,
        webhook_clock: Clock | None = None,
    ) -> None:
        self._app = app
        self._api = api
        self._clock = clock
        self._namespace = namespace
        self._sent: dict[tuple[ApiResource, ObjectKey], Sent] = {}
        self._stopping = asyncio.Event()
        self._ready = asyncio.Event()
        self._changed = asyncio.Event()
        self.caches: Caches = Caches(app, api, clock=network_clock, namespace=namespace)
        self.events: EventRecorder = EventRecorder(
            api, component=app.name, instance=instance or f"{app.name}-{socket.gethostname()}", clock=clock
        )
        self.controllers: list[Controller] = [
            Controller(app, reconciler, api=api, caches=self.caches, events=self.events, clock=clock, sent=self._sent)
            for reconciler in app.reconcilers
        ]
        self._admission = (
            AdmissionService(
                reading(app, CacheReader(app, self.caches), events=self.events, api=api),
                api,
                webhooks,
                namespace=namespace,
                clock=webhook_clock or clock,
                network_clock=network_clock,
                history=self.caches.history,
            )
            if webhooks is not None and app.webhooks
            else None
        )
        for resource in self.caches.resources:
            self.caches.subscribe(resource, self._watcher(resource))
        self.caches.history.subscribe(self._hold)

    async def run(self) -> None:
        """Run until `stop`; then let runs that have begun finish, for `Settings.shutdown_timeout` at most."""
        background: list[asyncio.Task[None]] = []
        workers: list[asyncio.Task[None]] = []
        try:
            async with asyncio.TaskGroup() as group:

                def start(name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
                    return group.create_task(work, name=f"{self._app.name}: {name}")

                informers = [start(name, work) for name, work in self.caches.runs()]
                synced = start("first sync", self.caches.synced())
                stopping = start("stop", _wait(self._stopping))
                background += [*informers, synced, stopping]
                await self._until({synced, stopping}, informers)
                if not self._stopping.is_set():
                    if self._admission is not None:
                        await self._admission.start()
                        background.append(start("webhooks", self._admission.run()))
                    lasting = self._start_controllers(start, workers)
                    background += lasting
                    self._ready.set()
                    await self._until({stopping}, [*informers, *lasting, *workers])
                await self._finish(workers)
                for task in background:
                    task.cancel()
        except ExceptionGroup as failures:  # one cause is enough to stop: it is raised, the others are logged
            first, *others = _leaves(failures)
            for other in others:
                _log.error("%s: also failed: %r", self._app.name, other)
            raise first from None
        finally:
            self._ready.clear()
            if self._admission is not None:
                await self._admission.stop()

    async def _until(self, awaited: set[asyncio.Task[None]], lasting: list[asyncio.Task[None]]) -> None:
        """Return when one of `awaited` is done. Raises OperatorKitError when one of `lasting` ended before.

        One that fails is for the task group. But one that somebody cancelled would be missing without a word.
        """
        while not any(task.done() for task in awaited):
            await asyncio.wait({*awaited, *lasting}, return_when=asyncio.FIRST_COMPLETED)
            for task in [task for task in lasting if task.done() and not self._stopping.is_set()]:
                if task.cancelled() or task.exception() is None:
                    raise OperatorKitError(f"{task.get_name()} has ended, though nobody has asked the operator to stop")

    def _start_controllers(self, start: Any, workers: list[asyncio.Task[None]]) -> list[asyncio.Task[None]]:
        background = [start("events", self.events.run())]
        for controller in self.controllers:
            kind = controller.resource.kind
            background.append(start(f"timers of {kind}", controller.queue.run()))
            controller.start()
            workers += [start(f"worker {n} of {kind}", controller.work()) for n in range(controller.workers)]
        if self._app.settings.resync is not None:
            background.append(start("resync", self._resync(self._app.settings.resync)))
        return background

    async def _resync(self, every: timedelta) -> None:
        while True:
            await self._clock.sleep(every.total_seconds())
            for controller in self.controllers:
                controller.resync()

    async def _finish(self, workers: list[asyncio.Task[None]]) -> None:
        for controller in self.controllers:
            controller.queue.close()
        if workers:
            limit = self._app.settings.shutdown_timeout.total_seconds()
            _, late = await asyncio.wait(workers, timeout=limit)
            for task in late:
                _log.warning("%s did not finish within %g s: cancelled", task.get_name(), limit)
                task.cancel()
        with suppress(TimeoutError):  # what the last runs recorded; an API that takes no Events does not hold us up
            async with asyncio.timeout(_EVENTS_SENT_WITHIN_SECONDS):
                await self.events.idle()

    def stop(self) -> None:
        """Begin to stop: `run` returns when what runs now has finished."""
        self._stopping.set()

    async def ready(self) -> None:
        """Return when caches are filled and workers run. Does not return for an engine whose `run` failed."""
        await self._ready.wait()

    @property
    def is_stopping(self) -> bool:
        """True once `stop` was called."""
        return self._stopping.is_set()

    @property
    def admission(self) -> AdmissionService | None:
        """What serves the webhooks; None where they are not served."""
        return self._admission

    @property
    def is_ready(self) -> bool:
        """True from filled caches until the stop."""
        return self._ready.is_set() and not self._stopping.is_set()

    async def settled(self, *, within: timedelta = timedelta(minutes=4)) -> None:
        """Return when nothing is left to do now: caches hold what the cluster does, no key waits, nothing runs.

        For tests: it lists every kind. Keys that wait for time to pass do not count. Raises AssertionError, which tells
        what is not settled, when that lasts longer than `within`, in real time.
        """
        doubt = ["it is not ready"]
        try:
            async with asyncio.timeout(within.total_seconds()) as timer:
                await self._settled(doubt)
        except TimeoutError:
            if not timer.expired():
                raise
            unsettled = "; ".join([*doubt, *self._at_work()])
            raise AssertionError(
                f"{self._app.name} did not settle within {within.total_seconds():g} s: {unsettled}"
            ) from None

    async def _settled(self, doubt: list[str]) -> None:
        await self.ready()
        queues = [controller.queue for controller in self.controllers]
        while True:
            doubt.clear()
            while not all(queue.idle for queue in queues):  # one may get to work while we wait for another
                await asyncio.gather(*(queue.wait_idle() for queue in queues))
            await self.events.idle()
            self._changed.clear()
            runs = sum(queue.handed_out for queue in queues)
            behind = [r for r in self.caches.resources if not await self._is_current(r, doubt)]
            if behind:
                await self._changed.wait()
            elif (
                not self._changed.is_set()
                and all(queue.idle for queue in queues)
                and runs == sum(queue.handed_out for queue in queues)  # a run that came and went may yet be echoed
            ):
                return

    async def _is_current(self, resource: ApiResource, doubt: list[str]) -> bool:
        """Tell whether a cache holds what a list does; `doubt` says, while it does not, what is waited for."""
        doubt.append(f"the cache of {resource.qualified} is not known to be up to date")
        found = await self._api.list(resource, namespace=self._namespace if resource.namespaced else None)
        is_current = await self.caches.caught_up(resource, found.items)
        if is_current:
            doubt.pop()
        return is_current

    def _at_work(self) -> list[str]:
        return [
            f"{controller.resource.kind} {key} {what}"
            for controller in self.controllers
            for key, what in controller.queue.busy().items()
        ]

    def _hold(self, in_doubt: bool) -> None:
        """Let nothing run while caches may hold objects of a server that is no more."""
        for controller in self.controllers:
            if in_doubt:
                controller.hold()
            else:
                controller.queue.release()

    def _watcher(self, resource: ApiResource) -> Any:
        def listener(change: Change) -> None:
            if change.type == "DELETED":
                self._sent.pop((resource, change.key), None)
            self._changed.set()

        return listener


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
