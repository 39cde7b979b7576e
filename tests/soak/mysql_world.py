"""Scripted MariaDB servers: GTIDs, semi-sync with AFTER_SYNC, relay logs, crashes and truncation, in ticks.

What belongs here: what a server does, also where it surprises: a relay log that is deleted when a thread starts while
both are stopped, a recovery that truncates acknowledged transactions, registration for semi-sync at the connect only,
numbers that are used again. What does not: what happens to servers, and what is required (`mysql_histories`).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from operators.mysql_sharding.gtid import EMPTY, Gtid, Position
from operators.mysql_sharding.members import IoThread, Replication, SemiSync, Server
from operators.mysql_sharding.steps import (
    EndSessions,
    OpenForWrites,
    PointReplica,
    Promote,
    Reclone,
    ServerStep,
    SetReadOnly,
    StartApplier,
    StopReplication,
)

__all__ = ["Database", "Txn", "at"]

_HEARD = 3  # ticks without a heartbeat after which an I/O thread reconnects


def at(tick: int) -> datetime:
    """Return the time of a tick: there are five in a second."""
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=tick / 5)


@dataclass(frozen=True, slots=True)
class Txn:
    """A transaction: its content, a number that is used once, may differ where its GTID does not."""

    gtid: Gtid
    content: int


@dataclass(slots=True)
class Write:
    """A commit that waits for an acknowledgement (AFTER_SYNC)."""

    txn: Txn
    epoch: int
    done: Callable[[int], None]


@dataclass(slots=True)
class Database:
    """One server and its pod."""

    name: str
    server_id: int
    rng: random.Random
    uid: int = 1
    up: bool = True
    hung: bool = False
    boot_at: int = 0
    role: str = ""
    # On disk
    binlog: list[Txn] = field(default_factory=list)
    index: dict[Gtid, int] = field(default_factory=dict)
    state: dict[int, int] = field(default_factory=dict)
    flushed: int = 0  # how many transactions the engine has committed durably
    relay: list[Txn] = field(default_factory=list)
    epoch: int = 0
    source: str = ""
    resets: int = 0
    starts: int = 1
    tail_kept: bool = True
    # In memory
    read_only: bool = True
    opened: int = 0  # the epoch in which it was opened for writes
    io: bool = False
    sql: bool = False
    sql_error: str = ""
    io_errno: int = 0
    semi_primary: bool = False
    semi_replica: bool = True
    connected: bool = False
    next: int = 0  # where in the source's binary log it goes on
    peer: int = 0  # the process of the source that the connection is to
    acknowledging: bool = False
    heard_at: int = -_HEARD
    heartbeats: int = 0
    waiting: list[Write] = field(default_factory=list)
    sessions: set[str] = field(default_factory=set)
    cloning_from: str = ""
    slow: bool = False  # its SQL thread applies rarely

    # What it is asked

    @property
    def serves(self) -> bool:
        return self.up and not self.hung and not self.cloning_from

    @property
    def incarnation(self) -> str:
        return f"{self.starts}/{self.resets}"

    def position(self) -> Position:
        return Position.of(Gtid(0, server, number) for server, number in self.state.items())

    def last(self) -> int:
        return self.binlog[-1].gtid.sequence if self.binlog else 0

    def read(self, tick: int, known_since: datetime) -> Server:
        """Return a reading."""
        replication = None
        if self.source:
            thread = IoThread.STOPPED
            if self.io:
                heard = self.connected and tick - self.heard_at < _HEARD
                thread = IoThread.RUNNING if heard else IoThread.CONNECTING
            replication = Replication(
                source=self.source,
                io_thread=thread,
                sql_running=self.sql,
                received=Position((self.relay[-1].gtid,)) if self.relay else EMPTY,
                applied_all=self.sql and not self.relay,
                io_errno=self.io_errno,
                sql_error=self.sql_error,
                lag=timedelta(seconds=len(self.relay)),
            )
        semi_sync = SemiSync(
            primary=self.semi_primary, replica=self.semi_replica, acknowledging=self.connected and self.acknowledging
        )
        return Server(
            observed_at=at(tick),
            server_id=self.server_id,
            incarnation=self.incarnation,
            known_since=known_since,
            epoch=self.epoch,
            read_only=self.read_only,
            executed=self.position(),
            replication=replication,
            semi_sync=semi_sync,
            sessions=len(self.sessions),
            tail_kept=self.tail_kept,
        )

    # What it does by itself

    def write(self, content: int, done: Callable[[int], None], *, domain_number: int | None = None) -> Txn:
        """Commit a transaction; `done` is called with its epoch once a client would get its answer."""
        txn = Txn(Gtid(0, self.server_id, domain_number or self.last() + 1), content)
        self._append(txn)
        if self.semi_primary:
            self.waiting.append(Write(txn, self.opened, done))
        else:
            done(self.opened)
        return txn

    def _append(self, txn: Txn) -> None:
        self.index[txn.gtid] = len(self.binlog)
        self.binlog.append(txn)
        self.state[txn.gtid.server] = txn.gtid.sequence

    def _rebuild(self, binlog: list[Txn]) -> None:
        self.binlog, self.index, self.state = [], {}, {}
        for txn in binlog:
            self._append(txn)
        self.flushed = min(self.flushed, len(binlog))

    def crash(self, tick: int) -> None:
        """Lose all that is in memory; clients get no answer."""
        self.up, self.hung, self.cloning_from = False, False, ""
        self.boot_at = tick + self.rng.choice([1, 3, 6, 25])
        self.waiting.clear()
        self.sessions.clear()
        self.connected = False

    def delete_pod(self, tick: int) -> None:
        self.crash(tick)
        self.uid += 1
        self.role = ""

    def boot(self, *, keep: bool) -> None:
        """Start: read-only, no thread running; recovery keeps or truncates what was not flushed."""
        self.up, self.tail_kept = True, keep
        self.starts += 1
        if not keep:
            self._rebuild(self.binlog[: self.rng.randint(self.flushed, len(self.binlog))])
        self.flushed = len(self.binlog)
        self.read_only, self.io, self.sql = True, False, False
        self.semi_primary, self.semi_replica, self.sql_error, self.io_errno = False, True, "", 0

    def flush(self) -> None:
        """Commit some more durably: what waits for an acknowledgement is only prepared."""
        ready = len(self.binlog) - len(self.waiting)
        if self.flushed < ready:
            self.flushed = self.rng.randint(self.flushed, ready)

    def pull(self, source: Database, tick: int) -> None:
        """Let the I/O thread receive; the link is there and both servers run."""
        if self.peer != source.starts:
            self.connected = False  # the connection was to a process that has ended
        if not self.connected and not self._connect(source):
            return
        self.heard_at, self.heartbeats = tick, self.heartbeats + 1
        received = source.binlog[self.next : self.next + self.rng.choice([0, 1, 2, 9])]
        self.next += len(received)
        self.relay += received
        if self.acknowledging and received:
            source.acknowledge(received[-1])

    def _connect(self, source: Database) -> bool:
        have = self.relay[-1] if self.relay else (self.binlog[-1] if self.binlog else None)
        if have is not None and have.gtid not in source.index:
            self.io, self.io_errno = False, 1236
            return False
        self.connected, self.peer = True, source.starts
        self.next = 0 if have is None else source.index[have.gtid] + 1
        self.acknowledging = self.semi_replica and source.semi_primary
        return True

    def acknowledge(self, txn: Txn) -> None:
        """Take the acknowledgement of a replica: it is for all transactions up to this one."""
        upto = self.index[txn.gtid]
        acked = [each for each in self.waiting if self.index[each.txn.gtid] <= upto]
        self.waiting = [each for each in self.waiting if self.index[each.txn.gtid] > upto]
        for each in acked:
            each.done(each.epoch)

    def apply(self) -> None:
        """Let the SQL thread apply some of the relay log."""
        if not self.sql or (self.slow and self.rng.random() < 0.9):
            return
        for _ in range(self.rng.choice([0, 1, 3, 30])):
            if not self.relay:
                return
            if self.relay[0].gtid.sequence <= self.last():
                self.sql, self.sql_error = False, "out of order (gtid_strict_mode)"
                return
            self._append(self.relay.pop(0))

    # The steps

    def execute(self, step: ServerStep) -> None:
        """Do what a step says, under the lock, unless its epoch or a condition does not hold."""
        if step.epoch < self.epoch:
            return
        self.epoch = step.epoch
        match step:
            case StopReplication():
                self.io = self.connected = False
            case StartApplier():
                self.sql = self.sql or (self.io and not self.sql_error)
            case SetReadOnly():
                self.read_only = True
            case EndSessions():
                self.waiting.clear()
                self.sessions.clear()
            case Promote(semi_sync=semi_sync):
                if self.source:
                    self.read_only = True
                    self._lose_relay_log()
                self.source, self.io, self.sql, self.sql_error, self.io_errno = "", False, False, "", 0
                self.semi_primary, self.semi_replica = semi_sync, False
            case OpenForWrites(incarnation=incarnation, first=first):
                if incarnation == self.incarnation and not self.source:
                    if first is not None and self.last() < first.sequence:
                        self._append(Txn(first, -step.epoch))
                    self.read_only, self.opened = False, step.epoch
            case PointReplica(source=source, acknowledge=acknowledge):
                self._lose_relay_log()
                self.waiting.clear()
                self.sessions.clear()
                self.source, self.read_only = source, True
                self.semi_primary, self.semi_replica = False, acknowledge
                self.io, self.sql, self.sql_error, self.io_errno = True, True, "", 0
            case Reclone(donor=donor, incarnation=incarnation):
                if incarnation == self.incarnation:
                    self.cloning_from = donor
                    self._lose_relay_log()
                    self.io = self.sql = False

    def _lose_relay_log(self) -> None:
        self.relay.clear()
        self.connected = False
        self.resets += 1

    def finish_clone(self, donor: Database) -> None:
        """Take over the donor's data, and start as a new process."""
        self.cloning_from = ""
        self.flushed = 0
        self._rebuild(donor.binlog)
        self.flushed = len(self.binlog)
        self.source = ""
        self.boot(keep=True)
