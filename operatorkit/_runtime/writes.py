"""Writes whose responses are put into the caches at once.

What belongs here: the state of the object that the response to a write contains. What does not: the caches (`caches`),
and which changes enqueue a parent again (`own_writes`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from operatorkit._runtime.caches import Caches
from operatorkit.cluster import ClusterAPI, JSONObject
from operatorkit.errors import ClusterError, Conflict, NotFound
from operatorkit.names import ApiResource, ObjectKey

__all__ = ["feeding_api"]

_CHANGES_NOTHING: Final = frozenset({"token"})  # subresources that are asked by a POST


class _FeedingAPI:
    """A `ClusterAPI` that puts the responses to its writes into the caches, and hides what it has deleted.

    Why it is hard: the watch brings an own write later than its response. A run that starts in between would read its
    own object as it was before, and decide as if it had not written. So the response goes into the cache; the cache
    keeps the newer of the two by resourceVersion (`operatorkit.cluster.Cache`). A deletion has no response with
    a resourceVersion: the object is hidden by its uid until the watch brings the deletion.

    Guarantees: when a write of a cached kind returns, a read from the cache is not older than it; an object whose
    deletion waits for finalizers or a grace period is still there, with its deletionTimestamp.

    A subresource that is answered with something else than the object (scale, eviction) costs one more request, for the
    object; if that is denied, the cache follows by the watch.
    """

    def __init__(self, api: ClusterAPI, caches: Caches) -> None:
        self._api = api
        self._caches = caches
        self._kinds = {(each.api_version, each.kind): each for each in caches.resources}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)

    async def create(
        self, resource: ApiResource, obj: Mapping[str, Any], **options: Any
    ) -> JSONObject:
        """Create an object, or post to a subresource; see `ClusterAPI.create`."""
        answer = await self._api.create(resource, obj, **options)
        await self._take(resource, options.get("name"), answer, options)
        return answer

    async def replace(
        self, resource: ApiResource, name: str, obj: Mapping[str, Any], **options: Any
    ) -> JSONObject:
        """Replace an object; see `ClusterAPI.replace`."""
        answer = await self._api.replace(resource, name, obj, **options)
        await self._take(resource, name, answer, options)
        return answer

    async def patch(
        self, resource: ApiResource, name: str, body: Any, **options: Any
    ) -> JSONObject:
        """Change part of an object; see `ClusterAPI.patch`."""
        answer = await self._api.patch(resource, name, body, **options)
        await self._take(resource, name, answer, options)
        return answer

    async def delete(self, resource: ApiResource, name: str, **options: Any) -> JSONObject:
        """Ask for an object's deletion; see `ClusterAPI.delete`."""
        key, uid = ObjectKey(options.get("namespace") or "", name), options.get("uid")
        try:
            answer = await self._api.delete(resource, name, **options)
        except (NotFound, Conflict) as error:
            # a uid is unique: the object no longer exists, or another one has its name
            if uid and (isinstance(error, NotFound) or options.get("resource_version") is None):
                self._caches.hide(resource, key, uid)
            raise
        if not options.get("dry_run") and isinstance(
            answer, dict
        ):  # a wrapper of tests may answer nothing
            self._take_deletion(resource, key, answer)
        return answer

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Send any other request; where a write is answered with an object of a cached kind, that is taken."""
        answer = await self._api.request(method, path, query=query, body=body, headers=headers)
        if (
            method.upper() in {"POST", "PUT", "PATCH"}
            and "dryRun" not in (query or {})
            and isinstance(answer, dict)
        ):
            resource = self._kinds.get((str(answer.get("apiVersion")), str(answer.get("kind"))))
            if resource is not None and (answer.get("metadata") or {}).get("resourceVersion"):
                self._caches.put(resource, answer)
        return answer

    async def _take(
        self,
        resource: ApiResource,
        name: str | None,
        answer: JSONObject,
        options: Mapping[str, Any],
    ) -> None:
        if options.get("dry_run") or resource not in self._kinds.values():
            return
        metadata = answer.get("metadata") or {}
        if answer.get("kind") == resource.kind and metadata.get("resourceVersion"):
            if metadata.get("deletionTimestamp") and not _is_delayed(
                metadata
            ):  # this write took the last finalizer
                key = ObjectKey(metadata.get("namespace") or "", metadata["name"])
                self._caches.hide(resource, key, str(metadata.get("uid")))
            else:
                self._caches.put(resource, answer)
        elif name is not None and options.get("subresource") not in _CHANGES_NOTHING:
            await self._ask(resource, ObjectKey(options.get("namespace") or "", name))

    async def _ask(self, resource: ApiResource, key: ObjectKey) -> None:
        """Put an object into the cache as it is now."""
        known = self._caches.get(resource, key)
        try:
            self._caches.put(
                resource, await self._api.get(resource, key.name, namespace=key.namespace or None)
            )
        except NotFound:
            if known is not None:
                self._caches.hide(resource, key, str(known["metadata"].get("uid") or ""))
        except ClusterError:
            return  # it was a favour: the watch will bring what the write did

    def _take_deletion(self, resource: ApiResource, key: ObjectKey, answer: JSONObject) -> None:
        if answer.get("kind") == "Status":
            uid = (answer.get("details") or {}).get("uid")
        else:
            metadata = answer.get("metadata") or {}
            uid = metadata.get("uid")
            if metadata.get("deletionTimestamp") and _is_delayed(metadata):
                self._caches.put(resource, answer)
                return
        if uid:
            self._caches.hide(resource, key, str(uid))


def _is_delayed(metadata: Mapping[str, Any]) -> bool:
    """Return whether finalizers or a grace period keep an object that is deleted."""
    return bool(metadata.get("finalizers") or metadata.get("deletionGracePeriodSeconds"))


def feeding_api(api: ClusterAPI, caches: Caches) -> ClusterAPI:
    """Return an API whose responses to writes are put into the caches at once."""
    return cast("ClusterAPI", _FeedingAPI(api, caches))
