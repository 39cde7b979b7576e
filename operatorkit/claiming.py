"""Claiming: which objects of a kind belong to a parent by its selector, and making the owner references say so.

What belongs here: adoption of orphans, and release of what the selector does not match any more. What does not: the
children that a reconcile function applies (`operatorkit.children`).

    controller           selector    what happens
    the parent           matches     it is claimed
    the parent           does not    it is released: the owner reference goes
    none (an orphan)     matches     it is adopted, after one live read of the parent, and claimed
    another, or none     ...         it is left as it is

Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/controller/controller_ref_manager.go
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from operatorkit.children import ChildCache, controller_of, owner_reference, read_whole
from operatorkit.cluster import ClusterAPI, JSONObject, PatchType
from operatorkit.errors import Conflict, NotFound
from operatorkit.names import ApiResource, ObjectKey
from operatorkit.resource import api_resource_of, read, write

__all__ = ["Claimer"]

T = TypeVar("T")


class Claimer:
    """Claims objects for one run of one parent; it reads the parent from the API server once at most."""

    def __init__(
        self,
        *,
        parent: JSONObject,
        parent_resource: ApiResource,
        api: ClusterAPI,
        live: ChildCache,
        manager: str,
    ) -> None:
        self._parent = parent
        self._parent_resource = parent_resource
        self._api = api
        self._live = live
        self._manager = manager
        self._may_adopt = False

    async def claim(self, objects: Iterable[T], matches: Callable[[T], bool]) -> list[T]:
        """Return the parent's objects among `objects`, as they are then; see `Context.claim` for the promise."""
        claimed = []
        for obj in objects:
            found = await self._claim_one(obj, matches)
            if found is not None:
                claimed.append(found)
        return claimed

    async def _claim_one(self, obj: T, matches: Callable[[T], bool]) -> T | None:
        written, terminating = write(obj), bool(self._parent["metadata"].get("deletionTimestamp"))
        controller = controller_of(written)
        if controller is not None:
            if controller.get("uid") != self._parent["metadata"]["uid"]:
                return None
            if matches(obj):
                return obj
            if not terminating:
                await self._write_owners(obj, written, self._others(written))
            return None
        if terminating or written["metadata"].get("deletionTimestamp") or not matches(obj):
            return None
        await self._check_parent()
        mine = owner_reference(self._parent_resource, self._parent)
        return await self._write_owners(obj, written, [*self._others(written), mine])

    def _others(self, written: JSONObject) -> list[Any]:
        uid = self._parent["metadata"]["uid"]
        owners = written["metadata"].get("ownerReferences") or ()
        return [owner for owner in owners if owner.get("uid") != uid]

    async def _check_parent(self) -> None:
        """Raise Conflict unless the parent is what the cache has: an adopted object is deleted with its parent."""
        if self._may_adopt:
            return
        meta = self._parent["metadata"]
        key = ObjectKey(meta.get("namespace", ""), meta["name"])
        live = await read_whole(self._api, self._parent_resource, key)
        if (
            live is None
            or live["metadata"]["uid"] != meta["uid"]
            or live["metadata"].get("deletionTimestamp")
        ):
            raise Conflict(
                f"{self._parent_resource.kind} {key} was replaced or is being deleted: it adopts nothing"
            )
        self._may_adopt = True

    async def _write_owners(self, obj: T, written: JSONObject, owners: list[Any]) -> T | None:
        """Replace the owner references of an object that has not changed since it was read; None if it is deleted."""
        resource, meta = api_resource_of(type(obj)), written["metadata"]
        body = {
            "metadata": {
                "uid": meta["uid"],
                "resourceVersion": meta["resourceVersion"],
                "ownerReferences": owners or None,
            }
        }
        try:
            answer = await self._api.patch(
                resource,
                meta["name"],
                body,
                patch_type=PatchType.MERGE,
                namespace=meta.get("namespace") or None,
                field_manager=self._manager,
            )
        except NotFound:
            return None
        self._live.put(resource, answer)
        return read(type(obj), answer)
