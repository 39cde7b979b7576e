from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from kubernetes.client.models import V1DeploymentCondition, V1NodeCondition, V1PodCondition, V1ReplicaSetCondition

from operatorkit.conditions import Condition, get_condition, is_true, set_condition
from operatorkit.errors import DefinitionError, TerminalError

NOON = datetime(2026, 1, 2, 12, 0, 0, 987654, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)


def test_a_new_condition_goes_to_the_end_and_has_whole_seconds() -> None:
    conditions: list[Condition] = []
    assert set_condition(conditions, "Ready", True, "Issued", "it works", now=NOON, observed_generation=3)
    assert set_condition(conditions, "Stalled", False, "Fine", now=NOON)
    assert [condition.type for condition in conditions] == ["Ready", "Stalled"]
    assert conditions[0].last_transition_time == NOON.replace(microsecond=0)
    assert conditions[0].observed_generation == 3


def test_the_time_of_transition_moves_only_when_the_status_does() -> None:
    conditions: list[Condition] = []
    set_condition(conditions, "Ready", False, "Waiting", now=NOON)
    assert set_condition(conditions, "Ready", False, "StillWaiting", "patience", now=LATER)
    assert conditions[0].last_transition_time == NOON.replace(microsecond=0)
    assert conditions[0].reason == "StillWaiting"
    assert set_condition(conditions, "Ready", True, "Issued", now=LATER)
    assert conditions[0].last_transition_time == LATER.replace(microsecond=0)


def test_setting_what_is_already_so_changes_nothing() -> None:
    conditions: list[Condition] = []
    set_condition(conditions, "Ready", True, "Issued", "m", now=NOON, observed_generation=1)
    before = [condition.model_copy() for condition in conditions]
    assert not set_condition(conditions, "Ready", True, "Issued", "m", now=LATER, observed_generation=1)
    assert conditions == before


@pytest.mark.parametrize(
    ("given", "word"), [(True, "True"), (False, "False"), (None, "Unknown"), ("Unknown", "Unknown")]
)
def test_a_status_is_one_of_three_words(given: bool | None, word: str) -> None:
    conditions: list[Condition] = []
    set_condition(conditions, "Ready", given, "R", now=NOON)
    assert conditions[0].status == word


def test_what_others_added_to_a_condition_survives() -> None:
    stored = {
        "type": "Ready",
        "status": "True",
        "reason": "R",
        "message": "",
        "lastTransitionTime": "2026-01-02T12:00:00Z",
        "severity": "Info",
    }
    conditions = [Condition.model_validate(stored)]
    set_condition(conditions, "Ready", True, "Other", now=LATER)
    assert conditions[0].model_extra == {"severity": "Info"}


def test_conditions_are_found_by_type() -> None:
    conditions: list[Condition] = []
    set_condition(conditions, "Ready", True, "R", now=NOON)
    set_condition(conditions, "Stalled", None, "R", now=NOON)
    found = get_condition(conditions, "Ready")
    assert found is not None
    assert found.status == "True"
    assert get_condition(conditions, "Other") is None
    assert [is_true(conditions, name) for name in ("Ready", "Stalled", "Other")] == [True, False, False]


@pytest.mark.parametrize("reason", ["", "no spaces", "9Lives", "x" * 1025])
def test_a_reason_that_the_api_server_would_reject_is_rejected_here(reason: str) -> None:
    with pytest.raises(DefinitionError, match="the reason must be"):
        set_condition([], "Ready", True, reason, now=NOON)


@pytest.mark.parametrize("reason", ["Not Found!", "", "x\n", "9Lives", "Ends:", "x" * 1025, None])
def test_a_reason_is_checked_where_it_is_made_and_the_error_names_it(reason: str) -> None:
    for make in (
        lambda: TerminalError("no", reason=reason),
        lambda: Condition(type="Ready", status="True", reason=reason, message="", last_transition_time=NOON),
    ):
        with pytest.raises(DefinitionError, match="the reason must be") as caught:
            make()
        assert repr(reason)[:40] in str(caught.value)


@pytest.mark.parametrize("type_", ["Not Ready", "", "-Ready", "UPPER.example/Ready", "x" * 317, 5])
def test_a_type_is_checked_where_it_is_made_and_the_error_names_it(type_: str) -> None:
    for make in (
        lambda: set_condition([], type_, True, "Fine", now=NOON),
        lambda: Condition(type=type_, status="True", reason="Fine", message="", last_transition_time=NOON),
    ):
        with pytest.raises(DefinitionError, match="the type must be") as caught:
            make()
        assert repr(type_)[:40] in str(caught.value)


def test_a_message_that_is_too_long_is_cut() -> None:
    conditions: list[Condition] = []
    assert set_condition(conditions, "Ready", False, "Broken", "é" * 40_000, now=NOON)
    assert not set_condition(conditions, "Ready", False, "Broken", "é" * 40_000, now=LATER)
    made = Condition(type="Ready", status="False", reason="Broken", message="é" * 40_000, last_transition_time=NOON)
    for message in (conditions[0].message, made.message):
        assert (len(message), message[-2:]) == (32_768, "é…")


def test_a_condition_gets_the_fields_that_its_kind_has() -> None:
    for model, times in {
        V1DeploymentCondition: {"last_transition_time", "last_update_time"},
        V1NodeCondition: {"last_transition_time", "last_heartbeat_time"},
        V1PodCondition: {"last_transition_time", "last_probe_time", "observed_generation"},
        V1ReplicaSetCondition: {"last_transition_time"},
    }.items():
        conditions: list = []
        assert set_condition(conditions, "Fit", True, "Fine", now=NOON, observed_generation=2, model=model)
        assert conditions[0].model_fields_set == {"type", "status", "reason", "message"} | times
        assert isinstance(conditions[0], model)


def test_the_time_of_update_moves_when_anything_changes() -> None:
    conditions: list = []
    set_condition(conditions, "Fit", True, "Fine", "a", now=NOON, model=V1DeploymentCondition)
    assert not set_condition(conditions, "Fit", True, "Fine", "a", now=LATER, model=V1DeploymentCondition)
    assert conditions[0].last_update_time == NOON.replace(microsecond=0)
    assert set_condition(conditions, "Fit", True, "Fine", "b", now=LATER, model=V1DeploymentCondition)
    assert conditions[0].last_update_time == LATER.replace(microsecond=0)
    assert conditions[0].last_transition_time == NOON.replace(microsecond=0)
