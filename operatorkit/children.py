"""Children: the objects that a reconcile function applies for its own object.

What belongs here: what an apply sends, when it sends nothing, which objects it rejects, and what it prunes. What does
not: which children there should be (the operator), and the caches (`operatorkit._runtime`).

The choices made here decide who owns which field on live clusters; docs/adr/0004-what-apply-sends.md argues them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from operatorkit.applied import applied_fields, own_entry_only, would_change_nothing
from operatorkit.cluster import ClusterAPI, JSONObject, PatchType
from operatorkit.cluster.managed_fields import handed_over, is_handed_over
from operatorkit.errors import (
    AlreadyExists,
    ChildConflict,
    Conflict,
    DefinitionError,
    FieldManagerConflict,
    NotFound,
)
from operatorkit.names import (
    ANNOTATION_OWNER,
    ANNOTATION_PRUNE,
    LABEL_OWNER_UID,
    ApiResource,
    ObjectKey,
)
from operatorkit.resource import api_resource_of, read, write

__all__ = [
    "ChildCache",
    "Children",
    "LastApplied",
    "controller_of",
    "owner_mark",
    "owner_reference",
]

_SENT_METADATA = ("name", "namespace", "labels", "annotations", "ownerReferences", "finalizers")


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

    `owned` are the kinds that may be applied; those in `across` may be where an owner reference cannot be: there, a
    label and an annotation mark them. `follows` returns whether the caches follow a namespace.
    `last_applied` is shared by all runs of an operator. Fields that the managers `former` set in a child by `create` or
    `update` become this operator's before it applies. `wrote` is called after each write that changed an object: which,
    what was sent, the response, and whether that created it.
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
        across: Collection[ApiResource] = (),
        follows: Callable[[str], bool] = lambda _: True,
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
        self._across = across
        self._follows = follows
        self._named: set[tuple[ApiResource, ObjectKey]] | None = None
        self._kept: set[tuple[ApiResource, ObjectKey]] = set()
        self._applied: set[tuple[ApiResource, ObjectKey]] = set()

    async def apply(self, *children: Any, prune: bool = True) -> list[Any]:
        """Apply each child, in order; see `Context.apply` for the promise."""
        prepared = [self._prepare(child, "applies", kept=not prune) for child in children]
        identities = [(resource, key) for resource, key, _ in prepared]
        self._reject_duplicates(identities)
        if prune:
            self._named = {*(self._named or ()), *identities}
        else:
            self._kept.update(identities)
        applied = [await self._apply_one(resource, key, body) for resource, key, body in prepared]
        return [read(type(child), obj) for child, obj in zip(children, applied, strict=True)]

    async def create(self, child: Any) -> Any:
        """Create a child unless it exists; see `Context.create` for the promise."""
        resource, key, body = self._prepare(child, "creates", kept=True)
        if not key.name:
            return read(type(child), await self._created(resource, body))
        self._kept.add((resource, key))
        live = self._live.get(resource, key)
        if live is None:
            try:
                return read(type(child), await self._created(resource, body))
            except AlreadyExists:
                live = await read_whole(self._api, resource, key)
        if live is None:
            raise Conflict(f"{resource.kind} {key} was deleted meanwhile")
        self._reject_conflicting(resource, key, live)
        return read(type(child), live)

    async def _created(self, resource: ApiResource, body: JSONObject) -> JSONObject:
        namespace = body["metadata"].get("namespace") or None
        answer = await self._api.create(
            resource, body, namespace=namespace, field_manager=self._manager
        )
        self._wrote(resource, _key_of(answer), body, answer, True)
        own_entry_only(answer, self._manager, self._former)
        self._live.put(resource, answer)
        return answer

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
        # By the label, because an index of the cache finds it; but a child is deleted only if its
        # owner reference says so as well: users copy labels with the objects that they clone, and
        # another owner has the clone.
        for resource in self._owned:
            for obj in self._live.labelled(resource, self._parent["metadata"]["uid"]):
                key = _key_of(obj)
                if (resource, key) in self._named or not self._is_prunable(resource, obj):
                    continue
                await self._delete(resource, key, obj["metadata"].get("uid"))
                pruned.append(key)
        return pruned

    def _is_prunable(self, resource: ApiResource, obj: JSONObject) -> bool:
        """Return whether an object with the parent's label is its child, and not to be kept."""
        meta = obj["metadata"]
        if meta.get("deletionTimestamp") or (resource, _key_of(obj)) in self._kept:
            return False
        if (meta.get("annotations") or {}).get(ANNOTATION_PRUNE) == "false":
            return False
        uid = self._parent["metadata"]["uid"]
        owners = meta.get("ownerReferences") or ()
        return any(owner.get("uid") == uid for owner in owners) or self._is_marked(obj)

    async def delete_marked(self) -> list[ObjectKey]:
        """Delete the children that no garbage collector finds; return those that still exist."""
        left = []
        for resource in self._across:
            for obj in self._live.labelled(resource, self._parent["metadata"]["uid"]):
                if not self._is_marked(obj):
                    continue
                left.append(_key_of(obj))
                if not obj["metadata"].get("deletionTimestamp"):
                    await self._delete(resource, _key_of(obj), obj["metadata"].get("uid"))
        return left

    def _is_marked(self, obj: JSONObject) -> bool:
        """Return whether the annotation names this parent, and no controller has the object.

        Kubernetes copies labels and annotations, from a Deployment to its ReplicaSets for one, which then have one.
        """
        marked = (obj["metadata"].get("annotations") or {}).get(ANNOTATION_OWNER)
        return marked == self._mark and controller_of(obj) is None

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

    def _prepare(
        self, child: Any, verb: str, *, kept: bool
    ) -> tuple[ApiResource, ObjectKey, JSONObject]:
        """Return what to send of a child, with the marks of its parent; `verb` is that of messages."""
        resource, written = api_resource_of(type(child)), write(child)
        body = body_to_send(written, resource)
        name = body["metadata"].get("name") or ""
        if resource not in self._owned:
            raise DefinitionError(
                f"{self._me} {verb} a {resource.kind}, which is not among its children: "
                f"add {type(child).__name__} to owns=[...] of its reconcile function"
            )
        if not name:
            prefix = (written.get("metadata") or {}).get("generateName")
            if verb == "applies":
                raise DefinitionError(
                    f"{self._me} applies a {resource.kind} without metadata.name: children need a fixed name"
                )
            if not prefix:
                raise DefinitionError(
                    f"{self._me} creates a {resource.kind} without metadata.name: set it, or generateName"
                )
            body["metadata"]["generateName"] = prefix
        namespace = self._namespace_for(
            resource, body["metadata"].get("namespace", ""), name or "with a generated name", verb
        )
        if namespace:
            body["metadata"]["namespace"] = namespace
        body = self._claimed(resource, namespace, body)
        if kept:
            body["metadata"].setdefault("annotations", {})[ANNOTATION_PRUNE] = "false"
        return resource, ObjectKey(namespace, name), body

    def _namespace_for(self, resource: ApiResource, namespace: str, name: str, verb: str) -> str:
        """Return the namespace of a child. Raises DefinitionError for one that the child must not be in."""
        me, parent_namespace = self._me, self._parent["metadata"].get("namespace", "")
        across = resource in self._across
        if not resource.namespaced:
            if parent_namespace and not across:
                raise DefinitionError(
                    f"{me} {verb} {resource.kind} {name}, which is cluster-scoped: the garbage collector deletes "
                    f"such a child of a namespaced parent; declare the kind in owns_across=[...] of its reconcile "
                    f"function"
                )
            return ""
        if parent_namespace and namespace not in {"", parent_namespace} and not across:
            raise DefinitionError(
                f"{me} {verb} {resource.kind} {namespace}/{name}, in another namespace: the garbage collector deletes "
                f"such a child; leave metadata.namespace out, or declare the kind in owns_across=[...] of its "
                f"reconcile function"
            )
        namespace = namespace or parent_namespace
        if not namespace:
            raise DefinitionError(
                f"{me} {verb} {resource.kind} {name} without metadata.namespace, and has none itself: set it"
            )
        if not self._follows(namespace):
            raise DefinitionError(
                f"{me} {verb} {resource.kind} {namespace}/{name}, and the operator does not work in namespace "
                f"{namespace}: run it with --namespace {namespace} too, or in all namespaces"
            )
        return namespace

    @property
    def _me(self) -> str:
        return f"{self._parent_resource.kind} {_key_of(self._parent)}"

    @property
    def _mark(self) -> str:
        return owner_mark(self._parent_resource, _key_of(self._parent))

    def _claimed(self, resource: ApiResource, namespace: str, body: JSONObject) -> JSONObject:
        """Add the label by which a parent finds its children, and an owner reference, or a mark where none can be."""
        meta, parent = body["metadata"], self._parent["metadata"]
        meta["labels"] = {**meta.get("labels", {}), LABEL_OWNER_UID: parent["uid"]}
        meta["annotations"] = dict(meta.get("annotations", {}))
        if parent.get("namespace") and (
            not resource.namespaced or namespace != parent["namespace"]
        ):
            meta["annotations"][ANNOTATION_OWNER] = self._mark
            return body
        if not meta["annotations"]:
            del meta["annotations"]
        # References that the author of the operator put in stay: a child may have several owners,
        # of which one is the controller.
        others = [
            owner for owner in meta.get("ownerReferences", ()) if owner.get("uid") != parent["uid"]
        ]
        mine = owner_reference(self._parent_resource, self._parent)
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
                # Forcing is right for a child that is known to be owned: whatever another manager
                # set of it is a conflict that the operator decides in its favour (ADR 0004). A create,
                # however, may hit an object that the cache does not hold yet; there, a forced apply
                # would silently take over what another client made.
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
                    # A test operation would not do: managedFields are replaced as a whole, so the
                    # patch must fail if any manager has written since they were read. API servers
                    # compare a resourceVersion that a patch sets.
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
        marked = (live["metadata"].get("annotations") or {}).get(ANNOTATION_OWNER)
        if controller is None and marked is not None and marked != self._mark:
            raise ChildConflict(
                f"{resource.kind} {key} is a child of {marked}, not of {self._parent_resource.kind} "
                f"{_key_of(self._parent)}: choose another name for the child, or delete its owner"
            )
        labels = live["metadata"].get("labels") or {}
        owned_by_us = controller is not None or labels.get(LABEL_OWNER_UID) == uid
        if not owned_by_us and applied_fields(live, self._manager) is None:
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


def owner_reference(resource: ApiResource, owner: JSONObject) -> JSONObject:
    """Return the owner reference by which `owner`, of that kind, controls an object."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def owner_mark(resource: ApiResource, key: ObjectKey) -> str:
    """Return how the annotation operatorkit.dev/owner of a child names its parent: kind and group, namespace, name."""
    return f"{resource.kind}.{resource.group}/{key.namespace}/{key.name}"


def _fingerprint(live: Mapping[str, Any], manager: str) -> str:
    """Return a digest of all that an apply could change or lose: no status, none of the server's counters."""
    kept = {name: value for name, value in live.items() if name != "status"}
    kept["metadata"] = {
        name: value
        for name, value in live["metadata"].items()
        if name not in {"managedFields", "resourceVersion"}
    }
    kept["fields"] = applied_fields(live, manager)
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
