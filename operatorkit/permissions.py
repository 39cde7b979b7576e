"""What an operator needs to be allowed to do, derived from what it declares, each with the reason.

What belongs here: the derivation, once, for whoever asks: the check at start-up, and the roles of a chart. What does
not: asking an API server (`operatorkit._runtime.preflight`), and RBAC objects (`operatorkit.chart`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from operatorkit.events import EVENTS
from operatorkit.names import ApiResource
from operatorkit.operator import Operator
from operatorkit.resource import api_resource_of

__all__ = ["Permission", "permissions"]


@dataclass(frozen=True, slots=True, order=True)
class Permission:
    """One thing that an operator does: a verb on a resource (`certificates`, or `certificates/status`) of a group.

    `reasons` say what needs it. One that is not `required` is missed only now and then, or on some clusters only: an
    operator starts without it.
    """

    group: str
    resource: str
    verb: str
    namespaced: bool = True
    required: bool = field(default=True, compare=False)
    reasons: tuple[str, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return f'{self.verb} {self.resource} in API group "{self.group}"'


class _Needed:
    """Permissions as they are found; each once, with every reason for it."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str, bool], dict[str, bool]] = {}

    def add(
        self, resource: ApiResource, *verbs: str, reason: str, subresource: str = "", required: bool = True
    ) -> None:
        name = f"{resource.plural}/{subresource}" if subresource else resource.plural
        for verb in verbs:
            reasons = self._found.setdefault((resource.group, name, verb, resource.namespaced), {})
            reasons[reason] = reasons.get(reason, False) or required

    def sorted(self) -> list[Permission]:
        return sorted(
            Permission(*identity, required=any(reasons.values()), reasons=tuple(reasons))
            for identity, reasons in self._found.items()
        )


def permissions(app: Operator) -> list[Permission]:
    """Return what an operator needs to be allowed to do, from what it declares, sorted."""
    needed = _Needed()
    for reconciler in app.reconcilers:
        _of_reconciler(needed, app, reconciler.kind)
        for kind in reconciler.owns:
            _of_child(needed, api_resource_of(kind), api_resource_of(reconciler.kind))
        for watch in reconciler.watches:
            parent = api_resource_of(reconciler.kind).kind
            needed.add(api_resource_of(watch.kind), "list", "watch", reason=f"its changes wake {parent}")
    for kind in [*app.read_kinds, *(index.kind for index in app.indexes)]:
        needed.add(api_resource_of(kind), "list", "watch", reason="reconcile functions read it from the cache")
    for need in app.live_needs:
        needed.add(api_resource_of(need.kind), need.verb, reason=need.reason, required=False)
    needed.add(EVENTS, "create", "patch", reason="Events are sent, and counted")
    needed.add(EVENTS, "get", reason="an Event that an earlier process began is counted on")
    needed.add(EVENTS, "list", reason="who was told of an error is told of its end")
    return needed.sorted()


def _of_reconciler(needed: _Needed, app: Operator, kind: type[object]) -> None:
    resource = api_resource_of(kind)
    needed.add(resource, "list", "watch", reason="it is reconciled")
    needed.add(resource, "patch", subresource="status", reason="its status is written after a run")
    if any(one.kind is kind and one.finalize is not None for one in app.reconcilers):
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
