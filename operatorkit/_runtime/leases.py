"""Leader election by a Lease: reads and writes it, and knows whether this replica leads.

What belongs here: requests for the Lease, their pace, and release. What does not: the rules (`election`), and the parts
of an engine that wait for leadership (`engine`).

Why the client is one of its own: renewals must not wait behind the requests of reconcile functions, which may fill the
limit of requests in flight when the API server is slow.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import random
import socket
import uuid
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

from operatorkit._runtime.election import (
    Create,
    Lost,
    Observed,
    Record,
    Renew,
    Take,
    Wait,
    decide,
    observe,
)
from operatorkit.clock import Clock, format_micro_time, within
from operatorkit.cluster import ClusterAPI, JSONObject
from operatorkit.errors import (
    AlreadyExists,
    ClusterError,
    Conflict,
    InputError,
    LeaseLost,
    NotFound,
)
from operatorkit.kinds import LEASES
from operatorkit.settings import LeaderElection

__all__ = ["LeaseElector"]

_log = logging.getLogger("operatorkit.runtime")

_RELEASED_WITHIN_SECONDS: Final = 5.0
_STANDBY_PAUSES: Final = (0.25, 0.75)
"""A standby reads the Lease after 0.25 to 0.75 times the retry period; at random, so that replicas spread their reads.

client-go adds its jitter (1 to 2.2 times). Here it is subtracted, so that a Lease that was released is taken over
within 1.5 s: a leader that stops also has to finish its runs, and the whole handover is to take less than two seconds.
"""


class LeaseElector:
    """One replica that takes part in the election: `run` it, and `release` at the end.

    `namespace` and `name` are those of the Lease. `clock` gives the monotonic time of every decision; the wall clock is
    only written into the Lease, for people.

    Guarantees: `leads` is True only between an own write of the Lease and the renew deadline after it; when it was True
    once, `run` raises LeaseLost as soon as it no longer is.
    """

    def __init__(
        self,
        api: ClusterAPI,
        *,
        namespace: str,
        name: str,
        settings: LeaderElection,
        clock: Clock,
        identity: str | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._settings = settings
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not a secret
        self._lease: JSONObject | None = None
        self._observed = Observed(None, clock.monotonic())
        self._acquired = asyncio.Event()
        self._held_since: float | None = None
        self._last_error: ClusterError | None = None
        self._last_holder: str | None = None
        self.next_attempt: float | None = None  # by the monotonic clock; None during an attempt
        self.identity: str = identity or f"{socket.gethostname()}_{uuid.uuid4()}"

    @property
    def name(self) -> str:
        """The name of the Lease."""
        return self._name

    @property
    def lease(self) -> str:
        """Namespace and name of the Lease."""
        return f"{self._namespace}/{self._name}"

    @property
    def leads(self) -> bool:
        """Whether this replica is the leader now."""
        # No timer ends leadership: it is a question of the clock, asked at each use. A timer could
        # fire late, when the event loop is blocked or the machine was suspended, and this replica
        # would write while another one leads.
        renewed = self._observed.renewed
        return (
            renewed is not None
            and self._clock.monotonic() - renewed < self._settings.renew_deadline.total_seconds()
        )

    @property
    def held_since(self) -> float | None:
        """When the last successful write of the Lease began, by the monotonic clock.

        None for a replica that has not led, and after `release`; but not after a loss. May be read in any thread.
        """
        return self._held_since

    async def acquired(self) -> None:
        """Return when this replica leads."""
        await self._acquired.wait()

    async def run(self) -> None:
        """Take part in the election until cancelled.

        Raises LeaseLost when this replica has led and no longer does, InputError when the namespace does not exist.
        """
        while True:
            try:
                await self._limited(self._attempt)
                self._last_error = None
            except (TimeoutError, ClusterError) as error:
                self._log_once(error)
            self._raise_if_lost()
            pause = self._pause_seconds()
            self.next_attempt = self._clock.monotonic() + pause
            await self._clock.sleep(pause)
            self.next_attempt = None
            self._raise_if_lost()

    async def release(self) -> None:
        """Clear the holder of the Lease if this replica leads, so that another one takes over at once.

        Call it when nothing runs that only the leader may run. A failure is logged: the Lease then expires.
        """
        if not self.leads:
            return
        try:
            async with asyncio.timeout(_RELEASED_WITHIN_SECONDS):
                await self._release()
        except (TimeoutError, ClusterError) as error:
            _log.warning(
                "the Lease %s was not released and must expire: %s",
                self.lease,
                str(error) or "no response",
            )
        else:
            _log.info("the Lease %s is released", self.lease)

    async def _release(self) -> None:
        """Write once more, and again after a Conflict: a renewal that was cancelled may have been executed."""
        lease = self._lease
        # Give up leadership before the request: from the moment when the server executes it,
        # another replica may lead, and the response comes later than that.
        self._observed, self._held_since = Observed(None, self._clock.monotonic()), None
        for _ in range(2):
            if lease is None or _holder(lease) != self.identity:
                return
            spec = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
            spec["renewTime"] = format_micro_time(self._clock.now())
            with suppress(Conflict):
                await self._replace({**lease, "spec": spec})
                return
            lease = await self._read()

    async def _attempt(self) -> None:
        """Do what the rules say; after a Conflict, with the Lease as it is then."""
        if self._observed.renewed is None or self._lease is None:
            self._observe(await self._read())
        for _ in range(2):
            begun = self._clock.monotonic()
            step = decide(
                self._observed, identity=self.identity, now=begun, settings=self._settings
            )
            try:
                match step:
                    case Create():
                        self._wrote(await self._create(), begun)
                    case Take() | Renew():
                        self._wrote(await self._replace(self._claimed()), begun)
                    case Wait(holder):
                        self._follow(holder)
                    case Lost():
                        pass  # run raises it
            # The second round decides by the Lease as it is now: another replica may hold it.
            # Renewing blindly at the new version would take it from that replica (client-go reads
            # again, too: tools/leaderelection).
            except (Conflict, AlreadyExists):
                self._observe(await self._read())
            else:
                return

    def _observe(self, lease: JSONObject | None) -> None:
        self._lease = lease
        record = (
            None
            if lease is None
            else Record(_holder(lease), str(lease["metadata"].get("resourceVersion")))
        )
        self._observed = observe(self._observed, record, self._clock.monotonic())

    def _wrote(self, lease: JSONObject, begun: float) -> None:
        """Lead from the beginning of the request: a standby has seen the record later than that."""
        self._observe(lease)
        self._observed = Observed(self._observed.record, self._observed.since, begun)
        self._held_since = begun
        if not self._acquired.is_set():
            _log.info("%s leads: it holds the Lease %s", self.identity, self.lease)
            self._acquired.set()

    def _follow(self, holder: str) -> None:
        if holder != self._last_holder:
            self._last_holder = holder
            _log.info("%s is on standby: %s holds the Lease %s", self.identity, holder, self.lease)

    def _raise_if_lost(self) -> None:
        now = self._clock.monotonic()
        step = decide(self._observed, identity=self.identity, now=now, settings=self._settings)
        if not isinstance(step, Lost):
            return
        if step.cause == "another holder":
            cause = f"{step.holder} holds it now"
        else:
            seconds = self._settings.renew_deadline.total_seconds()
            cause = f"it could not be renewed for {seconds:g} s: {self._last_error or 'the API server did not respond'}"
        self._observed = Observed(None, now)  # no longer a leader, also for `release`
        raise LeaseLost(
            f"the Lease {self.lease} is lost: {cause}; this replica exits, so that two replicas do not "
            f"reconcile the same object"
        )

    def _pause_seconds(self) -> float:
        settings, now = self._settings, self._clock.monotonic()
        retry = settings.retry_period.total_seconds()
        if self._observed.renewed is not None:
            left = self._observed.renewed + settings.renew_deadline.total_seconds() - now
            return max(0.0, min(retry, left))
        pause = retry * self._rng.uniform(*_STANDBY_PAUSES)
        # The Lease expires by this replica's own clock, counted from when it saw the record change
        # last. renewTime is written by the leader's wall clock, which may differ from this one by
        # more than the duration of the Lease.
        left = self._observed.since + settings.lease_duration.total_seconds() - now
        return min(pause, left) if left > 0 else pause

    async def _limited(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Await work, for as long as this replica may lead without a renewal. Raises TimeoutError."""
        limit = self._settings.renew_deadline.total_seconds()
        if self._observed.renewed is not None:
            # A request that hangs must end with the renew deadline, not with its own timeout: a
            # leader that still waits for its renewal when the deadline passes would learn too late
            # that it no longer leads.
            limit -= self._clock.monotonic() - self._observed.renewed
        await within(self._clock, limit, work())

    def _log_once(self, error: TimeoutError | ClusterError) -> None:
        """Log each new error of a series, not each of its repetitions."""
        known, self._last_error = (
            self._last_error,
            error if isinstance(error, ClusterError) else self._last_error,
        )
        if known is None or str(known) != str(error):
            _log.warning(
                "the Lease %s: %s; trying again",
                self.lease,
                str(error) or "the API server does not respond",
            )

    def _claimed(self) -> JSONObject:
        """Return the Lease with this replica as its holder, and what others wrote into it."""
        assert self._lease is not None, "a Lease is taken after it was read"
        lease = copy.deepcopy(self._lease)
        lease["spec"] = self._spec(lease.get("spec") or {})
        return lease

    def _spec(self, former: JSONObject) -> JSONObject:
        now = format_micro_time(self._clock.now())
        spec = {
            **former,
            "holderIdentity": self.identity,
            "leaseDurationSeconds": int(self._settings.lease_duration.total_seconds()),
            "renewTime": now,
        }
        if former.get("holderIdentity") != self.identity:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = int(former.get("leaseTransitions") or 0) + (
                1 if former else 0
            )
        return spec

    async def _read(self) -> JSONObject | None:
        try:
            return await self._api.get(LEASES, self._name, namespace=self._namespace)
        except NotFound:
            return None

    async def _create(self) -> JSONObject:
        body = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": self._spec({}),
        }
        try:
            return await self._api.create(LEASES, body, namespace=self._namespace)
        except NotFound as error:
            raise InputError(
                f"the Lease {self.lease} cannot be created: {error}: create the namespace, or choose another with "
                "--leader-elect-resource-namespace"
            ) from error

    async def _replace(self, lease: JSONObject) -> JSONObject:
        try:
            return await self._api.replace(LEASES, self._name, lease, namespace=self._namespace)
        except NotFound as error:
            raise Conflict(f"the Lease {self.lease} was deleted") from error


def _holder(lease: JSONObject) -> str:
    return str((lease.get("spec") or {}).get("holderIdentity") or "")
