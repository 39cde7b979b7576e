"""One cache per kind, shared by everything in an operator that reads it or handles its events.

What belongs here: which kinds are watched, typed reads, and putting the responses to own writes in at once. What does
not: list and watch themselves (`operatorkit.cluster.Informer`).
"""

from __future__ import annotations

import builtins
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeVar

from operatorkit.applied import own_entry_only
from operatorkit.cache_filters import CacheFilter
from operatorkit.clock import Clock
from operatorkit.cluster import Cache, Change, ClusterAPI, History, Informer, JSONObject, key_of
from operatorkit.cluster.optional import OptionalInformer
from operatorkit.errors import ClusterError, DefinitionError, InvalidObject
from operatorkit.kinds import SECRETS
from operatorkit.names import LABEL_OWNER_UID, ApiResource, ObjectKey
from operatorkit.operator import CacheContents, Index, Operator
from operatorkit.resource import api_resource_of, read

__all__ = ["CacheReader", "Caches", "Listener", "typed"]

T = TypeVar("T")
Listener = Callable[[Change], None]

_log = logging.getLogger("operatorkit.runtime")


def typed(kind: type[T], obj: JSONObject) -> T:
    """Read an object for user code, without the managedFields that the cache keeps for itself. Raises InvalidObject."""
    meta = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    return read(kind, {**obj, "metadata": meta})


class _Kind:
    """One kind: its informers, and the event handlers.

    There are two where children are cached whole, and of all others the metadata: each follows the objects that the
    other does not. One that gets or loses the label may be in both for a moment, or in none.
    """

    def __init__(self, *informers: Informer) -> None:
        self.informers = informers
        self.listeners: list[Listener] = []
        for informer in informers:
            informer.subscribe(self._notify)

    @property
    def informer(self) -> Informer:
        """The informer of whole objects, where there are such."""
        return self.informers[0]

    def get(self, key: ObjectKey) -> JSONObject | None:
        return next(
            (obj for each in self.informers if (obj := each.cache.get(key)) is not None), None
        )

    def keys(self, found: Callable[[Cache], Iterable[ObjectKey]]) -> list[ObjectKey]:
        if len(self.informers) == 1:
            return list(found(self.informers[0].cache))
        return sorted({key for each in self.informers for key in found(each.cache)})

    def objects(self, found: Callable[[Cache], Iterable[ObjectKey]]) -> list[JSONObject]:
        return [obj for key in self.keys(found) if (obj := self.get(key)) is not None]

    def _notify(self, change: Change) -> None:
        for listener in self.listeners:
            try:
                listener(change)
            except Exception:  # noqa: BLE001 - the others must still be notified
                _log.exception("a listener failed on %s %s", change.type, change.key)


class Caches:
    """The informers of an operator, and the live objects of its children (see `operatorkit.children.ChildCache`)."""

    def __init__(
        self, app: Operator, api: ClusterAPI, *, clock: Clock, namespace: str | None = None
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._filters = app.cache_filters
        self._manager = app.name
        self.history: History = History(
            clock, probe_every=app.settings.watch_probe, relist_every=app.settings.relist
        )
        self._former = app.former_field_managers
        on_new_trust = getattr(
            api, "on_new_trust", None
        )  # what has no authorities does not offer it
        if on_new_trust is not None:
            on_new_trust(self.history.doubt)
        self._kinds: dict[ApiResource, _Kind] = {}
        self._served_listeners: list[Callable[[ApiResource], None]] = []
        for resource in app.resources():
            chosen = app.cache_filters.get(resource)
            where = namespace if resource.namespaced else None
            if chosen is not None and chosen.namespace is not None:
                where = chosen.namespace
            make: Callable[..., Informer] = Informer
            if resource in app.optional_kinds:
                make = partial(OptionalInformer, on_served=partial(self._on_served, resource))
            self._kinds[resource] = _Kind(
                *(
                    make(
                        api,
                        resource,
                        namespace=where,
                        clock=clock,
                        transform=self._strip_to_metadata
                        if part.get("metadata_only")
                        else self._strip,
                        history=self.history,
                        **_filtered(part, chosen),
                    )
                    for part in _PARTS[_contents(app, resource)]
                )
            )
        reading: dict[type[Any], _LastRead] = {}
        for index in app.indexes:
            last = reading.setdefault(index.kind, _LastRead(index.kind))
            for informer in self._kinds[api_resource_of(index.kind)].informers:
                informer.cache.add_index(_user_index(index.name), _reading(index, last))

    def scope(self, resource: ApiResource) -> dict[str, Any]:
        """Return the options of a list of all objects of a kind that are cached."""
        chosen = self._filters.get(resource, CacheFilter())
        return {
            "namespace": chosen.namespace or self._namespace if resource.namespaced else None,
            "label_selector": chosen.label_selector,
            "field_selector": chosen.field_selector,
        }

    def follows(self, namespace: str) -> bool:
        """Return whether the caches of namespaced kinds have the objects of a namespace."""
        return self._namespace in {None, namespace}

    @property
    def resources(self) -> list[ApiResource]:
        """Return the kinds that are cached."""
        return list(self._kinds)

    def subscribe(self, resource: ApiResource, listener: Listener) -> Callable[[], None]:
        """Call `listener` with each change of the kind from now on, in order, until the result is called.

        It must not block.
        """
        listeners = self._kinds[resource].listeners
        listeners.append(listener)
        return lambda: listeners.remove(listener)

    def subscribe_served(self, listener: Callable[[ApiResource], None]) -> None:
        """Call `listener` with each optional kind whose definition came or went."""
        self._served_listeners.append(listener)

    def _on_served(self, resource: ApiResource, served: bool) -> None:
        _log.info("%s: the kind is %s", resource.qualified, "served" if served else "not served")
        for listener in self._served_listeners:
            listener(resource)

    def serves(self, resource: ApiResource) -> bool:
        """Return whether the API server serves a cached kind, as far as is known."""
        informers = self._kinds[resource].informers
        return all(each.served for each in informers if isinstance(each, OptionalInformer))

    def informers(self) -> list[tuple[str, Informer]]:
        """Return each informer and its name: the engine runs them."""
        return [
            (f"informer of {resource.qualified}", informer)
            for resource, kind in self._kinds.items()
            for informer in kind.informers
        ]

    def informer_of(self, resource: ApiResource, obj: JSONObject) -> Informer:
        """Return the informer whose cache holds `obj`, if it is cached."""
        informers = self._kinds[resource].informers
        return informers[0 if len(informers) == 1 or _is_child(obj) else 1]

    def silent_since(self) -> dict[ApiResource, float]:
        """Return the kinds whose informers have no contact with the server, and since when.

        The moments are readings of `monotonic` of the clock that was given. Subtract them from the reading of now: a
        kind that is here for longer than a list and a watch may take to fail and come back is not followed.
        """
        found: dict[ApiResource, float] = {}
        for resource, kind in self._kinds.items():
            moments = [since for each in kind.informers if (since := each.silent_since) is not None]
            if moments:
                found[resource] = min(moments)
        return found

    def error(self, resource: ApiResource) -> ClusterError | None:
        """Return why a kind cannot be followed now, as far as that is known."""
        return next(
            (each.error for each in self._kinds[resource].informers if each.error is not None), None
        )

    def unsynced(self) -> list[ApiResource]:
        """Return the kinds whose first list is not complete."""
        return [
            resource
            for resource, kind in self._kinds.items()
            if not all(each.has_synced for each in kind.informers)
        ]

    def keys(self, resource: ApiResource) -> list[ObjectKey]:
        """Return the keys of all cached objects of a kind."""
        return self._kinds[resource].keys(lambda cache: cache.keys())

    def get(self, resource: ApiResource, key: ObjectKey) -> JSONObject | None:
        """Return a copy of one cached object, with this operator's own managedFields entry."""
        return self._kinds[resource].get(key)

    def labelled(self, resource: ApiResource, owner_uid: str) -> list[JSONObject]:
        """Return copies of the cached objects whose label operatorkit.dev/owner-uid has this value."""
        found = self._kinds[resource].objects(lambda cache: cache.by_owner(owner_uid))
        return [obj for obj in found if _owner_uid_label(obj) == owner_uid]

    def indexed(self, resource: ApiResource, index: str, value: str) -> list[JSONObject]:
        """Return copies of the cached objects that an index finds."""
        return self._kinds[resource].objects(lambda cache: cache.by_index(index, value))

    def indexed_keys(self, resource: ApiResource, index: str, value: str) -> list[ObjectKey]:
        """Return the keys of the cached objects that an index finds, without decoding one."""
        return self._kinds[resource].keys(lambda cache: cache.by_index(index, value))

    def all(
        self, resource: ApiResource, namespace: str | None, labels: Mapping[str, str] | None
    ) -> list[JSONObject]:
        """Return copies of the cached objects of a namespace, or of all, that have all these labels."""
        return self._kinds[resource].objects(lambda cache: cache.keys(namespace, labels))

    def put(self, resource: ApiResource, obj: JSONObject) -> None:
        """Let readers see the answer to an own write at once."""
        if resource in self._kinds:
            for informer in self._kinds[resource].informers:
                informer.put(obj)

    def hide(self, resource: ApiResource, key: ObjectKey, uid: str) -> None:
        """Let readers see at once that an own deletion is done."""
        if resource in self._kinds:
            for informer in self._kinds[resource].informers:
                informer.delete(key, uid)

    def _strip(self, obj: JSONObject) -> JSONObject:
        return own_entry_only(obj, self._manager, self._former)

    def _strip_to_metadata(self, obj: JSONObject) -> JSONObject:
        """Keep what the metadata-only list and watch bring also of what `put` brings."""
        return self._strip(
            {name: obj[name] for name in ("apiVersion", "kind", "metadata") if name in obj}
        )


def _is_child(obj: JSONObject) -> bool:
    return LABEL_OWNER_UID in (obj["metadata"].get("labels") or {})


def _is_no_child(obj: JSONObject) -> bool:
    return not _is_child(obj)


# The informers of a kind, by what is cached of its objects: their options.
_PARTS: dict[CacheContents, tuple[dict[str, Any], ...]] = {
    "objects": ({},),
    "children": (
        {"label_selector": LABEL_OWNER_UID, "selects": _is_child},
        {"label_selector": f"!{LABEL_OWNER_UID}", "selects": _is_no_child, "metadata_only": True},
    ),
    "metadata": ({"metadata_only": True},),
}


def _filtered(part: Mapping[str, Any], chosen: CacheFilter | None) -> dict[str, Any]:
    """Return the options of an informer, with the selectors of a filter."""
    options = dict(part)
    if chosen is None:
        return options
    selectors = [part.get("label_selector"), chosen.label_selector]
    options["label_selector"] = ",".join(filter(None, selectors))
    options["field_selector"] = chosen.field_selector
    by_part: Callable[[JSONObject], bool] = part.get("selects", lambda _: True)
    if chosen.fields:
        options.pop("selects", None)  # only the server knows what its field selectors find
    else:
        options["selects"] = lambda obj: by_part(obj) and _matches(obj, None, chosen.labels)
    return options


def _contents(app: Operator, resource: ApiResource) -> CacheContents:
    """Return how much of the objects of a kind is cached.

    Of Secrets that are only owned, it is the operator's own children: those of others may be many, large and secret.
    """
    declared = app.cache_contents.get(resource)
    if declared is not None or resource != SECRETS:
        return declared or "objects"
    others = [
        *app.read_kinds,
        *(index.kind for index in app.indexes),
        *(reconciler.kind for reconciler in app.reconcilers),
        *(watch.kind for reconciler in app.reconcilers for watch in reconciler.watches),
    ]
    return "objects" if resource in {api_resource_of(kind) for kind in others} else "children"


class CacheReader:
    """Typed reads; see `operatorkit.context.Reader` for the promise."""

    def __init__(self, app: Operator, caches: Caches) -> None:
        self._app = app
        self._caches = caches
        self._declared = frozenset(caches.resources)
        self._indexes = {(index.kind, index.name) for index in app.indexes}
        self._memory: dict[Callable[[], Any], Any] = {}

    def get(self, kind: type[T], name: str, *, namespace: str | None = None) -> T | None:
        """Return one object, or None. Raises InvalidObject when it cannot be read as `kind`."""
        resource = self._resource(kind)
        if resource.namespaced and not namespace:
            raise DefinitionError(
                f"{kind.__name__} {name} is looked up without a namespace: pass namespace=..."
            )
        obj = self._caches.get(
            resource, ObjectKey((namespace or "") if resource.namespaced else "", name)
        )
        return None if obj is None else typed(kind, obj)

    def list(
        self,
        kind: type[T],
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
        index: tuple[str, str] | None = None,
    ) -> builtins.list[T]:
        """Return the matching objects, by namespace and name; those that cannot be decoded are left out."""
        resource = self._resource(kind)
        if index is None:
            found = self._caches.all(resource, namespace, labels)
        else:
            self._check_index(kind, index[0])
            found = [
                obj
                for obj in self._caches.indexed(resource, _user_index(index[0]), index[1])
                if _matches(obj, namespace, labels)
            ]
        return _readable(kind, sorted(found, key=key_of))

    def keys(
        self, kind: type[Any], *, index: tuple[str, str], namespace: str | None = None
    ) -> builtins.list[ObjectKey]:
        """Return the keys of the objects that an index finds, without reading one, by namespace and name."""
        resource = self._resource(kind)
        self._check_index(kind, index[0])
        found = self._caches.indexed_keys(resource, _user_index(index[0]), index[1])
        return sorted(key for key in found if namespace in (None, key.namespace))

    def memory(self, kind: Callable[[], T]) -> T:
        """Return what this engine keeps in memory under a class: made by `kind()` when first requested."""
        # Here, and not in the Operator: an Operator is a declaration, which several engines of one process may run.
        if kind not in self._memory:
            self._memory[kind] = kind()
        found: T = self._memory[kind]
        return found

    def serves(self, kind: type[Any]) -> bool:
        """Return whether the API server serves a declared kind."""
        return self._caches.serves(self._resource(kind))

    def _check_index(self, kind: type[Any], name: str) -> None:
        if (kind, name) not in self._indexes:
            raise DefinitionError(
                f"{kind.__name__} has no index {name!r}: declare it with app.index({kind.__name__}, {name!r}, function)"
            )

    def _resource(self, kind: type[Any]) -> ApiResource:
        resource = api_resource_of(kind)
        if resource not in self._declared:
            raise DefinitionError(
                f"{kind.__name__} is not cached: declare it with app.reads({kind.__name__}), or in owns= or watches=, "
                f"or read it from the cluster with ctx.api"
            )
        return resource


def _matches(obj: JSONObject, namespace: str | None, labels: Mapping[str, str] | None) -> bool:
    has = obj["metadata"].get("labels") or {}
    return namespace in (None, obj["metadata"].get("namespace", "")) and all(
        has.get(name) == value for name, value in (labels or {}).items()
    )


def _readable(kind: type[T], objects: Iterable[JSONObject]) -> list[T]:
    found = []
    for obj in objects:
        try:
            found.append(typed(kind, obj))
        except InvalidObject as error:
            _log.debug("left out of a list: %s", error)
    return found


def _owner_uid_label(obj: JSONObject) -> str | None:
    label: str | None = (obj["metadata"].get("labels") or {}).get(LABEL_OWNER_UID)
    return label


def _user_index(name: str) -> str:
    return f"user:{name}"


class _LastRead:
    """The object of a kind that was read last: its indexes, one after the other, are asked about the same one."""

    def __init__(self, kind: type[Any]) -> None:
        self._kind = kind
        self._obj: JSONObject | None = None
        self._read: Any = None

    def read(self, obj: JSONObject) -> Any:
        if obj is not self._obj:
            self._obj = None  # should this one not be decodable
            self._read = typed(self._kind, obj)
            self._obj = obj
        return self._read


def _reading(index: Index[Any], last: _LastRead) -> Callable[[JSONObject], Iterable[str]]:
    def values(obj: JSONObject) -> Iterable[str]:
        try:
            return list(index.function(last.read(obj)))
        except InvalidObject:
            return []  # what cannot be read cannot be found by its content

    return values
