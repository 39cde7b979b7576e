"""Who owns whom.

What belongs here: the graph of owner references, built from changes; pure. What does not: deleting anything
(`garbage`). An owner that is referred to but was never seen is in the graph only as a key of `dependents`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from operatorkit.cluster.api import JSONObject
from operatorkit.controlplane.controllers.inventory import Identity

__all__ = ["FOREGROUND", "ORPHAN", "Graph", "Node", "Owner"]

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


@dataclass(frozen=True, slots=True)
class Owner:
    """An owner reference."""

    api_version: str
    kind: str
    name: str
    uid: str
    blocks: bool


@dataclass(frozen=True, slots=True)
class Node:
    """An object and its place in the graph."""

    identity: Identity
    uid: str
    owners: tuple[Owner, ...]
    finalizers: frozenset[str]
    deleting: bool

    @property
    def deletes_dependents(self) -> bool:
        """Whether it waits for its dependents to be deleted first."""
        return self.deleting and FOREGROUND in self.finalizers

    @property
    def orphans_dependents(self) -> bool:
        """Whether it waits for its dependents to be cut loose first."""
        return self.deleting and ORPHAN in self.finalizers

    @classmethod
    def of(cls, identity: Identity, obj: JSONObject) -> Node:
        """Read an object's metadata."""
        metadata = obj["metadata"]
        owners = tuple(
            Owner(
                reference.get("apiVersion", ""),
                reference.get("kind", ""),
                reference.get("name", ""),
                reference.get("uid", ""),
                bool(reference.get("blockOwnerDeletion")),
            )
            for reference in metadata.get("ownerReferences") or ()
        )
        return cls(
            identity,
            metadata["uid"],
            owners,
            frozenset(metadata.get("finalizers") or ()),
            "deletionTimestamp" in metadata,
        )


class Graph:
    """All objects that own or are owned, by uid."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._dependents: dict[str, set[str]] = {}

    def get(self, uid: str) -> Node | None:
        """Return an object that was seen, or None."""
        return self._nodes.get(uid)

    def dependents(self, uid: str) -> list[Node]:
        """Return the objects that name `uid` as an owner, in a stable order."""
        nodes = (self._nodes[dependent] for dependent in self._dependents.get(uid, ()))
        return sorted(nodes, key=lambda node: node.identity)

    def put(self, node: Node) -> set[str]:
        """Add or replace an object; return the uids of the owners to which its relation has changed."""
        old = self._nodes.get(node.uid)
        before = set(old.owners) if old is not None else set()
        after = set(node.owners)
        owners = {owner.uid for owner in node.owners}
        self._nodes[node.uid] = node
        self._unlink(node.uid, {owner.uid for owner in before} - owners)
        for uid in owners:
            self._dependents.setdefault(uid, set()).add(node.uid)
        return {owner.uid for owner in before ^ after}

    def remove(self, uid: str) -> Node | None:
        """Take an object out and return it; its dependents still name it."""
        node = self._nodes.pop(uid, None)
        if node is not None:
            self._unlink(uid, {owner.uid for owner in node.owners})
        return node

    def _unlink(self, dependent: str, owners: Iterable[str]) -> None:
        for owner in owners:
            held = self._dependents.get(owner)
            if held is not None:
                held.discard(dependent)
                if not held:
                    del self._dependents[owner]
