"""Whether a schema is structural: what kube-apiserver demands of the schema in a CRD.

What belongs here: its rules, each a small function, and its order of reporting. What does not:
rules in CEL, and the rest of the CRD.

Source: k8s.io/apiextensions-apiserver/pkg/apiserver/schema (structure), .../apis/apiextensions/validation (the rest)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from operatorkit.crd._check_defaults import default_errors
from operatorkit.crd._check_openapi import openapi_errors
from operatorkit.crd._node import kind_error
from operatorkit.crd._patterns import pattern_error
from operatorkit.crd.field_errors import FieldError, forbidden, invalid, required

__all__ = ["SchemaError", "check"]

SchemaError = FieldError
"""An error of a schema; `path` is where it stands in the CRD."""

Schema = Mapping[str, Any]

_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
_EMPTY_TYPE = {
    "root": "must not be empty at the root",
    "item": "must not be empty for specified array items",
    "field": "must not be empty for specified object fields",
}
_SCHEMAS = ("items", "not")
_SCHEMA_MAPS = ("properties", "patternProperties", "definitions")
_UNSUPPORTED = (
    "id",
    "$schema",
    "$ref",
    "patternProperties",
    "dependencies",
    "additionalItems",
    "definitions",
)
_COMPOSITIONS = ("anyOf", "allOf", "oneOf")

# Keywords that say what a value is; they may not stand below allOf, anyOf, oneOf or not.
_FORBIDDEN_NESTED = (
    ("type", "must be empty to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    ("x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
    ("x-kubernetes-embedded-resource", "must be false to be structural"),
    ("x-kubernetes-int-or-string", "must be false to be structural"),
    ("x-kubernetes-list-map-keys", "must be empty to be structural"),
    ("x-kubernetes-list-type", "must be undefined to be structural"),
    ("x-kubernetes-map-type", "must be undefined to be structural"),
    ("x-kubernetes-validations", "must be empty to be structural"),
)


def check(schema: Schema, path: str) -> list[FieldError]:
    """Return why kube-apiserver would reject this schema, in the order in which it says so."""
    malformed = _malformed(schema, path)
    if malformed:
        return malformed
    errors: list[FieldError] = []
    if schema.get("nullable"):
        errors.append(forbidden(f"{path}.nullable", "nullable cannot be true at the root"))
    if not _is_unsupported(schema):
        structural = sorted(
            [*_invariants(schema, "root", path), *_completeness(schema, schema, path, path)],
            key=str,
        )
        errors += structural or default_errors(schema, path)
    errors += openapi_errors(schema, path)
    return errors


def _malformed(schema: Any, path: str) -> list[FieldError]:
    """Report what is not a schema at all; a server rejects to decode it."""
    if not isinstance(schema, Mapping):
        return [invalid(path, schema, "must be a schema")]
    errors = [
        invalid(f"{path}.{keyword}", value, f"must be {kind}")
        for keyword, value in schema.items()
        if (kind := kind_error(keyword, value)) is not None
    ]
    errors += [
        invalid(f"{path}.x-kubernetes-validations[{index}]", rule, "must be an object")
        for index, rule in enumerate(schema.get("x-kubernetes-validations") or ())
        if not isinstance(rule, Mapping)
    ]
    if errors:
        return errors
    return [error for at, child in _below(schema) for error in _malformed(child, f"{path}{at}")]


def _below(schema: Schema) -> Iterator[tuple[str, Any]]:
    """Yield the paths of all that should be schemas right below a schema, and what is there.

    A list of `items` and a boolean `additionalProperties` are no schemas, but legal in OpenAPI: other checks report
    them.
    """
    for key in _SCHEMAS:
        child = schema.get(key)
        if child is not None and not (key == "items" and isinstance(child, list)):
            yield f".{key}", child
    if not isinstance(schema.get("additionalProperties"), bool | None):
        yield ".additionalProperties", schema["additionalProperties"]
    for key in _SCHEMA_MAPS:
        for name, child in (schema.get(key) or {}).items():
            yield f".{key}[{name}]", child
    for key in _COMPOSITIONS:
        for index, child in enumerate(schema.get(key) or ()):
            yield f".{key}[{index}]", child


def _is_unsupported(schema: Schema) -> bool:
    if any(schema.get(key) not in (None, "", {}) for key in _UNSUPPORTED):
        return True
    if (
        isinstance(schema.get("items"), list)
        or schema.get("x-kubernetes-preserve-unknown-fields") is False
    ):
        return True
    return any(_is_unsupported(child) for _, child in _children(schema))


def _children(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """Yield the paths of all schemas right below a schema, and the schemas."""
    for key in (*_SCHEMAS, "additionalProperties"):
        if isinstance(schema.get(key), Mapping):
            yield f".{key}", schema[key]
    for name, child in (schema.get("properties") or {}).items():
        yield f".properties[{name}]", child
    for key in _COMPOSITIONS:
        for index, child in enumerate(schema.get(key) or ()):
            yield f".{key}[{index}]", child


def _invariants(schema: Schema, level: str, path: str) -> Iterator[FieldError]:
    """Check that a schema says of each value what it is, and says it in the right place."""
    if schema.get("type") == "array" and "items" not in schema:
        yield required(f"{path}.items", "must be specified")
    if "items" in schema:
        yield from _invariants(schema["items"], "item", f"{path}.items")
    for name, child in (schema.get("properties") or {}).items():
        yield from _invariants(child, "field", f"{path}.properties[{name}]")
    additional = schema.get("additionalProperties")
    if additional is not None and level == "root":
        yield forbidden(f"{path}.additionalProperties", "must not be used at the root")
    if isinstance(additional, Mapping):
        yield from _invariants(additional, "field", f"{path}.additionalProperties")
    yield from _int_or_string(schema, path)
    yield from _values(
        schema,
        path,
        skip_any_of=_is_int_or_string(schema),
        skip_all_of=_starts_with_int_or_string(schema),
    )
    yield from _type(schema, level, path)
    yield from _metadata(schema, level, path)


def _int_or_string(schema: Schema, path: str) -> Iterator[FieldError]:
    if not schema.get("x-kubernetes-int-or-string"):
        return
    for key in ("x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"):
        if schema.get(key):
            yield invalid(
                f"{path}.{key}",
                value=True,
                detail="must be false if x-kubernetes-int-or-string is true",
            )


def _type(schema: Schema, level: str, path: str) -> Iterator[FieldError]:
    type_, embedded = schema.get("type") or "", schema.get("x-kubernetes-embedded-resource")
    free = schema.get("x-kubernetes-int-or-string") or schema.get(
        "x-kubernetes-preserve-unknown-fields"
    )
    if embedded and type_ != "object":
        detail = "must be object if x-kubernetes-embedded-resource is true"
        yield invalid(f"{path}.type", type_, detail) if type_ else required(f"{path}.type", detail)
    elif not type_ and not free:
        yield required(f"{path}.type", _EMPTY_TYPE[level])
    if embedded and schema.get("additionalProperties") is not None:
        yield forbidden(
            f"{path}.additionalProperties",
            "must not be used if x-kubernetes-embedded-resource is set",
        )
    if level == "root" and type_ and type_ != "object":
        yield invalid(f"{path}.type", type_, "must be object at the root")


def _metadata(schema: Schema, level: str, path: str) -> Iterator[FieldError]:
    """Check what a schema says about the fields that every object has."""
    embedded = bool(schema.get("x-kubernetes-embedded-resource"))
    properties = schema.get("properties") or {}
    if level == "root" or embedded:
        yield from _types_of_object_fields(properties, path)
    if level == "root" and _says_more_than_names(properties.get("metadata") or {}):
        yield forbidden(
            f"{path}.properties[metadata]",
            "must not specify anything other than name and generateName, but metadata is implicitly specified",
        )
    if embedded and not schema.get("x-kubernetes-preserve-unknown-fields") and not properties:
        yield required(
            f"{path}.properties",
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields",
        )


def _types_of_object_fields(properties: Schema, path: str) -> Iterator[FieldError]:
    for name, wanted in (("kind", "string"), ("apiVersion", "string"), ("metadata", "object")):
        found = properties.get(name)
        if found is not None and (type_ := found.get("type") or "") != wanted:
            yield invalid(f"{path}.properties[{name}].type", type_, f"must be {wanted}")


def _says_more_than_names(metadata: Schema) -> bool:
    """Return whether a schema restricts metadata beyond the two fields that a definition may restrict."""
    named = set(metadata.get("properties") or {})
    allowed = (
        {"type", "default", "properties"}
        if named <= {"name", "generateName"}
        else {"type", "default"}
    )
    return not _set_keywords(metadata).keys() <= allowed


def _is_int_or_string(schema: Schema) -> bool:
    return [_set_keywords(each) for each in schema.get("anyOf") or ()] == _INT_OR_STRING


def _starts_with_int_or_string(schema: Schema) -> bool:
    all_of: list[Schema] = schema.get("allOf") or []
    return bool(all_of) and _is_int_or_string(all_of[0])


def _set_keywords(schema: Schema) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if value not in (None, "", False, [], {})}


def _values(
    schema: Schema, path: str, *, skip_any_of: bool, skip_all_of: bool
) -> Iterator[FieldError]:
    """Check the compositions of a schema, and its pattern."""
    if not skip_any_of:
        for index, child in enumerate(schema.get("anyOf") or ()):
            yield from _nested(child, f"{path}.anyOf[{index}]")
    for index, child in enumerate(schema.get("allOf") or ()):
        yield from _nested(child, f"{path}.allOf[{index}]", skip_any_of=skip_all_of and index == 0)
    for index, child in enumerate(schema.get("oneOf") or ()):
        yield from _nested(child, f"{path}.oneOf[{index}]")
    if "not" in schema:
        yield from _nested(schema["not"], f"{path}.not")
    pattern = schema.get("pattern") or ""
    problem = pattern_error(pattern) if pattern else None
    if problem is not None:
        yield invalid(
            f"{path}.pattern", pattern, f"must be a valid regular expression, but isn't: {problem}"
        )


def _nested(schema: Schema, path: str, *, skip_any_of: bool = False) -> Iterator[FieldError]:
    """Check a schema below a composition: it may restrict values, and not say what they are."""
    yield from _values(schema, path, skip_any_of=skip_any_of, skip_all_of=False)
    if "items" in schema:
        yield from _nested(schema["items"], f"{path}.items")
    for name, child in (schema.get("properties") or {}).items():
        yield from _nested(child, f"{path}.properties[{name}]")
    for key, detail in _FORBIDDEN_NESTED:
        value = schema.get(key)
        if value not in (None, "", False, []):
            yield forbidden(f"{path}.{key}", detail)
    if "metadata" in (schema.get("properties") or {}):
        yield forbidden(f"{path}.properties[metadata]", "must not be specified in a nested context")


def _completeness(
    values: Schema, schema: Schema | None, schema_path: str, path: str
) -> Iterator[FieldError]:
    """Check that whatever a composition restricts is specified outside of it too."""
    children = [(f"{path}.not", values["not"])] if "not" in values else []
    for key in ("allOf", "anyOf", "oneOf"):
        children += [
            (f"{path}.{key}[{index}]", child) for index, child in enumerate(values.get(key) or ())
        ]
    for child_path, child in children:
        yield from _nested_completeness(child, schema, schema_path, child_path)


def _nested_completeness(
    values: Schema, schema: Schema | None, schema_path: str, path: str
) -> Iterator[FieldError]:
    if schema is None:
        yield required(schema_path, f"because it is defined in {path}")
        return
    yield from _completeness(values, schema, schema_path, path)
    if "items" in values:
        yield from _nested_completeness(
            values["items"], schema.get("items"), f"{schema_path}.items", f"{path}.items"
        )
    specified = schema.get("properties") or {}
    for name, child in (values.get("properties") or {}).items():
        at = f".properties[{name}]"
        yield from _nested_completeness(
            child, specified.get(name), f"{schema_path}{at}", f"{path}{at}"
        )
