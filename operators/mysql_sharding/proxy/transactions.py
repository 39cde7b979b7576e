"""Transactions over several shards that stayed prepared: what is known of them, and how they end. Pure.

What belongs here: names of such transactions, what the binary log of a shard says of one, and the
rule. What does not: reading and ending them (`resolver`). docs/adr/0028 argues the rule.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast

from operatorkit.errors import InputError
from operators.mysql_sharding.gtid import Position

__all__ = ["Branch", "Outcome", "Xid", "logged_event", "outcome", "start_of_file", "statement"]

_QUERY_DIGITS: Final = 16
_HEX: Final = re.compile(rb"[0-9a-f]+")
_LOGGED: Final = re.compile(
    r"XA (?P<verb>PREPARE|COMMIT|ROLLBACK) "
    r"X'(?P<gtrid>[0-9a-fA-F]+)',X'(?P<bqual>[0-9a-fA-F]+)',(?P<format>\d+)"
)

Verb = Literal["PREPARE", "COMMIT", "ROLLBACK"]
Decision = Literal["COMMIT", "ROLLBACK"]


@dataclass(frozen=True, slots=True, order=True)
class Xid:
    """The name of a transaction that a node has begun, the same on each of its shards.

    With spider_internal_xa_id_type=1, `gtrid` is the node's thread and query in hexadecimal digits,
    and `bqual` its server id, which each process of a node generates. So a name is used once.
    """

    gtrid: bytes
    bqual: bytes

    @classmethod
    def recovered(cls, row: Mapping[str, object]) -> Xid | None:
        """Return the name in a row of XA RECOVER; None for one that no node has given."""
        data = row["data"]
        raw = data.encode() if isinstance(data, str) else data
        length = int(str(row["gtrid_length"]))
        end = length + int(str(row["bqual_length"]))
        if not isinstance(raw, bytes) or int(str(row["formatID"])) != 1:
            return None
        found = cls(raw[:length], raw[length:end])
        return found if found.is_of_a_node else None

    @property
    def is_of_a_node(self) -> bool:
        """Whether it has the form of the names that nodes give."""
        return (
            len(self.gtrid) > _QUERY_DIGITS
            and _HEX.fullmatch(self.gtrid) is not None
            and _HEX.fullmatch(self.bqual) is not None
        )

    def __str__(self) -> str:
        return f"{self.gtrid.decode()}.{self.bqual.decode()}"


@dataclass(frozen=True, slots=True)
class Branch:
    """What is known of a transaction on one shard, read after no session of a node can change it.

    `prepared`: the engine holds it. `logged`: what the binary log says of it. `complete`: the binary
    log was read back to where the transaction cannot have been prepared yet, or to its preparation.
    """

    shard: str
    prepared: bool
    logged: frozenset[Verb]
    complete: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a transaction ends. `decision` is None while that cannot be known; `why` says it."""

    decision: Decision | None
    why: str


def outcome(branches: Sequence[Branch]) -> Outcome:
    """Return how a transaction ends, given what every shard knows of it.

    Committed on one shard: the node had prepared it on all, so that every other one can commit.
    Committed on none, and no node can commit it any more: so no client has an acknowledgement.
    """
    committed = [one.shard for one in branches if "COMMIT" in one.logged]
    if committed:
        return Outcome("COMMIT", f"{', '.join(committed)} had committed it")
    unknown = [one.shard for one in branches if not one.complete and not one.prepared]
    if unknown:
        return Outcome(
            None,
            f"the binary logs of {', '.join(unknown)} do not reach back to its beginning, so that a "
            "commit there cannot be excluded: compare the rows, and end it with XA COMMIT or XA "
            "ROLLBACK",
        )
    return Outcome("ROLLBACK", "no shard had committed it")


def statement(xid: Xid, branch: Branch, decision: Decision) -> tuple[str, bool]:
    """Return the statement that ends a prepared branch, and whether replicas must get it.

    After a crash a server can hold what its binary log has ended, and what its binary log never
    had. Replicas have ended the former, and never had the latter.
    """
    ended = bool({"COMMIT", "ROLLBACK"} & branch.logged)
    local = branch.complete and "PREPARE" not in branch.logged
    text = f"XA {decision} X'{xid.gtrid.hex()}',X'{xid.bqual.hex()}',1"
    return text, not (ended or local)


def logged_event(info: str) -> tuple[Xid, Verb] | None:
    """Return what an event of a binary log says of a transaction, None for any other event."""
    found = _LOGGED.match(info)
    if found is None or found["format"] != "1":
        return None
    xid = Xid(bytes.fromhex(found["gtrid"]), bytes.fromhex(found["bqual"]))
    return xid, cast("Verb", found["verb"])


def start_of_file(info: str) -> Position:
    """Return the position at which a binary log begins, as its Gtid_list event has it."""
    text = info.strip()
    if not (text.startswith("[") and text.endswith("]")):
        raise InputError(f"a binary log begins with {info!r}: expected a list of GTIDs")
    return Position.parse("".join(text[1:-1].split()))
