"""What a reconcile function is given beside its object: reads from caches, writes to the cluster, events, time.

What belongs here: the `Context` and the `Reader`, as the author of an operator sees them. What does not: how caches
are filled (`operatorkit.cluster`), what an apply sends (`operatorkit.children`), and who calls whom when
(`operatorkit._runtime`).
"""

from __future__ import annotations

import builtins
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from operatorkit.clock import Clock
from operatorkit.cluster import ClusterAPI
from operatorkit.conditions import set_condition
from operatorkit.names import ObjectKey

if TYPE_CHECKING:
    from operatorkit.children import Children
    from operatorkit.events import EventRecorder

__all__ = ["Context", "Reader"]

T = TypeVar("T")


class Reader(Protocol):
    """Reads of declared kinds from the operator's caches: no request is made, and every answer is a copy of its own.

    Raises DefinitionError for a kind, or an index, that the operator did not declare, and for a lookup of a namespaced
    kind without a namespace.
    """

    def get(self, kind: type[T], name: str, *, namespace: str | None = None) -> T | None:
        """Return one object, or None. Raises InvalidObject when it cannot be read as `kind`."""

    def list(
        self,
        kind: type[T],
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
        index: tuple[str, str] | None = None,
    ) -> builtins.list[T]:
        """Return the objects that match all that is given, by namespace and name; unreadable ones are left out."""

    def keys(
        self, kind: type[Any], *, index: tuple[str, str], namespace: str | None = None
    ) -> builtins.list[ObjectKey]:
        """Return the keys of the objects that an index finds, without reading one, by namespace and name."""


class Context:
    """The world of one run of a reconcile function.

    Guarantees: reads are never older than this operator's own writes; nothing here outlives the run.

    `key` is the object's namespace and name; `clock` the only source of time; `log` a logger that names the object;
    `events` the recorder of Events; `api` the cluster itself, for what caches cannot answer.
    """

    def __init__(
        self,
        *,
        key: ObjectKey,
        obj: Any,
        reader: Reader,
        children: Children,
        events: EventRecorder,
        api: ClusterAPI,
        clock: Clock,
        log: logging.Logger | logging.LoggerAdapter[logging.Logger],
        ignore_reads: Callable[[], None] | None = None,
    ) -> None:
        self.key = key
        self.events = events
        self.api = api
        self.clock = clock
        self.log = log
        self._obj = obj
        self._reader = reader
        self._children = children
        self._ignore_reads = ignore_reads
        self._said: set[str] = set()  # types of conditions

    def get(self, kind: type[T], name: str, *, namespace: str | None = None) -> T | None:
        """Return an object of a declared kind from the cache, or None; by default in this object's namespace.

        Raises DefinitionError for an undeclared kind, InvalidObject when it cannot be read as `kind`.
        """
        return self._reader.get(kind, name, namespace=self.key.namespace if namespace is None else namespace)

    def list(
        self,
        kind: type[T],
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
        index: tuple[str, str] | None = None,
    ) -> builtins.list[T]:
        """Return objects of a declared kind from the cache, of all namespaces unless one is given.

        `labels` must all be equal; `index` is the name of an index of `Operator.index` and a value. The answer is
        sorted by namespace and name. Raises DefinitionError for an undeclared kind or index.
        """
        return self._reader.list(kind, namespace=namespace, labels=labels, index=index)

    def keys(
        self, kind: type[Any], *, index: tuple[str, str], namespace: str | None = None
    ) -> builtins.list[ObjectKey]:
        """Return the keys of the objects that an index finds, by namespace and name.

        Costs far less than `list`, which reads each object. Raises DefinitionError as `list` does.
        """
        return self._reader.keys(kind, index=index, namespace=namespace)

    async def apply(self, *children: Any, wake: bool = True) -> builtins.list[Any]:
        """Bring children into being, as given, by server-side apply; return them as the cluster has them.

        Sets the owner reference and the label operatorkit.dev/owner-uid; a child without a namespace gets its
        parent's. Sends only fields that are set and not None, and makes no request for a child that is already so: see
        docs/adr/0004-what-apply-sends.md.
        Children of the kinds in `owns=` that no apply of this run named are deleted when the run ends well; a run that
        never calls apply deletes nothing, and `await ctx.apply()` says that there shall be none.

        A change of a child wakes this object, but not the mere echo of an apply, which brings nothing that the run has
        not been answered. After a run that had read objects of the child's kind, or used `api`, before it applied, the
        echo does wake: what was decided may rest on the world without the child. With `wake=False` it does not: say so
        where a second run, which finds the child as it was applied, would decide nothing else.

        Raises ChildConflict for an object that this one does not own, DefinitionError for a child of an undeclared
        kind, in another namespace, or cluster-scoped below a namespaced parent; and ClusterError.
        """
        if not wake and self._ignore_reads is not None:
            self._ignore_reads()
        return await self._children.apply(*children)

    async def delete(self, obj: Any) -> None:
        """Delete an object if it is still the same one (by uid); it is fine if it is gone already."""
        await self._children.delete(obj)

    def condition(self, type_: str, status: bool | None, reason: str, message: str = "") -> bool:
        """Set a condition in the object's `status.conditions`; True if it changed.

        `status` None is Unknown. The time of transition moves only when the status does; observedGeneration is that
        of the object. Nothing is sent before the run ends.
        """
        status_obj = self._obj.status
        if status_obj is None or not hasattr(status_obj, "conditions"):
            raise TypeError(
                f"{type(self._obj).__name__} has no status.conditions: add `conditions: list[Condition]` to its status"
            )
        self._said.add(type_)
        if status_obj.conditions is None:
            status_obj.conditions = []
        return set_condition(
            status_obj.conditions,
            type_,
            status,
            reason,
            message,
            observed_generation=self._obj.metadata.generation,
            now=self.clock.now(),
        )
