"""Reading objects that were listed once: for commands and tests, which have no caches.

What belongs here: an `ObjectReader` (`operatorkit.context`) over one list request for each kind.
What does not: caches that follow the cluster (`operatorkit.cluster`).
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

from operatorkit.cluster import ClusterAPI
from operatorkit.resource import api_resource_of, read

__all__ = ["ListedReader"]

T = TypeVar("T")
Indexes = Mapping[tuple[type[Any], str], Callable[[Any], Iterable[str]]]


class ListedReader:
    """The objects of some kinds as they were when they were listed; a kind that was not listed has none.

    Guarantees: lists are ordered by namespace and name, as those of an operator's caches are.
    """

    def __init__(
        self, objects: Mapping[type[Any], Iterable[Any]], *, indexes: Indexes | None = None
    ) -> None:
        self._objects = {kind: sorted(found, key=_key) for kind, found in objects.items()}
        self._indexes = indexes or {}

    @classmethod
    async def load(
        cls,
        api: ClusterAPI,
        *kinds: type[Any],
        namespace: str | None = None,
        indexes: Indexes | None = None,
    ) -> ListedReader:
        """List the objects of `kinds`, of namespaced ones those in `namespace`, or all with None.

        `indexes` has the function of each index that is read, by kind and name. Raises
        ClusterError; InvalidObject for an object that cannot be read as its kind.
        """
        found: dict[type[Any], list[Any]] = {}
        for kind in kinds:
            resource = api_resource_of(kind)
            listed = await api.list(resource, namespace=namespace if resource.namespaced else None)
            found[kind] = [read(kind, each) for each in listed.items]
        return cls(found, indexes=indexes)

    def get(self, kind: type[T], name: str, *, namespace: str | None = None) -> T | None:
        """Return one object, or None."""
        found = self.list(kind, namespace=namespace)
        return next((each for each in found if cast("Any", each).metadata.name == name), None)

    def list(
        self,
        kind: type[T],
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
        index: tuple[str, str] | None = None,
    ) -> builtins.list[T]:
        """Return the objects that match all that is given. Raises KeyError for an index that was not given."""
        found: list[Any] = self._objects.get(kind, [])
        if namespace is not None and api_resource_of(kind).namespaced:
            found = [each for each in found if each.metadata.namespace == namespace]
        if labels is not None:
            found = [
                each for each in found if labels.items() <= (each.metadata.labels or {}).items()
            ]
        if index is not None:
            values = self._indexes[kind, index[0]]
            found = [each for each in found if index[1] in values(each)]
        return list(found)


def _key(obj: Any) -> tuple[str, str]:
    return obj.metadata.namespace or "", obj.metadata.name
