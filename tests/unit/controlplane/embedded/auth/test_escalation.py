from __future__ import annotations

from typing import Any

import pytest

from operatorkit.controlplane.embedded.auth.authn import ADMIN_GROUP
from operatorkit.controlplane.embedded.auth.escalation import Escalation
from operatorkit.controlplane.embedded.errors.errors import ApiError
from operatorkit.controlplane.embedded.request.user import User
from operatorkit.controlplane.embedded.storage.store import Storage

ANN = User("ann", ("devs",))
READ = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}


def _escalation(*held: dict[str, Any], may: tuple[str, ...] = ()) -> Escalation:
    storage = Storage()
    role = {"metadata": {"name": "edit"}, "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]}
    storage.put(storage.collection("clusterroles.rbac.authorization.k8s.io"), role, None)
    return Escalation(storage, lambda _, request: request["verb"] in may, lambda _, __: (held, ()))


def _role(*rules: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "r", "namespace": "default"}, "rules": list(rules)}


@pytest.mark.parametrize(
    "rule",
    [
        READ,
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "resourceNames": ["x"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": []},
    ],
)
def test_what_one_has_one_may_give(rule: dict[str, Any]) -> None:
    _escalation(READ).check(ANN, "roles", _role(rule))


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({**READ, "verbs": ["get", "delete"]}, '{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}'),
        ({**READ, "resources": ["*"]}, '{APIGroups:[""], Resources:["*"], Verbs:["get" "list"]}'),
        (
            {**READ, "resources": ["pods/log"], "verbs": ["get"]},
            '{APIGroups:[""], Resources:["pods/log"], Verbs:["get"]}',
        ),
        ({"nonResourceURLs": ["/metrics"], "verbs": ["get"]}, '{NonResourceURLs:["/metrics"], Verbs:["get"]}'),
    ],
)
def test_what_one_has_not_one_may_not_give(rule: dict[str, Any], text: str) -> None:
    with pytest.raises(ApiError) as raised:
        _escalation(READ).check(ANN, "roles", _role(rule))
    assert raised.value.code == 403
    assert raised.value.message == (
        'roles.rbac.authorization.k8s.io "r" is forbidden: user "ann" (groups=["devs"]) is attempting to grant RBAC '
        f"permissions not currently held:\n{text}"
    )


def test_a_rule_for_one_name_does_not_cover_all() -> None:
    with pytest.raises(ApiError, match="not currently held"):
        _escalation({**READ, "resourceNames": ["x"]}).check(ANN, "roles", _role(READ))


def test_binding_gives_what_the_role_has() -> None:
    binding = {"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "edit"}}
    with pytest.raises(ApiError, match="not currently held"):
        _escalation(READ).check(ANN, "rolebindings", binding)
    _escalation(READ, may=("bind",)).check(ANN, "rolebindings", binding)
    missing = {"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "none"}}
    with pytest.raises(ApiError, match='"none" not found'):
        _escalation().check(ANN, "rolebindings", missing)


def test_masters_and_those_who_may_escalate_may_give_anything() -> None:
    everything = _role({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]})
    _escalation().check(User("root", (ADMIN_GROUP,)), "roles", everything)
    _escalation(may=("escalate",)).check(ANN, "roles", everything)
