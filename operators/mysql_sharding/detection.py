"""When a primary has failed: a decision over a history of probes.

What belongs here: the rule, as a pure function of the probes. What does not: probing (`sql`) and
what follows (`failover`).

A probe is a query with a timeout; one that hangs has failed. The primary has failed when its last
`failures` probes have failed, and no replica that answers has heard from it since: a replica hears
a transaction or a heartbeat. Where replicas hear heartbeats only, the primary may hang inside (its
storage stalls, say): after `hang_failures` probes it has failed too, as long as no replica has
received a transaction in the meantime. Where no replica answers, the operator may be cut off from
all of them, and nothing is concluded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile

__all__ = ["Policy", "Probe", "failure", "recorded"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The outcome of one probe of one member, begun at `at`.

    `answered` is false for an error and for a timeout; `error` says which. Of a replica that
    answered, `heartbeats` is Slave_received_heartbeats and `received` the text of Gtid_IO_Pos;
    `connected` says that its I/O thread is connected to the primary.
    """

    member: str
    at: datetime
    answered: bool
    error: str = ""
    connected: bool = False
    heartbeats: int = 0
    received: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How many probes must fail: `failures` at least, `hang_failures` while heartbeats arrive."""

    failures: int = 3
    hang_failures: int = 10

    def __post_init__(self) -> None:
        if not 1 <= self.failures <= self.hang_failures:
            raise ValueError(
                f"failures must be between 1 and hang_failures, found failures={self.failures} "
                f"and hang_failures={self.hang_failures}"
            )


def recorded(history: Sequence[Probe], probe: Probe, *, keep: int = 64) -> tuple[Probe, ...]:
    """Return the history with one probe more, and at most `keep` of each member, oldest first."""
    probes = [*history, probe]
    of_member = [each for each in probes if each.member == probe.member]
    dropped = set(map(id, of_member[:-keep]))
    return tuple(each for each in probes if id(each) not in dropped)


def failure(
    history: Iterable[Probe], *, primary: str, replicas: Iterable[str], policy: Policy
) -> str:
    """Return why the primary is considered failed, "" while it is not.

    `replicas` are the other members of the shard; a shard with none is decided by its own probes.
    """
    ordered = sorted(history, key=lambda probe: probe.at)
    own = [probe for probe in ordered if probe.member == primary]
    failed = list(takewhile(lambda probe: not probe.answered, reversed(own)))
    if len(failed) < policy.failures:
        return ""
    first, last = failed[-1], failed[0]
    cause = f"{len(failed)} probes of {primary} failed, the last with: {last.error or 'no answer'}"
    names = set(replicas)
    if not names:
        return cause
    since = failed[policy.failures - 1].at
    answers = {
        name: [p for p in ordered if p.member == name and p.answered and p.at >= since]
        for name in names
    }
    answers = {name: probes for name, probes in answers.items() if probes}
    if not answers:
        return ""
    if not any(_hears(probes) for probes in answers.values()):
        return f"{cause}; no replica has heard from it"
    longer = {
        name: [p for p in ordered if p.member == name and p.answered and p.at >= first.at]
        for name in answers
    }
    receives = any(_receives(probes) for probes in longer.values())
    if len(failed) >= policy.hang_failures and not receives:
        return f"{cause}; replicas hear heartbeats, but no transaction"
    return ""


def _hears(probes: Sequence[Probe]) -> bool:
    """Return whether a replica is connected and got a heartbeat or a transaction meanwhile.

    With one answer only there is nothing to compare: a connected replica may hear.
    """
    first, last = probes[0], probes[-1]
    if not last.connected:
        return False
    return len(probes) == 1 or last.heartbeats != first.heartbeats or _receives(probes)


def _receives(probes: Sequence[Probe]) -> bool:
    return probes[0].received != probes[-1].received
