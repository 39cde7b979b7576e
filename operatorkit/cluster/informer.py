"""A cache that follows the API server: list once, then watch for ever.

         ┌───── Gone, broken off, failed, doubt, time for another list ─────┐
         ▼                                                                  │
    list in pages ──► sweep ──► watch from the list's version ──► event, bookmark ──┐
         ▲                          ▲                │ ended politely        ▲      │
         └── back-off ◄── failed    └── still the same server? ◄────┘        └──────┘

A watch that ended politely goes on from the last version, if the server still has the newest object
that it brought; after every other end a list shows what is there now: see
`operatorkit.cluster.history`. A watch that is silent is not left alone either: while it is open, a
probe asks for the same object.

What belongs here: keeping a `Cache` in step and notifying subscribers. What does not: what to do
about a change (`operatorkit._runtime`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from contextlib import aclosing
from typing import Any, Final, cast

from operatorkit.clock import Clock, within
from operatorkit.cluster._following import is_from_the_future, pause_seconds, version_of
from operatorkit.cluster._jitter import JITTER
from operatorkit.cluster.api import ClusterAPI, JSONObject, ObjectList, WatchEvent
from operatorkit.cluster.cache import Cache, Change, key_of
from operatorkit.cluster.history import History, Sign
from operatorkit.cluster.versions import is_newer, went_back
from operatorkit.errors import ClusterError, Gone, NotFound, Throttled, Timeout, Unreachable
from operatorkit.names import ApiResource, ObjectKey

__all__ = ["Informer"]

_log = logging.getLogger("operatorkit.cluster")

_PAGE: Final = 500
_LONG_WATCH_SECONDS: Final = 5.0
_POISONED_TRIES: Final = 2
_PROBE_TIMEOUT_SECONDS: Final = 10.0
_LAG_SECONDS: Final = 5.0  # within which a watch brings what a list shows already
_BOOKMARK_OVERDUE_SECONDS: Final = 75.0  # kube-apiserver sends one each minute


class Informer:
    """Follows the objects of one kind, in one namespace or all, into `cache`.

    Guarantees:

    - subscribers see every state that lasts: what was missed while the watch was down comes as one
      change after it (two, for an object that was deleted and recreated), and objects deleted
      meanwhile come as DELETED,
    - and every state that an own write made, as soon as `put` has the answer: none is left out,
    - at most one list or watch at a time, and never two without a pause (jittered, doubling to 30
      seconds while it fails), beside a small request while the watch is silent: about one in 15
      seconds for all informers of a `history`,
    - a server that was replaced or restored is noticed when contact was lost, when a probe shows
      it, or at the next full list; every informer of the same `history` then lists, and the cache
      holds what that server has,
    - a connection that carries nothing any more is given up after 90 seconds, within 30 where the
      server does not answer a probe either,
    - a failure is logged once, and once more when it is over; `error` holds it while it lasts,
    - an object that cannot be read is logged and left out; the others go on.
    """

    def __init__(
        self,
        api: ClusterAPI,
        resource: ApiResource,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        clock: Clock,
        transform: Callable[[JSONObject], JSONObject] | None = None,
        history: History | None = None,
        selects: Callable[[JSONObject], bool] | None = None,
        metadata_only: bool = False,
    ) -> None:
        self.resource = resource
        self.cache: Cache = Cache(transform=transform)
        self.error: ClusterError | None = None
        self._silent_since: float | None = None
        self._api = api
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._selects = selects
        self._options: dict[str, Any] = {"metadata_only": True} if metadata_only else {}
        self._clock = clock
        self._callbacks: list[Callable[[Change], None]] = []
        self._history = history if history is not None else History(clock)
        self._version = ""
        self._must_list = True  # whether the next watch needs a complete list before it
        self._must_probe = False  # whether it needs to know first that the server is still the same
        self._list_at: float | None = None  # when a list is due though nothing seems wrong
        self._heard = False  # whether the watch of this round brought anything
        self._heard_at = 0.0  # when the server was last known to answer
        self._watched_since: float | None = None  # when the watch of this round began
        self._open: asyncio.Timeout | None = None  # ends the open watch
        self._in_contact = False  # whether a watch has worked since the last failure
        self._newest: tuple[ObjectKey, str, str] | None = (
            None  # see `Cache.newest`, which takes longer
        )
        self._hurry = asyncio.Event()
        self._logged = ""  # the failure that was logged last, until it is over
        self._ended_by: ClusterError | None = None
        self._vain = 0  # rounds without progress, one after the other
        self._poisoned = 0  # frames that could not be read, one after the other
        self._invalid: set[ObjectKey] = set()
        self._synced = asyncio.Event()
        self._waiters: list[tuple[str, asyncio.Future[None]]] = []

    @property
    def has_synced(self) -> bool:
        """Whether the first list is complete: before, the cache lacks objects."""
        return self._synced.is_set()

    @property
    def silent_since(self) -> float | None:
        """When the server was last known to answer, by the clock's `monotonic`, while it does not; else None.

        It is set from the first failure of a list or watch, before `error` is (a watch that breaks
        off once is no error), until a list is complete or a watch brings something. A quiet watch
        is not silent: see `run`.
        """
        return self._silent_since

    @property
    def resource_version(self) -> str:
        """The version up to which the cache is complete, or "" before the first list."""
        return self._version if self.has_synced else ""

    async def synced(self) -> None:
        """Return when the first list is in the cache."""
        await self._synced.wait()

    async def wait_for(self, resource_version: str) -> None:
        """Return when the watch is past `resource_version`, which must be of an object that this informer follows."""
        if self.resource_version and not is_newer(resource_version, self._version):
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append((resource_version, waiter))
        try:
            await waiter
        finally:
            self._waiters = [each for each in self._waiters if each[1] is not waiter]

    def subscribe(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        """Call `callback` with each change, beginning with an ADDED for each object known now; return how to stop.

        The callback must be quick and must not block. One that raises is logged and called again
        next time.
        """
        for change in self.cache.known():
            _call(callback, change)
        self._callbacks.append(callback)

        def unsubscribe() -> None:
            with contextlib.suppress(ValueError):
                self._callbacks.remove(callback)

        return unsubscribe

    def put(self, obj: JSONObject) -> bool:
        """Let readers see the server's answer to an own write at once, if this informer follows the object.

        With a selector, only objects that are in the cache already are taken: the watch knows the
        others. Not so where `selects` returns, for an object, whether the selector finds it.
        """
        key = key_of(obj)
        if self._namespace is not None and key.namespace != self._namespace:
            return False
        if self._selects is not None:
            if not self._selects(obj):
                return False
        elif (self._label_selector or self._field_selector) and key not in self.cache:
            return False
        return self.cache.put(obj)

    def relist(self) -> None:
        """End the watch, if one is open, and list in full before the next: the history is in doubt."""
        self._must_list = True
        self._end_watch()

    def hurry(self) -> None:
        """End a pause after failures: the server answers again."""
        self._hurry.set()

    def delete(self, key: ObjectKey, uid: str) -> bool:
        """Let readers see at once that an object which we deleted is gone, if this informer follows it."""
        return self.cache.hide(key, uid)

    async def run(self) -> None:
        """Follow for ever. Cancel it to stop; when it is run again, it lists what it missed."""
        self._must_list = True
        with self._history.followed_by(self):
            while True:
                self._heard, self._watched_since = False, None
                failure: ClusterError | None = None
                try:
                    await self._follow()
                except ClusterError as error:
                    failure = error
                # a list that came to no watch came to nothing, however new its version is
                self._vain = 0 if self._watch_worked() else self._vain + 1
                if self._vain == 0:
                    self._in_contact, self._logged = True, ""
                if failure is not None and self._go_on_after(failure):
                    continue
                await self._pause(pause_seconds(self._vain, failure))

    def _watch_worked(self) -> bool:
        """Return whether the watch of this round brought anything, or was open for long."""
        since = self._watched_since
        return self._heard or (
            since is not None and self._clock.monotonic() - since >= _LONG_WATCH_SECONDS
        )

    async def _follow(self) -> None:
        """List or probe where that is needed, then watch until that ends."""
        # A watch that goes on at a version of another history, after etcd was restored from a backup,
        # misses every change without an error. A probe of one object shows it (ADR 0012).
        if self._must_probe and not self._must_list:
            await self._probe_before_watch()
        self._must_probe = False
        while self._must_list or self._is_list_due():
            await self._list()
        await self._watch()
        self._must_probe = True

    def _go_on_after(self, error: ClusterError) -> bool:
        """Decide what a failure means for the next round; say whether that may begin without a pause."""
        # 410 Gone is the ordinary end of a version that the server has compacted: list at once. But a
        # server that answers 410 to a version which it has just returned would make this a hot loop.
        if isinstance(error, Gone):
            self._must_list = True
            return self._vain <= 1
        if self._silent_since is None:
            self._silent_since = self._heard_at or self._clock.monotonic()
        self._history.failed(self, error)
        worked = self._watch_worked()
        if error.reason == "UnreadableFrame":
            self._poisoned += 1
            self._must_list = self._must_list or self._poisoned >= _POISONED_TRIES
        elif isinstance(error, Throttled):
            # No list: a server under load that every informer lists from stays under load.
            self._must_probe = True  # it answers, but who knows which server it is
        else:
            self._must_list = True
            # a kind that is not served any more says nothing of the others: its definition was deleted
            # A connection that breaks is the one moment at which a server can be exchanged
            # unnoticed. Not every failure is a sign, though: while the server is away, each attempt
            # fails, and each would make all informers list.
            is_sign = (self._in_contact and not isinstance(error, NotFound)) or is_from_the_future(
                error
            )
            if is_sign and not self._history.is_pending(self):
                self._history.doubt(f"{self.resource.qualified}: {error}")
            self._in_contact = False
        if not (
            worked and isinstance(error, Unreachable | Timeout)
        ):  # a watch may end so; the next one shows
            self._trouble(error)
        return False

    def _is_list_due(self) -> bool:
        return self._list_at is not None and self._clock.monotonic() >= self._list_at

    async def _pause(self, seconds: float) -> None:
        self._hurry.clear()
        with contextlib.suppress(TimeoutError):
            await within(self._clock, seconds, self._hurry.wait())

    async def _list(self) -> None:
        """Take in a complete list, page by page, then drop what it does not have."""
        try:
            epoch = await self._list_pages(_PAGE)
        # A continue token expires with the version that it pages through (410 after 5 minutes by
        # default). Starting the pages again would meet the same end on the same large kind;
        # client-go's pager falls back to one full list, too.
        except Gone:  # the list took longer than the server keeps history: take it in one piece
            epoch = await self._list_pages(None)
        self._answered()
        self._must_list, self._poisoned = epoch != self._history.epoch, 0
        within = self._history.relist_in_seconds()
        self._list_at = None if within is None else self._clock.monotonic() + within
        self._newest = None
        self._synced.set()
        self._signal()
        self._history.listed(self, epoch)

    async def _list_pages(self, limit: int | None) -> int:
        """Take in a list; return the epoch of the history in which it began.

        Where a page shows that the server has another history, it is believed from there on, and
        begun again if pages before were not.
        """
        epoch, before, latest = self._history.epoch, self._version, self.cache.answered_version()
        listed: set[ObjectKey] = set()
        token = ""
        while True:
            page = await self._api.list(
                self.resource,
                namespace=self._namespace,
                label_selector=self._label_selector,
                field_selector=self._field_selector,
                limit=limit,
                continue_token=token,
                **self._options,
            )
            self._heard_at = self._clock.monotonic()
            sign = self._contradiction(page, before, latest) if before else ""
            if sign:
                epoch, before = self._believe_another_history(sign), ""
                if token:
                    token = ""
                    listed.clear()
                    continue
            for obj in page.items:
                listed.update(self._take(obj, listed=True))
            token = page.continue_token
            if not token:
                break
        self._notify(self.cache.sweep(listed, page.resource_version))
        self._version = page.resource_version
        return epoch

    def _believe_another_history(self, sign: str) -> int:
        """Take whatever is listed from now on for true; return the epoch that has begun."""
        _log.warning(
            "%s: the history of the API server was reset (%s): listing all objects again",
            self.resource.qualified,
            sign,
        )
        self._notify(self.cache.forget_versions())
        self._version = ""
        if not self._history.is_pending(self):
            self._history.doubt(f"{self.resource.qualified}: {sign}")
        return self._history.epoch

    def _contradiction(self, page: ObjectList, before: str, latest: str) -> str:
        """Return why a list cannot be from the history that was followed up to `before`, or "".

        That history has no lower version than it had, neither of the list nor of an object; and
        whatever it holds with a version up to `before` was seen.
        """
        version = page.resource_version
        for known in (before, latest):
            if went_back(version, known):
                return f"version {version} after {known}"
        if not before.isdecimal():
            return ""
        limit = int(before)
        for obj in page.items:
            metadata = obj.get("metadata") or {}
            found = str(metadata.get("resourceVersion") or "")
            if not found.isdecimal() or not metadata.get("name"):
                continue
            key = key_of(obj)
            answered = self.cache.read_version(key)
            if went_back(found, answered) and not is_newer(answered, version):
                return f"{key} is at version {found} after {answered}"
            if int(found) > limit:
                continue
            seen = self.cache.notified_version(key)
            if seen != (found, metadata.get("uid") or "") and key not in self._invalid:
                was = "was not there" if seen is None else f"was another object, or at {seen[0]},"
                return f"{key} is at version {found} and {was} at {before}"
        return ""

    async def _probe_before_watch(self) -> None:
        """Make sure that a watch may go on where the last one ended; else let the next round begin with a list."""
        sign = await self._probe()
        if sign is None:
            return
        self._must_list = True
        if sign.replaced:
            self._history.doubt(f"{self.resource.qualified}: {sign.text}")

    async def _probe(self) -> Sign | None:
        """Ask for the newest object that was brought; return what speaks against the server's being the same.

        A server that was replaced or restored hardly has it, in the same version and with the same
        uid.
        """
        newest = self._newest = self._newest or self.cache.newest()
        key = newest[0] if newest is not None else None
        by_name = f"metadata.name={key.name}" if key is not None else ""
        page = await self._api.list(
            self.resource,
            namespace=(key.namespace if key is not None else "") or self._namespace,
            label_selector=self._label_selector,
            field_selector=",".join(dict.fromkeys(filter(None, (self._field_selector, by_name)))),
            limit=1,
            **self._options,
        )
        return self._sign_of(page, newest)

    def _sign_of(self, page: ObjectList, newest: tuple[ObjectKey, str, str] | None) -> Sign | None:
        if went_back(page.resource_version, self._version):
            return Sign(
                f"it is at version {page.resource_version} after {self._version}", replaced=True
            )
        if newest is None:
            seen = any(
                not is_newer(version_of(obj), self._version)
                for obj in page.items
                if self._version.isdecimal()
            )
            return Sign("it has what was not there before", replaced=True) if seen else None
        key, version, uid = newest
        found = next((obj["metadata"] for obj in page.items if key_of(obj) == key), None)
        if found is None or (found.get("uid") or "") != uid:
            return Sign(f"{key} is not there any more", replaced=True)
        now = str(found.get("resourceVersion") or "")
        if went_back(now, version):
            return Sign(f"{key} is at version {now} after {version}", replaced=True)
        return None if now == version else Sign(f"{key} has changed", replaced=False)

    async def _watch(self) -> None:
        """Take in what the watch brings until it ends, is ended by `_end_watch`, or has been silent for too long."""
        events = self._api.watch(
            self.resource,
            resource_version=self._version,
            namespace=self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            **self._options,
        )
        self._watched_since = self._heard_at = self._clock.monotonic()
        self._ended_by = None
        guard = asyncio.create_task(
            self._guard(), name=f"guard of the watch of {self.resource.qualified}"
        )
        timer = self._open = asyncio.timeout(None)
        try:
            async with timer, aclosing(cast("Any", events)):
                async for event in events:
                    self._recovered()
                    self._on_event(event)
                    self._heard = True
        except TimeoutError:
            if not timer.expired():
                raise
            if self._ended_by is not None:
                raise self._ended_by from None
        finally:
            self._open = None
            guard.cancel()
            await asyncio.gather(
                guard, return_exceptions=True
            )  # a cancellation of this task is not lost in it

    def _end_watch(self, error: ClusterError | None = None) -> None:
        """End the open watch, with `error` as what ended it."""
        if self._open is not None and not self._open.expired():
            self._ended_by = error
            self._open.reschedule(asyncio.get_running_loop().time())

    async def _guard(self) -> None:
        """End the watch when it brings nothing although there is something, or for too long; or when a list is due."""
        every = self._history.probe_every
        while True:
            pauses = [self._list_at - self._clock.monotonic()] if self._list_at is not None else []
            if every is not None:
                pauses.append(every.total_seconds() * JITTER.uniform(0.75, 1.0))
            if not pauses:
                return
            await self._clock.sleep(max(0.0, min(pauses)))
            if self._is_list_due():
                self._end_watch()
                return
            if every is None:
                continue
            silent = self._clock.monotonic() - self._heard_at
            if silent >= _BOOKMARK_OVERDUE_SECONDS:
                _log.debug(
                    "%s: the watch receives nothing: opening another", self.resource.qualified
                )
                self._end_watch()
                return
            # the informers probe in turn: one without news requests for all
            if silent >= every.total_seconds() * 0.7 and self._history.may_probe():
                await self._probe_beside_watch()

    async def _probe_beside_watch(self) -> None:
        """End the watch when the server does not answer, or has what the watch does not bring."""
        before = self._version
        try:
            sign = await within(self._clock, _PROBE_TIMEOUT_SECONDS, self._probe())
        except TimeoutError:
            what = f"{self.resource.qualified}: no answer to a probe within {_PROBE_TIMEOUT_SECONDS:g} s"
            self._end_watch(Timeout(what, code=0))
            return
        except Throttled:
            return
        except ClusterError as error:
            self._end_watch(error)
            return
        if sign is None:
            return
        await self._clock.sleep(_LAG_SECONDS)
        if self._version == before:  # else the watch has brought it meanwhile
            _log.debug(
                "%s: the watch receives nothing, although %s: opening another",
                self.resource.qualified,
                sign.text,
            )
            self._end_watch()

    def _on_event(self, event: WatchEvent) -> None:
        metadata = event.object.get("metadata")
        version = str(metadata.get("resourceVersion") or "") if isinstance(metadata, dict) else ""
        if went_back(version, self._version):
            self._history.doubt(
                f"{self.resource.qualified}: the watch is at version {version}, after {self._version}"
            )
            raise Gone(f"the watch is at version {version}, after {self._version}")
        if event.type in {"ADDED", "MODIFIED"}:
            keys = self._take(event.object)
            self._newest = (
                (keys[0], version, metadata.get("uid") or "") if keys and metadata else None
            )
        elif event.type == "DELETED":
            self._newest = None
            try:
                key = key_of(event.object)
            except ValueError as error:
                _log.error("%s: %s: skipped", self.resource.qualified, error)
            else:
                self._notify(self.cache.remove(key, event.object, version=version))
        self._heard_at = self._clock.monotonic()
        if version:
            self._version = version
            self.cache.note(version)
            self._signal()

    def _take(self, obj: JSONObject, *, listed: bool = False) -> list[ObjectKey]:
        """Put an object into the cache and return its key, in a list; one without a name is logged and skipped."""
        try:
            key = key_of(obj)
        except ValueError as error:
            _log.error("%s: %s: skipped", self.resource.qualified, error)
            return []
        try:
            changes = self.cache.update(obj, key, listed=listed)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one object must not stop the others
            _log.error(
                "%s: %s cannot be read: %r: the cached object is kept",
                self.resource.qualified,
                key,
                error,
            )
            self._invalid.add(key)
        else:
            self._notify(changes)
        return [key]

    def _notify(self, changes: Iterable[Change]) -> None:
        for change in changes:
            for callback in tuple(self._callbacks):
                _call(callback, change)

    def _signal(self) -> None:
        for version, waiter in self._waiters:
            if not waiter.done() and not is_newer(version, self._version):
                waiter.set_result(None)

    def _trouble(self, error: ClusterError) -> None:
        self.error = error
        if self._logged != str(error):
            _log.warning("%s: %s; trying again", self.resource.qualified, error)
        self._logged = str(error)

    def _answered(self) -> None:
        """Note that a list is complete, which a watch that fails again and again does not make a recovery."""
        self._silent_since = None
        self.error = None

    def _recovered(self) -> None:
        self._answered()
        if self._logged:
            self._logged = ""
            _log.info("%s: following the API server again", self.resource.qualified)


def _call(callback: Callable[[Change], None], change: Change) -> None:
    try:
        callback(change)
    except Exception:  # noqa: BLE001 - the others must still be notified
        _log.exception("a subscriber failed on %s %s", change.type, change.key)
