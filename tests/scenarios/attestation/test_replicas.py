"""Two replicas of attestation as processes: both serve webhooks, the leader alone validates running Pods.

It takes longer than other scenarios because two processes start, which nothing else shows of this operator: that its
webhooks do not wait for the Lease.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from scenarios.attestation.conftest import OWN
from scenarios.attestation.team import NOTE, Team, image, pod

from operatorkit.cluster import PatchType
from operatorkit.errors import AlreadyExists, ClusterError, NotFound
from operatorkit.events import EVENTS
from operatorkit.kinds import LEASES, NAMESPACES, SERVICES
from operatorkit.names import ApiResource
from operatorkit.testing import eventually
from operatorkit.testing.running import install_crds
from operatorkit.webhooks.registration import remove
from operators.attestation import AttestationAuthority, GrafeasServer, ImagePolicy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SLICES = ApiResource("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", namespaced=True)
SERVICE = "attestation-webhook"


class Replicas:
    """Two processes behind one Service; the test decides which of them the Service leads to."""

    def __init__(self, cluster: Any, own: str, folder: Path, config: Path, ports: list[int]) -> None:
        self.cluster = cluster
        self.own = own
        self.folder = folder
        self.ports = ports
        self.processes = [self._start(number, config) for number in range(2)]

    def _start(self, number: int, config: Path) -> subprocess.Popen[bytes]:
        options = (
            "--leader-elect", "--namespace", self.cluster.namespace, "--own-namespace", self.own, "--kubeconfig", config,
            "--webhooks", "service", "--webhook-service", SERVICE, "--webhook-port", self.ports[number],
        )  # fmt: skip
        command = [sys.executable, "-m", "operatorkit", "run", "attestation", *map(str, options)]
        with (self.folder / f"replica-{number}.log").open("wb") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)

    def log(self, number: int) -> str:
        return (self.folder / f"replica-{number}.log").read_text()

    async def logged(self, text: str) -> int:
        """Return the number of the replica that has logged a text."""

        def found() -> list[int]:
            for number, process in enumerate(self.processes):
                assert process.poll() is None, self.log(number)
            return [number for number in range(2) if text in self.log(number)]

        await eventually(found, timeout=240, message=f"{text!r} is logged")
        (number,) = found()
        return number

    async def lead_to(self, number: int) -> None:
        """Let the Service have this replica alone behind it."""
        body = {
            "apiVersion": SLICES.api_version,
            "kind": "EndpointSlice",
            "metadata": {"name": f"{SERVICE}-1", "labels": {"kubernetes.io/service-name": SERVICE}},
            "addressType": "FQDN",  # the API server accepts no IP address of this machine
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
            "ports": [{"name": "webhooks", "port": self.ports[number]}],
        }
        await self.cluster.patch(
            SLICES,
            f"{SERVICE}-1",
            body,
            patch_type=PatchType.APPLY,
            namespace=self.own,
            field_manager="test",
            force=True,
        )

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()
            process.wait()


@pytest_asyncio.fixture
async def replicas(cluster, controlplane, tmp_path, find_port):
    if controlplane.backend == "existing":
        pytest.skip("this cluster may route to Services in a way of its own")
    own = f"{cluster.namespace}-own"
    await install_crds(cluster, OWN)
    with suppress(AlreadyExists):
        await cluster.create(NAMESPACES, {"metadata": {"name": own}})
    spec = {"ports": [{"name": "webhooks", "port": 443, "targetPort": 9443}]}
    await cluster.create(SERVICES, {"metadata": {"name": SERVICE}, "spec": spec}, namespace=own)
    config = controlplane.write_kubeconfig(tmp_path / "config")
    found = Replicas(cluster, own, tmp_path, config, [find_port(), find_port()])
    try:
        yield found
    finally:
        await asyncio.to_thread(found.stop)
        await remove(cluster, "attestation")
        await cluster.delete(NAMESPACES, own)


@pytest_asyncio.fixture
async def team(cluster, replicas, server, cleanup):
    """Make the objects of a team whose images must be attested."""
    async with aiohttp.ClientSession() as session, cleanup((GrafeasServer, cluster.namespace)):
        team = Team(cluster, server.url(), session)
        await team.post("projects/team/notes?noteId=qa", {"attestation": {}})
        for kind, name, spec in (
            (GrafeasServer, cluster.namespace, {"url": server.url()}),
            (AttestationAuthority, "qa", team.authority()),
            (ImagePolicy, "signed", {"require": {"allOf": [{"kind": "AttestationAuthority", "name": "qa"}]}}),
        ):
            await replicas.lead_to(0)

            async def made(kind=kind, name=name, spec=spec) -> bool:
                """Create it once the webhooks answer that validate it."""
                try:
                    await team.make(kind, name, spec)
                except AlreadyExists:
                    return True
                except ClusterError as error:
                    if "failed calling webhook" not in error.message:
                        raise
                    return False
                return True

            await eventually(made, timeout=240, message=f"{kind.kind} {name}")
        yield team


async def events(team: Team) -> list[tuple[str, int]]:
    """Return the reason and the count of each Event on the Pod."""
    listed = await team.cluster.list(EVENTS, namespace=team.cluster.namespace)
    found = [one for one in listed.items if one["involvedObject"]["name"] == "web"]
    return sorted((one["reason"], one["count"]) for one in found if one["source"]["component"] == "attestation")


async def test_both_replicas_admit_and_the_leader_alone_reports_running_pods(team, replicas):
    leader = await replicas.logged("leads: it holds the Lease")
    standby = 1 - leader
    good = image()
    await team.attest(good)
    for number in (standby, leader):
        await replicas.lead_to(number)
        bad = image()

        async def denied(bad=bad) -> bool:
            return "has no occurrence for it" in await team.answer(pod(bad))

        await eventually(denied, timeout=60, message=f"replica {number} denies")
        assert await team.answer(pod(good)) == ""
    await team.create(pod(good))

    async def followed() -> bool:
        server = await team.cluster.get(GrafeasServer.api_resource(), team.cluster.namespace)
        return server.get("status", {}).get("sequence") is not None

    await eventually(followed, timeout=60, message="the server's changes are followed")
    async with team.session.get(f"{team.url}/v1/{NOTE}/occurrences") as answer:
        (occurrence,) = (await answer.json())["occurrences"]
    async with team.session.delete(f"{team.url}/v1/{occurrence['name']}") as answer:
        assert answer.status == 200

    async def reported(*reasons: str) -> bool:
        return {reason for reason, _ in await events(team)} == set(reasons)

    await eventually(lambda: reported("ImageNotAttested"), timeout=60, message="the leader reports")
    await team.attest(good)
    await eventually(lambda: reported("ImageNotAttested", "ImageAttested"), timeout=60, message="and that it is over")
    assert await events(team) == [("ImageAttested", 1), ("ImageNotAttested", 1)]

    replicas.processes[leader].kill()
    replicas.processes[leader].wait()
    await replicas.lead_to(standby)
    lease = await team.cluster.get(LEASES, "attestation", namespace=replicas.own)
    holder = lease["spec"]["holderIdentity"]

    async def goes_on() -> bool:
        with suppress(NotFound):
            return "has no occurrence for it" in await team.answer(pod(image(), name="other"))
        return False

    await eventually(goes_on, timeout=60, message="the standby serves on")
    lease = await team.cluster.get(LEASES, "attestation", namespace=replicas.own)
    assert lease["spec"]["holderIdentity"] == holder, "before it has the Lease"
