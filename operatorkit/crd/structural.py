"""`Structural`: a raw OpenAPI v3 schema of a custom resource, and all that an API server does with it.

What belongs here: the one entrance to checking a schema, and to pruning, defaulting and validating
objects by it. What does not: schemas from Python types (`operatorkit.crd.schema`) and evaluating
rules (`operatorkit.cel`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from operatorkit.crd import _prune
from operatorkit.crd._check import SchemaError, check
from operatorkit.crd._correlate import Pair
from operatorkit.crd._embedded import embedded_errors
from operatorkit.crd._lists import duplicates
from operatorkit.crd._node import Node, parse
from operatorkit.crd._validate import validate
from operatorkit.crd.field_errors import NO_PATH, FieldError

__all__ = ["FieldError", "SchemaError", "Structural"]


class Structural:
    """The schema of one version of a custom resource (`openAPIV3Schema`), ready for use.

    Guarantees: messages, reasons and paths are those of kube-apiserver 1.36; where it reports in
    the random order of its maps, this one reports in the order of the schema.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = schema
        self._node = parse(schema)
        self._parts: dict[str, Structural | None] = {}

    def check(self, path: str = "spec.validation.openAPIV3Schema") -> list[SchemaError]:
        """Return why an API server would reject a CRD with this schema; `path` is where it stands in the CRD.

        The default is what the API server prints for a CRD whose versions all have the same schema.
        """
        return check(self._schema, path)

    def prune(self, obj: Any, *, unknown: list[str] | None = None) -> Any:
        """Drop what the schema does not specify, in place, and return the object.

        The paths of what was dropped are added to `unknown`, sorted.
        """
        _prune.prune(obj, self._node, root=True, unknown=unknown)
        return obj

    def drop_nulls(self, obj: Any) -> Any:
        """Drop the nulls that the schema neither allows nor has a default for, in place, and return the object."""
        _prune.drop_nulls(obj, self._node)
        return obj

    def default(self, obj: Any, *, keep_nulls: bool = False) -> Any:
        """Fill in the defaults, in place, and return the object; nulls that may not be are dropped first.

        With `keep_nulls` they stay, and `validate` will reject them: so does a server with what an
        apply leaves.
        """
        if not keep_nulls:
            _prune.drop_nulls(obj, self._node)
        _prune.default(obj, self._node)
        return obj

    def validate(self, obj: Any, old: Any = None, *, prefix: str = "") -> list[FieldError]:
        """Return what is wrong with an object; rules in CEL are not evaluated.

        With `old`, the stored object, faults in parts that did not change are forgiven. `prefix` is
        the path at which the object stands, where it is only a part (the status).
        """
        pair = None if old is None else Pair(obj, old, self._node)
        errors = [error for _, error in validate(self._node, obj, pair=pair).errors]
        errors = [_below(prefix, error) for error in errors]
        errors += embedded_errors(self._node, obj, prefix)
        repeated = duplicates(self._node, obj, prefix)
        if repeated and (old is None or not duplicates(self._node, old, prefix)):
            errors += repeated
        return errors

    def part(self, name: str) -> Structural | None:
        """Return the schema of a top-level field, such as the status, or None when there is none."""
        if name not in self._parts:
            schema = (self._schema.get("properties") or {}).get(name)
            self._parts[name] = Structural(schema) if isinstance(schema, Mapping) else None
        return self._parts[name]

    def rules(self) -> list[tuple[str, str]]:
        """Return the CEL rules with the paths of the values they are on: `spec.names[*]`, `` for the whole object."""
        return list(_rules(self._node, ""))


def _below(prefix: str, error: FieldError) -> FieldError:
    if not prefix:
        return error
    path = prefix if error.path == NO_PATH else f"{prefix}.{error.path}"
    return FieldError(path, error.reason, error.message)


def _rules(node: Node, path: str) -> Iterator[tuple[str, str]]:
    for rule in node.rules:
        yield path, str(rule.get("rule", ""))
    for name, child in node.properties.items():
        yield from _rules(child, f"{path}.{name}" if path else name)
    if node.items is not None:
        yield from _rules(node.items, f"{path}[*]")
    if node.additional is not None:
        yield from _rules(node.additional, f"{path}[*]")
