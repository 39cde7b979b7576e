"""A PetSet's life on a control plane with simulated nodes: creation, scaling, updates, deletion."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest

from operatorkit.cluster import PatchType
from operatorkit.errors import NotFound
from operatorkit.names import ApiResource
from operatorkit.testing import eventually
from operatorkit.testing.running import install_crds, running
from operators.petset import PetSet, app

PODS = ApiResource("", "v1", "Pod", "pods", namespaced=True)
CLAIMS = ApiResource("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", namespaced=True)
SERVICES = ApiResource("", "v1", "Service", "services", namespaced=True)
REVISIONS = ApiResource("apps", "v1", "ControllerRevision", "controllerrevisions", namespaced=True)
PETSETS = PetSet.api_resource()
LABELS = {"app": "web"}


class Stateful:
    """A namespace with PetSets, and what its people do and see there."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.namespace = cluster.namespace

    async def create(self, *, image="web:1", container=None, **spec):
        app_container = {"name": "app", "image": image, **(container or {})}
        template = {"metadata": {"labels": LABELS}, "spec": {"containers": [app_container]}}
        template["spec"]["terminationGracePeriodSeconds"] = 0
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


@pytest.fixture
async def sets(cluster, nodes):
    await install_crds(cluster, [PetSet])
    assert nodes is not None, "members need nodes to run on"
    stateful = Stateful(cluster)

    @asynccontextmanager
    async def at_work():
        async with running(app, cluster, namespace=cluster.namespace) as engine:
            stateful.engine = engine
            yield stateful

    yield at_work


async def test_three_members_come_up_in_order_with_stable_names(sets):
    async with sets() as stateful:
        await stateful.create(serviceName="web")
        await stateful.available(3)
        pods = await stateful.pods()
    assert list(pods) == ["web-0", "web-1", "web-2"]
    born = [pods[name]["metadata"]["creationTimestamp"] for name in pods]
    assert born == sorted(born)
    first = pods["web-0"]
    assert first["spec"]["hostname"] == "web-0"
    assert first["spec"]["subdomain"] == "web"
    assert first["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] == "web-0"
    assert first["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "0"
    service = await stateful.cluster.get(SERVICES, "web", namespace=stateful.namespace)
    assert service["spec"]["clusterIP"] == "None"


async def test_an_update_reaches_every_member_and_keeps_the_history(sets):
    async with sets() as stateful:
        await stateful.create()
        await stateful.available(3)
        before = await stateful.pods()
        await stateful.set_image("web:2")
        await stateful.completed("web:2")
        after = await stateful.pods()
        revisions = (await stateful.cluster.list(REVISIONS, namespace=stateful.namespace)).items
    assert {pod["metadata"]["uid"] for pod in before.values()}.isdisjoint(
        pod["metadata"]["uid"] for pod in after.values()
    )
    assert sorted(revision["revision"] for revision in revisions) == [1, 2]


async def test_a_rollout_that_cannot_start_says_why_and_heals_when_it_is_corrected(sets):
    missing = {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "nowhere", "key": "a"}}}]}
    async with sets() as stateful:
        await stateful.create()
        await stateful.available(3)
        await stateful.set_image("web:2", **missing)

        async def says_why():
            degraded = await stateful.condition("Degraded")
            assert degraded.get("status") == "True", degraded
            assert "web-2: container app: CreateContainerConfigError" in degraded["message"]
            return True

        await eventually(says_why)
        assert {name for name, image in (await stateful.images()).items() if image == "web:1"} == {"web-0", "web-1"}
        await stateful.set_image("web:3")
        await stateful.completed("web:3")
        assert (await stateful.condition("Degraded"))["status"] == "False"


async def test_scaling_removes_the_highest_and_keeps_the_claims(sets):
    claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    claim["spec"]["resources"] = {"requests": {"storage": "1Gi"}}
    async with sets() as stateful:
        await stateful.create(volumeClaimTemplates=[claim], podManagementPolicy="Parallel")
        await eventually(lambda: _pods_are(stateful, ["web-0", "web-1", "web-2"]))
        await stateful.change({"spec": {"replicas": 1}})
        await eventually(lambda: _pods_are(stateful, ["web-0"]))
        claims = (await stateful.cluster.list(CLAIMS, namespace=stateful.namespace)).items
    assert [each["metadata"]["name"] for each in claims] == ["data-web-0", "data-web-1", "data-web-2"]


async def test_a_deleted_set_removes_its_members_and_goes(sets):
    async with sets() as stateful:
        await stateful.create()
        await stateful.available(3)
        await stateful.cluster.delete(PETSETS, "web", namespace=stateful.namespace)

        async def is_gone():
            with pytest.raises(NotFound):
                await stateful.cluster.get(PETSETS, "web", namespace=stateful.namespace)
            return True

        await eventually(is_gone)
        assert await stateful.pods() == {}


async def test_a_set_with_nothing_to_do_makes_no_request(sets):
    async with sets() as stateful:
        await stateful.create()
        await stateful.available(3)
        await stateful.engine.settled()
        before = stateful.engine.writes()
        await stateful.change({"metadata": {"labels": {"touched": "yes"}}})
        await stateful.engine.settled()
    assert stateful.engine.writes() == before


async def _pods_are(stateful, names):
    assert list(await stateful.pods()) == names
    return True
