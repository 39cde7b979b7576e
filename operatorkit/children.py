"""Children: the objects that a reconcile function applies for its own object.

What belongs here: what an apply sends, when it sends nothing, which objects it rejects, and what it prunes. What does
not: which children there should be (the operator), and the caches (`operatorkit._runtime`).

The choices made here decide who owns which field on live clusters; docs/adr/0004-what-apply-sends.md argues them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from operatorkit.cluster import ClusterAPI, JSONObject, PatchType
from operatorkit.cluster.managed_fields import handed_over, is_handed_over
from operatorkit.errors import (
    ChildConflict,
    Conflict,
    DefinitionError,
    FieldManagerConflict,
    NotFound,
)
from operatorkit.names import LABEL_OWNER_UID, ApiResource, ObjectKey
from operatorkit.resource import api_resource_of, read, write

__all__ = [
    "ChildCache",
    "Children",
    "LastApplied",
    "controller_of",
    "own_entry_only",
    "same",
    "would_change_nothing",
]

_SENT_METADATA = ("name", "namespace", "labels", "annotations", "ownerReferences", "finalizers")
_ABSENT = object()


class ChildCache(Protocol):
    """The cached objects of the kinds that an operator owns."""

    def get(self, resource: ApiResource, key: ObjectKey) -> JSONObject | None:
        """Return a copy of one object, with this operator's own managedFields entry."""

    def labelled(self, resource: ApiResource, owner_uid: str) -> list[JSONObject]:
        """Return copies of the objects whose label operatorkit.dev/owner-uid has this value."""

    def put(self, resource: ApiResource, obj: JSONObject) -> None:
        """Store the response to a write, so that no later read is older."""


@dataclass(frozen=True, slots=True)
class _Record:
    """Digests of the last applied configuration of a child, and of the object that the apply returned."""

    body: str
    live: str


class LastApplied:
    """The last applied configuration of each child of an operator; shared by all its runs.

    Why it is needed: an apply is skipped when managedFields prove that it would change nothing. That proof fails where
    the server writes a value in another way (a quantity, say). Then this record decides: the same configuration, for
    an object that looks as it did after the last apply, needs no request.
    """

    def __init__(self) -> None:
        self._records: dict[tuple[ApiResource, ObjectKey], _Record] = {}

    def record(
        self,
        resource: ApiResource,
        key: ObjectKey,
        body: JSONObject,
        *,
        response: JSONObject,
        manager: str,
    ) -> None:
        """Record that `manager` applied `body`, and what the API server returned."""
        self._records[resource, key] = _Record(_digest(body), _fingerprint(response, manager))

    def matches(
        self,
        resource: ApiResource,
        key: ObjectKey,
        body: JSONObject,
        *,
        live: JSONObject,
        manager: str,
    ) -> bool:
        """Return whether `body` was applied last, and `live` still looks as it did after that."""
        known = self._records.get((resource, key))
        return known is not None and known == _Record(_digest(body), _fingerprint(live, manager))

    def forget(self, resource: ApiResource, key: ObjectKey) -> None:
        """Forget a child that was deleted."""
        self._records.pop((resource, key), None)

    def __len__(self) -> int:
        return len(self._records)


class Children:
    """Applies, prunes and deletes for one run of one parent.

    `owned` are the kinds that may be applied; `last_applied` is shared by all runs of an operator. Fields that the
    managers `former` set in a child by `create` or `update` become this operator's before it applies. `wrote` is called
    after each apply that changed an object: which, what was sent, the response, and whether that created it.
    """

    def __init__(
        self,
        *,
        parent: JSONObject,
        parent_resource: ApiResource,
        owned: Collection[ApiResource],
        api: ClusterAPI,
        live: ChildCache,
        manager: str,
        last_applied: LastApplied,
        former: Collection[str] = (),
        wrote: Callable[[ApiResource, ObjectKey, JSONObject, JSONObject, bool], None] = lambda *_: (
            None
        ),
    ) -> None:
        self._parent = parent
        self._parent_resource = parent_resource
        self._owned = owned
        self._api = api
        self._live = live
        self._manager = manager
        self._last_applied = last_applied
        self._former = former
        self._wrote = wrote
        self._named: set[tuple[ApiResource, ObjectKey]] | None = None
        self._applied: set[tuple[ApiResource, ObjectKey]] = set()

    async def apply(self, *children: Any) -> list[Any]:
        """Apply each child, in order; see `Context.apply` for the promise."""
        prepared = [self._prepare(child) for child in children]
        self._reject_duplicates([(resource, key) for resource, key, _ in prepared])
        self._named = {*(self._named or ()), *((resource, key) for resource, key, _ in prepared)}
        applied = [await self._apply_one(resource, key, body) for resource, key, body in prepared]
        return [read(type(child), obj) for child, obj in zip(children, applied, strict=True)]

    def _reject_duplicates(self, children: list[tuple[ApiResource, ObjectKey]]) -> None:
        """Raise DefinitionError for a child that this run has applied already: each apply would undo the other."""
        seen = set(self._applied)
        for resource, key in children:
            if (resource, key) in seen:
                raise DefinitionError(
                    f"{self._me} applies {resource.kind} {key} twice in one run: the second "
                    f"apply removes the fields that only the first one sets; apply it once, with "
                    f"all its fields, or use two names"
                )
            seen.add((resource, key))

    async def prune(self) -> list[ObjectKey]:
        """Delete the children that no apply of this run named; nothing, when there was no apply at all."""
        if self._named is None:
            return []
        pruned = []
        uid = self._parent["metadata"]["uid"]
        for resource in self._owned:
            for obj in self._live.labelled(resource, uid):
                key = _key_of(obj)
                if (resource, key) in self._named or obj["metadata"].get("deletionTimestamp"):
                    continue
                if any(
                    owner.get("uid") == uid
                    for owner in obj["metadata"].get("ownerReferences") or ()
                ):
                    await self._delete(resource, key, obj["metadata"].get("uid"))
                    pruned.append(key)
        return pruned

    async def delete(self, obj: Any) -> None:
        """Delete an object of any kind; see `Context.delete` for the promise."""
        written = write(obj)
        await self._delete(
            api_resource_of(type(obj)), _key_of(written), written["metadata"].get("uid")
        )

    async def _delete(self, resource: ApiResource, key: ObjectKey, uid: str | None) -> None:
        self._last_applied.forget(resource, key)
        self._applied.discard((resource, key))
        try:
            await self._api.delete(
                resource,
                key.name,
                namespace=key.namespace or None,
                propagation="Background",
                uid=uid,
            )
        except (NotFound, Conflict):
            return  # deleted, or replaced by another object of that name

    def _prepare(self, child: Any) -> tuple[ApiResource, ObjectKey, JSONObject]:
        resource = api_resource_of(type(child))
        parent_namespace = self._parent["metadata"].get("namespace", "")
        body = body_to_send(write(child), resource)
        name, namespace = body["metadata"].get("name"), body["metadata"].get("namespace", "")
        me = self._me
        if resource not in self._owned:
            raise DefinitionError(
                f"{me} applies a {resource.kind}, which is not among its children: "
                f"add {type(child).__name__} to owns=[...] of its reconcile function"
            )
        if not name:
            raise DefinitionError(
                f"{me} applies a {resource.kind} without metadata.name: children need a fixed name"
            )
        if not resource.namespaced and parent_namespace:
            raise DefinitionError(
                f"{me} applies {resource.kind} {name}, which is cluster-scoped: the garbage collector deletes such a "
                f"child of a namespaced parent; label it, and delete it in a finalize function"
            )
        if resource.namespaced and parent_namespace and namespace not in {"", parent_namespace}:
            raise DefinitionError(
                f"{me} applies {resource.kind} {namespace}/{name}, in another namespace: the garbage collector deletes "
                f"such a child; leave metadata.namespace out, or make the parent cluster-scoped"
            )
        if resource.namespaced:
            namespace = namespace or parent_namespace
            if not namespace:
                raise DefinitionError(
                    f"{me} applies {resource.kind} {name} without metadata.namespace, and has none itself: set it"
                )
            body["metadata"]["namespace"] = namespace
        return resource, ObjectKey(namespace, name), self._claimed(body)

    @property
    def _me(self) -> str:
        return f"{self._parent_resource.kind} {_key_of(self._parent)}"

    def _claimed(self, body: JSONObject) -> JSONObject:
        """Add the owner reference and the label by which a parent finds its children."""
        meta, parent = body["metadata"], self._parent["metadata"]
        meta["labels"] = {**meta.get("labels", {}), LABEL_OWNER_UID: parent["uid"]}
        others = [
            owner for owner in meta.get("ownerReferences", ()) if owner.get("uid") != parent["uid"]
        ]
        mine = {
            "apiVersion": self._parent_resource.api_version,
            "kind": self._parent_resource.kind,
            "name": parent["name"],
            "uid": parent["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
        meta["ownerReferences"] = [*others, mine]
        return body

    async def _apply_one(
        self, resource: ApiResource, key: ObjectKey, body: JSONObject
    ) -> JSONObject:
        live = self._live.get(resource, key)
        if live is not None:
            self._reject_conflicting(resource, key, live)
            if any(
                is_handed_over(entry, self._former)
                for entry in live["metadata"].get("managedFields") or ()
            ):
                live = await self._take_over_fields(resource, key, live)
            if would_change_nothing(body, live, self._manager) or self._last_applied.matches(
                resource, key, body, live=live, manager=self._manager
            ):
                self._applied.add((resource, key))
                return live
        try:
            answer = await self._api.patch(
                resource,
                key.name,
                body,
                patch_type=PatchType.APPLY,
                namespace=key.namespace or None,
                field_manager=self._manager,
                force=live
                is not None,  # an object that the cache does not know may have another owner
            )
        except FieldManagerConflict as error:
            raise ChildConflict(
                f"{resource.kind} {key} exists, and other field managers set its fields: {error}; delete it, "
                f"or choose another name"
            ) from error
        self._applied.add((resource, key))
        if live is None or live["metadata"].get("resourceVersion") != answer["metadata"].get(
            "resourceVersion"
        ):
            self._wrote(resource, key, body, answer, live is None)
        own_entry_only(answer, self._manager, self._former)
        self._last_applied.record(resource, key, body, response=answer, manager=self._manager)
        self._live.put(resource, answer)
        return answer

    async def _take_over_fields(
        self, resource: ApiResource, key: ObjectKey, live: JSONObject
    ) -> JSONObject:
        """Make the fields that a former manager set this operator's own, and return the child as it is then.

        Raises Conflict when the child changes meanwhile.
        """
        whole = await read_whole(self._api, resource, key)
        if whole is None or whole["metadata"].get("uid") != live["metadata"].get("uid"):
            raise Conflict(f"{resource.kind} {key} was deleted meanwhile")
        entries = handed_over(
            whole["metadata"].get("managedFields") or (),
            manager=self._manager,
            former=self._former,
            api_version=resource.api_version,
        )
        if entries is None:
            return live
        answer = await self._api.patch(
            resource,
            key.name,
            [
                {"op": "replace", "path": "/metadata/managedFields", "value": entries},
                {
                    "op": "replace",
                    "path": "/metadata/resourceVersion",
                    "value": whole["metadata"]["resourceVersion"],
                },
            ],
            patch_type=PatchType.JSON,
            namespace=key.namespace or None,
            field_manager=self._manager,
        )
        self._live.put(resource, answer)
        return own_entry_only(answer, self._manager, self._former)

    def _reject_conflicting(self, resource: ApiResource, key: ObjectKey, live: JSONObject) -> None:
        uid = self._parent["metadata"]["uid"]
        controller = controller_of(live)
        if controller is not None and controller.get("uid") != uid:
            if self._is_former_self(controller):
                raise Conflict(
                    f"{resource.kind} {key} belongs to a deleted {controller['kind']} of the same "
                    f"name: the garbage collector deletes it, and then it is recreated"
                )
            raise ChildConflict(
                f"{resource.kind} {key} is controlled by {controller.get('kind')} {controller.get('name')} "
                f"(uid {controller.get('uid')}), not by {self._parent_resource.kind} {_key_of(self._parent)} "
                f"(uid {uid}): choose another name for the child, or delete its owner"
            )
        labels = live["metadata"].get("labels") or {}
        owned_by_us = controller is not None or labels.get(LABEL_OWNER_UID) == uid
        if not owned_by_us and _own_fields(live, self._manager) is None:
            raise ChildConflict(
                f"{resource.kind} {key} exists and was not made by {self._manager}: it is not "
                f"changed: delete it, or choose another name for the child"
            )

    def _is_former_self(self, controller: Mapping[str, Any]) -> bool:
        group, _, _ = str(controller.get("apiVersion", "")).rpartition("/")
        me = (
            self._parent_resource.group,
            self._parent_resource.kind,
            self._parent["metadata"]["name"],
        )
        return (group, controller.get("kind"), controller.get("name")) == me


def body_to_send(written: JSONObject, resource: ApiResource) -> JSONObject:
    """Return what an apply sends of an object: fields that are set and not None; no status, no server metadata."""
    body = {name: value for name, value in _without_none(written).items() if name != "status"}
    body["metadata"] = {
        name: value
        for name, value in (body.get("metadata") or {}).items()
        if name in _SENT_METADATA
    }
    return {"apiVersion": resource.api_version, "kind": resource.kind, **body}


async def read_whole(api: ClusterAPI, resource: ApiResource, key: ObjectKey) -> JSONObject | None:
    """Read an object from the API server, with all that caches leave out; None if it does not exist.

    By a list of one, since an operator may list what it watches, but has no need to get it. Raises ClusterError.
    """
    found = await api.list(
        resource,
        namespace=key.namespace or None,
        field_selector=f"metadata.name={key.name}",
        limit=1,
    )
    return found.items[0] if found.items else None


def controller_of(obj: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the owner reference with `controller: true`, or None."""
    for owner in obj["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            return dict(owner)
    return None


def own_entry_only(obj: JSONObject, manager: str, former: Collection[str] = ()) -> JSONObject:
    """Strip `managedFields` down to what `manager` itself applied; changes and returns `obj`.

    Entries of the managers `former` that are to be handed over to `manager` stay too.
    """
    meta = obj.get("metadata")
    if isinstance(meta, dict) and "managedFields" in meta:
        own = [
            entry
            for entry in meta["managedFields"] or ()
            if (entry.get("manager") == manager and entry.get("operation") == "Apply")
            or (former and is_handed_over(entry, former))
        ]
        if own:
            meta["managedFields"] = own
        else:
            del meta["managedFields"]
    return obj


def would_change_nothing(body: JSONObject, live: JSONObject, manager: str) -> bool:
    """Return, without a request, whether applying `body` to `live` is certain to change nothing.

    Guarantees: True only if `manager` owns exactly the fields that `body` has, by its own entry in managedFields, and
    each has the value of `body` in `live`. False is no promise: for example, the server may have written a quantity
    in another way.
    """
    fields = _own_fields(live, manager)
    if fields is None:
        return False
    wanted = {
        name: value
        for name, value in body.items()
        if name not in {"apiVersion", "kind", "metadata"}
    }
    meta = {
        name: value for name, value in body["metadata"].items() if name not in {"name", "namespace"}
    }
    if meta:
        wanted["metadata"] = meta
    return same(fields, wanted, live)


def same(fields: Mapping[str, Any], wanted: Any, live: Any) -> bool:
    """Return whether the fields of a fieldsV1 tree are just those of `wanted`, and `live` has them with its values.

    The keys of the tree say which lists are maps or sets (`k:`, `v:`).
    """
    below = {name: value for name, value in fields.items() if name != "."}
    if not below:
        return _within(wanted, live)
    if isinstance(wanted, dict):
        return (
            isinstance(live, dict)
            and below.keys() == {f"f:{name}" for name in wanted}
            and all(
                same(below[f"f:{name}"], value, live.get(name, _ABSENT))
                for name, value in wanted.items()
            )
        )
    if isinstance(wanted, list):
        return (
            isinstance(live, list)
            and len(below) == len(wanted)
            and all(_same_item(name, inner, wanted, live) for name, inner in below.items())
        )
    return False


def _same_item(name: str, inner: Mapping[str, Any], wanted: list[Any], live: list[Any]) -> bool:
    """Compare one item of a list map (`k:{"name":"a"}`) or of a set (`v:"a"`)."""
    sigil, _, text = name.partition(":")
    if sigil == "v":
        value = json.loads(text)
        return value in wanted and value in live
    if sigil != "k":
        return False
    keys: dict[str, Any] = json.loads(text)
    # a key that we left out, such as a port's protocol, was filled in by the server
    mine = [
        item
        for item in wanted
        if isinstance(item, dict) and all(item.get(k, v) == v for k, v in keys.items())
    ]
    theirs = [
        item
        for item in live
        if isinstance(item, dict) and all(item.get(k) == v for k, v in keys.items())
    ]
    if len(mine) != 1 or len(theirs) != 1:
        return False
    return same(_with_given_keys(inner, keys, mine[0]), mine[0], theirs[0])


def _with_given_keys(
    inner: Mapping[str, Any], keys: Iterable[str], item: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Leave out of an item's fields those keys that the server filled in and recorded under this manager."""
    filled = {f"f:{key}" for key in keys if key not in item}
    return {name: value for name, value in inner.items() if name not in filled}


def _within(wanted: Any, live: Any) -> bool:
    """Compare what is owned as a whole: the server may have added defaults, but changed nothing."""
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(
            _within(value, live.get(name, _ABSENT)) for name, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(live, list)
            and len(wanted) == len(live)
            and all(_within(mine, theirs) for mine, theirs in zip(wanted, live, strict=True))
        )
    return isinstance(wanted, bool) == isinstance(live, bool) and bool(wanted == live)


def _is_own(entry: Mapping[str, Any], manager: str) -> bool:
    return (
        entry.get("manager") == manager
        and entry.get("operation") == "Apply"
        and not entry.get("subresource")
    )


def _own_fields(live: Mapping[str, Any], manager: str) -> Mapping[str, Any] | None:
    for entry in live["metadata"].get("managedFields") or ():
        if _is_own(entry, manager):
            fields = entry.get("fieldsV1")
            return fields if isinstance(fields, dict) else None
    return None


def _fingerprint(live: Mapping[str, Any], manager: str) -> str:
    """Return a digest of all that an apply could change or lose: no status, none of the server's counters."""
    kept = {name: value for name, value in live.items() if name != "status"}
    kept["metadata"] = {
        name: value
        for name, value in live["metadata"].items()
        if name not in {"managedFields", "resourceVersion"}
    }
    kept["fields"] = _own_fields(live, manager)
    return _digest(kept)


def _digest(value: Any) -> str:
    return hashlib.sha256(
        json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_none(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_none(inner) for inner in value]
    return value


def _key_of(obj: Mapping[str, Any]) -> ObjectKey:
    return ObjectKey(obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
