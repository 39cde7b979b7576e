"""The API without HTTP, for controllers that run beside the server in its loop.

What belongs here: `LocalCluster`, which is a `ClusterAPI` over a `Core`, with the same strategies, admission and field
ownership as a request, and every permission. What does not: anything that a request over HTTP could not do as well.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from operatorkit.cluster.api import JSONObject, ObjectList, PatchType, Propagation, WatchEvent
from operatorkit.controlplane.embedded.authn import ADMIN_GROUP
from operatorkit.controlplane.embedded.dispatch import Dispatcher
from operatorkit.controlplane.embedded.encoding import encode
from operatorkit.controlplane.embedded.messages import Answer, Request, WatchAnswer
from operatorkit.controlplane.embedded.request.user import User
from operatorkit.controlplane.embedded.status import ApiError
from operatorkit.errors import (
    AlreadyExists,
    Cause,
    ClusterError,
    Conflict,
    FieldManagerConflict,
    Forbidden,
    Gone,
    Invalid,
    NoKindMatch,
    NotFound,
    Throttled,
    Timeout,
    TooLarge,
    Unauthorized,
)
from operatorkit.names import ApiResource

__all__ = ["LocalCluster"]

_BY_REASON: Mapping[str, type[ClusterError]] = {
    "NotFound": NotFound,
    "AlreadyExists": AlreadyExists,
    "Conflict": Conflict,
    "Forbidden": Forbidden,
    "Unauthorized": Unauthorized,
    "Invalid": Invalid,
    "Expired": Gone,
    "Gone": Gone,
    "RequestEntityTooLarge": TooLarge,
    "TooManyRequests": Throttled,
    "Timeout": Timeout,
}


def _translated(error: ApiError) -> ClusterError:
    details = error.details or {}
    causes = [
        Cause(it.get("field", ""), it.get("reason", ""), it.get("message", "")) for it in details.get("causes", ())
    ]
    kind = _BY_REASON.get(error.reason, ClusterError)
    if kind is Conflict and any(it.reason == "FieldManagerConflict" for it in causes):
        kind = FieldManagerConflict
    return kind(
        error.message,
        code=error.code,
        reason=error.reason,
        causes=causes,
        details=details,
        retry_after_seconds=error.retry_after_seconds,
    )


class LocalCluster:
    """A `ClusterAPI` inside the server's process and loop, acting as `user`, a member of system:masters."""

    def __init__(self, dispatcher: Dispatcher, *, user: str = "system:apiserver") -> None:
        self._dispatcher = dispatcher
        self._user = User(user, (ADMIN_GROUP, "system:authenticated"))

    async def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Answer | WatchAnswer:
        query = {key: value for key, value in (query or {}).items() if value}
        request = Request.of(
            method,
            quote(path, safe="/:"),
            query,
            dry_run=(query["dryRun"],) if "dryRun" in query else (),
            accept=headers.get("Accept", ""),
            content_type=headers.get("Content-Type", ""),
            user_agent="kube-controller-manager",  # whose part its users play: it becomes their field manager
            body=b"" if body is None else encode(body),
            user=self._user,
            host="",
        )
        try:
            return await self._dispatcher.answer(request)
        except ApiError as error:
            raise _translated(error) from None

    async def _object(self, method: str, path: str, query: Mapping[str, str] | None = None, **more: Any) -> Any:
        answer = await self._ask(method, path, query, **more)
        assert isinstance(answer, Answer)
        return json.loads(answer.body) if answer.media.startswith("application/json") else answer.body.decode()

    async def get(
        self, resource: ApiResource, name: str, *, namespace: str | None = None, subresource: str | None = None
    ) -> JSONObject:
        """Return one object. Raises NotFound."""
        found: JSONObject = await self._object("GET", resource.path(name, namespace=namespace, subresource=subresource))
        return found

    async def list(
        self,
        resource: ApiResource,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str | None = None,
        limit: int | None = None,
        continue_token: str = "",
        metadata_only: bool = False,
    ) -> ObjectList:
        """Return a collection; with `limit`, one page of it. Raises Gone when `continue_token` has expired."""
        query = {
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
            "resourceVersion": resource_version or "",
            "limit": str(limit or ""),
            "continue": continue_token,
        }
        listed = await self._object("GET", resource.path(namespace=namespace), query)
        head = {"kind": resource.kind, "apiVersion": resource.api_version}
        items = [head | ({"metadata": item["metadata"]} if metadata_only else item) for item in listed["items"]]
        metadata = listed["metadata"]
        return ObjectList(items, metadata["resourceVersion"], metadata.get("continue", ""))

    async def watch(
        self,
        resource: ApiResource,
        *,
        resource_version: str,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        timeout_seconds: int | None = None,
        metadata_only: bool = False,
    ) -> AsyncIterator[WatchEvent]:
        """Yield what happens after `resource_version` until the watch is closed or lags behind. Raises Gone."""
        query = {
            "watch": "true",
            "resourceVersion": resource_version,
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
        }
        answer = await self._ask("GET", resource.path(namespace=namespace), query)
        assert isinstance(answer, WatchAnswer)
        watch = answer.watch
        try:
            while events := await watch.next(timeout_seconds):
                for event in events:
                    if event.record is None:
                        continue
                    obj = json.loads(b"".join(answer.presenter.event(event.record)))
                    if metadata_only:
                        obj = {name: obj[name] for name in ("apiVersion", "kind", "metadata")}
                    yield WatchEvent(event.type, obj)
        finally:
            watch.close()

    async def create(
        self,
        resource: ApiResource,
        obj: Mapping[str, Any],
        *,
        namespace: str | None = None,
        name: str | None = None,
        subresource: str | None = None,
        field_manager: str | None = None,
        dry_run: bool = False,
    ) -> JSONObject:
        """Create an object, or post to a subresource. Raises AlreadyExists, Invalid."""
        path = resource.path(name, namespace=namespace, subresource=subresource)
        made: JSONObject = await self._object("POST", path, _write_query(field_manager, dry_run), body=obj)
        return made

    async def replace(
        self,
        resource: ApiResource,
        name: str,
        obj: Mapping[str, Any],
        *,
        namespace: str | None = None,
        subresource: str | None = None,
        field_manager: str | None = None,
        dry_run: bool = False,
    ) -> JSONObject:
        """Replace an object. Raises Conflict, Invalid."""
        path = resource.path(name, namespace=namespace, subresource=subresource)
        made: JSONObject = await self._object("PUT", path, _write_query(field_manager, dry_run), body=obj)
        return made

    async def patch(
        self,
        resource: ApiResource,
        name: str,
        body: Any,
        *,
        patch_type: PatchType,
        namespace: str | None = None,
        subresource: str | None = None,
        field_manager: str | None = None,
        force: bool = False,
        dry_run: bool = False,
    ) -> JSONObject:
        """Change part of an object. Raises NotFound, Conflict, FieldManagerConflict, Invalid."""
        path = resource.path(name, namespace=namespace, subresource=subresource)
        query = _write_query(field_manager, dry_run) | ({"force": "true"} if force else {})
        made: JSONObject = await self._object(
            "PATCH", path, query, body=body, headers={"Content-Type": PatchType(patch_type).value}
        )
        return made

    async def delete(
        self,
        resource: ApiResource,
        name: str,
        *,
        namespace: str | None = None,
        propagation: Propagation | None = None,
        grace_period_seconds: int | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
        dry_run: bool = False,
    ) -> JSONObject:
        """Ask for an object's deletion. Raises NotFound, Conflict (preconditions)."""
        preconditions = {"uid": uid, "resourceVersion": resource_version}
        body = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": propagation,
            "gracePeriodSeconds": grace_period_seconds,
            "preconditions": {key: value for key, value in preconditions.items() if value is not None},
            "dryRun": ["All"] if dry_run else [],
        }
        body = {key: value for key, value in body.items() if value is not None}
        answer: JSONObject = await self._object("DELETE", resource.path(name, namespace=namespace), body=body)
        return answer

    async def resolve(self, group: str, kind: str, version: str | None = None) -> ApiResource:
        """Find out how a kind is served. Raises NoKindMatch."""
        for served in self._dispatcher.resources():
            if served.group == group and served.kind == kind and version in {None, served.version} and served.verbs:
                return served.api_resource
        wanted = f"{group}/{version or '*'}" if group else version or "v1"
        raise NoKindMatch(f"the embedded control plane serves no kind {kind} in {wanted}")

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Send any other request and return the decoded JSON answer, or text."""
        return await self._object(method, path, query, body=body, headers=headers or {})


def _write_query(field_manager: str | None, dry_run: bool) -> dict[str, str]:
    query = {"fieldManager": field_manager or "", "dryRun": "All" if dry_run else ""}
    return {key: value for key, value in query.items() if value}
