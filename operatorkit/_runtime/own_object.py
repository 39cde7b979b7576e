"""The object of one run: what it was when the run began, and what the run writes of its labels, annotations and spec.

What belongs here: which fields `ctx.update` sends, and the object as it is after that. What does not: its status
(`status`), and which fields are an operator's (`status_fields`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from operatorkit._runtime.budget import Written
from operatorkit._runtime.caches import typed
from operatorkit._runtime.status import StatusWriter
from operatorkit._runtime.status_fields import own_fields, without_empty, would_change_nothing
from operatorkit.applied import applied_fields, update_manager
from operatorkit.cluster import JSONObject, key_of
from operatorkit.errors import DefinitionError
from operatorkit.live import Declared, check_declared
from operatorkit.resource import api_resource_of, schema_of_parts, write

__all__ = ["OwnObject"]

_ABSENT = object()
_METADATA = ("labels", "annotations")


class OwnObject:
    """The object of a run: `raw` is how the API server has it, as far as the run knows.

    `wrote` is called after each update that changed it.
    """

    def __init__(
        self,
        kind: type[Any],
        raw: JSONObject,
        *,
        status: StatusWriter,
        manager: str,
        declared: Declared,
        wrote: Callable[[Written], None],
    ) -> None:
        self.raw = raw
        self._kind = kind
        self._resource = api_resource_of(kind)
        self._status = status
        self._manager = update_manager(manager)
        self._declared = declared
        self._wrote = wrote

    async def update(self, obj: Any) -> None:
        """Send what differs in `obj`, and what was sent before; see `Context.update` for the promise."""
        self._check(obj)
        before, after = _updatable(typed(self._kind, self.raw)), _updatable(obj)
        owned = applied_fields(self.raw, self._manager) or {}
        sent = own_fields(after, before, owned, schema_of_parts(self._kind, after))
        if not would_change_nothing(sent, before, owned) and (sent or owned):
            await self._send(sent)
        fresh = typed(self._kind, self.raw)
        left = list(_left(before, after, _updatable(fresh), ""))
        if left:
            raise DefinitionError(
                f"{self._resource.kind} {key_of(self.raw)}: ctx.update cannot remove {left[0]}, which another field "
                f"manager set: use ctx.patch, with null as its value"
            )
        for name in type(obj).model_fields:
            if name != "status":
                setattr(obj, name, getattr(fresh, name))

    def _check(self, obj: Any) -> None:
        meta = obj.metadata if isinstance(obj, self._kind) else None
        if meta is None or meta.uid != self.raw["metadata"]["uid"]:
            raise DefinitionError(
                f"{self._resource.kind} {key_of(self.raw)}: ctx.update was given {type(obj).__name__}: give the object "
                f"of the run itself; use ctx.apply for children, and ctx.patch for other objects"
            )
        check_declared(self._declared, self._kind, self._resource, "patch")

    async def _send(self, sent: JSONObject) -> None:
        key = key_of(self.raw)
        metadata = {"name": key.name, "uid": self.raw["metadata"]["uid"]}
        if key.namespace:
            metadata["namespace"] = key.namespace
        body = {
            **sent,
            "apiVersion": self._resource.api_version,
            "kind": self._resource.kind,
            "metadata": {**sent.get("metadata", {}), **metadata},
        }
        answer = await self._status.write_object(self.raw, body, manager=self._manager)
        if answer["metadata"]["resourceVersion"] != self.raw["metadata"]["resourceVersion"]:
            self._wrote(Written(self._resource, key, body, answer))
        self.raw = answer


def _updatable(obj: Any) -> JSONObject:
    """Return what `ctx.update` may send: labels, annotations, and all that is neither metadata nor status."""
    written = write(obj)
    metadata = written.get("metadata") or {}
    kept = {
        name: value
        for name, value in written.items()
        if name not in {"apiVersion", "kind", "metadata", "status"}
    }
    kept["metadata"] = {name: metadata[name] for name in _METADATA if metadata.get(name)}
    found: JSONObject = without_empty(kept)
    return found


def _left(before: Any, after: Any, now: Any, path: str) -> Iterator[str]:
    """Yield the paths of fields that were to be removed, and are still there."""
    if not isinstance(before, Mapping):
        return
    for name, value in before.items():
        here = f"{path}.{name}" if path else name
        kept = after.get(name, _ABSENT) if isinstance(after, Mapping) else _ABSENT
        remaining = now.get(name, _ABSENT) if isinstance(now, Mapping) else _ABSENT
        if remaining is _ABSENT:
            continue
        if isinstance(value, Mapping) and (kept is _ABSENT or isinstance(kept, Mapping)):
            yield from _left(value, {} if kept is _ABSENT else kept, remaining, here)
        elif kept is _ABSENT:
            yield here
