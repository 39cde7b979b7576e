"""Requests to the API server itself, past the caches, with typed objects: reads, patches, evictions and scale.

What belongs here: what each request consists of, and what its answer means. What does not: reads from caches
(`operatorkit.context`), and children (`operatorkit.children`).

Each request is one that the operator has declared: by `owns=`, `reads` and so on, or by `Operator.needs`. So the role
of its chart permits it, and a missing declaration is found in the first test rather than in production.
"""

from __future__ import annotations

import builtins
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from operatorkit.applied import update_manager
from operatorkit.children import ChildCache
from operatorkit.cluster import ClusterAPI, JSONObject, PatchType
from operatorkit.errors import (
    Conflict,
    DefinitionError,
    Invalid,
    InvalidObject,
    NotFound,
    Throttled,
)
from operatorkit.names import ApiResource, GroupVersionKind, ObjectKey
from operatorkit.resource import api_resource_of, read, write

__all__ = ["Declared", "LiveReader", "ObjectWriter"]

T = TypeVar("T")
Declared = Callable[[ApiResource, str, str], bool]
"""Whether an operator has declared a verb on a resource, and on which subresource, or ""."""

_PAGE = 500
_log = logging.getLogger("operatorkit.runtime")


class LiveReader:
    """Typed reads from the API server, for what caches do not hold, or must not decide.

    Each read is a request: declare it with `app.needs(kind, "get", reason=...)` or "list". Raises DefinitionError for a
    request that is not declared, and ClusterError.

    Guarantees: the answer is not older than the request.
    """

    def __init__(self, api: ClusterAPI, *, namespace: str, declared: Declared) -> None:
        self._api = api
        self._namespace = namespace
        self._declared = declared

    async def get(self, kind: type[T], name: str, *, namespace: str | None = None) -> T | None:
        """Return one object, or None; by default in this object's namespace.

        Raises InvalidObject when it cannot be read as `kind`.
        """
        resource = api_resource_of(kind)
        check_declared(self._declared, kind, resource, "get")
        where = self._namespace if namespace is None else namespace
        if resource.namespaced and not where:
            raise DefinitionError(
                f"{kind.__name__} {name} is looked up without a namespace: say namespace=..."
            )
        try:
            found = await self._api.get(
                resource, name, namespace=where if resource.namespaced else None
            )
        except NotFound:
            return None
        return read(kind, found)

    async def list(
        self,
        kind: type[T],
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> builtins.list[T]:
        """Return the objects of all namespaces, or of one, whose labels and fields have these values.

        The answer comes in pages, is sorted by namespace and name, and leaves out objects that cannot be decoded, with
        a line in the log. Raises Gone when the pages took the server longer than it keeps a history.
        """
        resource = api_resource_of(kind)
        check_declared(self._declared, kind, resource, "list")
        options: dict[str, Any] = {
            "namespace": namespace if resource.namespaced else None,
            "label_selector": _equal(labels),
            "field_selector": _equal(fields),
            "limit": _PAGE,
        }
        items: builtins.list[JSONObject] = []
        page = await self._api.list(resource, **options)
        items += page.items
        while page.continue_token:
            page = await self._api.list(resource, continue_token=page.continue_token, **options)
            items += page.items
        items.sort(key=lambda obj: (obj["metadata"].get("namespace", ""), obj["metadata"]["name"]))
        return [found for obj in items if (found := _readable(kind, obj)) is not None]


class ObjectWriter:
    """Writes of one run to objects that exist, other than applies: patches, evictions and scale."""

    def __init__(
        self, api: ClusterAPI, *, namespace: str, live: ChildCache, manager: str, declared: Declared
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._live = live
        self._manager = update_manager(manager)
        self._declared = declared

    async def patch(
        self,
        obj: T,
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        strategic: bool = False,
        subresource: str = "",
    ) -> T:
        """Patch an object; see `Context.patch` for the promise."""
        resource, key, uid = _identity(obj)
        check_declared(self._declared, type(obj), resource, "patch", subresource)
        patch_type, sent = _patch_of(body, uid, strategic=strategic)
        try:
            answer = await self._api.patch(
                resource,
                key.name,
                sent,
                patch_type=patch_type,
                namespace=key.namespace or None,
                subresource=subresource or None,
                field_manager=self._manager,
            )
        except Invalid as error:
            if any(cause.field == "metadata.uid" for cause in error.causes):
                raise _recreated(resource, key) from error
            raise
        self._live.put(resource, answer)
        return read(type(obj), answer)

    async def evict(self, pod: Any, *, grace_period_seconds: int | None = None) -> str | None:
        """Evict a Pod; see `Context.evict` for the promise."""
        resource, key, uid = _identity(pod)
        if (resource.group, resource.kind) != ("", "Pod"):
            raise DefinitionError(
                f"ctx.evict({type(pod).__name__} {key}): only Pods can be evicted; use ctx.delete"
            )
        check_declared(self._declared, type(pod), resource, "create", "eviction")
        options: dict[str, Any] = {"preconditions": {"uid": uid}} if uid else {}
        if grace_period_seconds is not None:
            options["gracePeriodSeconds"] = grace_period_seconds
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": key.name, "namespace": key.namespace},
            "deleteOptions": options,
        }
        try:
            await self._api.create(
                resource, body, name=key.name, namespace=key.namespace, subresource="eviction"
            )
        except NotFound:
            return None
        except (Conflict, Throttled) as error:
            held = [cause.message for cause in error.causes if cause.reason == "DisruptionBudget"]
            if held:
                return held[0] or str(error)
            if isinstance(error, Throttled):
                raise
        return None  # after a Conflict, too: another Pod has that name

    async def scale(self, target: Any, replicas: int | None) -> JSONObject:
        """Return the scale of an object, with `replicas` after setting it; see `Context.scale` for the promise."""
        resource, key = await self._scaled(target)
        check_declared(self._declared, type(target), resource, "get", "scale")
        where: dict[str, Any] = {"namespace": key.namespace or None, "subresource": "scale"}
        if replicas is None:
            return await self._api.get(resource, key.name, **where)
        if replicas < 0:
            raise DefinitionError(
                f"ctx.scale({resource.kind} {key}, {replicas}): replicas must be 0 or more"
            )
        check_declared(self._declared, type(target), resource, "patch", "scale")
        return await self._api.patch(
            resource,
            key.name,
            {"spec": {"replicas": replicas}},
            patch_type=PatchType.MERGE,
            field_manager=self._manager,
            **where,
        )

    async def _scaled(self, target: Any) -> tuple[ApiResource, ObjectKey]:
        """Return an object, or what a reference such as the scaleTargetRef of an HPA names in this namespace."""
        if hasattr(target, "metadata"):
            resource, key, _ = _identity(target)
            return resource, key
        named = GroupVersionKind.of(target.api_version or "v1", target.kind)
        resource = await self._api.resolve(named.group, named.kind, named.version)
        return resource, ObjectKey(self._namespace if resource.namespaced else "", target.name)


def check_declared(
    declared: Declared, kind: Any, resource: ApiResource, verb: str, subresource: str = ""
) -> None:
    """Raise DefinitionError for a request that an operator has not declared."""
    if declared(resource, verb, subresource):
        return
    below = f", subresource={subresource!r}" if subresource else ""
    plural = f"{resource.plural}/{subresource}" if subresource else resource.plural
    name = getattr(kind, "__name__", resource.kind)
    raise DefinitionError(
        f"a reconcile function may {verb} {plural} only if the operator declares it, so that its roles permit it: "
        f'app.needs({name}, "{verb}"{below}, reason="...")'
    )


def _equal(values: Mapping[str, str] | None) -> str:
    return ",".join(f"{name}={value}" for name, value in (values or {}).items())


def _identity(obj: Any) -> tuple[ApiResource, ObjectKey, str]:
    written = write(obj)
    meta = written.get("metadata") or {}
    resource = api_resource_of(type(obj))
    if not meta.get("name"):
        raise DefinitionError(f"a {resource.kind} without metadata.name names no object")
    return resource, ObjectKey(meta.get("namespace", ""), meta["name"]), str(meta.get("uid") or "")


def _patch_of(body: Any, uid: str, *, strategic: bool) -> tuple[PatchType, Any]:
    """Return the type of a patch, and the patch with the uid as its precondition."""
    if isinstance(body, Mapping):
        meta = {**(body.get("metadata") or {}), **({"uid": uid} if uid else {})}
        sent = {**body, **({"metadata": meta} if meta else {})}
        return (PatchType.STRATEGIC if strategic else PatchType.MERGE), sent
    if strategic or isinstance(body, str) or not isinstance(body, Sequence):
        raise DefinitionError(
            f"ctx.patch was given {type(body).__name__}: give a mapping (merge patch, or strategic=True), or a list of "
            f"operations (JSON patch)"
        )
    test = [{"op": "test", "path": "/metadata/uid", "value": uid}] if uid else []
    return PatchType.JSON, [*test, *body]


def _recreated(resource: ApiResource, key: ObjectKey) -> Conflict:
    return Conflict(f"{resource.kind} {key} was deleted and recreated meanwhile")


def _readable(kind: type[T], obj: JSONObject) -> T | None:
    try:
        return read(kind, obj)
    except InvalidObject as error:
        _log.debug("left out of a list: %s", error)
        return None
