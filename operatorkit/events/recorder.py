"""The event recorder: when an Event is written, and what becomes of one that cannot be.

What belongs here: counting, holding, sending. What does not: what an Event says (`notices`), and
who was notified of what (`recipients`).

    occurrence ── combine (10th distinct message of a reason) ── series ── bucket ──> outbox ──> POST, or PATCH count
                                                                  │ empty bucket: counted, written later
    hold(scope) ── the cause lasts ── refresh() every 25 minutes ─┘

No caller waits for an Event: an API that is slow, or rejects Events, must not delay what they are
about. While `run` runs, it sends them, a few at a time, namespaces in turn; what fails is tried
again by the next refreshes, a few times.

The name of an Event is derived from what it says, so an operator that was restarted finds its own
Events and counts on.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from operatorkit.clock import Clock, format_micro_time, format_time
from operatorkit.cluster.api import ClusterAPI, JSONObject, PatchType
from operatorkit.errors import AlreadyExists, ClusterError, Conflict, NotFound
from operatorkit.events.notices import (
    FloodLimits,
    Notice,
    Reference,
    message_key,
    one_line,
)
from operatorkit.events.recipients import NAMESPACE_OF_CLUSTER_SCOPED, Recipients
from operatorkit.events.series import Series, Subject
from operatorkit.fairness import FairQueue
from operatorkit.kinds import EVENTS
from operatorkit.names import shorten

__all__ = ["EventRecorder"]

COMBINED_PREFIX = "(combined from similar events): "
_FIELD_MAX_LENGTH = 128
_NOT_IN_NAMES = re.compile(r"[^a-z0-9.-]+")
_SENDERS: Final = 4
_ROUNDS: Final = 3
_TRIES: Final = 5
_PROMPTLY_SECONDS: Final = 1.0
_LOG_EVERY_SECONDS: Final = 60.0
_ABOUTS_PER_SERIES: Final = 4
_LASTING: Final = frozenset({400, 403, 404, 422})

_log = logging.getLogger("operatorkit.events")


@dataclass(frozen=True, slots=True)
class _Recovery:
    """What those are to hear who were warned in relation to `about` before `moment`."""

    about: Reference
    namespace: str
    notice: Callable[[Reference], Notice]
    moment: int
    exists: Callable[[Reference], bool] | None


class EventRecorder:
    """Writes Events as one component of one process.

    Guarantees:

    - recording never raises ClusterError, and while `run` runs, waits for no request (but see
      `normal`): what a server rejects is logged, and what may pass later is tried again by the next
      occurrence, and by five refreshes at most,
    - the count of a series is the number of its occurrences, also of those that flood control kept
      from being written at once; what exceeds the memory is dropped, and `dropped` counts it,
    - safe to use from many tasks of one loop.

    Without `run`, an Event is written before `record` returns.
    """

    def __init__(
        self,
        api: ClusterAPI,
        *,
        component: str,
        instance: str,
        clock: Clock,
        limits: FloodLimits | None = None,
    ) -> None:
        self._api = api
        self._component = component
        self._instance = instance[:_FIELD_MAX_LENGTH]
        self._clock = clock
        self._limits = limits or FloodLimits()
        self._subjects: OrderedDict[str, Subject] = OrderedDict()
        self._series: OrderedDict[str, Series] = OrderedDict()
        self._held: dict[Hashable, dict[Hashable, Notice]] = {}
        self._recipients = Recipients(
            api,
            component=component,
            clock=clock,
            remembered=_ABOUTS_PER_SERIES * self._limits.remembered,
        )
        self._outbox: FairQueue[tuple[str, str]] = FairQueue(_namespace_of_entry)
        self._recoveries: OrderedDict[str, _Recovery] = OrderedDict()
        self._running = False
        self._healthy = True
        self._busy = 0
        self._more = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._failures = 0
        self._logged_at: float | None = None
        self.dropped: int = 0

    async def warning(
        self,
        regarding: Any,
        reason: str,
        message: str,
        *,
        key: str | None = None,
        action: str = "Reconcile",
        related: Any = None,
    ) -> None:
        """Record that something is wrong with `regarding`; say the remedy first."""
        await self.record(Notice.about("Warning", regarding, reason, message, key, action, related))

    async def normal(
        self,
        regarding: Any,
        reason: str,
        message: str,
        *,
        key: str | None = None,
        action: str = "Reconcile",
        related: Any = None,
        promptly: bool = False,
    ) -> None:
        """Record that something happened to `regarding`, as it should.

        With `promptly`, it is written before this returns, if the API takes it within a second and
        answered the one before: for what would be lost if the process died after the status that
        follows was written.
        """
        await self.record(
            Notice.about("Normal", regarding, reason, message, key, action, related),
            promptly=promptly,
        )

    async def record(self, notice: Notice, *, promptly: bool = False) -> None:
        """Count one occurrence, and write it unless its subject has had too many."""
        series, subject = self._count(notice)
        self._recipients.note(notice)
        # Counted before it is limited: the series keeps its number, and the next write that the
        # bucket allows carries all that was kept back. Dropping the occurrence instead would make
        # the count of an Event a lie, which people read as a rate.
        if not series.may_write(subject, self._clock.monotonic(), self._limits):
            return
        if promptly and self._running and self._healthy:
            try:
                async with asyncio.timeout(_PROMPTLY_SECONDS):
                    await self._flush(series)
            # One slow Event costs its run a second; without this, each of the next runs would pay
            # that too, one after the other, for as long as the Events API is slow (ADR 0018).
            except TimeoutError:
                self._healthy = False
        if series.pending:
            await self._submit(series)

    async def recovered(
        self,
        about: Any,
        reason: str,
        message: str,
        *,
        key: str | None = None,
        action: str = "Reconcile",
        namespace: str | None = None,
        exists: Callable[[Reference], bool] | None = None,
    ) -> None:
        """Record a Normal at all who were warned in relation to `about`, itself included, and not yet of the recovery.

        While `run` runs, this makes no request, and what an earlier process wrote is read later,
        once for a namespace. `exists` returns whether a recipient is still there; those that are
        not are left out.
        """
        subject = Reference.of(about)

        def notice(regarding: Reference) -> Notice:
            return Notice.about("Normal", regarding, reason, message, key, action, subject)

        where = namespace or subject.namespace or NAMESPACE_OF_CLUSTER_SCOPED
        recovery = _Recovery(subject, where, notice, self._recipients.moment(), exists)
        if not self._running or self._recipients.knows(where):
            await self._recover(recovery)
            return
        for reference in self._recipients.remembered(subject, where, before=recovery.moment):
            await self._record_recovery(recovery, reference)
        self._recoveries[subject.identity] = recovery
        while len(self._recoveries) > _ABOUTS_PER_SERIES * self._limits.remembered:
            self._recoveries.popitem(last=False)
            self.dropped += 1
        self._signal()

    async def hold(self, scope: Hashable, notices: Iterable[Notice]) -> None:
        """Declare the notices whose cause lasts, in place of all that `scope` held before.

        A notice that is new, or whose message or `occurrence` changed, is recorded; one that is
        held already is not, so this may be called in each reconcile. `refresh` keeps them alive
        until they are missing from a later call. A reconcile function holds in the scope
        (ApiResource of its kind, ObjectKey), which the engine releases when the object is gone.
        """
        before = self._held.pop(scope, {})
        wanted: dict[Hashable, Notice] = {
            (notice.regarding.identity, notice.type, notice.reason, message_key(notice)): notice
            for notice in notices
        }
        self._end(notice for identity, notice in before.items() if identity not in wanted)
        after = {
            identity: notice
            for identity, notice in wanted.items()
            if notice.repeats(before.get(identity))
        }
        if wanted:
            self._held[scope] = after
        for identity, notice in wanted.items():
            if identity not in after:
                after[identity] = (
                    notice  # not before its own turn: `refresh`, meanwhile, would count it too
                )
                await self.record(notice)
                if (
                    series := self._series.get(self._name(notice, message_key(notice)))
                ) is not None:
                    series.held = True

    def release(self, scope: Hashable) -> None:
        """Forget what `scope` holds: its Events live on until the server drops them."""
        self._end(self._held.pop(scope, {}).values())

    async def refresh(self) -> None:
        """Write again what is held and grew old, and what flood control or a failure kept back.

        Call it every minute or so; it makes no request when nothing is due.
        """
        for notice in [notice for held in self._held.values() for notice in held.values()]:
            series, _ = self._find(notice)
            # API servers drop Events after an hour (--event-ttl). A warning whose cause lasts must
            # be written again before that, or `kubectl describe` shows an object that fails without
            # a reason.
            series.over, series.held = False, True  # another scope may have ended the same series
            if series.written is None:  # forgotten, or kept back: the bucket decides
                series.pending = max(series.pending, 1)
            elif (
                self._clock.now() - series.written >= self._limits.refresh
                and not series.lock.locked()
            ):
                # Not one more: what waits for a slow API since the last refresh is this occurrence.
                series.pending = max(series.pending, 1)
                series.granted = True
                await self._submit(series)
        for series in [
            series
            for series in self._series.values()
            if series.pending and not series.over and not series.lock.locked()
        ]:
            subject = self._subject(series.notice.regarding)
            if series.may_write(subject, self._clock.monotonic(), self._limits):
                await self._submit(series)

    async def run(self, *, every: timedelta = timedelta(minutes=1)) -> None:
        """Send what is recorded, and call `refresh`, for ever; the engine runs this beside its workers."""
        self._running = True
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(_SENDERS):
                    group.create_task(
                        self._send(), name=f"{self._component}: sender {number} of Events"
                    )
                while True:
                    await self._clock.sleep(every.total_seconds())
                    await self.refresh()
        finally:
            self._running = False
            self._idle.set()

    async def idle(self) -> None:
        """Return when nothing is being sent or waits for a sender.

        What failed and waits for a refresh does not count, and without `run`, nothing does.
        """
        await self._idle.wait()

    async def _submit(self, series: Series) -> None:
        if not self._running:
            await self._flush(series)
            return
        self._outbox.push((_namespace(series.notice), series.name))
        self._signal()

    def _signal(self) -> None:
        self._idle.clear()
        self._more.set()

    async def _send(self) -> None:
        """Send what is in the outbox, and after that look for those who are to hear of a recovery."""
        while True:
            entry = self._outbox.pop()
            recovery = (
                self._recoveries.popitem(last=False)[1]
                if entry is None and self._recoveries
                else None
            )
            if entry is None and recovery is None:
                self._more.clear()
                if not self._busy:
                    self._idle.set()
                await self._more.wait()
                continue
            self._busy += 1
            try:
                if recovery is not None:
                    await self._recover(recovery)
                elif entry is not None and (series := self._series.get(entry[1])) is not None:
                    await self._flush(series)
            except Exception:  # noqa: BLE001 - one Event that cannot be sent must not stop the others
                _log.exception("an Event was not written")
            finally:
                self._busy -= 1

    async def _recover(self, recovery: _Recovery) -> None:
        try:
            recipients = await self._recipients.warned(
                recovery.about, recovery.namespace, before=recovery.moment
            )
        except ClusterError as error:
            self._log_failure("who was warned by an earlier process is not known", error)
            recipients = self._recipients.remembered(
                recovery.about, recovery.namespace, before=recovery.moment
            )
        for reference in recipients:
            await self._record_recovery(recovery, reference)

    async def _record_recovery(self, recovery: _Recovery, reference: Reference) -> None:
        if recovery.exists is None or recovery.exists(reference):
            await self.record(recovery.notice(reference))
        else:
            self._recipients.forget(recovery.about, reference)

    async def recipients(self, about: Any, *, namespace: str | None = None) -> list[Reference]:
        """Return who was warned by this component in relation to `about`, and not yet of the recovery.

        Those of `namespace` (of `about`, when None); its Events are listed once in the life of this
        recorder, for what earlier processes wrote. `about` itself is among them if it was warned.
        Raises ClusterError when they cannot be listed.
        """
        subject = Reference.of(about)
        return await self._recipients.warned(
            subject, namespace or subject.namespace or NAMESPACE_OF_CLUSTER_SCOPED
        )

    def _count(self, notice: Notice) -> tuple[Series, Subject]:
        series, subject = self._find(notice)
        series.pending += 1
        series.over = False
        return series, subject

    def _end(self, notices: Iterable[Notice]) -> None:
        """Note that what held notices say is so no longer."""
        for notice in notices:
            series = self._series.get(self._name(notice, message_key(notice)))
            if series is not None:
                series.over, series.held = True, False

    def _find(self, notice: Notice) -> tuple[Series, Subject]:
        """Return the series that `notice` belongs to now, combined or its own, and make it say the notice."""
        subject = self._subject(notice.regarding)
        key, message = message_key(notice), notice.message
        if subject.combines(notice, key, self._clock.monotonic(), self._limits):
            key, message = "combined", COMBINED_PREFIX + message
        name = self._name(notice, key)
        series = self._series.get(name)
        if series is None:
            series = self._series[name] = Series(name, notice)
        self._series.move_to_end(name)
        series.notice = replace(
            notice, message=one_line(message), reason=notice.reason[:_FIELD_MAX_LENGTH]
        )
        self._forget(but=series)
        return series, subject

    def _subject(self, regarding: Reference) -> Subject:
        subject = self._subjects.get(regarding.identity)
        if subject is None:
            subject = Subject(tokens=float(self._limits.burst), at=self._clock.monotonic())
            self._subjects[regarding.identity] = subject
        self._subjects.move_to_end(regarding.identity)
        while len(self._subjects) > self._limits.remembered:
            self._subjects.popitem(last=False)
        return subject

    def _forget(self, *, but: Series) -> None:
        """Drop the series unused for longest: quiet ones first, then such as wait to be written; none that is held."""
        excess = len(self._series) - self._limits.remembered
        if excess <= 0:
            return
        for name in [
            name for name, series in self._series.items() if series.is_quiet and series is not but
        ][:excess]:
            del self._series[name]
        excess = len(self._series) - 2 * self._limits.remembered
        if excess <= 0:
            return
        waiting = [
            one
            for one in self._series.values()
            if not one.held and not one.lock.locked() and one is not but
        ]
        for series in waiting[:excess]:
            self.dropped += series.pending
            self._outbox.discard((_namespace(series.notice), series.name))
            del self._series[series.name]

    def _name(self, notice: Notice, key: str) -> str:
        facts = [self._component, notice.regarding.identity, notice.type, notice.reason, key]
        digest = hashlib.sha256("\0".join(facts).encode()).hexdigest()[:16]
        labels = (
            label.strip("-")
            for label in _NOT_IN_NAMES.sub("-", notice.regarding.name.lower()).split(".")
        )
        readable = ".".join(label for label in labels if label) or "object"
        return f"{shorten(readable, 200)}.{digest}"

    async def _flush(self, series: Series) -> None:
        async with series.lock:
            added = series.pending
            if not added:
                return
            begun = self._clock.now()
            series.granted = False
            try:
                while added:
                    written = await self._write(series, added)
                    series.pending -= written
                    added -= written
            except ValueError:  # no request can be made of it: it will never be possible
                series.pending -= added
                raise
            except asyncio.CancelledError:
                series.granted = True
                raise
            except ClusterError as error:
                series.granted = True  # the next try: a slow or failing API must not use up tokens
                series.tries += 1
                self._healthy = error.code not in {0, 429} and error.code < 500  # it answers
                if error.code in _LASTING or series.tries >= _TRIES:
                    self.dropped += added
                    series.pending -= added
                    series.tries = 0
                    series.granted = False
                    series.unanswered.clear()
                about = f"{series.notice.regarding.kind} {series.notice.regarding.name}"
                again = "yet" if series.pending else "and will not be"
                self._log_failure(
                    f"the Event {series.notice.reason} about {about} was not written {again}", error
                )
            else:
                series.written = begun
                series.tries = 0
                self._healthy = True

    def _log_failure(self, text: str, error: ClusterError) -> None:
        """Log a failure, and until a minute has passed only count others: they come by the thousand."""
        now = self._clock.monotonic()
        if self._logged_at is not None and now - self._logged_at < _LOG_EVERY_SECONDS:
            self._failures += 1
            return
        others = (
            f" ({self._failures} others failed since the last such message)"
            if self._failures
            else ""
        )
        _log.warning("%s: %s%s", text, error, others)
        self._logged_at, self._failures = now, 0

    async def _write(self, series: Series, added: int) -> int:
        """Create the Event, or count on where it exists, also when another process changed or the server dropped it.

        Return how many occurrences the server has of it now: fewer than `added` where an earlier write without an
        answer turns out to have arrived.
        """
        namespace = _namespace(series.notice)
        problem: ClusterError | None = None
        for _ in range(_ROUNDS):
            body = self._increment(series, added) if series.live else self._new(series, added)
            try:
                if series.live:
                    answer = await self._api.patch(
                        EVENTS, series.name, body, patch_type=PatchType.MERGE, namespace=namespace
                    )
                else:
                    answer = await self._api.create(EVENTS, body, namespace=namespace)
            except AlreadyExists as error:
                problem = error
                with suppress(NotFound):  # the server dropped it at this very moment
                    found = await self._api.get(EVENTS, series.name, namespace=namespace)
                    series.learn(found)
                    if arrived := series.arrived(found):
                        return arrived
            except Conflict as error:
                problem = error
                series.live = False
            except NotFound as error:
                problem = error
                if not series.live:
                    raise  # the namespace is gone
                series.live = False
            except (ClusterError, asyncio.CancelledError):
                series.unanswered.append((body, added))
                raise
            else:
                series.unanswered.clear()
                series.learn(answer)
                return added
        assert problem is not None
        raise problem

    def _new(self, series: Series, added: int) -> JSONObject:
        notice, now = series.notice, self._clock.now()
        event: JSONObject = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": series.name,
                "namespace": _namespace(notice),
            },
            "involvedObject": notice.regarding.write(),
            "type": notice.type,
            "reason": notice.reason,
            "message": notice.message,
            "action": notice.action[:_FIELD_MAX_LENGTH],
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": self._instance,
            "eventTime": format_micro_time(series.first or now),
            "firstTimestamp": format_time(series.first or now),
            "lastTimestamp": format_time(now),
            "count": series.count + added,
        }
        if notice.related is not None:
            event["related"] = notice.related.write()
        if event["count"] > 1:
            event["series"] = {"count": event["count"], "lastObservedTime": format_micro_time(now)}
        return event

    def _increment(self, series: Series, added: int) -> JSONObject:
        """Return the merge patch that counts on; `related` may be an object of the same name recreated."""
        now, count = self._clock.now(), series.count + added
        related = series.notice.related
        return {
            "related": related.write() if related is not None else None,
            "metadata": {"resourceVersion": series.resource_version},
            "message": series.notice.message,
            "lastTimestamp": format_time(now),
            "count": count,
            "series": {"count": count, "lastObservedTime": format_micro_time(now)},
            "reportingInstance": self._instance,
        }


def _namespace(notice: Notice) -> str:
    return notice.regarding.namespace or NAMESPACE_OF_CLUSTER_SCOPED


def _namespace_of_entry(entry: tuple[str, str]) -> str:
    return entry[0]
