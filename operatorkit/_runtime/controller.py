"""A controller: one kind, the queue of its dirty keys, and the workers that reconcile them.

What belongs here: which change wakes which key, one run of a reconcile function, and what follows from how it ended.
What does not: the order of keys (`queue`), the caches (`caches`), and the life of the whole (`engine`).

How a run ends, and what follows:

    returns None              status written if changed, children pruned; back-off forgotten
    returns Requeue(after)    the same, and run again then; at once, but with back-off from the sixth time, for 0
    raises Conflict           run again at once, quietly; from the sixth time in a row with back-off
    raises TerminalError      condition Ready=False and an Event; no retry until something changes
    raises anything else      logged, an Event unless it may pass by itself, retry with back-off
"""

from __future__ import annotations

import asyncio
import copy
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from operatorkit._runtime.caches import CacheReader, Caches
from operatorkit._runtime.queue import Priority, QueueClosed, WorkQueue
from operatorkit.children import Children, Sent, controller_of
from operatorkit.clock import Clock
from operatorkit.cluster import Change, ClusterAPI, JSONObject, PatchType, key_of
from operatorkit.cluster.versions import is_newer
from operatorkit.conditions import get_condition
from operatorkit.context import Context
from operatorkit.crd.model import written
from operatorkit.errors import (
    ChildConflict,
    Conflict,
    FieldManagerConflict,
    InvalidObject,
    NotFound,
    OperatorKitError,
    TerminalError,
    Throttled,
    Timeout,
    Unreachable,
)
from operatorkit.events import EventRecorder, Notice, Reference
from operatorkit.names import (
    ANNOTATION_PAUSED,
    ANNOTATION_RECONCILE_AT,
    PREFIX,
    ApiResource,
    ObjectKey,
    shorten,
)
from operatorkit.operator import Operator, Reconciler, Requeue, Watch
from operatorkit.resource import Resource, api_resource_of, read, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Controller"]

_TIMES_AT_ONCE = 5
_PASSING = (Throttled, Timeout, Unreachable)
_log = logging.getLogger("operatorkit.runtime")


class Controller:
    """Reconciles the objects of one kind. `start` begins to listen; run `queue.run` and `work` beside it."""

    def __init__(
        self,
        app: Operator,
        reconciler: Reconciler,
        *,
        api: ClusterAPI,
        caches: Caches,
        events: EventRecorder,
        clock: Clock,
        sent: dict[tuple[ApiResource, ObjectKey], Sent],
    ) -> None:
        self._app = app
        self._reconciler = reconciler
        self._api = api
        self._caches = caches
        self._reader = CacheReader(app, caches)
        self._events = events
        self._clock = clock
        self._sent = sent
        self._at_once: dict[ObjectKey, int] = {}
        self._own_status: dict[ObjectKey, set[str]] = {}
        self._held: dict[ObjectKey, list[Change]] = {}
        self._terminal: set[ObjectKey] = set()
        self._owned = [api_resource_of(kind) for kind in reconciler.owns]
        self._finalizer = f"{PREFIX}/{shorten(app.name)}"
        self.resource = api_resource_of(reconciler.kind)
        self.workers = reconciler.workers or app.settings.workers
        self.queue: WorkQueue[ObjectKey] = WorkQueue(clock=clock, back_off=app.settings.back_off)

    # What wakes a key ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Listen to all that may wake a key, and wake every key there is."""
        self._caches.subscribe(self.resource, self._on_own)
        for resource in self._owned:
            self._caches.subscribe(resource, self._on_child)
        for watch in self._reconciler.watches:
            self._caches.subscribe(api_resource_of(watch.kind), self._mapping(watch))
        for key in self._caches.keys(self.resource):
            self.queue.add(key, Priority.RESYNC)

    def resync(self) -> None:
        """Wake every key that may gain from it: all but those that wait for a change."""
        for key in self._caches.keys(self.resource):
            if key not in self._terminal:
                self.queue.add(key, Priority.RESYNC)

    def _on_own(self, change: Change) -> None:
        if change.key in self._held:  # its status is being written: the echo may come before the answer
            self._held[change.key].append(change)
            return
        new, old = change.new, change.old
        if new is None:
            self.queue.add(change.key)
            return
        if self._is_own_status(change.key, new) and old is not None and _without_status(old) == _without_status(new):
            return
        if self._passes(old, new, self._reconciler.predicate, self._reconciler.kind):
            self.queue.add(change.key)

    def _is_own_status(self, key: ObjectKey, obj: JSONObject) -> bool:
        """Tell whether this version is the answer to a status write of ours, and forget it and all older ones."""
        versions, version = self._own_status.get(key), obj["metadata"].get("resourceVersion", "")
        if versions is None:
            return False
        is_own = version in versions
        later = {known for known in versions if is_newer(known, version)}
        if later:
            self._own_status[key] = later
        else:
            del self._own_status[key]
        return is_own

    def _on_child(self, change: Change) -> None:
        for obj in (change.old, change.new):
            for key in self._parents(obj) if obj is not None else ():
                self.queue.add(key)

    def _parents(self, child: JSONObject) -> Iterable[ObjectKey]:
        owner = controller_of(child)
        if owner is not None:
            group, _, _ = owner.get("apiVersion", "").rpartition("/")
            if (group, owner.get("kind")) == (self.resource.group, self.resource.kind):
                namespace = child["metadata"].get("namespace", "") if self.resource.namespaced else ""
                yield ObjectKey(namespace, owner["name"])

    def _mapping(self, watch: Watch[Any]) -> Callable[[Change], None]:
        def listener(change: Change) -> None:
            if change.new is not None and not self._passes(change.old, change.new, watch.predicate, watch.kind):
                return
            for obj in (change.old, change.new):
                if obj is not None:
                    self._wake_mapped(watch, obj)

        return listener

    def _wake_mapped(self, watch: Watch[Any], obj: JSONObject) -> None:
        try:
            for key in watch.to(_typed(watch.kind, obj), self._reader):
                self.queue.add(key)
        except InvalidObject as error:
            _log.debug("%s: not mapped: %s", self._app.name, error)
        except Exception:  # noqa: BLE001 - user code: one object must not stop the others
            _log.exception(
                "%s: %s, which maps %s to %s, failed for %s; no %s was woken",
                self._app.name,
                getattr(watch.to, "__qualname__", watch.to),
                watch.kind.__name__,
                self.resource.kind,
                key_of(obj),
                self.resource.kind,
            )

    def _passes(self, old: JSONObject | None, new: JSONObject, predicate: Any, kind: type[Any]) -> bool:
        if predicate is None or old is None or _asked_again(old, new):
            return True
        if new["metadata"].get("deletionTimestamp") != old["metadata"].get("deletionTimestamp"):
            return True
        try:
            return bool(predicate(_typed(kind, old), _typed(kind, new)))
        except InvalidObject:
            return True  # the run will say what is wrong with it

    # One run ---------------------------------------------------------------------------------------------------------

    async def work(self) -> None:
        """Reconcile dirty keys, one at a time, until the queue is closed."""
        while True:
            try:
                key = await self.queue.get()
            except QueueClosed:
                return
            try:
                await self._reconcile(key)
            finally:
                self.queue.done(key)

    async def _reconcile(self, key: ObjectKey) -> None:
        self._terminal.discard(key)
        raw = self._caches.get(self.resource, key)
        if raw is None:
            self._forget(key)
            return
        if (raw["metadata"].get("annotations") or {}).get(ANNOTATION_PAUSED) == "true":
            _log.debug("%s %s is paused", self.resource.kind, key)
            return
        try:
            requeue = await self._run(key, raw)
        except Conflict as error:
            if isinstance(error, FieldManagerConflict):
                await self._failed(key, raw, error)
            else:
                _log.debug("%s %s: %s", self.resource.kind, key, error)
                self._run_at_once(key)
        except Exception as error:  # noqa: BLE001 - the outermost loop of user code: it is reported
            await self._failed(key, raw, error)
        else:
            self._events.release(self._scope(key))
            if requeue is not None and not requeue.after:
                self._run_at_once(key)
                return
            self._at_once.pop(key, None)
            self.queue.forget(key)
            if requeue is not None:
                self.queue.add_after(key, requeue.after)

    async def _run(self, key: ObjectKey, raw: JSONObject) -> Requeue | None:
        deleting = bool(raw["metadata"].get("deletionTimestamp"))
        ours = self._finalizer in (raw["metadata"].get("finalizers") or ())
        function = self._reconciler.finalize if deleting else self._reconciler.function
        if function is None or (deleting and not ours):
            return None  # what remains is the garbage collector's
        if self._reconciler.finalize is not None and not deleting and not ours:
            raw = await self._set_finalizers(key, raw, [*(raw["metadata"].get("finalizers") or ()), self._finalizer])
        obj = _typed(self._reconciler.kind, raw)
        before = _status_of(obj)
        children = Children(
            parent=raw,
            parent_resource=self.resource,
            owned=self._owned,
            api=self._api,
            live=self._caches,
            manager=self._app.name,
            sent=self._sent,
        )
        ctx = Context(
            key=key,
            obj=obj,
            reader=self._reader,
            children=children,
            events=self._events,
            api=self._api,
            clock=self._clock,
            log=_ObjectLog(logging.getLogger(f"operatorkit.operator.{self._app.name}"), f"{self.resource.kind} {key}"),
        )
        requeue = await self._call(function, obj, ctx, children, key, before)
        await self._write_status(key, raw, before, obj)
        if deleting and requeue is None:
            rest = [name for name in raw["metadata"].get("finalizers") or () if name != self._finalizer]
            await self._set_finalizers(key, raw, rest)
        return requeue

    async def _call(
        self, function: Any, obj: Any, ctx: Context, children: Children, key: ObjectKey, before: JSONObject
    ) -> Requeue | None:
        """Call the user's function and prune; what it said in the status is written even if that fails."""
        limit = self._app.settings.reconcile_timeout
        try:
            async with asyncio.timeout(limit.total_seconds()) as timer:
                result = await function(obj, ctx)
                await children.prune()
        except Exception as error:
            failure = _too_slow(limit) if isinstance(error, TimeoutError) and timer.expired() else error
            if isinstance(failure, TerminalError) and not failure.reported:
                _say_terminal(obj, ctx, failure)
            try:
                await self._write_status(key, write(obj), before, obj)
            except OperatorKitError as second:
                _log.warning("%s %s: its status was not written: %s", self.resource.kind, key, second)
            if failure is error:
                raise
            raise failure from error
        if result is not None and not isinstance(result, Requeue):
            raise OperatorKitError(
                f"the reconcile function returned {type(result).__name__}: return None, or Requeue(after=...)"
            )
        return result

    async def _write_status(self, key: ObjectKey, raw: JSONObject, before: JSONObject, obj: Any) -> None:
        after = _status_of(obj)
        if after == before:
            return
        meta = {"name": key.name, "uid": raw["metadata"]["uid"]}
        if key.namespace:
            meta["namespace"] = key.namespace
        body = {
            "apiVersion": self.resource.api_version,
            "kind": self.resource.kind,
            "metadata": meta,
            "status": after,
        }
        self._held[key] = []
        try:
            answer = await self._api.patch(
                self.resource,
                key.name,
                body,
                patch_type=PatchType.APPLY,
                namespace=key.namespace or None,
                subresource="status",
                field_manager=self._app.name,
                force=True,
            )
            self._own_status.setdefault(key, set()).add(answer["metadata"]["resourceVersion"])
            self._caches.put(self.resource, answer)
        except NotFound:
            return  # deleted meanwhile: nobody is left to read it
        finally:
            for change in self._held.pop(key):
                self._on_own(change)

    async def _set_finalizers(self, key: ObjectKey, raw: JSONObject, finalizers: list[str]) -> JSONObject:
        """Replace the finalizers, if the object is unchanged since it was read. Raises Conflict."""
        meta = {"finalizers": finalizers, "resourceVersion": raw["metadata"]["resourceVersion"]}
        try:
            answer = await self._api.patch(
                self.resource,
                key.name,
                {"metadata": meta},
                patch_type=PatchType.MERGE,
                namespace=key.namespace or None,
                field_manager=self._app.name,
            )
        except NotFound:
            return raw
        self._caches.put(self.resource, copy.deepcopy(answer))
        return answer

    # How it ended ----------------------------------------------------------------------------------------------------

    def _run_at_once(self, key: ObjectKey) -> None:
        """Run a key again without delay; with back-off when that happens too often in a row, so that nothing spins."""
        times = self._at_once[key] = self._at_once.get(key, 0) + 1
        if times <= _TIMES_AT_ONCE:
            self.queue.add(key)
        else:
            self.queue.retry(key)

    async def _failed(self, key: ObjectKey, raw: JSONObject, error: Exception) -> None:
        where = f"{self.resource.kind} {key}"
        if isinstance(error, TerminalError | InvalidObject):
            _log.warning("%s: %s: %s; waiting for a change", where, _reason(error), error)
            self._terminal.add(key)
            self.queue.drop(key)
        else:
            wait = self.queue.retry(key)
            _log.warning(
                "%s: reconcile failed, next try in %s: %s",
                where,
                _short(wait),
                error,
                exc_info=None if isinstance(error, OperatorKitError) else error,
            )
        if isinstance(error, _PASSING) or (isinstance(error, TerminalError) and error.reported):
            return
        notice = Notice(regarding=Reference.of(raw), type="Warning", reason=_reason(error), message=_message(error))
        await self._events.hold(self._scope(key), [notice])

    def _forget(self, key: ObjectKey) -> None:
        self.queue.drop(key)
        self._events.release(self._scope(key))
        self._events.release((self.resource, key))  # what reconcile functions hold: see EventRecorder.hold
        self._at_once.pop(key, None)
        self._own_status.pop(key, None)

    def _scope(self, key: ObjectKey) -> tuple[str, ApiResource, ObjectKey]:
        return ("operatorkit.runtime", self.resource, key)


def _status_of(obj: Any) -> JSONObject:
    """Return the status as it would be sent; for our own kinds without writing the rest of the object."""
    if isinstance(obj, Resource):
        return written(obj.status, f"the status of {obj.kind} {obj.key}") if obj.status is not None else {}
    return copy.deepcopy(write(obj).get("status") or {})


class _ObjectLog(logging.LoggerAdapter[logging.Logger]):
    """A log whose lines begin with the object they are about."""

    def __init__(self, logger: logging.Logger, subject: str) -> None:
        super().__init__(logger, {"object": subject})
        self._subject = subject

    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        return f"{self._subject}: {msg}", kwargs


def _typed(kind: type[Any], raw: JSONObject) -> Any:
    """Read an object for user code, without the managedFields that the cache keeps for itself."""
    meta = {name: value for name, value in raw["metadata"].items() if name != "managedFields"}
    return read(kind, {**raw, "metadata": meta})


def _too_slow(limit: timedelta) -> OperatorKitError:
    return OperatorKitError(
        f"the reconcile function did not return within {limit.total_seconds():g} s and was cancelled: give what it "
        f"waits for a shorter time, or return Requeue(after=...)"
    )


def _asked_again(old: JSONObject, new: JSONObject) -> bool:
    """Tell whether somebody set the annotation operatorkit.dev/reconcile-at, or un-paused the object."""
    before, after = (obj["metadata"].get("annotations") or {} for obj in (old, new))
    return any(before.get(name) != after.get(name) for name in (ANNOTATION_RECONCILE_AT, ANNOTATION_PAUSED))


def _without_status(obj: JSONObject) -> JSONObject:
    kept = {name: value for name, value in obj.items() if name != "status"}
    kept["metadata"] = {
        name: value for name, value in obj["metadata"].items() if name not in {"managedFields", "resourceVersion"}
    }
    return kept


def _say_terminal(obj: Any, ctx: Context, error: TerminalError) -> None:
    """Set Ready=False, where the kind has conditions and the function has not said so itself."""
    conditions = getattr(obj.status, "conditions", None)
    if not isinstance(conditions, list):
        return
    known = get_condition(conditions, "Ready")
    if known is None or (known.status, known.reason) != ("False", error.reason):
        ctx.condition("Ready", False, error.reason, str(error))


def _reason(error: Exception) -> str:
    if isinstance(error, TerminalError | ChildConflict):
        return error.reason
    return "InvalidObject" if isinstance(error, InvalidObject) else "ReconcileFailed"


def _message(error: Exception) -> str:
    """Say what failed; the text of a foreign exception may hold anything, so that is for the log only."""
    if isinstance(error, OperatorKitError):
        return str(error)
    return f"unexpected {type(error).__name__} in the reconcile function: see the operator's log"


def _short(wait: timedelta) -> str:
    seconds = wait.total_seconds()
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
