"""What the scenarios of petset share: a namespace with PetSets, and the operator at work for it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from operatorkit.clock import SYSTEM_CLOCK
from operatorkit.cluster import LiveCluster, PatchType, load_config
from operatorkit.names import ApiResource
from operatorkit.testing import eventually
from operatorkit.testing.running import install_crds, remove_finalizers, running
from operators.petset import PetSet, app

PODS = ApiResource("", "v1", "Pod", "pods", namespaced=True)
PETSETS = PetSet.api_resource()
LABELS = {"app": "web"}


class Stateful:
    """A namespace with PetSets, and what its people do and see there."""

    def __init__(self, cluster, kubeconfig):
        self.cluster = cluster
        self.namespace = cluster.namespace
        self._kubeconfig = str(kubeconfig)

    async def command(self, *words):
        """Run `operatorkit petset ...` as a user would, and return what it prints."""
        line = [sys.executable, "-m", "operatorkit", "petset", *words, "--kubeconfig", self._kubeconfig]
        line += ["-n", self.namespace]
        done = await asyncio.to_thread(subprocess.run, line, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def create(self, *, image="web:1", container=None, grace_seconds=0, **spec):
        app_container = {"name": "app", "image": image, **(container or {})}
        template = {"metadata": {"labels": LABELS}, "spec": {"containers": [app_container]}}
        template["spec"]["terminationGracePeriodSeconds"] = grace_seconds
        body = {
            "apiVersion": PetSet.api_version,
            "kind": "PetSet",
            "metadata": {"name": "web"},
            "spec": {"replicas": 3, "selector": {"matchLabels": LABELS}, "template": template, **spec},
        }
        return await self.cluster.create(PETSETS, body, namespace=self.namespace)

    async def change(self, body, *, patch_type=PatchType.MERGE):
        return await self.cluster.patch(PETSETS, "web", body, patch_type=patch_type, namespace=self.namespace)

    async def set_image(self, image, **container):
        containers = [{"name": "app", "image": image, **container}]
        await self.change({"spec": {"template": {"spec": {"containers": containers}}}})

    async def update(self, image, behavior=None):
        """Change the image, and how pods of this template behave on simulated nodes."""
        annotations = {"nodes.operatorkit.dev/behavior": behavior}
        spec = {"containers": [{"name": "app", "image": image}]}
        await self.change({"spec": {"template": {"metadata": {"annotations": annotations}, "spec": spec}}})

    async def become(self, images):
        """Wait until the pods, those that are terminating left out, have just these images."""

        async def are_so():
            assert await self.images() == images, await self.status()
            return True

        await eventually(are_so)

    async def says(self, type_, reason, *words, status=None):
        """Wait until a condition has a reason, and all words in its message."""

        async def is_so():
            found = await self.condition(type_)
            assert found.get("reason") == reason, found
            assert all(word in found["message"] for word in words), found
            assert status in {None, found["status"]}, found
            return found

        return await eventually(is_so)

    async def get(self, resource, name):
        return await self.cluster.get(resource, name, namespace=self.namespace)

    async def patch(self, resource, name, body, **options):
        options = {"patch_type": PatchType.MERGE, "namespace": self.namespace, **options}
        return await self.cluster.patch(resource, name, body, **options)

    async def delete(self, resource, name, **options):
        await self.cluster.delete(resource, name, namespace=self.namespace, **options)

    async def uids(self):
        return {name: pod["metadata"]["uid"] for name, pod in (await self.pods()).items()}

    async def pods(self):
        found = (await self.cluster.list(PODS, namespace=self.namespace)).items
        return {pod["metadata"]["name"]: pod for pod in found if not pod["metadata"].get("deletionTimestamp")}

    async def images(self):
        return {name: pod["spec"]["containers"][0]["image"] for name, pod in (await self.pods()).items()}

    async def status(self):
        return (await self.cluster.get(PETSETS, "web", namespace=self.namespace)).get("status") or {}

    async def condition(self, type_):
        found = (await self.status()).get("conditions") or []
        return next((each for each in found if each["type"] == type_), {})

    async def available(self, count):
        async def is_so():
            status = await self.status()
            assert status.get("availableReplicas") == count, status
            assert status.get("replicas") == count, status
            return True

        await eventually(is_so)

    async def completed(self, image, count=3):
        async def is_so():
            images, status = await self.images(), await self.status()
            assert list(images.values()) == [image] * count, images
            assert status["currentRevision"] == status["updateRevision"], status
            assert status["availableReplicas"] == count, status
            return True

        await eventually(is_so)


async def _operators(stack, cluster):
    """Return the operator's client: the user of PETSET_KUBECONFIG where that is set, as a test of its rights does."""
    path = os.environ.get("PETSET_KUBECONFIG")
    return await stack.enter_async_context(LiveCluster(load_config(Path(path)))) if path else cluster


@pytest.fixture
async def sets(cluster, nodes, controlplane, tmp_path):
    await install_crds(cluster, [PetSet])
    assert nodes is not None or "PETSET_KUBECONFIG" in os.environ, "members need nodes to run on"
    stateful = Stateful(cluster, controlplane.write_kubeconfig(tmp_path / "kubeconfig"))

    @asynccontextmanager
    async def at_work(clock=SYSTEM_CLOCK):
        async with AsyncExitStack() as stack:
            api = await _operators(stack, cluster)
            options = {"namespace": cluster.namespace, "clock": clock}
            stateful.engine = await stack.enter_async_context(running(app, api, **options))
            yield stateful

    yield at_work
    await remove_finalizers(app, cluster, cluster.namespace)
