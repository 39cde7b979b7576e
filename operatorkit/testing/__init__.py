"""Tests of operators: one test for the embedded control plane, a real kube-apiserver, your own cluster.

What belongs here: the pytest plugin with its fixtures (`plugin`), a clock for the test to hold
(`FakeClock`), waiting without sleeping (`eventually`, `remains`), and counting what an operator
asks of its API (`RecordingCluster`, `idle`). What does not: control planes themselves
(`operatorkit.controlplane`), and anything that an operator needs when it is not under test.

    async def test_of_mine(cluster, operator):      # an async test: pytest-asyncio's auto mode
        async with operator(app) as running:
            await cluster.create(WEBSITES, {...}, namespace=cluster.namespace)
            await eventually(lambda: cluster.get(CONFIG_MAPS, "site", namespace=cluster.namespace))
            await running.idle()
            assert running.writes() == {("patch", "configmaps"): 1, ("patch", "websites/status"): 1}

Loading this package, or the plugin, imports neither kopf nor aiohttp: a test run that does not use
it pays nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from operatorkit.testing.clock import FakeClock
from operatorkit.testing.polling import eventually, remains

if TYPE_CHECKING:
    from operatorkit.testing.cluster import Call, RecordingCluster, idle

__all__ = ["Call", "FakeClock", "RecordingCluster", "eventually", "idle", "remains"]

_LAZY = {"Call": "cluster", "RecordingCluster": "cluster", "idle": "cluster"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
