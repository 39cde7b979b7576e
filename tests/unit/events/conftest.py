"""A store of Events and a clock for each test."""

from __future__ import annotations

import pytest
from unit.events.store import EventStore, HeldClock


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture
def store() -> EventStore:
    return EventStore()
