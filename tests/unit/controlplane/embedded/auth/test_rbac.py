from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from operatorkit.controlplane.embedded.auth.rbac import Attributes, Authorizer, forbidden_message
from operatorkit.controlplane.embedded.auth.rbac_defaults import default_objects

_PLURALS = {
    "Role": "roles",
    "ClusterRole": "clusterroles",
    "RoleBinding": "rolebindings",
    "ClusterRoleBinding": "clusterrolebindings",
}


def _lister(objects: Iterable[dict[str, Any]]) -> Callable[[str], list[dict[str, Any]]]:
    held = list(objects)
    return lambda plural: [obj for obj in held if _PLURALS[obj["kind"]] == plural]


def _authorizer(*objects: dict[str, Any]) -> Authorizer:
    return Authorizer(_lister(objects), version=lambda: 1)


def _role(name: str, *rules: dict[str, Any], namespace: str = "", **more: Any) -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {}), **more.pop("metadata", {})}
    return {"kind": "Role" if namespace else "ClusterRole", "metadata": metadata, "rules": list(rules), **more}


def _binding(role: str, *subjects: tuple[str, str], namespace: str = "", kind: str = "ClusterRole") -> dict[str, Any]:
    return {
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "metadata": {"name": f"{role}-binding", **({"namespace": namespace} if namespace else {})},
        "roleRef": {"kind": kind, "name": role},
        "subjects": [
            {
                "kind": subject_kind,
                "name": name.rpartition(":")[2] if subject_kind == "ServiceAccount" else name,
                **({"namespace": name.partition(":")[0]} if subject_kind == "ServiceAccount" and ":" in name else {}),
            }
            for subject_kind, name in subjects
        ],
    }


def _rule(verbs: str, groups: str, resources: str, names: str = "") -> dict[str, Any]:
    return {
        "verbs": verbs.split(),
        "apiGroups": [group.replace("core", "") for group in groups.split()],
        "resources": resources.split(),
        **({"resourceNames": names.split()} if names else {}),
    }


@pytest.mark.parametrize(
    ("rule", "request_", "allowed"),
    [
        (_rule("get", "core", "pods"), {"verb": "get", "resource": "pods"}, True),
        (_rule("get", "core", "pods"), {"verb": "list", "resource": "pods"}, False),
        (_rule("get", "core", "pods"), {"verb": "get", "resource": "pods", "group": "metrics.k8s.io"}, False),
        (_rule("get", "core", "pods"), {"verb": "get", "resource": "pods", "subresource": "log"}, False),
        (_rule("get", "core", "pods/log"), {"verb": "get", "resource": "pods", "subresource": "log"}, True),
        (_rule("get", "core", "pods/log"), {"verb": "get", "resource": "pods"}, False),
        (_rule("get", "core", "*/log"), {"verb": "get", "resource": "pods", "subresource": "log"}, True),
        (_rule("get", "core", "*/log"), {"verb": "get", "resource": "pods"}, False),
        (_rule("*", "*", "*"), {"verb": "patch", "resource": "pods", "group": "x.io", "subresource": "log"}, True),
        (_rule("get", "core", "secrets", "tls"), {"verb": "get", "resource": "secrets", "name": "tls"}, True),
        (_rule("get", "core", "secrets", "tls"), {"verb": "get", "resource": "secrets", "name": "other"}, False),
        (_rule("list", "core", "secrets", "tls"), {"verb": "list", "resource": "secrets"}, False),
        ({"verbs": ["get"], "nonResourceURLs": ["/healthz"]}, {"verb": "get", "path": "/healthz"}, True),
        ({"verbs": ["get"], "nonResourceURLs": ["/healthz"]}, {"verb": "get", "path": "/healthz/etcd"}, False),
        ({"verbs": ["get"], "nonResourceURLs": ["/healthz/*"]}, {"verb": "get", "path": "/healthz/etcd"}, True),
        ({"verbs": ["get"], "nonResourceURLs": ["*"]}, {"verb": "get", "path": "/metrics"}, True),
        ({"verbs": ["get"], "nonResourceURLs": ["*"]}, {"verb": "get", "resource": "pods"}, False),
        (_rule("*", "*", "*"), {"verb": "get", "path": "/metrics"}, False),
    ],
)
def test_a_rule_allows_what_it_names_and_no_more(rule: dict[str, Any], request_: dict[str, Any], allowed: bool) -> None:
    authorizer = _authorizer(_role("r", rule), _binding("r", ("User", "mara")))

    assert authorizer.authorize(Attributes(user="mara", **request_)).allowed is allowed


@pytest.mark.parametrize(
    ("subject", "user", "groups", "allowed"),
    [
        (("User", "mara"), "mara", (), True),
        (("User", "mara"), "tom", ("mara",), False),
        (("Group", "team-a"), "tom", ("team-b", "team-a"), True),
        (("Group", "team-a"), "team-a", (), False),
        (("ServiceAccount", "pki:operator"), "system:serviceaccount:pki:operator", (), True),
        (("ServiceAccount", "pki:operator"), "system:serviceaccount:other:operator", (), False),
        (("ServiceAccount", "operator"), "system:serviceaccount:team-a:operator", (), True),
        (("ServiceAccount", "operator"), "operator", (), False),
    ],
)
def test_a_binding_reaches_its_subjects(
    subject: tuple[str, str], user: str, groups: tuple[str, ...], allowed: bool
) -> None:
    authorizer = _authorizer(_role("r", _rule("get", "core", "pods")), _binding("r", subject, namespace="team-a"))

    decision = authorizer.authorize(
        Attributes(user=user, groups=groups, verb="get", resource="pods", namespace="team-a", name="x")
    )

    assert decision.allowed is allowed


def test_a_role_binding_holds_in_its_namespace_only() -> None:
    authorizer = _authorizer(
        _role("r", _rule("get", "core", "pods"), namespace="team-a"),
        _binding("r", ("User", "mara"), namespace="team-a", kind="Role"),
    )

    answers = {
        namespace: authorizer.authorize(
            Attributes(user="mara", verb="get", resource="pods", namespace=namespace)
        ).allowed
        for namespace in ("team-a", "team-b", "")
    }

    assert answers == {"team-a": True, "team-b": False, "": False}


def test_the_reason_names_binding_role_and_subject() -> None:
    authorizer = _authorizer(
        _role("r", _rule("get", "core", "pods")),
        _binding("r", ("ServiceAccount", "pki:operator"), namespace="team-a"),
    )

    decision = authorizer.authorize(
        Attributes(user="system:serviceaccount:pki:operator", verb="get", resource="pods", namespace="team-a")
    )

    assert decision.reason == (
        'RBAC: allowed by RoleBinding "r-binding/team-a" of ClusterRole "r" to ServiceAccount "operator/pki"'
    )


def test_a_binding_to_a_role_that_is_missing_says_so() -> None:
    decision = _authorizer(_binding("ghost", ("User", "mara"))).authorize(
        Attributes(user="mara", verb="get", resource="pods", namespace="default")
    )

    assert not decision.allowed
    assert decision.reason == 'RBAC: clusterrole.rbac.authorization.k8s.io "ghost" not found'


def test_masters_need_no_role() -> None:
    authorizer = _authorizer()

    assert authorizer.authorize(Attributes(user="root", groups=("system:masters",), verb="x", resource="y")).allowed


def test_an_aggregated_role_is_the_sum_of_those_it_selects_over_two_levels() -> None:
    select = {"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to": "edit"}}]}}
    top = {"aggregationRule": {"clusterRoleSelectors": [{"matchExpressions": [{"key": "top", "operator": "Exists"}]}]}}
    authorizer = _authorizer(
        _role("top", **top),
        _role("edit", _rule("ignored", "core", "pods"), metadata={"labels": {"top": "yes"}}, **select),
        _role("part", _rule("get", "pki.io", "issuers"), metadata={"labels": {"to": "edit"}}),
        _binding("top", ("User", "mara")),
    )

    def allowed(verb: str, group: str, resource: str) -> bool:
        return authorizer.authorize(Attributes(user="mara", verb=verb, group=group, resource=resource)).allowed

    assert allowed("get", "pki.io", "issuers")
    assert not allowed("ignored", "", "pods")


def test_roles_that_aggregate_each_other_end() -> None:
    def circular(name: str, other: str) -> dict[str, Any]:
        return _role(
            name,
            metadata={"labels": {"me": name}},
            aggregationRule={"clusterRoleSelectors": [{"matchLabels": {"me": other}}]},
        )

    authorizer = _authorizer(circular("a", "b"), circular("b", "a"), _binding("a", ("User", "mara")))

    assert not authorizer.authorize(Attributes(user="mara", verb="get", resource="pods")).allowed


def test_a_change_counts_from_the_next_version_on() -> None:
    objects = [_role("r", _rule("get", "core", "pods"))]
    version = 1
    authorizer = Authorizer(
        lambda plural: [obj for obj in objects if _PLURALS[obj["kind"]] == plural], version=lambda: version
    )
    request = Attributes(user="mara", verb="get", resource="pods")
    assert not authorizer.authorize(request).allowed

    objects.append(_binding("r", ("User", "mara")))
    version = 2

    assert authorizer.authorize(request).allowed


@pytest.mark.parametrize(
    ("request_", "reason", "message"),
    [
        (
            {"verb": "list", "resource": "pods", "namespace": "team-a"},
            "",
            'pods is forbidden: User "mara" cannot list resource "pods" in API group "" in the namespace "team-a"',
        ),
        (
            {"verb": "get", "resource": "pods", "subresource": "log", "name": "x", "namespace": "team-a"},
            "",
            'pods "x" is forbidden: User "mara" cannot get resource "pods/log" in API group "" in the namespace "team-a"',
        ),
        (
            {"verb": "list", "resource": "deployments", "group": "apps"},
            'RBAC: clusterrole.rbac.authorization.k8s.io "ghost" not found',
            (
                'deployments.apps is forbidden: User "mara" cannot list resource "deployments" in API group "apps" '
                'at the cluster scope: RBAC: clusterrole.rbac.authorization.k8s.io "ghost" not found'
            ),
        ),
        ({"verb": "get", "path": "/metrics"}, "", 'forbidden: User "mara" cannot get path "/metrics"'),
        ({"verb": "get", "path": "/<b>"}, "", 'forbidden: User "mara" cannot get path "/&lt;b&gt;"'),
    ],
)
def test_a_rejection_is_worded_as_kubernetes_does(request_: dict[str, Any], reason: str, message: str) -> None:
    assert forbidden_message(Attributes(user="mara", **request_), reason) == message


@pytest.mark.parametrize(
    ("role", "verb", "group", "resource", "allowed"),
    [
        ("view", "get", "", "configmaps", True),
        ("view", "get", "", "secrets", False),
        ("view", "create", "apps", "deployments", False),
        ("edit", "get", "", "configmaps", True),
        ("edit", "create", "apps", "deployments", True),
        ("edit", "create", "rbac.authorization.k8s.io", "roles", False),
        ("admin", "create", "rbac.authorization.k8s.io", "roles", True),
        ("admin", "delete", "", "secrets", True),
        ("admin", "create", "", "namespaces", False),
        ("cluster-admin", "create", "anything.io", "things", True),
    ],
)
def test_the_roles_for_people_differ_as_in_kubernetes(
    role: str, verb: str, group: str, resource: str, allowed: bool
) -> None:
    authorizer = _authorizer(*default_objects(), _binding(role, ("User", "mara"), namespace="team-a"))

    decision = authorizer.authorize(
        Attributes(user="mara", verb=verb, group=group, resource=resource, namespace="team-a")
    )

    assert decision.allowed is allowed


def test_everybody_who_is_known_may_discover_and_ask_about_themselves() -> None:
    authorizer = _authorizer(*default_objects())
    known = ("system:authenticated",)

    assert authorizer.authorize(Attributes("mara", "get", known, path="/apis/apps/v1")).allowed
    assert authorizer.authorize(
        Attributes("mara", "create", known, group="authorization.k8s.io", resource="selfsubjectaccessreviews")
    ).allowed
    assert not authorizer.authorize(Attributes("mara", "get", known, path="/metrics")).allowed


def test_strangers_see_health_and_version_only() -> None:
    authorizer = _authorizer(*default_objects())
    stranger = ("system:unauthenticated",)

    answers = {
        path: authorizer.authorize(Attributes("system:anonymous", "get", stranger, path=path)).allowed
        for path in ("/healthz", "/version", "/api")
    }

    assert answers == {"/healthz": True, "/version": True, "/api": False}


def test_a_rules_review_lists_what_a_user_may_do() -> None:
    authorizer = _authorizer(
        _role("r", _rule("get", "core", "pods", "x"), {"verbs": ["get"], "nonResourceURLs": ["/metrics"]}),
        _binding("r", ("User", "mara"), namespace="team-a"),
    )

    assert authorizer.rules_for("mara", (), "team-a") == (
        [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["x"]}],
        [{"verbs": ["get"], "nonResourceURLs": ["/metrics"]}],
    )
    assert authorizer.rules_for("mara", (), "team-b") == ([], [])
    assert authorizer.rules_for("root", ("system:masters",), "team-b") == (
        [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
        [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    )
