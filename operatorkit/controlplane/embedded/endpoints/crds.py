"""CRDs: from an object to a served resource, and back to nothing.

What belongs here: what kube-apiserver's own controllers do with a CustomResourceDefinition: accepting its names,
establishing it, serving its versions, and removing its objects when it goes. What does not: the rules for CRDs as
objects (`registry.validation.crds`), and for the objects that they define (`registry.custom`).

    created ─► names accepted? ─► Established ─► its versions are served
                   │ no: NamesAccepted=False
    deleted ─► Terminating ─► its objects are deleted ─► finalizer removed ─► gone, no longer served
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from operatorkit.clock import Clock, format_time
from operatorkit.controlplane.embedded.endpoints.deleting import Deleter
from operatorkit.controlplane.embedded.registry.custom import CustomStrategy
from operatorkit.controlplane.embedded.registry.table import (
    Registry,
    Served,
    Subresource,
    envelope,
    version_order,
)
from operatorkit.controlplane.embedded.request.options import DeleteOptions
from operatorkit.controlplane.embedded.storage.store import Change, Record, Storage
from operatorkit.names import GroupVersionKind
from operatorkit.transitions import set_json_condition

__all__ = ["CLEANUP_FINALIZER", "CRDS", "CrdController"]

CRDS = "customresourcedefinitions.apiextensions.k8s.io"
CLEANUP_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
_SUBRESOURCE_VERBS = ("get", "patch", "update")

Object = dict[str, Any]
_log = logging.getLogger(__name__)


class CrdController:
    """Keeps the registry in step with the CRDs."""

    def __init__(
        self, storage: Storage, registry: Registry, deleter: Deleter, clock: Clock
    ) -> None:
        self._storage = storage
        self._registry = registry
        self._deleter = deleter
        self._clock = clock
        self._collection = storage.collection(CRDS)
        self._served: dict[str, list[Served]] = {}
        self._due: set[str] = set()
        self._unsubscribes = [self._collection.subscribe(self._on_change)]
        self._emptying: dict[str, Any] = {}

    def start(self) -> None:
        """Serve what is there already."""
        for name in list(self._collection.records):
            self._settle(name)

    def stop(self) -> None:
        """Watch CRDs no longer."""
        for unsubscribe in (*self._unsubscribes, *self._emptying.values()):
            unsubscribe()

    def _on_change(self, change: Change) -> None:
        self._schedule(change.record.name)
        if change.type != "MODIFIED":  # names may have become free, or taken
            for name in self._collection.records:
                self._schedule(name)

    def _schedule(self, name: str) -> None:
        if name not in self._due:
            self._due.add(name)
            asyncio.get_running_loop().call_soon(self._settle, name)

    def _settle(self, name: str) -> None:
        try:
            self._sync(name)
        except Exception as error:  # noqa: BLE001 - the outermost caller: the loop could only print a traceback
            _log.error("the definition %s cannot be served: %r", name, error)
            _log.debug("where it failed", exc_info=error)

    def _sync(self, name: str) -> None:
        self._due.discard(name)
        record = self._collection.records.get(name)
        if record is None:
            self._withdraw(name)
            return
        crd = self._read(record)
        if "deletionTimestamp" in crd["metadata"]:
            self._empty(name, record, crd)
            return
        status = self._status(crd)
        if status != crd.get("status"):
            crd["status"] = status
            self._storage.put(self._collection, crd, record)
        if _condition(status, "Established") == "True":
            self._serve(name, crd)

    @staticmethod
    def _read(record: Record) -> Object:
        head = {"kind": "CustomResourceDefinition", "apiVersion": "apiextensions.k8s.io/v1"}
        return head | record.decode()

    # ----------------------------------------------------------------------------------------------------- establishing

    def _status(self, crd: Object) -> Object:
        spec = crd["spec"]
        status: Object = dict(crd.get("status") or {})
        conditions = [dict(it) for it in status.get("conditions") or ()]
        accepted, clash = self._accepted(crd)
        if clash is None:
            self._set(conditions, "NamesAccepted", "True", "NoConflicts", "no conflicts found")
            text = "the initial names have been accepted"
            if not any(it["type"] == "Established" and it["status"] == "True" for it in conditions):
                self._set(conditions, "Established", "True", "InitialNamesAccepted", text)
        else:
            reason, message = clash
            self._set(conditions, "NamesAccepted", "False", reason, message)
            if not any(it["type"] == "Established" for it in conditions):
                text = "not all names are accepted"
                self._set(conditions, "Established", "False", "NotAccepted", text)
        stored = list(status.get("storedVersions") or ())
        storage = next(it["name"] for it in spec["versions"] if it.get("storage"))
        if storage not in stored:
            stored.append(storage)
        return {"conditions": conditions, "acceptedNames": accepted, "storedVersions": stored}

    def _accepted(self, crd: Object) -> tuple[Object, tuple[str, str] | None]:
        """Return the names that a CRD may use, and which it may not: the reason and the message."""
        spec = crd["spec"]
        wanted, accepted = spec["names"], dict((crd.get("status") or {}).get("acceptedNames") or {})
        plurals, kinds = self._taken(spec["group"], crd["metadata"]["name"])
        clash: tuple[str, str] | None = None
        checks = (
            ("plural", "PluralConflict", plurals),
            ("singular", "SingularConflict", plurals),
            ("shortNames", "ShortNamesConflict", plurals),
            ("kind", "KindConflict", kinds),
            ("listKind", "ListKindConflict", kinds),
        )
        for field, reason, taken in checks:
            value = wanted.get(field)
            names = value if isinstance(value, list) else [value] if value else []
            used = [it for it in names if it in taken]
            if used:
                clash = reason, ", ".join(f'"{it}" is already in use' for it in used)
            elif value:
                accepted[field] = value
            else:
                accepted.pop(field, None)
        accepted["categories"] = wanted.get("categories")
        order = ("plural", "singular", "shortNames", "kind", "listKind", "categories")
        return {field: accepted[field] for field in order if accepted.get(field)}, clash

    def _taken(self, group: str, but: str) -> tuple[set[str], set[str]]:
        plurals: set[str] = set()
        kinds: set[str] = set()
        for name, record in self._collection.records.items():
            other = self._read(record)
            if name == but or other["spec"]["group"] != group:
                continue
            names = (other.get("status") or {}).get("acceptedNames") or {}
            plurals |= {
                names.get("plural", ""),
                names.get("singular", ""),
                *(names.get("shortNames") or ()),
            }
            kinds |= {names.get("kind", ""), names.get("listKind", "")}
        return plurals - {""}, kinds - {""}

    def _set(
        self, conditions: list[Object], type_: str, status: str, reason: str, message: str
    ) -> None:
        condition = {"type": type_, "status": status, "reason": reason, "message": message}
        set_json_condition(conditions, condition, now=format_time(self._clock.now()))

    # ---------------------------------------------------------------------------------------------------------- serving

    def _serve(self, name: str, crd: Object) -> None:
        before = self._served.get(name, [])
        if (
            before
            and before[0].crd["metadata"].get("generation") == crd["metadata"].get("generation")
            and (before[0].crd["metadata"]["uid"] == crd["metadata"]["uid"])
        ):
            return
        after = list(_served_versions(crd))
        for served in before:
            if all((served.version, served.plural) != (it.version, it.plural) for it in after):
                self._registry.remove(served)
        for served in after:
            self._registry.add(served)
        self._served[name] = after
        self._end_watches(before)

    def _withdraw(self, name: str) -> None:
        withdrawn = self._served.pop(name, [])
        for served in withdrawn:
            self._registry.remove(served)
        self._end_watches(withdrawn)
        if (unsubscribe := self._emptying.pop(name, None)) is not None:
            unsubscribe()

    def _end_watches(self, before: Iterable[Served]) -> None:
        """End the watches of what is served no longer, or by another schema: clients begin again, and see the new."""
        for collection in {it.collection for it in before}:
            self._storage.collection(collection).end()

    # --------------------------------------------------------------------------------------------------------- emptying

    def _empty(self, name: str, record: Record, crd: Object) -> None:
        finalizers = list(crd["metadata"].get("finalizers") or ())
        if CLEANUP_FINALIZER not in finalizers:
            return
        conditions = [dict(it) for it in (crd.get("status") or {}).get("conditions") or ()]
        text = "CustomResource deletion is in progress"
        self._set(conditions, "Terminating", "True", "InstanceDeletionInProgress", text)
        if conditions != (crd.get("status") or {}).get("conditions"):
            crd.setdefault("status", {})["conditions"] = conditions
            record = self._storage.put(self._collection, crd, record)
        served = next(iter(self._served.get(name, ())), None)
        if served is not None and not self._delete_objects(name, served):
            return
        finalizers.remove(CLEANUP_FINALIZER)
        crd["metadata"]["finalizers"] = finalizers
        if not finalizers:
            del crd["metadata"]["finalizers"]
        self._set(
            conditions, "Terminating", "False", "InstanceDeletionCompleted", "removed all instances"
        )
        record = self._storage.put(self._collection, crd, record)
        if not finalizers:
            self._storage.remove(self._collection, record)

    def _delete_objects(self, name: str, served: Served) -> bool:
        """Delete a CRD's objects; return whether all are gone. Asked again when one more goes."""
        collection = self._storage.collection(served.collection)
        for record in list(collection.records.values()):
            if b'"deletionTimestamp"' not in record.body:
                self._deleter.delete(served, record.namespace, record.name, DeleteOptions())
        if not collection.records:
            return True
        if name not in self._emptying:

            def on_change(change: Change) -> None:
                if change.type == "DELETED":
                    self._schedule(name)

            self._emptying[name] = collection.subscribe(on_change)
        return False


def _condition(status: Mapping[str, Any], type_: str) -> str:
    return next(
        (it["status"] for it in status.get("conditions") or () if it["type"] == type_), "Unknown"
    )


def _served_versions(crd: Object) -> Iterable[Served]:
    spec = crd["spec"]
    names = (crd.get("status") or {}).get("acceptedNames") or spec["names"]
    storage = next(it["name"] for it in spec["versions"] if it.get("storage"))
    for version in sorted(spec["versions"], key=lambda it: version_order(it["name"])):
        if not version.get("served"):
            continue
        gvk = GroupVersionKind(spec["group"], version["name"], names["kind"])
        yield Served(
            group=gvk.group,
            version=gvk.version,
            kind=gvk.kind,
            plural=names["plural"],
            singular=names.get("singular", ""),
            namespaced=spec["scope"] == "Namespaced",
            short_names=tuple(names.get("shortNames") or ()),
            categories=tuple(names.get("categories") or ()),
            verbs=_VERBS,
            subresources=dict(_subresources(gvk, version)),
            list_kind=names.get("listKind") or f"{gvk.kind}List",
            storage_version_hash="",
            collection=f"{names['plural']}.{gvk.group}",
            stored_as=GroupVersionKind(gvk.group, storage, gvk.kind),
            builtin=False,
            strategy=CustomStrategy(crd, version),
            definition=version,
            crd=crd,
            envelope=envelope(gvk.kind, gvk.api_version),
            converts_schema=crd["metadata"].get("generation", 1) > 1 or version["name"] != storage,
        )


def _subresources(gvk: GroupVersionKind, version: Object) -> Iterable[tuple[str, Subresource]]:
    declared = version.get("subresources") or {}
    if "status" in declared:
        yield "status", Subresource("status", gvk, _SUBRESOURCE_VERBS)
    if "scale" in declared:
        yield (
            "scale",
            Subresource(
                "scale", GroupVersionKind("autoscaling", "v1", "Scale"), _SUBRESOURCE_VERBS
            ),
        )
