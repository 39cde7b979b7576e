"""Whether the defaults in a schema are themselves valid, and need no pruning.

What belongs here: the checks of default values at definition time. What does not: applying them
(`operatorkit.crd._prune`).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from operatorkit.crd import _prune
from operatorkit.crd._embedded import embedded_errors
from operatorkit.crd._faults import NO_PATH, FieldError, invalid
from operatorkit.crd._node import METADATA_FIELDS, parse
from operatorkit.crd._validate import validate

__all__ = ["default_errors"]


def default_errors(schema: Mapping[str, Any], path: str, *, metadata: bool = False) -> list[FieldError]:
    """Return what is wrong with the defaults of a schema and of those below it.

    Defaults inside of additionalProperties are not looked at, as in the API server. `metadata` says that the schema
    is of an embedded object's apiVersion, kind or metadata, whose defaults are checked as that object's.
    """
    errors: list[FieldError] = []
    embedded = bool(schema.get("x-kubernetes-embedded-resource"))
    metadata = metadata and not embedded
    if schema.get("default") is not None:
        errors += _one(schema, f"{path}.default", embedded=embedded, metadata=metadata)
    if isinstance(schema.get("items"), Mapping):
        errors += default_errors(schema["items"], f"{path}.items", metadata=metadata)
    for name, child in (schema.get("properties") or {}).items():
        inside = metadata or (embedded and name in METADATA_FIELDS)
        errors += default_errors(child, f"{path}.properties[{name}]", metadata=inside)
    return errors


def _one(schema: Mapping[str, Any], path: str, *, embedded: bool, metadata: bool) -> list[FieldError]:
    node, value = parse(schema), schema["default"]
    errors: list[FieldError] = []
    if not metadata:
        pruned = copy.deepcopy(value)
        _prune.prune(pruned, node, root=embedded)
        if pruned != value:
            errors.append(invalid(path, value, "must not have unknown fields"))
    faults = embedded_errors(node, value, path)
    if not faults:
        faults = [
            FieldError(path if error.path == NO_PATH else f"{path}.{error.path}", error.reason, error.message)
            for _, error in validate(node, value).errors
        ]
    return errors + faults
