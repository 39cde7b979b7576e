"""How a changed template, or a changed set of ordinals, reaches the members of a PetSet."""

from __future__ import annotations

from datetime import timedelta

import pytest

from operatorkit.clock import parse_time
from operatorkit.errors import NotFound
from operatorkit.names import ApiResource
from operatorkit.testing import eventually
from operators.petset import PetSet

PETSETS = PetSet.api_resource()
PODS = ApiResource("", "v1", "Pod", "pods", namespaced=True)
CLAIMS = ApiResource("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", namespaced=True)
EVENTS = ApiResource("", "v1", "Event", "events", namespaced=True)
CLAIM = {
    "metadata": {"name": "data"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}


async def test_a_member_follows_when_the_one_before_has_been_ready_for_min_ready_seconds(sets):
    async with sets() as stateful:
        await stateful.create(replicas=2, minReadySeconds=2)
        await stateful.available(2)
        pods = await stateful.pods()
    [ready] = (each for each in pods["web-0"]["status"]["conditions"] if each["type"] == "Ready")
    waited = parse_time(pods["web-1"]["metadata"]["creationTimestamp"]) - parse_time(ready["lastTransitionTime"])
    assert waited >= timedelta(seconds=2)


async def test_an_update_stops_at_the_partition_and_goes_on_when_it_is_lowered(sets):
    async with sets() as stateful:
        await stateful.create(updateStrategy={"rollingUpdate": {"partition": 2}})
        await stateful.available(3)
        await stateful.set_image("web:2")
        await stateful.become({"web-0": "web:1", "web-1": "web:1", "web-2": "web:2"})
        await stateful.says("Progressing", "Complete", "partition 2")
        status = await stateful.status()
        assert status["currentRevision"] != status["updateRevision"]
        assert (status["currentReplicas"], status["updatedReplicas"]) == (2, 1)
        await stateful.change({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}})
        await stateful.completed("web:2")


async def test_on_delete_updates_a_member_when_a_user_deletes_it(sets):
    async with sets() as stateful:
        await stateful.create(updateStrategy={"type": "OnDelete"})
        await stateful.available(3)
        before = await stateful.uids()
        await stateful.set_image("web:2")
        await eventually(lambda: _has_two_revisions(stateful))
        await stateful.engine.settled()
        assert await stateful.uids() == before
        await stateful.delete(PODS, "web-1")
        await stateful.become({"web-0": "web:1", "web-1": "web:2", "web-2": "web:1"})


async def _has_two_revisions(stateful):
    status = await stateful.status()
    return status["currentRevision"] != status["updateRevision"]


async def test_recreate_removes_every_old_member_before_it_creates_a_new_one(sets):
    mixed = []

    async def is_done():
        found = (await stateful.cluster.list(PODS, namespace=stateful.namespace)).items
        images = [each["spec"]["containers"][0]["image"] for each in found]
        if len(set(images)) > 1:
            mixed.append(images)
        return images == ["web:2"] * 3

    async with sets() as stateful:
        await stateful.create(updateStrategy={"type": "Recreate"})
        await stateful.available(3)
        await stateful.set_image("web:2")
        await eventually(is_done)
        await stateful.completed("web:2")
    assert mixed == []


@pytest.mark.parametrize(
    ("behavior", "reason"),
    [
        ("image-pull-failure", "ImagePullBackOff"),
        ("crash-loop", "CrashLoopBackOff"),
        ("unschedulable", "Unschedulable"),
    ],
)
async def test_an_update_whose_members_fail_says_why_and_heals_by_a_correction_alone(sets, behavior, reason):
    async with sets() as stateful:
        await stateful.create()
        await stateful.available(3)
        await stateful.update("web:2", behavior)
        await stateful.says("Degraded", "MemberFailing", "web-2", reason, status="True")
        assert (await stateful.images()) == {"web-0": "web:1", "web-1": "web:1", "web-2": "web:2"}
        await stateful.update("web:3")
        await stateful.completed("web:3")
        await stateful.says("Degraded", "Healthy", status="False")


async def test_a_first_member_that_never_gets_ready_does_not_hold_its_own_correction(sets):
    async with sets() as stateful:
        template = {"metadata": {"labels": {"app": "web"}, "annotations": {}}}
        template["metadata"]["annotations"]["nodes.operatorkit.dev/behavior"] = "never-ready"
        template["spec"] = {"containers": [{"name": "app", "image": "web:1"}], "terminationGracePeriodSeconds": 0}
        await stateful.create(template=template)
        await stateful.says("Progressing", "Progressing", "web-0 to become available")
        await stateful.update("web:2")
        await stateful.completed("web:2")


async def test_a_failed_update_goes_back_by_itself_where_that_is_asked_for(sets):
    rolling = {"autoRollback": True, "progressDeadlineSeconds": 2}
    async with sets() as stateful:
        await stateful.create(updateStrategy={"rollingUpdate": rolling})
        await stateful.available(3)
        first = (await stateful.status())["currentRevision"]
        await stateful.update("web:2", "image-pull-failure")

        async def is_back():
            status = await stateful.status()
            assert (status.get("rollback") or {}).get("to") == first, status
            assert status["availableReplicas"] == 3, status
            return status

        status = await eventually(is_back)
        assert "web-2: container app: ImagePullBackOff" in status["rollback"]["reason"]
        assert set((await stateful.images()).values()) == {"web:1"}
        spec = (await stateful.get(PETSETS, "web"))["spec"]
        assert spec["template"]["spec"]["containers"][0]["image"] == "web:2"
        events = (await stateful.cluster.list(EVENTS, namespace=stateful.namespace)).items
        assert [each["type"] for each in events if each["reason"] == "RolledBack"] == ["Warning"]
        await stateful.update("web:3")
        await stateful.completed("web:3")
        assert not (await stateful.status()).get("rollback")


async def test_an_override_changes_the_members_that_it_names_and_no_others(sets):
    special = {"ordinals": [1], "template": {"spec": {"containers": [{"name": "app", "image": "web:special"}]}}}
    async with sets() as stateful:
        await stateful.create()
        await stateful.available(3)
        before = await stateful.uids()
        await stateful.change({"spec": {"overrides": [special]}})
        await stateful.become({"web-0": "web:1", "web-1": "web:special", "web-2": "web:1"})
        await stateful.available(3)
        after = await stateful.uids()
        assert {name for name in before if before[name] != after[name]} == {"web-1"}
        await stateful.change({"spec": {"overrides": None}})
        await stateful.completed("web:1")


async def test_reserved_ordinals_are_skipped_and_given_when_they_are_free_again(sets):
    async with sets() as stateful:
        await stateful.create(reserveOrdinals=["1-2"])
        await stateful.become(dict.fromkeys(["web-0", "web-3", "web-4"], "web:1"))
        await stateful.available(3)
        await stateful.change({"spec": {"reserveOrdinals": None}})
        await stateful.become(dict.fromkeys(["web-0", "web-1", "web-2"], "web:1"))


@pytest.mark.parametrize("policy", ["OrderedReady", "Parallel"])
async def test_a_change_that_needs_new_pods_is_not_made_where_only_changes_in_place_are_allowed(sets, policy):
    async with sets() as stateful:
        await stateful.create(podManagementPolicy=policy, updateStrategy={"rollingUpdate": {"inPlace": "Only"}})
        await stateful.available(3)
        before = await stateful.uids()
        await stateful.set_image("web:1", env=[{"name": "A", "value": "b"}])
        await stateful.says("Progressing", "InPlaceOnly", "web-2 would have to be recreated")
        assert await stateful.uids() == before


async def test_claims_go_with_a_set_and_with_the_members_that_scaling_removes_where_the_policy_says_so(sets):
    policy = {"whenDeleted": "Delete", "whenScaled": "Delete"}

    async def claims():
        """Return the claims that are not being deleted: pvc-protection may keep those for a while."""
        found = (await stateful.cluster.list(CLAIMS, namespace=stateful.namespace)).items
        return [each["metadata"]["name"] for each in found if "deletionTimestamp" not in each["metadata"]]

    async def are(names):
        assert await claims() == names
        return True

    async with sets() as stateful:
        await stateful.create(
            volumeClaimTemplates=[CLAIM],
            podManagementPolicy="Parallel",
            persistentVolumeClaimRetentionPolicy=policy,
        )
        await eventually(lambda: are(["data-web-0", "data-web-1", "data-web-2"]))
        await stateful.change({"spec": {"replicas": 1}})
        await eventually(lambda: are(["data-web-0"]))
        await stateful.delete(PETSETS, "web")

        async def is_gone():
            with pytest.raises(NotFound):
                await stateful.get(PETSETS, "web")
            return True

        await eventually(is_gone)
        await eventually(lambda: are([]), timeout=180)  # the garbage collector's pace where kinds come and go
