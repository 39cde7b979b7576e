"""Members get another image, other resources, labels and annotations in the pods that they have."""

from __future__ import annotations

from operatorkit.names import ApiResource
from operatorkit.testing import eventually

EVENTS = ApiResource("", "v1", "Event", "events", namespaced=True)
IF_POSSIBLE = {"rollingUpdate": {"inPlace": "IfPossible"}}


def restarts(pods):
    return {name: [it["restartCount"] for it in pod["status"]["containerStatuses"]] for name, pod in pods.items()}


def resources(cpu):
    return {"requests": {"cpu": cpu, "memory": "64Mi"}}


async def reasons(stateful):
    found = (await stateful.cluster.list(EVENTS, namespace=stateful.namespace)).items
    return [each["reason"] for each in found if each["involvedObject"]["kind"] == "PetSet"]


async def test_another_image_restarts_the_containers_and_keeps_the_pods(sets):
    async with sets() as stateful:
        await stateful.create(updateStrategy=IF_POSSIBLE)
        await stateful.available(3)
        before = await stateful.pods()
        await stateful.set_image("web:2")
        await stateful.completed("web:2")
        after = await stateful.pods()
        assert (await reasons(stateful)).count("UpdatedInPlace") >= 1
    for name, pod in after.items():
        assert pod["metadata"]["uid"] == before[name]["metadata"]["uid"]
        assert pod["status"]["podIP"] == before[name]["status"]["podIP"]
        assert pod["spec"]["nodeName"] == before[name]["spec"]["nodeName"]
        assert [it["image"] for it in pod["status"]["containerStatuses"]] == ["web:2"]
    assert restarts(after) == {"web-0": [1], "web-1": [1], "web-2": [1]}


async def test_other_resources_restart_nothing(sets):
    async with sets() as stateful:
        await stateful.create(container={"resources": resources("100m")}, updateStrategy=IF_POSSIBLE)
        await stateful.available(3)
        before = await stateful.uids()
        await stateful.set_image("web:1", resources=resources("200m"))

        async def have_them():
            pods = await stateful.pods()
            found = {it["spec"]["containers"][0]["resources"]["requests"]["cpu"] for it in pods.values()}
            assert found == {"200m"}
            given = [it["status"]["containerStatuses"][0]["resources"]["requests"]["cpu"] for it in pods.values()]
            assert given == ["200m"] * 3
            return True

        await eventually(have_them)
        await stateful.completed("web:1")
        assert await stateful.uids() == before
        assert restarts(await stateful.pods()) == {"web-0": [0], "web-1": [0], "web-2": [0]}


async def test_other_labels_and_annotations_restart_nothing(sets):
    async with sets() as stateful:
        await stateful.create(replicas=2, updateStrategy=IF_POSSIBLE)
        await stateful.available(2)
        before = await stateful.uids()
        metadata = {"labels": {"tier": "db"}, "annotations": {"owner": "team"}}
        await stateful.change({"spec": {"template": {"metadata": metadata}}})

        async def have_them():
            found = [pod["metadata"] for pod in (await stateful.pods()).values()]
            assert [it["labels"].get("tier") for it in found] == ["db", "db"]
            assert [it["annotations"].get("owner") for it in found] == ["team", "team"]
            return True

        await eventually(have_them)
        await stateful.completed("web:1", 2)
        assert await stateful.uids() == before


async def test_a_change_that_a_running_pod_cannot_get_recreates_it_where_that_is_allowed(sets):
    async with sets() as stateful:
        await stateful.create(replicas=2, updateStrategy=IF_POSSIBLE)
        await stateful.available(2)
        before = set((await stateful.uids()).values())
        await stateful.set_image("web:2", env=[{"name": "A", "value": "b"}])
        await stateful.completed("web:2", 2)
        assert before.isdisjoint((await stateful.uids()).values())


async def test_an_image_that_cannot_be_pulled_stops_at_the_first_member_and_is_corrected_in_place(sets):
    async with sets() as stateful:
        await stateful.create(updateStrategy=IF_POSSIBLE)
        await stateful.available(3)
        before = await stateful.uids()
        await stateful.update("web:bad", "image-pull-failure")
        await stateful.says("Degraded", "MemberFailing", "web-2", "ImagePull", status="True")
        assert (await stateful.images()) == {"web-0": "web:1", "web-1": "web:1", "web-2": "web:bad"}
        await stateful.update("web:3")
        await stateful.completed("web:3")
        after = await stateful.uids()
        assert {name for name in before if before[name] == after[name]} >= {"web-0", "web-1"}


async def test_only_changes_in_place_where_that_is_asked_for(sets):
    async with sets() as stateful:
        await stateful.create(replicas=2, updateStrategy={"rollingUpdate": {"inPlace": "Only"}})
        await stateful.available(2)
        before = await stateful.uids()
        await stateful.set_image("web:2")
        await stateful.completed("web:2", 2)
        assert await stateful.uids() == before


async def test_a_partition_holds_for_changes_in_place(sets):
    async with sets() as stateful:
        strategy = {"rollingUpdate": {"inPlace": "IfPossible", "partition": 1}}
        await stateful.create(updateStrategy=strategy)
        await stateful.available(3)
        before = await stateful.uids()
        await stateful.set_image("web:2")
        await stateful.become({"web-0": "web:1", "web-1": "web:2", "web-2": "web:2"})
        await stateful.says("Progressing", "Complete", "partition 1")
        assert await stateful.uids() == before
