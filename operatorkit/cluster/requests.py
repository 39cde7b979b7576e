"""Requests of `ClusterAPI` as HTTP has them, and the values that their answers become.

What belongs here: method, path, query, headers and body of an `ApiRequest`, and reading what the
server answers. What does not: sending it (`operatorkit.cluster.client`, and the in-process client
of the embedded control plane).

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from operatorkit.cluster._paths import (
    collection_path,
    object_path,
    selectors,
    watch_options,
    write_options,
)
from operatorkit.cluster.api import ApiRequest, JSONObject, ObjectList, PatchType
from operatorkit.errors import ClusterError
from operatorkit.names import ApiResource

__all__ = ["HttpRequest", "http_request", "metadata_of", "result_of"]

# Servers that do not know these representations answer with whole objects, of which the rest is dropped here.
_METADATA: Final = {
    "Accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
}
_METADATA_LIST: Final = {
    "Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
}


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One HTTP request; the path is quoted, the query is not. A `body` of bytes or text is sent as it is."""

    method: str
    path: str
    query: Mapping[str, str] | None = None
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


def http_request(request: ApiRequest) -> HttpRequest:
    """Return a request in the form of HTTP.

    Raises ValueError for a name or namespace that cannot be in a path, for a namespaced object
    without a namespace, and for a server-side apply without a field manager; TypeError for an
    unknown type of patch.
    """
    resource, options = request.resource, request.options
    if resource is None:
        return HttpRequest(
            str(request.name).upper(),
            request.path,
            options["query"],
            request.body,
            options["headers"] or {},
        )
    match request.function:
        case "list":
            headers = _METADATA_LIST if options["metadata_only"] else {}
            return HttpRequest(
                "GET",
                collection_path(resource, request.namespace),
                _list_query(options),
                None,
                headers,
            )
        case "watch":
            query = watch_options(options["resource_version"], options["timeout_seconds"])
            query |= selectors(options["label_selector"], options["field_selector"])
            headers = _METADATA if options["metadata_only"] else {}
            return HttpRequest(
                "GET", collection_path(resource, request.namespace), query, None, headers
            )
        case "create" if request.name is None:
            path = collection_path(resource, _namespace_of_new(resource, request))
        case _:
            path = object_path(resource, str(request.name), request.namespace, request.subresource)
    match request.function:
        case "create":
            return HttpRequest("POST", path, write_options(options), request.body)
        case "replace":
            return HttpRequest("PUT", path, write_options(options), request.body)
        case "patch":
            patch_type = PatchType(options["patch_type"])
            if patch_type is PatchType.APPLY and not options["field_manager"]:
                raise ValueError(
                    "server-side apply needs a field_manager: the name under which the fields are owned"
                )
            query = write_options(options) | ({"force": "true"} if options["force"] else {})
            return HttpRequest(
                "PATCH", path, query, request.body, {"Content-Type": patch_type.value}
            )
        case "delete":
            return HttpRequest("DELETE", path, None, _delete_options(options))
    return HttpRequest("GET", path)


def result_of(request: ApiRequest, answer: Any) -> Any:
    """Return what the method returns for a decoded answer. Raises ClusterError for one that is not an object."""
    resource = request.resource
    if resource is None:
        return answer
    if not isinstance(answer, dict):
        raise ClusterError(
            f"the API server answered with {type(answer).__name__} {str(answer)[:200]!r} where "
            f"an object was expected: check that this is the address of a Kubernetes API"
        )
    if request.function != "list":
        return answer
    item_of = metadata_of if request.options["metadata_only"] else _named
    metadata = answer.get("metadata") or {}
    return ObjectList(
        [item_of(item, resource) for item in answer.get("items") or ()],
        str(metadata.get("resourceVersion") or ""),
        str(metadata.get("continue") or ""),
    )


def metadata_of(item: JSONObject, resource: ApiResource) -> JSONObject:
    """Return the metadata of an object under the object's own kind, whatever representation the server chose."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": item.get("metadata") or {},
    }


def _named(item: JSONObject, resource: ApiResource) -> JSONObject:
    """Give an item of a list the apiVersion and kind that the server leaves to the list."""
    return (
        item
        if "kind" in item
        else {"apiVersion": resource.api_version, "kind": resource.kind, **item}
    )


def _list_query(options: Mapping[str, Any]) -> dict[str, str]:
    query = {"limit": str(options["limit"] or ""), "continue": options["continue_token"]}
    query = selectors(options["label_selector"], options["field_selector"]) | {
        key: value for key, value in query.items() if value
    }
    # A continue token names the resource version of its list already, and the server rejects both together.
    if options["resource_version"] is not None and not options["continue_token"]:
        query["resourceVersion"] = options["resource_version"]
    return query


def _namespace_of_new(resource: ApiResource, request: ApiRequest) -> str | None:
    namespace = request.namespace or (request.body.get("metadata") or {}).get("namespace")
    if resource.namespaced and not namespace:
        raise ValueError(
            f"creating a {resource.kind} needs a namespace: {resource.kind} is a namespaced kind"
        )
    return namespace


def _delete_options(options: Mapping[str, Any]) -> JSONObject | None:
    preconditions = {"uid": options["uid"], "resourceVersion": options["resource_version"]}
    preconditions = {key: value for key, value in preconditions.items() if value is not None}
    body = {
        "propagationPolicy": options["propagation"],
        "gracePeriodSeconds": options["grace_period_seconds"],
        "preconditions": preconditions or None,
        "dryRun": ["All"] if options["dry_run"] else None,
    }
    body = {key: value for key, value in body.items() if value is not None}
    return {"apiVersion": "v1", "kind": "DeleteOptions", **body} if body else None
