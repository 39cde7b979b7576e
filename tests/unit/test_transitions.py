"""Conditions in the JSON of a status."""

from __future__ import annotations

from typing import Any

from operatorkit.transitions import set_json_condition

READY = {"type": "Ready", "status": "True", "reason": "Up", "message": ""}


def test_conditions_of_json_keep_their_order_and_the_time_of_a_status():
    conditions: list[dict[str, Any]] = []
    assert set_json_condition(conditions, READY, now="T1")
    assert set_json_condition(conditions, {**READY, "type": "Paused", "status": "False"}, now="T1")
    assert not set_json_condition(conditions, READY, now="T2")
    assert set_json_condition(conditions, {**READY, "reason": "StillUp"}, now="T2")
    assert [(each["type"], each["lastTransitionTime"]) for each in conditions] == [("Ready", "T1"), ("Paused", "T1")]
    assert set_json_condition(conditions, {**READY, "status": "False", "reason": "Down"}, now="T3")
    assert conditions[0] == {**READY, "status": "False", "reason": "Down", "lastTransitionTime": "T3"}
