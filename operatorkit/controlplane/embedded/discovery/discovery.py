"""Discovery documents: groups, versions, resources.

What belongs here: the legacy documents (`/api`, `/apis`, one per version) and the aggregated one, and their ETags. What
does not: OpenAPI (`openapi`).

Source: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from operatorkit.controlplane.embedded.registry.table import Registry, Served
from operatorkit.controlplane.embedded.serializer.json import encode

__all__ = ["Discovery"]

Object = dict[str, Any]


class Discovery:
    """The discovery documents of one registry, made again when it changes."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._generation = -1
        self._cache: dict[str, tuple[bytes, str]] = {}

    def document(self, path: str, *, aggregated: bool, address: str) -> tuple[bytes, str] | None:
        """Return the document at `path` and its ETag, or None where there is none.

        `address` is where clients connect to.
        """
        if self._generation != self._registry.generation:
            self._cache.clear()
            self._generation = self._registry.generation
        key = f"{aggregated} {address} {path}"
        if key not in self._cache:
            document = self._make(path, aggregated=aggregated, address=address)
            if document is None:
                return None
            body = encode(document)
            self._cache[key] = body, f'"{hashlib.sha512(body).hexdigest().upper()}"'
        return self._cache[key]

    def _make(self, path: str, *, aggregated: bool, address: str) -> Object | None:
        parts = path.strip("/").split("/")
        match parts:
            case ["api"]:
                return self._aggregated(core=True) if aggregated else _api_versions(address)
            case ["apis"]:
                return self._aggregated(core=False) if aggregated else self._group_list()
            case ["apis", group]:
                return (
                    self._group(group, alone=True)
                    if group in self._registry.groups() and group
                    else None
                )
            case ["api", version]:
                return self._resource_list("", version)
            case ["apis", group, version]:
                return self._resource_list(group, version) if group else None
        return None

    def _group_list(self) -> Object:
        groups = [self._group(group, alone=False) for group in self._registry.groups() if group]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}

    def _group(self, group: str, *, alone: bool) -> Object:
        versions = [
            {"groupVersion": f"{group}/{version}", "version": version}
            for version in self._registry.groups()[group]
        ]
        head = {"kind": "APIGroup", "apiVersion": "v1"} if alone else {}
        return {**head, "name": group, "versions": versions, "preferredVersion": versions[0]}

    def _resource_list(self, group: str, version: str) -> Object | None:
        if version not in self._registry.groups().get(group, ()):
            return None
        entries = []
        for served in self._of(group, version):
            if served.verbs:
                entries.append(_legacy(served))
            for sub in served.subresources.values():
                entry: Object = {"name": f"{served.plural}/{sub.name}", "singularName": ""}
                entry["namespaced"] = served.namespaced
                if (sub.gvk.group, sub.gvk.version) != (group, version):
                    entry |= {"group": sub.gvk.group, "version": sub.gvk.version}
                entries.append(entry | {"kind": sub.gvk.kind, "verbs": list(sub.verbs)})
        name = f"{group}/{version}" if group else version
        head = {"kind": "APIResourceList"} | ({"apiVersion": "v1"} if group else {})
        return {
            **head,
            "groupVersion": name,
            "resources": sorted(entries, key=lambda it: str(it["name"])),
        }

    def _of(self, group: str, version: str) -> Iterable[Served]:
        return (
            it for it in self._registry.resources() if it.group == group and it.version == version
        )

    def _aggregated(self, *, core: bool) -> Object:
        items = []
        for group, versions in self._registry.groups().items():
            if bool(group) == core:
                continue
            entries = [
                {
                    "version": version,
                    "resources": [
                        _aggregated(it)
                        for it in sorted(self._of(group, version), key=lambda it: it.plural)
                    ],
                    "freshness": "Current",
                }
                for version in versions
            ]
            metadata = (
                {"name": group, "creationTimestamp": None} if group else {"creationTimestamp": None}
            )
            items.append({"metadata": metadata, "versions": entries})
        return {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": "apidiscovery.k8s.io/v2",
            "metadata": {},
            "items": items,
        }


def _api_versions(address: str) -> Object:
    clients = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": clients}


def _legacy(served: Served) -> Object:
    entry: Object = {
        "name": served.plural,
        "singularName": served.singular,
        "namespaced": served.namespaced,
        "kind": served.kind,
        "verbs": list(served.verbs),
    }
    if served.short_names:
        entry["shortNames"] = list(served.short_names)
    if served.categories:
        entry["categories"] = list(served.categories)
    if served.storage_version_hash:
        entry["storageVersionHash"] = served.storage_version_hash
    return entry


def _kind(group: str, version: str, kind: str) -> Object:
    return {"group": group, "version": version, "kind": kind}


def _aggregated(served: Served) -> Object:
    entry: Object = {"resource": served.plural}
    if served.verbs:
        entry["responseKind"] = _kind(served.group, served.version, served.kind)
    else:  # only its subresources are served
        entry["responseKind"] = _kind("", "", "")
    entry["scope"] = "Namespaced" if served.namespaced else "Cluster"
    entry["singularResource"] = served.singular
    entry["verbs"] = list(served.verbs)
    if served.short_names:
        entry["shortNames"] = list(served.short_names)
    if served.categories:
        entry["categories"] = list(served.categories)
    if served.subresources:
        entry["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": _kind(sub.gvk.group, sub.gvk.version, sub.gvk.kind),
                "verbs": list(sub.verbs),
            }
            for sub in sorted(served.subresources.values(), key=lambda it: it.name)
        ]
    return entry
