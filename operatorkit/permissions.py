"""What an operator needs to be allowed to do, derived from what it declares, each with the reason.

What belongs here: the derivation, once, for whoever asks: the check at start-up, and the roles of a
chart. What does not: asking an API server (`operatorkit._runtime.preflight`), and RBAC objects
(`operatorkit.chart`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from operatorkit.events import EVENTS
from operatorkit.kinds import LEASES, SECRETS
from operatorkit.names import ApiResource
from operatorkit.operator import Operator, Reconciler
from operatorkit.resource import api_resource_of
from operatorkit.webhooks.manifests import CONFIGURATIONS, ServiceReference, configuration_name

__all__ = ["HandlerNeed", "Permission", "permissions"]


@dataclass(frozen=True, slots=True, order=True)
class Permission:
    """One thing that an operator does: a verb on a resource (`certificates`, or `certificates/status`) of a group.

    `names` are the only objects concerned, when there are any; with `own`, those in the operator's
    own namespace. `reasons` say what needs it. One that is not `required` is missed only now and
    then, or on some clusters only: an operator starts without it.
    """

    group: str
    resource: str
    verb: str
    namespaced: bool = True
    names: tuple[str, ...] = ()
    own: bool = False
    required: bool = field(default=True, compare=False)
    reasons: tuple[str, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return f'{self.verb} {self.resource} in API group "{self.group}"'


@dataclass(frozen=True, slots=True)
class HandlerNeed:
    """What kopf needs of a resource to call handlers that were registered with it: `verbs`, and why."""

    group: str
    plural: str
    verbs: tuple[str, ...]
    reason: str
    subresource: str = ""
    namespaced: bool = True
    required: bool = True


class _Needed:
    """Permissions as they are found; each once, with every reason for it."""

    def __init__(self) -> None:
        self._found: dict[Permission, dict[str, bool]] = {}

    def add(
        self,
        resource: ApiResource,
        *verbs: str,
        reason: str,
        subresource: str = "",
        name: str | None = None,
        own: bool = False,
        required: bool = True,
    ) -> None:
        plural = f"{resource.plural}/{subresource}" if subresource else resource.plural
        names = () if name is None else (name,)
        for verb in verbs:
            one = Permission(resource.group, plural, verb, resource.namespaced, names, own)
            reasons = self._found.setdefault(one, {})
            reasons[reason] = reasons.get(reason, False) or required

    def sorted(self) -> list[Permission]:
        return sorted(
            replace(one, required=any(reasons.values()), reasons=tuple(reasons))
            for one, reasons in self._found.items()
        )


def permissions(
    app: Operator,
    *,
    service: ServiceReference | None = None,
    handlers: Iterable[HandlerNeed] = (),
    lease: str | None = None,
) -> list[Permission]:
    """Return what an operator needs to be allowed to do, from what it declares, sorted.

    `service` is the one in front of its webhooks, after which their Secret and their configuration
    are named; by default it is `ServiceReference.of` the operator. `handlers` is what kopf's
    handlers in its modules need. `lease` is the name of the
    Lease by which its replicas elect a leader, if they do.
    """
    needed = _Needed()
    for reconciler in app.reconcilers:
        _of_reconciler(needed, app, reconciler)
        for kind in reconciler.owns:
            _of_child(needed, api_resource_of(kind), api_resource_of(reconciler.kind))
        for watch in reconciler.watches:
            parent = api_resource_of(reconciler.kind).kind
            needed.add(
                api_resource_of(watch.kind), "list", "watch", reason=f"its changes trigger {parent}"
            )
    for kind in [*app.read_kinds, *(index.kind for index in app.indexes)]:
        needed.add(
            api_resource_of(kind),
            "list",
            "watch",
            reason="reconcile functions read it from the cache",
        )
    for need in app.live_needs:
        resource = api_resource_of(need.kind)
        needed.add(
            resource,
            need.verb,
            reason=need.reason,
            subresource=need.subresource,
            required=need.required,
        )
    for handler in handlers:
        resource = ApiResource(handler.group, "", "", handler.plural, namespaced=handler.namespaced)
        needed.add(
            resource,
            *handler.verbs,
            subresource=handler.subresource,
            reason=handler.reason,
            required=handler.required,
        )
    needed.add(EVENTS, "create", "patch", reason="Events are sent, and counted")
    needed.add(EVENTS, "get", reason="an Event that an earlier process began is counted on")
    needed.add(EVENTS, "list", reason="who was notified of an error is notified of its end")
    if app.webhooks:
        _of_webhooks(
            needed,
            app,
            service or ServiceReference.of(app.name, namespace=app.settings.own_namespace),
        )
    if lease is not None:
        reason = "its replicas elect a leader by this Lease"
        needed.add(LEASES, "create", reason=reason, own=True)
        needed.add(LEASES, "get", "update", reason=reason, name=lease, own=True)
    return needed.sorted()


def _of_reconciler(needed: _Needed, app: Operator, reconciler: Reconciler) -> None:
    kind = reconciler.kind
    resource = api_resource_of(kind)
    needed.add(resource, "list", "watch", reason="it is reconciled")
    if not reconciler.only_reads:
        needed.add(
            resource, "patch", subresource="status", reason="its status is written after a run"
        )
    if any(one.kind is kind and one.has_finalizer for one in app.reconcilers):
        needed.add(resource, "patch", reason="its finalizer is set and removed")


def _of_child(needed: _Needed, child: ApiResource, parent: ApiResource) -> None:
    needed.add(child, "list", "watch", reason=f"it is a child of {parent.kind}")
    needed.add(child, "create", "patch", reason=f"{parent.kind} applies it")
    needed.add(child, "delete", reason=f"{parent.kind} prunes it")
    needed.add(
        parent,
        "update",
        subresource="finalizers",
        reason="its children block its deletion, which the plugin OwnerReferencesPermissionEnforcement guards",
        required=False,
    )


def _of_webhooks(needed: _Needed, app: Operator, service: ServiceReference) -> None:
    """Add what serving webhooks needs where a chart has registered them: the operator injects the CA bundle."""
    own, name = "the certificates of its webhooks are kept there", service.secret_name
    needed.add(
        SECRETS, "get", "list", "watch", "update", reason=own, name=name, own=True, required=False
    )
    needed.add(SECRETS, "create", reason=own, own=True, required=False)
    name = configuration_name(app.name, service=service)
    for verb, resource in CONFIGURATIONS.items():
        needed.add(
            resource,
            "get",
            "list",
            "watch",
            reason="they are kept as they should be",
            name=name,
            required=False,
        )
        if any(webhook.verb == verb for webhook in app.webhooks):
            needed.add(
                resource, "patch", reason="the CA bundle is injected", name=name, required=False
            )
