"""The paths of the REST API: which operation a method and a path mean.

What belongs here: the table of paths. What does not: bodies and answers (`rest`). Pure.

    /{version}/projects[/P]
    /{version}/projects/P[/locations/L]/notes[/N[/occurrences]]              ...:batchCreate
    /{version}/projects/P[/locations/L]/occurrences[/O[/notes]]              ...:batchCreate, :vulnerabilitySummary
    /v1/changes
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast
from urllib.parse import unquote

from operators.attestation.server.errors import ApiError
from operators.attestation.server.names import Collection
from operators.attestation.server.versions import VERSIONS, Version

__all__ = ["Operation", "Route", "find_route"]

Operation = Literal[
    "Create",
    "BatchCreate",
    "Get",
    "List",
    "Update",
    "Delete",
    "ListNoteOccurrences",
    "GetOccurrenceNote",
    "VulnerabilitySummary",
    "CreateProject",
    "GetProject",
    "ListProjects",
    "DeleteProject",
    "Changes",
]

_ON_COLLECTION: dict[tuple[str, str], Operation] = {
    ("GET", ""): "List",
    ("POST", ""): "Create",
    ("POST", "batchCreate"): "BatchCreate",
    ("GET", "vulnerabilitySummary"): "VulnerabilitySummary",
}
_ON_OBJECT: dict[str, Operation] = {"GET": "Get", "PATCH": "Update", "DELETE": "Delete"}
_ON_PROJECTS: dict[tuple[str, int], Operation] = {
    ("POST", 1): "CreateProject",
    ("GET", 1): "ListProjects",
    ("GET", 2): "GetProject",
    ("DELETE", 2): "DeleteProject",
}


@dataclass(frozen=True, slots=True)
class Route:
    """An operation and what it is about: `target` is a parent, or the name of an object; not yet checked."""

    version: Version
    operation: Operation
    target: str = ""
    collection: Collection = "notes"


def find_route(method: str, raw_path: str) -> Route:
    """Return what a request means. Raises ApiError when there is no such path, or no such method at it."""
    segments = [unquote(segment) for segment in raw_path.removeprefix("/").split("/")]
    version, rest = segments[0], segments[1:]
    if version not in VERSIONS or not rest or any("/" in segment for segment in segments):
        raise _not_found(raw_path)
    route = _route(version, method, rest)
    if route is None:
        raise _not_found(raw_path, method)
    return route


def _route(version: Version, method: str, segments: list[str]) -> Route | None:
    if segments == ["changes"] and version == "v1" and method == "GET":
        return Route(version, "Changes")
    if segments[0] != "projects":
        return None
    if len(segments) <= 2:
        operation = _ON_PROJECTS.get((method, len(segments)))
        return (
            None
            if operation is None
            else Route(version, operation, "/".join(segments) if len(segments) == 2 else "")
        )
    count = 4 if segments[2] == "locations" else 2
    parent, rest = "/".join(segments[:count]), segments[count:]
    if not 1 <= len(rest) <= 3:
        return None
    name, _, verb = rest[0].partition(":")
    if name not in {"notes", "occurrences"}:
        return None
    collection = cast("Collection", name)
    if len(rest) == 1:
        operation = _ON_COLLECTION.get((method, verb))
        if operation == "VulnerabilitySummary" and (collection, version) != (
            "occurrences",
            "v1beta1",
        ):
            return None
        return None if operation is None else Route(version, operation, parent, collection)
    target = f"{parent}/{rest[0]}/{rest[1]}"
    if len(rest) == 2:
        operation = _ON_OBJECT.get(method)
        return None if operation is None or verb else Route(version, operation, target, collection)
    crossing: dict[tuple[str, str, str], Operation] = {
        ("GET", "notes", "occurrences"): "ListNoteOccurrences",
        ("GET", "occurrences", "notes"): "GetOccurrenceNote",
    }
    operation = crossing.get((method, rest[0], rest[2]))
    return None if operation is None else Route(version, operation, target, collection)


def _not_found(path: str, method: str = "") -> ApiError:
    what = f"{method} {path}" if method else path
    return ApiError(
        "NOT_FOUND",
        f"{what[:300]} is not a path of this API: see /v1, /v1beta1 and /v1alpha1 in docs/reference/attestation.md",
    )
