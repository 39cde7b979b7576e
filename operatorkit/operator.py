"""What an operator is: a name, its reconcile functions, what they own, watch, read and index, and its webhooks.

What belongs here: the declaration, checked when it is made. What does not: running it (`operatorkit._runtime`), and
what a reconcile function may do (`operatorkit.context`).

    app = Operator("postgres")

    @app.reconcile(Postgres, owns=[V1StatefulSet, V1Service], watches=[Watch(V1Node, to=databases_on)])
    async def reconcile(postgres: Postgres, ctx: Context) -> Requeue | None: ...

    @app.validate(Postgres)
    async def validate(new: Postgres, old: Postgres | None, request: AdmissionRequest) -> Allowed | Denied: ...
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar, Unpack, get_args

from operatorkit.admission_functions import (
    MutateFunction,
    ReadingMutateFunction,
    ReadingValidateFunction,
    RecordingValidateFunction,
    ValidateFunction,
)
from operatorkit.cache_filters import CacheFilter
from operatorkit.clock import Clock
from operatorkit.cluster import ClusterAPI
from operatorkit.cluster.managed_fields import CLIENT_SIDE_APPLY
from operatorkit.context import Context, Reader
from operatorkit.errors import DefinitionError, InvalidObject
from operatorkit.events import EventRecorder
from operatorkit.names import DNS_LABEL_MAX_LENGTH, ApiResource, ObjectKey, dns_label_error
from operatorkit.requeue import Requeue
from operatorkit.resource import Resource, api_resource_of, read
from operatorkit.settings import Settings
from operatorkit.webhooks import (
    Webhook,
    WebhookOptions,
)

__all__ = [
    "Background",
    "BackgroundFunction",
    "CacheContents",
    "FinalizeFunction",
    "Index",
    "IndexFunction",
    "MapFunction",
    "MutateFunction",
    "Need",
    "Operator",
    "Predicate",
    "ReadingMutateFunction",
    "ReadingValidateFunction",
    "ReconcileFunction",
    "Reconciler",
    "RecordingValidateFunction",
    "Requeue",
    "ValidateFunction",
    "Watch",
    "annotations_changed",
    "generation_changed",
    "labels_changed",
]

T = TypeVar("T")
ReconcileFunction = Callable[[T, Context], Awaitable["Requeue | None"]]
FinalizeFunction = Callable[[T, Context], Awaitable["Requeue | None"]]
CacheContents = Literal["objects", "children", "metadata"]
BackgroundFunction = Callable[["Background"], Awaitable[None]]
MapFunction = Callable[[T, Reader], Iterable[ObjectKey]]
IndexFunction = Callable[[T], Iterable[str]]
Predicate = Callable[[T | None, T], bool]


@dataclass(frozen=True, slots=True)
class Watch(Generic[T]):
    """Changes of `kind` enqueue the objects whose keys `to` returns.

    `to(obj, reader)` is called with the object as it is, as it was before the change, or both; it must not raise for
    any object of the kind, and reads other objects through `reader`. With `predicate`, only changes for which
    `predicate(old, new)` is true count; additions have `old` None, deletions always count.
    """

    kind: type[T]
    to: MapFunction[T] = field(kw_only=True)
    predicate: Predicate[T] | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class Index(Generic[T]):
    """A named way to find objects of `kind`: `function` returns the values under which an object is found."""

    kind: type[T]
    name: str
    function: IndexFunction[T]


@dataclass(frozen=True, slots=True)
class Need:
    """A request that an operator makes of the cluster itself, past its caches: a verb on a kind, and why.

    `subresource` is the part of the objects that it concerns, such as "eviction" or "scale"; "" is the object itself.
    """

    kind: type[Any]
    verb: str
    reason: str
    subresource: str = ""
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """The world of a background function: the caches, the cluster, Events, time.

    `api` puts the responses of writes into the caches, so that no later read of `reader` is older. `namespace` is the
    only one that this operator works in, or None.
    """

    reader: Reader
    api: ClusterAPI
    events: EventRecorder
    clock: Clock
    namespace: str | None = None


@dataclass(slots=True, kw_only=True)
class Reconciler:
    """One reconcile function, and the kinds whose changes enqueue its objects."""

    kind: type[Any]
    function: ReconcileFunction[Any]
    owns: tuple[type[Any], ...] = ()
    owns_across: tuple[type[Any], ...] = ()
    """Those of `owns` whose objects may be where an owner reference cannot be."""
    watches: tuple[Watch[Any], ...] = ()
    workers: int | None = None
    predicate: Predicate[Any] | None = None
    finalize: FinalizeFunction[Any] | None = None
    only_reads: bool = False
    conditions: bool = True

    @property
    def name(self) -> str:
        """The name of the kind, in lower case, as controller-runtime names controllers."""
        return api_resource_of(self.kind).kind.lower()

    @property
    def has_finalizer(self) -> bool:
        """Whether objects of the kind get the operator's finalizer."""
        return self.finalize is not None or bool(self.owns_across)

    @property
    def only_finalizes(self) -> bool:
        """Whether the kind has a finalize function and no reconcile function."""
        return self.function is leave_as_it_is


async def leave_as_it_is(obj: Any, ctx: Context) -> None:
    """Reconcile an object of a kind that is only finalized."""
    del obj, ctx


class Operator:
    """One operator: its name is the field manager of all it writes, and the source of the Events it sends.

    Declaring does nothing but record and check; `operatorkit run`, or an engine in a test, brings it to life.
    """

    def __init__(
        self,
        name: str,
        *,
        settings: Settings | None = None,
        versions: Sequence[type[Resource[Any, Any]]] = (),
    ) -> None:
        """Name an operator; `versions` are classes of other versions of its own kinds, where its modules have none.

        Raises DefinitionError for a name that cannot be a label, and for a version that is no resource class.
        """
        error = dns_label_error(name)
        if error is not None:
            raise DefinitionError(
                f"Operator({name!r}): the name {error}; it becomes a field manager and a label "
                f"(at most {DNS_LABEL_MAX_LENGTH} characters)"
            )
        self.name = name
        self.module: str = sys._getframe(1).f_globals.get("__name__", "")  # noqa: SLF001 - as namedtuple finds it
        self.settings: Settings = settings or Settings()
        self.reconcilers: list[Reconciler] = []
        self.indexes: list[Index[Any]] = []
        self.read_kinds: list[type[Any]] = []
        self.cache_contents: dict[ApiResource, CacheContents] = {}
        self.cache_filters: dict[ApiResource, CacheFilter] = {}
        self.optional_kinds: set[ApiResource] = set()
        self.live_needs: list[Need] = []
        self.webhooks: list[Webhook] = []
        self.backgrounds: list[BackgroundFunction] = []
        self.versions: tuple[type[Resource[Any, Any]], ...] = tuple(versions)
        self._finalizers: dict[type[Any], FinalizeFunction[Any]] = {}
        for version in versions:
            self._check_kinds("versions", version)

    def reconcile(
        self,
        kind: type[T],
        *,
        owns: Sequence[type[Any]] = (),
        owns_across: Sequence[type[Any]] = (),
        watches: Sequence[Watch[Any]] = (),
        workers: int | None = None,
        predicate: Predicate[T] | None = None,
        only_reads: bool = False,
        conditions: bool = True,
    ) -> Callable[[ReconcileFunction[T]], ReconcileFunction[T]]:
        """Declare the function that brings the world in line with one object of `kind`.

        `owns` are the kinds of children it applies: changes of a child enqueue its parent, and children that a run no
        longer applies are deleted. `owns_across` are the kinds of children that are in other namespaces than their
        parent, or cluster-scoped while it is not: the garbage collector would delete them, so they bear a label and an
        annotation in place of an owner reference, and each parent gets the operator's finalizer, which is removed when
        its children are deleted. `workers` bounds how many keys run at once (default: `Settings.workers`); one key
        never runs twice at once. With `only_reads`, the function observes objects of others, such as Pods: it leaves
        their status as it is, which then takes no permission, and their authors cannot pause it by annotation. Without
        `conditions`, the engine sets no conditions, whatever a run raises: other code, such as a function of
        `background`, knows how the object is.

        Raises DefinitionError: the function is not `async def` or does not take an object and a Context, the kind has
        a reconcile function already, or a kind is not a resource.
        """
        owns = tuple(dict.fromkeys([*owns, *owns_across]))
        self._check_kinds("reconcile", kind, *owns, *(watch.kind for watch in watches))
        if any(known.kind is kind and not known.only_finalizes for known in self.reconcilers):
            raise DefinitionError(
                f"Operator({self.name!r}): {kind.__name__} has two reconcile functions; declare "
                f"one for each kind; it can call others"
            )
        self._check_contents(kind)
        if workers is not None and workers < 1:
            raise DefinitionError(
                f"Operator({self.name!r}): reconcile({kind.__name__}, workers={workers}): at least 1"
            )

        def register(function: ReconcileFunction[T]) -> ReconcileFunction[T]:
            self._check_function(function, kind)
            self._check_arguments(function, kind)
            self.reconcilers = [known for known in self.reconcilers if known.kind is not kind]
            self.reconcilers.append(
                Reconciler(
                    kind=kind,
                    function=function,
                    owns=owns,
                    owns_across=tuple(owns_across),
                    watches=tuple(watches),
                    workers=workers,
                    predicate=predicate,
                    finalize=self._finalizers.get(kind),
                    only_reads=only_reads,
                    conditions=conditions,
                )
            )
            return function

        return register

    def finalize(self, kind: type[T]) -> Callable[[FinalizeFunction[T]], FinalizeFunction[T]]:
        """Declare the function that cleans up what the garbage collector cannot, before an object of `kind` goes.

        With it, and only with it, the engine puts a finalizer on each object of the kind before the first reconcile,
        and removes it when the function returned without a Requeue. Raise, or return Requeue, to be called again.

        A kind may have this function alone: its objects then get the finalizer, and are otherwise left as they are.

        Raises DefinitionError, as `reconcile` does.
        """
        self._check_kinds("finalize", kind)

        def register(function: FinalizeFunction[T]) -> FinalizeFunction[T]:
            self._check_function(function, kind)
            self._check_arguments(function, kind)
            if kind in self._finalizers:
                raise DefinitionError(
                    f"Operator({self.name!r}): {kind.__name__} has two finalize functions"
                )
            self._finalizers[kind] = function
            for known in self.reconcilers:
                if known.kind is kind:
                    known.finalize = function
                    break
            else:
                self.reconcilers.append(
                    Reconciler(kind=kind, function=leave_as_it_is, finalize=function)
                )
            return function

        return register

    def validate(
        self,
        kind: type[T],
        **options: Unpack[WebhookOptions],
    ) -> Callable[[ValidateFunction[T]], ValidateFunction[T]]:
        """Declare the function that validates requests for objects of `kind` before they are stored.

        It is called with the object as it would be stored, as it is now (None when it is new, or not to be read as the
        class), and the request. With "DELETE" among `operations`, the first is None for deletions. It must be quick,
        and must not write. A function with an argument `reader` also gets the operator's caches, which are filled
        before the first request: declare the kinds with `reads`. With `events` and `api` it gets the recorder of Events
        and the cluster: it leaves both alone when `request.dry_run`, and says `side_effects="NoneOnDryRun"`. The other
        options are those of `Webhook`.

        Raises DefinitionError: the function is not `async def`, the kind has such a function already, or an option
        cannot be what it is.
        """

        def register(function: ValidateFunction[T]) -> ValidateFunction[T]:
            self._add_webhook(Webhook(verb="validate", kind=kind, function=function, **options))
            return function

        self._check_kinds("validate", kind)
        return register

    def mutate(
        self,
        kind: type[T],
        *,
        reinvocation: bool = False,
        **options: Unpack[WebhookOptions],
    ) -> Callable[[MutateFunction[T]], MutateFunction[T]]:
        """Declare the function that changes objects of `kind` before they are validated and stored.

        It is called with the object and the request, and returns `Mutated(obj)`, Allowed (nothing changes), or Denied.
        It must give the same when it is called again with its own answer: with `reinvocation`, the API server does
        that when another webhook changed the object meanwhile. Arguments `reader`, `events` and `api` are given as to
        `validate`. The other options are those of `Webhook`.

        Raises DefinitionError, as `validate` does.
        """

        def register(function: MutateFunction[T]) -> MutateFunction[T]:
            self._add_webhook(
                Webhook(
                    verb="mutate",
                    kind=kind,
                    function=function,
                    reinvocation=reinvocation,
                    **options,
                )
            )
            return function

        self._check_kinds("mutate", kind)
        return register

    def index(self, kind: type[T], name: str, function: IndexFunction[T]) -> None:
        """Index objects of `kind`: `ctx.list(kind, index=(name, value))` then costs what it returns.

        `function` returns the values of one object; it must be pure and must not raise for any object of the kind.
        """
        self._check_kinds("index", kind)
        if any(known.kind is kind and known.name == name for known in self.indexes):
            raise DefinitionError(
                f"Operator({self.name!r}): {kind.__name__} has two indexes named {name!r}"
            )
        self.indexes.append(Index(kind, name, function))

    def reads(self, *kinds: type[Any]) -> None:
        """Declare kinds that reconcile functions read through `ctx.get` and `ctx.list` without being woken by them."""
        self._check_kinds("reads", *kinds)
        self.read_kinds.extend(kind for kind in kinds if kind not in self.read_kinds)

    def optional(self, *kinds: type[Any]) -> None:
        """Declare kinds that a cluster may not serve, or only from time to time: those of another project, say.

        The operator starts without them. While such a kind is not served, it has no objects; `ctx.serves(kind)` returns
        whether it is. When that changes, all objects of the kinds that own or watch it are reconciled.
        """
        self._check_kinds("optional", *kinds)
        self.optional_kinds.update(api_resource_of(kind) for kind in kinds)

    def cache(
        self,
        kind: type[Any],
        *,
        contents: CacheContents | None = None,
        labels: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
        namespace: str | None = None,
    ) -> None:
        """Declare how much of the objects of a declared kind is held in memory; without this, whole objects, and all.

        With `labels`, `fields` or `namespace`, only objects that have all these labels, whose fields have these values,
        and that are in this namespace: all others do not exist for the operator. The server sends no others. An object
        that does not match any more is deleted, as far as the cache is concerned. `fields` are those that the server
        selects by: metadata.name, and what the kind has selectable (spec.nodeName of Pods, type of Secrets).

        `contents` is one of these; of Secrets that are only owned it is "children" if it is not given, else "objects".

        - `"objects"`: all of them, whole.
        - `"children"`: whole those with the label operatorkit.dev/owner-uid, which `ctx.apply` sets; of all others the
          metadata only. For Secrets, of which a cluster has many, large ones and other people's.
        - `"metadata"`: of all of them the metadata only.

        The server sends no more than that. `ctx.get` and `ctx.list` return the rest of such an object as unset (None),
        and indexes and predicates see it so: read it with `ctx.api.get`, declared by `needs(kind, "get", reason=...)`,
        when its `metadata.resourceVersion` has changed.

        Raises DefinitionError: the kind is no resource; with other contents than "objects", it is reconciled, or cannot
        be read from its metadata alone, since it has required fields; a filter cannot select; or nothing is declared.
        """
        self._check_kinds("cache", kind)
        where = f"Operator({self.name!r}).cache({kind.__name__})"
        try:
            chosen = CacheFilter(labels=labels or {}, fields=fields or {}, namespace=namespace)
        except DefinitionError as error:
            raise DefinitionError(f"{where}: {error}") from error
        if namespace is not None and not api_resource_of(kind).namespaced:
            raise DefinitionError(f"{where}: namespace={namespace!r}: the kind is cluster-scoped")
        if chosen:
            self.cache_filters[api_resource_of(kind)] = chosen
        elif contents is None:
            raise DefinitionError(f"{where}: say contents=, labels=, fields= or namespace=")
        if contents is None:
            return
        if contents not in get_args(CacheContents):
            known = ", ".join(repr(each) for each in get_args(CacheContents))
            raise DefinitionError(
                f"Operator({self.name!r}).cache({kind.__name__}, contents={contents!r}): use one of {known}"
            )
        resource = api_resource_of(kind)
        if contents != "objects":
            place = {"namespace": "a"} if resource.namespaced else {}
            head = {
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                "metadata": {"name": "a", **place},
            }
            try:
                read(kind, head)
            except InvalidObject as error:
                missing = ", ".join(cause.field for cause in error.causes)
                raise DefinitionError(
                    f"Operator({self.name!r}).cache({kind.__name__}, contents={contents!r}): it "
                    f"cannot be decoded without its required fields ({missing}): cache whole "
                    f"objects"
                ) from error
        self.cache_contents[resource] = contents
        for reconciler in self.reconcilers:
            self._check_contents(reconciler.kind)

    def needs(
        self,
        kind: type[Any],
        *verbs: str,
        reason: str,
        subresource: str = "",
        required: bool = False,
    ) -> None:
        """Declare requests that reconcile functions make past the caches: the operator's roles then permit them too.

        Those of `ctx.update` and `ctx.patch` are "patch"; of `ctx.evict` "create" with subresource="eviction"; of
        `ctx.scale` "get" and "patch" with subresource="scale"; of `ctx.live` "get" and "list"; and any of `ctx.api`.

        `verbs` are those of RBAC (`get`, `create`, `deletecollection`); `reason` is what people read in the role. With
        `subresource`, they are for that part of the objects: `needs(V1Pod, "create", subresource="eviction", ...)`. The
        operator starts without the permission, so be ready for Forbidden; with `required`, it does not start without.

        Raises DefinitionError: the kind is no resource, there is no verb or no reason, or the subresource is no word in
        lower case.
        """
        self._check_kinds("needs", kind)
        if not verbs or not reason:
            raise DefinitionError(
                f"Operator({self.name!r}): needs({kind.__name__}): name a verb, and give a reason"
            )
        if subresource and not (
            subresource.isascii() and subresource.isalpha() and subresource.islower()
        ):
            raise DefinitionError(
                f"Operator({self.name!r}): needs({kind.__name__}, subresource={subresource!r}): write the last part of "
                'its path, such as "eviction"'
            )
        self.live_needs += [Need(kind, verb, reason, subresource, required) for verb in verbs]

    def background(self, function: BackgroundFunction) -> BackgroundFunction:
        """Declare a function that runs for as long as this process may reconcile, beside the reconcile functions.

        For what must not wait in a work queue, such as probes of a database. It is called with a `Background` when the
        caches are filled and, with leader election, this replica leads; it is cancelled when the operator stops or
        loses its Lease, and cleans up then. It must not return: an error that it raises, or its return, ends the
        operator. What it reads is declared by `reads`, what it requests by `needs`.

        Raises DefinitionError: the function is not `async def`, or is declared already.
        """
        self._check_function(function, Background)
        if function in self.backgrounds:
            raise DefinitionError(f"Operator({self.name!r}): {function!r} is declared twice")
        self.backgrounds.append(function)
        return function

    def kinds(self) -> list[type[Any]]:
        """Every kind that is reconciled, owned, watched, indexed or read, each once, in the order declared."""
        found: dict[type[Any], None] = {}
        for reconciler in self.reconcilers:
            found[reconciler.kind] = None
            found.update(dict.fromkeys(reconciler.owns))
            found.update(dict.fromkeys(watch.kind for watch in reconciler.watches))
        found.update(dict.fromkeys(index.kind for index in self.indexes))
        found.update(dict.fromkeys(self.read_kinds))
        return list(found)

    def resources(self) -> list[ApiResource]:
        """Return how an API server serves each of `kinds()`, each once."""
        return list(dict.fromkeys(api_resource_of(kind) for kind in self.kinds()))

    @property
    def former_field_managers(self) -> frozenset[str]:
        """The managers whose fields of children become the operator's own, see `Settings.former_field_managers`."""
        return frozenset({self.name, CLIENT_SIDE_APPLY, *self.settings.former_field_managers})

    def __repr__(self) -> str:
        return f"Operator({self.name!r})"

    def _add_webhook(self, webhook: Webhook) -> None:
        self._check_function(webhook.function, webhook.kind)
        if any(known.path == webhook.path for known in self.webhooks):
            raise DefinitionError(
                f"Operator({self.name!r}): {webhook.kind.__name__} has two {webhook.verb} "
                f"functions; declare one for each kind; it can call others"
            )
        if any(known.name == webhook.name for known in self.webhooks):
            raise DefinitionError(
                f"Operator({self.name!r}): {webhook.resource.plural}.{webhook.resource.group} has {webhook.verb} "
                f"functions for two of its versions; declare it for one: the API server converts all others "
                f"to that version"
            )
        self.webhooks.append(webhook)

    def _check_kinds(self, method: str, *kinds: type[Any]) -> None:
        for kind in kinds:
            try:
                api_resource_of(kind)
            except DefinitionError as error:
                declared = getattr(kinds[0], "__name__", repr(kinds[0]))
                raise DefinitionError(
                    f"Operator({self.name!r}).{method}({declared}): {error}"
                ) from error

    def _check_contents(self, kind: type[Any]) -> None:
        contents = self.cache_contents.get(api_resource_of(kind), "objects")
        if contents != "objects":
            raise DefinitionError(
                f"Operator({self.name!r}): {kind.__name__} is reconciled, which needs whole objects, and cached with "
                f"contents={contents!r}: omit contents="
            )

    def _check_function(self, function: Callable[..., Any], kind: type[Any]) -> None:
        name = getattr(function, "__qualname__", repr(function))
        if not inspect.iscoroutinefunction(function):
            raise DefinitionError(
                f"Operator({self.name!r}): {name} for {kind.__name__} is not `async def`; call blocking code with "
                f"`await asyncio.to_thread(...)` from an async function"
            )

    def _check_arguments(self, function: Callable[..., Any], kind: type[Any]) -> None:
        try:
            inspect.signature(function).bind("obj", "ctx")
        except TypeError as error:
            name = getattr(function, "__qualname__", repr(function))
            raise DefinitionError(
                f"Operator({self.name!r}): {name} for {kind.__name__} must accept an object and "
                f"its Context ({error}): write `async def {name}({kind.__name__.lower()}, ctx)`"
            ) from error


def generation_changed(old: Any, new: Any) -> bool:
    """Predicate: the spec changed (`metadata.generation` differs), or the object is new."""
    return old is None or old.metadata.generation != new.metadata.generation


def labels_changed(old: Any, new: Any) -> bool:
    """Predicate: a label changed, or the object is new."""
    return old is None or (old.metadata.labels or {}) != (new.metadata.labels or {})


def annotations_changed(old: Any, new: Any) -> bool:
    """Predicate: an annotation changed, or the object is new."""
    return old is None or (old.metadata.annotations or {}) != (new.metadata.annotations or {})
