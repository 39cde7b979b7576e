"""Writes to an object that must still be as it was observed.

What belongs here: the patch that fails when the object has changed. What does not: caches of the
object, which the callers keep.
"""

from __future__ import annotations

from operatorkit.cluster.api import ClusterAPI, JSONObject, PatchType
from operatorkit.names import ApiResource

__all__ = ["patch_observed"]


async def patch_observed(
    api: ClusterAPI,
    resource: ApiResource,
    obj: JSONObject,
    body: JSONObject,
    subresource: str | None = None,
) -> JSONObject:
    """Merge `body` into an object that is still as it was observed, and return it. Raises Conflict, NotFound."""
    metadata = obj["metadata"]
    version = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
    return await api.patch(
        resource,
        metadata["name"],
        {**body, "metadata": {**body.get("metadata", {}), **version}},
        patch_type=PatchType.MERGE,
        namespace=metadata.get("namespace"),
        subresource=subresource,
    )
