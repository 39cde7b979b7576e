from __future__ import annotations

from datetime import timedelta
from typing import Any

from operatorkit.cluster import LiveCluster, load_config
from operatorkit.controlplane.embedded import EmbeddedControlPlane
from operatorkit.controlplane.nodes.kinds import PODS
from operatorkit.controlplane.nodes.process.tokens import Tokens
from operatorkit.kinds import SERVICE_ACCOUNTS
from operatorkit.testing import FakeClock

NAMESPACE = "default"
SOURCE = {"path": "token", "expirationSeconds": 600}


async def test_a_token_is_kept_until_80_percent_of_its_life_and_then_renewed() -> None:
    clock = FakeClock()
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    container = {"name": "main", "image": "i:1"}
    body: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}
    with EmbeddedControlPlane(clock=clock, controllers="") as plane:
        async with LiveCluster(load_config(plane.kubeconfig())) as api:
            await api.create(SERVICE_ACCOUNTS, account, namespace=NAMESPACE)
            spec = {"spec": {"containers": [container]}}
            pod = await api.create(PODS, body | spec, namespace=NAMESPACE)
            tokens = Tokens(api, clock)
            first, wait = await tokens.get(pod, SOURCE)
            assert wait == 480
            clock.tick(timedelta(seconds=479))
            assert await tokens.get(pod, SOURCE) == (first, 1)
            clock.tick(timedelta(seconds=1))
            second, wait = await tokens.get(pod, SOURCE)
    assert second != first
    assert wait == 480
