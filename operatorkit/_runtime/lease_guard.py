"""The last resort of leader election: a thread that ends the process before its Lease expires.

What belongs here: that thread. What does not: renewing, and the orderly end of a replica that lost its Lease
(`leases`).

Why a thread: the loop that renews the Lease may be blocked, by a reconcile function that calls `time.sleep`, say, or
may wait for a task that ignores its cancellation. Then the Lease expires, another replica takes over, and this one
would go on with its run beside it. client-go has no such guard, because goroutines do not block each other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from operatorkit._runtime.leases import LeaseElector
from operatorkit.clock import Clock
from operatorkit.settings import LeaderElection

__all__ = ["guarded"]

_LONGEST_PAUSE_SECONDS = 1.0


@contextmanager
def guarded(
    elector: LeaseElector, *, settings: LeaderElection, clock: Clock, expired: Callable[[str], None]
) -> Iterator[None]:
    """Call `expired` with a message, in another thread, when a Lease was held and is about to expire.

    That is halfway between the renew deadline, at which the replica should have ended, and the lease duration.
    """
    limit = (settings.renew_deadline + settings.lease_duration).total_seconds() / 2
    ended = threading.Event()

    def watch() -> None:
        held: float | None = None
        while not ended.wait(_pause(held, limit, clock)):
            held = elector.held_since
            if held is not None and clock.monotonic() - held >= limit:
                expired(
                    f"the Lease {elector.lease} was not renewed for {limit:g} s, and this "
                    f"replica has not exited: its event loop is blocked, or a task ignores its "
                    f"cancellation; it is killed now"
                )
                return

    thread = threading.Thread(target=watch, name="lease guard", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _pause(held: float | None, limit: float, clock: Clock) -> float:
    if held is None:
        return _LONGEST_PAUSE_SECONDS
    return max(0.01, held + limit - clock.monotonic())
