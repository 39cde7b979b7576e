"""A store of Events that behaves as the API server's does, and recorders that write to it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from operatorkit.cluster.api import ObjectList
from operatorkit.errors import (
    AlreadyExists,
    ClusterError,
    Conflict,
    NotFound,
)
from operatorkit.events import EventRecorder, FloodLimits, Notice, Reference

POD = Reference(api_version="v1", kind="Pod", namespace="team", name="web-0", uid="pod-uid")
CERTIFICATE = Reference(api_version="pki.example/v1", kind="Certificate", namespace="team", name="web", uid="cert-uid")


class HeldClock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class EventStore:
    """Keeps Events under their names, with resource versions and merge patch; `fail` holds the next failures."""

    def __init__(self) -> None:
        self.events: dict[str, dict[str, Any]] = {}
        self.writes = 0
        self.requests = 0
        self.lists = 0
        self.fail: list[ClusterError] = []
        self._versions = itertools.count(1)

    def _begin(self) -> None:
        self.requests += 1
        if self.fail:
            raise self.fail.pop()

    async def create(self, resource: Any, obj: Mapping[str, Any], *, namespace: str) -> dict[str, Any]:
        await asyncio.sleep(0)  # a request gives way to others
        self._begin()
        name = obj["metadata"]["name"]
        assert obj["metadata"]["namespace"] == namespace
        if name in self.events:
            raise AlreadyExists(name)
        return self._keep(name, dict(obj))

    async def get(self, resource: Any, name: str, *, namespace: str) -> dict[str, Any]:
        self._begin()
        return self.events[name]

    async def patch(self, resource: Any, name: str, body: Any, *, patch_type: Any, namespace: str) -> dict[str, Any]:
        await asyncio.sleep(0)
        self._begin()
        if name not in self.events:
            raise NotFound(name)
        old = self.events[name]
        if body["metadata"]["resourceVersion"] != old["metadata"]["resourceVersion"]:
            raise Conflict(name)
        return self._keep(name, {**old, **body, "metadata": old["metadata"]})

    async def list(self, resource: Any, *, namespace: str, **options: Any) -> ObjectList:
        self._begin()
        self.lists += 1
        return ObjectList([one for one in self.events.values() if one["metadata"]["namespace"] == namespace], "1")

    def _keep(self, name: str, event: dict[str, Any]) -> dict[str, Any]:
        self.writes += 1
        event["metadata"] = {**event["metadata"], "resourceVersion": str(next(self._versions))}
        self.events[name] = event
        return event

    def counts(self) -> dict[str, int]:
        return {event["message"]: event["count"] for event in self.events.values()}


def recorder_of(store: EventStore, clock: HeldClock, instance: str = "pki-0", **limits: Any) -> EventRecorder:
    options = {"component": "pki", "instance": instance, "clock": clock, "limits": FloodLimits(**limits)}
    return EventRecorder(store, **options)  # type: ignore[arg-type]


def warning(message: str = "ask for app1", **changes: Any) -> Notice:
    return Notice(
        **{
            "regarding": POD,
            "type": "Warning",
            "reason": "Denied",
            "message": message,
            "related": CERTIFICATE,
            **changes,
        }
    )
