"""Global transaction identifiers of MariaDB: parse, print and compare them.

What belongs here: GTIDs, positions and the order of histories. What does not: how a server is read
(`sql`), and what a position means for a failover (`failover`). Pure.

    0-1-100            domain 0, written by the server 1, the 100th of its domain
    0-1-100,0-2-90     a position: the last transaction of each server in each domain

Within a domain, gtid_strict_mode keeps sequence numbers ascending, whatever server wrote them: a
history is one line. The last transaction of a domain therefore implies every earlier one, as long
as no member has written by itself. Errant transactions are those: a server that was not the primary
wrote them.

Source: https://mariadb.com/kb/en/gtid/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

__all__ = ["EMPTY", "Gtid", "GtidError", "Position", "merged", "most_advanced"]

_MAX_32 = 2**32 - 1
_MAX_64 = 2**64 - 1


class GtidError(ValueError):
    """A text is not a GTID, or not a list of GTIDs; the message holds the text and what it lacks."""


@dataclass(frozen=True, slots=True, order=True)
class Gtid:
    """One transaction: `domain` and `server` have 32 bits, `sequence` has 64."""

    domain: int
    server: int
    sequence: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the GTID that a text such as "0-1-100" holds.

        Raises GtidError for any other text.
        """
        parts = text.strip().split("-")
        if len(parts) != 3 or not all(part.isascii() and part.isdecimal() for part in parts):
            raise GtidError(
                f"{text!r} is not a GTID: expected domain-server-sequence, such as 0-1-100"
            )
        domain, server, sequence = (int(part) for part in parts)
        if domain > _MAX_32:
            raise GtidError(f"{text!r} is not a GTID: the domain {domain} is above {_MAX_32}")
        if server > _MAX_32:
            raise GtidError(f"{text!r} is not a GTID: the server {server} is above {_MAX_32}")
        if sequence > _MAX_64:
            raise GtidError(f"{text!r} is not a GTID: the sequence {sequence} is above {_MAX_64}")
        return cls(domain, server, sequence)

    def __str__(self) -> str:
        return f"{self.domain}-{self.server}-{self.sequence}"


@dataclass(frozen=True, slots=True)
class Position:
    """How far a history goes: for each domain and server, its last transaction; sorted.

    Both forms of MariaDB are positions: gtid_binlog_state, with every server of a domain, and
    gtid_binlog_pos, gtid_slave_pos or Gtid_IO_Pos, with the last transaction of each domain only.
    Build one with `parse` or `of`, which keep one transaction for each domain and server.
    """

    gtids: tuple[Gtid, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the position that a list such as "0-1-100,1-1-7" holds; "" is the empty one.

        Raises GtidError for an element that is not a GTID, and for a server that is listed twice in
        one domain.
        """
        if not text.strip():
            return cls()
        gtids = [Gtid.parse(part) for part in text.split(",")]
        known: dict[tuple[int, int], Gtid] = {}
        for gtid in gtids:
            other = known.setdefault((gtid.domain, gtid.server), gtid)
            if other is not gtid:
                raise GtidError(
                    f"{text!r} is not a position: {other} and {gtid} are of one server in one "
                    "domain; keep the last"
                )
        return cls(tuple(sorted(gtids)))

    @classmethod
    def of(cls, gtids: Iterable[Gtid]) -> Self:
        """Return the position that holds these transactions and all before them."""
        last: dict[tuple[int, int], Gtid] = {}
        for gtid in gtids:
            key = (gtid.domain, gtid.server)
            if key not in last or gtid.sequence > last[key].sequence:
                last[key] = gtid
        return cls(tuple(sorted(last.values())))

    def __str__(self) -> str:
        return ",".join(str(gtid) for gtid in self.gtids)

    def __bool__(self) -> bool:
        return bool(self.gtids)

    def __iter__(self) -> Iterator[Gtid]:
        return iter(self.gtids)

    def domains(self) -> tuple[int, ...]:
        """Return the domains, ascending."""
        return tuple(sorted({gtid.domain for gtid in self.gtids}))

    def last(self, domain: int) -> Gtid | None:
        """Return the last transaction of a domain, None where it has none."""
        found = [gtid for gtid in self.gtids if gtid.domain == domain]
        return max(found, key=lambda gtid: gtid.sequence, default=None)

    def sequence(self, domain: int, server: int) -> int:
        """Return the sequence of a server's last transaction in a domain, 0 where it has none."""
        found = (g.sequence for g in self.gtids if g.domain == domain and g.server == server)
        return next(found, 0)

    def contains(self, other: Position) -> bool:
        """Return whether this history reaches at least as far as `other` in each domain.

        Only the last transaction of each domain counts, so that both forms of a position compare.
        This is exact for histories without errant transactions; see `errant`.
        """
        return not self.missing(other)

    def missing(self, other: Position) -> Position:
        """Return what `other` has beyond this history: its last transaction of each such domain."""
        found = []
        for domain in other.domains():
            theirs, own = other.last(domain), self.last(domain)
            assert theirs is not None
            if own is None or own.sequence < theirs.sequence:
                found.append(theirs)
        return Position(tuple(found))

    def errant(self, base: Position, first: Gtid) -> Position:
        """Return the transactions that are not of the one history.

        `base` is the state with every server (gtid_binlog_state) that the primary had when it was
        promoted, `first` the first transaction that it wrote then. Since then, only that server may
        have written, in the domain of `first` with no lower sequence.
        """
        return Position(
            tuple(
                gtid
                for gtid in self.gtids
                if gtid.sequence > base.sequence(gtid.domain, gtid.server)
                and not _follows(gtid, first)
            )
        )

    def without(self, errant: Position) -> Position:
        """Return this position less the servers' transactions that `errant` lists."""
        return Position(tuple(gtid for gtid in self.gtids if gtid not in errant.gtids))


def _follows(gtid: Gtid, first: Gtid) -> bool:
    same_domain = gtid.domain == first.domain
    return gtid.server == first.server and (not same_domain or gtid.sequence >= first.sequence)


EMPTY = Position()
"""The position of a server that has executed nothing."""


def merged(positions: Iterable[Position]) -> Position:
    """Return the smallest position that contains all of these."""
    return Position.of(gtid for position in positions for gtid in position)


def most_advanced(positions: Iterable[Position]) -> Position | None:
    """Return the position that contains every other one, None where none does.

    None means that histories have diverged: each of two has a domain in which it is ahead. For no
    positions at all, it is None too.
    """
    known = list(positions)
    return next((each for each in known if all(each.contains(other) for other in known)), None)
