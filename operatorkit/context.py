"""The second argument of a reconcile function: reads from caches, writes to the cluster, events, time.

What belongs here: the `Context` and the `Reader`, as the author of an operator sees them. What does not: how caches
are filled (`operatorkit.cluster`), what an apply sends (`operatorkit.children`), and who calls whom when
(`operatorkit._runtime`).
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from operatorkit.clock import Clock
from operatorkit.cluster import ClusterAPI
from operatorkit.conditions import set_condition
from operatorkit.errors import DefinitionError
from operatorkit.names import ObjectKey

if TYPE_CHECKING:
    from operatorkit.children import Children
    from operatorkit.events import EventRecorder

__all__ = ["Context", "ObjectReader", "Reader"]

T = TypeVar("T")


class ObjectReader(Protocol):
    """Objects by name, and lists of them: from an operator's caches, or from lists that were requested once."""

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
        """Return the matching objects, by namespace and name; those that cannot be decoded are left out."""


class Reader(ObjectReader, Protocol):
    """Reads of declared kinds from the operator's caches: no request is made, and every answer is a copy of its own.

    Raises DefinitionError for a kind, or an index, that the operator did not declare, and for a lookup of a namespaced
    kind without a namespace.
    """

    def keys(
        self, kind: type[Any], *, index: tuple[str, str], namespace: str | None = None
    ) -> builtins.list[ObjectKey]:
        """Return the keys of the objects that an index finds, without reading one, by namespace and name."""


class Context:
    """The world of one run of a reconcile function.

    Of the object that the function is given, its status is written when the run ends, and nothing else: other changes
    of it are dropped, and logged once.

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
        self._conditions_set: set[str] = set()

    def get(self, kind: type[T], name: str, *, namespace: str | None = None) -> T | None:
        """Return an object of a declared kind from the cache, or None; by default in this object's namespace.

        Raises DefinitionError for an undeclared kind, InvalidObject when it cannot be read as `kind`.
        """
        return self._reader.get(
            kind, name, namespace=self.key.namespace if namespace is None else namespace
        )

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

    async def apply(self, *children: Any, enqueue: bool = True) -> builtins.list[Any]:
        """Bring children into being, as given, by server-side apply; return them as the cluster has them.

        Sets the owner reference and the label operatorkit.dev/owner-uid; a child without a namespace gets its
        parent's. Sends only fields that are set and not None, and makes no request for a child that is already so: see
        docs/adr/0004-what-apply-sends.md.
        Children of the kinds in `owns=` that no apply of this run named are deleted when the run ends well; a run that
        never calls apply deletes nothing, and `await ctx.apply()` says that there shall be none.

        A change of a child enqueues this object, but an own write does not, because the run has seen its result. After
        a run that had read objects of the child's kind, or used `api`, before it applied, an own write does enqueue:
        the decision may depend on the state without the child. With `enqueue=False` it does not: use it where a second
        run, which finds the child as it was applied, would decide the same.

        A child that another program changes or deletes at once is repaired less and less often, and an Event says so:
        see docs/adr/0013-a-budget-of-repairs.md.

        Raises ChildConflict for an object that this one does not own, DefinitionError for a child of an undeclared
        kind, in another namespace, cluster-scoped below a namespaced parent, or applied by this run already; and
        ClusterError.
        """
        if not enqueue and self._ignore_reads is not None:
            self._ignore_reads()
        return await self._children.apply(*children)

    async def delete(self, obj: Any) -> None:
        """Delete an object if it is still the same one (by uid); it is fine if it is gone already."""
        await self._children.delete(obj)

    @property
    def conditions_set(self) -> frozenset[str]:
        """The types of the conditions that this run has set."""
        return frozenset(self._conditions_set)

    def condition(self, type_: str, status: bool | None, reason: str, message: str = "") -> bool:
        """Set a condition in the object's `status.conditions`; True if it changed.

        `status` None is Unknown. The time of transition moves only when the status does; observedGeneration is that
        of the object, where conditions of the kind have one. A message of more than 32,768 characters is cut. Nothing
        is sent before the run ends.

        Raises DefinitionError for a kind without conditions, and for a type or a reason that API servers would reject.
        """
        model = condition_model(type(self._obj))
        where = f"{type(self._obj).__name__} {self.key}"
        if model is None:
            raise DefinitionError(
                f"{where} has no status.conditions to set {type_} in: add `conditions: list[Condition] = []` to the "
                f"status of the class; for a kind that is not yours, send an Event (ctx.events) instead"
            )
        status_obj = _status_of(self._obj)
        if status_obj is None:
            raise DefinitionError(
                f"{where} has no status yet, and its type has required fields: assign .status before conditions"
            )
        self._conditions_set.add(type_)
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
            model=model,
        )


def condition_model(kind: Any) -> type[BaseModel] | None:
    """Return the type of the items of `status.conditions` of a kind, or None where it has no such conditions."""
    return _condition_model(kind)


@functools.cache
def _condition_model(kind: Any) -> type[BaseModel] | None:
    for status in _models(_annotation(kind, "status")):
        for model in _models(_annotation(status, "conditions")):
            if {"type", "status"} <= model.model_fields.keys():
                return model
    return None


def _status_of(obj: Any) -> Any:
    """Return the status of an object, made of nothing where it has none; None if it cannot be."""
    if obj.status is None:
        for model in _models(_annotation(type(obj), "status")):
            with contextlib.suppress(ValidationError):
                obj.status = model()
    return obj.status


def _annotation(model: Any, name: str) -> Any:
    field = getattr(model, "model_fields", {}).get(name)
    return None if field is None else field.annotation


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models in an annotation such as `list[Condition] | None`."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)
