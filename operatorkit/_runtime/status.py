"""Writing the status and the finalizers of the object that is reconciled, and ignoring the events of these own writes.

What belongs here: one server-side apply of the status, if it changed, and which changes are only own writes. What does
not: what the status says (the reconcile function), which of its fields are sent (`status_fields`), and when finalizers
are set (`run`).
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Awaitable, Callable
from typing import Any, Final

from operatorkit._runtime.caches import Caches
from operatorkit._runtime.status_fields import own_fields, without_empty, would_change_nothing
from operatorkit.clock import Clock
from operatorkit.cluster import Change, ClusterAPI, JSONObject, PatchType, key_of
from operatorkit.cluster.versions import is_newer
from operatorkit.crd.model import written
from operatorkit.errors import Conflict, Invalid, NotFound
from operatorkit.names import ApiResource, ObjectKey
from operatorkit.resource import Resource, api_resource_of, status_schema, write

__all__ = ["StatusWriter", "status_of"]

_EXECUTED_WITHIN_SECONDS: Final = 120.0  # twice kube-apiserver's limit for a request


def status_of(obj: Any) -> JSONObject:
    """Return the status as it would be sent; for our own kinds without writing the rest of the object."""
    if isinstance(obj, Resource):
        return (
            written(obj.status, f"the status of {obj.kind} {obj.key}")
            if obj.status is not None
            else {}
        )
    return copy.deepcopy(write(obj).get("status") or {})


class StatusWriter:
    """Writes the status and the finalizers of the objects of one kind.

    Every change of the kind must be passed to `ignores`.

    `wrote` is called after each write that changed an object: the object before, what was sent, and the response.

    Why it is hard: the watch event of an own write may arrive before the response that contains its resourceVersion. So
    changes of a key are held back while its status is being written, and passed to `deliver` afterwards, in order.

    A resourceVersion counts as an own write only if the response, its status aside, equals what the run had read. A
    response may contain more, namely what others wrote meanwhile; and the response to an apply that changed nothing has
    the resourceVersion of the last writer. After a gap of the watch no change is filtered, even with the
    resourceVersion of an own write: it may hide what others wrote before it, be it in the status alone.

    A write without a response may have been executed, or may be executed later, as long as the server works on the
    request. Until then, any change of the object may contain a state that no run has seen (`is_unsure`).
    """

    def __init__(
        self,
        kind: type[Any],
        *,
        api: ClusterAPI,
        caches: Caches,
        manager: str,
        clock: Clock,
        deliver: Callable[[Change], None],
        wrote: Callable[[JSONObject, JSONObject, JSONObject], None],
    ) -> None:
        self._resource = api_resource_of(kind)
        self._schema = functools.cache(functools.partial(status_schema, kind))
        self._api = api
        self._caches = caches
        self._manager = manager
        self._deliver = deliver
        self._wrote = wrote
        self._own: dict[ObjectKey, set[str]] = {}
        self._held: dict[ObjectKey, list[Change]] = {}
        self._clock = clock
        self._unsure: dict[ObjectKey, float] = {}

    async def write(self, raw: JSONObject, before: JSONObject, obj: Any) -> JSONObject:
        """Apply the status of `obj` if it differs from `before`, which `raw` had when the run began.

        Only what the operator owns of it, and what the run changed, is sent (`status_fields`).

        Return the object as it is now if only our status is new in it, else `raw`.

        Raises Conflict when the object is no longer the one with that uid, and other ClusterErrors.
        """
        after = status_of(obj)
        # The comparison is with the status that the run was given, not with the one in the cache
        # now: another writer may have changed it meanwhile, and a run that changed nothing must not
        # write its own, older copy over that.
        if without_empty(after) == without_empty(before):
            return raw
        owned = self._owned_fields(raw)
        sent = own_fields(after, before, owned, self._schema())
        if would_change_nothing(sent, before, owned):
            return raw
        key = key_of(raw)
        # The uid makes this an apply to the object that the run has seen. Without it, the status
        # would be written to an object that was recreated under the same name. A resourceVersion
        # would do that too, but it would fail on each write of others, and server-side apply needs
        # none: https://kubernetes.io/docs/reference/using-api/server-side-apply/
        meta = {"name": key.name, "uid": raw["metadata"]["uid"]} | (
            {"namespace": key.namespace} if key.namespace else {}
        )
        body = {
            "apiVersion": self._resource.api_version,
            "kind": self._resource.kind,
            "metadata": meta,
            "status": sent,
        }
        request = self._api.patch(
            self._resource,
            key.name,
            body,
            patch_type=PatchType.APPLY,
            namespace=key.namespace or None,
            subresource="status",
            field_manager=self._manager,
            force=True,
        )
        try:
            answer = await self._own_write(
                key, request, is_own=lambda answer: _without_status(answer) == _without_status(raw)
            )
        except NotFound:
            return raw  # deleted meanwhile
        except Invalid as error:
            if any(cause.field == "metadata.uid" for cause in error.causes):
                raise _recreated(self._resource, key) from error
            raise
        if answer["metadata"]["resourceVersion"] != raw["metadata"]["resourceVersion"]:
            self._wrote(raw, {"status": body["status"]}, answer)
        return answer if _without_status(answer) == _without_status(raw) else raw

    async def write_object(self, raw: JSONObject, body: JSONObject, *, manager: str) -> JSONObject:
        """Apply labels, annotations and a spec, and return the object as it is then: the run goes on with that.

        Raises Conflict when the object is no longer the one with the uid in `body`, and other ClusterErrors.
        """
        key = key_of(raw)
        request = self._api.patch(
            self._resource,
            key.name,
            body,
            patch_type=PatchType.APPLY,
            namespace=key.namespace or None,
            field_manager=manager,
            force=True,
        )
        try:
            return await self._own_write(key, request, is_own=lambda _: True)
        except Invalid as error:
            if any(cause.field == "metadata.uid" for cause in error.causes):
                raise _recreated(self._resource, key) from error
            raise

    async def write_finalizers(self, raw: JSONObject, finalizers: list[str]) -> JSONObject | None:
        """Replace the finalizers of an object and return it as it is then, or None if it no longer exists.

        The run goes on with that object, and so has seen this version, whatever others wrote into it.

        Raises Conflict when the object is no longer `raw`, and other ClusterErrors.
        """
        key = key_of(raw)
        request = self._api.patch(
            self._resource,
            key.name,
            {
                "metadata": {
                    "finalizers": finalizers,
                    "resourceVersion": raw["metadata"]["resourceVersion"],
                }
            },
            patch_type=PatchType.MERGE,
            namespace=key.namespace or None,
            field_manager=self._manager,
        )
        try:
            return await self._own_write(key, request, is_own=lambda _: True)
        except NotFound:
            return None

    async def _own_write(
        self,
        key: ObjectKey,
        request: Awaitable[JSONObject],
        *,
        is_own: Callable[[JSONObject], bool],
    ) -> JSONObject:
        """Await a write while changes of its key are held back; note the answer's version if it is an own write."""
        self._held[key] = []
        try:
            answer = await request
        except (NotFound, Invalid, Conflict):
            # These three are decisions of the server, so nothing was written. Any other end, a
            # timeout or a cancelled run among them, leaves open whether the request was executed.
            raise  # it was not executed
        except BaseException:
            self._unsure[key] = self._clock.monotonic() + _EXECUTED_WITHIN_SECONDS
            raise
        else:
            self._caches.put(self._resource, answer)
            if is_own(answer):
                self._own.setdefault(key, set()).add(answer["metadata"]["resourceVersion"])
            return answer
        finally:
            for change in self._held.pop(key):
                self._deliver(change)

    def ignores(self, change: Change) -> bool:
        """Return whether a change is ignored now: held back, or an own write."""
        if change.key in self._held:
            self._held[change.key].append(change)
            return True
        return bool(change.version) and self._is_own(change.key, change.version) and not change.gap

    def is_unsure(self, key: ObjectKey) -> bool:
        """Return whether a status that was sent without a response may still be written."""
        until = self._unsure.get(key)
        if until is not None and until < self._clock.monotonic():
            del self._unsure[key]
            until = None
        return until is not None

    def forget(self, key: ObjectKey) -> None:
        """Forget an object that no longer exists."""
        self._own.pop(key, None)
        self._unsure.pop(key, None)

    def forget_versions(self) -> None:
        """Forget all resourceVersions: another history of the server may use them for other states."""
        self._own.clear()

    def _owned_fields(self, raw: JSONObject) -> JSONObject:
        for entry in raw["metadata"].get("managedFields") or ():
            if (entry.get("manager"), entry.get("operation"), entry.get("subresource")) == (
                self._manager,
                "Apply",
                "status",
            ):
                fields: JSONObject = (entry.get("fieldsV1") or {}).get("f:status") or {}
                return fields
        return {}

    def _is_own(self, key: ObjectKey, version: str) -> bool:
        """Return whether an own write returned this version; forget it and all older ones."""
        versions = self._own.pop(key, None)
        if versions is None:
            return False
        # Events of one object come in the order of their versions, so an own write that is older
        # than this one was merged into a later state, or lost with a watch: its event will never
        # come, and keeping it would leak.
        later = {known for known in versions if is_newer(known, version)}
        if later:
            self._own[key] = later
        return version in versions


def _recreated(resource: ApiResource, key: ObjectKey) -> Conflict:
    return Conflict(f"{resource.kind} {key} was deleted and recreated meanwhile")


def _without_status(obj: JSONObject) -> JSONObject:
    kept = {name: value for name, value in obj.items() if name != "status"}
    kept["metadata"] = {
        name: value
        for name, value in obj["metadata"].items()
        if name not in {"managedFields", "resourceVersion"}
    }
    return kept
