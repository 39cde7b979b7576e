"""A pod's containers are processes: they start with what the pod says, and end as it says."""

from __future__ import annotations

import secrets

import pytest

from operatorkit.testing import eventually

from .test_nothing_left import processes


async def test_a_command_runs_and_its_pod_is_ready(pods):
    await pods.run("sleep 1000")
    status = await pods.ready()
    assert status["phase"] == "Running"
    assert status["podIP"] == status["podIPs"][0]["ip"]
    assert status["hostIP"]
    assert status["startTime"]
    [container] = status["containerStatuses"]
    assert container["state"]["running"]["startedAt"]
    assert (container["ready"], container["started"], container["restartCount"]) == (True, True, 0)
    assert container["containerID"]
    assert {one["type"] for one in status["conditions"]} >= {
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodScheduled",
    }
    assert {"Scheduled", "Pulled", "Created", "Started"} <= set(await pods.events())


async def test_a_pod_whose_command_ends_well_has_succeeded(pods):
    await pods.run("exit 0", restartPolicy="Never")
    status = await pods.phase("Succeeded")
    [container] = status["containerStatuses"]
    ended = container["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (0, "Completed")
    assert ended["startedAt"] <= ended["finishedAt"]
    assert (container["ready"], container["started"]) == (False, False)
    conditions = {one["type"]: one for one in status["conditions"]}
    assert (conditions["Ready"]["status"], conditions["Ready"]["reason"]) == ("False", "PodCompleted")


async def test_a_pod_whose_command_fails_has_failed_with_its_exit_code(pods):
    await pods.run("exit 7", restartPolicy="Never")
    status = await pods.phase("Failed")
    ended = status["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (7, "Error")


async def test_a_container_that_a_signal_ended_reports_128_and_its_number(pods):
    await pods.run("sh -c 'kill -9 $$$$'; exit $?", restartPolicy="Never")
    status = await pods.phase("Failed")
    assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137


async def test_a_failing_container_is_restarted_at_once_and_then_after_a_back_off(pods):
    await pods.run("exit 3")

    async def backs_off():
        container = await pods.container()
        waiting = container["state"]["waiting"]
        assert waiting["reason"] == "CrashLoopBackOff"
        return container

    container = await eventually(backs_off)
    assert container["restartCount"] == 1
    assert container["lastState"]["terminated"]["exitCode"] == 3
    assert "restarting failed container=main pod=p_" in container["state"]["waiting"]["message"]
    assert (await pods.status())["phase"] == "Running"

    async def reported():
        return (await pods.events())["BackOff"]["type"] == "Warning"

    await eventually(reported)


async def test_the_environment_has_values_references_and_expansions(pods, http, config_map):
    await http.created("configmaps", config_map("conf", {"GREETING": "hello", "OTHER": "x"}))
    secret = {"metadata": {"name": "keys"}, "stringData": {"password": "s3cret"}}
    await http.created("secrets", secret)
    await pods.run(
        restartPolicy="Never",
        metadata={"labels": {"app": "web"}},
        container={
            "command": ["/bin/sh", "-c", "env; echo args=$0,$1"],
            "args": ["$(WHO)", "$$(WHO)"],
            "envFrom": [{"prefix": "C_", "configMapRef": {"name": "conf"}}],
            "resources": {"limits": {"cpu": "1500m", "memory": "1Gi"}},
            "env": [
                {"name": "WHO", "value": "$(NAME)-$(MISSING)-$$(NAME)"},
                {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "SECOND", "value": "$(NAME)!"},
                {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "PW", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "password"}}},
                {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                {
                    "name": "MIB",
                    "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}},
                },
            ],
        },
    )
    status = await pods.phase("Succeeded")
    lines = (await pods.logs()).splitlines()
    for line in (
        "C_GREETING=hello",
        "C_OTHER=x",
        "NAME=p",
        "WHO=$(NAME)-$(MISSING)-$(NAME)",
        "SECOND=p!",
        "APP=web",
        f"IP={status['podIP']}",
        "PW=s3cret",
        "CPU=2",
        "MIB=1024",
        "HOSTNAME=p",
        "args=$(NAME)-$(MISSING)-$(NAME),$(WHO)",
    ):
        assert line in lines, line
    assert any(line.startswith("KUBERNETES_SERVICE_HOST=") for line in lines)


async def test_an_image_stands_for_a_command_of_the_table(pods, process_nodes, is_real):
    if process_nodes is None:
        pytest.skip("a cluster that exists pulls its images")
    process_nodes.images.add("greeter", command=["/bin/echo", "hello"], args=["world"])
    await pods.run(name="a", restartPolicy="Never", container={"image": "greeter:2"})
    await pods.run(name="b", restartPolicy="Never", container={"image": "greeter:2", "args": ["you"]})
    await pods.phase("Succeeded", "a")
    await pods.phase("Succeeded", "b")
    assert await pods.logs("a") == "hello world\n"
    assert await pods.logs("b") == "hello you\n"


async def test_an_unknown_image_waits_and_says_what_to_do(pods):
    await pods.run(container={"image": "nowhere.example/none:1"})

    async def waits():
        container = await pods.container()
        return container["state"]["waiting"]["reason"] in {"ErrImagePull", "ImagePullBackOff"}

    await eventually(waits)


async def test_a_program_that_does_not_exist_is_a_start_error(pods):
    await pods.run(container={"command": ["no-such-program"]}, restartPolicy="Never")
    status = await pods.phase("Failed")
    ended = status["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (128, "StartError")
    assert 'exec: "no-such-program": executable file not found in $PATH' in ended["message"]


async def test_a_missing_secret_is_a_configuration_error_until_it_is_there(pods, http):
    variable = {"name": "PW", "valueFrom": {"secretKeyRef": {"name": "late", "key": "password"}}}
    await pods.run("echo pw=$PW; sleep 1000", container={"env": [variable]})

    async def waits():
        container = await pods.container()
        return container["state"]["waiting"]["reason"] == "CreateContainerConfigError"

    await eventually(waits)
    secret = {"metadata": {"name": "late"}, "stringData": {"password": "now"}}
    await http.created("secrets", secret)
    await pods.ready()
    await pods.says("pw=now")


async def test_deletion_sends_sigterm_and_waits_for_the_end(pods):
    await pods.run("trap 'echo ended; exit 0' TERM; echo up; while :; do sleep 0.05; done")
    await pods.says("up")
    await pods.delete()
    await pods.gone()
    assert "Killing" in await pods.events()


async def test_a_container_that_ignores_sigterm_is_killed_after_the_grace_period(pods):
    await pods.run("trap '' TERM; echo up; while :; do sleep 0.05; done")
    await pods.says("up")
    await pods.delete(gracePeriodSeconds=1)
    await pods.gone()


async def test_a_pod_deleted_by_force_leaves_no_process(pods, process_nodes):
    mark = f"98763{secrets.randbelow(10**9)}"
    await pods.run(f"trap '' TERM; echo up; sleep {mark} & while :; do sleep 0.05; done")
    await pods.says("up")
    if process_nodes is not None:
        await eventually(lambda: processes(mark))
    await pods.delete(gracePeriodSeconds=0)
    await pods.gone()
    await eventually(lambda: not processes(mark))


async def test_the_hostname_is_the_name_of_the_pod(pods):
    await pods.run("cat /proc/sys/kernel/hostname", name="db-0", restartPolicy="Never")
    await pods.phase("Succeeded", "db-0")
    assert await pods.logs("db-0") == "db-0\n"


async def test_a_container_sees_its_own_processes_only(pods):
    await pods.run("echo $$$$; ls -d /proc/[0-9]*", restartPolicy="Never")
    await pods.phase("Succeeded")
    assert (await pods.logs()).split()[:2] == ["1", "/proc/1"]


async def test_two_containers_of_a_pod_share_its_address(pods):
    ip = {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    script = ["/bin/sh", "-c", "echo $IP"]
    containers = [{"name": name, "image": "i:1", "command": script, "env": [ip]} for name in ("a", "b")]
    await pods.run(containers=containers, restartPolicy="Never")
    status = await pods.phase("Succeeded")
    for name in ("a", "b"):
        assert await pods.logs(container=name) == f"{status['podIP']}\n"


async def test_the_address_stays_with_the_pod_over_restarts(pods):
    ip = {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    await pods.run("echo $IP; exit 1", container={"env": [ip]})

    async def restarted():
        return (await pods.container())["restartCount"] == 1

    await eventually(restarted)
    address = (await pods.status())["podIP"]
    await pods.says(address)
    assert (await pods.status())["podIP"] == address


async def test_two_pods_have_two_addresses(pods):
    await pods.run("sleep 1000", name="a")
    await pods.run("sleep 1000", name="b")
    assert (await pods.ready("a"))["podIP"] != (await pods.ready("b"))["podIP"]
