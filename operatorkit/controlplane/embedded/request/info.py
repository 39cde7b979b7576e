"""What a request is about, read from its URL.

What belongs here: splitting a path into group, version, namespace, resource, name and subresource, and finding the
verb by which RBAC knows the request. What does not: whether the resource exists.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote

from operatorkit.controlplane.embedded.request.options import flag

__all__ = ["RequestInfo", "read_request_info", "verb_of"]

# parts of a namespace that are not resources inside it
_NAMESPACE_PARTS = frozenset({"status", "finalize"})
_NO_NAMES = frozenset({"", ".", ".."})
_VERBS = {
    "POST": "create",
    "GET": "get",
    "HEAD": "get",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}


class RequestInfo(NamedTuple):
    """The URL of a collection, an object or a part of one; `plural` is empty for any other URL."""

    path: str
    group: str = ""
    version: str = ""
    namespace: str = ""
    plural: str = ""
    name: str = ""
    subresource: str = ""
    watch: bool = False  # by the old /watch/ prefix
    rest: tuple[str, ...] = ()  # below a subresource, such as what proxy is to call


def read_request_info(raw_path: str) -> RequestInfo:
    """Read the path of a URL, still percent-encoded. Never fails: what is no resource has no `plural`."""
    path, parts = raw_path, raw_path.removesuffix("/").split("/")[1:]
    if "%" in raw_path:  # seldom, and decoding each part of each path is dear
        path, parts = unquote(path), [unquote(part) for part in parts]
        if any("/" in part or "\0" in part for part in parts):
            return RequestInfo(path)
    if not _NO_NAMES.isdisjoint(parts):
        return RequestInfo(path)
    if len(parts) > 2 and parts[0] == "api":
        group, version, parts = "", parts[1], parts[2:]
    elif len(parts) > 3 and parts[0] == "apis":
        group, version, parts = parts[1], parts[2], parts[3:]
    else:
        return RequestInfo(path)
    watch = parts[0] == "watch"
    if watch:
        parts = parts[1:]
    namespace = ""
    if len(parts) > 2 and parts[0] == "namespaces" and parts[2] not in _NAMESPACE_PARTS:
        namespace, parts = parts[1], parts[2:]
    elif len(parts) > 1 and parts[0] == "namespaces":
        namespace = parts[1]  # a namespace is inside itself, as RBAC sees it
    if not parts:
        return RequestInfo(path)
    plural, name, subresource, *rest = parts if len(parts) >= 3 else (*parts, "", "")[:3]
    return RequestInfo(
        path, group, version, namespace, plural, name, subresource, watch, tuple(rest)
    )


def verb_of(method: str, info: RequestInfo, query: Mapping[str, str]) -> str:
    """Return the verb of a request as RBAC and the audit log name it."""
    if not info.plural:
        return method.lower()
    verb = _VERBS.get(method, method.lower())
    if verb == "get" and not info.subresource:
        if info.watch or (not info.name and "watch" in query and flag(query, "watch")):
            return "watch"
        if not info.name:
            return "list"
    if verb == "delete" and not info.name:
        return "deletecollection"
    return verb
