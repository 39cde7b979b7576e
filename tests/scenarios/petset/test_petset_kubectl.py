"""What users do with kubectl to a PetSet that the verbs of StatefulSets do for those."""

from __future__ import annotations

import asyncio
import json
import subprocess

import pytest

from operatorkit.controlplane.real import find
from operatorkit.names import ApiResource
from operatorkit.testing import eventually

pytestmark = pytest.mark.real  # needs kubectl
AUTOSCALERS = ApiResource("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", namespaced=True)


@pytest.fixture
def kubectl(tmp_path, controlplane):
    found = find()
    if found is None or found.kubectl is None:
        pytest.skip("there is no kubectl: `make test-real` builds it where Go is")
    kubeconfig = controlplane.write_kubeconfig(tmp_path / "kubectl.kubeconfig")

    async def run(stateful, *words):
        line = [str(found.kubectl), "--kubeconfig", str(kubeconfig), "-n", stateful.namespace, *words]
        environment = {"HOME": str(tmp_path)}
        options = {"capture_output": True, "text": True, "timeout": 120, "check": False, "env": environment}
        done = await asyncio.to_thread(subprocess.run, line, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


async def test_kubectl_scales_and_waits(sets, kubectl):
    async with sets() as stateful:
        await stateful.create()
        assert "condition met" in await kubectl(
            stateful, "wait", "petset/web", "--for=condition=Available", "--timeout=60s"
        )
        await kubectl(stateful, "scale", "petset", "web", "--current-replicas=3", "--replicas=2")
        wanted = "--for=jsonpath={.status.replicas}=2"
        assert "condition met" in await kubectl(stateful, "wait", "pets/web", wanted, "--timeout=60s")
        assert set(await stateful.pods()) == {"web-0", "web-1"}


async def test_an_autoscaler_finds_the_scale_the_replicas_and_the_pods_of_a_set(sets, kubectl):
    async with sets() as stateful:
        await stateful.create(replicas=2)
        await stateful.available(2)
        path = f"/apis/apps.operatorkit.dev/v1alpha1/namespaces/{stateful.namespace}/petsets/web/scale"
        scale = json.loads(await kubectl(stateful, "get", "--raw", path))
        assert scale["spec"] == {"replicas": 2}
        assert scale["status"] == {"replicas": 2, "selector": "app=web"}
        names = (await kubectl(stateful, "get", "pods", "-l", scale["status"]["selector"], "-o", "name")).split()
        assert names == ["pod/web-0", "pod/web-1"]
        await kubectl(stateful, "autoscale", "petset", "web", "--min=3", "--max=5", "--cpu=80%")
        made = await stateful.get(AUTOSCALERS, "web")
        assert made["spec"]["scaleTargetRef"] == {
            "apiVersion": "apps.operatorkit.dev/v1alpha1",
            "kind": "PetSet",
            "name": "web",
        }


async def test_the_real_autoscaler_scales_a_set_into_its_bounds(sets, kubectl, is_real):
    """Below minReplicas it needs no metrics."""
    if not is_real:
        pytest.skip("the embedded control plane has no horizontal-pod-autoscaler")
    async with sets() as stateful:
        await stateful.create(replicas=1)
        await stateful.available(1)
        await kubectl(stateful, "autoscale", "petset", "web", "--min=3", "--max=5", "--cpu=80%")

        async def is_scaled():
            assert set(await stateful.pods()) == {"web-0", "web-1", "web-2"}
            return True

        await eventually(is_scaled, timeout=120)


async def test_explain_describes_fields_that_stateful_sets_lack(sets, kubectl):
    async with sets() as stateful:
        text = await kubectl(stateful, "explain", "petset.spec.disruption.gates")
        assert "CEL expression that is true where the member may be disrupted" in text
        assert "enum: Deny, Allow" in text
        columns = await kubectl(stateful, "get", "crd", "petsets.apps.operatorkit.dev", "-o", "json")
        names = json.loads(columns)["spec"]["versions"][0]["additionalPrinterColumns"]
        assert [each["name"] for each in names][:5] == ["Desired", "Ready", "Updated", "Revision", "Age"]
