"""Writing the status of a pod, for schedulers and kubelets."""

from __future__ import annotations

from operatorkit.cluster.api import ClusterAPI, JSONObject, PatchType
from operatorkit.controlplane.nodes.kinds import PODS

__all__ = ["write_status"]


async def write_status(api: ClusterAPI, pod: JSONObject, new: JSONObject) -> JSONObject:
    """Patch the status of a pod if that changes something; return the pod as it is then.

    The argument itself is returned where nothing was written. Raises Conflict, NotFound.
    """
    old = pod.get("status") or {}
    if all(old.get(key) == value for key, value in new.items()):
        return pod
    metadata = pod["metadata"]
    return await api.patch(
        PODS,
        metadata["name"],
        {
            "metadata": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]},
            "status": new,
        },
        patch_type=PatchType.MERGE,
        namespace=metadata["namespace"],
        subresource="status",
    )
