"""Init containers and sidecars run in order, before and beside the main containers."""

from __future__ import annotations

from operatorkit.testing import eventually

MOUNT = [{"name": "data", "mountPath": "/data"}]
VOLUMES = [{"name": "data", "emptyDir": {}}]


def container(name, script, **more):
    command = ["/bin/sh", "-c", script]
    return {"name": name, "image": "i:1", "command": command, "volumeMounts": MOUNT, **more}


async def test_init_containers_run_one_after_the_other(pods):
    inits = [
        container("first", "sleep 0.3; echo first >> /data/order"),
        container("second", "echo second >> /data/order"),
    ]
    main = container("main", "cat /data/order")
    await pods.run(initContainers=inits, containers=[main], volumes=VOLUMES, restartPolicy="Never")
    status = await pods.phase("Succeeded")
    assert await pods.logs(container="main") == "first\nsecond\n"
    for one in status["initContainerStatuses"]:
        assert one["state"]["terminated"]["reason"] == "Completed"
        assert one["ready"] is True


async def test_a_pod_waits_in_pod_initializing_for_its_init_container(pods):
    init = container("init", "echo up; while ! test -e /tmp/never; do sleep 0.05; done")
    await pods.run(initContainers=[init], containers=[container("main", "true")], volumes=VOLUMES)

    async def runs():
        return "running" in (await pods.container(name="init"))["state"]

    await eventually(runs)
    status = await pods.status()
    assert status["phase"] == "Pending"
    assert status["containerStatuses"][0]["state"]["waiting"]["reason"] == "PodInitializing"
    held = {one["type"]: one for one in status["conditions"]}["Initialized"]
    assert (held["status"], held["reason"]) == ("False", "ContainersNotInitialized")
    assert held["message"] == "containers with incomplete status: [init]"


async def test_a_failed_init_container_fails_a_pod_that_never_restarts(pods):
    inits = [container("bad", "exit 4"), container("next", "true")]
    main = [container("main", "true")]
    await pods.run(initContainers=inits, containers=main, volumes=VOLUMES, restartPolicy="Never")
    status = await pods.phase("Failed")
    assert status["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 4
    assert "waiting" in status["containerStatuses"][0]["state"]


async def test_a_failed_init_container_is_tried_again(pods):
    script = "test -e /data/once || { touch /data/once; exit 1; }"
    inits = [container("init", script)]
    await pods.run(initContainers=inits, containers=[container("main", "sleep 1000")], volumes=VOLUMES)
    await pods.ready()
    assert (await pods.container(name="init"))["restartCount"] == 1


async def test_a_sidecar_starts_first_and_ends_last(pods):
    probe = {"exec": {"command": ["test", "-e", "/data/side"]}, "periodSeconds": 1}
    script = "sleep 0.3; touch /data/side; trap 'echo side ends; exit 0' TERM; while :; do sleep 0.05; done"
    sidecar = container("side", script, restartPolicy="Always", startupProbe=probe)
    main = container("main", "ls /data/side && exit 0")
    await pods.run(
        initContainers=[sidecar],
        containers=[main],
        volumes=VOLUMES,
        restartPolicy="Never",
        terminationGracePeriodSeconds=20,
    )
    status = await pods.phase("Succeeded")
    assert await pods.logs(container="main") == "/data/side\n"
    assert "side ends" in await pods.logs(container="side")
    assert "terminated" in status["initContainerStatuses"][0]["state"]


async def test_a_sidecar_that_ends_is_restarted(pods):
    sidecar = container("side", "test -e /data/x && sleep 1000; touch /data/x", restartPolicy="Always")
    main = container("main", "sleep 1000")
    await pods.run(initContainers=[sidecar], containers=[main], volumes=VOLUMES)

    async def restarted():
        side = await pods.container(name="side")
        return side["restartCount"] == 1 and "running" in side["state"]

    await eventually(restarted)
    await pods.ready()
