"""The one interface through which operatorkit talks to a Kubernetes API, and the values that cross it.

Objects are JSON dictionaries here; `operatorkit.resource` turns them into typed models. Everything that reads or
writes a cluster takes a `ClusterAPI` as an argument: the live client, the in-process one of the embedded control
plane, and the fault-injecting one of the tests are all of this shape.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, Protocol

from operatorkit.names import ApiResource

__all__ = ["ClusterAPI", "JSONObject", "ObjectList", "PatchType", "Propagation", "WatchEvent"]

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
        raise TypeError(f"patch_type={value!r} is not a type of patch: give a PatchType, or one of {names}")


@dataclass(frozen=True, slots=True)
class ObjectList:
    """A page of a collection, the resource version to watch from, and the token of the next page (or "")."""

    items: list[JSONObject]
    resource_version: str
    continue_token: str = ""


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One event of a watch. `object` of a BOOKMARK carries a resource version only.

    An ERROR never reaches the caller as an event: the watch raises `Gone`, or another `ClusterError`, instead.
    """

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: JSONObject


class ClusterAPI(Protocol):
    """Requests to one Kubernetes API as one user.

    Every method raises the subclass of `ClusterError` that fits the server's answer, with the server's message,
    and `Unreachable` when there is none. `namespace` is required for objects of namespaced kinds; for `list` and
    `watch`, None means all namespaces. Answers are fresh copies: the caller may change them.
    """

    async def get(
        self, resource: ApiResource, name: str, *, namespace: str | None = None, subresource: str | None = None
    ) -> JSONObject:
        """Return one object. Raises NotFound."""

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

        With `metadata_only`, each object has `apiVersion`, `kind` and `metadata`, and the server sends no more.
        Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#metadata-only-fetches
        """

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

        Raises Gone when `resource_version` is too old. Close the iterator (`aclosing`) to close the connection.
        """

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

        Return the server's answer: the object as it is now while its deletion is delayed (with a deletionTimestamp,
        and finalizers or deletionGracePeriodSeconds), else a Status whose details hold its uid; some kinds are answered
        with their last state.

        Raises NotFound, Conflict (preconditions).
        """

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
        """Send any other request and return the decoded JSON answer (or text, where it is not JSON)."""
