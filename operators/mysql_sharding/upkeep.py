"""What to do for a shard whose primary does not change.

What belongs here: when a change begins, and the repairs while there is none. What does not: the
change itself (`failover`). Pure.

An ordered list of checks; the first that finds something to do is the plan:

    bootstrap ── lost primary ── synced ── switchover ── primary ── replicas, labels, proxies
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from operators.mysql_sharding.fence import errant
from operators.mysql_sharding.members import (
    ChangeKind,
    IoThread,
    Member,
    ObservedShard,
    Server,
)
from operators.mysql_sharding.steps import (
    OpenForWrites,
    PointReplica,
    Promote,
    Reclone,
    RecordSynced,
    RemoveRoleLabel,
    RepointProxies,
    SetReadOnly,
    SetRoleLabel,
    StartApplier,
    Step,
    WaitFor,
    WriteIntent,
)

__all__ = [
    "donor",
    "lacks_history",
    "lost_primary",
    "open_primary",
    "plan",
    "point_clients",
    "point_replicas",
    "record_synced",
    "semi_sync",
    "why_no_switchover",
]

MAX_LAG = timedelta(seconds=10)
"""A replica that lags more is no target of a switchover."""

MAX_READ_LAG = timedelta(seconds=30)
"""A replica that lags more is taken out of the Service for reads."""

LOST_IN_SOURCE = frozenset({1236})
"""I/O errors that no retry mends: the source has no longer, or never had, the replica's position.

Source: https://mariadb.com/kb/en/mariadb-error-codes-1200-to-1299/ (ER_MASTER_FATAL_ERROR_READING_BINLOG)
"""


def plan(seen: ObservedShard) -> tuple[Step, ...]:
    """Return the first thing to do, nothing where all is well."""
    for check in _CHECKS:
        steps = check(seen)
        if steps:
            return tuple(steps)
    return ()


def semi_sync(seen: ObservedShard) -> bool:
    """Return whether writes wait for acknowledgements: not in a shard of one member."""
    return seen.spec.members > 1 and seen.spec.acks > 0


def _bootstrap(seen: ObservedShard) -> list[Step]:
    if seen.status.primary:
        return []
    epoch = seen.status.epoch + 1
    return [WriteIntent(epoch, "", ChangeKind.BOOTSTRAP, "the shard has no primary yet")]


def lost_primary(seen: ObservedShard) -> WriteIntent | None:
    """Return the intent to replace a primary that has failed or restarted, None where it has not.

    A restarted primary has lost its semi-sync settings, and may lack what was acknowledged: it is
    not opened again, but it may be chosen again.
    """
    status = seen.status
    member = seen.member(status.primary)
    server = member.server if member is not None else None
    if server is not None and server.incarnation != status.incarnation:
        why = f"the server of {status.primary} has restarted"
        return WriteIntent(status.epoch + 1, status.primary, ChangeKind.FAILOVER, why)
    if seen.failure and server is None:
        pod = member.pod.uid if member is not None and member.pod is not None else ""
        return WriteIntent(
            status.epoch + 1, status.primary, ChangeKind.FAILOVER, seen.failure, old_pod=pod
        )
    return None


def _lost(seen: ObservedShard) -> list[Step]:
    lost = lost_primary(seen)
    return [] if lost is None else [lost]


def record_synced(seen: ObservedShard) -> list[Step]:
    """Record one replica that has received all that the primary had after its relay log was lost.

    The primary's position must have been read after the replica's new process was first seen: what
    the earlier process acknowledged is then in it.
    """
    primary = _server(seen, seen.status.primary)
    if primary is None or not semi_sync(seen):
        return []
    known = {each.member: each.incarnation for each in seen.status.synced}
    for member in _replicas(seen):
        server = member.server
        if (
            server is not None
            and known.get(member.name) != server.incarnation
            and _replicates(server, seen.status.primary)
            and not errant(seen, server)
            and primary.observed_at >= server.known_since
            and server.received.contains(primary.executed)
        ):
            return [
                RecordSynced(seen.status.epoch, member.name, server.incarnation, server.received)
            ]
    return []


def _switchover(seen: ObservedShard) -> list[Step]:
    wanted = seen.spec.switchover
    if not wanted or wanted in {seen.status.primary, seen.status.switchover}:
        return []
    if why_no_switchover(seen, wanted):
        return []
    return [
        WriteIntent(
            seen.status.epoch + 1,
            seen.status.primary,
            ChangeKind.SWITCHOVER,
            f"a switchover to {wanted} was requested",
            target=wanted,
        )
    ]


def why_no_switchover(seen: ObservedShard, target: str) -> str:
    """Return why a member cannot take over from a healthy primary now, "" where it can."""
    member = seen.member(target)
    server = member.server if member is not None else None
    if member is None:
        return f"{target} is not a member of {seen.name}"
    if server is None or server.replication is None:
        return f"{target} is not reachable or replicates from no member"
    if member.delayed:
        return f"{target} lags by choice, or its replication is stopped by choice"
    if errant(seen, server):
        return f"{target} has errant transactions {errant(seen, server)}"
    if not _replicates(server, seen.status.primary) or not server.replication.sql_running:
        return f"{target} does not replicate from {seen.status.primary}"
    lag = server.replication.lag
    if not server.replication.applied_all and (lag is None or lag > MAX_LAG):
        return f"{target} lags by {lag}; at most {MAX_LAG} is possible"
    return ""


def open_primary(seen: ObservedShard) -> list[Step]:
    """Open a primary that was closed or lost its semi-sync role without a restart."""
    server = _server(seen, seen.status.primary)
    if server is None:
        return []
    name, epoch = seen.status.primary, seen.status.epoch
    if server.replication is not None or server.semi_sync.primary != semi_sync(seen):
        return [Promote(name, epoch, semi_sync(seen))]
    if server.read_only or server.epoch < epoch:
        return [OpenForWrites(name, epoch, seen.status.incarnation, seen.status.first)]
    return []


def _repair(seen: ObservedShard) -> list[Step]:
    """All that may be repaired at the same time."""
    return [*point_replicas(seen), *_reclone(seen), *_label_replicas(seen), *point_clients(seen)]


def point_clients(seen: ObservedShard) -> list[Step]:
    """Label the primary, once no other member has its label, and point the proxies to it."""
    steps: list[Step] = [
        RemoveRoleLabel(member.name, member.pod.uid)
        for member in _replicas(seen)
        if member.pod is not None and member.pod.role == "primary"
    ]
    primary = seen.member(seen.status.primary)
    pod = primary.pod if primary is not None else None
    if pod is not None and pod.role != "primary" and not steps:
        steps.append(SetRoleLabel(seen.status.primary, pod.uid, "primary"))
    if seen.proxied is not None and seen.proxied != seen.status.primary:
        steps.append(RepointProxies(seen.status.primary, seen.status.epoch))
    return steps


def point_replicas(seen: ObservedShard) -> list[Step]:
    """Make each reachable member beside the primary a replica of it, unless it needs a re-clone.

    Only while the primary answers: a replica that is pointed loses its relay log.
    """
    primary, epoch = seen.status.primary, seen.status.epoch
    if _server(seen, primary) is None:
        return []
    steps: list[Step] = []
    for member in _replicas(seen):
        server = member.server
        if server is None or _why_reclone(seen, member):
            continue
        if not server.read_only:
            steps.append(SetReadOnly(member.name, epoch))
        acknowledge = semi_sync(seen) and not member.delayed
        if _needs_pointing(member, server, primary, epoch, acknowledge=acknowledge):
            steps.append(PointReplica(member.name, primary, epoch, acknowledge))
        elif server.replication and not server.replication.sql_running and not member.held:
            steps.append(StartApplier(member.name, epoch))
    return steps


def _needs_pointing(
    member: Member, server: Server, primary: str, epoch: int, *, acknowledge: bool
) -> bool:
    replication = server.replication
    if replication is None or replication.source != primary or server.epoch < epoch:
        return True
    if server.semi_sync.replica != acknowledge:
        return True
    if replication.io_thread is IoThread.RUNNING:
        return acknowledge and not server.semi_sync.acknowledging
    return replication.io_thread is IoThread.STOPPED and not member.held


def _reclone(seen: ObservedShard) -> list[Step]:
    """Copy the data of one member again: one at a time, from a replica where one is healthy."""
    if _server(seen, seen.status.primary) is None:
        return []
    for member in _replicas(seen):
        why = _why_reclone(seen, member)
        if why and member.server is not None and not lacks_history(member.server):
            source = donor(seen, member)
            return [Reclone(member.name, source, seen.status.epoch, member.server.incarnation, why)]
    return []


def lacks_history(server: Server) -> bool:
    """Return whether a server has no data, and the primary no longer has the binary logs that begin with the first.

    Its data is copied from another member, beside its server (`operators.mysql_sharding.backup`).
    """
    replication = server.replication
    return (
        not server.executed and replication is not None and replication.io_errno in LOST_IN_SOURCE
    )


def _why_reclone(seen: ObservedShard, member: Member) -> str:
    """Return why a member cannot go on with the data that it has, "" where it can."""
    server = member.server
    if server is None:
        return ""
    found = errant(seen, server)
    if found:
        return f"it has transactions that no primary has written: {found}"
    replication = server.replication
    if replication is None or replication.source != seen.status.primary:
        return ""
    if replication.io_errno in LOST_IN_SOURCE:
        return f"its position is not in the binary log of the primary: {replication.io_error}"
    if replication.sql_error:
        return f"it cannot apply a transaction: {replication.sql_error}"
    return ""


def donor(seen: ObservedShard, member: Member) -> str:
    """Return the member whose data is copied to another one: a replica that has everything, else the primary."""
    for other in _replicas(seen):
        server = other.server
        if (
            other.name != member.name
            and server is not None
            and _replicates(server, seen.status.primary)
            and not other.delayed
            and not _why_reclone(seen, other)
            and server.replication is not None
            and server.replication.applied_all
        ):
            return other.name
    return seen.status.primary


def _label_replicas(seen: ObservedShard) -> list[Step]:
    """Let the replicas that are current serve reads; one that does not answer keeps its label."""
    steps: list[Step] = []
    for member in _replicas(seen):
        pod = member.pod
        if pod is None or pod.role == "primary" or member.server is None:
            continue
        current = _is_current(seen, member)
        if current and not pod.role:
            steps.append(SetRoleLabel(member.name, pod.uid, "replica"))
        elif pod.role and not current:
            steps.append(RemoveRoleLabel(member.name, pod.uid))
    return steps


def _is_current(seen: ObservedShard, member: Member) -> bool:
    """Return whether a replica may serve reads."""
    server = member.server
    if server is None or server.replication is None or member.delayed:
        return False
    replication = server.replication
    lag = replication.lag
    return (
        _replicates(server, seen.status.primary)
        and replication.sql_running
        and not _why_reclone(seen, member)
        and (replication.applied_all or (lag is not None and lag <= MAX_READ_LAG))
    )


def _wait(seen: ObservedShard) -> list[Step]:
    """Say what cannot be repaired at the moment."""
    absent = [each.name for each in seen.members if each.server is None]
    if absent:
        return [WaitFor(f"{', '.join(absent)} cannot be reached")]
    wanted = seen.spec.switchover
    if wanted and wanted not in {seen.status.primary, seen.status.switchover}:
        return [WaitFor(f"no switchover yet: {why_no_switchover(seen, wanted)}")]
    return []


def _replicates(server: Server, primary: str) -> bool:
    replication = server.replication
    return (
        replication is not None
        and replication.source == primary
        and replication.io_thread is IoThread.RUNNING
    )


def _replicas(seen: ObservedShard) -> list[Member]:
    return [each for each in seen.members if each.name != seen.status.primary]


def _server(seen: ObservedShard, name: str) -> Server | None:
    member = seen.member(name)
    return member.server if member is not None else None


_CHECKS: tuple[Callable[[ObservedShard], list[Step]], ...] = (
    _bootstrap,
    _lost,
    record_synced,
    _switchover,
    open_primary,
    _repair,
    _wait,
)
