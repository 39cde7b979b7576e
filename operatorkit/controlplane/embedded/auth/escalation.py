"""The check against privilege escalation: users grant only permissions that they hold.

What belongs here: the check that a writer of roles and bindings holds the permissions that these give. What does not:
RBAC's decisions themselves (`rbac`).

Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from operatorkit.controlplane.embedded.auth.authn import ADMIN_GROUP
from operatorkit.controlplane.embedded.errors.errors import forbidden, not_found
from operatorkit.controlplane.embedded.request.user import User
from operatorkit.controlplane.embedded.storage.store import Storage, key_of

__all__ = ["Escalation"]

Object = dict[str, Any]
Allowed = Callable[[User, Mapping[str, str]], bool]
RulesFor = Callable[[User, str], tuple[Sequence[Object], Sequence[Object]]]

_GROUP = "rbac.authorization.k8s.io"


class Escalation:
    """Guards roles and bindings. `allowed` decides about a request, `rules_for` gives the rules that a user has."""

    def __init__(self, storage: Storage, allowed: Allowed, rules_for: RulesFor) -> None:
        self._storage = storage
        self._allowed = allowed
        self._rules_for = rules_for

    def check(self, user: User, plural: str, obj: Object) -> None:
        """Return when `user` may write this role or binding. Raises `ApiError` (403, 404)."""
        if ADMIN_GROUP in user.groups:
            return
        metadata = obj["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata.get("name", "")
        if plural in {"roles", "clusterroles"}:
            request = {"verb": "escalate", "resource": plural, "name": name}
            rules = obj.get("rules") or ()
        else:
            reference = obj["roleRef"]
            target = "roles" if reference["kind"] == "Role" else "clusterroles"
            request = {"verb": "bind", "resource": target, "name": reference["name"]}
            rules = self._rules_of(target, namespace, reference["name"])
        if self._allowed(user, request | {"group": _GROUP, "namespace": namespace}):
            return
        missing = self._missing(user, namespace, rules)
        if missing:
            groups = " ".join(json.dumps(it) for it in user.groups)
            why = (
                f'user "{user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions not currently held:\n'
                + "\n".join(missing)
            )
            raise forbidden(_GROUP, plural, name, why)

    def _rules_of(self, plural: str, namespace: str, name: str) -> Sequence[Object]:
        key = key_of(namespace if plural == "roles" else "", name)
        record = self._storage.collection(f"{plural}.{_GROUP}").records.get(key)
        if record is None:
            raise not_found(_GROUP, plural, name)
        rules: Sequence[Object] = record.decode().get("rules") or ()
        return rules

    def _missing(self, user: User, namespace: str, rules: Iterable[Object]) -> list[str]:
        resources, urls = self._rules_for(user, namespace)
        held = [*resources, *urls]
        missing: dict[str, tuple[Object, list[str]]] = {}
        for part in (it for rule in rules for it in _parts(rule)):
            if not any(_covers(rule, part) for rule in held):
                what = {key: value for key, value in part.items() if key != "verbs"}
                missing.setdefault(json.dumps(what), (what, []))[1].extend(part["verbs"])
        return sorted(_text(what | {"verbs": verbs}) for what, verbs in missing.values())


def _parts(rule: Object) -> Iterable[Object]:
    """Yield the smallest rules that a rule is made of."""
    for verb in rule.get("verbs") or ():
        for group in rule.get("apiGroups") or ():
            for resource in rule.get("resources") or ():
                part = {"apiGroups": [group], "resources": [resource]}
                names = rule.get("resourceNames") or ()
                for name in names:
                    yield {**part, "resourceNames": [name], "verbs": [verb]}
                if not names:
                    yield {**part, "verbs": [verb]}
        for url in rule.get("nonResourceURLs") or ():
            yield {"nonResourceURLs": [url], "verbs": [verb]}


def _covers(rule: Object, part: Object) -> bool:
    if not _has(rule, "verbs", part["verbs"][0]):
        return False
    if "nonResourceURLs" in part:
        url = part["nonResourceURLs"][0]
        return any(
            it in {"*", url} or (it.endswith("*") and url.startswith(it[:-1]))
            for it in rule.get("nonResourceURLs") or ()
        )
    resource = part["resources"][0]
    same = _has(rule, "resources", resource) or f"*/{resource.partition('/')[2]}" in (
        rule.get("resources") or ()
    )
    names = rule.get("resourceNames") or ()
    return (
        _has(rule, "apiGroups", part["apiGroups"][0])
        and same
        and (not names or ("resourceNames" in part and part["resourceNames"][0] in names))
    )


def _has(rule: Object, field: str, value: str) -> bool:
    values = rule.get(field) or ()
    return "*" in values or value in values


def _text(rule: Object) -> str:
    """Return a rule as Kubernetes' messages have it."""
    names = {
        "apiGroups": "APIGroups",
        "nonResourceURLs": "NonResourceURLs",
        "resources": "Resources",
        "resourceNames": "ResourceNames",
        "verbs": "Verbs",
    }
    parts = [
        f"{go}:[{' '.join(json.dumps(it) for it in rule[key])}]"
        for key, go in names.items()
        if rule.get(key)
    ]
    return "{" + ", ".join(parts) + "}"
