"""The one interface through which operatorkit talks to a Kubernetes API, and the values that cross it.

Objects are JSON dictionaries here; `operatorkit.resource` turns them into typed models. Everything
that reads or writes a cluster takes a `ClusterAPI` as an argument.

The methods and their options are written here, once. An implementation derives from `ClusterAPI`
and has three methods: `send`, `stream` and `resolve`. The live client and the in-process one of the
embedded control plane make an HTTP request of a `ApiRequest` (`operatorkit.cluster.requests`); one
that records or changes requests repeats it on another `ClusterAPI` (`ApiRequest.repeat`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol

from operatorkit.names import ApiResource

__all__ = [
    "ApiRequest",
    "ClusterAPI",
    "JSONObject",
    "ObjectList",
    "PatchType",
    "Propagation",
    "WatchEvent",
]

JSONObject = dict[str, Any]
Propagation = Literal["Foreground", "Background", "Orphan"]


class PatchType(StrEnum):
    """The content types of a PATCH request."""

    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    APPLY = "application/apply-patch+yaml"

    @classmethod
    def _missing_(cls, value: object) -> PatchType:
        """Read the short names too: `PatchType("merge")`. Raises TypeError, which names all, for anything else."""
        for known in cls:
            if isinstance(value, str) and value.lower() == known.name.lower():
                return known
        names = ", ".join(known.name.lower() for known in cls)
        raise TypeError(
            f"patch_type={value!r} is not a type of patch: give a PatchType, or one of {names}"
        )


@dataclass(frozen=True, slots=True)
class ObjectList:
    """A page of a collection, the resource version to watch from, and the token of the next page (or "")."""

    items: list[JSONObject]
    resource_version: str
    continue_token: str = ""


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One event of a watch. `object` of a BOOKMARK carries a resource version only.

    An ERROR never reaches the caller as an event: the watch raises `Gone`, or another
    `ClusterError`, instead.
    """

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: JSONObject


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One call of a method of `ClusterAPI`: which method, on what, with which options.

    `options` are the keyword arguments other than `namespace` and `subresource`, defaults included.
    `body` is the object of a create or replace, and the patch of a patch. For `request`, `name` is
    the HTTP method and `path` the path; `resource` is None there only.
    """

    function: Literal["get", "list", "watch", "create", "replace", "patch", "delete", "request"]
    resource: ApiResource | None
    name: str | None = None
    namespace: str | None = None
    subresource: str | None = None
    body: Any = None
    path: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def verb(self) -> str:
        """The verb as RBAC has it; for `request`, of the method: `get`, `post` and so on."""
        match self.function:
            case "replace":
                return "update"
            case "request":
                return str(self.name).lower()
        return self.function

    def repeat(self, api: ClusterAPI) -> Any:
        """Call the same method of another cluster, with the same arguments, and return what it returns."""
        method = getattr(api, self.function)
        here = {"namespace": self.namespace}
        below = here | {"subresource": self.subresource}
        match self.function:
            case "get":
                return method(self.resource, self.name, **below)
            case "list" | "watch":
                return method(self.resource, **here, **self.options)
            case "create":
                return method(self.resource, self.body, name=self.name, **below, **self.options)
            case "replace" | "patch":
                return method(self.resource, self.name, self.body, **below, **self.options)
            case "delete":
                return method(self.resource, self.name, **here, **self.options)
            case "request":
                return method(self.name, self.path, body=self.body, **self.options)


class ClusterAPI(Protocol):
    """Requests to one Kubernetes API as one user.

    Every method raises the subclass of `ClusterError` that fits the server's answer, with the
    server's message, and `Unreachable` when there is none. `namespace` is required for objects of
    namespaced kinds; for `list` and `watch`, None means all namespaces. Answers are fresh copies:
    the caller may change them.
    """

    async def send(self, request: ApiRequest) -> Any:
        """Send a request of any kind but `watch`, and return the decoded answer: for a list, an `ObjectList`."""

    def stream(self, request: ApiRequest) -> AsyncIterator[WatchEvent]:
        """Send a request of kind `watch`, and yield its events."""

    async def get(
        self,
        resource: ApiResource,
        name: str,
        *,
        namespace: str | None = None,
        subresource: str | None = None,
    ) -> JSONObject:
        """Return one object. Raises NotFound."""
        answer: JSONObject = await self.send(
            ApiRequest("get", resource, name, namespace, subresource)
        )
        return answer

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
        """Return a collection; with `limit`, one page of it. Raises Gone when `continue_token` has expired.

        With `metadata_only`, each object has `apiVersion`, `kind` and `metadata`, and the server
        sends no more. Source:
        https://kubernetes.io/docs/reference/using-api/api-concepts/#metadata-only-fetches
        """
        options = {
            "label_selector": label_selector,
            "field_selector": field_selector,
            "resource_version": resource_version,
            "limit": limit,
            "continue_token": continue_token,
            "metadata_only": metadata_only,
        }
        answer: ObjectList = await self.send(
            ApiRequest("list", resource, namespace=namespace, options=options)
        )
        return answer

    def watch(
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
        """Yield what happens after `resource_version`, bookmarks included, until the server ends the watch.

        `metadata_only` is as for `list`.

        Raises Gone when `resource_version` is too old. Close the iterator (`aclosing`) to close the
        connection.
        """
        options = {
            "resource_version": resource_version,
            "label_selector": label_selector,
            "field_selector": field_selector,
            "timeout_seconds": timeout_seconds,
            "metadata_only": metadata_only,
        }
        return self.stream(ApiRequest("watch", resource, namespace=namespace, options=options))

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
        """Create an object, or (with `name` and `subresource`) post to a subresource.

        Raises AlreadyExists, Invalid.
        """
        options = {"field_manager": field_manager, "dry_run": dry_run}
        answer: JSONObject = await self.send(
            ApiRequest("create", resource, name, namespace, subresource, obj, options=options)
        )
        return answer

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
        """Replace an object; with `metadata.resourceVersion`, only if it is unchanged. Raises Conflict, Invalid."""
        options = {"field_manager": field_manager, "dry_run": dry_run}
        answer: JSONObject = await self.send(
            ApiRequest("replace", resource, name, namespace, subresource, obj, options=options)
        )
        return answer

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
        """Change part of an object. `patch_type` may be a short name such as "merge". `force` is for APPLY only.

        Raises NotFound, Conflict, FieldManagerConflict, Invalid.
        """
        options = {
            "patch_type": patch_type,
            "field_manager": field_manager,
            "force": force,
            "dry_run": dry_run,
        }
        answer: JSONObject = await self.send(
            ApiRequest("patch", resource, name, namespace, subresource, body, options=options)
        )
        return answer

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
        """Ask for an object's deletion; finalizers and grace may delay it.

        Return the server's answer: the object as it is now while its deletion is delayed (with a
        deletionTimestamp, and finalizers or deletionGracePeriodSeconds), else a Status whose
        details hold its uid; some kinds are answered with their last state.

        Raises NotFound, Conflict (preconditions).
        """
        options = {
            "propagation": propagation,
            "grace_period_seconds": grace_period_seconds,
            "uid": uid,
            "resource_version": resource_version,
            "dry_run": dry_run,
        }
        answer: JSONObject = await self.send(
            ApiRequest("delete", resource, name, namespace, options=options)
        )
        return answer

    async def resolve(self, group: str, kind: str, version: str | None = None) -> ApiResource:
        """Find out by discovery how a kind is served. Raises NoKindMatch, which names group, version and kind."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Send any other request and return the decoded JSON answer (or text, where it is not JSON).

        `path` is sent as it is, and so is a `body` of bytes or text; any other is encoded as JSON.
        """
        options = {"query": query, "headers": headers}
        return await self.send(
            ApiRequest("request", None, method, body=body, path=path, options=options)
        )
