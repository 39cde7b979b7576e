"""An Event outlives the time for which the server keeps Events, as long as its cause and the Pod last."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
import pytest_asyncio

from operatorkit.cluster import LiveCluster, load_config
from operatorkit.testing import FakeClock, RecordingCluster, eventually
from operatorkit.testing.backends import start
from operatorkit.testing.running import install_crds
from operators.pki import app

TTL_SECONDS = 5


@pytest.fixture(scope="module")
def controlplane(request):
    """A control plane that forgets Events after a few seconds, in place of the session's."""
    backend = request.config.getoption("--controlplane")
    if backend == "existing":
        pytest.skip("the event TTL of an existing cluster is not ours to set")
    with start(backend, event_ttl=timedelta(seconds=TTL_SECONDS)) as plane:
        yield plane


@pytest_asyncio.fixture
async def cluster(controlplane, namespace):
    async with LiveCluster(load_config(controlplane.kubeconfig(namespace=namespace))) as live:
        await install_crds(live, app.kinds())
        yield RecordingCluster(live, namespace=namespace)


@pytest.mark.slow
async def test_the_event_of_a_waiting_pod_outlives_the_servers_ttl(team, pki, fake_clock: FakeClock):
    await team.ca()
    async with pki():
        await team.pod()
        await team.certificate(dnsNames=["app2"])
        await team.event("Pod", "web", "DeniedByPolicy")
        begin, event = time.monotonic(), {}
        while time.monotonic() - begin < 3 * TTL_SECONDS:
            await fake_clock.advance(timedelta(minutes=25))  # after which it is told again
            (event,) = await team.events("Pod", "web", "DeniedByPolicy")
        assert event["count"] > 3


@pytest.mark.slow
async def test_an_event_whose_cause_is_gone_is_forgotten_by_the_server(team, pki):
    await team.ca()
    async with pki():
        await team.certificate()
        await team.event("Certificate", "web", "CertificateIssued")
        await eventually(lambda: is_forgotten(team), timeout=120 + 10 * TTL_SECONDS)


async def is_forgotten(team) -> bool:
    return await team.events("Certificate", "web") == []
