"""The handlers that an operator's modules registered with kopf: whose they are, and what kopf needs to call them.

What belongs here: choosing the handlers of one operator, and deriving rights from their selectors. What does not:
running them (`host`), and rights from what is declared on the operator (`operatorkit.permissions`).
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import kopf

from operatorkit.crd.served import resources_by_model
from operatorkit.definitions import resource_classes
from operatorkit.names import ApiResource
from operatorkit.operator import Operator
from operatorkit.permissions import HandlerNeed

__all__ = ["HandlerNeeds", "handler_needs", "has_handlers", "registry_of"]

_PARTS = ("_activities", "_indexing", "_watching", "_spawning", "_changing", "_webhooks")
_ON_OBJECTS = {
    "_indexing": False,
    "_watching": False,
    "_spawning": True,
    "_changing": True,
}
"""The parts of a registry whose handlers are called for objects, and whether kopf writes on these."""
_DEFINITIONS = ("apiextensions.k8s.io", "customresourcedefinitions")


@dataclass(frozen=True, slots=True)
class HandlerNeeds:
    """What kopf needs to call handlers, and the handlers of which that cannot be known before a cluster is asked."""

    needs: tuple[HandlerNeed, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def warning(self) -> str:
        """Say which handlers have no rights, and what to do; empty if all have."""
        if not self.unknown:
            return ""
        return (
            "the permissions of these handlers of kopf cannot be derived, and are not in its roles: "
            f"{'; '.join(self.unknown)}; name group and plural (@kopf.on.create('example.io', "
            f"'v1', 'websites')), or declare the permissions with app.needs(Kind, 'list', "
            f"'watch', 'patch', reason=...)"
        )


def has_handlers(registry: kopf.OperatorRegistry) -> bool:
    """Return whether modules registered handlers with kopf; its own ways to log in do not count."""
    return any(
        not getattr(handler, "_fallback", False)
        for part in _PARTS
        for handler in _handlers(registry, part)
    )


def registry_of(app: Operator, registry: kopf.OperatorRegistry) -> kopf.OperatorRegistry:
    """Return a registry of those handlers that belong to an operator.

    Those are the handlers of the modules that hold the operator and its functions, and of the packages around these:
    a process may hold several operators, as that of a test does.
    """
    chosen = kopf.OperatorRegistry()
    homes = {_home(module) for module in _modules_of(app)}
    for part in _PARTS:
        for handler in _handlers(registry, part):
            if not getattr(handler, "_fallback", False) and _home(handler.fn.__module__) in homes:
                getattr(chosen, part).append(handler)
    return chosen


def handler_needs(app: Operator, registry: kopf.OperatorRegistry | None = None) -> HandlerNeeds:
    """Derive what kopf needs to call the handlers of a registry, by default the one that its decorators fill.

    A selector is looked up among the kinds of the operator and those of Kubernetes; one with a group is taken as it is.
    What handlers do through clients of their own cannot be known.
    """
    registry = kopf.get_default_registry() if registry is None else registry
    known = _known_resources(app)
    needs: list[HandlerNeed] = []
    unknown: list[str] = []
    for part, writes in _ON_OBJECTS.items():
        for handler in _handlers(registry, part):
            if handler.selector is None:  # a handler within a handler
                continue
            resources = _selected(handler.selector, known)
            name = f"{handler.fn.__module__}.{getattr(handler.fn, '__qualname__', handler.id)}"
            if not resources:
                unknown.append(f"{name} ({handler.selector})")
            for resource in resources:
                needs += _needs_of(resource, writes=writes or _asks_for_patch(handler.fn))
    if needs or unknown:
        reason = "kopf notices kinds that come and go"
        needs.append(
            HandlerNeed(*_DEFINITIONS, ("list", "watch"), reason, namespaced=False, required=False)
        )
        reason = "kopf notices namespaces that come and go, where it is limited to some"
        needs.append(
            HandlerNeed(
                "", "namespaces", ("list", "watch"), reason, namespaced=False, required=False
            )
        )
    return HandlerNeeds(tuple(dict.fromkeys(needs)), tuple(dict.fromkeys(unknown)))


def _handlers(registry: kopf.OperatorRegistry, part: str) -> Iterable[Any]:
    handlers: Iterable[Any] = getattr(
        registry, part
    ).get_all_handlers()  # kopf offers no question for this
    return handlers


def _needs_of(resource: ApiResource, *, writes: bool) -> Iterator[HandlerNeed]:
    where = (resource.group, resource.plural)
    yield HandlerNeed(
        *where,
        ("list", "watch"),
        "handlers of kopf are called for it",
        namespaced=resource.namespaced,
    )
    if writes:
        reason = "kopf keeps its finalizer and its progress there"
        yield HandlerNeed(*where, ("patch",), reason, namespaced=resource.namespaced)
        reason = "kopf writes there what handlers return"
        yield HandlerNeed(
            *where, ("patch",), reason, "status", namespaced=resource.namespaced, required=False
        )


def _asks_for_patch(function: Any) -> bool:
    try:
        return "patch" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def _known_resources(app: Operator) -> list[ApiResource]:
    own = [kind.api_resource() for kind in resource_classes(app)]
    return list(dict.fromkeys([*own, *app.resources(), *resources_by_model().values()]))


def _selected(selector: Any, known: Iterable[ApiResource]) -> list[ApiResource]:
    """Return the resources that a selector means; none when only a cluster could say that."""
    if (
        selector.fn is not None
        or selector.category is not None
        or not isinstance(selector.any_name, str | None)
    ):
        return []
    found = [resource for resource in known if selector.check(_as_kopf_has_it(resource))]
    if found:
        return found
    plural = selector.plural or selector.any_name
    if selector.group is not None and plural and plural.islower():
        return [ApiResource(selector.group, selector.version or "", "", plural, namespaced=True)]
    return []


def _as_kopf_has_it(resource: ApiResource) -> kopf.Resource:
    return kopf.Resource(
        group=resource.group,
        version=resource.version,
        plural=resource.plural,
        kind=resource.kind,
        singular=resource.kind.lower(),
        namespaced=resource.namespaced,
        preferred=True,
    )


def _modules_of(app: Operator) -> set[str]:
    functions = [
        *(reconciler.function for reconciler in app.reconcilers if not reconciler.only_finalizes),
        *(reconciler.finalize for reconciler in app.reconcilers),
        *(webhook.function for webhook in app.webhooks),
    ]
    return {app.module, *(function.__module__ for function in functions if function is not None)}


def _home(module: str) -> str:
    """Return the outermost regular package around a module, or the module itself."""
    parts = module.split(".")
    for length in range(1, len(parts)):
        package = sys.modules.get(".".join(parts[:length]))
        if package is not None and getattr(package, "__file__", None) is not None:
            return ".".join(parts[:length])
    return module
