"""The fence, and who may become the primary behind it.

What belongs here: which members can acknowledge nothing any more, whether they suffice, what the
next primary must have, and who is chosen. What does not: the order of steps (`failover`). Pure.

Why the fence is enough. A write is acknowledged once `acks` of the N members beside the primary
have received it. N - acks + 1 fenced members, whichever they are, therefore hold every acknowledged
write between them, and fewer than `acks` are left to acknowledge another. That is true only of
members that still have what they acknowledged (`members.Synced`), so only those count.

There are two other proofs. The old primary has every write that it ever acknowledged, once it is
read-only without sessions, unless it truncated its tail at a restart (`failover.keeps_tail`). And
where every member is fenced, the old primary too, there is no other place where a write could be.
"""

from __future__ import annotations

from dataclasses import dataclass

from operators.mysql_sharding.gtid import EMPTY, Position, merged, most_advanced
from operators.mysql_sharding.members import Change, ChangeStep, Member, ObservedShard, Server

__all__ = ["Choice", "Fence", "choose", "choose_first", "errant", "fence", "holder", "is_fenced"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """How far the fence is: `counted` members of the `needed`, and why others do not count."""

    counted: tuple[Member, ...]
    needed: int
    missing: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether the counted members hold every acknowledged write."""
        return bool(self.counted) and len(self.counted) >= self.needed


@dataclass(frozen=True, slots=True)
class Choice:
    """The next primary, and what it must have executed before it is promoted."""

    target: str
    required: Position


def errant(seen: ObservedShard, server: Server) -> Position:
    """Return the transactions of a member that no primary has written."""
    status = seen.status
    if status.first is None:
        return EMPTY
    return server.executed.errant(status.base, status.first)


def is_fenced(change: Change, server: Server) -> bool:
    """Return whether a member receives nothing, and accepts steps of this epoch only."""
    return server.epoch == change.epoch and server.io_stopped and server.read_only


def fence(seen: ObservedShard, change: Change) -> Fence:
    """Return how far the fence of a change is."""
    voters = [member for member in seen.members if member.name != change.old_primary]
    count = max(len(voters), seen.spec.members - 1)
    needed = 1 if _is_async(seen) else count - seen.spec.acks + 1
    counted, missing = [], []
    for member in voters:
        why = _why_not(seen, change, member)
        if why:
            missing.append(f"{member.name} ({why})")
        else:
            counted.append(member)
    return Fence(counted=tuple(counted), needed=max(1, needed), missing=tuple(missing))


def _is_async(seen: ObservedShard) -> bool:
    return seen.spec.allow_async or seen.spec.acks < 1


def _why_not(seen: ObservedShard, change: Change, member: Member) -> str:
    """Return why a member does not count for the fence, "" where it does."""
    if member.server is None:
        return "not reachable"
    server = member.server
    if not is_fenced(change, server):
        return "not fenced"
    if _is_async(seen):
        return ""
    synced = next((each for each in seen.status.synced if each.member == member.name), None)
    if synced is None or synced.incarnation != server.incarnation:
        return "its relay log was lost after its last acknowledgement"
    if not _legitimate(seen, member).contains(synced.received):
        return "its position is behind an earlier one"
    return ""


def choose(seen: ObservedShard, change: Change) -> Choice | None:
    """Return the next primary, None while no proof of every acknowledged write is within reach.

    Compared by what they have received, not by what they have executed. An errant member is never
    chosen; one that lags or is stopped by choice only where there is no other; one that must first
    receive the rest from a `holder` only where no other has it.
    """
    required = _required(seen, change)
    if required is None:
        return None
    candidates = [member for member in _pool(seen, change) if not _is_errant(seen, member)]
    willing = [each for each in candidates if not each.delayed and not _is_broken(each, required)]
    having = [each for each in willing if _received(each).contains(required)]
    if not having and not any(_received(each).contains(required) for each in candidates):
        return None
    pool = having or willing or candidates
    best = most_advanced([_received(each) for each in pool])
    first = [each for each in pool if best is None or _received(each).contains(best)]
    first.sort(key=lambda each: each.name == change.old_primary)
    return Choice(first[0].name, required) if first else None


def choose_first(seen: ObservedShard, change: Change) -> Choice | str:
    """Return the first primary of a shard whose status names none, or what is missing for that.

    Nothing is known of earlier primaries, so every member must be there: a member that is missing
    may hold the only copy of a write.
    """
    found = _pool(seen, change)
    absent = [each.name for each in seen.members if each not in found]
    lacking = seen.spec.members - len(seen.members)
    if absent or lacking > 0:
        names = ", ".join(absent) or f"{lacking} that do not exist"
        return f"the first primary is chosen once every member is reachable; missing: {names}"
    positions = {each.name: _received(each) for each in found}
    required = most_advanced(positions.values())
    if required is None:
        held = "; ".join(f"{name} has {position}" for name, position in positions.items())
        return f"the histories of the members have diverged, and no primary is recorded: {held}"
    first = next(name for name, position in positions.items() if position.contains(required))
    return Choice(first, required)


def holder(seen: ObservedShard, change: Change) -> Member | None:
    """Return a member that has executed all that is required, to catch up from."""
    for member in _pool(seen, change):
        server = member.server
        if (
            member.name != change.target
            and server is not None
            and not _is_errant(seen, member)
            and server.executed.contains(change.required)
        ):
            return member
    return None


def _required(seen: ObservedShard, change: Change) -> Position | None:
    """Return what contains every acknowledged write, None where that cannot be said."""
    known = fence(seen, change)
    old = _old_primary(seen, change)
    if known.complete:
        required = merged(_legitimate(seen, each) for each in known.counted)
        if old is not None and _is_proof(seen, old) and _received(old).contains(required):
            return _received(old)
        return required
    if change.step is ChangeStep.APPLYING:
        return change.required
    if old is not None and _is_proof(seen, old):
        return _received(old)
    found = _pool(seen, change)
    if len(found) == len(seen.members) >= seen.spec.members:
        return merged(_legitimate(seen, each) for each in found)
    return None


def _legitimate(seen: ObservedShard, member: Member) -> Position:
    """Return what a member has received, less its errant transactions."""
    if member.server is None:
        return EMPTY
    return _received(member).without(errant(seen, member.server))


def _old_primary(seen: ObservedShard, change: Change) -> Member | None:
    """Return the old primary where its position is final: fenced as the others, without sessions."""
    member = seen.member(change.old_primary)
    if member is None or member.server is None or member.server.sessions:
        return None
    return member if is_fenced(change, member.server) else None


def _is_proof(seen: ObservedShard, old: Member) -> bool:
    """Return whether the old primary still has all that it acknowledged."""
    server = old.server
    if server is None:
        return False
    return server.tail_kept or server.incarnation == seen.status.incarnation


def _pool(seen: ObservedShard, change: Change) -> list[Member]:
    """Return the members that may take part: fenced; the target also while it catches up."""
    found = []
    for member in seen.members:
        server = member.server
        if server is None or member.name == change.old_primary:
            continue
        catching_up = (
            change.step is ChangeStep.APPLYING
            and member.name == change.target
            and server.epoch == change.epoch
            and server.read_only
        )
        if catching_up or is_fenced(change, server):
            found.append(member)
    old = _old_primary(seen, change)
    return [*found, old] if old is not None else found


def _received(member: Member) -> Position:
    return member.server.received if member.server is not None else EMPTY


def _is_errant(seen: ObservedShard, member: Member) -> bool:
    return member.server is not None and bool(errant(seen, member.server))


def _is_broken(member: Member, required: Position) -> bool:
    """Return whether a member can apply nothing more, and needs to."""
    server = member.server
    if server is None or server.replication is None:
        return server is None
    return not server.replication.sql_running and not server.executed.contains(required)
