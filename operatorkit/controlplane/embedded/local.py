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

from operatorkit.cluster.api import ApiRequest, ClusterAPI, WatchEvent
from operatorkit.cluster.requests import http_request, metadata_of, result_of
from operatorkit.controlplane.embedded.auth.authn import ADMIN_GROUP
from operatorkit.controlplane.embedded.endpoints.dispatch import Dispatcher
from operatorkit.controlplane.embedded.endpoints.watching import WatchAnswer
from operatorkit.controlplane.embedded.errors.errors import ApiError
from operatorkit.controlplane.embedded.request.messages import Answer, Request, StreamAnswer
from operatorkit.controlplane.embedded.request.user import User
from operatorkit.controlplane.embedded.serializer.json import encode
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
        Cause(it.get("field", ""), it.get("reason", ""), it.get("message", ""))
        for it in details.get("causes", ())
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


class LocalCluster(ClusterAPI):
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
    ) -> Answer | StreamAnswer | WatchAnswer:
        query = {key: value for key, value in (query or {}).items() if value}
        request = Request.of(
            method,
            path,
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

    async def _object(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Any,
        headers: Mapping[str, str],
    ) -> Any:
        answer = await self._ask(method, path, query, body, headers)
        assert isinstance(answer, Answer)
        return (
            json.loads(answer.body)
            if answer.media.startswith("application/json")
            else answer.body.decode()
        )

    async def send(self, request: ApiRequest) -> Any:
        """Answer a request; a path of `ClusterAPI.request` is text, and is quoted here."""
        http = http_request(request)
        path = quote(http.path, safe="/:") if request.resource is None else http.path
        return result_of(
            request, await self._object(http.method, path, http.query, http.body, http.headers)
        )

    async def stream(self, request: ApiRequest) -> AsyncIterator[WatchEvent]:
        """Yield what happens after a resource version until the watch is closed or lags behind. Raises Gone."""
        assert request.resource is not None, "watches are of a kind"
        resource, options = request.resource, request.options
        query = {
            "watch": "true",
            "resourceVersion": options["resource_version"],
            "labelSelector": options["label_selector"],
            "fieldSelector": options["field_selector"],
        }
        answer = await self._ask("GET", http_request(request).path, query)
        assert isinstance(answer, WatchAnswer)
        watch = answer.watch
        try:
            while events := await watch.next(options["timeout_seconds"]):
                for event in events:
                    if event.record is None:
                        continue
                    obj = json.loads(b"".join(answer.representation.event(event.record)))
                    yield WatchEvent(
                        event.type, metadata_of(obj, resource) if options["metadata_only"] else obj
                    )
        finally:
            watch.close()

    async def resolve(self, group: str, kind: str, version: str | None = None) -> ApiResource:
        """Find out how a kind is served. Raises NoKindMatch."""
        for served in self._dispatcher.resources():
            if (
                served.group == group
                and served.kind == kind
                and version in {None, served.version}
                and served.verbs
            ):
                return served.api_resource
        wanted = f"{group}/{version or '*'}" if group else version or "v1"
        raise NoKindMatch(f"the embedded control plane serves no kind {kind} in {wanted}")
