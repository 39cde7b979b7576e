"""Volumes are at their mount paths, hold what the API says, and leave the machine as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from operatorkit.testing import eventually


def exists(path: str) -> bool:
    """Whether this machine has something there."""
    return Path(path).exists()


def mounted(volume, path="/data", **mount):
    """Return spec and container of a pod with one volume."""
    name = volume["name"]
    return {
        "volumes": [volume],
        "container": {"volumeMounts": [{"name": name, "mountPath": path, **mount}]},
    }


async def test_on_failure_restarts_failures_only(pods):
    await pods.run(
        "test -e /data/once || { touch /data/once; exit 1; }",
        restartPolicy="OnFailure",
        volumes=[{"name": "data", "emptyDir": {}}],
        container={"volumeMounts": [{"name": "data", "mountPath": "/data"}]},
    )
    status = await pods.phase("Succeeded")
    assert status["containerStatuses"][0]["restartCount"] == 1


async def test_previous_is_the_run_before_the_restart(pods):
    await pods.run(
        "if test -e /data/x; then echo second; sleep 1000; else echo first; touch /data/x; exit 1; fi",
        volumes=[{"name": "data", "emptyDir": {}}],
        container={"volumeMounts": [{"name": "data", "mountPath": "/data"}]},
    )
    await pods.says("second")
    assert await pods.logs(previous="true") == "first\n"


@pytest.mark.parametrize("path", ["/no-such-top/a/b", "/etc/no-such-directory/x", "/usr/share/zz/y"])
async def test_a_mount_point_that_the_machine_lacks_is_not_created_there(pods, path):
    assert not exists(path)
    volume = {"name": "data", "emptyDir": {}}
    script = f"echo hello > {path}/file; cat {path}/file; ls /etc/passwd; ls -d /usr/share/doc"
    await pods.run(script, restartPolicy="Never", **mounted(volume, path))
    await pods.phase("Succeeded")
    assert await pods.logs() == "hello\n/etc/passwd\n/usr/share/doc\n"
    assert not exists(path)
    assert not exists(path.rpartition("/")[0])


async def test_the_root_is_read_only_and_tmp_is_the_containers_own(pods):
    script = "touch /usr/x || echo read-only; echo mine > /tmp/x; ls /tmp; test ! -e /tmp/pytest-of-root"
    await pods.run(script, restartPolicy="Never")
    await pods.phase("Succeeded")
    assert (await pods.logs()).splitlines()[-2:] == ["read-only", "x"]


async def test_containers_share_an_empty_directory(pods):
    mount = [{"name": "data", "mountPath": "/data"}]
    writer = {"name": "w", "image": "i:1", "command": ["/bin/sh", "-c", "echo hi > /data/f"]}
    script = "while ! test -s /data/f; do sleep 0.05; done; cat /data/f"
    reader = {"name": "r", "image": "i:1", "command": ["/bin/sh", "-c", script]}
    containers = [{**one, "volumeMounts": mount} for one in (writer, reader)]
    volumes = [{"name": "data", "emptyDir": {}}]
    await pods.run(containers=containers, volumes=volumes, restartPolicy="Never")
    await pods.phase("Succeeded")
    assert await pods.logs(container="r") == "hi\n"


async def test_a_read_only_mount_cannot_be_written(pods):
    volume = {"name": "data", "emptyDir": {}}
    await pods.run("touch /data/x", restartPolicy="Never", **mounted(volume, readOnly=True))
    await pods.phase("Failed")
    assert "Read-only file system" in await pods.logs()


async def test_a_config_map_changes_all_its_files_at_once(pods, http, config_map):
    await http.created("configmaps", config_map("conf", {"a": "0", "b": "0"}))
    script = (
        "cat /conf/a /conf/b; echo; "
        "while :; do x=$(cd -P /conf/..data && cat a b 2>/dev/null); "
        'case "$x" in ??) test "${x%?}" = "${x#?}" || echo mixed $x;; esac; '
        'case "$x" in 99) echo new; sleep 1000;; esac; done'
    )
    volume = {"name": "conf", "configMap": {"name": "conf"}}
    await pods.run(script, **mounted(volume, "/conf"))
    await pods.says("00")
    for number in range(1, 10):
        data = {"a": str(number), "b": str(number)}
        await http.patch(http.path("configmaps", "conf"), {"data": data})
    assert "mixed" not in await pods.says("new")


async def test_keys_that_go_and_come_in_a_config_map_are_seen(pods, http, config_map):
    await http.created("configmaps", config_map("conf", {"old": "1"}))
    script = "while ! test -e /conf/new; do sleep 0.05; done; ls /conf; sleep 1000"
    volume = {"name": "conf", "configMap": {"name": "conf"}}
    await pods.run(script, **mounted(volume, "/conf"))
    await pods.ready()
    await http.patch(http.path("configmaps", "conf"), {"data": {"old": None, "new": "2"}})
    assert (await pods.says("new")).split() == ["new"]


async def test_items_choose_paths_and_modes_of_a_secret(pods, http):
    secret = {"metadata": {"name": "keys"}, "stringData": {"a": "one", "b": "two"}}
    await http.created("secrets", secret)
    items = [{"key": "a", "path": "deep/file", "mode": 0o400}]
    volume = {"name": "keys", "secret": {"secretName": "keys", "items": items}}
    script = "cat /keys/deep/file; stat -L -c ' %a' /keys/deep/file; ls /keys"
    await pods.run(script, restartPolicy="Never", **mounted(volume, "/keys"))
    await pods.phase("Succeeded")
    assert await pods.logs() == "one 400\ndeep\n"


async def test_a_sub_path_mounts_one_file(pods, http, config_map):
    await http.created("configmaps", config_map("conf", {"my.cnf": "[x]"}))
    volume = {"name": "conf", "configMap": {"name": "conf"}}
    spec = mounted(volume, "/etc/no-such-my.cnf", subPath="my.cnf")
    await pods.run("cat /etc/no-such-my.cnf", restartPolicy="Never", **spec)
    await pods.phase("Succeeded")
    assert await pods.logs() == "[x]"
    assert not exists("/etc/no-such-my.cnf")


async def test_a_volume_waits_for_its_config_map(pods, http, config_map):
    volume = {"name": "conf", "configMap": {"name": "late"}}
    await pods.run("cat /conf/a", restartPolicy="Never", **mounted(volume, "/conf"))

    async def reported():
        return (await pods.events())["FailedMount"]["message"]

    wanted = 'MountVolume.SetUp failed for volume "conf" : configmap "late" not found'
    assert await eventually(reported) == wanted
    await http.created("configmaps", config_map("late", {"a": "here"}))
    await pods.phase("Succeeded")
    assert await pods.logs() == "here"


async def test_projected_volumes_join_token_downward_api_and_objects(pods, http, config_map):
    await http.created("configmaps", config_map("conf", {"a": "1"}))
    field = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
    sources = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 600}},
        {"configMap": {"name": "conf"}},
        {"downwardAPI": {"items": [field]}},
    ]
    volume = {"name": "all", "projected": {"sources": sources}}
    script = "ls /all; cat /all/labels; echo; cut -d. -f1 /all/token | wc -l; sleep 1000"
    spec = mounted(volume, "/all")
    await pods.run(script, metadata={"labels": {"app": "db"}}, **spec)
    log = await pods.says("\n1\n")
    assert log.splitlines() == ["a", "labels", "token", 'app="db"', "1"]


async def test_the_token_of_a_pod_names_its_account_to_the_api_server(pods, http):
    sources = [{"serviceAccountToken": {"path": "token", "expirationSeconds": 600}}]
    volume = {"name": "all", "projected": {"sources": sources}}
    await pods.run("cat /all/token", restartPolicy="Never", **mounted(volume, "/all"))
    await pods.phase("Succeeded")
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": await pods.logs()},
    }
    answer = await http.post("/apis/authentication.k8s.io/v1/tokenreviews", review)
    wanted = f"system:serviceaccount:{http.namespace}:default"
    assert answer.json["status"]["user"]["username"] == wanted


def claim(name="data", storage="1Gi"):
    return {
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": storage}},
        },
    }


CLAIMED = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}


async def test_a_claim_is_bound_and_its_data_outlives_the_pod(pods, http):
    await http.created("persistentvolumeclaims", claim())
    spec = mounted(CLAIMED)
    await pods.run("echo kept > /data/f; sleep 1000", name="a", **spec)
    await pods.ready("a")
    held = (await http.get(http.path("persistentvolumeclaims", "data"))).json
    assert held["status"]["phase"] == "Bound"
    assert held["status"]["capacity"] == {"storage": "1Gi"}
    await pods.delete("a", gracePeriodSeconds=1)
    await pods.gone("a")
    await pods.run("cat /data/f", name="b", restartPolicy="Never", **mounted(CLAIMED))
    await pods.phase("Succeeded", "b")
    assert await pods.logs("b") == "kept\n"


async def test_a_claim_may_be_expanded(pods, http):
    await http.created("persistentvolumeclaims", claim())

    async def capacity():
        held = (await http.get(http.path("persistentvolumeclaims", "data"))).json
        return held["status"]["capacity"]["storage"]

    assert await eventually(capacity) == "1Gi"
    body = {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}
    answer = await http.patch(http.path("persistentvolumeclaims", "data"), body)
    assert answer.status == 200, answer.text

    async def expanded():
        return await capacity() == "2Gi"

    await eventually(expanded)


async def test_a_pod_waits_for_its_claim(pods, http):
    await pods.run("sleep 1000", **mounted(CLAIMED))

    async def waits():
        [one] = (await pods.status())["containerStatuses"]
        return one["state"]["waiting"]["reason"] == "ContainerCreating"

    await eventually(waits)
    await http.created("persistentvolumeclaims", claim())
    await pods.ready()


async def test_an_unsupported_volume_is_reported_with_the_remedy(pods):
    volume = {"name": "share", "nfs": {"server": "nowhere.example", "path": "/"}}
    await pods.run("true", **mounted(volume))

    async def reported():
        return (await pods.events())["FailedMount"]["message"]

    message = await eventually(reported)
    assert "process nodes have no volumes of nfs: use emptyDir" in message


async def test_a_deleted_claim_takes_its_volume_with_it(pods, http):
    await http.created("persistentvolumeclaims", claim())

    async def bound():
        held = (await http.get(http.path("persistentvolumeclaims", "data"))).json
        return held["status"]["phase"] == "Bound" and held["spec"]["volumeName"]

    volume = await eventually(bound)
    await http.delete(http.path("persistentvolumeclaims", "data"))
    await http.gone(f"/api/v1/persistentvolumes/{volume}")
