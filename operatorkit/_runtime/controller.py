"""A controller: one kind, the queue of its dirty keys, and the workers that reconcile them.

What belongs here: what follows from how a run ended. What does not: which change enqueues which key (`handlers`), the
order of keys (`queue`), the run itself (`run`, `status`), the caches (`caches`), and start and stop (`engine`).

How a run ends, and what follows:

    returns None              status written if changed, children pruned; back-off forgotten
    returns Requeue(after)    the same, and run again then; at once, but with back-off from the sixth time, for 0
    returns Requeue(at)       the same, by the wall clock; a moment that has passed is at once
    raises Conflict           run again at once, quietly; from the sixth time in a row with back-off
    raises RetryLater         conditions Ready=False and Reconciling; run again then, or with back-off
    raises TerminalError      condition Ready=False and an Event; no retry until something changes
    raises DefinitionError    logged, and an Event: the code is wrong; run again in 5 minutes, or when something changes
    raises anything else      logged, an Event unless it may pass by itself, retry with back-off

However it ends: a run that repairs what another program undoes at once costs some of the key's budget (`budget`). When
that is spent, the key waits, and an Event names the other program and the field.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Hashable
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any

from operatorkit._runtime.budget import Budget, Written
from operatorkit._runtime.conflicts import explained, undone
from operatorkit._runtime.groups import Runnable
from operatorkit._runtime.handlers import mapped, parents, passes
from operatorkit._runtime.kstatus import PASSING, failure_message, was_failing
from operatorkit._runtime.own_writes import OwnWrites
from operatorkit._runtime.queue import Priority, QueueClosed, WorkQueue
from operatorkit._runtime.reasons import EngineReason
from operatorkit._runtime.requests import Requests, counted_requests
from operatorkit._runtime.run import Runner
from operatorkit._runtime.services import Services
from operatorkit._runtime.status import StatusWriter
from operatorkit._runtime.why import Cause, LastRun
from operatorkit.cluster import Change, JSONObject, key_of
from operatorkit.errors import (
    ChildConflict,
    ClusterError,
    Conflict,
    DefinitionError,
    FieldManagerConflict,
    OperatorKitError,
    RetryLater,
    TerminalError,
)
from operatorkit.events import Notice, Reference
from operatorkit.metrics import RunResult
from operatorkit.names import ANNOTATION_PAUSED, ApiResource, ObjectKey
from operatorkit.operator import Reconciler, Requeue, Watch
from operatorkit.resource import api_resource_of

__all__ = ["Controller"]

_TIMES_AT_ONCE = 5
_AFTER_A_MISTAKE = timedelta(minutes=5)
_PASSING_LIMIT_SECONDS = 10.0
_REQUEUED = Cause("a requeue or a retry")
_log = logging.getLogger("operatorkit.runtime")


class Controller:
    """Reconciles the objects of one kind: run its `runnables` together."""

    def __init__(self, services: Services, reconciler: Reconciler) -> None:
        app, clock = services.app, services.clock
        self._reconciler = reconciler
        self._services = services
        self._caches = services.caches
        self._events = services.events
        self._at_once: dict[ObjectKey, int] = {}
        self._causes: dict[ObjectKey, Cause] = {}  # of dirty keys
        self._runs: dict[ObjectKey, LastRun] = {}
        self._errors: dict[ObjectKey, str] = {}  # of the last run that failed
        self._terminal: set[ObjectKey] = set()
        self._failing: set[ObjectKey] = set()  # of which an Event reports a failure
        self._logged: dict[ObjectKey, Hashable] = {}  # the failure whose traceback is in the log
        self.resource = api_resource_of(reconciler.kind)
        self.name: str = reconciler.name
        self._metrics = services.metrics.controller(self.name)
        self.workers = reconciler.workers or app.settings.workers
        self.queue: WorkQueue[ObjectKey] = WorkQueue(
            clock=clock,
            back_off=app.settings.back_off,
            group=(lambda key: key.namespace) if app.settings.fair_by_namespace else None,
            metrics=self._metrics,
        )
        self._budget = Budget(clock)
        self._status = StatusWriter(
            reconciler.kind,
            api=services.api,
            caches=services.caches,
            manager=app.name,
            clock=clock,
            deliver=self._on_own,
            wrote=self._wrote_status,
        )
        self._own_writes = OwnWrites(self.queue.add)
        self._runner = Runner(
            services,
            reconciler,
            status=self._status,
            own_writes=self._own_writes,
            budget=self._budget,
        )

    def runnables(self) -> list[Runnable]:
        """Return what has to run for this controller: the timers of its queue, and its workers.

        Starting the first adds the event handlers; stopping any closes the queue, so that the workers return when
        their runs have finished.
        """
        kind = self.resource.kind
        timers = Runnable(
            name=f"timers of {kind}", start=self._start, run=self.queue.run, stop=self.queue.close
        )
        workers = (
            Runnable(name=f"worker {number} of {kind}", run=self._work, stop=self.queue.close)
            for number in range(self.workers)
        )
        return [timers, *workers]

    async def _start(self) -> None:
        """Add the event handlers, and enqueue every key that exists."""
        self._caches.subscribe(self.resource, self._on_own)
        for kind in self._reconciler.owns:
            resource = api_resource_of(kind)
            self._caches.subscribe(resource, partial(self._on_child, resource))
        for watch in self._reconciler.watches:
            self._caches.subscribe(api_resource_of(watch.kind), partial(self._on_watched, watch))
        self._caches.subscribe_served(self._on_served)
        for key in self._caches.keys(self.resource):
            self._because(key, "the start")
            self.queue.add(key, Priority.RESYNC)

    def hold(self) -> None:
        """Hand out no keys until `queue.release`; forget own writes, which may be of another history of the server."""
        self.queue.hold()
        self._own_writes.forget_answers()
        self._status.forget_versions()

    def resync(self) -> None:
        """Enqueue every key but those that wait for a change after a TerminalError."""
        for key in self._caches.keys(self.resource):
            if key not in self._terminal:
                self._because(key, "a resync")
                self.queue.add(key, Priority.RESYNC)

    def _on_served(self, resource: ApiResource) -> None:
        """Enqueue every key when the definition of an optional child, or of what is watched, came or went."""
        kinds = [*self._reconciler.owns, *(watch.kind for watch in self._reconciler.watches)]
        if resource in {api_resource_of(kind) for kind in kinds}:
            self.resync()

    def _on_own(self, change: Change) -> None:
        if self._status.ignores(change):
            return
        predicate = self._reconciler.predicate
        restored = (
            change.gap and self._caches.history.in_doubt
        )  # to an older state, perhaps of the status alone
        # A predicate compares two neighbouring states. After a restore, or a write of unknown
        # outcome, the old one may be a state that no run has acted on, so "nothing that matters
        # changed" does not follow, and the key is enqueued.
        filters = predicate is not None and not restored and not self._status.is_unsure(change.key)
        new = change.new if filters else None  # each access decodes
        if new is None or passes(change.old, new, predicate, self._reconciler.kind):
            self._because(change.key, "its own change (%s)", change.type)
            self.queue.add(change.key)

    def _on_child(self, resource: ApiResource, change: Change) -> None:
        for key in dict.fromkeys(parents(change, self.resource)):
            if not self._own_writes.ignores(key, resource, change):
                self._because(key, "its child %s %s (%s)", resource.kind, change.key, change.type)
                self.queue.add(key)

    def _on_watched(self, watch: Watch[Any], change: Change) -> None:
        for key in mapped(change, watch, self._services.reader):
            self._because(key, "%s %s (%s)", watch.kind.__name__, change.key, change.type)
            self.queue.add(key)

    async def _work(self) -> None:
        """Reconcile dirty keys, one at a time, until the queue is closed."""
        while True:
            try:
                key = await self.queue.get()
            except QueueClosed:
                return
            # Before the first read of the run, and ended before `done`: an event that arrives in
            # between belongs to this run, and is evaluated when it is known what the run has read
            # and written (ADR 0011).
            self._own_writes.begin(key)
            try:
                await self._reconcile(key)
            finally:
                self._own_writes.end(key)
                self.queue.done(key)

    async def _reconcile(self, key: ObjectKey) -> None:
        # Whatever enqueued the key is the change that the terminal error waits for; if the cause is
        # still there, this run raises it again.
        self._terminal.discard(key)
        raw = self._caches.get(self.resource, key)
        if raw is None:
            self._forget(key)
            return
        annotations = raw["metadata"].get("annotations") or {}
        if annotations.get(ANNOTATION_PAUSED) == "true" and not self._reconciler.only_reads:
            # No requeue: removing the annotation is a change of the object, and its event enqueues
            # the key. Changes of children that come meanwhile are not lost either, since that run
            # reads all of them.
            _log.debug("%s %s is paused", self.resource.kind, key)
            return
        if not await self._may_run(key, raw):
            return
        begun = self._services.clock.monotonic()
        try:
            with counted_requests() as requests:
                result = await self._run(key, raw)
        finally:
            wait = self._budget.end(key, raw)
            if wait:
                self.queue.add_after(key, timedelta(seconds=wait))
        self._report(key, result, self._services.clock.monotonic() - begun, requests)
        if self._budget.is_calm(key):
            self._events.release(self._conflict_scope(key))

    def _report(
        self, key: ObjectKey, result: RunResult, seconds: float, requests: Requests
    ) -> None:
        """Report a run to the metrics, and in one line of the log: its cause, duration, requests and result."""
        self._metrics.ran(result, seconds, terminal=key in self._terminal)
        cause = self._causes.pop(key, _REQUEUED)
        ended, error = self._services.clock.now(), self._errors.pop(key, "")
        self._runs[key] = LastRun(cause, ended, seconds, str(requests), result, error)
        _log.debug(
            "%s %s: reconciled in %.1f ms because of %s: %s, %s",
            self.resource.kind,
            key,
            seconds * 1000,
            cause,
            requests,
            result,
        )

    def _because(self, key: ObjectKey, cause: str, *details: object) -> None:
        """Record why a key is enqueued; the first cause since its last run counts."""
        self._causes.setdefault(key, Cause(cause, details))

    def cause(self, key: ObjectKey) -> Cause | None:
        """Return why a dirty key was enqueued."""
        return self._causes.get(key)

    def last_run(self, key: ObjectKey) -> LastRun | None:
        """Return the last run of a key in this process."""
        return self._runs.get(key)

    def waits_for_change(self, key: ObjectKey) -> bool:
        """Return whether a key is not retried, after a TerminalError."""
        return key in self._terminal

    async def _may_run(self, key: ObjectKey, raw: JSONObject) -> bool:
        """Return whether the budget of a key lets it run; if not, it runs later, and the cause is reported."""
        wait = self._budget.wait(key, raw)
        contested = self._budget.contested(key)
        if contested is not None:
            await self._report_conflict(key, raw, contested)
        if wait:
            self.queue.add_after(key, timedelta(seconds=wait))
        return not wait

    async def _run(self, key: ObjectKey, raw: JSONObject) -> RunResult:
        """Run once, and arrange what follows from how it ended (the table above)."""
        try:
            requeue = await self._runner.run(key, raw)
        except Conflict as error:
            # Both are 409, and only one passes by itself. A stale resourceVersion is over with the
            # next read, so it is no failure and has no back-off; another manager's fields stay in
            # conflict until a person decides, and a retry at once would spin.
            if isinstance(error, FieldManagerConflict):
                await self._failed(key, raw, error)
                return RunResult.ERROR
            _log.debug("%s %s: %s", self.resource.kind, key, error)
            self._errors[key] = str(error)
            self._run_at_once(key)
            return RunResult.REQUEUE
        except RetryLater as error:
            self._wait(key, error)
            return RunResult.REQUEUE_AFTER
        except Exception as error:  # noqa: BLE001 - the outermost loop of user code: it is reported
            await self._failed(key, raw, error)
            return RunResult.ERROR
        else:
            await self._recover(key, raw)
            if requeue is not None and _is_at_once(requeue, self._services.clock.now()):
                self._run_at_once(key)
                return RunResult.REQUEUE
            self._at_once.pop(key, None)
            self._logged.pop(key, None)
            self.queue.forget(key)
            if requeue is not None and requeue.at is not None:
                self.queue.add_at(key, requeue.at)
            elif requeue is not None and requeue.after is not None:
                self.queue.add_after(key, requeue.after)
            return RunResult.SUCCESS if requeue is None else RunResult.REQUEUE_AFTER

    def _wait(self, key: ObjectKey, error: RetryLater) -> None:
        """Arrange the next run of a key whose function raised RetryLater."""
        self._events.release(self._scope(key))
        self._logged.pop(key, None)
        self._errors[key] = str(error)
        if error.after is None:
            wait = self.queue.retry(key)
        else:
            wait = error.after
            self.queue.forget(key)
            self.queue.add_after(key, wait)
        _log.info("%s %s: %s; next try in %s", self.resource.kind, key, error, _short(wait))

    async def _recover(self, key: ObjectKey, raw: JSONObject) -> None:
        """Send an Event if the run before failed, and forget that it did."""
        self._events.release(self._scope(key))
        if key in self._failing or was_failing(raw):
            self._failing.discard(key)
            message = "the reconcile function returned without an error"
            await self._events.normal(raw, EngineReason.RECOVERED, message)

    def _run_at_once(self, key: ObjectKey) -> None:
        """Run a key again without delay; with back-off when that happens too often in a row, so that nothing spins."""
        times = self._at_once[key] = self._at_once.get(key, 0) + 1
        if times <= _TIMES_AT_ONCE:
            self.queue.add(key)
        else:
            self.queue.retry(key)

    async def _failed(self, key: ObjectKey, raw: JSONObject, error: Exception) -> None:
        where = f"{self.resource.kind} {key}"
        self._errors[key] = failure_message(error)
        if isinstance(error, TerminalError):
            _log.warning("%s: %s: %s; waiting for a change", where, _reason(error), error)
            self._terminal.add(key)
            self.queue.drop(key)
        else:
            wait = self._later(key, error)
            again = self._logged.get(key) == (place := _place(error))
            self._logged[key] = place
            _log.warning(
                "%s: reconcile failed%s, next try in %s: %s",
                where,
                " as before" if again else "",
                _short(wait),
                _text(error),
                exc_info=None if again or isinstance(error, OperatorKitError) else _trace(error),
            )
        # No Event while the API server is away or overloaded: it would be one more request to that
        # server for each object, and none of the objects has anything that its owner could correct.
        if isinstance(error, PASSING):
            return
        if isinstance(error, TerminalError) and error.reported:
            self._events.release(self._scope(key))
            return
        notice = Notice(
            regarding=Reference.of(raw),
            type="Warning",
            reason=_reason(error),
            message=failure_message(error),
        )
        self._failing.add(key)
        await self._events.hold(self._scope(key), [notice])

    def _later(self, key: ObjectKey, error: Exception) -> timedelta:
        """Run a key that failed again later, and return how much."""
        if not isinstance(error, DefinitionError):
            return self.queue.retry(
                key, at_least=_asked_seconds(error), at_most=_most_seconds(error)
            )
        self.queue.add_after(key, _AFTER_A_MISTAKE)
        return _AFTER_A_MISTAKE

    async def _report_conflict(self, key: ObjectKey, raw: JSONObject, contested: Written) -> None:
        """Send one Event that names what is undone repeatedly, and by which field manager."""
        if not contested.created and not undone(
            contested, self._caches.get(contested.resource, contested.key)
        ):
            return
        found = await explained(contested, self._services.api, self._services.app.name)
        if found is None:
            return
        self._budget.explained(key)
        reason, message = found
        _log.warning(
            "%s %s: %s: %s; it is repaired less and less often",
            self.resource.kind,
            key,
            reason,
            message,
        )
        notice = Notice(regarding=Reference.of(raw), type="Warning", reason=reason, message=message)
        await self._events.hold(self._conflict_scope(key), [notice])

    def _wrote_status(self, raw: JSONObject, body: JSONObject, answer: JSONObject) -> None:
        key = key_of(raw)
        self._budget.wrote(
            key, raw, Written(self.resource, key, body, answer, subresource="status")
        )

    def _forget(self, key: ObjectKey) -> None:
        self.queue.drop(key)
        self._budget.forget(key)
        self._runner.forget(key)
        self._events.release(self._conflict_scope(key))
        self._events.release(self._scope(key))
        self._events.release(
            (self.resource, key)
        )  # what reconcile functions hold: see EventRecorder.hold
        self._failing.discard(key)
        self._at_once.pop(key, None)
        self._causes.pop(key, None)
        self._runs.pop(key, None)
        self._errors.pop(key, None)
        self._logged.pop(key, None)
        self._status.forget(key)
        self._own_writes.forget(key)

    def _scope(self, key: ObjectKey) -> tuple[str, ApiResource, ObjectKey]:
        return ("operatorkit.runtime", self.resource, key)

    def _conflict_scope(self, key: ObjectKey) -> tuple[str, ApiResource, ObjectKey]:
        return ("operatorkit.runtime.conflict", self.resource, key)


def _asked_seconds(error: Exception) -> float:
    """Return the Retry-After of the server."""
    return (error.retry_after_seconds or 0.0) if isinstance(error, ClusterError) else 0.0


def _most_seconds(error: Exception) -> float | None:
    """Bound the wait for a server that is unreachable or overloaded: no event reports that it is back."""
    passing = isinstance(error, PASSING) or (isinstance(error, ClusterError) and error.code >= 500)
    return _PASSING_LIMIT_SECONDS if passing else None


def _is_at_once(requeue: Requeue, now: datetime) -> bool:
    return requeue.at <= now if requeue.at is not None else not requeue.after


def _reason(error: Exception) -> str:
    if isinstance(error, TerminalError | ChildConflict):
        return error.reason
    return EngineReason.RECONCILE_FAILED


def _text(error: Exception) -> str:
    """Return the text of an error, with its type if it is not one of operatorkit: a KeyError has only the key."""
    return str(error) if isinstance(error, OperatorKitError) else f"{type(error).__name__}: {error}"


def _place(error: Exception) -> Hashable:
    """Return what two failures have in common if they come from the same place."""
    return (
        type(error),
        *((frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)),
    )


def _trace(error: Exception) -> tuple[type[Exception], Exception, TracebackType | None]:
    """Return a failure for the log, its traceback beginning where the engine called the reconcile function."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith(
        __package__
    ):
        trace = trace.tb_next
    return type(error), error, trace or error.__traceback__


def _short(wait: timedelta) -> str:
    seconds = wait.total_seconds()
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
