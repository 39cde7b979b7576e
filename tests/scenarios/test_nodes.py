"""Pods on a simulated node: they wait for what they mount, run, and end."""

from __future__ import annotations

import pytest

from operatorkit.testing import eventually


def pod(name="p", *, volumes=(), env_from=(), **spec):
    container = {"name": "web", "image": "web:1", "envFrom": list(env_from)}
    container["volumeMounts"] = [{"name": volume["name"], "mountPath": f"/{volume['name']}"} for volume in volumes]
    return {
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [container], "volumes": list(volumes), "terminationGracePeriodSeconds": 1, **spec},
    }


def secret_volume(secret, **more):
    return {"name": "tls", "secret": {"secretName": secret, **more}}


async def events_of(http, name):
    answer = await http.get(http.path("events"), query={"fieldSelector": f"involvedObject.name={name}"})
    assert answer.status == 200, answer.text
    return {event["reason"]: event for event in answer.json["items"]}


async def phase_of(http, name):
    return (await http.get(http.path("pods", name))).json["status"]["phase"]


async def is_running(http, name="p"):
    status = (await http.get(http.path("pods", name))).json["status"]
    ready = {condition["type"]: condition["status"] for condition in status.get("conditions", [])}
    return status["phase"] == "Running" and ready.get("Ready") == "True" and status


async def waits_with(http, reason, name="p"):
    [status] = (await http.get(http.path("pods", name))).json["status"].get("containerStatuses") or [{}]
    return status.get("state", {}).get("waiting", {}).get("reason") == reason


async def test_a_pod_is_scheduled_and_runs(http, nodes):
    await http.created("pods", pod())
    status = await eventually(lambda: is_running(http))
    assert status["podIP"]
    assert status["hostIP"]
    assert status["startTime"]
    [container] = status["containerStatuses"]
    assert (container["name"], container["ready"], container["started"], container["restartCount"]) == (
        "web",
        True,
        True,
        0,
    )
    assert "running" in container["state"]
    assert {condition["type"] for condition in status["conditions"]} >= {
        "PodScheduled",
        "Initialized",
        "ContainersReady",
        "Ready",
    }
    assert {"Scheduled", "Pulled", "Created", "Started"} <= set(await events_of(http, "p"))


async def test_a_pod_waits_in_container_creating_until_its_secret_is_there(http, nodes):
    await http.created("pods", pod(volumes=[secret_volume("late")]))
    await eventually(lambda: waits_with(http, "ContainerCreating"))
    assert await phase_of(http, "p") == "Pending"

    async def failed_mount():
        return (await events_of(http, "p")).get("FailedMount")

    event = await eventually(failed_mount)
    assert event["message"] == 'MountVolume.SetUp failed for volume "tls" : secret "late" not found'
    assert (event["type"], event["source"]["component"]) == ("Warning", "kubelet")
    assert event["involvedObject"]["kind"] == "Pod"
    assert event["count"] >= 1
    await http.created("secrets", {"metadata": {"name": "late"}})
    await eventually(lambda: is_running(http))


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        (
            {"name": "conf", "configMap": {"name": "late"}},
            'MountVolume.SetUp failed for volume "conf" : configmap "late" not found',
        ),
        (
            {"name": "all", "projected": {"sources": [{"secret": {"name": "late"}}]}},
            'MountVolume.SetUp failed for volume "all" : secret "late" not found',
        ),
    ],
)
async def test_every_kind_of_mount_is_waited_for(http, nodes, volume, message):
    await http.created("pods", pod(volumes=[volume]))

    async def reported():
        return (await events_of(http, "p")).get("FailedMount", {}).get("message") == message

    await eventually(reported)


async def test_what_is_optional_is_not_waited_for(http, nodes):
    await http.created("pods", pod(volumes=[secret_volume("never", optional=True)]))
    await eventually(lambda: is_running(http))


async def test_a_missing_environment_is_a_configuration_error(http, nodes):
    await http.created("pods", pod(env_from=[{"secretRef": {"name": "late"}}]))
    await eventually(lambda: waits_with(http, "CreateContainerConfigError"))

    async def reported():
        return (await events_of(http, "p")).get("Failed", {}).get("message") == 'Error: secret "late" not found'

    await eventually(reported)
    await http.created("secrets", {"metadata": {"name": "late"}})
    await eventually(lambda: is_running(http))


async def test_a_pod_that_fits_no_node_says_so(http, nodes):
    await http.created("pods", pod(nodeSelector={"disk": "nowhere"}))

    async def reported():
        event = (await events_of(http, "p"))["FailedScheduling"]
        assert event["message"].startswith("0/")
        assert "didn't match Pod's node affinity/selector" in event["message"]
        return True

    await eventually(reported)
    status = (await http.get(http.path("pods", "p"))).json["status"]
    [condition] = [c for c in status["conditions"] if c["type"] == "PodScheduled"]
    assert (condition["status"], condition["reason"]) == ("False", "Unschedulable")


async def test_a_running_pod_ends_gracefully(http, nodes):
    await http.created("pods", pod())
    await eventually(lambda: is_running(http))
    answer = await http.delete(http.path("pods", "p"))
    assert answer.json["metadata"]["deletionGracePeriodSeconds"] == 1
    await http.gone(http.path("pods", "p"))
    assert "Killing" in await events_of(http, "p")


async def test_the_node_is_ready(http, nodes):
    async def ready():
        items = (await http.get("/api/v1/nodes")).json["items"]
        found = [c["status"] for node in items for c in node["status"]["conditions"] if c["type"] == "Ready"]
        assert found
        assert set(found) == {"True"}
        return True

    await eventually(ready)


BEHAVIOR = "nodes.operatorkit.dev/behavior"


async def behaving(http, value, name="p"):
    """Create a pod that behaves so."""
    wanted = pod(name)
    wanted["metadata"]["annotations"] = {BEHAVIOR: value}
    await http.created("pods", wanted)


async def behaves(http, value, name="p"):
    answer = await http.patch(http.path("pods", name), {"metadata": {"annotations": {BEHAVIOR: value}}})
    assert answer.status == 200, answer.text


async def _event(http, reason):
    return (await events_of(http, "p")).get(reason)


async def condition_of(http, type_, name="p"):
    conditions = (await http.get(http.path("pods", name))).json["status"].get("conditions") or ()
    return next((it for it in conditions if it["type"] == type_), {})


async def test_a_pod_that_is_to_be_unschedulable_waits_until_it_may_run(http, nodes):
    await behaving(http, "unschedulable")

    async def unschedulable():
        found = await condition_of(http, "PodScheduled")
        return (found.get("status"), found.get("reason")) == ("False", "Unschedulable")

    await eventually(unschedulable)
    reported = await eventually(
        lambda: _event(http, "FailedScheduling"), message="the Event that follows the condition"
    )
    assert reported["type"] == "Warning"
    await behaves(http, None)
    await eventually(lambda: is_running(http))


async def test_a_pod_whose_image_cannot_be_pulled_says_so_until_it_can(http, nodes):
    await behaving(http, "image-pull-failure")
    await eventually(lambda: waits_with(http, "ImagePullBackOff"))
    assert await phase_of(http, "p") == "Pending"
    [container] = (await http.get(http.path("pods", "p"))).json["status"]["containerStatuses"]
    assert container["state"]["waiting"]["message"].startswith('Back-off pulling image "web:1"')
    await behaves(http, None)
    await eventually(lambda: is_running(http))


async def test_a_pod_that_crashes_is_started_again_and_again(http, nodes):
    await behaving(http, "crash-loop")

    async def restarted():
        [container] = (await http.get(http.path("pods", "p"))).json["status"].get("containerStatuses") or [{}]
        return container.get("restartCount", 0) >= 2 and container

    container = await eventually(restarted)
    assert container["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert container["lastState"]["terminated"]["exitCode"] == 1
    assert (await condition_of(http, "Ready"))["reason"] == "ContainersNotReady"
    assert await phase_of(http, "p") == "Running"
    await behaves(http, "runs")
    await eventually(lambda: is_running(http))


async def test_a_pod_that_never_becomes_ready_runs_nevertheless(http, nodes):
    await behaving(http, "never-ready")

    async def unready():
        found = await condition_of(http, "ContainersReady")
        return await phase_of(http, "p") == "Running" and found.get("status") == "False"

    await eventually(unready)
    assert (await condition_of(http, "Ready"))["status"] == "False"
    await behaves(http, "runs")
    await eventually(lambda: is_running(http))


async def test_a_pod_may_take_its_time_to_start(http, nodes):
    await behaving(http, "slow-start=1h")
    await eventually(lambda: waits_with(http, "ContainerCreating"))
    await behaves(http, "slow-start=1ms")
    await eventually(lambda: is_running(http))


async def test_a_behavior_that_is_none_is_reported_at_the_pod(http, nodes):
    await behaving(http, "sulk")
    await eventually(lambda: is_running(http))
    message = (await events_of(http, "p"))["InvalidBehavior"]["message"]
    assert message.startswith(f"annotation {BEHAVIOR}: 'sulk' is not a behavior: write one of runs, unschedulable, ")


async def test_an_eviction_and_a_node_end_a_pod_that_crashes(http, nodes):
    await behaving(http, "crash-loop")
    await eventually(lambda: waits_with(http, "CrashLoopBackOff"))
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    assert (await http.post(http.path("pods", "p", sub="eviction"), eviction)).status == 201
    await http.gone(http.path("pods", "p"))


async def test_another_image_restarts_the_container_in_the_pod_that_there_is(http, nodes):
    await http.created("pods", pod())
    before = await eventually(lambda: is_running(http))
    answer = await http.patch(
        http.path("pods", "p"), {"spec": {"containers": [{"name": "web", "image": "web:2"}]}}, "strategic"
    )
    assert answer.status == 200, answer.text

    async def restarted():
        status = await is_running(http)
        return status and status["containerStatuses"][0]["restartCount"] == 1 and status

    after = await eventually(restarted)
    [old], [new] = before["containerStatuses"], after["containerStatuses"]
    assert new["image"] == "web:2"
    assert new["imageID"] != old["imageID"]
    assert new["containerID"] != old["containerID"]
    assert new["lastState"]["terminated"]["containerID"] == old["containerID"]
    assert after["podIP"] == before["podIP"]
    message = (await events_of(http, "p"))["Killing"]["message"]
    assert message == "Container web definition changed, will be restarted"


async def test_other_resources_are_reported_without_a_restart(http, nodes):
    wanted = pod()
    wanted["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "100m"}}
    await http.created("pods", wanted)
    [before] = (await eventually(lambda: is_running(http)))["containerStatuses"]
    assert before["resources"] == {"requests": {"cpu": "100m"}}
    containers = [{"name": "web", "resources": {"requests": {"cpu": "200m"}}}]
    path = http.path("pods", "p", sub="resize")
    answer = await http.patch(path, {"spec": {"containers": containers}}, "strategic")
    assert answer.status == 200, answer.text

    async def reported():
        [found] = (await is_running(http))["containerStatuses"]
        return found["resources"] == {"requests": {"cpu": "200m"}} and found

    after = await eventually(reported)
    assert after["allocatedResources"] == {"cpu": "200m"}
    assert (after["restartCount"], after["containerID"]) == (0, before["containerID"])
