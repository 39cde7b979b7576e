"""Event handlers: which keys a change enqueues.

What belongs here: the way from a changed object to the objects that depend on it: its owner, the keys that a function
maps it to, and predicates. What does not: the queue of keys (`queue`) and its workers (`controller`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from operatorkit._runtime.caches import typed
from operatorkit.children import controller_of, owner_mark
from operatorkit.cluster import Change, JSONObject, key_of
from operatorkit.context import Reader
from operatorkit.errors import InvalidObject
from operatorkit.names import (
    ANNOTATION_OWNER,
    ANNOTATION_PAUSED,
    ANNOTATION_RECONCILE_AT,
    ApiResource,
    ObjectKey,
)
from operatorkit.operator import Predicate, Watch, generation_changed

__all__ = ["mapped", "parents", "passes"]

_log = logging.getLogger("operatorkit.runtime")


def parents(change: Change, resource: ApiResource) -> Iterable[ObjectKey]:
    """Yield the key of the object of kind `resource` that owns, or owned, the changed child."""
    for child in (change.old, change.new):
        owner = controller_of(child) if child is not None else None
        if child is None or owner is None:
            yield from () if child is None else _marked_parent(child, resource)
            continue
        group, _, _ = owner.get("apiVersion", "").rpartition("/")
        if (group, owner.get("kind")) == (resource.group, resource.kind):
            namespace = child["metadata"].get("namespace", "") if resource.namespaced else ""
            yield ObjectKey(namespace, owner["name"])


def _marked_parent(child: JSONObject, resource: ApiResource) -> Iterable[ObjectKey]:
    """Yield the parent that the annotation of a child names, where no owner reference can be."""
    mark = (child["metadata"].get("annotations") or {}).get(ANNOTATION_OWNER, "")
    _, _, key = mark.partition("/")
    namespace, _, name = key.partition("/")
    if name and mark == owner_mark(resource, ObjectKey(namespace, name)):
        yield ObjectKey(namespace, name)


def mapped(change: Change, watch: Watch[Any], reader: Reader) -> Iterable[ObjectKey]:
    """Yield the keys to which a watch maps the object as it was and as it is; a failure is logged, and maps to none."""
    old, new = change.old, change.new
    if new is not None and not passes(old, new, watch.predicate, watch.kind):
        return
    for obj in (old, new):
        if obj is not None:
            yield from _mapped_one(obj, watch, reader)


def _mapped_one(obj: JSONObject, watch: Watch[Any], reader: Reader) -> list[ObjectKey]:
    try:
        return list(watch.to(typed(watch.kind, obj), reader))
    except InvalidObject as error:
        _log.debug("not mapped: %s", error)
    except Exception:  # noqa: BLE001 - user code: one object must not stop the others
        name = getattr(watch.to, "__qualname__", watch.to)
        _log.exception(
            "%s failed for %s %s: no key is enqueued", name, watch.kind.__name__, key_of(obj)
        )
    return []


def passes(
    old: JSONObject | None, new: JSONObject, predicate: Predicate[Any] | None, kind: type[Any]
) -> bool:
    """Return whether a change counts: always without a predicate, for new and terminating objects, or on request.

    So does a change on which the predicate fails: one run too many is better than a lost change.
    """
    if predicate is None or old is None or _asked_again(old, new):
        return True
    if new["metadata"].get("deletionTimestamp") != old["metadata"].get("deletionTimestamp"):
        return True
    if (
        predicate is generation_changed
    ):  # the commonest: without reading the two objects as typed ones
        return bool(new["metadata"].get("generation", 0) != old["metadata"].get("generation", 0))
    try:
        return bool(predicate(typed(kind, old), typed(kind, new)))
    except InvalidObject:
        return True  # the run reports what is wrong with it
    except Exception:  # noqa: BLE001 - user code: one object must not stop the others
        name = getattr(predicate, "__qualname__", predicate)
        _log.exception("%s failed for %s %s: the change counts", name, kind.__name__, key_of(new))
        return True


def _asked_again(old: JSONObject, new: JSONObject) -> bool:
    """Return whether the annotation operatorkit.dev/reconcile-at or operatorkit.dev/paused changed."""
    before, after = (obj["metadata"].get("annotations") or {} for obj in (old, new))
    return any(
        before.get(name) != after.get(name) for name in (ANNOTATION_RECONCILE_AT, ANNOTATION_PAUSED)
    )
