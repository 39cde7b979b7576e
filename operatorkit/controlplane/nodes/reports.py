"""The Events of schedulers and kubelets, in their own forms.

What belongs here: Kubernetes' older form with a source and a count (kubelet) and the newer one with an action
(kube-scheduler). What does not: the events of operators (`operatorkit.events`).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

from operatorkit.clock import Clock, format_micro_time, format_time
from operatorkit.cluster.api import ClusterAPI, JSONObject, PatchType
from operatorkit.controlplane.nodes.kinds import EVENTS
from operatorkit.errors import AlreadyExists, NotFound

__all__ = ["Reporter"]

EventType = Literal["Normal", "Warning"]

_REMEMBERED = 4096


@dataclass(slots=True)
class _Told:
    name: str
    count: int


class Reporter:
    """Tells what happens to pods.

    Guarantees: the same thing about the same pod is one Event with a count, as long as the Event is there.
    """

    def __init__(self, api: ClusterAPI, *, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._serial = itertools.count()
        self._told: dict[tuple[str, ...], _Told] = {}

    async def kubelet(
        self, pod: JSONObject, host: str, type_: EventType, reason: str, message: str, *, container: str = ""
    ) -> None:
        """Report as the kubelet of `host`; the same words again count up."""
        path = container and f"spec.containers{{{container}}}"
        key = (pod["metadata"]["uid"], host, type_, reason, message, path)
        told = self._told.get(key)
        if told is not None and await self._count(pod, told):
            return
        moment = format_time(self._clock.now())
        event = self._event(pod, type_, reason, message)
        event |= {
            "source": {"component": "kubelet", "host": host},
            "reportingComponent": "kubelet",
            "reportingInstance": host,
            "firstTimestamp": moment,
            "lastTimestamp": moment,
            "count": 1,
        }
        if path:
            event["involvedObject"]["fieldPath"] = path
        name = await self._create(pod, event)
        self._told[key] = _Told(name, 1)
        while len(self._told) > _REMEMBERED:
            del self._told[next(iter(self._told))]

    async def scheduler(self, pod: JSONObject, type_: EventType, reason: str, action: str, message: str) -> None:
        """Report as kube-scheduler."""
        event = self._event(pod, type_, reason, message)
        event |= {
            "action": action,
            "eventTime": format_micro_time(self._clock.now()),
            "reportingComponent": "default-scheduler",
            "reportingInstance": "default-scheduler-simulated",
        }
        await self._create(pod, event)

    def _event(self, pod: JSONObject, type_: EventType, reason: str, message: str) -> JSONObject:
        metadata = pod["metadata"]
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"namespace": metadata["namespace"]},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
                "resourceVersion": metadata.get("resourceVersion", ""),
            },
            "type": type_,
            "reason": reason,
            "message": message,
        }

    async def _create(self, pod: JSONObject, event: JSONObject) -> str:
        while True:
            moment = int(self._clock.now().timestamp() * 1_000_000_000) + next(self._serial)
            event["metadata"]["name"] = f"{pod['metadata']['name']}.{moment:x}"
            try:
                await self._api.create(EVENTS, event, namespace=pod["metadata"]["namespace"])
            except AlreadyExists:
                continue  # another reporter in the same nanosecond, or a clock that stands still
            return str(event["metadata"]["name"])

    async def _count(self, pod: JSONObject, told: _Told) -> bool:
        """Add one to an Event; return whether it is still there."""
        patch = {"count": told.count + 1, "lastTimestamp": format_time(self._clock.now())}
        try:
            await self._api.patch(
                EVENTS, told.name, patch, patch_type=PatchType.MERGE, namespace=pod["metadata"]["namespace"]
            )
        except NotFound:
            return False
        told.count += 1
        return True
