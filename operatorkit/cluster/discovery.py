"""Which kinds an API server serves, and under which names in URLs.

What belongs here: aggregated discovery (two requests for everything), and group-by-group discovery
where a server has no aggregated form. What does not: schemas (OpenAPI).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

from operatorkit.errors import ClusterError, NoKindMatch, NotFound
from operatorkit.names import ApiResource

__all__ = ["Discovery"]

_AGGREGATED: Final = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    ",application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
    ",application/json"
)


class _Requests(Protocol):
    async def request(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None
    ) -> Any: ...


class Discovery:
    """A cached view of what is served. A kind that is not in it is looked for again, in one request at a time."""

    def __init__(self, api: _Requests) -> None:
        self._api = api
        self._resources: list[ApiResource] = []
        self._generation = 0
        self._lock = asyncio.Lock()

    async def resolve(self, group: str, kind: str, version: str | None = None) -> ApiResource:
        """Return how `kind` is served; without `version`, in the server's preferred one. Raises NoKindMatch."""
        seen = self._generation
        found = self._find(group, kind, version)
        if found is not None:
            return found
        async with self._lock:
            if self._generation == seen:
                self._resources = await self._read()
                self._generation += 1
        found = self._find(group, kind, version)
        if found is None:
            raise self._no_match(group, kind, version)
        return found

    async def resources(self) -> list[ApiResource]:
        """Return all that is served, freshly read, in the server's order of preference."""
        async with self._lock:
            self._resources = await self._read()
            self._generation += 1
        return list(self._resources)

    def forget(self) -> None:
        """Read everything again when it is next needed: something that was served is served no more."""
        self._resources = []

    def _find(self, group: str, kind: str, version: str | None) -> ApiResource | None:
        for resource in self._resources:
            if (resource.group, resource.kind) == (group, kind) and version in {
                None,
                resource.version,
            }:
                return resource
        return None

    def _no_match(self, group: str, kind: str, version: str | None) -> NoKindMatch:
        wanted = f"kind {kind!r} in group {group or 'core (the empty group)'!r}" + (
            f", version {version!r}" if version else ""
        )
        versions = sorted(
            {each.version for each in self._resources if (each.group, each.kind) == (group, kind)}
        )
        kinds = sorted({each.kind for each in self._resources if each.group == group})
        if versions:
            hint = f"it is served in version {', '.join(versions)}"
        elif kinds:
            hint = f"that group has {', '.join(kinds)}"
        else:
            hint = "that group is not served: create its CustomResourceDefinitions first"
        return NoKindMatch(f"the API server serves no {wanted}; {hint}")

    async def _read(self) -> list[ApiResource]:
        found: list[ApiResource] = []
        for root in ("/api", "/apis"):
            answer = await self._api.request("GET", root, headers={"Accept": _AGGREGATED})
            if isinstance(answer, dict) and answer.get("kind") == "APIGroupDiscoveryList":
                found += _from_aggregated(answer)
            elif isinstance(answer, dict):
                found += await self._one_by_one(root, answer)
        return found

    async def _one_by_one(self, root: str, answer: Mapping[str, Any]) -> list[ApiResource]:
        if answer.get("kind") == "APIVersions":
            names = [("", str(version)) for version in answer.get("versions") or ()]
        else:
            names = [
                (str(group["name"]), str(version["version"]))
                for group in answer.get("groups") or ()
                for version in _preferred_first(group)
            ]
        found: list[ApiResource] = []
        for group, version in names:
            path = f"{root}/{group}/{version}" if group else f"{root}/{version}"
            try:
                listed = await self._api.request("GET", path)
            except (NotFound, NoKindMatch):
                continue  # the group went away between the two requests
            except ClusterError as error:
                if error.code in {500, 503}:
                    continue  # an aggregated API whose server is down must not hide all others
                raise
            found += [
                ApiResource(
                    group, version, each["kind"], each["name"], bool(each.get("namespaced"))
                )
                for each in listed.get("resources") or ()
                if "/" not in each["name"]
            ]
        return found


def _from_aggregated(answer: Mapping[str, Any]) -> Iterable[ApiResource]:
    for group in answer.get("items") or ():
        group_name = str((group.get("metadata") or {}).get("name") or "")
        for version in group.get("versions") or ():
            for each in version.get("resources") or ():
                kind = (each.get("responseKind") or {}).get("kind")
                if kind:
                    yield ApiResource(
                        group_name,
                        version["version"],
                        kind,
                        each["resource"],
                        each.get("scope") == "Namespaced",
                    )


def _preferred_first(group: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    preferred = (group.get("preferredVersion") or {}).get("version")
    return sorted(group.get("versions") or (), key=lambda version: version["version"] != preferred)
