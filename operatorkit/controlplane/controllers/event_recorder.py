"""The Events of Kubernetes' own components, in the form that each of them writes.

What belongs here: the older form with a source and a count (kubelet, kube-controller-manager) and the newer one with
an action (kube-scheduler). What does not: the events of operators (`operatorkit.events`).
"""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass
from typing import Literal

from operatorkit.clock import Clock, format_micro_time, format_time
from operatorkit.cluster.api import ClusterAPI, JSONObject, PatchType
from operatorkit.errors import AlreadyExists, ClusterError, NotFound
from operatorkit.kinds import EVENTS

__all__ = ["EVENTS", "ComponentEventRecorder", "EventType"]


EventType = Literal["Normal", "Warning"]

_log = logging.getLogger("operatorkit.controlplane")

_MAX_ACTIVE = 4096


@dataclass(slots=True)
class _Active:
    name: str
    count: int


class ComponentEventRecorder:
    """Records Events about objects, which need `apiVersion` and `kind`.

    Guarantees: an Event that repeats is one object with a count, as long as that object exists.
    Recording never fails: an Event that the server rejects, as in a terminating namespace, is logged
    and dropped.
    """

    def __init__(self, api: ClusterAPI, *, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._serial = itertools.count()
        self._active: dict[tuple[str, ...], _Active] = {}

    async def count(
        self,
        obj: JSONObject,
        type_: EventType,
        reason: str,
        message: str,
        *,
        component: str,
        host: str = "",
        container: str = "",
    ) -> None:
        """Record an Event of `component` on `host`, or count it up if the same one is active."""
        path = container and f"spec.containers{{{container}}}"
        key = (obj["metadata"]["uid"], component, host, type_, reason, message, path)
        active = self._active.get(key)
        try:
            if active is not None and await self._count_up(obj, active):
                return
        except ClusterError as error:
            _log.debug("an Event was lost: %s", error)
            return
        moment = format_time(self._clock.now())
        event = _event(obj, type_, reason, message)
        event |= {
            "source": {"component": component, **({"host": host} if host else {})},
            "reportingComponent": component,
            "reportingInstance": host,
            "firstTimestamp": moment,
            "lastTimestamp": moment,
            "count": 1,
        }
        if path:
            event["involvedObject"]["fieldPath"] = path
        name = await self._create(obj, event)
        if name is None:
            return
        self._active[key] = _Active(name, 1)
        while len(self._active) > _MAX_ACTIVE:
            del self._active[next(iter(self._active))]

    async def act(
        self, obj: JSONObject, type_: EventType, reason: str, action: str, message: str
    ) -> None:
        """Record an Event of kube-scheduler."""
        event = _event(obj, type_, reason, message)
        event |= {
            "action": action,
            "eventTime": format_micro_time(self._clock.now()),
            "reportingComponent": "default-scheduler",
            "reportingInstance": "default-scheduler-simulated",
        }
        await self._create(obj, event)

    async def _create(self, obj: JSONObject, event: JSONObject) -> str | None:
        while True:
            moment = int(self._clock.now().timestamp() * 1_000_000_000) + next(self._serial)
            event["metadata"]["name"] = f"{obj['metadata']['name']}.{moment:x}"
            try:
                await self._api.create(EVENTS, event, namespace=event["metadata"]["namespace"])
            except AlreadyExists:
                continue  # another recorder in the same nanosecond, or a clock that stands still
            except ClusterError as error:
                _log.debug("an Event was lost: %s", error)
                return None
            return str(event["metadata"]["name"])

    async def _count_up(self, obj: JSONObject, active: _Active) -> bool:
        """Add one to an Event; return whether it still exists."""
        patch = {"count": active.count + 1, "lastTimestamp": format_time(self._clock.now())}
        namespace = obj["metadata"].get("namespace", "default")
        try:
            await self._api.patch(
                EVENTS, active.name, patch, patch_type=PatchType.MERGE, namespace=namespace
            )
        except NotFound:
            return False
        active.count += 1
        return True


def _event(obj: JSONObject, type_: EventType, reason: str, message: str) -> JSONObject:
    metadata = obj["metadata"]
    involved = {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "resourceVersion": metadata.get("resourceVersion", ""),
    }
    if "namespace" in metadata:
        involved["namespace"] = metadata["namespace"]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": metadata.get("namespace", "default")},
        "involvedObject": involved,
        "type": type_,
        "reason": reason,
        "message": message,
    }
