"""One run of a reconcile function: its object is read, its context is created, its status is written.

What belongs here: what happens from the cached object to the end of the run. What does not: when that happens, and
what follows from how it ended (`controller`).
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from functools import partial
from typing import Any

from operatorkit._runtime.blocked import BlockedDeletions
from operatorkit._runtime.budget import Budget, Written
from operatorkit._runtime.caches import typed
from operatorkit._runtime.dropped import DroppedChanges
from operatorkit._runtime.kstatus import set_failed, set_ready
from operatorkit._runtime.own_object import OwnObject
from operatorkit._runtime.own_writes import OwnWrites, TrackedChildren, TrackedReader, tracked_api
from operatorkit._runtime.reasons import EngineReason
from operatorkit._runtime.services import Services
from operatorkit._runtime.status import StatusWriter, status_of
from operatorkit.children import Children
from operatorkit.claiming import Claimer
from operatorkit.cluster import JSONObject
from operatorkit.context import Context
from operatorkit.definitions import is_own
from operatorkit.errors import Invalid, InvalidObject, OperatorKitError, TerminalError
from operatorkit.live import LiveReader, ObjectWriter
from operatorkit.names import PREFIX, ObjectKey, shorten
from operatorkit.operator import Operator, Reconciler, Requeue, leave_as_it_is
from operatorkit.resource import api_resource_of

__all__ = ["Runner"]

_log = logging.getLogger("operatorkit.runtime")


def finalizer_of(app: Operator) -> str:
    """Return the finalizer that the operator's engine puts on objects."""
    return f"{PREFIX}/{shorten(app.name)}"


class Runner:
    """Runs one reconcile function, and its finalize function, for one object at a time or for several."""

    def __init__(
        self,
        services: Services,
        reconciler: Reconciler,
        *,
        status: StatusWriter,
        own_writes: OwnWrites,
        budget: Budget,
    ) -> None:
        self._services = services
        self._reconciler = reconciler
        self._status = status
        self._own_writes = own_writes
        self._budget = budget
        self._resource = api_resource_of(reconciler.kind)
        self._is_own_kind = is_own(
            services.app, reconciler.kind
        )  # the status of other kinds has another owner
        self._sets_conditions = self._is_own_kind and reconciler.conditions
        self._owned = [api_resource_of(kind) for kind in reconciler.owns]
        self._across = [api_resource_of(kind) for kind in reconciler.owns_across]
        self._finalizer = finalizer_of(services.app)
        self._blocked = BlockedDeletions(
            services.clock,
            own=self._finalizer,
            is_own_kind=self._is_own_kind,
            has_function=reconciler.has_finalizer,
        )
        self._dropped = DroppedChanges(reconciler.kind, self._resource)
        self._logger = logging.getLogger(f"operatorkit.operator.{services.app.name}")

    async def run(self, key: ObjectKey, raw: JSONObject) -> Requeue | None:
        """Reconcile one object, or finalize it, as it is in the cache; what that raises decides what follows."""
        deleting = bool(raw["metadata"].get("deletionTimestamp"))
        finalizers: list[str] = raw["metadata"].get("finalizers") or []
        has_finalizer = self._finalizer in finalizers
        function: Any = self._reconciler.finalize if deleting else self._reconciler.function
        if deleting and has_finalizer and function is None and self._across:
            function = leave_as_it_is  # its children are deleted below
        if deleting and not (has_finalizer and function is not None):
            wait = self._blocked.wait(key, raw)
            if wait is None or wait:
                return None if wait is None else Requeue(after=wait)
            function = self._blocked.function(self._resource, key, raw)
        elif self._reconciler.has_finalizer and not has_finalizer:
            held = await self._status.write_finalizers(raw, [*finalizers, self._finalizer])
            if held is None:
                return None  # deleted: a run would create what no finalizer cleans up
            raw = held
        obj = self._typed(raw)
        before = status_of(obj)
        own = self._own_object(key, raw)
        children = self._children(key, raw)
        ctx = self._context(key, obj, own, children)
        requeue = await self._call(function, obj, ctx, children, own, before)
        if self._sets_conditions and not deleting and not self._reconciler.only_reads:
            set_ready(obj, ctx, own.raw, manager=self._services.app.name)
        self._dropped.look(key, own.raw, obj)
        latest = await self._status.write(own.raw, before, obj)
        if deleting and requeue is None and await children.delete_marked():
            return None  # the deletion of each enqueues the object
        if (
            deleting and requeue is None
        ):  # and nothing changed since it was finalized: it was that state which was
            rest = [
                name
                for name in latest["metadata"].get("finalizers") or ()
                if name != self._finalizer
            ]
            left = await self._status.write_finalizers(latest, rest)
            wait = self._blocked.wait(key, left) if left is not None else None
            return Requeue(after=wait) if wait is not None else None
        return requeue

    def _own_object(self, key: ObjectKey, raw: JSONObject) -> OwnObject:
        return OwnObject(
            self._reconciler.kind,
            raw,
            status=self._status,
            manager=self._services.app.name,
            declared=self._services.declared,
            wrote=lambda written: self._budget.wrote(key, raw, written),
        )

    def _children(self, key: ObjectKey, raw: JSONObject) -> Children:
        services = self._services
        return Children(
            parent=raw,
            parent_resource=self._resource,
            owned=self._owned,
            across=self._across,
            follows=services.caches.follows,
            api=services.writes,
            live=TrackedChildren(self._own_writes, key, services.caches),
            manager=services.app.name,
            last_applied=services.last_applied,
            former=services.app.former_field_managers,
            wrote=lambda *write: self._budget.wrote(key, raw, Written(*write)),
        )

    def _context(self, key: ObjectKey, obj: Any, own: OwnObject, children: Children) -> Context:
        services = self._services
        live = TrackedChildren(self._own_writes, key, services.caches)
        api = tracked_api(self._own_writes, key, services.writes)
        return Context(
            key=key,
            obj=obj,
            reader=TrackedReader(self._own_writes, key, services.reader),
            children=children,
            events=services.events,
            api=api,
            clock=services.clock,
            log=_ObjectLog(self._logger, f"{self._resource.kind} {key}"),
            ignore_reads=partial(self._own_writes.ignore_reads, key),
            update=own.update,
            serves=services.reader.serves,
            live=LiveReader(api, namespace=key.namespace, declared=services.declared),
            writer=ObjectWriter(
                services.writes,
                namespace=key.namespace,
                live=live,
                manager=services.app.name,
                declared=services.declared,
            ),
            claimer=Claimer(
                parent=own.raw,
                parent_resource=self._resource,
                api=services.writes,
                live=live,
                manager=services.app.name,
            ),
        )

    def forget(self, key: ObjectKey) -> None:
        """Forget an object that no longer exists."""
        self._blocked.forget(key)

    def _typed(self, raw: JSONObject) -> Any:
        try:
            return typed(self._reconciler.kind, raw)
        except InvalidObject as error:
            raise TerminalError(str(error), reason=EngineReason.INVALID_OBJECT) from error

    async def _call(
        self,
        function: Any,
        obj: Any,
        ctx: Context,
        children: Children,
        own: OwnObject,
        before: JSONObject,
    ) -> Requeue | None:
        """Call the user's function and prune; the status that it set is written even if that fails.

        Where nothing would be tried again, a status that could not be written counts as the failure.
        """
        limit = self._services.app.settings.reconcile_timeout
        try:
            async with asyncio.timeout(limit.total_seconds()) as timer:
                result = _checked(await function(obj, ctx))
                await children.prune()
        except (Exception, asyncio.CancelledError) as error:
            failure = self._failure(error, timed_out=timer.expired(), limit=limit)
            if self._sets_conditions:
                set_failed(obj, ctx, own.raw, failure, manager=self._services.app.name)
            try:
                await self._status.write(own.raw, before, obj)
            except OperatorKitError as second:
                _log.warning(
                    "%s %s: its status was not written: %s", self._resource.kind, ctx.key, second
                )
                if isinstance(failure, TerminalError) and not isinstance(
                    second, Invalid | InvalidObject
                ):
                    raise second from failure  # unless it would be rejected again: then the failure counts
            if failure is error:
                raise
            raise failure from error
        return result

    def _failure(self, error: BaseException, *, timed_out: bool, limit: timedelta) -> BaseException:
        """Return what a run failed for. Raises CancelledError when it is the worker that was cancelled."""
        if isinstance(error, TimeoutError) and timed_out:
            return _too_slow(limit)
        if isinstance(error, asyncio.CancelledError):
            worker = asyncio.current_task()
            if worker is None or worker.cancelling():
                raise error
            return OperatorKitError(
                "the reconcile function awaited something that was cancelled: catch CancelledError"
            )
        return error


class _ObjectLog(logging.LoggerAdapter[logging.Logger]):
    """A log whose lines begin with the object they are about."""

    def __init__(self, logger: logging.Logger, subject: str) -> None:
        super().__init__(logger, {"object": subject})
        self._subject = subject

    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        return f"{self._subject}: {msg}", kwargs


def _checked(result: Any) -> Requeue | None:
    if result is None or isinstance(result, Requeue):
        return result
    raise OperatorKitError(
        f"the reconcile function returned {type(result).__name__}: return None, or Requeue(after=...)"
    )


def _too_slow(limit: timedelta) -> OperatorKitError:
    return OperatorKitError(
        f"the reconcile function did not return within {limit.total_seconds():g} s and was "
        f"cancelled: set a shorter timeout for what it awaits, or return Requeue(after=...)"
    )
