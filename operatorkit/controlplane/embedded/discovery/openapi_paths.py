"""The paths and operations of resources as the OpenAPI documents have them.

What belongs here: which operations a resource has, with which parameters, bodies and answers, in OpenAPI v3; and the
translation of an operation into OpenAPI v2. What does not: schemas (`openapi_schemas`), documents (`openapi`).

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from operatorkit.controlplane.embedded.discovery.openapi_schemas import V3_PREFIX
from operatorkit.crd.kubernetes import REF_PREFIX
from operatorkit.names import GroupVersionKind

__all__ = ["Endpoint", "paths_of", "v2_operation"]

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_PATCHES = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
)
_STRATEGIC = "application/strategic-merge-patch+json"
_WRITE = ("dryRun", "fieldManager", "fieldValidation")
_LIST = (
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
)
_DELETE = ("dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy")
_TYPES = {
    "allowWatchBookmarks": "boolean",
    "force": "boolean",
    "gracePeriodSeconds": "integer",
    "limit": "integer",
    "orphanDependents": "boolean",
    "sendInitialEvents": "boolean",
    "timeoutSeconds": "integer",
    "watch": "boolean",
}
_TEXTS = {
    "allowWatchBookmarks": "Request events of type BOOKMARK in a watch.",
    "continue": "The continue token of the previous page of a list.",
    "dryRun": "All: process the request without storing the change.",
    "fieldManager": "The field manager of the change; required for apply.",
    "fieldSelector": "Restrict the list to objects whose fields have these values.",
    "fieldValidation": "Ignore, Warn or Strict: how to treat unknown and duplicate fields.",
    "force": "Take ownership of fields of other field managers; for apply only.",
    "gracePeriodSeconds": "Seconds before the object is deleted; zero means immediately.",
    "labelSelector": "Restrict the list to objects whose labels match.",
    "limit": "The maximum number of objects in one response.",
    "orphanDependents": "Deprecated: use propagationPolicy.",
    "pretty": "Pretty-print the response.",
    "propagationPolicy": "Orphan, Background or Foreground: how to treat dependents.",
    "resourceVersion": "The requested state of the collection.",
    "resourceVersionMatch": "How to interpret resourceVersion.",
    "sendInitialEvents": "Begin a watch with the existing objects.",
    "timeoutSeconds": "Limit the duration of the request, in seconds.",
    "watch": "Watch for changes instead of listing.",
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A resource, or a subresource of it, as its operations need it.

    `kind` is what the operations speak of and `model` the name of its schema; `list_model` that of its list. `at` is
    the kind of the resource itself, which names the operations. `builtin` kinds take strategic merge patches.
    """

    kind: GroupVersionKind
    at: GroupVersionKind
    plural: str
    namespaced: bool
    verbs: frozenset[str]
    model: str
    list_model: str = ""
    subresource: str = ""
    builtin: bool = True


def paths_of(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """Return the paths of endpoints, with their operations, in OpenAPI v3."""
    return dict(sorted(found for endpoint in endpoints for found in _paths(endpoint)))


def _root(kind: GroupVersionKind) -> str:
    return f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"


def _paths(endpoint: Endpoint) -> Iterator[tuple[str, Any]]:
    root = _root(endpoint.at)
    collection = (
        f"{root}/namespaces/{{namespace}}/{endpoint.plural}"
        if endpoint.namespaced
        else f"{root}/{endpoint.plural}"
    )
    if endpoint.subresource:
        item = _item(
            endpoint, (("get", "get"), ("create", "post"), ("update", "put"), ("patch", "patch"))
        )
        yield f"{collection}/{{name}}/{endpoint.subresource}", item
        return
    many = (("list", "get"), ("create", "post"), ("deletecollection", "delete"))
    if endpoint.verbs & {it for it, _ in many}:
        yield collection, _item(endpoint, many, named=False)
    if endpoint.namespaced and "list" in endpoint.verbs:
        yield (
            f"{root}/{endpoint.plural}",
            _item(endpoint, (("list", "get"),), named=False, namespaced=False),
        )
    one = (("get", "get"), ("update", "put"), ("patch", "patch"), ("delete", "delete"))
    if endpoint.verbs & {it for it, _ in one}:
        yield f"{collection}/{{name}}", _item(endpoint, one)


def _item(
    endpoint: Endpoint,
    verbs: Iterable[tuple[str, str]],
    *,
    named: bool = True,
    namespaced: bool | None = None,
) -> dict[str, Any]:
    inside = endpoint.namespaced if namespaced is None else namespaced
    item: dict[str, Any] = {
        method: _operation(endpoint, verb, inside=inside)
        for verb, method in verbs
        if verb in endpoint.verbs
    }
    parameters = [_path_parameter("name", f"name of the {endpoint.at.kind}")] if named else []
    if inside:
        parameters.append(
            _path_parameter(
                "namespace", "object name and auth scope, such as for teams and projects"
            )
        )
    item["parameters"] = [*parameters, _query_parameter("pretty")]
    return item


def _path_parameter(name: str, text: str) -> dict[str, Any]:
    schema = {"type": "string", "uniqueItems": True}
    return {"name": name, "in": "path", "description": text, "required": True, "schema": schema}


def _query_parameter(name: str) -> dict[str, Any]:
    schema = {"type": _TYPES.get(name, "string"), "uniqueItems": True}
    return {"name": name, "in": "query", "description": _TEXTS[name], "schema": schema}


_WHAT = {
    "get": ("read", "read the specified {}", "get", ()),
    "list": ("list", "list or watch objects of kind {}", "list", _LIST),
    "create": ("create", "create a {}", "post", _WRITE),
    "update": ("replace", "replace the specified {}", "put", _WRITE),
    "patch": ("patch", "partially update the specified {}", "patch", (*_WRITE, "force")),
    "delete": ("delete", "delete a {}", "delete", _DELETE),
    "deletecollection": (
        "delete",
        "delete collection of {}",
        "deletecollection",
        (*_LIST[1:9], *_DELETE),
    ),
}


def _operation(endpoint: Endpoint, verb: str, *, inside: bool) -> dict[str, Any]:
    word, text, action, parameters = _WHAT[verb]
    words = endpoint.at.group.removesuffix(".k8s.io").split(".") if endpoint.at.group else ["core"]
    group = "".join(f"{it[:1].upper()}{it[1:]}" for it in words)
    place = "Namespaced" if inside else ""
    across = "ForAllNamespaces" if endpoint.namespaced and not inside else ""
    part = "".join(it.capitalize() for it in endpoint.subresource.split("/"))
    version = endpoint.at.version.capitalize()
    many = "Collection" if verb == "deletecollection" else ""
    names = sorted(set(parameters))
    operation: dict[str, Any] = {
        "tags": [f"{group[:1].lower()}{group[1:]}_{endpoint.at.version}"],
        "description": text.format(endpoint.at.kind),
        "operationId": f"{word}{group}{version}{many}{place}{endpoint.at.kind}{part}{across}",
        "responses": _responses(endpoint, verb),
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {
            "group": endpoint.kind.group,
            "version": endpoint.kind.version,
            "kind": endpoint.kind.kind,
        },
    }
    if names:
        operation["parameters"] = [_query_parameter(it) for it in names]
    body = _body(endpoint, verb)
    if body:
        operation["requestBody"] = body
    return operation


def _schema(name: str) -> dict[str, Any]:
    return {"schema": {"$ref": V3_PREFIX + name}}


def _body(endpoint: Endpoint, verb: str) -> dict[str, Any] | None:
    match verb:
        case "create" | "update":
            media = "*/*" if endpoint.builtin else "application/json"
            return {"content": {media: _schema(endpoint.model)}, "required": True}
        case "patch":
            kinds = (*_PATCHES, _STRATEGIC) if endpoint.builtin else _PATCHES
            return {"content": {it: _schema(f"{_META}Patch") for it in kinds}, "required": True}
        case "delete" | "deletecollection":
            return {"content": {"*/*": _schema(f"{_META}DeleteOptions")}}
    return None


def _responses(endpoint: Endpoint, verb: str) -> dict[str, Any]:
    model = {
        "list": endpoint.list_model,
        "delete": f"{_META}Status",
        "deletecollection": f"{_META}Status",
    }
    content = {
        it: _schema(model.get(verb, endpoint.model))
        for it in ("application/json", "application/yaml")
    }
    codes = {"200": "OK"}
    if verb in {"create", "update", "patch"}:
        codes["201"] = "Created"
    if verb in {"create", "delete"}:
        codes["202"] = "Accepted"
    answers: dict[str, Any] = {
        code: {"description": text, "content": content} for code, text in codes.items()
    }
    return {**answers, "401": {"description": "Unauthorized"}}


def v2_operation(operation: Mapping[str, Any]) -> dict[str, Any]:
    """Return an operation, or a list of parameters under `parameters`, in OpenAPI v2."""
    result = {
        name: it
        for name, it in operation.items()
        if name not in {"requestBody", "parameters", "responses"}
    }
    parameters = [_v2_parameter(it) for it in operation.get("parameters", ())]
    body = operation.get("requestBody")
    if body:
        content = body["content"]
        schema = _v2_reference(next(iter(content.values()))["schema"])
        parameters.append(
            {
                "name": "body",
                "in": "body",
                "required": body.get("required", False),
                "schema": schema,
            }
        )
        result["consumes"] = list(content)
    if parameters:
        result["parameters"] = parameters
    if "responses" in operation:
        result["produces"] = ["application/json", "application/yaml"]
        result["schemes"] = ["https"]
        result["responses"] = {
            code: _v2_response(it) for code, it in operation["responses"].items()
        }
    return result


def _v2_parameter(parameter: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: it for name, it in parameter.items() if name != "schema"},
        **parameter["schema"],
    }


def _v2_reference(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"$ref": REF_PREFIX + schema["$ref"].removeprefix(V3_PREFIX)}


def _v2_response(response: Mapping[str, Any]) -> dict[str, Any]:
    content = response.get("content")
    if not content:
        return dict(response)
    return {
        "description": response["description"],
        "schema": _v2_reference(content["application/json"]["schema"]),
    }
