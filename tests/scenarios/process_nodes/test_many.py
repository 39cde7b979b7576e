"""Many pods come and go, and nothing of them stays."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from operatorkit.controlplane.nodes.kinds import PODS
from operatorkit.testing import eventually

from .test_nothing_left import mounts, processes

COUNT = 200


@pytest.mark.slow
async def test_200_pods_come_and_go_without_a_trace(process_nodes, cluster):
    if process_nodes is None:
        pytest.skip("only process nodes leave processes, mounts and files on this machine")
    mark, before = f"98764{secrets.randbelow(10**9)}", mounts()
    namespace = cluster.namespace

    async def create(number):
        container = {"name": "main", "image": "i:1", "command": ["/bin/sleep", mark]}
        spec = {
            "containers": [{**container, "volumeMounts": [{"name": "d", "mountPath": "/no-such"}]}],
            "volumes": [{"name": "d", "emptyDir": {}}],
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
        }
        metadata = {"name": f"p-{number:03}", "labels": {"app": "many"}}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        await cluster.create(PODS, body, namespace=namespace)

    async def pods():
        return (await cluster.list(PODS, namespace=namespace)).items

    async def all_ready():
        found = await pods()
        ready = [
            pod["status"]["podIP"]
            for pod in found
            for one in pod["status"].get("conditions", ())
            if one["type"] == "Ready" and one["status"] == "True"
        ]
        assert len(ready) == COUNT, len(ready)
        return ready

    for start in range(0, COUNT, 20):
        await asyncio.gather(*(create(number) for number in range(start, start + 20)))
    addresses = await eventually(all_ready, timeout=120)
    assert len(set(addresses)) == COUNT
    assert len(processes(f"/bin/sleep {mark}")) >= COUNT
    for start in range(0, COUNT, 20):
        names = [f"p-{number:03}" for number in range(start, start + 20)]
        await asyncio.gather(*(cluster.delete(PODS, name, namespace=namespace) for name in names))

    async def none_left():
        return not await pods()

    await eventually(none_left, timeout=120)
    await process_nodes.idle()
    await eventually(lambda: not processes(mark))
    assert process_nodes.addresses() == {}
    assert list((process_nodes.directory / "pods").iterdir()) == []
    if process_nodes.groups is not None:
        assert [it for it in process_nodes.groups.iterdir() if it.is_dir()] == []
    assert mounts() == before
