"""Ending prepared transactions, on scripted shards: when, behind which fence, and what is sent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from operators.mysql_sharding.proxy.resolver import Resolver
from operators.mysql_sharding.proxy.shards import Primary
from operators.mysql_sharding.sql import SqlError

START = datetime(2026, 1, 1, tzinfo=UTC)
ROW = {"formatID": 1, "gtrid_length": 17, "bqual_length": 2, "data": b"7000000000000008a63"}
HEX = "X'3730303030303030303030303030303861',X'3633',1"


class Server:
    """A primary, as its own connector and session."""

    def __init__(self, *, prepared=False, logged=(), starts="[]", epoch=1, sessions=0):
        self.prepared, self.logged, self.starts = prepared, logged, starts
        self.epoch, self.sessions = epoch, sessions
        self.sent, self.closed, self.replicated = [], False, False

    async def rows(self, statement, *values, seconds):
        assert seconds > 0
        if statement.lstrip().startswith("SELECT p.ID"):
            assert values in {("operatorkit_proxy", 9), ("operatorkit_proxy", 29)}, "from before it was first seen"
        text = " ".join(statement.split())
        self.sent.append(text)
        if text.startswith("SET SESSION sql_log_bin = "):
            self.replicated = text.startswith("SET SESSION sql_log_bin = 1")
        if text.startswith("KILL"):
            self.sessions = 0
        if text.startswith(("XA COMMIT", "XA ROLLBACK")):
            self.logged, self.prepared = (*self.logged, text.split()[1]), False
        return self.answer(text)

    def answer(self, text):
        events = [{"Event_type": "Gtid_list", "Info": self.starts, "End_log_pos": 300}]
        events += [{"Event_type": "Query", "Info": f"XA {verb} {HEX}", "End_log_pos": 400} for verb in self.logged]
        answers = {
            "SELECT @@gtid_binlog_state": [{"state": "0-11-5"}],
            "XA RECOVER": [ROW] if self.prepared else [],
            "SELECT @@read_only": [{"read_only": 0, "semi_sync": 0}],
            "SHOW GLOBAL STATUS": [{"Value": "0"}],
            "SELECT p.ID": [{"id": 8}] if self.sessions else [],
            "SELECT COALESCE": [{"epoch": self.epoch}],
            "SHOW BINARY LOGS": [{"Log_name": "binlog.000001"}],
            "SHOW BINLOG EVENTS": events,
        }
        return next((rows for start, rows in answers.items() if text.startswith(start)), [])

    def close(self):
        self.closed = True

    def ended(self):
        return [one for one in self.sent if one.startswith(("XA COMMIT", "XA ROLLBACK"))]


class Shards:
    def __init__(self, *servers):
        self.servers = {f"10.0.0.{number}": one for number, one in enumerate(servers)}
        self.resolver = Resolver(self)
        self.primaries = [
            Primary(number, f"shop{number}", f"shop{number}-0", host, 1, False, "password")
            for number, host in enumerate(self.servers)
        ]

    async def connect(self, login, *, seconds):
        assert seconds > 0
        return self.servers[login.host]

    async def at(self, seconds):
        return await self.resolver.sync(self.primaries, START + timedelta(seconds=seconds))


async def test_a_transaction_has_ten_seconds_before_it_is_ended_on_all_shards_as_on_one():
    committed, prepared = Server(logged=["PREPARE", "COMMIT"]), Server(prepared=True, logged=["PREPARE"])
    shards = Shards(committed, prepared)
    for seconds in (0, 5, 9):
        assert await shards.at(seconds) == []
    assert prepared.ended() == []
    [resolved] = await shards.at(10)
    assert (resolved.outcome.decision, resolved.shards) == ("COMMIT", ("shop1",))
    assert (committed.ended(), prepared.ended()) == ([], [f"XA COMMIT {HEX}"])
    assert await shards.at(20) == []


async def test_the_node_is_fenced_and_every_primary_confirmed_before_anything_is_read():
    first, second = Server(prepared=True, logged=["PREPARE"]), Server(sessions=1)
    shards = Shards(first, second)
    await shards.at(0)
    [resolved] = await shards.at(10)
    assert (resolved.outcome.decision, first.ended()) == ("ROLLBACK", [f"XA ROLLBACK {HEX}"])
    fenced = second.sent.index("KILL HARD CONNECTION 8")
    confirmed = second.sent.index("REPLACE INTO operatorkit.resolutions VALUES (1, UUID())")
    read = second.sent.index("SHOW BINARY LOGS")
    assert fenced < confirmed < read


async def test_a_shard_without_a_primary_and_a_primary_of_another_epoch_hold_it():
    shards = Shards(Server(prepared=True, logged=["PREPARE"]), Server())
    first, second = shards.primaries
    await shards.at(0)
    shards.primaries = [first, Primary(1, "shop1", "shop1-0", "", 2, True, "password")]
    assert await shards.at(20) == []
    shards.primaries = [first, second]
    shards.servers["10.0.0.1"].epoch = 2
    with pytest.raises(SqlError, match="in epoch 2"):
        await shards.at(30)
    assert shards.servers["10.0.0.0"].ended() == []


async def test_a_binary_log_that_begins_too_late_decides_nothing():
    restored = Server(starts="[0-11-900]")
    shards = Shards(restored, Server(prepared=True, logged=["PREPARE"]))
    await shards.at(0)
    [resolved] = await shards.at(10)
    assert resolved.outcome.decision is None
    assert "shop0" in resolved.outcome.why


async def test_what_the_binary_log_has_ended_is_ended_in_the_engine_only():
    crashed = Server(prepared=True, logged=["PREPARE", "COMMIT"])
    shards = Shards(crashed)
    await shards.at(0)
    await shards.at(10)
    assert crashed.ended() == [f"XA COMMIT {HEX}"]
    position = crashed.sent.index(f"XA COMMIT {HEX}")
    last = [one for one in crashed.sent[:position] if one.startswith("SET SESSION sql_log_bin")][-1]
    assert last.startswith("SET SESSION sql_log_bin = 0")
