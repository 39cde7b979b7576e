"""The rules of kinds that CRDs define.

What belongs here: `CustomStrategy`, which joins a version's schema (`operatorkit.crd.Structural`) with what
kube-apiserver does to every custom resource. What does not: CRDs themselves (`crds`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from operatorkit.controlplane.embedded.errors.errors import invalid
from operatorkit.controlplane.embedded.errors.go_text import numbers, shown, type_name
from operatorkit.controlplane.embedded.errors.jsonpath import JSONPath
from operatorkit.controlplane.embedded.registry import preparation
from operatorkit.controlplane.embedded.registry.validation import object_meta
from operatorkit.controlplane.embedded.scheme.decode_error import DecodeError, Problem
from operatorkit.crd import field_errors
from operatorkit.crd.field_errors import FieldError, FieldErrors
from operatorkit.crd.structural import Structural
from operatorkit.names import GroupVersionKind

__all__ = ["CustomStrategy"]

Object = dict[str, Any]

_REPLICAS_MAX = 2**31 - 1


class CustomStrategy:
    """The rules of one version of one custom resource."""

    returns_deleted = False
    unconditional_update = False
    create_on_update = False
    graceful = False
    owns = True

    def __init__(self, crd: Mapping[str, Any], version: Mapping[str, Any]) -> None:
        spec = crd["spec"]
        self._gvk = GroupVersionKind(spec["group"], version["name"], spec["names"]["kind"])
        self._namespaced: bool = spec["scope"] == "Namespaced"
        self._has_status = "status" in (version.get("subresources") or {})
        self._scale: Mapping[str, str] = (version.get("subresources") or {}).get("scale") or {}
        self._structural = Structural((version.get("schema") or {}).get("openAPIV3Schema") or {})
        paths = [it["jsonPath"] for it in version.get("selectableFields") or ()]
        self._selectable = {path.removeprefix("."): JSONPath(path) for path in paths}

    def knows_field(self, field: str) -> bool:
        """Whether objects can be selected by this field."""
        if field == "metadata.namespace":
            return self._namespaced
        return field == "metadata.name" or field in self._selectable

    def unknown_field(self, field: str) -> str:
        """Return the error text of a selector with an unknown field."""
        return f"field label not supported: {field}"

    def fields(self, obj: Object) -> Mapping[str, str]:
        """Return the selectable fields of an object."""
        meta = obj["metadata"]
        found = {"metadata.name": meta["name"], "metadata.namespace": meta.get("namespace", "")}
        for field, path in self._selectable.items():
            values = path.find(obj)
            found[field] = _text(values[0]) if values else ""
        return found

    def decode(self, obj: Object, *, validation: str, warnings: list[str]) -> Object:
        """Return a request's object without what the schema does not have, and with the schema's deerrors."""
        duplicates = list(_duplicates(obj, "")) if validation != "Ignore" else []
        unknown: list[str] = []
        numbers(obj)
        object_meta.decode(obj, self._gvk, unknown)
        self._structural.drop_nulls(self._structural.prune(obj, unknown=unknown))
        texts = [f'duplicate field "{it}"' for it in duplicates] + [
            f'unknown field "{it}"' for it in unknown
        ]
        if texts and validation == "Strict":
            detail = "strict decoding error: " + ", ".join(texts)
            raise DecodeError(self._gvk, problem=Problem.STRICT, detail=detail)
        if validation == "Warn":
            warnings.extend(texts)
        return obj

    def default(self, obj: Object) -> None:
        """Fill in what was left out, and leave out what is empty in the metadata."""
        object_meta.normalize(obj)
        self._structural.default(obj, keep_nulls=True)

    def shape(self, obj: Object) -> None:
        """Bring an object, stored by another schema, into the shape of this one."""
        self._structural.prune(obj)
        self._structural.default(obj, keep_nulls=True)

    def complete(self, obj: Object) -> None:
        """Do nothing: no plugin knows the kind."""

    def prepare_create(self, obj: Object) -> None:
        """Take away what a creation cannot set: the status; begin to count generations."""
        preparation.prepare_create(self._gvk, obj, custom=True, status=self._has_status)

    def prepare_update(self, obj: Object, old: Object, subresource: str) -> None:
        """Keep the status, or everything but the status; count a generation when what is wanted changed."""
        preparation.prepare_update(
            self._gvk, obj, old, subresource=subresource, custom=True, status=self._has_status
        )

    def allocate(self, obj: Object, others: Callable[[], Iterable[Object]]) -> None:
        """Do nothing: nothing of a custom resource is unique but its name."""

    def validate(self, obj: Object, old: Object | None, subresource: str) -> Sequence[FieldError]:
        """Return the errors of an object. Raises `ApiError` (422), with no other error, for another kind."""
        self._require_kind(obj)
        errors: list[FieldError] = list(object_meta.validate(obj, old, namespaced=self._namespaced))
        if subresource == "status":
            errors += self._scale_errors(obj, "statusReplicasPath")
            part = self._structural.part("status")
            before = None if old is None else old.get("status")
            if part is None or "status" not in obj:
                return errors
            return [*errors, *part.validate(obj["status"], before, prefix="status")]
        errors += self._structural.validate(obj, old)
        return [*errors, *self._scale_errors(obj, "specReplicasPath", "statusReplicasPath")]

    def _scale_errors(self, obj: Object, *fields: str) -> FieldErrors:
        """Return what is wrong with the numbers that the scale subresource shows."""
        for path in (self._scale[it] for it in fields if it in self._scale):
            found = JSONPath(path).find(obj)
            if not found:
                continue
            value = found[0]
            if not isinstance(value, int) or isinstance(value, bool):
                what = f"{shown(value)} is of the type {type_name(value)}, expected int64"
                yield field_errors.invalid(path, 0, f"{path} accessor error: {what}")
            elif value < 0:
                yield field_errors.invalid(path, value, "should be a non-negative integer")
            elif value > _REPLICAS_MAX:
                text = f"should be less than or equal to {_REPLICAS_MAX}"
                yield field_errors.invalid(path, value, text)

    def _require_kind(self, obj: Object) -> None:
        given = GroupVersionKind.of(
            obj.get("apiVersion") or self._gvk.api_version, obj.get("kind") or self._gvk.kind
        )
        expected = {
            "apiVersion": (given.api_version, self._gvk.api_version),
            "kind": (given.kind, self._gvk.kind),
        }
        errors = [
            field_errors.invalid(field, found, f"must be {due}")
            for field, (found, due) in expected.items()
            if found != due
        ]
        if errors:
            raise invalid(given.group, given.kind, obj["metadata"].get("name", ""), errors)

    def warnings(self, obj: Object, old: Object | None) -> Sequence[str]:
        """Return the warnings of a write that is accepted."""
        return object_meta.warnings(obj, old)


def _duplicates(value: Any, path: str) -> Iterable[str]:
    """Yield the paths of fields that were there twice in the text of a request."""
    if isinstance(value, dict):
        for key in sorted(getattr(value, "duplicates", ())):
            yield f"{path}.{key}" if path else key
        for key, inner in value.items():
            yield from _duplicates(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _duplicates(inner, f"{path}[{index}]")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
