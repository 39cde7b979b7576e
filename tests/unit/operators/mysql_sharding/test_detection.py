"""When a primary is considered failed: tables of probes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from operators.mysql_sharding.detection import Policy, Probe, failure, recorded

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def primary(*answers: bool, error: str = "timeout") -> list[Probe]:
    return [
        Probe(member="db-0", at=at(number), answered=answer, error="" if answer else error)
        for number, answer in enumerate(answers)
    ]


def replica(
    name: str,
    *states: tuple[bool, int] | None,
    received: str = "0-1-5",
    growing: bool = False,
) -> list[Probe]:
    """Return one probe a second: None for no answer, else (connected, heartbeats)."""
    return [
        Probe(member=name, at=at(number), answered=False, error="timeout")
        if state is None
        else Probe(
            member=name,
            at=at(number),
            answered=True,
            connected=state[0],
            heartbeats=state[1],
            received=f"0-1-{5 + number}" if growing else received,
        )
        for number, state in enumerate(states)
    ]


def decide(*histories: list[Probe], replicas: tuple[str, ...] = ("db-1", "db-2")) -> str:
    probes = [probe for history in histories for probe in history]
    return failure(probes, primary="db-0", replicas=replicas, policy=Policy())


OFF, SILENT = (False, 7), (True, 7)


def test_three_failed_probes_and_disconnected_replicas_are_a_failure() -> None:
    says = decide(primary(True, False, False, False), replica("db-1", *[OFF] * 4))
    assert says == ("3 probes of db-0 failed, the last with: timeout; no replica has heard from it")


@pytest.mark.parametrize("answers", [(False, False), (False, False, True), (False, True, False)])
def test_fewer_than_three_in_a_row_are_none(answers: tuple[bool, ...]) -> None:
    assert not decide(primary(*answers), replica("db-1", *[OFF] * 3))


def test_a_connection_on_which_nothing_arrives_does_not_count_as_hearing() -> None:
    assert decide(primary(False, False, False), replica("db-1", *[SILENT] * 3))


def test_a_replica_that_hears_heartbeats_contradicts() -> None:
    heard = replica("db-1", (True, 7), (True, 8), (True, 9))
    assert not decide(primary(False, False, False), heard, replica("db-2", *[OFF] * 3))


def test_heartbeats_without_a_transaction_contradict_for_ten_probes_only() -> None:
    heard = replica("db-1", *[(True, number) for number in range(10)])
    assert not decide(primary(*[False] * 9), heard[:9])
    assert decide(primary(*[False] * 10), heard).endswith("replicas hear heartbeats, but no transaction")


def test_transactions_contradict_for_ever() -> None:
    heard = replica("db-1", *[(True, 7)] * 30, growing=True)
    assert not decide(primary(*[False] * 30), heard)


def test_one_answer_of_a_connected_replica_is_not_enough_to_conclude() -> None:
    assert not decide(primary(False, False, False), replica("db-1", (True, 7)))


def test_an_operator_that_reaches_nothing_concludes_nothing() -> None:
    assert not decide(primary(*[False] * 20), replica("db-1", *[None] * 20))


def test_old_answers_of_replicas_do_not_count() -> None:
    before = replica("db-1", (False, 1))
    assert not decide(primary(True, False, False, False), before)


def test_a_shard_of_one_member_is_decided_by_its_own_probes() -> None:
    assert decide(primary(False, False, False, error=""), replicas=()) == (
        "3 probes of db-0 failed, the last with: no answer"
    )


def test_a_history_keeps_the_last_probes_of_each_member() -> None:
    history: tuple[Probe, ...] = ()
    for probe in [*primary(*[True] * 5), *replica("db-1", *[OFF] * 5)]:
        history = recorded(history, probe, keep=2)
    assert [(probe.member, probe.at) for probe in history] == [
        ("db-0", at(3)),
        ("db-0", at(4)),
        ("db-1", at(3)),
        ("db-1", at(4)),
    ]


def test_a_policy_that_cannot_be_met_is_an_error() -> None:
    with pytest.raises(ValueError, match="failures must be between 1 and hang_failures"):
        Policy(failures=4, hang_failures=3)
