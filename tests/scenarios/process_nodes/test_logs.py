"""`pods/log`: what containers wrote, as the API server passes it on."""

from __future__ import annotations

import asyncio

from yarl import URL

from operatorkit.clock import parse_time
from operatorkit.testing import eventually


async def test_logs_hold_both_streams_in_order(pods):
    await pods.run("echo one; echo two >&2; printf three", restartPolicy="Never")
    await pods.phase("Succeeded")
    assert await pods.logs() == "one\ntwo\nthree"


async def test_tail_limit_and_timestamps_select(pods):
    await pods.run("seq 1 9", restartPolicy="Never")
    await pods.phase("Succeeded")
    assert await pods.logs(tailLines="2") == "8\n9\n"
    assert await pods.logs(limitBytes="4") == "1\n2\n"
    stamped = await pods.logs(tailLines="1", timestamps="true")
    moment, text = stamped.split(" ", 1)
    assert text == "9\n"
    assert parse_time(moment[:26] + "Z")
    assert await pods.logs(sinceTime="2999-01-01T00:00:00Z") == ""


async def test_follow_brings_lines_as_they_are_written(pods, http):
    await pods.run("echo first; while ! test -e /tmp/x; do sleep 0.05; done; echo last")
    await pods.says("first")
    url = URL(http.user.server + http.path("pods", "p", sub="log")).update_query({"follow": "true"})
    async with http.session.get(url) as response:
        assert response.status == 200
        async with asyncio.timeout(30):
            assert await response.content.readline() == b"first\n"
        await pods.delete(gracePeriodSeconds=1)
        async with asyncio.timeout(30):
            assert await response.content.read() == b""  # it ends with the container
        if response.connection is not None and response.connection.transport is not None:
            response.connection.transport.abort()
    await pods.gone()


async def test_errors_are_those_of_a_kubelet(pods, http):
    await pods.run("sleep 1000")
    await pods.ready()
    path = http.path("pods", "p", sub="log")
    answer = await http.get(path, query={"previous": "true"})
    assert answer.status == 400
    assert answer.json["message"] == 'previous terminated container "main" in pod "p" not found'
    answer = await http.get(path, query={"container": "other"})
    assert (answer.status, answer.json["message"]) == (400, "container other is not valid for pod p")
    await pods.run(container={"image": "nowhere.example/none:1"}, name="w")

    async def waits():
        return "waiting" in (await pods.container("w"))["state"]

    await eventually(waits)
    answer = await http.get(http.path("pods", "w", sub="log"))
    assert answer.status == 400
    assert answer.json["message"].startswith('container "main" in pod "w" is waiting to start: ')


async def test_a_pod_of_two_containers_needs_a_name(pods, http):
    containers = [{"name": name, "image": "i:1", "command": ["/bin/sleep", "1000"]} for name in ("a", "b")]
    await pods.run(containers=containers)
    await pods.ready()
    answer = await http.get(http.path("pods", "p", sub="log"))
    assert answer.status == 400
    wanted = "a container name must be specified for pod p, choose one of: [a b]"
    assert answer.json["message"] == wanted
