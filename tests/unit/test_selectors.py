"""Label selectors mean the same as an object of JSON and as a model of each package."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes.client.models import V1LabelSelector

from operatorkit.resource import LabelSelector
from operatorkit.selectors import Requirement, is_empty, matches, selector_text

LABELS = {"app": "web", "tier": "front"}
CASES: list[tuple[dict[str, Any], bool, str]] = [
    ({}, True, ""),
    ({"matchLabels": {"app": "web"}}, True, "app=web"),
    ({"matchLabels": {"app": "db"}}, False, "app=db"),
    ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "db"]}]}, True, "app in (db,web)"),
    ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, False, "app notin (web)"),
    ({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]}, True, "zone notin (a)"),
    ({"matchExpressions": [{"key": "zone", "operator": "Exists"}]}, False, "zone"),
    ({"matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]}, True, "!zone"),
    (
        {"matchLabels": {"tier": "front"}, "matchExpressions": [{"key": "app", "operator": "Exists"}]},
        True,
        "app,tier=front",
    ),
]


@pytest.mark.parametrize("form", [dict, LabelSelector.model_validate, V1LabelSelector.from_dict])
@pytest.mark.parametrize(("selector", "selected", "text"), CASES, ids=[case[2] or "empty" for case in CASES])
def test_a_selector_has_one_meaning_in_each_form(form: Any, selector: dict[str, Any], selected: bool, text: str):
    given = form(selector)
    assert matches(given, LABELS) is selected
    assert selector_text(given) == text
    assert is_empty(given) is (text == "")


@pytest.mark.parametrize(
    ("operator", "values", "holds"),
    [("Gt", ("3",), True), ("Gt", ("4",), False), ("Lt", ("5",), True), ("Lt", ("x",), False), ("Near", ("4",), False)],
)
def test_node_selectors_compare_integers(operator: str, values: tuple[str, ...], holds: bool):
    assert Requirement("cores", operator, values).holds({"cores": "4"}) is holds
    assert not Requirement("cores", operator, values).holds({"cores": "many"})
    assert not Requirement("cores", operator, values).holds({})
