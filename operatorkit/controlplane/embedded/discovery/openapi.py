"""The OpenAPI documents: `/openapi/v2`, the index `/openapi/v3`, and one document for each group and version below it.

`kubectl explain`, `kubectl apply` (which patch; whether the server validates fields) and `kubectl create` read them.
A `Documents` is made for a set of CRDs; when that changes, make another. What is the same for all of them, the built-in
kinds, is built once. Everything is built when it is first asked for.

Source: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-interface-definition
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property
from typing import Any

from operatorkit.controlplane.embedded.discovery.openapi_paths import (
    Endpoint,
    paths_of,
    v2_operation,
)
from operatorkit.controlplane.embedded.discovery.openapi_schemas import (
    V3_PREFIX,
    crd_schemas,
    model_name,
    v2_definition,
    v3_definitions,
)
from operatorkit.controlplane.embedded.registry.table import Registry
from operatorkit.controlplane.embedded.scheme.resources import BuiltinResource, builtin_resources
from operatorkit.crd.kubernetes import REF_PREFIX, definitions, kinds
from operatorkit.names import GroupVersionKind

__all__ = [
    "PROTOBUF_V2",
    "PROTOBUF_V2_MEDIA",
    "Documents",
    "ServedDocuments",
    "etag",
    "wants_protobuf",
]

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_INFO = {"title": "Kubernetes", "version": "1.36"}
_ALL_VERBS = frozenset({"get", "list", "create", "update", "patch", "delete", "deletecollection"})
_CHANGE_VERBS = frozenset({"get", "update", "patch"})
_TOKEN = {
    "type": "apiKey",
    "description": "Bearer Token authentication",
    "name": "authorization",
    "in": "header",
}


def etag(document: bytes) -> str:
    """Return the hash that identifies a document, as the index and the ETag header have it."""
    return hashlib.sha512(document).hexdigest().upper()


def _encode(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


class Documents:
    """The documents of a server with the built-in kinds and some custom ones.

    `crds` are the CustomResourceDefinitions that are established, as they are stored.
    """

    def __init__(self, crds: Iterable[Mapping[str, Any]] = ()) -> None:
        self._crds = list(crds)
        self._v3: dict[str, bytes] = {}

    @cached_property
    def v2(self) -> bytes:
        """The document of OpenAPI v2: everything."""
        schemas = dict(_builtin_v2_definitions())
        endpoints = [it for path in _builtin_paths() for it in _builtin_endpoints(path)]
        for crd, version in self._versions():
            found = crd_schemas(crd, version, REF_PREFIX)
            schemas |= {name: v2_definition(it) for name, it in found.items()}
            endpoints += _crd_endpoints(crd, version)
        document = {
            "swagger": "2.0",
            "info": _INFO,
            "paths": {path: _v2_item(item) for path, item in paths_of(endpoints).items()},
            "definitions": schemas,
            "securityDefinitions": {"BearerToken": _TOKEN},
            "security": [{"BearerToken": []}],
        }
        return _encode(document)

    @cached_property
    def v3_index(self) -> bytes:
        """The index of the documents of OpenAPI v3, with the hash of each in its URL."""
        paths = {}
        for path in sorted({*_builtin_paths(), *self._crd_paths()}):
            document = self.v3(path)
            assert document is not None
            paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={etag(document)}"}
        return _encode({"paths": paths})

    def v3(self, path: str) -> bytes | None:
        """Return the document of a group and version (`apis/apps/v1`, `api/v1`), or None when it is not served."""
        custom = self._crd_paths().get(path, ())
        if not custom:
            return _builtin_v3(path) if path in _builtin_paths() else None
        if path not in self._v3:
            self._v3[path] = self._custom_v3(path, custom)
        return self._v3[path]

    def _custom_v3(
        self, path: str, custom: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]
    ) -> bytes:
        endpoints = [
            *_builtin_endpoints(path),
            *(it for found in custom for it in _crd_endpoints(*found)),
        ]
        schemas = v3_definitions(
            [*_models(endpoints), f"{_META}ObjectMeta", f"{_META}ListMeta", *_COMMON]
        )
        for crd, version in custom:
            schemas |= crd_schemas(crd, version, V3_PREFIX)
        return _v3_document(endpoints, schemas)

    def _versions(self) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
        for crd in self._crds:
            for version in crd["spec"]["versions"]:
                if version.get("served"):
                    yield crd, version

    def _crd_paths(self) -> dict[str, list[tuple[Mapping[str, Any], Mapping[str, Any]]]]:
        result: dict[str, list[tuple[Mapping[str, Any], Mapping[str, Any]]]] = {}
        for crd, version in self._versions():
            result.setdefault(f"apis/{crd['spec']['group']}/{version['name']}", []).append(
                (crd, version)
            )
        return result


class ServedDocuments:
    """The documents of a registry, always those of what it serves now."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._generation = -1
        self._documents = Documents()

    def document(self, path: str) -> bytes | None:
        """Return the document at a path, `/openapi/v3/apis/apps/v1` for example, or None when there is none."""
        generation = self._registry.generation
        if self._generation != generation:
            crds = {it.qualified: it.crd for it in self._registry.resources() if it.crd}
            self._documents = Documents(crds[name] for name in sorted(crds))
            self._generation = generation  # last: others may ask in other threads
        match path:
            case "/openapi/v2":
                return self._documents.v2
            case "/openapi/v3":
                return self._documents.v3_index
        return (
            self._documents.v3(path.removeprefix("/openapi/v3/"))
            if path.startswith("/openapi/v3/")
            else None
        )


PROTOBUF_V2_MEDIA = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
PROTOBUF_V2 = b"\x0a\x032.0\x12\x12\x0a\x0aKubernetes\x12\x041.36"
"""The second version of OpenAPI as Kubernetes' Go clients ask for it, without any kind in it.

kubectl asks for it only about a kind that it has not found in the third version, and needs the answer to be able to say
that there is no such kind. Source: https://github.com/google/gnostic-models/blob/main/openapiv2/OpenAPIv2.proto
(Document: 1 swagger, 2 info; Info: 1 title, 2 version).
"""


def wants_protobuf(accept: str) -> bool:
    """Whether a client accepts OpenAPI in protobuf only."""
    return (
        "application/com.github.proto-openapi.spec.v2" in accept
        and "json" not in accept
        and "*/*" not in accept
    )


_COMMON = tuple(_META + it for it in ("DeleteOptions", "Patch", "Status"))


def _v3_document(endpoints: Sequence[Endpoint], schemas: Mapping[str, Any]) -> bytes:
    return _encode(
        {
            "openapi": "3.0.0",
            "info": _INFO,
            "paths": paths_of(endpoints),
            "components": {"schemas": schemas, "securitySchemes": {"BearerToken": _TOKEN}},
        }
    )


def _v2_item(item: Mapping[str, Any]) -> dict[str, Any]:
    result = {method: v2_operation(it) for method, it in item.items() if method != "parameters"}
    return {**result, **v2_operation({"parameters": item["parameters"]})}


# ------------------------------------------------------------------------------------------------------ built-in kinds


@cache
def _builtin_paths() -> Mapping[str, tuple[BuiltinResource, ...]]:
    result: dict[str, tuple[BuiltinResource, ...]] = {}
    for it in builtin_resources():
        path = f"apis/{it.group}/{it.version}" if it.group else f"api/{it.version}"
        result[path] = (*result.get(path, ()), it)
    return result


@cache
def _builtin_v2_definitions() -> Mapping[str, Any]:
    return {name: v2_definition(it) for name, it in definitions().items()}


@cache
def _builtin_endpoints(path: str) -> tuple[Endpoint, ...]:
    return tuple(
        it for resource in _builtin_paths().get(path, ()) for it in _endpoints_of(resource)
    )


def _endpoints_of(resource: BuiltinResource) -> Iterator[Endpoint]:
    model = kinds()[resource.gvk]
    list_kind = GroupVersionKind(resource.group, resource.version, f"{resource.kind}List")
    if resource.verbs:
        yield Endpoint(
            kind=resource.gvk,
            at=resource.gvk,
            plural=resource.plural,
            namespaced=resource.namespaced,
            verbs=frozenset(resource.verbs) & _ALL_VERBS,
            model=model,
            list_model=kinds().get(list_kind, model),
        )
    for it in resource.subresources:
        kind = GroupVersionKind(it.group, it.version, it.kind)
        if kind in kinds() and it.name != "proxy":
            yield Endpoint(
                kind=kind,
                at=resource.gvk,
                plural=resource.plural,
                namespaced=resource.namespaced,
                verbs=frozenset(it.verbs) & _ALL_VERBS,
                model=kinds()[kind],
                subresource=it.name,
            )


def _models(endpoints: Iterable[Endpoint]) -> Iterator[str]:
    for it in endpoints:
        yield it.model
        if it.list_model:
            yield it.list_model


@cache
def _builtin_v3(path: str) -> bytes:
    endpoints = _builtin_endpoints(path)
    return _v3_document(endpoints, v3_definitions([*_models(endpoints), *_COMMON]))


# -------------------------------------------------------------------------------------------------------- custom kinds


def _crd_endpoints(crd: Mapping[str, Any], version: Mapping[str, Any]) -> Iterator[Endpoint]:
    spec = crd["spec"]
    names, group = spec["names"], spec["group"]
    kind = GroupVersionKind(group, version["name"], names["kind"])
    own = {
        "at": kind,
        "plural": names["plural"],
        "namespaced": spec.get("scope") == "Namespaced",
        "builtin": False,
    }
    model = model_name(group, version["name"], names["kind"])
    list_model = model_name(group, version["name"], names.get("listKind") or f"{names['kind']}List")
    yield Endpoint(kind=kind, verbs=_ALL_VERBS, model=model, list_model=list_model, **own)
    subresources = version.get("subresources") or {}
    if "status" in subresources:
        yield Endpoint(kind=kind, verbs=_CHANGE_VERBS, model=model, subresource="status", **own)
    if "scale" in subresources:
        scale = GroupVersionKind("autoscaling", "v1", "Scale")
        yield Endpoint(
            kind=scale, verbs=_CHANGE_VERBS, model=kinds()[scale], subresource="scale", **own
        )
