"""Paths and queries of requests to a Kubernetes API.

What belongs here: building them, and rejecting names that would make a path another one. What does
not: sending them (`operatorkit.cluster.client`).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from operatorkit.cluster._jitter import JITTER
from operatorkit.names import ApiResource

__all__ = [
    "collection_path",
    "object_path",
    "query_text",
    "segment",
    "selectors",
    "watch_options",
    "write_options",
]

_PLAIN_SEGMENT: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


@functools.lru_cache(maxsize=256)
def query_text(query: tuple[tuple[str, str], ...]) -> str:
    """Write a query; most requests repeat one."""
    return urlencode(query, quote_via=quote)


@functools.lru_cache(maxsize=1024)
def collection_path(resource: ApiResource, namespace: str | None) -> str:
    """Return the path of a collection. Raises ValueError for a namespace that cannot be in a path."""
    return resource.path(
        namespace=segment(namespace, "namespace") if namespace is not None else None
    )


def object_path(
    resource: ApiResource, name: str, namespace: str | None, subresource: str | None
) -> str:
    """Return the path of an object or of a subresource. Raises ValueError for a name that cannot be in a path."""
    if resource.namespaced and not namespace:
        raise ValueError(
            f"{resource.kind} {name!r} needs a namespace: {resource.kind} is a namespaced kind"
        )
    path = f"{collection_path(resource, namespace)}/{segment(name, 'name')}"
    return path if subresource is None else f"{path}/{subresource}"


def segment(text: str, what: str) -> str:
    """Quote one segment of a path. Raises ValueError for what would make it another path."""
    if _PLAIN_SEGMENT.fullmatch(text):
        return text
    if not text or text in {".", ".."} or "/" in text or "%" in text:
        raise ValueError(
            f"{text!r} is not a {what}: it must not be empty, '.' or '..', or contain '/' or '%'"
        )
    return quote(text, safe=":@!$&'()*+,;=")


def watch_options(resource_version: str, timeout_seconds: int | None) -> dict[str, str]:
    """Return the query of a watch."""
    # spread, so that the watches of many clients do not all end at the same moment
    seconds = timeout_seconds or JITTER.randint(300, 600)
    return {
        "watch": "1",
        "allowWatchBookmarks": "true",
        "resourceVersion": resource_version,
        "timeoutSeconds": str(seconds),
    }


def selectors(label_selector: str, field_selector: str) -> dict[str, str]:
    """Return the query of selectors, without empty ones."""
    given = {"labelSelector": label_selector, "fieldSelector": field_selector}
    return {key: value for key, value in given.items() if value}


def write_options(options: Mapping[str, Any]) -> dict[str, str]:
    """Return the query of a write."""
    query = {"fieldManager": str(options["field_manager"])} if options["field_manager"] else {}
    return query | ({"dryRun": "All"} if options["dry_run"] else {})
