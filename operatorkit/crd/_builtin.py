"""Kubernetes' own types as parts of custom resources.

What belongs here: structural schemas of the official client's models, from Kubernetes' OpenAPI
definitions. What does not: reading those definitions (`operatorkit.crd.kubernetes`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from operatorkit.crd._place import Place
from operatorkit.crd.kubernetes import KUBERNETES_VERSION, REF_PREFIX, definitions
from operatorkit.crd.text import QUANTITY_PATTERN

__all__ = ["official_part", "schema_of_official"]

Schema = dict[str, Any]

_INT_OR_STRING: Schema = {
    "anyOf": [{"type": "integer"}, {"type": "string"}],
    "x-kubernetes-int-or-string": True,
}
_ANYTHING: Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_SPECIAL: Mapping[str, Schema] = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": _INT_OR_STRING,
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {
        **_INT_OR_STRING,
        "pattern": QUANTITY_PATTERN,
    },
    "io.k8s.apimachinery.pkg.runtime.RawExtension": _ANYTHING,
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": _ANYTHING,
}
_KEPT = frozenset(
    [
        "type",
        "format",
        "enum",
        "items",
        "properties",
        "additionalProperties",
        "required",
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-map-type",
        "pattern",
        "minimum",
        "maximum",
    ]
)
_OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
# What a template can sensibly say of the objects that are made from it; the server sets the rest.
_TEMPLATE_META = ("annotations", "finalizers", "generateName", "labels", "name", "namespace")


def schema_of_official(model: type, place: Place) -> Schema:
    """Return the structural schema of a model of the official client, without descriptions.

    Raises DefinitionError for a model that the release of Kubernetes whose types ship here does not
    have.
    """
    name = _names().get(model.__name__)
    if name is None:
        raise place.error(
            f"{model.__name__} is not among the types of Kubernetes {KUBERNETES_VERSION}",
            "use a model of a stable API, or Annotated[dict[str, Any], PreserveUnknown()]",
        )
    return _resolved(name, ())


def official_part(model: type, name: str) -> Schema | None:
    """Return the structural schema of one property of a model, or None if the shipped types do not have it."""
    definition = _names().get(model.__name__)
    properties = definitions()[definition].get("properties", {}) if definition is not None else {}
    return _structural(properties[name], ()) if name in properties else None


@cache
def _names() -> Mapping[str, str]:
    """Return the definitions by the names of the client's models: version and kind, or with the group before that."""
    found: dict[str, str] = {}
    groups: dict[str, list[str]] = {}
    for name in definitions():
        parts = re.fullmatch(r".*\.([a-z0-9]+)\.(v\d+(?:(?:alpha|beta)\d+)?)\.(\w+)", name)
        if parts is None:
            continue
        group, version, kind = parts.groups()
        short = f"{version[0].upper()}{version[1:]}{kind}"
        groups.setdefault(short, []).append(name)
        found[f"{group[0].upper()}{group[1:]}{short}"] = name
    found |= {short: names[0] for short, names in groups.items() if len(names) == 1}
    return MappingProxyType(found)


def _resolved(name: str, inside: tuple[str, ...]) -> Schema:
    if name in _SPECIAL:
        return _copy(_SPECIAL[name])
    if name in inside:
        return _copy(_ANYTHING)
    definition: Mapping[str, Any] = definitions()[name]
    if name == _OBJECT_META and inside:
        properties = {key: definition["properties"][key] for key in _TEMPLATE_META}
        definition = {"type": "object", "properties": properties}
    return _structural(definition, (*inside, name))


def _structural(schema: Mapping[str, Any], inside: tuple[str, ...]) -> Schema:
    reference = schema.get("$ref")
    if reference is not None:
        result = _resolved(str(reference).removeprefix(REF_PREFIX), inside)
        if "x-kubernetes-map-type" in schema:
            result["x-kubernetes-map-type"] = schema["x-kubernetes-map-type"]
        return result
    result = {key: value for key, value in schema.items() if key in _KEPT}
    if schema.get("default"):
        result["default"] = schema["default"]
    if "properties" in schema:
        result["properties"] = {
            key: _structural(child, inside) for key, child in schema["properties"].items()
        }
    if "items" in schema:
        result["items"] = _structural(schema["items"], inside)
        _complete_keys(result)
    if isinstance(schema.get("additionalProperties"), Mapping):
        result["additionalProperties"] = _structural(schema["additionalProperties"], inside)
    if result.get("type") == "object" and not (
        "properties" in result or "additionalProperties" in result
    ):
        result["x-kubernetes-preserve-unknown-fields"] = True
    if "type" not in result:
        return {"x-kubernetes-preserve-unknown-fields": True}
    return dict(sorted(result.items()))


def _complete_keys(schema: Schema) -> None:
    """Give the keys of a map list the empty default that they have in Go, where nothing else makes them present."""
    items = schema["items"]
    for key in schema.get("x-kubernetes-list-map-keys", ()):
        child = items["properties"][key]
        if key not in items.get("required", ()) and "default" not in child:
            child["default"] = "" if child["type"] == "string" else 0


def _copy(schema: Mapping[str, Any]) -> Schema:
    return {
        key: [dict(each) for each in value] if isinstance(value, list) else value
        for key, value in schema.items()
    }
