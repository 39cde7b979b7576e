"""garbage-collector-controller: objects whose owners are gone go, too.

What belongs here: the decision about one object, and the requests that carry it out. What does not: the graph
(`graph`).

    owner deleted, background    owner is gone ──► dependents deleted
    owner deleted, foreground    dependents deleted ──► those that block are gone ──► finalizer lifted ──► owner gone
    owner deleted, orphan        references to it cut from dependents ──► finalizer lifted ──► owner gone

An owner is looked up live, in the dependent's own namespace, and must have the uid that the reference names; so a
reference across namespaces, or to an owner that was recreated under the same name, is a reference to nothing.

Source: https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from operatorkit.cluster import Change
from operatorkit.cluster.api import JSONObject, PatchType, Propagation
from operatorkit.controlplane.controllers.context import ControllerContext
from operatorkit.controlplane.controllers.inventory import Identity
from operatorkit.controlplane.controllers.owner_graph import FOREGROUND, ORPHAN, Graph, Node, Owner
from operatorkit.controlplane.controllers.work_queue import WorkQueue
from operatorkit.errors import Conflict, NoKindMatch, NotFound
from operatorkit.names import ApiResource, GroupVersionKind

__all__ = ["GarbageCollector"]

_Verdict = Literal["solid", "dangling", "waiting", "unknown"]


@dataclass(slots=True)
class _Owners:
    """The owners of one object, sorted by what became of them."""

    solid: list[Owner] = field(default_factory=list)
    dangling: list[Owner] = field(default_factory=list)
    waiting: list[Owner] = field(default_factory=list)
    unknown: list[Owner] = field(default_factory=list)


class GarbageCollector:
    """Keeps the cluster free of objects whose owners are gone."""

    name = "garbage-collector-controller"

    def __init__(self, context: ControllerContext) -> None:
        self._api = context.api
        self._inventory = context.inventory
        self._graph = Graph()
        self._queue: WorkQueue[str] = WorkQueue(
            self._sync, clock=context.pace, pace=context.pace, workers=8, name=self.name
        )
        context.inventory.subscribe(self._on_change)

    async def run(self) -> None:
        """Collect until cancelled."""
        await self._inventory.ready()
        await self._queue.run()

    async def idle(self) -> None:
        """Return when there is no work that can be done now."""
        await self._queue.idle()

    # -- event handlers

    def _on_change(self, resource: ApiResource, change: Change) -> None:
        obj = change.old if change.type == "DELETED" else change.new
        if obj is None:
            return
        node = Node.of(Identity(resource, change.key), obj)
        if change.type == "DELETED":
            self._on_deleted(node)
            return
        previous = change.old
        if previous is not None and previous["metadata"]["uid"] != node.uid:
            # The graph is keyed by uid: the old node would stay, without an event that ever removes
            # it, and hold its dependents.
            self._on_deleted(Node.of(node.identity, previous))  # recreated between two events
        for owner in self._graph.put(node):
            self._queue.add(owner)  # it may have waited for this one
        if node.owners or node.deletes_dependents or node.orphans_dependents:
            self._queue.add(node.uid)

    def _on_deleted(self, node: Node) -> None:
        self._graph.remove(node.uid)
        self._queue.forget(node.uid)
        for dependent in self._graph.dependents(node.uid):
            self._queue.add(dependent.uid)
        for owner in node.owners:
            self._queue.add(owner.uid)

    # -- what is done about it

    async def _sync(self, uid: str) -> timedelta | None:
        node = self._graph.get(uid)
        if node is None:
            return None
        if node.orphans_dependents:
            await self._orphan_dependents(node)
        elif node.deletes_dependents:
            await self._delete_dependents(node)
        elif node.deleting:
            return None  # on its way; its dependents come when it is gone
        elif node.owners:
            return await self._evaluate(node)
        return None

    async def _evaluate(self, node: Node) -> timedelta | None:
        """Delete an object that no owner holds any more, or drop its references to those that are gone."""
        # The graph comes from watches and may be behind, by any time. Deleting is not undone, so
        # each decision is made again on live objects: this one, and its owners (`_sort`), as
        # kube-controller-manager does (attemptToDeleteItem).
        live = await self._live(node)
        if live is None:
            return None
        node = Node.of(node.identity, live)
        owners = await self._sort(node)
        gone = [*owners.dangling, *owners.waiting]
        if owners.solid:
            if gone:
                await self._cut(node, live, {owner.uid for owner in gone})
        # An owner whose kind is not served now may come back with its CRD, or with the API server
        # of an APIService: deleting on that account would empty a cluster during an upgrade. So the
        # answer is to try later, never to delete.
        elif owners.unknown:
            return (
                timedelta(seconds=1) if owners.dangling or owners.waiting else timedelta(seconds=30)
            )
        # An owner that is deleted in the foreground waits for this object, and that in turn has
        # dependents: it must go in the foreground itself, or the owner would be gone before its
        # grandchildren are.
        elif owners.waiting and self._graph.dependents(node.uid):
            # A circle would wait for itself. That an owner is deleted was read live, and the graph
            # may not have it yet.
            deleted = {owner.uid for owner in owners.waiting}
            if any(
                dependent.deletes_dependents or dependent.uid in deleted
                for dependent in self._graph.dependents(node.uid)
            ):
                live = await self._unblock(node, live)
            await self._delete(node, live, "Foreground")
        elif gone:
            await self._delete(node, live, _chosen_before(node))
        return None

    async def _sort(self, node: Node) -> _Owners:
        owners = _Owners()
        for owner in node.owners:
            verdict = await self._what_became_of(owner, node)
            getattr(owners, verdict).append(owner)
        return owners

    async def _what_became_of(self, owner: Owner, dependent: Node) -> _Verdict:
        kind = GroupVersionKind.of(owner.api_version, owner.kind)
        resource = self._inventory.resources.get(kind)
        if resource is None:
            try:
                resource = await self._api.resolve(kind.group, kind.kind, kind.version)
            except NoKindMatch:
                return (
                    "unknown"  # a kind that is not served, now: nothing is deleted on that account
                )
        namespace = dependent.identity.key.namespace
        if resource.namespaced and not namespace:
            return "unknown"  # a cluster-scoped object cannot have an owner in a namespace
        try:
            live = await self._api.get(
                resource, owner.name, namespace=namespace if resource.namespaced else None
            )
        except NotFound:
            return "dangling"
        if live["metadata"]["uid"] != owner.uid:
            return "dangling"
        waits = "deletionTimestamp" in live["metadata"] and FOREGROUND in (
            live["metadata"].get("finalizers") or ()
        )
        return "waiting" if waits else "solid"

    async def _delete_dependents(self, owner: Node) -> None:
        """Foreground: lift the finalizer once no dependent blocks; until then see that they go."""
        blocking = [
            dependent
            for dependent in self._graph.dependents(owner.uid)
            if any(
                reference.uid == owner.uid and reference.blocks for reference in dependent.owners
            )
        ]
        for dependent in self._graph.dependents(owner.uid):
            if not dependent.deleting:
                self._queue.add(dependent.uid)
        if not blocking:
            await self._lift(owner, FOREGROUND)

    async def _orphan_dependents(self, owner: Node) -> None:
        """Orphan: cut every reference to the owner, then lift the finalizer."""
        for dependent in self._graph.dependents(owner.uid):
            live = await self._live(dependent)
            if live is not None:
                await self._cut(dependent, live, {owner.uid})
        await self._lift(owner, ORPHAN)

    # -- requests

    async def _live(self, node: Node) -> JSONObject | None:
        """Return an object as it is now, or None when it is gone."""
        try:
            live = await self._api.get(
                node.identity.resource,
                node.identity.key.name,
                namespace=node.identity.key.namespace or None,
            )
        except NotFound:
            return None
        return live if live["metadata"]["uid"] == node.uid else None

    async def _patch(self, node: Node, live: JSONObject, metadata: JSONObject) -> JSONObject:
        # The version makes the patch fail if the lists changed meanwhile: then the key is retried.
        body = {"metadata": {"resourceVersion": live["metadata"]["resourceVersion"], **metadata}}
        return await self._api.patch(
            node.identity.resource,
            node.identity.key.name,
            body,
            patch_type=PatchType.MERGE,
            namespace=node.identity.key.namespace or None,
        )

    async def _cut(self, node: Node, live: JSONObject, owners: Collection[str]) -> None:
        references = live["metadata"].get("ownerReferences") or []
        kept = [reference for reference in references if reference["uid"] not in owners]
        if kept != references:
            await self._patch(node, live, {"ownerReferences": kept or None})

    async def _unblock(self, node: Node, live: JSONObject) -> JSONObject:
        references = [
            {**reference, "blockOwnerDeletion": False}
            for reference in live["metadata"].get("ownerReferences") or ()
        ]
        return await self._patch(node, live, {"ownerReferences": references})

    async def _lift(self, node: Node, finalizer: str) -> None:
        live = await self._live(node)
        if live is None:
            return
        finalizers = live["metadata"].get("finalizers") or []
        if finalizer in finalizers:
            kept = [one for one in finalizers if one != finalizer]
            await self._patch(node, live, {"finalizers": kept or None})

    async def _delete(self, node: Node, live: JSONObject, propagation: Propagation) -> None:
        try:
            await self._api.delete(
                node.identity.resource,
                node.identity.key.name,
                namespace=node.identity.key.namespace or None,
                propagation=propagation,
                uid=node.uid,
                resource_version=live["metadata"]["resourceVersion"],
            )
        except NotFound:
            return
        except Conflict:
            self._queue.add(node.uid)


def _chosen_before(node: Node) -> Propagation:
    """Return the policy that finalizers, set with no deletion, ask for."""
    if ORPHAN in node.finalizers:
        return "Orphan"
    return "Foreground" if FOREGROUND in node.finalizers else "Background"
