"""The CustomResourceDefinition of a class: names, versions, columns, subresources.

What belongs here: the options of a kind, checked when its class is defined, and the manifest made of them. What does
not: the schema in it (`operatorkit.crd.schema`) and its text (`operatorkit.crd.render`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from operatorkit.crd.markers import Rule
from operatorkit.names import ApiResource

__all__ = ["Definition", "PrinterColumn", "Scale", "plural_of"]

ColumnType = Literal["string", "integer", "number", "boolean", "date"]


@dataclass(frozen=True, slots=True)
class PrinterColumn:
    """A column of `kubectl get`. `json_path` starts with a dot; columns with a `priority` above 0 need `-o wide`."""

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
    """Return the lower-case English plural of a kind, as Kubernetes' own tools guess it."""
    word = kind.lower()
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return f"{word}es"
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return f"{word[:-1]}ies"
    return f"{word}s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What a kind's class says about the kind; `owner` is the name of that class, for messages."""

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

    @property
    def api_resource(self) -> ApiResource:
        """How API servers serve the kind."""
        return ApiResource(self.group, self.version, self.kind, self.plural, namespaced=self.scope == "Namespaced")

    def manifest(self, model: type[BaseModel]) -> dict[str, Any]:
        """Return the CustomResourceDefinition for objects of this model."""
        del model
        names = {
            "kind": self.kind,
            "listKind": f"{self.kind}List",
            "plural": self.plural,
            "singular": self.kind.lower(),
        }
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{self.plural}.{self.group}"},
            "spec": {
                "group": self.group,
                "names": names,
                "scope": self.scope,
                "versions": [],
            },
        }
