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
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from operatorkit.clock import Clock
from operatorkit.cluster import ClusterAPI, JSONObject
from operatorkit.conditions import set_condition
from operatorkit.errors import DefinitionError
from operatorkit.names import ObjectKey

if TYPE_CHECKING:
    from operatorkit.children import Children
    from operatorkit.claiming import Claimer
    from operatorkit.events import EventRecorder
    from operatorkit.live import LiveReader, ObjectWriter

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

    def memory(self, kind: Callable[[], T]) -> T:
        """Return what the running operator keeps in memory under a class: made by `kind()` when first requested.

        Each engine has its own, also where two of them run one operator in one process. It starts empty after a
        restart and with a new leader: keep only what can be found again there, such as a back-off or what was read.
        """


class Context:
    """The world of one run of a reconcile function.

    Of the object that the function is given, its status is written when the run ends. Other changes of it are written
    by `update` only; without it they are dropped, and logged once.

    Guarantees: reads are never older than this operator's own writes; nothing here outlives the run.

    `key` is the object's namespace and name; `clock` the only source of time; `log` a logger that names the object;
    `events` the recorder of Events; `live` typed reads from the API server, for what caches cannot answer; `api` any
    other request.
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
        update: Callable[[Any], Awaitable[None]],
        serves: Callable[[type[Any]], bool],
        live: LiveReader,
        writer: ObjectWriter,
        claimer: Claimer,
        ignore_reads: Callable[[], None] | None = None,
    ) -> None:
        self.key = key
        self.events = events
        self.api = api
        self.clock = clock
        self.log = log
        self.live = live
        self._update = update
        self._serves = serves
        self._writer = writer
        self._claimer = claimer
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

    def memory(self, kind: Callable[[], T]) -> T:
        """Return what the running operator keeps in memory under a class: made by `kind()` when first requested.

        All runs of an engine share it, and no other engine does. It starts empty after a restart and with a new
        leader: keep only what can be found again there, such as a back-off or what was read.
        """
        return self._reader.memory(kind)

    def serves(self, kind: type[Any]) -> bool:
        """Return whether the API server serves a kind that is declared with `Operator.optional`; else True.

        Raises DefinitionError for an undeclared kind.
        """
        return self._serves(kind)

    async def apply(
        self, *children: Any, enqueue: bool = True, prune: bool = True
    ) -> builtins.list[Any]:
        """Bring children into being, as given, by server-side apply; return them as the cluster has them.

        Sets the owner reference and the label operatorkit.dev/owner-uid; a child without a namespace gets its
        parent's. Sends only fields that are set and not None, and makes no request for a child that is already so: see
        docs/adr/0004-what-apply-sends.md.
        Children of the kinds in `owns=` that no apply of this run named are deleted when the run ends well; a run that
        never calls apply deletes nothing, and `await ctx.apply()` says that there shall be none.

        Children that are applied with `prune=False` are kept when a later run does not name them, until their parent is
        deleted; the annotation operatorkit.dev/prune=false marks them. Such a call alone prunes no others.

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
        return await self._children.apply(*children, prune=prune)

    async def create(self, child: T) -> T:
        """Create a child unless an object of its name exists, and return it as the cluster has it.

        For what is created once and not converged: Jobs, backups, numbered objects. It is owned as a child that is
        applied, and changes of it enqueue this object, but it is never changed, and kept until this object is deleted,
        or the function deletes it. With `metadata.generateName` in place of a name, each call creates one more: find
        those that exist by their labels first. A response that is lost may leave one behind, so prefer names that
        follow from the state.

        Raises ChildConflict, DefinitionError and ClusterError, as `apply` does.
        """
        created: T = await self._children.create(child)
        return created

    async def update(self, obj: Any) -> None:
        """Write what the function changed in its own object: labels, annotations, and all but metadata and status.

        By one server-side apply as field manager `NAME/update`, with force, or none if nothing changed. It sends the
        fields that differ from what the run was given, and those that earlier updates sent. `obj` then has what the
        cluster has. Its own change does not enqueue the object again.

        Declare it: `app.needs(Kind, "patch", reason=...)`.

        Raises DefinitionError for another object, and for a field that was removed and that another manager set;
        Conflict when the object was recreated; and other ClusterErrors.
        """
        await self._update(obj)

    async def patch(
        self,
        obj: T,
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        strategic: bool = False,
        subresource: str = "",
    ) -> T:
        """Patch an object of any kind, if it is still the same one (by uid), and return it as the cluster has it.

        A mapping is a merge patch, or with `strategic` a strategic merge patch, and a list is a JSON patch. The field
        manager is `NAME/update`, so that applies leave alone what it set. Later reads from the caches see the result.

        Declare it: `app.needs(Kind, "patch", reason=...)`; children may be patched without.

        Raises DefinitionError for a patch that is not declared, Conflict when the object was recreated, NotFound,
        Invalid, and other ClusterErrors.
        """
        return await self._writer.patch(obj, body, strategic=strategic, subresource=subresource)

    async def evict(self, pod: Any, *, grace_period_seconds: int | None = None) -> str | None:
        """Evict a Pod, if it is still the same one (by uid): its PodDisruptionBudget decides.

        Return None if it is evicted or was deleted already, else the message of the budget that does not allow it now:
        try again later.

        Declare it: `app.needs(V1Pod, "create", subresource="eviction", reason=...)`, and "get", so that the cache has
        the evicted Pod at once. Raises DefinitionError and ClusterError.
        """
        return await self._writer.evict(pod, grace_period_seconds=grace_period_seconds)

    async def scale(self, target: Any, replicas: int | None = None) -> JSONObject:
        """Set the number of replicas by the subresource scale of any kind that has one, and return the Scale.

        `target` is an object, or a reference with `api_version`, `kind` and `name` in this object's namespace, such as
        the scaleTargetRef of an autoscaler. Without `replicas`, the Scale is only read. It is JSON of autoscaling/v1:
        `spec.replicas`, `status.replicas`, `status.selector`.

        Declare it: `app.needs(Kind, "get", "patch", subresource="scale", reason=...)`. Raises DefinitionError,
        NotFound, NoKindMatch, and other ClusterErrors.
        """
        return await self._writer.scale(target, replicas)

    async def claim(
        self,
        kind: type[T],
        *,
        labels: Mapping[str, str] | None = None,
        matches: Callable[[T], bool] | None = None,
    ) -> builtins.list[T]:
        """Return the cached objects of an owned kind, in this object's namespace, that this object controls.

        Orphans that have all `labels`, and that `matches` returns True for, are adopted: after one live read of this
        object, which proves that it still exists and is not being deleted. Objects that it controls and that do not
        match any more are released. Claimed objects that no apply has named are not pruned.

        Raises DefinitionError for an undeclared kind and where neither labels nor `matches` are given; Conflict when
        an object changed meanwhile; and other ClusterErrors.
        """
        if not labels and matches is None:
            raise DefinitionError(
                f"ctx.claim({kind.__name__}) would adopt every orphan: give labels=, or matches="
            )

        def is_wanted(obj: T) -> bool:
            has = getattr(obj, "metadata").labels or {}  # noqa: B009 - T is any kind
            return (labels or {}).items() <= has.items() and (matches is None or matches(obj))

        found = self._reader.list(kind, namespace=self.key.namespace or None)
        return await self._claimer.claim(found, is_wanted)

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
