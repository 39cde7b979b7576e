"""How a transaction over several shards ends that stayed prepared."""

from __future__ import annotations

import itertools

import pytest

from operatorkit.errors import InputError
from operators.mysql_sharding.gtid import Position
from operators.mysql_sharding.proxy.transactions import (
    Branch,
    Xid,
    logged_event,
    outcome,
    start_of_file,
    statement,
)

NAME = Xid(b"7000000000000008a", b"63")
HEX = "X'3730303030303030303030303030303861',X'3633',1"


def branch(shard, *logged, prepared=False, complete=True):
    return Branch(shard, prepared, frozenset(logged), complete)


def row(data, gtrid=17, bqual=2, kind=1):
    return {"formatID": kind, "gtrid_length": gtrid, "bqual_length": bqual, "data": data}


def test_names_of_nodes_are_recognized_and_those_of_others_are_left_alone():
    assert Xid.recovered(row("7000000000000008a63")) == NAME
    assert Xid.recovered(row(b"7000000000000008a63")) == NAME
    assert str(NAME) == "7000000000000008a.63"
    assert Xid.recovered(row("order-17-of-an-app63", gtrid=18)) is None
    assert Xid.recovered(row("7000000000000008a63", kind=2)) is None
    assert Xid.recovered(row("7f63", gtrid=2)) is None, "too short to hold a query"


@pytest.mark.parametrize("verb", ["PREPARE", "COMMIT", "ROLLBACK"])
def test_events_of_the_binary_log_name_a_transaction(verb):
    assert logged_event(f"XA {verb} {HEX}") == (NAME, verb)


def test_other_events_name_none():
    assert logged_event(f"XA START {HEX} GTID 0-11-7") is None
    assert logged_event("insert into t values ('XA COMMIT')") is None


def test_a_binary_log_begins_at_its_list_of_gtids():
    assert start_of_file("[]") == Position()
    assert start_of_file("[0-11-450,\n1-12-3]") == Position.parse("0-11-450,1-12-3")
    with pytest.raises(InputError, match="expected a list of GTIDs"):
        start_of_file("0-11-450")


def test_one_commit_commits_all_and_none_rolls_all_back():
    prepared = branch("shop1", "PREPARE", prepared=True)
    committed = branch("shop0", "PREPARE", "COMMIT")
    assert outcome([committed, prepared]).decision == "COMMIT"
    assert outcome([branch("shop0"), prepared]).decision == "ROLLBACK"
    assert outcome([branch("shop0", "PREPARE", "ROLLBACK"), prepared]).decision == "ROLLBACK"


def test_nothing_is_decided_while_a_commit_cannot_be_excluded():
    prepared = branch("shop1", "PREPARE", prepared=True)
    found = outcome([branch("shop0", complete=False), prepared])
    assert found.decision is None
    assert "shop0 do not reach back" in found.why
    assert outcome([branch("shop0", complete=False), branch("shop1", "COMMIT")]).decision == "COMMIT"


def test_no_schedule_of_crashes_commits_one_branch_and_rolls_another_back():
    """Each shard has prepared it or not; the node has then committed some of them, or rolled some back."""
    for count in (1, 2, 3):
        for votes in itertools.product([True, False], repeat=count):
            verbs = ("COMMIT",) if all(votes) else ("ROLLBACK",)
            for ended in itertools.product([None, *verbs], repeat=count):
                shards = [
                    branch(f"shop{n}", *["PREPARE"][:vote], *([end] if end else []), prepared=vote and not end)
                    for n, (vote, end) in enumerate(zip(votes, ended, strict=True))
                ]
                every_order_of_interruptions(shards)


def every_order_of_interruptions(shards):
    """End prepared branches one by one, in each order, and decide again after each, as after a crash."""
    for order in itertools.permutations(range(len(shards))):
        now = list(shards)
        for index in order:
            if now[index].prepared:
                end = outcome(now).decision
                assert end is not None
                now[index] = branch(now[index].shard, *now[index].logged, end)
        ends = {verb for one in now for verb in one.logged if verb != "PREPARE"}
        assert len(ends) <= 1, (shards, now)


def test_a_branch_is_ended_in_the_binary_log_only_where_replicas_hold_it():
    held = branch("shop0", "PREPARE", prepared=True)
    assert statement(NAME, held, "COMMIT") == (f"XA COMMIT {HEX}", True)
    assert statement(NAME, branch("shop0", "PREPARE", "COMMIT", prepared=True), "COMMIT")[1] is False
    assert statement(NAME, branch("shop0", prepared=True), "ROLLBACK")[1] is False, "it was never logged"
    assert statement(NAME, branch("shop0", prepared=True, complete=False), "ROLLBACK")[1] is True
