"""What an operator's author, or whoever runs it, may set.

What belongs here: plain values with their defaults. What does not: reading them from a command line or an
environment (`operatorkit.cli`), and acting on them (`operatorkit._runtime`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

__all__ = ["BackOff", "LeaderElection", "Settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BackOff:
    """Exponential back-off with jitter: the n-th wait is `base * factor**n`, at most `limit`, times 1 ± `jitter`."""

    base: timedelta = timedelta(milliseconds=5)
    limit: timedelta = timedelta(seconds=1000)
    factor: float = 2.0
    jitter: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderElection:
    """How replicas of an operator elect a leader by a Lease; the defaults are those of client-go.

    A leader renews the Lease every `retry_period`. If it cannot for `renew_deadline`, it has lost the Lease and ends. A
    standby replica takes the Lease over when it was not renewed for `lease_duration`, or at once when it was released.

    `namespace` and `name` are those of the Lease: by default the operator's own namespace, and its name. Replicas with
    the same Lease share the work, so installations that work in different namespaces need different Leases.

    Raises ValueError unless retry_period * 1.2 < renew_deadline < lease_duration, and for a lease_duration that is not
    a whole number of seconds, which a Lease cannot hold.
    """

    lease_duration: timedelta = timedelta(seconds=15)
    renew_deadline: timedelta = timedelta(seconds=10)
    retry_period: timedelta = timedelta(seconds=2)
    namespace: str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        if not timedelta(0) < self.retry_period * 1.2 < self.renew_deadline < self.lease_duration:
            raise ValueError(
                f"LeaderElection(lease_duration={self.lease_duration}, renew_deadline={self.renew_deadline}, "
                f"retry_period={self.retry_period}): each must be shorter than the one before, retry_period by a fifth"
            )
        if self.lease_duration % timedelta(seconds=1):
            raise ValueError(
                f"LeaderElection(lease_duration={self.lease_duration}): a Lease stores whole seconds: round it up"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How an operator runs. `resync` of None means that nothing is reconciled without a cause.

    `relist` is how often each cached kind is listed in full though nothing seems wrong, give or take a quarter: a
    safeguard for the watches, which enqueues nothing where nothing differs. `watch_probe` is how long a process may
    hear nothing from its watches before it asks the server for one object, to notice a connection that is dead or
    another server. None switches either off.

    With `fair_by_namespace`, namespaces take turns: one with thousands of dirty objects does not delay another.
    `own_namespace` is where the operator itself lives: Secrets that only its administrators may touch are there.
    `cluster_domain` ends the full names of Services; `operatorkit run` finds it in the Pod's resolv.conf.

    `former_field_managers` are names under which an earlier operator, or an earlier version of this one, wrote children
    by `create`, `update` or `patch`: `("kopf",)`, say. (`kubectl get -o yaml --show-managed-fields` prints them.) What
    they set in a child becomes this operator's before its next apply, so that what it does not send is removed. The
    same is done, without being listed, for client-side `kubectl apply` and for updates under the operator's own name.

    `leader_election` is used where replicas elect a leader: `operatorkit run --leader-elect`.
    """

    workers: int = 4
    fair_by_namespace: bool = True
    back_off: BackOff = BackOff()
    resync: timedelta | None = None
    relist: timedelta | None = timedelta(hours=1)
    watch_probe: timedelta | None = timedelta(seconds=15)
    reconcile_timeout: timedelta = timedelta(minutes=2)
    request_timeout: timedelta = timedelta(seconds=30)
    shutdown_timeout: timedelta = timedelta(seconds=20)
    max_requests_in_flight: int = 64
    own_namespace: str = "operatorkit-system"
    cluster_domain: str = "cluster.local"
    former_field_managers: tuple[str, ...] = ()
    leader_election: LeaderElection = LeaderElection()
