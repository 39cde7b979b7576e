"""Who may do what: Kubernetes' role-based access control, as a function of its four kinds of objects.

What belongs here: roles, bindings, the rules that follow from them, the decision about one request and the words of a
denial. What does not: authentication, and the roles that every cluster has (`rbac_defaults`).

    user, groups -> bindings that name them -> roles (an aggregated ClusterRole is the sum of those it selects) -> rules

Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from operatorkit.cluster.api import JSONObject
from operatorkit.selectors import matches

__all__ = ["MASTERS", "Attributes", "Authorizer", "Decision", "Lister", "forbidden_message"]

MASTERS = "system:masters"
"""The group that may do everything, whatever the roles say."""

_GROUP = "rbac.authorization.k8s.io"

Lister = Callable[[str], Iterable[JSONObject]]
"""Returns all objects of a plural: `roles`, `clusterroles`, `rolebindings` or `clusterrolebindings`."""


class Attributes(NamedTuple):
    """One request as access control sees it: a resource (`resource` is set) or any other URL (`path` is set)."""

    user: str
    verb: str
    groups: Sequence[str] = ()
    namespace: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a request is allowed, and why; a denial has a reason only where a bound role does not exist."""

    allowed: bool
    reason: str = ""


_ALLOWED = Decision(allowed=True)


@dataclass(frozen=True, slots=True)
class _Rule:
    """A PolicyRule."""

    verbs: frozenset[str]
    groups: frozenset[str]
    resources: frozenset[str]
    names: frozenset[str]
    urls: tuple[str, ...]
    raw: JSONObject

    @classmethod
    def of(cls, raw: JSONObject) -> _Rule:
        return cls(
            verbs=frozenset(raw.get("verbs") or ()),
            groups=frozenset(raw.get("apiGroups") or ()),
            resources=frozenset(raw.get("resources") or ()),
            names=frozenset(raw.get("resourceNames") or ()),
            urls=tuple(raw.get("nonResourceURLs") or ()),
            raw=raw,
        )

    def allows(self, request: Attributes) -> bool:
        if not _has(self.verbs, request.verb):
            return False
        if not request.resource:
            return any(_url_matches(url, request.path) for url in self.urls)
        return (
            _has(self.groups, request.group)
            and self._covers(request.resource, request.subresource)
            and (not self.names or request.name in self.names)
        )

    def _covers(self, resource: str, subresource: str) -> bool:
        if not subresource:
            return _has(self.resources, resource)
        return (
            _has(self.resources, f"{resource}/{subresource}")
            or f"*/{subresource}" in self.resources
        )


@dataclass(frozen=True, slots=True)
class _Grant:
    """A binding as seen from one of its subjects: what it refers to, and how a reason names it."""

    namespace: str
    role_kind: str
    role_name: str
    source: str


class _Policy:
    """All roles and bindings of one moment, indexed by who and where."""

    def __init__(self, lister: Lister) -> None:
        self._roles = {
            (role["metadata"]["namespace"], role["metadata"]["name"]): _rules(role)
            for role in lister("roles")
        }
        self._cluster_roles = _aggregated(list(lister("clusterroles")))
        # Where a grant holds ("" is everywhere) and whom it names -> the grants.
        self._grants: dict[tuple[str, str, str], list[_Grant]] = defaultdict(list)
        for kind, plural in (
            ("ClusterRoleBinding", "clusterrolebindings"),
            ("RoleBinding", "rolebindings"),
        ):
            for binding in sorted(lister(plural), key=_sort_key):
                self._add(kind, binding)

    def _add(self, kind: str, binding: JSONObject) -> None:
        metadata, role = binding["metadata"], binding["roleRef"]
        namespace = metadata.get("namespace", "")
        name = f"{metadata['name']}/{namespace}" if namespace else metadata["name"]
        for subject in binding.get("subjects") or ():
            subject_kind, subject_name, shown = subject["kind"], subject["name"], subject["name"]
            if subject_kind == "ServiceAccount":
                home = subject.get("namespace") or namespace
                if not home:
                    continue
                subject_kind, subject_name = "User", f"system:serviceaccount:{home}:{subject_name}"
                shown = f"{shown}/{home}"
            given = f"{role['kind']} {_quote(role['name'])} to {subject['kind']} {_quote(shown)}"
            source = f"{kind} {_quote(name)} of {given}"
            self._grants[namespace, subject_kind, subject_name].append(
                _Grant(namespace, role["kind"], role["name"], source)
            )

    def grants(self, user: str, groups: Sequence[str], namespace: str) -> Iterator[_Grant]:
        """Yield what holds for a user in a namespace; cluster-wide grants first."""
        for place in ("", namespace) if namespace else ("",):
            yield from self._grants.get((place, "User", user), ())
            for group in groups:
                yield from self._grants.get((place, "Group", group), ())

    def rules(self, grant: _Grant) -> Sequence[_Rule] | None:
        """Return the rules of a grant's role, or None when there is no such role."""
        if grant.role_kind == "Role":
            return self._roles.get((grant.namespace, grant.role_name))
        return self._cluster_roles.get(grant.role_name)


class Authorizer:
    """Decides about requests by the RBAC objects that `lister` returns.

    `version` returns a value that changes whenever one of them does; until then the indexed roles are used again.
    """

    def __init__(self, lister: Lister, *, version: Callable[[], Hashable]) -> None:
        self._lister = lister
        self._version = version
        self._compiled: tuple[Hashable, _Policy] | None = None

    def authorize(self, request: Attributes) -> Decision:
        """Decide about one request."""
        if MASTERS in request.groups:
            return _ALLOWED
        policy, missing = self._policy(), []
        for grant in policy.grants(request.user, request.groups, request.namespace):
            rules = policy.rules(grant)
            if rules is None:
                missing.append(
                    f"{grant.role_kind.lower()}.{_GROUP} {_quote(grant.role_name)} not found"
                )
            elif any(rule.allows(request) for rule in rules):
                return Decision(allowed=True, reason=f"RBAC: allowed by {grant.source}")
        return Decision(allowed=False, reason=_missing_roles(missing))

    def rules_for(
        self, user: str, groups: Sequence[str], namespace: str
    ) -> tuple[list[JSONObject], list[JSONObject]]:
        """Return the resource rules and the other rules that a SelfSubjectRulesReview shows."""
        raw: list[Mapping[str, Any]] = []
        if MASTERS in groups:
            raw += [
                {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
                {"verbs": ["*"], "nonResourceURLs": ["*"]},
            ]
        policy = self._policy()
        for grant in policy.grants(user, groups, namespace):
            raw += [rule.raw for rule in policy.rules(grant) or ()]
        resource_keys = ("verbs", "apiGroups", "resources", "resourceNames")
        return (
            [
                {key: rule[key] for key in resource_keys if rule.get(key)}
                for rule in raw
                if rule.get("resources")
            ],
            [
                {key: rule[key] for key in ("verbs", "nonResourceURLs")}
                for rule in raw
                if rule.get("nonResourceURLs")
            ],
        )

    def _policy(self) -> _Policy:
        version = self._version()
        if self._compiled is None or self._compiled[0] != version:
            self._compiled = (version, _Policy(self._lister))
        return self._compiled[1]


def forbidden_message(request: Attributes, reason: str = "") -> str:
    """Return the message of the Forbidden status, exactly as kube-apiserver words it."""
    user = _quote(request.user)
    end = f": {reason}" if reason else ""
    if not request.resource:
        return f"forbidden: {_escape(f'User {user} cannot {request.verb} path {_quote(request.path)}')}{end}"
    resource = (
        f"{request.resource}/{request.subresource}" if request.subresource else request.resource
    )
    scope = (
        f"in the namespace {_quote(request.namespace)}"
        if request.namespace
        else "at the cluster scope"
    )
    text = f"User {user} cannot {request.verb} resource {_quote(resource)} in API group {_quote(request.group)} {scope}"
    subject = f"{request.resource}.{request.group}" if request.group else request.resource
    name = f" {_quote(request.name)}" if request.name else ""
    return f"{subject}{name} is forbidden: {_escape(text)}{end}"


def _has(values: frozenset[str], value: str) -> bool:
    return "*" in values or value in values


def _url_matches(pattern: str, path: str) -> bool:
    if pattern.endswith("*"):
        return path.startswith(pattern.rstrip("*"))
    return pattern == path


def _rules(role: JSONObject) -> list[_Rule]:
    return [_Rule.of(rule) for rule in role.get("rules") or ()]


def _aggregated(roles: Sequence[JSONObject]) -> dict[str, list[_Rule]]:
    """Return the rules of each ClusterRole; one that aggregates has those of all it selects, over several levels."""
    by_name = {role["metadata"]["name"]: role for role in roles}
    labels_of = {name: role["metadata"].get("labels") or {} for name, role in by_name.items()}
    resolved: dict[str, list[_Rule]] = {}

    def resolve(name: str, above: frozenset[str]) -> list[_Rule]:
        if name in resolved:
            return resolved[name]
        role = by_name[name]
        selectors = (role.get("aggregationRule") or {}).get("clusterRoleSelectors")
        if selectors is None:
            resolved[name] = _rules(role)
            return resolved[name]
        rules = [
            rule
            for other in sorted(by_name)
            if other not in above
            and other != name
            and any(matches(one, labels_of[other]) for one in selectors)
            for rule in resolve(other, above | {name})
        ]
        if not above:  # inside a circle of aggregation the answer depends on where we came from
            resolved[name] = rules
        return rules

    for name in by_name:
        resolve(name, frozenset())
    return resolved


def _missing_roles(missing: Sequence[str]) -> str:
    if not missing:
        return ""
    distinct = list(dict.fromkeys(missing))
    return f"RBAC: {distinct[0]}" if len(distinct) == 1 else f"RBAC: [{', '.join(distinct)}]"


def _sort_key(obj: JSONObject) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
