"""Rules for the schemas of CRDs beyond their structure: keywords, types of lists and maps, the form of CEL rules.

What belongs here: what kube-apiserver checks of every schema at any depth. What does not: structure
(`operatorkit.crd._check`), and compiling the rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from operatorkit.crd.field_errors import FieldError, forbidden, invalid, not_supported, required

__all__ = ["openapi_errors"]

Schema = Mapping[str, Any]

_TYPES = ["array", "boolean", "integer", "number", "object", "string"]
_REASONS = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"]
_UNSUPPORTED = ("id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref")
_METADATA = ("metadata", "kind", "apiVersion")


def openapi_errors(
    schema: Schema, path: str, *, root: bool = True, metadata: bool = False, no_defaults: str = ""
) -> list[FieldError]:
    """Return what is wrong with a schema and those below it.

    `metadata` says that the schema is of an object's metadata, and `no_defaults` why it may have
    none.
    """
    errors = list(_keywords(schema, path, metadata=metadata, no_defaults=no_defaults))
    if schema.get("uniqueItems"):
        detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        errors.append(forbidden(f"{path}.uniqueItems", detail))
    below = {"metadata": metadata, "no_defaults": no_defaults}
    additional = schema.get("additionalProperties")
    if additional is not None and schema.get("properties") and additional is not True:
        errors.append(
            forbidden(
                f"{path}.additionalProperties",
                "additionalProperties and properties are mutual exclusive",
            )
        )
    if isinstance(additional, Mapping):
        reason = (
            "inside additionalProperties applying to object metadata" if metadata else no_defaults
        )
        errors += openapi_errors(
            additional,
            f"{path}.additionalProperties",
            root=False,
            metadata=metadata,
            no_defaults=reason,
        )
    for name, child in (schema.get("properties") or {}).items():
        inside = metadata or (
            bool(root or schema.get("x-kubernetes-embedded-resource")) and name in _METADATA
        )
        reason = f"in top-level {name}" if root and name in _METADATA else no_defaults
        errors += openapi_errors(
            child, f"{path}.properties[{name}]", root=False, metadata=inside, no_defaults=reason
        )
    for at, child in _nested(schema):
        errors += openapi_errors(child, f"{path}{at}", root=False, **below)  # type: ignore[arg-type]
    if isinstance(schema.get("items"), Mapping):
        errors += openapi_errors(schema["items"], f"{path}.items", root=False, **below)  # type: ignore[arg-type]
    errors += _preserve(schema, path)
    errors += _map_type(schema, path)
    errors += _list_type(schema, path)
    errors += _list_map(schema, path)
    errors += _keyed_items(schema, path)
    errors += _rules(schema, path)
    return errors


def _nested(schema: Schema) -> Iterator[tuple[str, Schema]]:
    if "not" in schema:
        yield ".not", schema["not"]
    for key in ("allOf", "oneOf", "anyOf"):
        for index, child in enumerate(schema.get(key) or ()):
            yield f".{key}[{index}]", child


def _keywords(
    schema: Schema, path: str, *, metadata: bool, no_defaults: str
) -> Iterator[FieldError]:
    type_ = schema.get("type") or ""
    if type_ and type_ not in _TYPES:
        yield not_supported(f"{path}.type", type_, list(_TYPES))
    if schema.get("default") is not None and no_defaults:
        yield forbidden(f"{path}.default", f"must not be set {no_defaults}")
    for key in _UNSUPPORTED:
        if schema.get(key) not in (None, "", {}):
            yield forbidden(f"{path}.{key}", f"{key} is not supported")
    if type_ == "null":
        yield forbidden(
            f"{path}.type", "type cannot be set to null, use nullable as an alternative"
        )
    if isinstance(schema.get("items"), list):
        yield forbidden(f"{path}.items", "items must be a schema object and not an array")
    if metadata and schema.get("x-kubernetes-embedded-resource"):
        yield forbidden(
            f"{path}.x-kubernetes-embedded-resource", "must not be used inside of resource meta"
        )


def _preserve(schema: Schema, path: str) -> Iterator[FieldError]:
    key = "x-kubernetes-preserve-unknown-fields"
    if schema.get(key) is False:
        yield invalid(f"{path}.{key}", value=False, detail="must be true or undefined")


def _map_type(schema: Schema, path: str) -> Iterator[FieldError]:
    found, type_ = schema.get("x-kubernetes-map-type"), schema.get("type") or ""
    if found is None:
        return
    if type_ != "object":
        detail = "must be object if x-kubernetes-map-type is specified"
        yield invalid(f"{path}.type", type_, detail) if type_ else required(f"{path}.type", detail)
    if found not in {"atomic", "granular"}:
        yield not_supported(f"{path}.x-kubernetes-map-type", found, ["atomic", "granular"])


def _list_type(schema: Schema, path: str) -> Iterator[FieldError]:
    found, type_, items = (
        schema.get("x-kubernetes-list-type"),
        schema.get("type") or "",
        schema.get("items"),
    )
    if found is not None and type_ != "array":
        detail = "must be array if x-kubernetes-list-type is specified"
        yield invalid(f"{path}.type", type_, detail) if type_ else required(f"{path}.type", detail)
    elif found == "set" and isinstance(items, Mapping):
        detail = "must be atomic as item of a list with x-kubernetes-list-type=set"
        nested = items.get("x-kubernetes-list-type")
        if items.get("type") == "array" and nested not in {None, "atomic"}:
            yield invalid(f"{path}.items.x-kubernetes-list-type", nested, detail)
        if items.get("type") == "object" and items.get("x-kubernetes-map-type") != "atomic":
            yield invalid(f"{path}.items.x-kubernetes-map-type", nested, detail)
    if found is not None and found not in {"atomic", "set", "map"}:
        yield not_supported(f"{path}.x-kubernetes-list-type", found, ["atomic", "set", "map"])


def _list_map(schema: Schema, path: str) -> Iterator[FieldError]:
    keys, found = (
        schema.get("x-kubernetes-list-map-keys") or [],
        schema.get("x-kubernetes-list-type"),
    )
    if keys and found != "map":
        at, detail = (
            f"{path}.x-kubernetes-list-type",
            "must be map if x-kubernetes-list-map-keys is non-empty",
        )
        yield required(at, detail) if found is None else invalid(at, found, detail)
    if found != "map":
        return
    items = schema.get("items")
    if not keys:
        yield required(
            f"{path}.x-kubernetes-list-map-keys",
            "must not be empty if x-kubernetes-list-type is map",
        )
    if items is None:
        yield required(f"{path}.items", "must have a schema if x-kubernetes-list-type is map")
    if not isinstance(items, Mapping):
        return
    if items.get("type") != "object":
        detail = "must be object if parent array's x-kubernetes-list-type is map"
        yield invalid(f"{path}.items.type", items.get("type") or "", detail)
        return
    for index, key in enumerate(keys):
        child = (items.get("properties") or {}).get(key)
        if child is None:
            yield invalid(
                f"{path}.x-kubernetes-list-map-keys",
                keys,
                "entries must all be names of item properties",
            )
        elif child.get("type") in {"array", "object"}:
            detail = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            yield invalid(f"{path}.items.properties[{key}].type", items.get("type"), detail)
        if key in keys[:index]:
            yield invalid(
                f"{path}.x-kubernetes-list-map-keys", keys, "must not contain duplicate entries"
            )


def _keyed_items(schema: Schema, path: str) -> Iterator[FieldError]:
    """Check that the items of sets and maps, and the keys of maps, are always there."""
    items, found = schema.get("items"), schema.get("x-kubernetes-list-type")
    if not isinstance(items, Mapping) or found not in {"set", "map"}:
        return
    if items.get("nullable"):
        yield forbidden(
            f"{path}.items.nullable", f"cannot be nullable when x-kubernetes-list-type is {found}"
        )
    if found == "set":
        return
    for key in schema.get("x-kubernetes-list-map-keys") or ():
        child = (items.get("properties") or {}).get(key)
        if child is None:
            continue
        at, listed = (
            f"{path}.items.properties[{key}]",
            "this property is in x-kubernetes-list-map-keys, so it",
        )
        if key not in (items.get("required") or ()) and child.get("default") is None:
            yield required(
                f"{at}.default", f"{listed} must have a default or be a required property"
            )
        if child.get("nullable"):
            yield forbidden(f"{at}.nullable", f"{listed} cannot be nullable")


def _rules(schema: Schema, path: str) -> Iterator[FieldError]:
    for index, rule in enumerate(schema.get("x-kubernetes-validations") or ()):
        yield from _rule(rule, f"{path}.x-kubernetes-validations[{index}]")
        at = str(rule.get("fieldPath") or "")
        if at and not _is_field(schema, at):
            yield invalid(
                f"{path}.x-kubernetes-validations[{index}].fieldPath", at, "must be a valid path"
            )


def _is_field(schema: Schema, path: str) -> bool:
    """Return whether a path like `.a['b']` leads to a field of the schema; lists cannot be entered."""
    steps = re.findall(r"\.([^.\['\]]+)|\['((?:[^'\\]|\\.)*)'\]", path)
    if "".join(f".{plain}" if plain else f"['{quoted}']" for plain, quoted in steps) != path:
        return False
    found: Any = schema
    for plain, quoted in steps:
        name = plain or re.sub(r"\\(.)", r"\1", quoted)
        if not isinstance(found, Mapping):
            return False
        found = (
            found["properties"].get(name)
            if "properties" in found
            else found.get("additionalProperties")
        )
        if found is None:
            return False
    return True


def _rule(rule: Schema, path: str) -> Iterator[FieldError]:
    """Check the form of a rule; its CEL is not looked at."""
    text, message = str(rule.get("rule") or ""), str(rule.get("message") or "")
    if not text.strip():
        yield required(f"{path}.rule", "rule is not specified")
    elif message and not message.strip():
        yield invalid(f"{path}.message", message, "must be non-empty if specified")
    elif _has_line_break(message.strip()):
        yield invalid(f"{path}.message", message, "must not contain line breaks")
    elif _has_line_break(text.strip()) and not message.strip():
        yield required(f"{path}.message", "message must be specified if rule contains line breaks")
    expression = str(rule.get("messageExpression") or "")
    if expression and not expression.strip():
        yield required(
            f"{path}.messageExpression", "messageExpression must be non-empty if specified"
        )
    if rule.get("reason") is not None and rule["reason"] not in _REASONS:
        yield not_supported(f"{path}.reason", rule["reason"], list(_REASONS))
    field_path = str(rule.get("fieldPath") or "")
    if field_path and not field_path.strip():
        yield invalid(f"{path}.fieldPath", field_path, "must be non-empty if specified")
    if _has_line_break(field_path):
        yield invalid(f"{path}.fieldPath", field_path, "must not contain line breaks")


def _has_line_break(text: str) -> bool:
    return "\n" in text or "\r" in text
