"""Random histories of one MariaDB shard: clients that write, servers that fail, operators that crash or lag.

    tick ── something breaks or heals ── servers replicate, apply, flush ── clients write, and note what is acknowledged
         ── one operator, or two, observe (late, falsely, or not at all), plan and execute (lost, late, twice)
         ──► at the end: peace. The shard must heal, and every member must have every acknowledged write.

What is required: no acknowledged write is lost; in one epoch only one server acknowledges writes, and none but the
recorded primary; no primary is recorded without the fence; and the shard always heals when the network does.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from operators.mysql_sharding import detection, failover
from operators.mysql_sharding.detection import Policy, Probe
from operators.mysql_sharding.gtid import Gtid, Position
from operators.mysql_sharding.members import (
    Change,
    ChangeKind,
    ChangeStep,
    Member,
    ObservedShard,
    Pod,
    Server,
    ShardSpec,
    ShardStatus,
    Synced,
)
from operators.mysql_sharding.steps import (
    DeletePod,
    Finish,
    RecordPrimary,
    RecordSynced,
    RecordTarget,
    RemoveRoleLabel,
    RepointProxies,
    SetRoleLabel,
    WaitFor,
    WriteIntent,
)
from soak.mysql_world import Database, Txn, at

__all__ = ["Verdict", "live"]

_TICKS = 150
_PEACE = 600
_QUIET = 80  # ticks of peace in which clients still write
_DISTURBANCES = (
    *("crash", "crash", "crash", "crash", "hang", "resume", "cut", "isolate", "heal", "heal", "errant", "slow"),
    *("split", "split", "all", "all", "switch", "switch", "stop", "both", "evict", "replica", "replica"),
)
_THEMES: tuple[tuple[str, ...], ...] = (
    (),
    ("errant", "heal", "crash"),
    ("switch", "switch", "cut", "heal"),
    ("both", "split", "heal", "crash"),
    ("replica", "slow", "split", "crash", "heal"),
    ("stop", "slow", "split", "heal"),
    ("all", "slow", "crash"),
)


@dataclass(slots=True)
class Verdict:
    """How one history ended."""

    seed: int
    steps: int = 0
    acknowledged: int = 0
    failovers: int = 0
    lost: int = 0
    wrong: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def report(self) -> str:
        """Say what was wrong and what had happened before."""
        return "\n  ".join([f"seed {self.seed} ended wrong", *self.wrong, *self.log[-60:]])


@dataclass(slots=True)
class _Operator:
    """What one operator remembers; a crash takes it."""

    name: str
    down_until: int = 0
    probes: tuple[Probe, ...] = ()
    known: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    readings: dict[str, Server] = field(default_factory=dict)
    status: tuple[int, ShardStatus] = (0, ShardStatus())

    def crash(self, tick: int, rng: random.Random) -> None:
        self.down_until = tick + rng.choice([1, 4, 15])
        self.probes, self.known, self.readings = (), {}, {}


class _World:
    """A shard, its clients and its operators."""

    def __init__(self, seed: int, *, asynchronous: bool) -> None:
        self.rng = rng = random.Random(seed)
        self.verdict = Verdict(seed)
        count = rng.choice([1, 2, 3, 3, 3, 3, 3, 4, 5])
        acks = 0 if asynchronous else 1
        self.spec = ShardSpec(members=max(count, 2) if asynchronous else count, acks=acks)
        self.databases = {
            f"db-{number}": Database(f"db-{number}", number + 1, rng) for number in range(self.spec.members)
        }
        self.version, self.status = 1, ShardStatus()
        self.operators = [_Operator("one"), _Operator("two")]
        self.both_until = 0
        self.tick = 0
        self.cut: set[frozenset[str]] = set()
        self.late: list[tuple[int, Any]] = []
        self.contents = 0
        self.acknowledged: dict[int, Txn] = {}
        self.writers: dict[int, str] = {}  # by epoch
        self.client_of: dict[str, str] = {}
        self.proxied: str | None = rng.choice([None, ""])
        self.theme = rng.choice(_THEMES)
        self.lateness = rng.choice([0.03, 0.03, 0.25])
        self.peaceful = False

    # The judge

    def wrong(self, what: str) -> None:
        if len(self.verdict.wrong) < 5:
            self.verdict.wrong.append(f"tick {self.tick}: {what}")

    def note(self, what: str) -> None:
        self.verdict.log.append(f"{self.tick}: {what}")

    def _acknowledged(self, database: Database, txn: Txn, epoch: int) -> None:
        self.acknowledged[txn.content] = txn
        self.verdict.acknowledged += 1
        writer = self.writers.setdefault(epoch, database.name)
        if writer != database.name:
            self.wrong(f"{writer} and {database.name} acknowledge writes in epoch {epoch}")
        if self.status.primary != database.name:
            self.wrong(f"{database.name} acknowledges {txn.gtid} while {self.status.primary} is recorded as primary")

    def _check_promotion(self, step: RecordPrimary, change: Change) -> None:
        """Compare what is, not what was observed."""
        has = {txn.content for txn in self.databases[step.member].binlog}
        lost = [str(txn.gtid) for content, txn in self.acknowledged.items() if content not in has]
        if lost:
            self.wrong(f"{step.member} is recorded as primary without {', '.join(lost[:5])}")
        if change.kind is not ChangeKind.FAILOVER or self.spec.acks == 0 or step.member == change.old_primary:
            return
        old = self.databases[change.old_primary]
        others = [each for each in self.databases.values() if each is not old]
        free = [each.name for each in others if each.io and each.source == old.name]
        if len(free) >= self.spec.acks and old.semi_primary and old.up and not old.read_only:
            self.wrong(f"{step.member} is recorded as primary without the fence: {free} may acknowledge")

    # The network and the environment

    def linked(self, one: str, other: str) -> bool:
        return frozenset((one, other)) not in self.cut

    def disturb(self) -> None:
        rng = self.rng
        name = rng.choice(sorted(self.databases))
        if self.status.primary and rng.random() < 0.5:
            name = self.status.primary
        database = self.databases[name]
        others = [*self.databases, "operator", "clients"]
        others.remove(name)
        kind = rng.choice(self.theme if self.theme and rng.random() < 0.7 else _DISTURBANCES)
        self.note(f"{kind} {name}")
        if kind == "crash" and database.up:
            database.crash(self.tick)
        elif kind == "hang":
            database.hung = database.up
        elif kind == "resume":
            for each in self.databases.values():
                each.hung = False
        elif kind == "cut":
            self.cut.add(frozenset((name, rng.choice(others))))
        elif kind == "isolate":
            self.cut |= {frozenset((name, other)) for other in others if rng.random() < 0.8}
        elif kind == "split":
            side = {each for each in [name, *others] if rng.random() < 0.5}
            self.cut = {frozenset((one, other)) for one in side for other in [name, *others] if other not in side}
        elif kind == "heal":
            self.cut.clear()
        elif kind == "errant" and database.up and not database.semi_primary and database.source:
            for _ in range(rng.choice([1, 3, 30])):  # a user with SUPER writes on a replica
                self.contents += 1
                database.write(self.contents, lambda _epoch: None)
            if rng.random() < 0.5:
                self.databases[database.source].crash(self.tick)
        elif kind == "slow":
            database.slow = not database.slow
        elif kind == "all":
            for each in self.databases.values():
                if each.up:
                    each.crash(self.tick)
        elif kind == "switch":
            self.spec = replace(self.spec, switchover=name)
        elif kind == "stop" and database.serves and database.source:
            database.sql = False
        elif kind == "both":
            self.both_until = self.tick + 30
        elif kind == "replica":
            replicas = [each for each in self.databases.values() if each.up and each.name != self.status.primary]
            if replicas:
                rng.choice(replicas).crash(self.tick)
        elif kind == "evict" and database.up:
            database.delete_pod(self.tick)

    def calm(self) -> None:
        """Heal the network; what was late has arrived or is lost."""
        self.cut.clear()
        self.peaceful = True
        self.both_until = 0
        for each in self.databases.values():
            each.hung = each.slow = False

    # Servers and clients

    def run_servers(self) -> None:
        databases = self.databases
        for due, step in [each for each in self.late if each[0] <= self.tick]:
            self.late.remove((due, step))
            if databases[step.member].serves:
                self.note(f"late: {step}")
                databases[step.member].execute(step)
        for database in databases.values():
            if not database.up:
                if self.tick >= database.boot_at and not database.cloning_from:
                    database.boot(keep=failover.keeps_tail(self.status, database.name))
                    self.note(f"{database.name} boots, tail kept: {database.tail_kept}, ends at {database.last()}")
                continue
            if database.cloning_from:
                donor = databases[database.cloning_from]
                if donor.serves and self.linked(donor.name, database.name) and self.rng.random() < 0.2:
                    database.finish_clone(donor)
                elif self.rng.random() < 0.05:
                    database.cloning_from = ""  # it fails before anything is replaced
                continue
            if database.hung:
                continue
            if database.io:
                source = databases[database.source]
                if source.serves and self.linked(source.name, database.name):
                    if self.rng.random() < 0.8:
                        database.pull(source, self.tick)
                else:
                    database.connected = False
            database.apply()
            if self.rng.random() < 0.3:
                database.flush()

    def run_clients(self) -> None:
        if self.peaceful and self.quiet:
            return
        for client in ("a", "b", "c"):
            if client not in self.client_of or self.rng.random() < 0.3:
                labelled = [each.name for each in self.databases.values() if each.role == "primary"]
                if labelled:
                    self.client_of[client] = self.rng.choice(labelled)
            database = self.databases.get(self.client_of.get(client, ""))
            if database is None or not database.serves or not self.linked("clients", database.name):
                continue
            if database.read_only or self.rng.random() < 0.4:
                continue
            database.sessions.add(client)
            self._write(database)

    def _write(self, database: Database) -> None:
        self.contents += 1
        content, reachable = self.contents, lambda: self.linked("clients", database.name)

        def done(epoch: int) -> None:
            if reachable():
                self._acknowledged(database, Txn(Gtid(0, database.server_id, number), content), epoch)

        number = database.last() + 1
        database.write(content, done)

    quiet = False

    # Operators

    def run_operators(self) -> None:
        for operator in self.operators:
            if operator.name == "two" and self.tick > self.both_until:
                continue
            if self.tick < operator.down_until:
                continue
            self.verdict.steps += 1
            seen = self._observe(operator)
            version = operator.status[0]
            steps = failover.plan(seen)
            crash_at = self.rng.randrange(len(steps) + 1) if not self.peaceful and self.rng.random() < 0.05 else None
            for number, step in enumerate(steps):
                if number == crash_at:
                    break
                if not isinstance(step, WaitFor):
                    self.note(f"{operator.name}: {step}")
                self._send(step, version)
            if crash_at is not None:
                self.note(f"{operator.name} crashes")
                operator.crash(self.tick, self.rng)

    def _observe(self, operator: _Operator) -> ObservedShard:
        rng = self.rng
        stale = not self.peaceful and rng.random() < (0.6 if operator.name == "two" else 0.1)
        if not stale:
            operator.status = (self.version, self.status)
        members = tuple(self._member(operator, each) for each in self.databases.values())
        failure = ""
        status = operator.status[1]
        if status.primary:
            failure = detection.failure(
                operator.probes,
                primary=status.primary,
                replicas=[each.name for each in members if each.name != status.primary],
                policy=Policy(),
            )
        return ObservedShard(
            name="db",
            spec=self.spec,
            status=status,
            members=members,
            now=at(self.tick),
            failure=failure,
            proxied=self.proxied,
        )

    def _member(self, operator: _Operator, database: Database) -> Member:
        rng = self.rng
        reached = database.serves and self.linked("operator", database.name)
        if not self.peaceful and rng.random() < 0.03:
            reached = False
        server = None
        if reached:
            incarnation, since = operator.known.get(database.name, ("", at(self.tick)))
            if incarnation != database.incarnation:
                since = at(self.tick)
                operator.known[database.name] = (database.incarnation, since)
            server = database.read(self.tick, since)
            old = operator.readings.get(database.name)
            operator.readings[database.name] = server
            if not self.peaceful:
                server = self._falsified(server, old)
        probe = Probe(
            member=database.name,
            at=at(self.tick),
            answered=reached,
            error="" if reached else "timeout",
            connected=database.connected,
            heartbeats=database.heartbeats,
            received=str(database.relay[-1].gtid if database.relay else database.last()),
        )
        operator.probes = detection.recorded(operator.probes, probe, keep=12)
        return Member(
            name=database.name,
            pod=Pod(uid=str(database.uid), role=database.role),
            server=server,
            unreachable_since=None if reached else at(self.tick),
        )

    def _falsified(self, server: Server, old: Server | None) -> Server:
        """Return a reading that comes late, or in which a position is a lie; never twice in a row."""
        chance = self.rng.random()
        if chance < 0.03 and old is not None:
            return old
        replication = server.replication
        if replication is None or not replication.received or self.lied:
            self.lied = False
            return server
        lie = {0: 5, 1: -3}.get(int(chance * 30))
        if lie is None:
            return server
        self.lied = True
        last = replication.received.gtids[0]
        false = Gtid(0, last.server, max(1, last.sequence + lie))
        return replace(server, replication=replace(replication, received=Position((false,))))

    lied = False

    def _send(self, step: Any, version: int) -> None:
        """Send a request: it may be lost, late or sent twice, and its answer may be lost."""
        chance = 1.0 if self.peaceful else self.rng.random()
        if chance < 0.03:
            return
        match step:
            case WaitFor():
                return
            case WriteIntent() | RecordTarget() | RecordPrimary() | Finish() | RecordSynced():
                if version == self.version:
                    self._write_status(step)
            case DeletePod() | RemoveRoleLabel() | SetRoleLabel():
                self._change_pod(step)
            case RepointProxies(primary=primary):
                self.proxied = primary
            case _:
                database = self.databases[step.member]
                if not self.linked("operator", step.member) or not database.serves:
                    return
                if chance < 0.03 + 2 * self.lateness:
                    self.late.append((self.tick + self.rng.randint(1, 60), step))
                    if chance < 0.03 + self.lateness:
                        return
                database.execute(step)

    def _change_pod(self, step: Any) -> None:
        database = self.databases[step.pod]
        if str(database.uid) != step.uid:
            return
        match step:
            case DeletePod():
                database.delete_pod(self.tick)
            case RemoveRoleLabel():
                database.role = ""
            case SetRoleLabel(role=role):
                database.role = role

    def _write_status(self, step: Any) -> None:
        status, change = self.status, self.status.failover
        match step:
            case WriteIntent():
                self.verdict.failovers += step.kind is ChangeKind.FAILOVER
                begun = Change(
                    kind=step.kind,
                    epoch=step.epoch,
                    old_primary=step.old_primary,
                    started_at=at(self.tick),
                    reason=step.reason,
                    old_pod=step.old_pod,
                    target=step.target,
                )
                status = replace(status, epoch=step.epoch, failover=begun)
            case RecordTarget(target=target, required=required):
                assert change is not None
                chosen = replace(change, step=ChangeStep.APPLYING, target=target, required=required)
                status = replace(status, failover=chosen)
            case RecordPrimary():
                assert change is not None
                self._check_promotion(step, change)
                status = replace(
                    status,
                    primary=step.member,
                    incarnation=step.incarnation,
                    base=step.base,
                    first=step.first,
                    synced=(),
                    failover=replace(change, step=ChangeStep.OPENING),
                )
            case Finish(switchover=switchover):
                status = replace(status, failover=None, switchover=switchover)
            case RecordSynced():
                new = Synced(member=step.member, incarnation=step.incarnation, received=step.received)
                others = tuple(each for each in status.synced if each.member != step.member)
                status = replace(status, synced=(*others, new))
        self.status, self.version = status, self.version + 1

    # The end

    def healed(self) -> str:
        """Return what is not as it should be, "" where all is."""
        primary = self.databases.get(self.status.primary)
        if self.status.failover is not None or primary is None:
            return f"no primary, or a change under way: {self.status.failover}"
        if not primary.serves or primary.read_only:
            return f"the primary {primary.name} does not accept writes"
        if primary.role != "primary" or (self.proxied is not None and self.proxied != primary.name):
            return f"clients are not led to {primary.name}"
        if primary.waiting:
            return f"{len(primary.waiting)} writes wait on {primary.name}"
        for each in self.databases.values():
            if each is primary:
                continue
            if not each.serves or not each.io or not each.sql or each.source != primary.name:
                return f"{each.name} does not replicate from {primary.name}"
            if [txn.content for txn in each.binlog] != [txn.content for txn in primary.binlog]:
                return f"{each.name} differs from {primary.name}"
            if each.role != "replica":
                return f"{each.name} is not labelled"
        return ""

    def finish(self) -> None:
        for database in self.databases.values():
            has = {txn.content for txn in database.binlog}
            lost = [str(txn.gtid) for content, txn in self.acknowledged.items() if content not in has]
            if lost:
                self.verdict.lost = max(self.verdict.lost, len(lost))
                self.wrong(f"{database.name} lacks {len(lost)} acknowledged writes: {', '.join(lost[:5])}")

    def live_a_tick(self) -> None:
        self.tick += 1
        self.run_servers()
        self.run_clients()
        self.run_operators()


def live(seed: int, *, ticks: int = _TICKS, asynchronous: bool = False) -> Verdict:
    """Live through one history and check it."""
    world = _World(seed, asynchronous=asynchronous)
    chance = world.rng.choice([0.05, 0.1, 0.2, 0.35])
    for _ in range(ticks):
        if world.rng.random() < chance:
            world.disturb()
        world.live_a_tick()
    world.calm()
    world.note("peace")
    end = world.tick + _PEACE
    quiet_at = world.tick + _QUIET
    before = world.verdict.acknowledged
    while world.tick < end:
        world.quiet = world.tick > quiet_at and world.verdict.acknowledged > before
        world.live_a_tick()
        if world.quiet and not world.healed():
            break
    if problem := world.healed():
        world.wrong(f"not healed: {problem}")
    world.finish()
    return world.verdict


def main() -> int:
    """Live through as many histories as asked for; the exit code is 1 when one ended wrong."""
    parser = argparse.ArgumentParser(prog="python -m soak.mysql_histories", description=__doc__)
    parser.add_argument("--steps", type=int, default=300_000, help="how many plans in all (default: 300,000)")
    parser.add_argument("--first", type=int, default=0, help="the seed of the first history (default: 0)")
    options = parser.parse_args()
    done, seed, wrong, started = 0, options.first, 0, time.monotonic()
    acknowledged = failovers = 0
    while done < options.steps:
        verdict = live(seed)
        done, seed = done + verdict.steps, seed + 1
        acknowledged, failovers = acknowledged + verdict.acknowledged, failovers + verdict.failovers
        if verdict.wrong:
            wrong += 1
            print(verdict.report(), flush=True)
        if (seed - options.first) % 50 == 0:
            print(
                f"{done} of {options.steps} steps, {time.monotonic() - started:.0f} s; next: --first {seed}", flush=True
            )
    print(
        f"{done} steps, {seed - options.first} histories, {acknowledged} acknowledged writes, {failovers} failovers, "
        f"{wrong} ended wrong",
        flush=True,
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
