"""The top-level owner of a Pod: the Deployment above its ReplicaSet, the CronJob above its Job.

What belongs here: walking up by controller references. What does not: what the owner is notified of.

A Pod that is denied does not exist, and neither does anything that a user would look at, except its owner.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kubernetes.client.models import V1Job, V1ReplicaSet

from operatorkit.cluster import ClusterAPI
from operatorkit.errors import ClusterError
from operatorkit.events import Reference
from operatorkit.kinds import JOBS, REPLICA_SETS
from operators.attestation.app import app

__all__ = ["top_owner"]

_BETWEEN: Final = {  # kinds that have an owner themselves, as a rule
    ("apps/v1", "ReplicaSet"): REPLICA_SETS,
    ("batch/v1", "Job"): JOBS,
}
_MAX_STEPS: Final = 4

app.needs(V1ReplicaSet, "get", reason="a denial is reported on the Deployment")
app.needs(V1Job, "get", reason="a denial is reported on the CronJob")


async def top_owner(
    api: ClusterAPI, metadata: Mapping[str, Any], namespace: str
) -> Reference | None:
    """Return the owner that has none itself; None for an object without a controller.

    An owner that cannot be read is the last one that is known.
    """
    found = _controller(metadata, namespace)
    for _ in range(_MAX_STEPS):
        if found is None or (resource := _BETWEEN.get((found.api_version, found.kind))) is None:
            break
        try:
            owner = await api.get(resource, found.name, namespace=namespace)
        except ClusterError:
            break
        if owner["metadata"].get("uid") != found.uid:
            break  # another object of that name
        above = _controller(owner["metadata"], namespace)
        if above is None:
            break
        found = above
    return found


def _controller(metadata: Mapping[str, Any], namespace: str) -> Reference | None:
    for owner in metadata.get("ownerReferences") or ():
        if isinstance(owner, Mapping) and owner.get("controller") is True:
            return Reference(
                api_version=str(owner.get("apiVersion", "")),
                kind=str(owner.get("kind", "")),
                name=str(owner.get("name", "")),
                namespace=namespace,
                uid=str(owner.get("uid", "")),
            )
    return None
