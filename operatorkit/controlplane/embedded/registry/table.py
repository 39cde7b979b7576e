"""Which resources are served, and what a request can do with each.

What belongs here: `Served`, one resource of one version, and the table of all of them, which CRDs extend at run time.
What does not: what is done with an object of it (`strategy`), and discovery documents (`discovery`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from operatorkit.controlplane.embedded.scheme.convert import convert
from operatorkit.controlplane.embedded.scheme.resources import BuiltinResource, builtin_resources
from operatorkit.controlplane.embedded.serializer.json import encode, split_envelope
from operatorkit.names import ApiResource, GroupVersionKind

if TYPE_CHECKING:
    from operatorkit.controlplane.embedded.registry.strategy import Strategy
    from operatorkit.controlplane.embedded.storage.store import Record

__all__ = ["Registry", "Served", "Subresource", "envelope", "version_order"]


_PLACES = {
    "endpoints": "services/endpoints",
    "ingresses.networking.k8s.io": "ingress",
    "nodes": "minions",
    "replicationcontrollers": "controllers",
    "services": "services/specs",
    "customresourcedefinitions.apiextensions.k8s.io": "apiextensions.k8s.io/customresourcedefinitions",
}
"""Where kube-apiserver keeps collections that are not under their own names."""


@dataclass(frozen=True, slots=True)
class Subresource:
    """A part of a resource with an address of its own, such as `status`."""

    name: str
    gvk: GroupVersionKind
    verbs: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Served:
    """One resource in one version: its names, how it is stored, and what decides about its objects.

    `collection` names where the objects are; versions of one resource share it. `envelope` is put before stored
    bytes. `converts_schema` says that objects may have been stored by another schema:
    they are pruned and defaulted when read.
    """

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool
    short_names: tuple[str, ...]
    categories: tuple[str, ...]
    verbs: tuple[str, ...]
    subresources: Mapping[str, Subresource]
    list_kind: str
    storage_version_hash: str
    collection: str
    stored_as: GroupVersionKind
    builtin: bool
    strategy: Strategy
    definition: Mapping[str, Any] = field(default_factory=dict)  # the CRD's version entry
    crd: Mapping[str, Any] = field(default_factory=dict)
    envelope: bytes = b""
    converts_schema: bool = False
    gvk: GroupVersionKind = field(init=False)
    """The full name of the kind."""
    converts: bool = field(init=False)
    """Whether stored objects differ from this version in more than their envelope."""

    def __post_init__(self) -> None:
        gvk = GroupVersionKind(self.group, self.version, self.kind)
        object.__setattr__(self, "gvk", gvk)
        object.__setattr__(self, "converts", self.builtin and self.stored_as != gvk)

    @property
    def api_version(self) -> str:
        """What objects of it say in `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """The name that messages use: `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_resource(self) -> ApiResource:
        """What a client needs to know of it."""
        return ApiResource(self.group, self.version, self.kind, self.plural, self.namespaced)

    def storage_key(self, namespace: str, name: str) -> str:
        """Return where kube-apiserver keeps an object, which some of its messages show."""
        place = self.plural if self.builtin else f"{self.group}/{self.plural}"
        return "/".join(
            ("/registry", _PLACES.get(self.collection, place), *filter(None, (namespace, name)))
        )

    def convert(self, obj: dict[str, Any], version: GroupVersionKind) -> dict[str, Any]:
        """Return `obj` as `version` has it."""
        if self.builtin and obj.get("apiVersion") != version.api_version:
            return convert(obj, version)
        obj["kind"], obj["apiVersion"] = version.kind, version.api_version
        return obj

    def stored(self, obj: dict[str, Any]) -> dict[str, Any]:
        """Return an object of this version as it is stored."""
        return self.convert(obj, self.stored_as)

    def read(self, record: Record) -> dict[str, Any]:
        """Return a fresh copy of a stored object in this version."""
        obj = record.decode()
        head = {"kind": self.stored_as.kind, "apiVersion": self.stored_as.api_version}
        converted = self.convert(head | obj, self.gvk)
        if self.converts_schema:
            self.strategy.shape(converted)
        return converted

    def bytes_of(self, record: Record) -> bytes:
        """Return a stored object in this version as JSON."""
        return b"".join(self.parts_of(record))

    def parts_of(self, record: Record) -> tuple[bytes, ...]:
        """Return the same in parts, of which the long one is kept with the object and not copied."""
        if self.converts or self.converts_schema:
            return (record.view(self, lambda: encode(self.read(record))),)
        return self.envelope, record.body

    def item_of(self, record: Record) -> bytes:
        """Return a stored object as an item of a list: built-in kinds leave their envelope to the list."""
        if not self.builtin:
            return self.bytes_of(record)
        if self.converts:
            return b"{" + split_envelope(self.read(record))
        return b"{" + record.body

    def fields(self, record: Record) -> Mapping[str, str]:
        """Return the fields by which a stored object can be selected."""
        head = {"kind": self.stored_as.kind, "apiVersion": self.stored_as.api_version}
        return record.fields(
            self.strategy, lambda obj: self.strategy.fields(self.convert(head | obj, self.gvk))
        )


def envelope(kind: str, api_version: str) -> bytes:
    """Return the beginning of an object's JSON, up to its first field."""
    return f'{{"kind":"{kind}","apiVersion":"{api_version}",'.encode()


def _builtin(resource: BuiltinResource, strategy: Strategy) -> Served:
    stored = resource.stored_as
    return Served(
        group=resource.group,
        version=resource.version,
        kind=resource.kind,
        plural=resource.plural,
        singular=resource.singular,
        namespaced=resource.namespaced,
        short_names=resource.short_names,
        categories=resource.categories,
        verbs=resource.verbs,
        subresources={
            it.name: Subresource(it.name, GroupVersionKind(it.group, it.version, it.kind), it.verbs)
            for it in resource.subresources
        },
        list_kind=f"{resource.kind}List",
        storage_version_hash=resource.storage_version_hash,
        collection=f"{resource.plural}.{stored.group}" if stored.group else resource.plural,
        stored_as=stored,
        builtin=True,
        strategy=strategy,
        envelope=envelope(resource.kind, resource.gvk.api_version),
    )


def version_order(version: str) -> tuple[int, int, int, str]:
    """Return a key that sorts versions as Kubernetes prefers them: v2, v1, v1beta2, v1alpha1, others by name."""
    found = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if found is None:
        return 3, 0, 0, version
    stage = {None: 0, "beta": 1, "alpha": 2}[found[2]]
    return stage, -int(found[1]), -int(found[3] or 0), version


class Registry:
    """The table of served resources. `generation` grows with every change, so that documents can be kept."""

    def __init__(self, strategy: Callable[[BuiltinResource], Strategy]) -> None:
        self.generation: int = 0
        self._served: dict[tuple[str, str, str], Served] = {}
        self._groups: dict[str, list[str]] = {}
        for resource in builtin_resources():
            self.add(_builtin(resource, strategy(resource)))

    def add(self, served: Served) -> None:
        """Serve a resource, or serve it differently from now on."""
        self._served[served.group, served.version, served.plural] = served
        versions = self._groups.setdefault(served.group, [])
        if served.version not in versions:
            versions.append(served.version)
            if not served.builtin:
                versions.sort(key=version_order)
        self.generation += 1

    def remove(self, served: Served) -> None:
        """Serve a resource no longer."""
        self._served.pop((served.group, served.version, served.plural), None)
        if not any(
            it.group == served.group and it.version == served.version
            for it in self._served.values()
        ):
            self._groups[served.group].remove(served.version)
            if not self._groups[served.group]:
                del self._groups[served.group]
        self.generation += 1

    def find(self, group: str, version: str, plural: str) -> Served | None:
        """Return the resource served at that address, or None."""
        return self._served.get((group, version, plural))

    def by_kind(self, gvk: GroupVersionKind) -> Served | None:
        """Return the resource whose objects are of that kind, or None."""
        return next(
            (
                it
                for it in self._served.values()
                if it.gvk == gvk and (it.verbs or not it.subresources)
            ),
            None,
        )

    def resources(self) -> list[Served]:
        """Return every served resource, group by group as they were added."""
        return list(self._served.values())

    def groups(self) -> Mapping[str, list[str]]:
        """Return the versions of each group, preferred first."""
        return self._groups
