from __future__ import annotations

from typing import Any

from operatorkit.controlplane.controllers.clusterrole_aggregation import aggregated_rules

PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
SECRETS = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}


def role(name: str, *rules: dict[str, Any], **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}, "rules": list(rules)}


def whole(*selectors: dict[str, str], **labels: str) -> dict[str, Any]:
    rule = {"clusterRoleSelectors": [{"matchLabels": it} for it in selectors]}
    return role("whole", PODS, **labels) | {"aggregationRule": rule}


def test_rules_come_by_selector_and_then_by_name_each_once() -> None:
    roles = [role("b", PODS, SECRETS, part="x"), role("a", SECRETS, part="x"), role("c", PODS, part="y")]
    assert aggregated_rules(whole({"part": "y"}, {"part": "x"}), roles) == [PODS, SECRETS]
    assert aggregated_rules(whole({"part": "x"}), roles) == [SECRETS, PODS]


def test_a_role_does_not_aggregate_itself_or_what_it_does_not_select() -> None:
    itself = whole({"part": "x"}, part="x")
    assert aggregated_rules(itself, [itself, role("other", SECRETS, part="y")]) == []
