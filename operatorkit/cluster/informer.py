"""A cache that follows the API server: list once, then watch for ever.

         ┌──────────────── Gone, or a history that was reset ───────────────┐
         ▼                                                                  │
    list in pages ──► sweep ──► watch from the list's version ──► event, bookmark ──┐
         ▲                          ▲        │ ended or broken                ▲     │
         └── back-off ◄── failed    └── back-off, from the last version seen  └─────┘

What belongs here: keeping a `Cache` in step and telling subscribers. What does not: what to do about a change
(`operatorkit._runtime`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Iterable
from contextlib import aclosing
from typing import Any, Final, cast

from operatorkit.clock import Clock
from operatorkit.cluster.api import ClusterAPI, JSONObject, WatchEvent
from operatorkit.cluster.cache import Cache, Change, key_of
from operatorkit.cluster.versions import is_newer, went_back
from operatorkit.errors import ClusterError, Gone, Timeout, Unreachable
from operatorkit.names import ApiResource, ObjectKey

__all__ = ["Informer"]

_log = logging.getLogger("operatorkit.cluster")

_PAGE: Final = 500
_BACK_OFF_BASE_SECONDS: Final = 0.1
_BACK_OFF_LIMIT_SECONDS: Final = 30.0
_LONG_WATCH_SECONDS: Final = 5.0
_POISONED_TRIES: Final = 2


class Informer:
    """Follows the objects of one kind, in one namespace or all, into `cache`.

    Guarantees:

    - subscribers see every state that lasts: what was missed while the watch was down comes as one change after it
      (two, for an object that was deleted and made anew), and objects deleted meanwhile come as DELETED,
    - and every state that a write of ours made, as soon as `put` is told of it: none is passed over,
    - at most one request at a time, and never two without a pause (jittered, doubling to 30 seconds while it fails),
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
        selects: Callable[[JSONObject], bool] | None = None,
        metadata_only: bool = False,
    ) -> None:
        self.resource = resource
        self.cache: Cache = Cache(transform=transform)
        self.error: ClusterError | None = None
        self._api = api
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._selects = selects
        self._options: dict[str, Any] = {"metadata_only": True} if metadata_only else {}
        self._clock = clock
        self._callbacks: list[Callable[[Change], None]] = []
        self._version = ""
        self._listed = False  # whether the cache is complete as of `_version`, so that a watch can go on from there
        self._was_away = False  # whether the server may have been reset since we heard from it
        self._heard = False  # whether the watch of this round brought anything
        self._vain = 0  # rounds without progress, one after the other
        self._poisoned = 0  # frames that could not be read, one after the other
        self._synced = asyncio.Event()
        self._waiters: list[tuple[str, asyncio.Future[None]]] = []

    @property
    def has_synced(self) -> bool:
        """Whether the first list is complete: before, the cache lacks objects."""
        return self._synced.is_set()

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

        The callback must be quick and must not block. One that raises is logged and called again next time.
        """
        for change in self.cache.told():
            _call(callback, change)
        self._callbacks.append(callback)

        def unsubscribe() -> None:
            with contextlib.suppress(ValueError):
                self._callbacks.remove(callback)

        return unsubscribe

    def put(self, obj: JSONObject) -> bool:
        """Let readers see the server's answer to a write of ours at once, if this informer follows the object.

        With a selector, only objects that are in the cache already are taken: the watch knows the others. Not so
        where `selects` tells, of an object, whether the selector finds it.
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

    async def run(self) -> None:
        """Follow for ever. Cancel it to stop; it may be run again and goes on where it was."""
        self._was_away = self._listed
        while True:
            started, before = self._clock.monotonic(), self._version
            self._heard = False
            failure: ClusterError | None = None
            try:
                await self._follow()
            except ClusterError as error:
                failure = error
            # a list that the watch then calls expired came to nothing, however new its version is
            moved = self._heard if isinstance(failure, Gone) else self._version != before
            if moved or self._clock.monotonic() - started >= _LONG_WATCH_SECONDS:
                self._vain = 0  # it came to something
            else:
                self._vain += 1
            if failure is not None and self._go_on_after(failure):
                continue
            await self._clock.sleep(_pause_seconds(self._vain))

    async def _follow(self) -> None:
        """List where that is needed, then watch until that ends."""
        if self._listed and self._was_away:
            await self._look_for_a_reset()
        if not self._listed:
            await self._list()
        self._was_away = False
        await self._watch()

    def _go_on_after(self, error: ClusterError) -> bool:
        """Decide what a failure means for the next round; say whether that may begin without a pause."""
        if isinstance(error, Gone):
            self._listed = False
            return self._vain <= 1
        self._was_away = self._was_away or isinstance(error, Unreachable)
        self._poisoned = self._poisoned + 1 if error.reason == "UnreadableFrame" else 0
        if self._poisoned >= _POISONED_TRIES or _is_from_the_future(error):
            self._listed, self._poisoned = False, 0
        broke_off = isinstance(error, Unreachable) and self._vain == 0
        fell_silent = isinstance(error, Timeout) and self._vain <= 1
        if not self._listed or not (broke_off or fell_silent):  # a watch that worked may end so; the next will tell
            self._trouble(error)
        return False

    async def _list(self) -> None:
        """Take in a complete list, page by page, then drop what it does not have."""
        try:
            await self._list_pages(_PAGE)
        except Gone:  # the list took longer than the server keeps history: take it in one piece
            await self._list_pages(None)
        self._recovered()
        self._listed = True
        self._synced.set()
        self._wake()

    async def _list_pages(self, limit: int | None) -> None:
        listed: set[ObjectKey] = set()
        token = ""
        first = True
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
            if first and went_back(page.resource_version, self._version):
                _log.warning(
                    "%s: the API server's history was reset (version %s after %s): reading everything anew",
                    self.resource.qualified,
                    page.resource_version,
                    self._version,
                )
                self._tell(self.cache.forget_versions())
            first = False
            for obj in page.items:
                listed.update(self._take(obj, listed=True))
            token = page.continue_token
            if not token:
                break
        self._tell(self.cache.sweep(listed, page.resource_version))
        self._version = page.resource_version

    async def _look_for_a_reset(self) -> None:
        """Raise Gone when the server, which was away, came back with an earlier version than it had.

        A watch from a version that is yet to come would be accepted, and stay silent.
        """
        page = await self._api.list(
            self.resource,
            namespace=self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            limit=1,
            **self._options,
        )
        if went_back(page.resource_version, self._version):
            raise Gone(f"the API server is at version {page.resource_version}, after {self._version}")

    async def _watch(self) -> None:
        events = self._api.watch(
            self.resource,
            resource_version=self._version,
            namespace=self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            **self._options,
        )
        async with aclosing(cast("Any", events)):
            async for event in events:
                self._recovered()
                self._on_event(event)
                self._heard = True

    def _on_event(self, event: WatchEvent) -> None:
        metadata = event.object.get("metadata")
        version = str(metadata.get("resourceVersion") or "") if isinstance(metadata, dict) else ""
        if went_back(version, self._version):
            raise Gone(f"the watch is at version {version}, after {self._version}")
        if event.type in {"ADDED", "MODIFIED"}:
            self._take(event.object)
        elif event.type == "DELETED":
            try:
                key = key_of(event.object)
            except ValueError as error:
                _log.error("%s: %s: skipped", self.resource.qualified, error)
            else:
                self._tell(self.cache.remove(key, event.object, version=version))
        if version:
            self._version = version
            self.cache.note(version)
            self._wake()

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
            _log.error("%s: %s cannot be read: %r: left as it was", self.resource.qualified, key, error)
        else:
            self._tell(changes)
        return [key]

    def _tell(self, changes: Iterable[Change]) -> None:
        for change in changes:
            for callback in tuple(self._callbacks):
                _call(callback, change)

    def _wake(self) -> None:
        for version, waiter in self._waiters:
            if not waiter.done() and not is_newer(version, self._version):
                waiter.set_result(None)

    def _trouble(self, error: ClusterError) -> None:
        if self.error is None or str(self.error) != str(error):
            _log.warning("%s: %s; trying again", self.resource.qualified, error)
        self.error = error

    def _recovered(self) -> None:
        if self.error is not None:
            self.error = None
            _log.info("%s: following the API server again", self.resource.qualified)


def _call(callback: Callable[[Change], None], change: Change) -> None:
    try:
        callback(change)
    except Exception:  # noqa: BLE001 - the others must still be told
        _log.exception("a subscriber failed on %s %s", change.type, change.key)


def _is_from_the_future(error: ClusterError) -> bool:
    """Tell that the server has not reached the version we ask for: it was restored from an older state."""
    return any(cause.reason == "ResourceVersionTooLarge" for cause in error.causes)


def _pause_seconds(failures: int) -> float:
    longest = min(_BACK_OFF_LIMIT_SECONDS, _BACK_OFF_BASE_SECONDS * 2.0 ** min(failures, 20))
    return longest * (0.5 + random.random() / 2)  # noqa: S311 - jitter
