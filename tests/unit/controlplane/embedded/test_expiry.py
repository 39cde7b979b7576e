from __future__ import annotations

import pytest

from operatorkit.controlplane.embedded.local import LocalCluster
from operatorkit.errors import NotFound
from operatorkit.testing import FakeClock

from .conftest import EVENTS

EVENT = {
    "metadata": {"name": "e"},
    "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"},
    "reason": "Why",
    "message": "so",
    "type": "Normal",
}


async def test_an_event_lives_an_hour_after_its_last_write(local: LocalCluster, clock: FakeClock) -> None:
    made = await local.create(EVENTS, EVENT, namespace="default")
    await clock.advance(3000)
    await local.replace(EVENTS, "e", made | {"count": 2}, namespace="default")
    await clock.advance(3000)
    assert (await local.get(EVENTS, "e", namespace="default"))["count"] == 2
    await clock.advance(601)
    with pytest.raises(NotFound):
        await local.get(EVENTS, "e", namespace="default")


async def test_an_event_that_was_deleted_in_time_does_not_disturb_its_successor(
    local: LocalCluster, clock: FakeClock
) -> None:
    await local.create(EVENTS, EVENT, namespace="default")
    await local.delete(EVENTS, "e", namespace="default")
    await clock.advance(1800)
    await local.create(EVENTS, EVENT, namespace="default")
    await clock.advance(1801)
    assert await local.get(EVENTS, "e", namespace="default")
