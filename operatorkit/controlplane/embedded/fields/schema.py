"""A type as a merge sees it.

A `TypeSchema` says which forms a value may have (scalar, list, map), and for lists and maps whether they are merged
part by part or replaced as a whole. It comes from Kubernetes' definitions (`of_kind`), from a version of a CRD
(`of_structural`), or is deduced from the values where there is no schema (`DEDUCED`).

Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from operatorkit.crd.kubernetes import REF_PREFIX, definitions, kinds
from operatorkit.names import GroupVersionKind

__all__ = [
    "DEDUCED",
    "UNTYPED",
    "Field",
    "ListType",
    "MapType",
    "Scalar",
    "TypeSchema",
    "of_kind",
    "of_structural",
]

Scalar = Literal["string", "numeric", "boolean", "untyped"]

_OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_RAW_EXTENSION = "io.k8s.apimachinery.pkg.runtime.RawExtension"


@dataclass(slots=True, eq=False)
class TypeSchema:
    """The forms that a value may have; several only where the type is open."""

    scalar: Scalar | None = None
    list: ListType | None = None
    map: MapType | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ListType:
    """A list. With `keys` an item is found by the values of these fields; without, and not atomic, it is a set."""

    items: TypeSchema
    atomic: bool
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """A declared field of a map; `default` counts where the field is a key of a list."""

    type: TypeSchema
    default: Any = None


@dataclass(frozen=True, slots=True, eq=False)
class MapType:
    """A map: declared fields, and `element` for all others; None where others are an error."""

    fields: Mapping[str, Field]
    element: TypeSchema | None
    atomic: bool

    def at(self, name: str) -> TypeSchema | None:
        """Return the type of an entry."""
        declared = self.fields.get(name)
        return declared.type if declared else self.element


UNTYPED = TypeSchema("untyped")
"""Any value, replaced as a whole."""
UNTYPED.list = ListType(UNTYPED, atomic=True)
UNTYPED.map = MapType({}, UNTYPED, atomic=True)

DEDUCED = TypeSchema("untyped", ListType(UNTYPED, atomic=True))
"""Any value; maps are merged entry by entry, lists are replaced as a whole."""
DEDUCED.map = MapType({}, DEDUCED, atomic=False)


@cache
def of_kind(gvk: GroupVersionKind) -> TypeSchema | None:
    """Return the type of a built-in kind, or None when it is not built in."""
    name = kinds().get(gvk)
    return _named(name) if name else None


def of_structural(schema: Mapping[str, Any], *, preserve_unknown: bool = False) -> TypeSchema:
    """Return the type of a CRD's version from its `openAPIV3Schema`.

    Types, `apiVersion`, `kind` and `metadata` are added as the server adds them, so that the schema need not have them.
    """
    return _Reader(preserve_unknown).type_of(_embedded(schema))


def _embedded(schema: Mapping[str, Any]) -> dict[str, Any]:
    text = {"type": "string"}
    own = {name: it for name, it in schema.get("properties", {}).items() if name != "metadata"}
    properties = {
        "apiVersion": text,
        "kind": text,
        **own,
        "metadata": {"$ref": REF_PREFIX + _OBJECT_META},
    }
    return {**schema, "type": "object", "properties": properties}


_types: dict[str, TypeSchema] = {}


def _named(name: str) -> TypeSchema:
    """Return the type of a definition; recursive definitions meet the same, still unfinished, type again."""
    if name in _types:
        return _types[name]
    shell = _types[name] = TypeSchema()
    if name == _QUANTITY:
        shell.scalar = "untyped"
    elif name == _RAW_EXTENSION:
        shell.scalar, shell.list, shell.map = UNTYPED.scalar, UNTYPED.list, UNTYPED.map
    else:
        read = _Reader(preserve_unknown=False).type_of(definitions()[name])
        shell.scalar, shell.list, shell.map = read.scalar, read.list, read.map
    return shell


class _Reader:
    """Reads schemas; remembers whether an enclosing schema keeps unknown fields."""

    def __init__(self, preserve_unknown: bool) -> None:
        self._preserve = preserve_unknown

    def type_of(self, schema: Mapping[str, Any]) -> TypeSchema:
        target = schema.get("$ref")
        if isinstance(target, str):
            named = _named(target.removeprefix(REF_PREFIX))
            if "x-kubernetes-map-type" in schema and named.map:
                again = MapType(
                    named.map.fields, named.map.element, schema["x-kubernetes-map-type"] == "atomic"
                )
                return TypeSchema(named.scalar, named.list, again)
            return named
        if schema.get("x-kubernetes-preserve-unknown-fields") is True and not self._preserve:
            return _Reader(preserve_unknown=True).type_of(schema)
        if schema.get("x-kubernetes-embedded-resource") is True:
            schema = _embedded({**schema, "x-kubernetes-embedded-resource": False})
        match schema.get("type"):
            case "object":
                return TypeSchema(map=self._map(schema))
            case "array":
                return TypeSchema(list=self._list(schema))
            case "integer" | "number":
                return TypeSchema("numeric")
            case "boolean":
                return TypeSchema("boolean")
            case "string":
                return TypeSchema(
                    "string" if schema.get("format", "") in {"", "byte"} else "untyped"
                )
            case _:
                return TypeSchema("untyped", self._list(schema), self._map(schema))

    def _map(self, schema: Mapping[str, Any]) -> MapType:
        properties = schema.get("properties", {})
        fields = {
            name: Field(self.type_of(it), it.get("default")) for name, it in properties.items()
        }
        return MapType(
            fields, self._element(schema), schema.get("x-kubernetes-map-type") == "atomic"
        )

    def _element(self, schema: Mapping[str, Any]) -> TypeSchema | None:
        additional = schema.get("additionalProperties")
        if isinstance(additional, Mapping):
            return self.type_of(additional)
        if additional is None:
            return DEDUCED if self._preserve or not schema.get("properties") else None
        return DEDUCED if additional else None

    def _list(self, schema: Mapping[str, Any]) -> ListType:
        items = self.type_of(schema["items"]) if "items" in schema else UNTYPED
        match schema.get("x-kubernetes-list-type"):
            case "map":
                return ListType(
                    items, atomic=False, keys=tuple(schema.get("x-kubernetes-list-map-keys", ()))
                )
            case "set":
                return ListType(items, atomic=False)
            case "atomic":
                return ListType(items, atomic=True)
        if "merge" in schema.get("x-kubernetes-patch-strategy", "").split(","):
            merge_key = schema.get("x-kubernetes-patch-merge-key")
            return ListType(items, atomic=False, keys=(merge_key,) if merge_key else ())
        return ListType(items, atomic=True)
