"""The objects that decide, without the caches of an operator: listed once, or read from files.

What belongs here: a reader over them. What does not: the decision.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from kubernetes.client.models import V1Namespace

from operatorkit.cluster import ClusterAPI
from operatorkit.resource import api_resource_of, read
from operators.attestation.api import (
    AttestationAuthority,
    ClusterAttestationAuthority,
    ClusterImagePolicy,
    GrafeasServer,
    ImagePolicy,
    ImagePolicyException,
    ImageRevocation,
)

__all__ = ["KINDS", "Listed"]

T = TypeVar("T")

KINDS: Final[tuple[type[Any], ...]] = (
    AttestationAuthority,
    ClusterAttestationAuthority,
    ClusterImagePolicy,
    GrafeasServer,
    ImagePolicy,
    ImagePolicyException,
    ImageRevocation,
    V1Namespace,
)


class Listed:
    """The `Reader` of the decision, over what one list request each has found."""

    def __init__(self, objects: Mapping[type[Any], builtins.list[Any]]) -> None:
        self._objects = objects

    @classmethod
    async def of(cls, api: ClusterAPI, namespace: str) -> Listed:
        """List what decides in a namespace. Raises ClusterError."""
        found: dict[type[Any], builtins.list[Any]] = {}
        for kind in KINDS:
            resource = api_resource_of(kind)
            listed = await api.list(resource, namespace=namespace if resource.namespaced else None)
            found[kind] = [
                read(kind, {"apiVersion": resource.api_version, "kind": resource.kind, **obj}) for obj in listed.items
            ]
        return cls(found)

    def get(self, kind: type[T], name: str, *, namespace: str | None = None) -> T | None:
        """Return one object, or None."""
        return next((obj for obj in self.list(kind, namespace=namespace) if obj.metadata.name == name), None)  # type: ignore[attr-defined]

    def list(
        self,
        kind: type[T],
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
        index: tuple[str, str] | None = None,
    ) -> builtins.list[T]:
        """Return the objects of a kind."""
        assert labels is None, "the decision selects by itself"
        assert index is None, "the decision selects by itself"
        found: builtins.list[T] = self._objects[kind]
        return [obj for obj in found if namespace is None or obj.metadata.namespace == namespace]  # type: ignore[attr-defined]
