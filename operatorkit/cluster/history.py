"""Whether the server that answers is still the one that the caches were read from: one judgement for a process.

What belongs here: the doubt that informers share, and the signs that a list or a single object
gives. What does not: lists and watches themselves (`operatorkit.cluster.informer`), and what stands
still meanwhile (`operatorkit._runtime`).

A server may be replaced by an empty one, or restored from a backup, and count on from there. A
number below the last one seen proves that; a number above it proves nothing, because the new server
may have counted past. So whoever loses contact lists in full, and so do all others of the process,
for objects of several kinds belong together: a parent that is only in a cache must not apply
children for as long as the kinds have not all been listed.

    trusted ── a watch that worked breaks off, a sign, another CA ──> in doubt ── every informer has listed ──> trusted

docs/adr/0012-one-history.md argues each choice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

from operatorkit.clock import Clock
from operatorkit.cluster._jitter import JITTER
from operatorkit.errors import ClusterError
from operatorkit.names import ApiResource

__all__ = ["Follower", "History", "Sign"]

_log = logging.getLogger("operatorkit.cluster")

_EXCUSED_AFTER_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Sign:
    """What speaks against the server's being the same; `replaced` where hardly anything else explains it."""

    text: str
    replaced: bool


class Follower(Protocol):
    """What a history asks of an informer."""

    resource: ApiResource

    def relist(self) -> None:
        """End the watch, if one is open, and list in full before the next."""

    def hurry(self) -> None:
        """End a pause after failures: the server answers again."""


class History:
    """One for all informers of a process that read from one server; for one event loop.

    `probe_every` is how long a process may hear nothing before it asks for one object;
    `relist_every` how often each kind is listed in full though nothing seems wrong, give or take a
    quarter. None switches either off.

    Guarantees: after a doubt, `in_doubt` is True until every informer has completed a list that
    began after it; an informer to which the server denies the list (not: does not answer) holds up
    the others for a minute at most.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        probe_every: timedelta | None = timedelta(seconds=15),
        relist_every: timedelta | None = timedelta(hours=1),
    ) -> None:
        self.probe_every = probe_every
        self.relist_every = relist_every
        self._clock = clock
        self._pending: dict[Follower, bool] = {}  # each follower, and whether it has yet to list
        self._denied_at: dict[Follower, float] = {}
        self._listeners: list[Callable[[bool], None]] = []
        self._in_doubt = False
        self._probed_at = clock.monotonic()
        self.epoch: int = 0

    @property
    def in_doubt(self) -> bool:
        """Whether the server may have been replaced, and not every informer has listed since."""
        return self._in_doubt

    def subscribe(self, listener: Callable[[bool], None]) -> None:
        """Call `listener` with True when a doubt begins, and with False when it is over. It must not block."""
        self._listeners.append(listener)

    @contextmanager
    def followed_by(self, follower: Follower) -> Iterator[None]:
        """Notify `follower` of doubts while the block runs. It has to list when the block begins."""
        self._pending[follower] = False
        try:
            yield
        finally:
            del self._pending[follower]
            self._denied_at.pop(follower, None)
            self._settle()

    def doubt(self, why: str) -> None:
        """Note that the server may have been replaced: every informer lists in full."""
        _log.debug("the API server may have been replaced (%s): listing every kind in full", why)
        self.epoch += 1
        self._denied_at.clear()
        followers = list(self._pending)
        self._pending = dict.fromkeys(followers, True)
        if followers and not self._in_doubt:
            self._in_doubt = True
            self._notify()
        for follower in followers:
            follower.relist()

    def is_pending(self, follower: Follower) -> bool:
        """Return whether `follower` has yet to list because of a doubt."""
        return self._pending.get(follower, False)

    def listed(self, follower: Follower, epoch: int) -> None:
        """Note that `follower` has completed a list that began when `epoch` was this."""
        if epoch == self.epoch and follower in self._pending:
            self._pending[follower] = False
            self._denied_at.pop(follower, None)
            for each, pending in self._pending.items():
                if pending:
                    each.hurry()
            self._settle()

    def failed(self, follower: Follower, error: ClusterError) -> None:
        """Note that `follower` could not list or watch."""
        if not self.is_pending(follower):
            return
        if error.code == 0:
            self._denied_at.pop(follower, None)  # no answer: no client could write either
        else:
            self._denied_at.setdefault(follower, self._clock.monotonic())
        self._settle()

    def may_probe(self) -> bool:
        """Return whether a probe is due, and if so count it as made: one is enough for a process."""
        if self.probe_every is None or self._in_doubt:
            return False
        now = self._clock.monotonic()
        if now - self._probed_at < self.probe_every.total_seconds() * 0.75:
            return False
        self._probed_at = now
        return True

    def relist_in_seconds(self) -> float | None:
        """Draw after how long an informer lists in full again."""
        if self.relist_every is None:
            return None
        return self.relist_every.total_seconds() * JITTER.uniform(0.75, 1.25)

    def _settle(self) -> None:
        if not self._in_doubt:
            return
        missing = [each for each, pending in self._pending.items() if pending]
        now = self._clock.monotonic()
        if not all(
            now - self._denied_at.get(each, now) >= _EXCUSED_AFTER_SECONDS for each in missing
        ):
            return
        for each in missing:
            _log.warning(
                "%s: could not be listed within a minute after the API server may have been "
                "replaced: using its cached objects",
                each.resource.qualified,
            )
        self._in_doubt = False
        self._notify()

    def _notify(self) -> None:
        for listener in self._listeners:
            listener(self._in_doubt)
