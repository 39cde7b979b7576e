"""Knowing the echo of an applied child when the watch brings it.

What belongs here: which changes of children have nothing new for their parent. What does not: the echo of a status
(`status`), and what any other change wakes (`waking`).

A run that applies a child is answered with the child as it is then, and so has seen that version: its echo need not
wake the parent. It must, where the run had read before it applied, for then what it decided may rest on the world as it
was without the child:

    read nothing ── apply ── (answer: version 7) ── end      the watch brings version 7: nothing new
    read the kind ─ apply ── (answer: version 7) ── end      the watch brings version 7: run again
    apply ── (answer: version 7) ── end                      the watch brings 6 or 8: somebody else's, run again

The echo may come before the answer. So changes that come while the parent runs are judged when the run is over, which
loses no time: no key runs twice at once.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from operatorkit.children import Live
from operatorkit.cluster import Change, ClusterAPI, JSONObject, is_newer, key_of
from operatorkit.context import Reader
from operatorkit.names import ApiResource, ObjectKey
from operatorkit.resource import api_resource_of

__all__ = ["Echoes", "TrackedLive", "TrackedReader", "tracked_api"]

T = TypeVar("T")
_Child = tuple[ApiResource, ObjectKey]


@dataclass(slots=True)
class _Run:
    """What one run has read so far, and the changes of its children that came meanwhile."""

    read: set[ApiResource] = field(default_factory=set)
    asked: bool = False
    changes: list[tuple[_Child, str]] = field(default_factory=list)


class Echoes:
    """For the parents of one kind. Every change of their children must be shown to `swallows`.

    `wake` is called with the key of a parent whose run is over, if something else than echoes came while it ran.
    """

    def __init__(self, wake: Callable[[ObjectKey], None]) -> None:
        self._wake = wake
        self._runs: dict[ObjectKey, _Run] = {}
        self._answered: dict[ObjectKey, dict[_Child, str]] = {}

    def begin(self, parent: ObjectKey) -> None:
        """Note that a run begins: it has read nothing."""
        self._runs[parent] = _Run()

    def end(self, parent: ObjectKey) -> None:
        """Note that the run is over, and judge what came while it ran."""
        foreign = False
        for child, version in self._runs.pop(parent).changes:
            if not self._is_echo(parent, child, version):
                foreign = True  # go on: each echo has to be taken off what is still to come
        if foreign:
            self._wake(parent)

    def swallows(self, parent: ObjectKey, resource: ApiResource, change: Change) -> bool:
        """Tell whether a change of a child need not wake its parent now: an echo, or judged when the run is over."""
        child = (resource, change.key)
        run = self._runs.get(parent)
        if run is not None:
            run.changes.append((child, change.version))
            return True
        return self._is_echo(parent, child, change.version)

    def forget(self, parent: ObjectKey) -> None:
        """Forget the children of a parent that is gone."""
        self._answered.pop(parent, None)

    def forget_answers(self) -> None:
        """Forget all versions: another history may give them to other states."""
        self._answered.clear()

    def read(self, parent: ObjectKey, resource: ApiResource | None) -> None:
        """Note that a run reads objects of a kind; None for the cluster itself, which may be of any.

        Whoever reads when the run is over (a task that it left behind) is not that run.
        """
        run = self._runs.get(parent)
        if run is None:
            return
        if resource is None:
            run.asked = True
        else:
            run.read.add(resource)

    def ignore_reads(self, parent: ObjectKey) -> None:
        """Take back what a run has read so far: its author says that no second run is needed for that."""
        run = self._runs.get(parent)
        if run is not None:
            run.read.clear()
            run.asked = False

    def answered(self, parent: ObjectKey, resource: ApiResource, obj: JSONObject) -> None:
        """Note the answer to an apply."""
        run, child = self._runs.get(parent), (resource, key_of(obj))
        if run is None or run.asked or resource in run.read:
            self._answered.get(parent, {}).pop(child, None)
        else:
            self._answered.setdefault(parent, {})[child] = str(obj["metadata"].get("resourceVersion") or "")

    def _is_echo(self, parent: ObjectKey, child: _Child, version: str) -> bool:
        known = self._answered.get(parent)
        answer = known.get(child) if known is not None else None
        if known is None or answer is None:
            return False
        if not version or not is_newer(answer, version):  # deleted, the echo, or later than it
            del known[child]
            if not known:
                del self._answered[parent]
        return version == answer


class TrackedReader:
    """Reads of one run from the caches, noted; see `operatorkit.context.Reader` for the promise."""

    def __init__(self, echoes: Echoes, parent: ObjectKey, reader: Reader) -> None:
        self._echoes = echoes
        self._parent = parent
        self._reader = reader

    def get(self, kind: type[T], name: str, *, namespace: str | None = None) -> T | None:
        """Return one object, or None. Raises InvalidObject when it cannot be read as `kind`."""
        self._echoes.read(self._parent, api_resource_of(kind))
        return self._reader.get(kind, name, namespace=namespace)

    def list(
        self,
        kind: type[T],
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
        index: tuple[str, str] | None = None,
    ) -> builtins.list[T]:
        """Return the objects that match all that is given, by namespace and name; unreadable ones are left out."""
        self._echoes.read(self._parent, api_resource_of(kind))
        return self._reader.list(kind, namespace=namespace, labels=labels, index=index)

    def keys(
        self, kind: type[Any], *, index: tuple[str, str], namespace: str | None = None
    ) -> builtins.list[ObjectKey]:
        """Return the keys of the objects that an index finds, without reading one, by namespace and name."""
        self._echoes.read(self._parent, api_resource_of(kind))
        return self._reader.keys(kind, index=index, namespace=namespace)


class TrackedLive:
    """The live objects of the children of one run, with the answers to its applies noted."""

    def __init__(self, echoes: Echoes, parent: ObjectKey, live: Live) -> None:
        self._echoes = echoes
        self._parent = parent
        self._live = live

    def get(self, resource: ApiResource, key: ObjectKey) -> JSONObject | None:
        """Return a copy of one object, with this operator's own managedFields entry."""
        return self._live.get(resource, key)

    def labelled(self, resource: ApiResource, owner_uid: str) -> builtins.list[JSONObject]:
        """Return copies of the objects whose label operatorkit.dev/owner-uid has this value."""
        return self._live.labelled(resource, owner_uid)

    def put(self, resource: ApiResource, obj: JSONObject) -> None:
        """Remember the answer to a write, so that no later read is older."""
        self._echoes.answered(self._parent, resource, obj)
        self._live.put(resource, obj)


class _TrackedAPI:
    """A `ClusterAPI` whose every use is noted as a read of whatever it may be."""

    def __init__(self, echoes: Echoes, parent: ObjectKey, api: ClusterAPI) -> None:
        self._echoes = echoes
        self._parent = parent
        self._api = api

    def __getattr__(self, name: str) -> Any:
        self._echoes.read(self._parent, None)
        return getattr(self._api, name)


def tracked_api(echoes: Echoes, parent: ObjectKey, api: ClusterAPI) -> ClusterAPI:
    """Return the cluster itself, for one run: each use of it counts as a read of every kind."""
    return cast("ClusterAPI", _TrackedAPI(echoes, parent, api))
