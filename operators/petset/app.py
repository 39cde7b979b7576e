"""The operator `petset`: its name and what it needs beyond its caches."""

from __future__ import annotations

from kubernetes.client.models import V1Node, V1Pod, V1StatefulSet, V1StorageClass

from operatorkit import Operator
from operators.petset.api import PetSet
from operators.petset.snapshots import VolumeSnapshot

__all__ = ["app"]

app = Operator("petset")

app.needs(PetSet, "get", reason="one live read before an object is adopted")
app.needs(
    V1Pod,
    "create",
    subresource="eviction",
    reason="available members are evicted, so that budgets hold",
)
app.needs(
    V1Pod,
    "get",
    reason="an evicted pod is read at once, so that the cache is not behind the eviction",
)
app.needs(
    V1Pod, "patch", subresource="resize", reason="resources change in place if inPlace allows it"
)
app.needs(
    V1Node, "get", reason="a live read confirms that a node was deleted before a name is used again"
)
app.needs(
    V1StatefulSet,
    "get",
    "delete",
    reason="one that is adopted is read, and deleted without its pods",
)
app.needs(
    V1StorageClass,
    "get",
    reason="it is read before a claim grows",
)
app.needs(
    VolumeSnapshot,
    "get",
    "list",
    "create",
    "delete",
    reason="claims are snapshotted before an update where snapshotBeforeUpdate asks for it",
)
