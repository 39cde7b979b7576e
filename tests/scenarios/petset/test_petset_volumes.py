"""Storage that grows: a larger request in a claim template reaches the claims of all members."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from scenarios.petset.pairs import CLAIMS
from scenarios.petset.storage import Driver

from operatorkit.cluster import PatchType
from operatorkit.names import ApiResource
from operatorkit.testing import FakeClock, eventually

SNAPSHOTS = ApiResource("snapshot.storage.k8s.io", "v1", "VolumeSnapshot", "volumesnapshots", namespaced=True)
DEFINITIONS = ApiResource(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)
EVENTS = ApiResource("", "v1", "Event", "events", namespaced=True)


async def sizes(stateful):
    """Return what each claim requests and has."""
    found = (await stateful.cluster.list(CLAIMS, namespace=stateful.namespace)).items
    return {
        it["metadata"]["name"]: (
            it["spec"]["resources"]["requests"]["storage"],
            (it.get("status", {}).get("capacity") or {}).get("storage"),
        )
        for it in found
    }


async def claim_uids(stateful):
    found = (await stateful.cluster.list(CLAIMS, namespace=stateful.namespace)).items
    return {it["metadata"]["name"]: it["metadata"]["uid"] for it in found}


async def all_have(stateful, size, names=("data-web-0", "data-web-1", "data-web-2")):
    async def have():
        assert await sizes(stateful) == dict.fromkeys(names, (size, size))
        return True

    await eventually(have, timeout=60)


async def test_claims_grow_one_after_the_other_while_their_pods_run(sets):
    async with sets() as stateful, Driver(stateful.cluster) as driver:
        await stateful.create(volumeClaimTemplates=[driver.template("1Gi")])
        await stateful.available(3)
        await all_have(stateful, "1Gi")
        before = await stateful.uids()
        await stateful.change({"spec": {"volumeClaimTemplates": [driver.template("2Gi")]}})
        await all_have(stateful, "2Gi")
        await stateful.says("Progressing", "Complete")
        assert await stateful.uids() == before
        status = await stateful.status()
        first = status["volumes"][0]
        assert (first["claim"], first["size"], first["requested"]) == ("data-web-0", "2Gi", "2Gi")
        events = (await stateful.cluster.list(EVENTS, namespace=stateful.namespace)).items
        grown = [it["message"] for it in events if it["reason"] == "SuccessfulExpand"]
        assert any("Requested 2Gi for claim data-web-0, which has 1Gi" in it for it in grown)


async def test_a_member_whose_file_system_grows_only_when_it_is_restarted_is_restarted(sets):
    later = FakeClock(start=datetime.now(UTC) + timedelta(minutes=1))  # kubelets have half a minute to grow it online
    async with sets(later) as stateful, Driver(stateful.cluster, online=False) as driver:
        await stateful.create(replicas=2, volumeClaimTemplates=[driver.template("1Gi")])
        await stateful.available(2)
        await all_have(stateful, "1Gi", ("data-web-0", "data-web-1"))
        before = await stateful.uids()
        await stateful.change({"spec": {"volumeClaimTemplates": [driver.template("2Gi")]}})
        await all_have(stateful, "2Gi", ("data-web-0", "data-web-1"))
        await stateful.available(2)
        after = await stateful.uids()
        assert all(after[name] != before[name] for name in before)


async def test_a_class_that_allows_no_expansion_is_named_and_holds_no_update(sets):
    async with sets() as stateful, Driver(stateful.cluster, expands=False) as driver:
        await stateful.create(replicas=1, volumeClaimTemplates=[driver.template("1Gi")])
        await stateful.available(1)
        await all_have(stateful, "1Gi", ("data-web-0",))
        await stateful.change({"spec": {"volumeClaimTemplates": [driver.template("2Gi")]}})
        await stateful.says(
            "Progressing", "ExpansionBlocked", "claim data-web-0", driver.storage_class, "allowVolumeExpansion"
        )
        await stateful.set_image("web:2")
        await stateful.become({"web-0": "web:2"})
        await all_have(stateful, "1Gi", ("data-web-0",))


async def test_a_new_claim_template_reaches_members_as_they_are_recreated(sets):
    async with sets() as stateful, Driver(stateful.cluster) as driver:
        await stateful.create(replicas=2, volumeClaimTemplates=[driver.template("1Gi")])
        await stateful.available(2)
        before = await stateful.uids()
        both = [driver.template("1Gi"), driver.template("1Gi", "logs")]
        await stateful.change({"spec": {"volumeClaimTemplates": both}})
        await stateful.engine.settled()
        assert await stateful.uids() == before
        await stateful.set_image("web:2")
        await stateful.completed("web:2", 2)
        assert sorted(await sizes(stateful)) == ["data-web-0", "data-web-1", "logs-web-0", "logs-web-1"]


# volumeUpdate Recreate


async def test_a_smaller_request_replaces_claims_and_members_one_at_a_time(sets):
    async with sets() as stateful, Driver(stateful.cluster) as driver:
        await stateful.create(volumeClaimTemplates=[driver.template("2Gi")])
        await stateful.available(3)
        await all_have(stateful, "2Gi")
        before, claims = await stateful.uids(), await claim_uids(stateful)
        smaller = {"volumeUpdate": "Recreate", "volumeClaimTemplates": [driver.template("1Gi")]}
        await stateful.change({"spec": smaller})
        await all_have(stateful, "1Gi")
        await stateful.available(3)
        after = await stateful.uids()
        replaced = await claim_uids(stateful)
        assert all(after[name] != before[name] for name in before)
        assert all(replaced[name] != claims[name] for name in claims)
        await stateful.says("Progressing", "Complete")
        events = (await stateful.cluster.list(EVENTS, namespace=stateful.namespace)).items
        deleted = [it["message"] for it in events if it["message"].startswith("Deleted claim")]
        why = "with its data: it requests 2Gi, and 1Gi is wanted"
        assert sorted(deleted) == [f"Deleted claim data-web-{number} {why}" for number in range(3)]


async def test_a_claim_that_a_user_enlarged_is_not_replaced(sets):
    async with sets() as stateful, Driver(stateful.cluster) as driver:
        await stateful.create(replicas=1, volumeUpdate="Recreate", volumeClaimTemplates=[driver.template("1Gi")])
        await stateful.available(1)
        await all_have(stateful, "1Gi", ("data-web-0",))
        claims = await claim_uids(stateful)
        enlarged = {"spec": {"resources": {"requests": {"storage": "3Gi"}}}}
        await stateful.patch(CLAIMS, "data-web-0", enlarged)
        await all_have(stateful, "3Gi", ("data-web-0",))
        await stateful.set_image("web:2")
        await stateful.completed("web:2", 1)
        assert await claim_uids(stateful) == claims


async def test_a_member_is_replaced_with_its_claims_only_while_all_others_are_available(sets):
    async with sets() as stateful, Driver(stateful.cluster) as driver, Driver(stateful.cluster) as other:
        await stateful.create(replicas=2, volumeClaimTemplates=[driver.template("1Gi")])
        await stateful.available(2)
        await all_have(stateful, "1Gi", ("data-web-0", "data-web-1"))
        claims = await claim_uids(stateful)
        budget = {"gates": [{"name": "never", "cel": "pod.metadata.name == 'web-1'"}]}
        change = {"volumeUpdate": "Recreate", "volumeClaimTemplates": [other.template("1Gi")], "disruption": budget}
        await stateful.change({"spec": change})
        await stateful.says("Progressing", "GateDenied", "web-0")
        after = await claim_uids(stateful)
        assert after["data-web-0"] == claims["data-web-0"]
        assert after["data-web-1"] != claims["data-web-1"]


# Snapshots


@pytest.fixture
async def snapshot_controller(cluster):
    """The kind VolumeSnapshot, and a function that makes snapshots ready, as a snapshot controller does."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "volumesnapshots", "singular": "volumesnapshot", "kind": "VolumeSnapshot"}
    body = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "volumesnapshots.snapshot.storage.k8s.io",
            "annotations": {"api-approved.kubernetes.io": "unapproved, of a test"},
        },
        "spec": {
            "group": "snapshot.storage.k8s.io",
            "names": {**names, "listKind": "VolumeSnapshotList"},
            "scope": "Namespaced",
            "versions": [{**version, "subresources": {"status": {}}}],
        },
    }
    await cluster.create(DEFINITIONS, body)

    async def is_served():
        return (await cluster.list(SNAPSHOTS, namespace=cluster.namespace)).items == []

    await eventually(is_served, timeout=60)
    yield lambda name, status: cluster.patch(
        SNAPSHOTS,
        name,
        {"status": status},
        patch_type=PatchType.MERGE,
        namespace=cluster.namespace,
        subresource="status",
    )
    await cluster.delete(DEFINITIONS, body["metadata"]["name"])


async def test_an_update_waits_for_the_snapshots_of_a_members_claims(sets, snapshot_controller):
    async with sets() as stateful, Driver(stateful.cluster) as driver:
        await stateful.create(
            replicas=1,
            revisionHistoryLimit=1,
            snapshotBeforeUpdate="fast",
            volumeClaimTemplates=[driver.template("1Gi")],
        )
        await stateful.available(1)
        await all_have(stateful, "1Gi", ("data-web-0",))
        await stateful.set_image("web:2")
        await stateful.says("Progressing", "Snapshotting", "web-0", "snapshot data-web-0-2 is not ready to use")
        made = await stateful.get(SNAPSHOTS, "data-web-0-2")
        source = {"persistentVolumeClaimName": "data-web-0"}
        assert made["spec"] == {"source": source, "volumeSnapshotClassName": "fast"}
        await snapshot_controller("data-web-0-2", {"error": {"message": "the disk is full"}})
        await stateful.change({"metadata": {"labels": {"look": "again"}}})
        await stateful.says("Progressing", "Snapshotting", "snapshot data-web-0-2 fails: the disk is full")
        assert await stateful.images() == {"web-0": "web:1"}
        await snapshot_controller("data-web-0-2", {"readyToUse": True, "error": None})
        await stateful.change({"metadata": {"labels": {"look": "once-more"}}})
        await stateful.completed("web:2", 1)
        await stateful.set_image("web:3")
        await stateful.says("Progressing", "Snapshotting", "data-web-0-3")
        kept = (await stateful.cluster.list(SNAPSHOTS, namespace=stateful.namespace)).items
        assert [each["metadata"]["name"] for each in kept] == ["data-web-0-3"]


async def test_an_update_says_that_the_cluster_has_no_snapshots(sets):
    async with sets() as stateful, Driver(stateful.cluster) as driver:
        await stateful.create(replicas=1, snapshotBeforeUpdate="fast", volumeClaimTemplates=[driver.template("1Gi")])
        await stateful.available(1)
        await all_have(stateful, "1Gi", ("data-web-0",))
        await stateful.set_image("web:2")
        await stateful.says("Progressing", "Snapshotting", "the cluster serves no VolumeSnapshots")
        assert await stateful.images() == {"web-0": "web:1"}
