"""What happens to pods that are killed, paused or cut off, and when their node is lost."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from operatorkit.testing import eventually, remains

PYTHON = str(Path(sys.executable).resolve())  # not one of a virtual environment in /tmp: pods have a /tmp of their own

WILDCARD = """
import os, socket
server = socket.create_server(("0.0.0.0", 8080))
while True:
    peer, address = server.accept()
    peer.sendall(f"{os.environ['HOSTNAME']} {address[0]}".encode())
    peer.close()
"""
CLIENT = """
import socket, sys, time
while True:
    try:
        with socket.create_connection((sys.argv[1], 8080), timeout=0.3) as peer:
            print(peer.recv(100).decode() or "empty", flush=True)
    except OSError as error:
        print("failed", type(error).__name__, flush=True)
    time.sleep(0.1)
"""


@pytest.fixture
def nodes(process_nodes, http):
    if process_nodes is None:
        pytest.skip("only process nodes can be disrupted")
    return process_nodes


@pytest.fixture
def grouped(nodes):
    """Skip where pods have no control group: without root, or without cgroup v2."""
    if nodes.groups is None:
        pytest.skip("needs root and a writable cgroup v2")
    return nodes


async def serve(pods, name):
    await pods.run(name=name, container={"command": [PYTHON, "-c", WILDCARD]})
    return (await pods.ready(name))["podIP"]


async def test_a_killed_container_comes_back_with_its_address(pods, nodes, http):
    await pods.run("sleep 1000")
    address = (await pods.ready())["podIP"]
    nodes.disrupt.kill(http.namespace, "p")

    async def restarted():
        container = await pods.container()
        return container["restartCount"] == 1 and container["lastState"]["terminated"]

    ended = await eventually(restarted)
    assert (ended["exitCode"], ended["reason"]) == (137, "Error")
    assert (await pods.ready())["podIP"] == address


async def test_two_pods_listen_on_the_same_port_of_all_addresses(pods, grouped):
    first, second = await serve(pods, "a"), await serve(pods, "b")
    for address, name in ((first, "a"), (second, "b"), (first, "a")):
        client = f"client-{address.replace('.', '-')}-{name}"
        command = [PYTHON, "-c", CLIENT, address]
        if await absent(pods, client):
            await pods.run(name=client, container={"command": command})
        ip = (await pods.ready(client))["podIP"]
        await pods.says(f"{name} {ip}", client)


async def absent(pods, name):
    return (await pods.http.get(pods.http.path("pods", name))).status == 404


async def test_the_loopback_address_is_the_pods_own(pods, grouped):
    await serve(pods, "other")
    server = {"name": "main", "image": "i:1", "command": [PYTHON, "-c", WILDCARD]}
    client = {"name": "c", "image": "i:1", "command": [PYTHON, "-c", CLIENT, "127.0.0.1"]}
    await pods.run(containers=[server, client], name="own")
    ip = (await pods.ready("own"))["podIP"]
    await pods.says(f"own {ip}", "own", container="c")


async def test_a_paused_pod_answers_nothing_until_it_is_resumed(pods, grouped, http):
    await pods.run("while :; do echo tick; sleep 0.05; done")
    await pods.says("tick")
    grouped.disrupt.pause(http.namespace, "p")

    async def frozen():
        before = await pods.logs()
        await remains(lambda: True, period=0.2)
        return await pods.logs() == before

    await eventually(frozen)
    assert (await pods.status())["phase"] == "Running"
    size = len(await pods.logs())
    grouped.disrupt.resume(http.namespace, "p")

    async def goes_on():
        return len(await pods.logs()) > size

    await eventually(goes_on)


async def test_a_paused_pod_can_be_deleted(pods, grouped, http):
    await pods.run("sleep 1000")
    await pods.ready()
    grouped.disrupt.pause(http.namespace, "p")
    await pods.delete(gracePeriodSeconds=1)
    await pods.gone()


async def test_a_partition_drops_packets_until_it_is_healed(pods, grouped, http):
    address = await serve(pods, "server")
    for name in ("near", "far"):
        await pods.run(name=name, container={"command": [PYTHON, "-c", CLIENT, address]})
        await pods.ready(name)
        await pods.says("server ", name)
    far = (await pods.status("far"))["podIP"]
    grouped.disrupt.partition(http.namespace, "server", peers=[far])
    await pods.says("failed TimeoutError", "far")
    assert "failed" not in await pods.logs("near")
    grouped.disrupt.heal(http.namespace, "server")

    async def healed():
        return (await pods.logs("far", tailLines="1")).startswith("server ")

    await eventually(healed)


async def test_the_pods_of_a_lost_node_are_unready_and_return_with_it(pods, nodes, http):
    await pods.run("sleep 1000")
    await pods.ready()
    await nodes.disrupt.lose("process-1")
    held = {one["type"]: one["status"] for one in (await pods.status())["conditions"]}
    assert held["Ready"] == "False"
    node = (await http.get("/api/v1/nodes/process-1")).json
    [ready] = [one for one in node["status"]["conditions"] if one["type"] == "Ready"]
    assert (ready["status"], ready["reason"]) == ("Unknown", "NodeStatusUnknown")
    await pods.delete()
    assert (await pods.get())["metadata"]["deletionTimestamp"]  # nothing confirms its end
    await pods.run("sleep 1000", name="waits")
    assert "nodeName" not in (await pods.get("waits"))["spec"]
    await nodes.disrupt.restore("process-1")
    await pods.gone()
    await pods.ready("waits")


async def test_a_pod_on_a_lost_node_starts_again_when_the_node_is_back(pods, nodes):
    await pods.run("sleep 1000")
    await pods.ready()
    await nodes.disrupt.lose("process-1")
    await nodes.disrupt.restore("process-1")

    async def back():
        return (await pods.container())["restartCount"] == 1

    await eventually(back)
    await pods.ready()
