"""Schemas as the OpenAPI documents have them, in both versions of OpenAPI.

What belongs here: turning definitions and the schemas of CRDs into components. What does not: paths (`openapi_paths`),
documents (`openapi`).

Source: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-interface-definition
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from operatorkit.crd.kubernetes import REF_PREFIX, definitions

__all__ = ["V3_PREFIX", "crd_schemas", "model_name", "v2_definition", "v3_definitions"]

V3_PREFIX = "#/components/schemas/"
_GVK = "x-kubernetes-group-version-kind"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_ONE_OF = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": ("integer", "string"),
    "io.k8s.apimachinery.pkg.api.resource.Quantity": ("string", "number"),
}
# What OpenAPI v2 cannot say of a schema.
_V3_ONLY = {"oneOf", "anyOf", "allOf", "not", "nullable", "default"}
_CONVENTIONS = "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md"
_API_VERSION_TEXT = (
    "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized "
    "schemas to the latest internal value, and may reject unrecognized values. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources"
)
_KIND_TEXT = (
    "Kind is a string value representing the REST resource this object represents. Servers may infer this from the "
    "endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds"
)


def model_name(group: str, version: str, kind: str) -> str:
    """Return the name of a custom kind's schema: `com.example.v1.Thing`."""
    return ".".join([*reversed(group.split(".")), version, kind])


def v2_definition(schema: Any) -> Any:
    """Return a schema without what OpenAPI v2 does not have."""
    if isinstance(schema, list):
        return [v2_definition(it) for it in schema]
    if not isinstance(schema, dict):
        return schema
    dropped = set(_V3_ONLY)
    if schema.get("x-kubernetes-preserve-unknown-fields") is True:
        dropped |= {"properties", "items", "type"}
    if schema.get("x-kubernetes-int-or-string") is True:
        dropped |= {"type"}
    return {
        name: _children(name, it, v2_definition)
        for name, it in schema.items()
        if name not in dropped
    }


def _children(name: str, value: Any, change: Any) -> Any:
    """Apply a change to the schemas in a keyword's value; the names of properties are no keywords."""
    if name == "properties" and isinstance(value, dict):
        return {field: change(it) for field, it in value.items()}
    if name in {"items", "additionalProperties"} and isinstance(value, dict):
        return change(value)
    return value


def _v3(schema: Any) -> Any:
    """Return a schema of a definition as OpenAPI v3 has it: a reference has no siblings there."""
    if not isinstance(schema, dict):
        return schema
    changed = {name: _children(name, it, _v3) for name, it in schema.items()}
    target = changed.pop("$ref", None)
    if not isinstance(target, str):
        return changed
    reference = {"$ref": V3_PREFIX + target.removeprefix(REF_PREFIX)}
    return {"allOf": [reference], **changed} if changed else reference


@cache
def _v3_definition(name: str) -> Mapping[str, Any]:
    schema: dict[str, Any] = _v3(definitions()[name])
    if name in _ONE_OF:
        schema = {key: it for key, it in schema.items() if key != "type"}
        schema["oneOf"] = [{"type": it} for it in _ONE_OF[name]]
    return schema


@cache
def _references(name: str) -> frozenset[str]:
    """Return the names that a definition refers to."""

    def found(schema: Any) -> Iterator[str]:
        if isinstance(schema, dict):
            if isinstance(schema.get("$ref"), str):
                yield schema["$ref"].removeprefix(REF_PREFIX)
            for it in schema.values():
                yield from found(it)
        elif isinstance(schema, list):
            for it in schema:
                yield from found(it)

    return frozenset(found(definitions()[name]))


def v3_definitions(names: Iterable[str]) -> dict[str, Any]:
    """Return definitions, and all that they refer to, as OpenAPI v3 components."""
    waiting, result = list(names), {}
    while waiting:
        name = waiting.pop()
        if name not in result and name in definitions():
            result[name] = _v3_definition(name)
            waiting += _references(name)
    return dict(sorted(result.items()))


def crd_schemas(crd: Mapping[str, Any], version: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the schemas of a custom kind and of its list; `prefix` is what stands before the name in a reference."""
    spec = crd["spec"]
    group, kind = spec["group"], spec["names"]["kind"]
    name = model_name(group, version["name"], kind)
    gvk = {"group": group, "version": version["name"]}
    given = (version.get("schema") or {}).get("openAPIV3Schema") or {}
    schema = {**given, "properties": {**_type_meta(), **given.get("properties", {})}}
    schema["properties"]["metadata"] = _reference(
        f"{prefix}{_META}ObjectMeta",
        prefix,
        f"Standard object's metadata. More info: {_CONVENTIONS}#metadata",
    )
    list_kind = spec["names"].get("listKind") or f"{kind}List"
    text = f"List of {spec['names']['plural']}. More info: {_CONVENTIONS}"
    items = {"type": "array", "items": {"$ref": prefix + name}, "description": text}
    list_schema = {
        "description": f"{list_kind} is a list of {kind}",
        "type": "object",
        "required": ["items"],
        "properties": {
            **_type_meta(),
            "items": items,
            "metadata": _reference(f"{prefix}{_META}ListMeta", prefix, "Standard list metadata."),
        },
        _GVK: [{**gvk, "kind": list_kind}],
    }
    return {
        name: {"type": "object", **schema, _GVK: [{**gvk, "kind": kind}]},
        model_name(group, version["name"], list_kind): list_schema,
    }


def _type_meta() -> dict[str, Any]:
    return {
        "apiVersion": {"type": "string", "description": _API_VERSION_TEXT},
        "kind": {"type": "string", "description": _KIND_TEXT},
    }


def _reference(target: str, prefix: str, description: str) -> dict[str, Any]:
    if prefix == V3_PREFIX:
        return {"allOf": [{"$ref": target}], "description": description}
    return {"$ref": target, "description": description}
