"""What the scenarios of process nodes share: pods of shell scripts, and what is seen of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from operatorkit.testing import eventually


class Pods:
    """Creates pods, and reads what became of them."""

    def __init__(self, http) -> None:
        self.http = http

    async def run(self, script: str | None = None, name: str = "p", **spec: Any) -> dict[str, Any]:
        """Create a pod of one container, `main`, that runs a shell script."""
        container = {"name": "main", "image": "busybox:1", **spec.pop("container", {})}
        if script is not None:
            container["command"] = ["/bin/sh", "-c", script]
        spec = {"terminationGracePeriodSeconds": 2, "automountServiceAccountToken": False, **spec}
        metadata = {"name": name, **spec.pop("metadata", {})}
        spec.setdefault("containers", [container])
        return await self.http.created("pods", {"metadata": metadata, "spec": spec})

    async def get(self, name: str = "p") -> dict[str, Any]:
        answer = await self.http.get(self.http.path("pods", name))
        assert answer.status == 200, answer.text
        return answer.json

    async def status(self, name: str = "p") -> dict[str, Any]:
        return (await self.get(name))["status"]

    async def container(self, pod: str = "p", name: str = "main") -> dict[str, Any]:
        """Return the status of a container."""
        status = await self.status(pod)
        every = (*status.get("containerStatuses", ()), *status.get("initContainerStatuses", ()))
        return {one["name"]: one for one in every}[name]

    async def phase(self, phase: str, name: str = "p") -> dict[str, Any]:
        """Wait for a phase and return the status."""

        async def reached():
            status = await self.status(name)
            assert status["phase"] == phase, status
            return status

        return await eventually(reached, message=f"{name} in phase {phase}")

    async def ready(self, name: str = "p") -> dict[str, Any]:
        """Wait until a pod is ready and return its status."""

        async def is_ready():
            status = await self.status(name)
            held = {one["type"]: one["status"] for one in status.get("conditions", ())}
            assert held.get("Ready") == "True", status
            return status

        return await eventually(is_ready, message=f"{name} ready")

    async def logs(self, name: str = "p", **query: str) -> str:
        answer = await self.http.get(self.http.path("pods", name, sub="log"), query=query)
        assert answer.status == 200, answer.text
        return answer.text

    async def says(self, text: str, name: str = "p", **query: str) -> str:
        """Wait until the log has a text and return the log."""

        async def said():
            log = await self.logs(name, **query)
            assert text in log, log
            return log

        return await eventually(said, message=f"{text!r} in the log of {name}")

    async def delete(self, name: str = "p", **options: Any) -> None:
        answer = await self.http.delete(self.http.path("pods", name), options or None)
        assert answer.status == 200, answer.text

    async def gone(self, name: str = "p") -> None:
        await self.http.gone(self.http.path("pods", name))

    async def events(self, name: str = "p") -> dict[str, dict[str, Any]]:
        """Return the Events of a pod by reason."""
        query = {"fieldSelector": f"involvedObject.name={name}"}
        answer = await self.http.get(self.http.path("events"), query=query)
        return {event["reason"]: event for event in answer.json["items"]}


async def connect(address: str, port: int) -> str:
    """Return what a TCP server sends to a client that connects."""
    reader, writer = await asyncio.open_connection(address, port)
    try:
        return (await reader.read()).decode()
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.fixture
def pods(http, process_nodes) -> Pods:
    del process_nodes
    return Pods(http)
