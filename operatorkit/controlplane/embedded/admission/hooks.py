"""Which webhooks a request concerns: configurations in order, their rules and selectors.

What belongs here: reading configurations, and matching. What does not: calling webhooks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from operatorkit.controlplane.embedded.errors.errors import not_found
from operatorkit.controlplane.embedded.registry.selectors import LabelSelector
from operatorkit.controlplane.embedded.registry.table import Registry, Served
from operatorkit.controlplane.embedded.request.user import User
from operatorkit.controlplane.embedded.storage.store import Collection, Storage
from operatorkit.names import GroupVersionKind
from operatorkit.selectors import Requirement, requirements

__all__ = ["GROUP", "Attributes", "Hook", "Invocation", "Matcher", "hooks_in", "is_exempt"]

Object = dict[str, Any]

GROUP = "admissionregistration.k8s.io"
_ANY = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """What is asked for: the part of a review that does not depend on who is asked.

    `kind` is the kind of the objects under review, which is not the resource's own for parts such as scale.
    """

    operation: str
    served: Served
    subresource: str
    kind: GroupVersionKind
    namespace: str
    name: str
    user: User
    dry_run: bool
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Hook:
    """One webhook of one configuration."""

    name: str
    spec: Mapping[str, Any]
    namespaces: LabelSelector
    objects: LabelSelector

    @property
    def fails_open(self) -> bool:
        """Whether a webhook that cannot be asked is passed over."""
        return self.spec.get("failurePolicy") == "Ignore"

    @property
    def reinvocable(self) -> bool:
        """Whether it wants to see what later webhooks made of its object."""
        return self.spec.get("reinvocationPolicy") == "IfNeeded"

    @property
    def harmless_when_dry(self) -> bool:
        """Whether a dry run may be shown to it."""
        return self.spec.get("sideEffects") in {"None", "NoneOnDryRun"}

    @property
    def timeout_seconds(self) -> int:
        """How long it may take to answer."""
        return int(self.spec.get("timeoutSeconds") or 10)


@dataclass(frozen=True, slots=True)
class Invocation:
    """A webhook to be asked, and in which version it wants to see the objects."""

    hook: Hook
    served: Served
    kind: GroupVersionKind


def _selector(given: Mapping[str, Any] | None) -> LabelSelector:
    given = given or {}
    labels = (given.get("matchLabels") or {}).items()
    equal = (Requirement(key, "In", (value,)) for key, value in labels)
    return LabelSelector((*equal, *requirements(given.get("matchExpressions"))))


def hooks_in(collection: Collection) -> list[Hook]:
    """Return the webhooks of all configurations: by the configuration's name, then as they are written."""
    hooks = []
    for key in sorted(collection.records):
        for spec in collection.records[key].decode().get("webhooks") or ():
            selectors = (
                _selector(spec.get("namespaceSelector")),
                _selector(spec.get("objectSelector")),
            )
            hooks.append(Hook(spec["name"], spec, *selectors))
    return hooks


def is_exempt(served: Served) -> bool:
    """Whether no webhook is called: none can keep an administrator from removing webhooks."""
    return served.group == GROUP


def _has(items: Iterable[str], wanted: str) -> bool:
    return any(it in {_ANY, wanted} for it in items)


def _in_scope(scope: str, attributes: Attributes) -> bool:
    is_namespace = attributes.served.collection == "namespaces"
    if scope == "Namespaced":
        return not is_namespace and bool(attributes.namespace)
    if scope == "Cluster":
        return is_namespace or not attributes.namespace
    return True


def _rule_matches(rule: Mapping[str, Any], attributes: Attributes, served: Served) -> bool:
    return (
        _in_scope(rule.get("scope") or _ANY, attributes)
        and _has(rule.get("operations") or (), attributes.operation)
        and _has(rule.get("apiGroups") or (), served.group)
        and _has(rule.get("apiVersions") or (), served.version)
        and any(
            _resource_matches(it, served.plural, attributes.subresource)
            for it in rule.get("resources") or ()
        )
    )


def _resource_matches(pattern: str, plural: str, subresource: str) -> bool:
    resource, _, part = pattern.partition("/")
    return resource in {_ANY, plural} and part in {_ANY, subresource}


def _labels(obj: Object | None) -> Mapping[str, str]:
    return ((obj or {}).get("metadata") or {}).get("labels") or {}


class Matcher:
    """Decides whether a webhook is to be asked about a request."""

    def __init__(self, storage: Storage, registry: Registry) -> None:
        self._storage = storage
        self._registry = registry

    def match(
        self, hook: Hook, attributes: Attributes, old: Object | None, new: Object | None
    ) -> Invocation | None:
        """Return how a webhook is to be asked, or None. Raises `ApiError` (404) for a namespace that is not there."""
        if hook.objects and not any(
            it is not None and hook.objects.matches(_labels(it)) for it in (new, old)
        ):
            return None
        invocation = self._invocation(hook, attributes)
        if invocation is None or not self._in_namespaces(hook, attributes, new):
            return None
        return invocation

    def _invocation(self, hook: Hook, attributes: Attributes) -> Invocation | None:
        rules: Sequence[Mapping[str, Any]] = hook.spec.get("rules") or ()
        served = attributes.served
        if any(_rule_matches(rule, attributes, served) for rule in rules):
            return Invocation(hook, served, attributes.kind)
        if hook.spec.get("matchPolicy") == "Exact":
            return None
        equivalents = [
            it
            for it in self._registry.resources()
            if it.collection == served.collection and it is not served
        ]
        for rule in rules:
            for other in equivalents:
                part = other.subresources.get(attributes.subresource)
                if (part or not attributes.subresource) and _rule_matches(rule, attributes, other):
                    own = attributes.kind == served.gvk
                    return Invocation(hook, other, other.gvk if own else attributes.kind)
        return None

    def _in_namespaces(self, hook: Hook, attributes: Attributes, new: Object | None) -> bool:
        is_namespace = attributes.served.collection == "namespaces"
        if not hook.namespaces or (not attributes.namespace and not is_namespace):
            return True
        if (
            is_namespace
            and not attributes.subresource
            and attributes.operation in {"CREATE", "UPDATE"}
        ):
            return hook.namespaces.matches(_labels(new))
        record = self._storage.collection("namespaces").records.get(attributes.namespace)
        if record is None:
            raise not_found("", "namespaces", attributes.namespace)
        return hook.namespaces.matches(_labels(record.decode()))
