"""The CustomResourceDefinition of a class: names, versions, columns, subresources.

What belongs here: the options of a kind, checked when its class is defined, and the manifest made
of them. What does not: the schema in it (`operatorkit.crd.schema`) and its text
(`operatorkit.crd.render`).
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, get_args

from pydantic import BaseModel

from operatorkit.crd._constraints import rules_of
from operatorkit.crd._defaults import filled, has_defaults
from operatorkit.crd._rule_paths import unknown_paths
from operatorkit.crd.markers import Rule
from operatorkit.crd.model import Model
from operatorkit.crd.schema import Place, description_of, field_schema, in_order
from operatorkit.crd.structural import Structural
from operatorkit.errors import DefinitionError
from operatorkit.names import (
    DNS_1035_LABEL_PATTERN,
    ApiResource,
    dns_label_error,
    dns_subdomain_error,
)

__all__ = ["Definition", "PrinterColumn", "Scale", "by_kind", "plural_of"]

ColumnType = Literal["string", "integer", "number", "boolean", "date"]

_KIND = re.compile(r"[A-Z][A-Za-z0-9]*")
_PROTECTED_GROUPS = ("k8s.io", "kubernetes.io")
_FIELD_PATH = re.compile(r"(\.[A-Za-z_][A-Za-z0-9_-]*)+")
_APPROVAL = "api-approved.kubernetes.io"
_ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_SELECTABLE_TYPES = ("string", "integer", "boolean")
_MAX_SELECTABLE_FIELDS = 8
_MAX_WARNING_LENGTH = 256


@dataclass(frozen=True, slots=True)
class PrinterColumn:
    """A column of `kubectl get`. `json_path` starts with a dot; columns with a `priority` above 0 need `-o wide`.

    A `date` is shown as the time that has passed since.
    """

    name: str
    json_path: str
    type: ColumnType = "string"
    priority: int = 0
    description: str = ""
    format: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The scale subresource, which `kubectl scale` and autoscalers use: JSON paths of three fields."""

    spec_replicas_path: str = ".spec.replicas"
    status_replicas_path: str = ".status.replicas"
    label_selector_path: str = ""


def plural_of(kind: str) -> str:
    """Return the lower-case English plural of a kind."""
    word = kind.lower()
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return f"{word}es"
    if len(word) > 1 and word.endswith("y") and word[-2] not in "aeiou":
        return f"{word[:-1]}ies"
    return f"{word}s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What a kind's class says about the kind; `owner` is the name of that class, for messages.

    `external` says whether the definition has another owner: it is never installed or packaged
    then. None leaves it to the operator, see `operatorkit.definitions`.
    """

    owner: str
    group: str
    version: str
    kind: str
    plural: str
    scope: Literal["Namespaced", "Cluster"] = "Namespaced"
    short_names: Sequence[str] = ()
    categories: Sequence[str] = ()
    printer_columns: Sequence[PrinterColumn] = ()
    scale: Scale | None = None
    rules: Sequence[Rule] = ()
    selectable_fields: Sequence[str] = ()
    served: bool = True
    storage: bool = True
    deprecated: bool | str = False
    external: bool | None = None

    @property
    def api_resource(self) -> ApiResource:
        """How API servers serve the kind."""
        return ApiResource(
            self.group, self.version, self.kind, self.plural, namespaced=self.scope == "Namespaced"
        )

    def check(self, model: type[BaseModel]) -> None:
        """Reject names and options that an API server would reject, and types that have no schema.

        Raises DefinitionError, which names the class, the option or field, what was found and what
        to write.
        """
        self._check_names()
        if self.external:
            return  # its schema is that of whoever defines the kind
        self._check_columns()
        self._check_paths()
        self._schema(model, official=False)

    def manifest(self, model: type[BaseModel]) -> dict[str, Any]:
        """Return the CustomResourceDefinition for objects of this model. Raises DefinitionError.

        That of an external kind is a stand-in for tests and development: it keeps every field, and
        checks none.
        """
        names: dict[str, Any] = {
            "kind": self.kind,
            "listKind": f"{self.kind}List",
            "plural": self.plural,
            "singular": self.kind.lower(),
        }
        if self.short_names:
            names["shortNames"] = list(self.short_names)
        if self.categories:
            names["categories"] = list(self.categories)
        metadata: dict[str, Any] = {"name": f"{self.plural}.{self.group}"}
        if self.external:
            metadata["annotations"] = {
                _APPROVAL: "unapproved, a stand-in for the definition of another owner"
            }
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": metadata,
            "spec": {
                "group": self.group,
                "names": names,
                "scope": self.scope,
                "versions": [self._version(model)],
            },
        }

    def _version(self, model: type[BaseModel]) -> dict[str, Any]:
        version: dict[str, Any] = {
            "name": self.version,
            "served": self.served,
            "storage": self.storage,
        }
        if self.deprecated:
            version["deprecated"] = True
        if isinstance(self.deprecated, str) and self.deprecated:
            version["deprecationWarning"] = self.deprecated
        if self.printer_columns:
            version["additionalPrinterColumns"] = [
                _column(column) for column in self.printer_columns
            ]
        if self.selectable_fields:
            version["selectableFields"] = [{"jsonPath": path} for path in self.selectable_fields]
        subresources = self._subresources(model)
        if subresources:
            version["subresources"] = subresources
        schema = dict(_ANYTHING) if self.external else self._schema(model, official=True)
        version["schema"] = {"openAPIV3Schema": schema}
        return version

    def _subresources(self, model: type[BaseModel]) -> dict[str, Any]:
        subresources: dict[str, Any] = {}
        if _has_fields(model, "status"):
            subresources["status"] = {}
        if self.scale is not None:
            subresources["scale"] = {
                "specReplicasPath": self.scale.spec_replicas_path,
                "statusReplicasPath": self.scale.status_replicas_path,
            }
            if self.scale.label_selector_path:
                subresources["scale"]["labelSelectorPath"] = self.scale.label_selector_path
        return subresources

    def _schema(self, model: type[BaseModel], *, official: bool) -> dict[str, Any]:
        place = Place(self.owner, models=(model,), official=official)
        properties: dict[str, Any] = {
            "apiVersion": {"description": _API_VERSION, "type": "string"},
            "kind": {"description": _KIND_DESCRIPTION, "type": "string"},
            "metadata": {"type": "object"},
        }
        required = []
        for name, field in model.model_fields.items():
            if name == "metadata" or (name in {"spec", "status"} and not _has_fields(model, name)):
                continue
            key = field.serialization_alias or field.alias or name
            properties[key] = field_schema(field, place.below(key))
            if field.is_required() or (name == "spec" and properties[key].get("required")):
                required.append(key)
        spec = properties.get("spec", {})
        if "spec" not in required and has_defaults(spec):
            properties["spec"] = in_order({**spec, "default": filled({}, spec)})
        schema: dict[str, Any] = {"type": "object", "properties": properties}
        description = description_of(model)
        if description:
            schema["description"] = description
        if required:
            schema["required"] = required
        if self.rules:
            schema["x-kubernetes-validations"] = rules_of(self.rules, place)
        schema = in_order(schema)
        self._check_schema(schema)
        self._check_selectable(schema)
        return schema

    def _check_schema(self, schema: dict[str, Any]) -> None:
        errors = Structural(schema).check("")
        if errors:
            text = "; ".join(f"{error.path.removeprefix('.')}: {error.message}" for error in errors)
            self._reject(
                f"the API server would reject its schema: {text}",
                "change the fields that are named",
            )
        for where, path, found in unknown_paths(schema):
            self._reject(
                f"a rule on {where or 'the whole object'} names {path}, and {found}",
                "name the field as it is in JSON, or give the class the field",
            )

    def _check_selectable(self, schema: dict[str, Any]) -> None:
        for path in self.selectable_fields:
            field: dict[str, Any] | None = schema
            for name in path.split(".")[1:]:
                if field is not None and "type" not in field:
                    break  # a model of the official client, not written out yet
                field = (field or {}).get("properties", {}).get(name)
            else:
                self._check_selected(path, field)

    def _check_selected(self, path: str, field: dict[str, Any] | None) -> None:
        found = (
            "is not a field of the kind"
            if field is None
            else f"is of type {field.get('type') or 'any'}"
        )
        if field is None or field.get("type") not in _SELECTABLE_TYPES:
            self._reject(
                f"selectable_fields has {path!r}, which {found}",
                f"name fields of type {', '.join(_SELECTABLE_TYPES)}, as they are in JSON",
            )

    def _reject(self, found: str, remedy: str) -> NoReturn:
        raise DefinitionError(f"{self.owner}: {found}: {remedy}")

    def _check_names(self) -> None:
        self._check_group()
        if not re.fullmatch(DNS_1035_LABEL_PATTERN, self.version) or dns_label_error(self.version):
            self._reject(
                f"version={self.version!r} is not a version",
                'write version="v1", "v1beta1" or "v1alpha1"',
            )
        if not _KIND.fullmatch(self.kind) or dns_label_error(self.kind.lower()):
            self._reject(
                f"{self.kind!r} is not a kind",
                "use CamelCase, at most 63 letters and digits",
            )
        for what, name in [
            ("plural", self.plural),
            *(("short_names", name) for name in self.short_names),
            *(("categories", name) for name in self.categories),
        ]:
            if not re.fullmatch(DNS_1035_LABEL_PATTERN, name) or dns_label_error(name):
                self._reject(
                    f"{what} has {name!r}", "use lower case letters, digits and '-', a letter first"
                )
        if self.scope not in {"Namespaced", "Cluster"}:
            self._reject(
                f"scope={self.scope!r} is not a scope",
                'write scope="Namespaced" or scope="Cluster"',
            )
        if isinstance(self.deprecated, str) and len(self.deprecated) > _MAX_WARNING_LENGTH:
            self._reject(
                "the warning in deprecated= is too long",
                f"{_MAX_WARNING_LENGTH} characters is the maximum",
            )

    def _check_group(self) -> None:
        if self.external:
            if not self.group or dns_subdomain_error(self.group):
                self._reject(
                    f"group={self.group!r} is not an API group",
                    "write the group of the kind; for kinds of the core group, use the models of the official client",
                )
            return
        if not self.group or dns_subdomain_error(self.group) or "." not in self.group:
            self._reject(
                f"group={self.group!r} is not a domain name",
                'write one that is yours: group="db.example.io"',
            )
        if (
            self.group.endswith(tuple(f".{group}" for group in _PROTECTED_GROUPS))
            or self.group in _PROTECTED_GROUPS
        ):
            self._reject(
                f"group={self.group!r} belongs to Kubernetes itself",
                "use a domain of your own, or external=True if the kind is defined elsewhere",
            )

    def _check_columns(self) -> None:
        types = get_args(ColumnType)
        for column in self.printer_columns:
            if not column.name:
                self._reject("a printer column has no name", "name it")
            if column.type not in types:
                near = difflib.get_close_matches(column.type, types, n=1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                self._reject(
                    f"the printer column {column.name!r} is of type {column.type!r}",
                    f"{hint}use one of {', '.join(types)}",
                )
            if not column.json_path.startswith("."):
                self._reject(
                    f"the printer column {column.name!r} has json_path={column.json_path!r}",
                    'start it with a dot, as in ".status.phase"',
                )

    def _check_paths(self) -> None:
        for path in self.selectable_fields:
            if not _FIELD_PATH.fullmatch(path) or path.startswith(".metadata"):
                self._reject(
                    f"selectable_fields has {path!r}",
                    'name fields like ".spec.color", not of metadata',
                )
        if len(set(self.selectable_fields)) < len(self.selectable_fields):
            self._reject("selectable_fields names a field twice", "name each once")
        if len(self.selectable_fields) > _MAX_SELECTABLE_FIELDS:
            self._reject(
                "there are too many selectable_fields", f"{_MAX_SELECTABLE_FIELDS} is the maximum"
            )
        if self.scale is None:
            return
        for name, path, roots in (
            ("spec_replicas_path", self.scale.spec_replicas_path, (".spec.",)),
            ("status_replicas_path", self.scale.status_replicas_path, (".status.",)),
            (
                "label_selector_path",
                self.scale.label_selector_path or ".status.selector",
                (".spec.", ".status."),
            ),
        ):
            if not path.startswith(roots) or not _FIELD_PATH.fullmatch(path):
                self._reject(
                    f"scale has {name}={path!r}", f"give a path below {' or '.join(roots)}"
                )


def by_kind(
    manifests: Iterable[dict[str, Any]], *, classes: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Put the versions of each kind, one class each, into one definition; the order of first appearance is kept.

    `classes` are the names of the classes that the manifests are made of, for messages.

    Raises DefinitionError when the classes disagree about the kind, or not exactly one of them is
    the storage version.
    """
    manifests = list(manifests)
    names = list(classes) or [manifest["spec"]["versions"][0]["name"] for manifest in manifests]
    found: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for owner, manifest in zip(names, manifests, strict=True):
        found.setdefault(manifest["metadata"]["name"], []).append((owner, manifest))
    return [_of_one_kind(name, made) for name, made in found.items()]


def _of_one_kind(name: str, made: Sequence[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    (first, merged), *others = made
    for owner, manifest in others:
        _check_agreement(name, (first, merged["spec"]), (owner, manifest["spec"]))
    versions = [version for _, manifest in made for version in manifest["spec"]["versions"]]
    names = [version["name"] for version in versions]
    owners = [owner for owner, _ in made]
    if len(set(names)) < len(names):
        twice = max(names, key=names.count)
        both = [owner for owner, version in zip(owners, names, strict=True) if version == twice]
        raise DefinitionError(
            f"two classes are version {twice} of {name} ({' and '.join(both)}): leave one out"
        )
    stored = [version["name"] for version in versions if version["storage"]]
    if len(stored) != 1:
        raise DefinitionError(
            f"{name} has {len(stored)} storage versions of {', '.join(names)}: "
            f"write storage=False in all classes of the kind but one ({', '.join(owners)})"
        )
    return {**merged, "spec": {**merged["spec"], "versions": versions}}


_KEYWORDS = {
    "shortNames": "short_names",
    "categories": "categories",
    "plural": "plural",
    "kind": "kind",
}


def _check_agreement(
    name: str, one: tuple[str, dict[str, Any]], other: tuple[str, dict[str, Any]]
) -> None:
    """Raise DefinitionError when two classes of one definition differ in what the versions share."""
    (first, known), (second, found) = one, other
    for keyword, then, now in (
        ("scope", known["scope"], found["scope"]),
        *(
            (word, known["names"].get(key), found["names"].get(key))
            for key, word in _KEYWORDS.items()
        ),
    ):
        if then != now:
            raise DefinitionError(
                f"the classes {first} and {second} are versions of {name} and differ in {keyword}=: {first} has "
                f"{then!r}, {second} has {now!r}: make them equal, it is the same for all versions"
            )


_API_VERSION = (
    "The versioned schema of this representation of an object. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources"
)
_KIND_DESCRIPTION = (
    "The kind of REST resource that this object represents, in CamelCase; it cannot be changed. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds"
)


def _has_fields(model: type[BaseModel], name: str) -> bool:
    """Return whether a kind has a spec, or a status, that says anything; `NoStatus` and the like do not."""
    field = model.model_fields.get(name)
    if field is None:
        return False
    choices = [field.annotation, *get_args(field.annotation)]
    return any(
        not (inspect.isclass(choice) and issubclass(choice, Model) and choice.absent)
        for choice in choices
        if choice is not type(None)
    )


def _column(column: PrinterColumn) -> dict[str, Any]:
    written: dict[str, Any] = {
        "name": column.name,
        "type": column.type,
        "jsonPath": column.json_path,
    }
    if column.description:
        written["description"] = column.description
    if column.format:
        written["format"] = column.format
    if column.priority:
        written["priority"] = column.priority
    return written
