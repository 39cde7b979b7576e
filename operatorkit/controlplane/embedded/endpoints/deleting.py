"""Deletions: at once, or, with finalizers and grace, by marking.

What belongs here: what a DELETE request does to one object. What does not: the work that finalizers stand for, which
controllers do (`controllers`).

Source: https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from operatorkit.clock import Clock, format_time
from operatorkit.controlplane.embedded.errors import go_text
from operatorkit.controlplane.embedded.errors.errors import conflict, forbidden, not_found, success
from operatorkit.controlplane.embedded.registry.table import Served
from operatorkit.controlplane.embedded.request.options import DeleteOptions
from operatorkit.controlplane.embedded.storage.store import Record, Storage, key_of

__all__ = ["FOREGROUND", "ORPHAN", "Deleter"]

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
_ATTEMPTS = 16
_CRD_CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
_IMMORTAL = frozenset({"default", "kube-public", "kube-system"})
_NAMESPACE_BUSY = (
    "The system is ensuring all content is removed from this namespace.  Upon completion, this namespace will "
    "automatically be purged by the system."
)

Object = dict[str, Any]


class Deleter:
    """Deletes objects."""

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock

    def delete(self, served: Served, namespace: str, name: str, options: DeleteOptions) -> Object:
        """Delete an object, or mark it, and return the answer: the object, or a Status. Raises `ApiError`."""
        if served.collection == "namespaces" and name in _IMMORTAL:
            raise forbidden("", "namespaces", name, "this namespace may not be deleted")
        record, obj = self._found(served, namespace, name, options)
        if served.collection == "namespaces" and "deletionTimestamp" in obj["metadata"]:
            raise conflict(served.group, served.plural, name, _NAMESPACE_BUSY)
        grace = self._grace(served, obj, options)
        before = list(obj["metadata"].get("finalizers") or ())
        finalizers = self._finalizers(served, before, options)
        if finalizers or grace or self._holds_content(served, obj):
            return self._mark(served, record, obj, finalizers, grace, options)[1]
        if served.strategy.graceful:  # without grace, too, a pod is marked first: watchers see both
            record, obj = self._mark(served, record, obj, finalizers, grace, options)
        if not options.dry_run:
            last = self._storage.remove(self._storage.collection(served.collection), record)
            obj["metadata"]["resourceVersion"] = str(last.revision)
        if served.strategy.returns_deleted:
            return obj
        return success(served.group, served.plural, name, obj["metadata"]["uid"])

    async def delete_reviewed(
        self,
        served: Served,
        namespace: str,
        name: str,
        options: DeleteOptions,
        review: Callable[[Object], Awaitable[None]],
    ) -> Object:
        """Delete an object once `review` has seen it; as `delete` does otherwise. Raises `ApiError`."""
        records = self._storage.collection(served.collection).records
        for _ in range(_ATTEMPTS):
            record, obj = self._found(served, namespace, name, options)
            await review(obj)
            if records.get(record.key) is record:
                return self.delete(served, namespace, name, options)
        raise conflict(served.group, served.plural, name)

    def require(self, served: Served, namespace: str, name: str, options: DeleteOptions) -> None:
        """Return when an object is there and as the preconditions have it. Raises `ApiError` (404, 409)."""
        self._found(served, namespace, name, options)

    def _found(
        self, served: Served, namespace: str, name: str, options: DeleteOptions
    ) -> tuple[Record, Object]:
        """Return the object that is meant. Raises `ApiError` (404, 409)."""
        record = self._storage.collection(served.collection).records.get(key_of(namespace, name))
        if record is None:
            raise not_found(served.group, served.plural, name)
        obj = served.read(record)
        self._check_preconditions(served, obj, options)
        return record, obj

    @staticmethod
    def _check_preconditions(served: Served, obj: Object, options: DeleteOptions) -> None:
        metadata = obj["metadata"]
        if options.uid is not None and options.uid != metadata["uid"]:
            why = (
                f"the UID in the precondition ({options.uid}) does not match the UID in record ({metadata['uid']}). "
                "The object might have been deleted and then recreated"
            )
            raise conflict(served.group, served.kind, metadata["name"], why)
        if (
            options.resource_version is not None
            and options.resource_version != metadata["resourceVersion"]
        ):
            why = (
                f"the ResourceVersion in the precondition ({options.resource_version}) does not match the "
                f"ResourceVersion in record ({metadata['resourceVersion']}). The object might have been modified"
            )
            raise conflict(served.group, served.kind, metadata["name"], why)

    @staticmethod
    def _grace(served: Served, obj: Object, options: DeleteOptions) -> int:
        """Return how many seconds of grace an object gets: pods that run somewhere, and nothing else."""
        if not served.strategy.graceful:
            return 0
        spec, status = obj.get("spec", {}), obj.get("status", {})
        if not spec.get("nodeName") or status.get("phase") in {"Succeeded", "Failed"}:
            return 0
        grace = options.grace_period_seconds
        if grace is None:
            grace = spec.get("terminationGracePeriodSeconds", 30)
        return max(int(grace), 1) if grace else 0

    @staticmethod
    def _finalizers(served: Served, before: list[str], options: DeleteOptions) -> list[str]:
        finalizers = before
        if options.propagation is not None and served.strategy.owns:
            finalizers = [it for it in before if it not in {FOREGROUND, ORPHAN}]
            if options.propagation == "Orphan":
                finalizers.append(ORPHAN)
            elif options.propagation == "Foreground":
                finalizers.append(FOREGROUND)
        if (
            served.collection == "customresourcedefinitions.apiextensions.k8s.io"
            and _CRD_CLEANUP not in finalizers
        ):
            finalizers = [*finalizers, _CRD_CLEANUP]
        return finalizers

    @staticmethod
    def _holds_content(served: Served, obj: Object) -> bool:
        return served.collection == "namespaces" and bool(obj.get("spec", {}).get("finalizers"))

    def _mark(
        self,
        served: Served,
        record: Record,
        obj: Object,
        finalizers: list[str],
        grace: int,
        options: DeleteOptions,
    ) -> tuple[Record, Object]:
        """Mark an object as being deleted, unless it is; return its record, the old one in a dry run, and itself."""
        metadata = obj["metadata"]
        marked = "deletionTimestamp" in metadata
        unchanged = finalizers == list(metadata.get("finalizers") or ())
        pending = (
            served.strategy.graceful or unchanged
        )  # where grace is given, it is all that can change
        shorter = grace < metadata.get("deletionGracePeriodSeconds", 0)
        if served.strategy.graceful and options.grace_period_seconds is None:
            shorter = False
        if marked and pending and not shorter:
            return record, obj
        metadata["finalizers"] = finalizers
        if not finalizers:
            del metadata["finalizers"]
        if not marked or shorter:
            metadata["deletionTimestamp"] = format_time(go_text.after(self._clock.now(), grace))
            metadata["deletionGracePeriodSeconds"] = grace
        if not marked and "generation" in metadata:
            metadata["generation"] += 1
        if served.collection == "namespaces":
            obj.setdefault("status", {})["phase"] = "Terminating"
            metadata.pop("deletionGracePeriodSeconds", None)
        if not options.dry_run:
            stored = served.stored(obj)
            record = self._storage.put(self._storage.collection(served.collection), stored, record)
            metadata["resourceVersion"] = str(record.revision)
        return record, obj
