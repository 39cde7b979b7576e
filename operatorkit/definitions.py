"""Which definitions belong to an operator: those of its own kinds, in all versions.

What belongs here: which kinds are an operator's own, and where the other versions of a kind are
found; once, for all who install, package or render them. What does not: the manifests
(`operatorkit.crd.definition`) and applying them (`operatorkit._runtime.install`).

    own       reconciled or finalized; or of a group of which the operator reconciles a kind; or external=False
    external  external=True
    neither   a Resource class that is only owned, watched, read or admitted, of another group: a DefinitionError

docs/adr/0015-external-kinds.md argues the rule.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

from operatorkit.crd.definition import by_kind
from operatorkit.errors import DefinitionError
from operatorkit.resource import Resource

if TYPE_CHECKING:
    from operatorkit.operator import Operator

__all__ = ["definitions", "external_kinds", "is_own", "own_kinds", "resource_classes"]

Kind = type[Resource[Any, Any]]


def definitions(kinds: Iterable[Kind]) -> list[dict[str, Any]]:
    """Return the CustomResourceDefinitions of classes, the versions of each kind in one. Raises DefinitionError."""
    return by_kind([kind.crd() for kind in kinds], classes=[kind.__name__ for kind in kinds])


def own_kinds(app: Operator) -> list[Kind]:
    """Return the classes of an operator's own kinds, each version one, in the order in which they are declared.

    Other versions than those that the operator names are found in `Operator(versions=...)`, and
    among the classes of the modules that hold its kinds and its functions.

    Raises DefinitionError for a class of which it is not clear whose kind it is, and for one in
    `versions` whose kind is not the operator's.
    """
    groups = {kind.api_resource().group for kind in _reconciled(app)}
    own: dict[Kind, None] = {}
    for kind in resource_classes(app):
        if kind.external():
            continue
        if not is_own(app, kind):
            raise DefinitionError(_unclear(app, kind, groups))
        own[kind] = None
    kinds = {_name(kind) for kind in own}
    for version in app.versions:
        if _name(version) not in kinds:
            raise DefinitionError(
                f"Operator({app.name!r}): versions= has {version.__name__}, and {version.api_resource().qualified} is "
                f"not one of its own kinds ({', '.join(sorted(kind for _, kind in kinds)) or 'it has none'}): leave it "
                "out, or reconcile the kind"
            )
        own[version] = None
    known = {kind.api_resource().gvk for kind in own}
    for module in _modules(app, own):
        for version in _classes_in(module):
            if (
                _name(version) in kinds
                and version.api_resource().gvk not in known
                and not version.external()
            ):
                own[version] = None
    return list(own)


def is_own(app: Operator, kind: type[Any]) -> bool:
    """Return whether a kind that an operator names is its own."""
    if not issubclass(kind, Resource) or kind.external():
        return False
    groups = {known.api_resource().group for known in _reconciled(app)}
    return kind.external() is False or kind.api_resource().group in groups


def external_kinds(app: Operator) -> list[Kind]:
    """Return the classes of kinds that an operator names and that have another owner."""
    return [kind for kind in resource_classes(app) if kind.external()]


def resource_classes(app: Operator) -> list[Kind]:
    """Return the Resource classes that an operator names, each once; models of the official client are none."""
    named = dict.fromkeys([*app.kinds(), *(webhook.kind for webhook in app.webhooks)])
    return [kind for kind in named if issubclass(kind, Resource)]


def _reconciled(app: Operator) -> list[Kind]:
    kinds = [reconciler.kind for reconciler in app.reconcilers]
    return [kind for kind in kinds if issubclass(kind, Resource) and not kind.external()]


def _name(kind: Kind) -> tuple[str, str]:
    resource = kind.api_resource()
    return resource.group, resource.kind


def _unclear(app: Operator, kind: Kind, groups: set[str]) -> str:
    resource = kind.api_resource()
    known = (
        f"whose own kinds are in {', '.join(sorted(groups))}"
        if groups
        else "which reconciles no kind of its own"
    )
    return (
        f"{kind.__name__}: Operator({app.name!r}), {known}, uses {resource.kind} ({resource.api_version}) and does not "
        f"reconcile it: write external=True in the class if the kind is defined elsewhere (it is never installed or "
        f"packaged then), or external=False if its definition belongs to this operator"
    )


def _modules(app: Operator, own: Iterable[Kind]) -> Iterator[ModuleType]:
    """Yield the modules that hold the operator's kinds and functions, each once."""
    functions = [
        *(reconciler.function for reconciler in app.reconcilers),
        *(reconciler.finalize for reconciler in app.reconcilers),
        *(webhook.function for webhook in app.webhooks),
    ]
    names = [
        app.module,
        *(kind.__module__ for kind in own),
        *(getattr(function, "__module__", None) for function in functions),
    ]
    for name in dict.fromkeys(names):
        module = sys.modules.get(name or "")
        if module is not None:
            yield module


def _classes_in(module: ModuleType) -> list[Kind]:
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Resource)
    ]
    return sorted(
        {kind for kind in found if kind.kind}, key=lambda kind: (kind.kind, kind.api_version)
    )
