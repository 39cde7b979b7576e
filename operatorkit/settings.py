"""What an operator's author, or whoever runs it, may set.

What belongs here: plain values with their defaults. What does not: reading them from a command line or an
environment (`operatorkit.cli`), and acting on them (`operatorkit._runtime`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

__all__ = ["BackOff", "Settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BackOff:
    """Exponential back-off with jitter: the n-th wait is `base * factor**n`, at most `limit`, times 1 ± `jitter`."""

    base: timedelta = timedelta(milliseconds=5)
    limit: timedelta = timedelta(seconds=1000)
    factor: float = 2.0
    jitter: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How an operator runs. `resync` of None means that nothing is reconciled without a cause.

    `own_namespace` is where the operator itself lives: Secrets that only its administrators may touch are there.

    `former_field_managers` are names under which an earlier operator, or an earlier version of this one, wrote children
    by `create`, `update` or `patch`: `("kopf",)`, say. (`kubectl get -o yaml --show-managed-fields` prints them.) What
    they set in a child becomes this operator's before its next apply, so that what it does not send is removed. The
    same is done, without being listed, for client-side `kubectl apply` and for updates under the operator's own name.
    """

    workers: int = 4
    back_off: BackOff = BackOff()
    resync: timedelta | None = None
    reconcile_timeout: timedelta = timedelta(minutes=2)
    request_timeout: timedelta = timedelta(seconds=30)
    shutdown_timeout: timedelta = timedelta(seconds=20)
    max_requests_in_flight: int = 64
    own_namespace: str = "operatorkit-system"
    former_field_managers: tuple[str, ...] = ()
