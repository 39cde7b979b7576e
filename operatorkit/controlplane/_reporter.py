"""The Events of Kubernetes' own components, in their own forms.

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

__all__ = ["EVENTS", "EventType", "Reporter"]


EventType = Literal["Normal", "Warning"]

_log = logging.getLogger("operatorkit.controlplane")

_REMEMBERED = 4096


@dataclass(slots=True)
class _Told:
    name: str
    count: int


class Reporter:
    """Tells what happens to objects. They need `apiVersion` and `kind`.

    Guarantees: the same thing about the same object is one Event with a count, as long as the Event is there. Telling
    never fails: an Event that the server does not take, as in a namespace that is going, is logged and let go.
    """

    def __init__(self, api: ClusterAPI, *, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._serial = itertools.count()
        self._told: dict[tuple[str, ...], _Told] = {}

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
        """Report as `component` (of `host`), perhaps about one container; the same words again count up."""
        path = container and f"spec.containers{{{container}}}"
        key = (obj["metadata"]["uid"], component, host, type_, reason, message, path)
        told = self._told.get(key)
        try:
            if told is not None and await self._count_up(obj, told):
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
        self._told[key] = _Told(name, 1)
        while len(self._told) > _REMEMBERED:
            del self._told[next(iter(self._told))]

    async def act(self, obj: JSONObject, type_: EventType, reason: str, action: str, message: str) -> None:
        """Report as kube-scheduler."""
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
                continue  # another reporter in the same nanosecond, or a clock that stands still
            except ClusterError as error:
                _log.debug("an Event was lost: %s", error)
                return None
            return str(event["metadata"]["name"])

    async def _count_up(self, obj: JSONObject, told: _Told) -> bool:
        """Add one to an Event; return whether it is still there."""
        patch = {"count": told.count + 1, "lastTimestamp": format_time(self._clock.now())}
        namespace = obj["metadata"].get("namespace", "default")
        try:
            await self._api.patch(EVENTS, told.name, patch, patch_type=PatchType.MERGE, namespace=namespace)
        except NotFound:
            return False
        told.count += 1
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
