"""Whether the defaults in a schema are themselves valid, and need no pruning.

What belongs here: the checks of default values at definition time. What does not: applying them
(`operatorkit.crd._prune`).
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any

from operatorkit.crd import _prune
from operatorkit.crd._embedded import embedded_errors
from operatorkit.crd._node import METADATA_FIELDS, parse
from operatorkit.crd._validate import validate
from operatorkit.crd.field_errors import NO_PATH, FieldError, invalid

__all__ = ["default_errors"]


def default_errors(schema: Mapping[str, Any], path: str) -> list[FieldError]:
    """Return what is wrong with the defaults of a schema and of those below it.

    Defaults inside of additionalProperties are not looked at, as in the API server.
    """
    return _errors(schema, path, root=True, metadata=False)


def _errors(
    schema: Mapping[str, Any], path: str, *, root: bool, metadata: bool
) -> list[FieldError]:
    """Go down a schema. The root counts as an embedded object; `metadata` says that this is in its metadata."""
    errors: list[FieldError] = []
    embedded = root or bool(schema.get("x-kubernetes-embedded-resource"))
    metadata = metadata and not embedded
    if schema.get("default") is not None:
        errors += _one(schema, f"{path}.default", embedded=embedded, metadata=metadata)
    if isinstance(schema.get("items"), Mapping):
        errors += _errors(schema["items"], f"{path}.items", root=False, metadata=metadata)
    for name, child in (schema.get("properties") or {}).items():
        inside = metadata or (embedded and name in METADATA_FIELDS)
        errors += _errors(child, f"{path}.properties[{name}]", root=False, metadata=inside)
    return errors


def _one(
    schema: Mapping[str, Any], path: str, *, embedded: bool, metadata: bool
) -> list[FieldError]:
    node, value = parse(schema), schema["default"]
    errors: list[FieldError] = []
    if not metadata:
        pruned = copy.deepcopy(value)
        _prune.prune(pruned, node, root=embedded)
        if pruned != value:
            errors.append(invalid(path, value, "must not have unknown fields"))
    found = embedded_errors(dataclasses.replace(node, embedded=embedded), value, path)
    if not found:
        found = [
            FieldError(
                path if error.path == NO_PATH else f"{path}.{error.path}",
                error.reason,
                error.message,
            )
            for _, error in validate(parse(schema, of_default=True), value).errors
        ]
    return errors + found
