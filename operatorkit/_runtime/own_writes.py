"""Own writes of children: which of their watch events enqueue the parent, and which are filtered.

What belongs here: the resourceVersions that applies of a parent returned. What does not: own writes of a status
(`status`), and the keys that any other change enqueues (`handlers`).

Why it is hard: an apply returns the child as it is then, so the run has seen that resourceVersion, and the watch event
of it needs no second run. But it does where the run had read objects of that kind before it applied: then its decision
may depend on the state without the child. A second run finds the state with the child:

    read nothing ── apply ── (response: version 7) ── end    event with version 7: filtered
    read the kind ─ apply ── (response: version 7) ── end    event with version 7: enqueued
    apply ── (response: version 7) ── end                    event with version 6 or 8, of another writer: enqueued

The watch event may arrive before the response. So events that arrive while the parent runs are evaluated when the run
is over. That costs no time, because a key never runs twice at once. Decided in
docs/adr/0011-echoes-of-applied-children.md.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from operatorkit.children import ChildCache
from operatorkit.cluster import Change, ClusterAPI, JSONObject, is_newer, key_of
from operatorkit.context import Reader
from operatorkit.names import ApiResource, ObjectKey
from operatorkit.resource import api_resource_of

__all__ = ["OwnWrites", "TrackedChildren", "TrackedReader", "tracked_api"]

T = TypeVar("T")
_Child = tuple[ApiResource, ObjectKey]


@dataclass(slots=True)
class _Run:
    """What one run has read so far, and the changes of its children that came meanwhile."""

    read: set[ApiResource] = field(default_factory=set)
    asked: bool = False
    changes: list[tuple[_Child, str]] = field(default_factory=list)


class OwnWrites:
    """For the parents of one kind. Every change of their children must be passed to `ignores`.

    `enqueue` is called with the key of a parent when its run is over, if changes by others arrived meanwhile.
    """

    def __init__(self, enqueue: Callable[[ObjectKey], None]) -> None:
        self._enqueue = enqueue
        self._runs: dict[ObjectKey, _Run] = {}
        self._answered: dict[ObjectKey, dict[_Child, str]] = {}

    def begin(self, parent: ObjectKey) -> None:
        """Record that a run begins: it has read nothing yet."""
        self._runs[parent] = _Run()

    def end(self, parent: ObjectKey) -> None:
        """Record that the run is over, and evaluate the changes that arrived while it ran."""
        by_others = False
        for child, version in self._runs.pop(parent).changes:
            if not self._is_own(parent, child, version):
                by_others = (
                    True  # continue: each own write has to be removed from the expected ones
                )
        if by_others:
            self._enqueue(parent)

    def ignores(self, parent: ObjectKey, resource: ApiResource, change: Change) -> bool:
        """Return whether a change need not enqueue the parent now: an own write, or evaluated after the run."""
        child = (resource, change.key)
        run = self._runs.get(parent)
        if run is not None:
            run.changes.append((child, change.version))
            return True
        return self._is_own(parent, child, change.version)

    def forget(self, parent: ObjectKey) -> None:
        """Forget the children of a parent that no longer exists."""
        self._answered.pop(parent, None)

    def forget_answers(self) -> None:
        """Forget all resourceVersions: another history of the server may use them for other states."""
        self._answered.clear()

    def read(self, parent: ObjectKey, resource: ApiResource | None) -> None:
        """Record that a run reads objects of a kind; None for the API server itself, which may read any kind.

        A read after the end of the run, by a task that it left behind, does not count.
        """
        run = self._runs.get(parent)
        if run is None:
            return
        if resource is None:
            run.asked = True
        else:
            run.read.add(resource)

    def ignore_reads(self, parent: ObjectKey) -> None:
        """Discard what a run has read so far: its author states that it requires no second run."""
        run = self._runs.get(parent)
        if run is not None:
            run.read.clear()
            run.asked = False

    def answered(self, parent: ObjectKey, resource: ApiResource, obj: JSONObject) -> None:
        """Record the response to an apply."""
        run, child = self._runs.get(parent), (resource, key_of(obj))
        if run is None or run.asked or resource in run.read:
            self._answered.get(parent, {}).pop(child, None)
        else:
            self._answered.setdefault(parent, {})[child] = str(
                obj["metadata"].get("resourceVersion") or ""
            )

    def _is_own(self, parent: ObjectKey, child: _Child, version: str) -> bool:
        known = self._answered.get(parent)
        answer = known.get(child) if known is not None else None
        if known is None or answer is None:
            return False
        if not version or not is_newer(
            answer, version
        ):  # deleted, the own write itself, or a later one
            del known[child]
            if not known:
                del self._answered[parent]
        return version == answer


class TrackedReader:
    """Reads of one run from the caches, recorded; see `operatorkit.context.Reader` for the promise."""

    def __init__(self, own_writes: OwnWrites, parent: ObjectKey, reader: Reader) -> None:
        self._own_writes = own_writes
        self._parent = parent
        self._reader = reader

    def get(self, kind: type[T], name: str, *, namespace: str | None = None) -> T | None:
        """Return one object, or None. Raises InvalidObject when it cannot be read as `kind`."""
        self._own_writes.read(self._parent, api_resource_of(kind))
        return self._reader.get(kind, name, namespace=namespace)

    def list(
        self,
        kind: type[T],
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
        index: tuple[str, str] | None = None,
    ) -> builtins.list[T]:
        """Return the matching objects, by namespace and name; those that cannot be decoded are left out."""
        self._own_writes.read(self._parent, api_resource_of(kind))
        return self._reader.list(kind, namespace=namespace, labels=labels, index=index)

    def keys(
        self, kind: type[Any], *, index: tuple[str, str], namespace: str | None = None
    ) -> builtins.list[ObjectKey]:
        """Return the keys of the objects that an index finds, without reading one, by namespace and name."""
        self._own_writes.read(self._parent, api_resource_of(kind))
        return self._reader.keys(kind, index=index, namespace=namespace)

    def memory(self, kind: Callable[[], T]) -> T:
        """Return what the running operator keeps in memory under a class; that is no read of the cluster."""
        return self._reader.memory(kind)


class TrackedChildren:
    """The cached children of one run, with the responses to its applies recorded."""

    def __init__(self, own_writes: OwnWrites, parent: ObjectKey, children: ChildCache) -> None:
        self._own_writes = own_writes
        self._parent = parent
        self._children = children

    def get(self, resource: ApiResource, key: ObjectKey) -> JSONObject | None:
        """Return a copy of one object, with this operator's own managedFields entry."""
        return self._children.get(resource, key)

    def labelled(self, resource: ApiResource, owner_uid: str) -> builtins.list[JSONObject]:
        """Return copies of the objects whose label operatorkit.dev/owner-uid has this value."""
        return self._children.labelled(resource, owner_uid)

    def put(self, resource: ApiResource, obj: JSONObject) -> None:
        """Store the response to a write, so that no later read is older."""
        self._own_writes.answered(self._parent, resource, obj)
        self._children.put(resource, obj)


class _TrackedAPI:
    """A `ClusterAPI` whose every use is recorded as a read of any kind."""

    def __init__(self, own_writes: OwnWrites, parent: ObjectKey, api: ClusterAPI) -> None:
        self._own_writes = own_writes
        self._parent = parent
        self._api = api

    def __getattr__(self, name: str) -> Any:
        self._own_writes.read(self._parent, None)
        return getattr(self._api, name)


def tracked_api(own_writes: OwnWrites, parent: ObjectKey, api: ClusterAPI) -> ClusterAPI:
    """Return the API for one run: each use of it counts as a read of every kind."""
    return cast("ClusterAPI", _TrackedAPI(own_writes, parent, api))
