"""Executing steps on a scripted server: what is sent, in which order, and what is rejected."""

from __future__ import annotations

import pytest

from operatorkit.resource import ObjectMeta
from operators.mysql_sharding.api import MysqlDatabase, MysqlDatabaseSpec
from operators.mysql_sharding.execute import Executor, StaleStepError
from operators.mysql_sharding.gtid import Gtid
from operators.mysql_sharding.sql import SqlError
from operators.mysql_sharding.steps import (
    EndSessions,
    OpenForWrites,
    PointReplica,
    Promote,
    SetReadOnly,
    StopReplication,
)


class Scripted:
    """A session that answers by the beginning of a statement, and remembers what it was sent."""

    def __init__(self, *, epoch=1, replica=True, **answers):
        self.sent, self.closed = [], False
        self.answers = {
            "SELECT GET_LOCK": [{"held": 1}],
            "SELECT epoch": [{"epoch": epoch}],
            "SHOW SLAVE STATUS": [{}] if replica else [],
            "SELECT (SELECT started_as": [{"started_as": "5", "relays": 0}],
            "SELECT @@gtid_binlog_pos": [{"position": "0-10-7"}],
            "SELECT @@read_only": [{"read_only": 1, "semi_sync": 0}],
            "SELECT @@gtid_current_pos": [{"now": "0-10-7", "slave": "0-10-7"}],
            **answers,
        }

    async def rows(self, statement, *values, seconds):
        assert seconds > 0, "every statement has a timeout"
        self.sent.append(statement % values if values else statement)
        found = next((rows for start, rows in self.answers.items() if statement.startswith(start)), [])
        if isinstance(found, Exception):
            raise found
        return found

    def close(self):
        self.closed = True

    def changes(self):
        """Return what was sent beside reads and the lock."""
        return [one for one in self.sent if not one.startswith(("SELECT", "SHOW"))]


class Sessions:
    def __init__(self, session):
        self.session = lambda member: session


SHARD = MysqlDatabase(metadata=ObjectMeta(name="shop0", namespace="prod"), spec=MysqlDatabaseSpec())


async def execute(session, step):
    executor = Executor(api=None, observer=Sessions(session), clock=None)
    await executor.change_server(SHARD, step, "p-secret")


async def test_a_step_of_an_earlier_epoch_changes_nothing_and_the_lock_is_released():
    session = Scripted(epoch=3)
    with pytest.raises(StaleStepError, match="epoch 3"):
        await execute(session, SetReadOnly("shop0-0", 2))
    assert session.changes() == []
    assert session.sent[-1] == "SELECT RELEASE_LOCK('operatorkit')"


async def test_a_step_waits_for_no_other_one():
    session = Scripted(**{"SELECT GET_LOCK": [{"held": 0}]})
    with pytest.raises(SqlError, match="another step"):
        await execute(session, SetReadOnly("shop0-0", 2))
    assert session.changes() == []


async def test_a_later_epoch_is_remembered_before_the_step_is_done():
    session = Scripted(epoch=1)
    await execute(session, StopReplication("shop0-1", 2))
    assert session.changes()[0].startswith("INSERT INTO operatorkit.epoch (id, epoch) VALUES (1, 2)")
    assert session.changes()[1] == "STOP SLAVE IO_THREAD"


async def test_accounts_are_locked_before_writes_are_rejected():
    session = Scripted(epoch=2)
    await execute(session, SetReadOnly("shop0-0", 2))
    locked, flushed, read_only = session.changes()
    assert "account_locked" in locked
    assert (flushed, read_only) == ("FLUSH PRIVILEGES", "SET GLOBAL read_only = 1")


async def test_a_session_that_has_ended_by_itself_is_no_error():
    gone = SqlError("no such thread", code=1094)
    session = Scripted(epoch=2, **{"SELECT ID": [{"id": 7}], "KILL": gone})
    await execute(session, EndSessions("shop0-0", 2))
    assert "KILL CONNECTION 7" in session.sent


async def test_a_promoted_replica_counts_its_relay_log_as_lost_and_stays_closed():
    session = Scripted(epoch=2)
    await execute(session, Promote("shop0-1", 2, True))
    changes = session.changes()
    relays = changes.index("UPDATE operatorkit.epoch SET relays = relays + 1 WHERE id = 1")
    assert relays < changes.index("STOP SLAVE")
    assert changes[-1] == "SET GLOBAL rpl_semi_sync_master_enabled = 1"
    assert not [one for one in changes if "read_only = 0" in one]


async def test_a_primary_is_opened_after_its_first_transaction_with_acknowledgements_on():
    session = Scripted(epoch=2, replica=False)
    await execute(session, OpenForWrites("shop0-1", 2, "5.0", Gtid(0, 11, 1007)))
    changes = session.changes()
    order = [
        "SET GLOBAL rpl_semi_sync_master_enabled = 0",
        "SET SESSION sql_log_bin = 1, gtid_seq_no = 1007",
        "REPLACE INTO operatorkit.promotions VALUES (2)",
        "SET SESSION sql_log_bin = 0",
        "SET GLOBAL rpl_semi_sync_master_enabled = 1",
        "SET GLOBAL read_only = 0",
    ]
    assert changes[: len(order)] == order
    assert "JSON_REMOVE" in changes[len(order)]


async def test_the_first_transaction_of_an_epoch_is_written_once():
    session = Scripted(epoch=2, replica=False, **{"SELECT @@gtid_binlog_pos": [{"position": "0-11-1007"}]})
    await execute(session, OpenForWrites("shop0-1", 2, "5.0", Gtid(0, 11, 1007)))
    assert not [one for one in session.changes() if "promotions" in one]


async def test_another_process_than_the_promoted_one_is_not_opened():
    session = Scripted(epoch=2, replica=False)
    with pytest.raises(StaleStepError, match="restarted"):
        await execute(session, OpenForWrites("shop0-1", 2, "4.0", None))
    assert session.changes() == []


async def test_the_sessions_of_a_former_primary_end_before_it_stops_to_wait_for_acknowledgements():
    answers = {"SELECT @@read_only": [{"read_only": 0, "semi_sync": 1}], "SELECT ID": [{"id": 7}]}
    session = Scripted(epoch=2, replica=False, **answers)
    await execute(session, PointReplica("shop0-0", "shop0-1", 2, True))
    changes = session.changes()
    assert changes.index("KILL CONNECTION 7") < changes.index("SET GLOBAL rpl_semi_sync_master_enabled = 0")
    assert changes.index("KILL CONNECTION 7") < changes.index("SET GLOBAL read_only = 1")
    assert changes.index("SET GLOBAL rpl_semi_sync_slave_enabled = 1") < changes.index("START SLAVE")
    pointed = next(one for one in changes if one.startswith("CHANGE MASTER"))
    assert "shop0-1.shop0.prod.svc" in pointed


async def test_a_former_primary_continues_after_its_own_transactions():
    answers = {"SELECT @@gtid_current_pos": [{"now": "0-10-9", "slave": ""}]}
    session = Scripted(epoch=2, replica=False, **answers)
    await execute(session, PointReplica("shop0-0", "shop0-1", 2, True))
    assert "SET GLOBAL gtid_slave_pos = 0-10-9" in session.changes()
