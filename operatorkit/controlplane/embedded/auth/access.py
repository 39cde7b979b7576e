"""May they? Authorization of requests, and the review kinds by which clients ask about it.

What belongs here: turning a request into RBAC's attributes, impersonation, and SelfSubjectReview, SubjectAccessReview,
SelfSubjectAccessReview, LocalSubjectAccessReview, SelfSubjectRulesReview and TokenReview. What does not: the rules
(`rbac`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from operatorkit.controlplane.embedded.auth.authn import Authenticator
from operatorkit.controlplane.embedded.auth.escalation import Escalation
from operatorkit.controlplane.embedded.auth.rbac import Attributes, Authorizer, forbidden_message
from operatorkit.controlplane.embedded.auth.tokens import AUDIENCE
from operatorkit.controlplane.embedded.errors.errors import ApiError, bad_request, invalid
from operatorkit.controlplane.embedded.registry.table import Registry, Served
from operatorkit.controlplane.embedded.request.info import RequestInfo
from operatorkit.controlplane.embedded.request.user import User
from operatorkit.controlplane.embedded.storage.store import Storage
from operatorkit.crd.field_errors import FieldError

__all__ = ["REVIEWS", "Access"]

Object = dict[str, Any]

_RBAC = "rbac.authorization.k8s.io"
_RBAC_PLURALS = ("roles", "rolebindings", "clusterroles", "clusterrolebindings")
REVIEWS = frozenset(
    {
        ("authentication.k8s.io", "selfsubjectreviews"),
        ("authentication.k8s.io", "tokenreviews"),
        ("authorization.k8s.io", "localsubjectaccessreviews"),
        ("authorization.k8s.io", "selfsubjectaccessreviews"),
        ("authorization.k8s.io", "selfsubjectrulesreviews"),
        ("authorization.k8s.io", "subjectaccessreviews"),
    }
)


def _attributes(user: User, **request: str) -> Attributes:
    return Attributes(user.name, groups=user.groups, **request)


class Access:
    """Decides what users may do, by the RBAC objects in storage."""

    def __init__(self, storage: Storage, registry: Registry, authenticator: Authenticator) -> None:
        self._storage = storage
        self._registry = registry
        self._authenticator = authenticator
        self._collections = [storage.collection(f"{plural}.{_RBAC}") for plural in _RBAC_PLURALS]
        self._version = 0
        for collection in self._collections:
            collection.subscribe(self._on_change)
        self._authorizer = Authorizer(self._objects, version=lambda: self._version)
        self._escalation = Escalation(storage, self._allows, self._rules_for)

    def _on_change(self, _: object) -> None:
        self._version += 1

    def _objects(self, plural: str) -> Iterable[Object]:
        return [
            it.decode() for it in self._storage.collection(f"{plural}.{_RBAC}").records.values()
        ]

    def require(self, user: User, verb: str, info: RequestInfo) -> None:
        """Return when a user may make a request. Raises `ApiError` (403)."""
        if info.plural:
            what = (info.group, info.plural, info.subresource, info.name)
            self._require(Attributes(user.name, verb, user.groups, info.namespace, *what))
        else:
            self._require(_attributes(user, verb=verb, path=info.path))

    def _require(self, request: Attributes) -> None:
        decision = self._authorizer.authorize(request)
        if decision.allowed:
            return
        details = {"name": request.name, "group": request.group, "kind": request.resource}
        details = {key: value for key, value in details.items() if value}
        raise ApiError(
            403, "Forbidden", forbidden_message(request, decision.reason), details=details
        )

    def _allows(self, user: User, request: Mapping[str, str]) -> bool:
        return self._authorizer.authorize(_attributes(user, **request)).allowed

    def _rules_for(self, user: User, namespace: str) -> tuple[Sequence[Object], Sequence[Object]]:
        return self._authorizer.rules_for(user.name, user.groups, namespace)

    def require_no_escalation(self, user: User, served: Served, obj: Object) -> None:
        """Return when what an object gives is not more than its writer has. Raises `ApiError` (403, 404)."""
        if served.group == _RBAC:
            self._escalation.check(user, served.plural, obj)

    def impersonated(self, user: User, headers: Mapping[str, Any]) -> User:
        """Return whom a request is made for, by its Impersonate- headers. Raises `ApiError` (400, 403)."""
        name = headers.get("user", "")
        groups: list[str] = list(headers.get("groups", ()))
        extra: Mapping[str, tuple[str, ...]] = headers.get("extra", {})
        if not name:
            if groups or extra or headers.get("uid"):
                raise bad_request(
                    f"requested {_go_user(headers)} without impersonating a user name"
                )
            return user
        account = name.removeprefix("system:serviceaccount:").split(":")
        if name.startswith("system:serviceaccount:") and len(account) == 2:
            self._require(
                _attributes(
                    user,
                    verb="impersonate",
                    resource="serviceaccounts",
                    namespace=account[0],
                    name=account[1],
                )
            )
            if not groups:
                groups = ["system:serviceaccounts", f"system:serviceaccounts:{account[0]}"]
        else:
            self._require(_attributes(user, verb="impersonate", resource="users", name=name))
        for group in headers.get("groups", ()):
            self._require(_attributes(user, verb="impersonate", resource="groups", name=group))
        for key, values in extra.items():
            for value in values:
                request = {
                    "group": "authentication.k8s.io",
                    "resource": "userextras",
                    "subresource": key,
                }
                self._require(_attributes(user, verb="impersonate", name=value, **request))
        if name == "system:anonymous":
            return User(name, (*groups, "system:unauthenticated"), headers.get("uid", ""), extra)
        return User(name, tuple(groups), headers.get("uid", ""), extra).authenticated()

    # ---------------------------------------------------------------------------------------------------------- reviews

    def review(self, user: User, plural: str, obj: Object) -> Object:
        """Return a review with its status. Raises `ApiError` (422)."""
        spec = obj.setdefault("spec", {})
        match plural:
            case "selfsubjectreviews":
                obj.pop("spec", None)
                obj["status"] = {"userInfo": _info(user)}
            case "tokenreviews":
                obj["status"] = self._token(spec)
            case "selfsubjectrulesreviews":
                obj["status"] = self._rules(user, spec.get("namespace", ""))
            case "selfsubjectaccessreviews":
                obj["status"] = self._decide(user, obj)
            case _:
                groups = tuple(spec.get("groups") or ())
                obj["status"] = self._decide(
                    User(spec.get("user", ""), groups, spec.get("uid", "")), obj, other=True
                )
        obj.setdefault("metadata", {})
        return obj

    def _decide(self, user: User, obj: Object, *, other: bool = False) -> Object:
        spec = obj["spec"]
        resource, url = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
        if (resource is None) == (url is None):
            text = "Invalid value: exactly one of nonResourceAttributes or resourceAttributes must be specified"
            raise self._invalid(obj, "spec.resourceAttributes", text)
        if other and not user.name and not user.groups:
            raise self._invalid(
                obj,
                "spec.user",
                'Invalid value: "": at least one of user or group must be specified',
            )
        if resource is not None:
            names = ("verb", "namespace", "group", "resource", "subresource", "name")
            request = _attributes(
                user, **{"verb": "", **{it: resource[it] for it in names if resource.get(it)}}
            )
        else:
            request = _attributes(user, verb=url.get("verb", ""), path=url.get("path", ""))
        decision = self._authorizer.authorize(request)
        status: Object = {"allowed": decision.allowed}
        if decision.reason:
            status["reason"] = decision.reason
        return status

    @staticmethod
    def _invalid(obj: Object, path: str, text: str) -> ApiError:
        return invalid(
            "authorization.k8s.io",
            obj.get("kind", ""),
            "",
            [FieldError(path, "FieldValueInvalid", text)],
        )

    def _rules(self, user: User, namespace: str) -> Object:
        resources, urls = self._rules_for(user, namespace)
        return {"resourceRules": resources, "nonResourceRules": urls, "incomplete": False}

    def _token(self, spec: Object) -> Object:
        """Return whose token it is, and for which of the audiences in question; without any, the API server's."""
        users: dict[str, User] = {}
        for audience in spec.get("audiences") or [AUDIENCE]:
            with suppress(ApiError):
                users[audience] = self._authenticator.user_of_token(spec.get("token", ""), audience)
        if not users:
            return {
                "user": {},
                "error": "[invalid bearer token, service account token has been invalidated]",
            }
        user = next(iter(users.values()))
        return {"authenticated": True, "user": _info(user), "audiences": list(users)}


def _go_user(headers: Mapping[str, Any]) -> str:
    """Return what Impersonate- headers ask for as Go's %#v prints it."""

    def quoted(texts: Iterable[str]) -> str:
        return "{" + ", ".join(map(json.dumps, texts)) + "}"

    groups, extra = headers.get("groups"), headers.get("extra")
    shown_groups = f"[]string{quoted(groups)}" if groups else "[]string(nil)"
    pairs = ", ".join(
        f"{json.dumps(key)}:[]string{quoted(values)}"
        for key, values in sorted((extra or {}).items())
    )
    shown_extra = f"map[string][]string{{{pairs}}}" if extra else "map[string][]string(nil)"
    uid = json.dumps(headers.get("uid", ""))
    return f'&user.DefaultInfo{{Name:"", UID:{uid}, Groups:{shown_groups}, Extra:{shown_extra}}}'


def _info(user: User) -> Object:
    info: Object = {"username": user.name}
    if user.uid:
        info["uid"] = user.uid
    info["groups"] = list(user.groups)
    if user.extra:
        info["extra"] = {key: list(values) for key, values in user.extra.items()}
    return info
