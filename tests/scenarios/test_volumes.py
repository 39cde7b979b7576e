"""Claims and volumes are bound to one another, and what becomes of one when the other is gone."""

from __future__ import annotations

import secrets
from contextlib import suppress

import pytest

from operatorkit.cluster import PatchType
from operatorkit.errors import NotFound
from operatorkit.kinds import EVENTS, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, STORAGE_CLASSES
from operatorkit.testing import eventually


class Storage:
    """A StorageClass of this test's own, without or with a provisioner that does nothing."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.name = f"test-{secrets.token_hex(4)}"
        self.where = {"namespace": cluster.namespace}

    async def create_class(self, mode="Immediate", provisioner="kubernetes.io/no-provisioner"):
        body = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": self.name}}
        await self.cluster.create(STORAGE_CLASSES, {**body, "provisioner": provisioner, "volumeBindingMode": mode})

    async def volume(self, name, size="1Gi", **spec):
        spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": self.name, **spec}
        labels = spec.pop("labels", {})
        spec = {"capacity": {"storage": size}, "hostPath": {"path": "/nowhere"}, **spec}
        metadata = {"name": f"{name}-{self.name}", "labels": labels}
        body = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": spec}
        return await self.cluster.create(PERSISTENT_VOLUMES, body)

    async def claim(self, name, size="1Gi", **spec):
        spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": self.name, **spec}
        spec["resources"] = {"requests": {"storage": size}}
        body = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}
        return await self.cluster.create(PERSISTENT_VOLUME_CLAIMS, body, **self.where)

    async def get_claim(self, name):
        return await self.cluster.get(PERSISTENT_VOLUME_CLAIMS, name, **self.where)

    async def get_volume(self, name):
        return await self.cluster.get(PERSISTENT_VOLUMES, f"{name}-{self.name}")

    async def bound(self, claim, volume):
        async def is_bound():
            held, found = await self.get_claim(claim), await self.get_volume(volume)
            assert held["status"]["phase"] == found["status"]["phase"] == "Bound", (held, found)
            assert held["spec"]["volumeName"] == f"{volume}-{self.name}"
            assert found["spec"]["claimRef"]["uid"] == held["metadata"]["uid"]
            return held, found

        return await eventually(is_bound, timeout=60)

    async def has_phase(self, read, name, phase):
        async def has():
            found = await read(name)
            assert found["status"].get("phase") == phase, found
            return found

        return await eventually(has, timeout=60)

    async def reported(self, reason, *words):
        async def is_reported():
            found = (await self.cluster.list(EVENTS, **self.where)).items
            messages = [each["message"] for each in found if each["reason"] == reason]
            assert any(all(word in message for word in words) for message in messages), messages
            return True

        await eventually(is_reported, timeout=60)


@pytest.fixture
async def storage(cluster):
    held = Storage(cluster)
    yield held
    volumes = [it["metadata"]["name"] for it in (await cluster.list(PERSISTENT_VOLUMES)).items]
    for name in volumes:
        if name.endswith(held.name):
            with suppress(NotFound):
                await cluster.delete(PERSISTENT_VOLUMES, name)
    with suppress(NotFound):
        await cluster.delete(STORAGE_CLASSES, held.name)


async def test_a_claim_gets_the_smallest_volume_that_is_large_enough(storage):
    await storage.create_class()
    await storage.volume("small", "1Gi")
    await storage.volume("large", "10Gi")
    await storage.volume("fitting", "3Gi")
    await storage.has_phase(storage.get_volume, "fitting", "Available")
    await storage.claim("data", "2Gi")
    claim, volume = await storage.bound("data", "fitting")
    assert claim["status"]["capacity"] == {"storage": "3Gi"}
    assert claim["status"]["accessModes"] == ["ReadWriteOnce"]
    marks = {"pv.kubernetes.io/bind-completed": "yes", "pv.kubernetes.io/bound-by-controller": "yes"}
    assert claim["metadata"]["annotations"].items() >= marks.items()
    assert volume["metadata"]["annotations"]["pv.kubernetes.io/bound-by-controller"] == "yes"


async def test_a_claim_gets_only_what_its_modes_and_its_selector_allow(storage):
    await storage.create_class()
    await storage.volume("once")
    await storage.volume("unlabelled", accessModes=["ReadWriteMany"])
    await storage.volume("labelled", "5Gi", accessModes=["ReadWriteMany", "ReadWriteOnce"], labels={"disk": "fast"})
    for name in ("once", "unlabelled", "labelled"):
        await storage.has_phase(storage.get_volume, name, "Available")
    await storage.claim("data", accessModes=["ReadWriteMany"], selector={"matchLabels": {"disk": "fast"}})
    await storage.bound("data", "labelled")


async def test_a_volume_that_comes_later_is_bound_to_the_claim_that_waits(storage):
    await storage.create_class()
    await storage.claim("data")
    await storage.has_phase(storage.get_claim, "data", "Pending")
    await storage.volume("late")
    await storage.bound("data", "late")


async def test_a_volume_made_for_a_claim_is_bound_to_it_alone(storage):
    await storage.create_class(provisioner="storage.example.org")
    claim = await storage.claim("mine")
    await storage.reported("ExternalProvisioning", "storage.example.org")
    named = (await storage.get_claim("mine"))["metadata"]["annotations"]
    assert named["volume.kubernetes.io/storage-provisioner"] == "storage.example.org"
    reference = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": "mine"}
    reference |= {"namespace": claim["metadata"]["namespace"], "uid": claim["metadata"]["uid"]}
    await storage.volume("made", claimRef=reference)
    await storage.bound("mine", "made")


async def test_a_claim_that_names_its_volume_gets_it(storage):
    await storage.create_class()
    await storage.volume("one")
    await storage.volume("two")
    await storage.claim("data", volumeName=f"two-{storage.name}")
    await storage.bound("data", "two")
    await storage.has_phase(storage.get_volume, "one", "Available")


async def test_a_volume_is_released_when_its_claim_is_deleted_and_kept_from_others(storage):
    await storage.create_class()
    await storage.volume("data", persistentVolumeReclaimPolicy="Retain")
    await storage.claim("first")
    await storage.bound("first", "data")
    await storage.cluster.delete(PERSISTENT_VOLUME_CLAIMS, "first", **storage.where)
    await storage.has_phase(storage.get_volume, "data", "Released")
    await storage.claim("second")
    await storage.has_phase(storage.get_claim, "second", "Pending")
    assert (await storage.get_volume("data"))["spec"]["claimRef"]["name"] == "first"


async def test_a_claim_whose_volume_is_deleted_is_lost(storage):
    await storage.create_class()
    await storage.volume("data")
    await storage.claim("data")
    await storage.bound("data", "data")
    name = f"data-{storage.name}"
    await storage.cluster.delete(PERSISTENT_VOLUMES, name)
    with suppress(NotFound):
        body = {"metadata": {"finalizers": None}}
        await storage.cluster.patch(PERSISTENT_VOLUMES, name, body, patch_type=PatchType.MERGE)
    await storage.has_phase(storage.get_claim, "data", "Lost")
    await storage.reported("ClaimLost", "lost its PersistentVolume")


async def test_a_claim_of_no_class_and_no_volume_says_so(storage):
    await storage.claim("data", storageClassName="")
    await storage.reported("FailedBinding", "no persistent volumes available for this claim")
    await storage.has_phase(storage.get_claim, "data", "Pending")


def pod_with_claim():
    spec = {"containers": [{"name": "app", "image": "web:1"}], "terminationGracePeriodSeconds": 0}
    spec["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "user"}, "spec": spec}


async def runs(storage):
    pod = await storage.cluster.get(PODS, "user", **storage.where)
    assert pod["status"]["phase"] == "Running", pod["status"]
    return pod


async def test_a_claim_that_waits_for_its_consumer_is_bound_when_a_pod_uses_it(storage, nodes):
    await storage.create_class(mode="WaitForFirstConsumer")
    await storage.volume("data")
    await storage.claim("data")
    await storage.reported("WaitForFirstConsumer", "waiting for first consumer")
    assert (await storage.get_claim("data"))["status"]["phase"] == "Pending"
    await storage.cluster.create(PODS, pod_with_claim(), **storage.where)
    await storage.bound("data", "data")
    await eventually(lambda: runs(storage), timeout=60)


async def test_a_volume_for_a_consumer_is_provisioned_for_the_node_that_was_selected(storage, nodes):
    await storage.create_class(mode="WaitForFirstConsumer", provisioner="storage.example.org")
    claim = await storage.claim("data")
    await storage.cluster.create(PODS, pod_with_claim(), **storage.where)

    async def is_selected():
        held = await storage.get_claim("data")
        return held["metadata"].get("annotations", {}).get("volume.kubernetes.io/selected-node")

    node = await eventually(is_selected)
    await storage.reported("ExternalProvisioning", "storage.example.org")
    assert not (await storage.cluster.get(PODS, "user", **storage.where))["spec"].get("nodeName")
    reference = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": "data"}
    reference |= {"namespace": claim["metadata"]["namespace"], "uid": claim["metadata"]["uid"]}
    await storage.volume("made", claimRef=reference)
    await storage.bound("data", "made")
    assert (await eventually(lambda: runs(storage), timeout=60))["spec"]["nodeName"] == node


async def test_a_pod_whose_claim_finds_no_volume_says_so_and_runs_when_there_is_one(storage, nodes):
    await storage.create_class(mode="WaitForFirstConsumer")
    await storage.claim("data")
    await storage.cluster.create(PODS, pod_with_claim(), **storage.where)
    await storage.reported("FailedScheduling", "didn't find available persistent volumes to bind")
    await storage.volume("late")
    await storage.bound("data", "late")
    await eventually(lambda: runs(storage), timeout=60)
