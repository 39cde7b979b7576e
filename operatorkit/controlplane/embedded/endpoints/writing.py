"""Writes: the one path that every create, update and patch takes.

    read current ─► decode ─► change ─► default, prepare ─► own fields ─► admit, validate ─► encode ─► commit
         ▲                                                                                               │
         └────────────────────────────── another write was faster ◄──────────────────────────────────────┘

What belongs here: the order of those steps, names, optimistic concurrency and namespaces. What does not: what a kind
allows (`strategy`), patches (`patching`), deletions (`deleting`).
"""

from __future__ import annotations

import copy
import secrets
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from operatorkit.clock import Clock, format_time
from operatorkit.controlplane.embedded.errors import go_text
from operatorkit.controlplane.embedded.errors.errors import (
    ApiError,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    not_found,
)
from operatorkit.controlplane.embedded.fields.managed import keep_times
from operatorkit.controlplane.embedded.registry.table import Registry, Served
from operatorkit.controlplane.embedded.request.options import WriteOptions
from operatorkit.controlplane.embedded.storage.store import (
    Collection,
    Record,
    Stale,
    Storage,
    key_of,
)
from operatorkit.crd import field_errors

__all__ = ["Ownership", "Target", "WriteContext", "Writer", "Written", "require_name"]

Object = dict[str, Any]
Change = Callable[[Object], Object]
Ownership = Callable[[Object | None, Object], Object]

_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_GENERATED_MAX_LENGTH = 63 - 5
_HAS_REVISION = "resourceVersion should not be set on objects to be created"
ATTEMPTS = 16


class Admission(Protocol):
    """The admission chain of a write: the webhooks that see it before it is stored."""

    async def mutate(self, old: Object | None, new: Object) -> Object:
        """Return the object after mutation: `new` itself where nothing changed it. Raises `ApiError`."""

    async def validate(self, old: Object | None, new: Object) -> None:
        """Return when all of the chain allow the write. Raises `ApiError`."""


def _admit_all(_: Object | None, __: Object) -> None:
    """Admit every object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteContext:
    """One write: its options, its admission, and the warnings that it collects.

    `warnings` become the Warning headers of the response. `admit` gets the object as it was (None
    for a creation) and as it is to be, and denies by raising `ApiError`. `admission` is None where no
    webhook is configured.
    """

    options: WriteOptions = field(default_factory=WriteOptions)
    warnings: list[str] = field(default_factory=list)
    admit: Callable[[Object | None, Object], None] = _admit_all
    admission: Admission | None = None


class Target(NamedTuple):
    """Which object a write is about."""

    served: Served
    namespace: str
    name: str
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class Written:
    """What a write made: the object in the version of the request, and its record unless it was a dry run."""

    obj: Object
    record: Record | None
    created: bool = False
    warnings: list[str] = field(default_factory=list)


class Writer:
    """Creates and changes objects."""

    def __init__(self, storage: Storage, registry: Registry, clock: Clock) -> None:
        self._storage = storage
        self._registry = registry
        self._clock = clock

    async def create(
        self, target: Target, obj: Object, context: WriteContext, own: Ownership | None = None
    ) -> Written:
        """Create an object. Raises `ApiError` (400, 403, 404, 409, 422)."""
        served = target.served
        metadata = _metadata(obj)
        self._place(target, metadata)
        if target.name:
            require_name(metadata, target.name)
        generated = not metadata.get("name") and bool(metadata.get("generateName"))
        revision = metadata.pop("resourceVersion", "")
        if not target.name and revision.isascii() and revision.isdigit() and revision.strip("0"):
            raise ApiError(500, "", _HAS_REVISION)
        self._admit_namespace(target, metadata.get("name") or metadata.get("generateName", ""))
        collection = self._storage.collection(served.collection)
        if generated:
            metadata["name"] = _generate(metadata, collection)
        for server_side in ("selfLink", "deletionTimestamp", "deletionGracePeriodSeconds"):
            metadata.pop(server_side, None)
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = format_time(self._clock.now())
        served.strategy.default(obj)
        if own is not None:
            obj = own(None, obj)  # before the server adds its own fields, which get no manager
        served.strategy.complete(obj)
        if context.admission is not None:
            obj = await self._mutated_new(target, obj, context.admission, generated=generated)
        served.strategy.prepare_create(obj)
        self._allocate(served, obj)
        context.admit(None, obj)
        self._validate(served, obj, None, "")
        if context.admission is not None:
            await context.admission.validate(None, obj)
            if obj["metadata"].get("resourceVersion"):
                raise ApiError(500, "", _HAS_REVISION)
            obj = self._trimmed(served, obj)
        name = obj["metadata"]["name"]
        present = collection.records.get(
            key_of(target.namespace if served.namespaced else "", name)
        )
        if present is not None:
            raise already_exists(served.group, served.plural, name, going=present.going)
        _warn(context, served.strategy.warnings(obj, None))
        return self._commit(served, obj, None, context)

    async def _mutated_new(
        self, target: Target, obj: Object, admission: Admission, *, generated: bool
    ) -> Object:
        """Return a new object after admission, which does not see what is only given to an object that is stored."""
        metadata = obj["metadata"]
        given = {name: metadata[name] for name in ("uid", "creationTimestamp")}
        if generated:
            given["name"] = metadata["name"]
        shown = obj | {"metadata": {name: it for name, it in metadata.items() if name not in given}}
        made = await admission.mutate(None, shown)
        if made is shown:
            return obj
        metadata = _metadata(made)
        metadata.update(given)
        self._place(target, metadata)
        target.served.strategy.complete(made)
        return made

    async def change(
        self,
        target: Target,
        change: Change,
        context: WriteContext,
        own: Ownership | None = None,
        *,
        or_create: Callable[[], Object] | None = None,
    ) -> Written:
        """Change an object, or a subresource of it.

        `change` is given a copy of the object in the request's version and returns what it is to become; it is asked
        again when another write was faster. `or_create` gives the object to create where there is none.
        Raises `ApiError` (400, 403, 404, 409, 422).
        """
        served = target.served
        collection = self._storage.collection(served.collection)
        for _ in range(ATTEMPTS):
            record = collection.records.get(key_of(target.namespace, target.name))
            if record is None:
                if or_create is None:
                    raise not_found(served.group, served.plural, target.name)
                return await self.create(target, or_create(), context, own)
            new = change(served.read(record))
            if context.admission is not None:
                new = copy.deepcopy(
                    new
                )  # while others are asked the object may change, and all begins again
            try:
                return await self._update(target, served.read(record), new, record, context, own)
            except Stale:
                continue
        raise conflict(served.group, served.plural, target.name)

    async def _update(
        self,
        target: Target,
        old: Object,
        new: Object,
        record: Record,
        context: WriteContext,
        own: Ownership | None,
    ) -> Written:
        served = target.served
        self._locate(target, new)
        served.strategy.default(new)
        if own is not None:
            new = own(old, new)  # what is then taken back, or given, is of no account
        if context.admission is not None:
            made = await context.admission.mutate(old, new)
            if made is not new:
                self._locate(target, made)
                served.strategy.default(made)
            new = made
        self._match(target, old, new)
        self._prepare(target, old, new)
        if not target.subresource:
            self._allocate(served, new)
        context.admit(old, new)
        self._validate(served, new, old, target.subresource)
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
        if context.admission is not None:
            await context.admission.validate(old, new)
            new = self._trimmed(served, new)
        if not target.subresource:
            _warn(context, served.strategy.warnings(new, old))
        new = keep_times(new, old)
        if new == old and not self._gone(new):
            return Written(old, None if context.options.dry_run else record)
        return self._commit(served, new, record, context)

    @staticmethod
    def _trimmed(served: Served, obj: Object) -> Object:
        """Return an object as it is stored: without the unknown fields that webhooks have put into a custom one."""
        return (
            obj if served.builtin else served.strategy.decode(obj, validation="Ignore", warnings=[])
        )

    def _prepare(self, target: Target, old: Object, new: Object) -> None:
        """Keep what an update cannot change. In place."""
        metadata, before = new["metadata"], old["metadata"]
        self._require_same_deletion(target, before, metadata)
        for kept in (
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
        ):
            if kept in before:
                metadata[kept] = before[kept]
            else:
                metadata.pop(kept, None)
        metadata.pop("selfLink", None)
        target.served.strategy.prepare_update(new, old, target.subresource)

    def _allocate(self, served: Served, obj: Object) -> None:
        collection = self._storage.collection(served.collection)
        served.strategy.allocate(obj, lambda: map(served.read, list(collection.records.values())))

    @staticmethod
    def _require_same_deletion(target: Target, before: Object, metadata: Object) -> None:
        """Reject giving an object another time of deletion; leaving it out leaves it as it is."""
        given = metadata.get("deletionTimestamp")
        if given and given != before.get("deletionTimestamp"):
            error = field_errors.invalid("metadata.deletionTimestamp", given, "field is immutable")
            raise invalid(target.served.group, target.served.kind, target.name, [error])

    def _commit(
        self, served: Served, obj: Object, record: Record | None, context: WriteContext
    ) -> Written:
        if context.options.dry_run:
            return Written(obj, None, created=record is None)
        stored = (
            served.stored(copy.copy(obj) | {"metadata": dict(obj["metadata"])})
            if served.converts
            else obj
        )
        collection = self._storage.collection(served.collection)
        if record is not None and self._gone(
            obj
        ):  # what is then deleted is what was there, finalizers and all
            self._storage.remove(collection, record)
            return Written(obj, None)
        written = self._storage.put(collection, stored, record)
        obj["metadata"]["resourceVersion"] = str(written.revision)
        return Written(obj, written, created=record is None)

    @staticmethod
    def _gone(obj: Object) -> bool:
        """Whether nothing holds an object back from its deletion any more."""
        metadata = obj["metadata"]
        return (
            "deletionTimestamp" in metadata
            and not metadata.get("finalizers")
            and not metadata.get("deletionGracePeriodSeconds")
            and not (obj.get("kind") == "Namespace" and obj.get("spec", {}).get("finalizers"))
        )

    def _validate(self, served: Served, obj: Object, old: Object | None, subresource: str) -> None:
        errors = served.strategy.validate(obj, old, subresource)
        if errors:
            raise invalid(served.group, served.kind, obj["metadata"].get("name", ""), errors)

    def _place(self, target: Target, metadata: Object) -> None:
        if not target.served.namespaced:
            if metadata.get("namespace"):
                raise bad_request("namespace may not be set on a cluster-scoped object")
            metadata.pop("namespace", None)
            return
        if not target.namespace:
            raise bad_request("an empty namespace may not be set during creation")
        if metadata.get("namespace", target.namespace) not in {target.namespace, ""}:
            raise bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        metadata["namespace"] = target.namespace

    def _admit_namespace(self, target: Target, name: str) -> None:
        """Reject new objects in a namespace that does not exist or is terminating."""
        if not target.served.namespaced:
            return
        record = self._storage.collection("namespaces").records.get(target.namespace)
        if record is None:
            raise not_found("", "namespaces", target.namespace)
        if record.going:
            served = target.served
            why = f"unable to create new content in namespace {target.namespace} because it is being terminated"
            error = forbidden(served.group, served.plural, name, why)
            cause = {
                "reason": "NamespaceTerminating",
                "message": f"namespace {target.namespace} is being terminated",
                "field": "metadata.namespace",
            }
            assert error.details is not None
            error.details["causes"] = [cause]
            raise error

    @staticmethod
    def _locate(target: Target, new: Object) -> None:
        """Reject an object of another name or namespace than the request's; fill in the namespace."""
        metadata = _metadata(new)
        require_name(metadata, target.name)
        if target.served.namespaced:
            if metadata.get("namespace", target.namespace) not in {target.namespace, ""}:
                raise bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request"
                )
            metadata["namespace"] = target.namespace

    @staticmethod
    def _match(target: Target, old: Object, new: Object) -> None:
        """Reject an update of another object than the one that is there, or of another version of it."""
        served = target.served
        metadata, before = new["metadata"], old["metadata"]
        revision = _revision(metadata)
        if not revision and not served.strategy.unconditional_update:
            error = field_errors.invalid(
                "metadata.resourceVersion", 0, "must be specified for an update"
            )
            raise invalid(served.group, served.plural, target.name, [error])
        if metadata.get("uid") and metadata["uid"] != before["uid"]:
            error = field_errors.invalid("metadata.uid", metadata["uid"], "field is immutable")
            raise invalid(served.group, served.kind, target.name, [error])
        if revision and revision != int(before["resourceVersion"]):
            raise conflict(served.group, served.plural, target.name)


def _warn(context: WriteContext, texts: Iterable[str]) -> None:
    context.warnings.extend(it for it in texts if it not in context.warnings)


def _metadata(obj: Object) -> Object:
    metadata = obj.setdefault("metadata", {})
    if not isinstance(metadata, dict):
        raise bad_request("metadata must be an object")
    return metadata


def require_name(metadata: Object, expected: str) -> None:
    """Return when an object has the name that its URL says. Raises `ApiError` (400)."""
    found = metadata.get("name")
    if not found:
        raise bad_request(
            f"the name of the object ({expected} based on URL) was undeterminable: name must be provided"
        )
    if found != expected:
        raise bad_request(
            f"the name of the object ({found}) does not match the name on the URL ({expected})"
        )


def _revision(metadata: Object) -> int:
    """Return the resource version that an update is based on; 0 for any. Raises `ApiError` (500) for what is none."""
    try:
        return go_text.parse_uint(metadata.get("resourceVersion") or "0")
    except ValueError as error:
        raise ApiError(500, "", str(error)) from None


def _generate(metadata: Object, collection: Collection) -> str:
    """Return a name that is free, made of `generateName` and a random suffix."""
    base: str = metadata["generateName"][:_GENERATED_MAX_LENGTH]
    while True:
        name = base + "".join(secrets.choice(_SUFFIX_ALPHABET) for _ in range(5))
        if key_of(metadata.get("namespace", ""), name) not in collection.records:
            return name
