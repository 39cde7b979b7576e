"""Which built-in resources there are, as discovery lists them.

Source: `resources.json`, made by `tools/kubernetes_data.py` from Kubernetes' published discovery documents.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from operatorkit.names import ApiResource, GroupVersionKind

__all__ = ["BuiltinResource", "BuiltinSubresource", "builtin_resources"]

# Kinds that several groups or versions serve are stored once; the others are views of it.
_STORED_AS = {
    GroupVersionKind("events.k8s.io", "v1", "Event"): GroupVersionKind("", "v1", "Event"),
    GroupVersionKind("autoscaling", "v1", "HorizontalPodAutoscaler"): GroupVersionKind(
        "autoscaling", "v2", "HorizontalPodAutoscaler"
    ),
}


@dataclass(frozen=True, slots=True)
class BuiltinSubresource:
    """One subresource, such as `status` or `scale`, the kind it speaks, and what may be done with it."""

    name: str
    group: str
    version: str
    kind: str
    verbs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BuiltinResource:
    """One resource of one group and version. `verbs` is empty where only subresources are served."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool
    short_names: tuple[str, ...]
    categories: tuple[str, ...]
    verbs: tuple[str, ...]
    storage_version_hash: str
    subresources: tuple[BuiltinSubresource, ...]

    @property
    def gvk(self) -> GroupVersionKind:
        """The full name of the kind."""
        return GroupVersionKind(self.group, self.version, self.kind)

    @property
    def stored_as(self) -> GroupVersionKind:
        """The kind under which objects are kept; differs from `gvk` where two versions serve the same objects.

        `operatorkit.controlplane.embedded.scheme.convert` turns one into the other.
        """
        return _STORED_AS.get(self.gvk, self.gvk)

    @property
    def api_resource(self) -> ApiResource:
        """What a client needs to know of it."""
        return ApiResource(self.group, self.version, self.kind, self.plural, self.namespaced)

    def subresource(self, name: str) -> BuiltinSubresource | None:
        """Return a subresource by name, or None."""
        return next((it for it in self.subresources if it.name == name), None)


@cache
def builtin_resources() -> tuple[BuiltinResource, ...]:
    """Return every resource that a server with default settings serves.

    Groups, and versions within a group, come in the order in which Kubernetes prefers them.
    """
    text = files("operatorkit.controlplane.embedded.scheme").joinpath("resources.json").read_text()
    return tuple(_read(it) for it in json.loads(text)["resources"])


def _read(entry: dict[str, Any]) -> BuiltinResource:
    subresources = tuple(
        BuiltinSubresource(it["name"], it["group"], it["version"], it["kind"], tuple(it["verbs"]))
        for it in entry["subresources"]
    )
    lists = {key: tuple(entry[key]) for key in ("short_names", "categories", "verbs")}
    return BuiltinResource(**{**entry, **lists, "subresources": subresources})
