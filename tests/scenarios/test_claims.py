"""Claims: what keeps them, and what lets them go."""

from __future__ import annotations

import pytest

from operatorkit.errors import NotFound
from operatorkit.names import ApiResource
from operatorkit.testing import eventually

CLAIMS = ApiResource("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", namespaced=True)
PODS = ApiResource("", "v1", "Pod", "pods", namespaced=True)


def claim(name):
    resources = {"requests": {"storage": "1Gi"}}
    spec = {"accessModes": ["ReadWriteOnce"], "resources": resources}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def pod(volume):
    containers = [{"name": "app", "image": "web:1"}]
    spec = {"containers": containers, "volumes": [{"name": "data", **volume}], "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "user"}, "spec": spec}


async def test_a_deleted_claim_that_a_pod_uses_stays_until_the_pod_is_gone(cluster, nodes):
    where = {"namespace": cluster.namespace}

    async def is_scheduled():
        return (await cluster.get(PODS, "user", **where))["spec"].get("nodeName")

    async def is_gone():
        with pytest.raises(NotFound):
            await cluster.get(CLAIMS, "used", **where)
        return True

    await cluster.create(CLAIMS, claim("used"), **where)
    await cluster.create(PODS, pod({"persistentVolumeClaim": {"claimName": "used"}}), **where)
    await eventually(is_scheduled)
    await cluster.delete(CLAIMS, "used", **where)
    kept = await cluster.get(CLAIMS, "used", **where)
    assert "kubernetes.io/pvc-protection" in kept["metadata"]["finalizers"]
    await cluster.delete(PODS, "user", **where)
    await eventually(is_gone)


async def test_a_deleted_claim_that_no_pod_uses_is_gone_at_once(cluster):
    where = {"namespace": cluster.namespace}
    await cluster.create(CLAIMS, claim("idle"), **where)
    await cluster.delete(CLAIMS, "idle", **where)

    async def is_gone():
        with pytest.raises(NotFound):
            await cluster.get(CLAIMS, "idle", **where)
        return True

    await eventually(is_gone)
