"""Simulated nodes at work: what is watched, and which event enqueues which pod.

What belongs here: informers, the queue of pods to look at, and the tasks. What does not: what is done with a pod
(`pods`).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Self

from operatorkit.clock import SYSTEM_CLOCK, Clock
from operatorkit.cluster import Change, History, Informer
from operatorkit.cluster.api import ClusterAPI, JSONObject
from operatorkit.controlplane.controllers.event_recorder import ComponentEventRecorder
from operatorkit.controlplane.controllers.volume_matching import (
    best_match,
    claim_of_volume,
    class_of_free_volume,
    is_of,
)
from operatorkit.controlplane.controllers.work_queue import WorkQueue
from operatorkit.controlplane.controllers.workloads import claim_names
from operatorkit.controlplane.nodes.kinds import CONFIG_MAPS, NODES, PODS, SECRETS
from operatorkit.controlplane.nodes.pods import Attempt, PodSteps
from operatorkit.controlplane.nodes.references import SourceKind, references
from operatorkit.controlplane.nodes.registration import (
    heartbeat,
    host,
    is_simulated,
    pod_address,
    register,
    renew,
)
from operatorkit.controlplane.nodes.scheduling import Scheduler
from operatorkit.controlplane.nodes.status import Host
from operatorkit.errors import NotFound
from operatorkit.kinds import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, STORAGE_CLASSES
from operatorkit.names import ObjectKey

__all__ = ["SimulatedNodes"]

_WORKERS = 8
_REFERENCES = "references"


class SimulatedNodes:
    """Nodes `node-1` to `node-<count>`, on which pods run without running: an async context manager.

    Entering returns when the nodes are registered and what is there was read. `heartbeat_every` of None renews no
    Lease, for control planes without a node lifecycle controller. Leaving stops the work; the Node objects stay, as
    those of nodes that were switched off, until the next to enter takes them over, or deletes those beyond its count.

    Guarantees: a pod that waits for a Secret or ConfigMap is looked at as soon as the watch brings it; between
    changes nothing is read, and written only what a kubelet repeats (FailedMount counts up, ever more slowly). What a
    kubelet waits for passes on `clock`; `pace` is the clock of pauses after failures.
    """

    def __init__(
        self,
        api: ClusterAPI,
        *,
        count: int = 1,
        clock: Clock = SYSTEM_CLOCK,
        heartbeat_every: timedelta | None = timedelta(seconds=10),
        pace: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._api = api
        self._clock = clock
        self._heartbeat_every = heartbeat_every
        self._hosts = {node.name: node for node in map(host, range(1, count + 1))}
        self._numbers = {name: number for number, name in enumerate(self._hosts, start=1)}
        self._serials = {name: itertools.count() for name in self._hosts}
        self._addresses: dict[ObjectKey, str] = {}
        self._bound: dict[ObjectKey, str] = {}
        history = History(pace)
        self._pods = Informer(api, PODS, clock=pace, history=history)
        self._nodes = Informer(api, NODES, clock=pace, history=history)
        self._sources: dict[SourceKind, Informer] = {
            "Secret": Informer(api, SECRETS, clock=pace, history=history),
            "ConfigMap": Informer(api, CONFIG_MAPS, clock=pace, history=history),
        }
        self._claims = Informer(api, PERSISTENT_VOLUME_CLAIMS, clock=pace, history=history)
        self._volumes = Informer(api, PERSISTENT_VOLUMES, clock=pace, history=history)
        self._classes = Informer(api, STORAGE_CLASSES, clock=pace, history=history)
        events = ComponentEventRecorder(api, clock=clock)
        self._steps = PodSteps(api, self, Scheduler(api, self, events, clock=clock), events, clock)
        self._attempts: dict[ObjectKey, Attempt] = {}
        self._queue: WorkQueue[ObjectKey] = WorkQueue(
            self._look_at, clock=clock, pace=pace, workers=_WORKERS, name="nodes"
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        try:
            await self._begin()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._end()

    async def idle(self) -> None:
        """Return when every pod known now has been taken as far as it can go without a change."""
        await self._queue.idle()

    async def _begin(self) -> None:
        storage = [self._claims, self._volumes, self._classes]
        self._volumes.cache.add_index("claim", claim_of_volume)
        self._volumes.cache.add_index("class", class_of_free_volume)
        informers = [self._pods, self._nodes, *storage, *self._sources.values()]
        self._pods.cache.add_index(_REFERENCES, _reference_names)
        self._tasks = [asyncio.create_task(informer.run()) for informer in informers]
        for node in self._hosts.values():
            self._nodes.put(await register(self._api, node, clock=self._clock))
            if self._heartbeat_every is None:
                await renew(self._api, node, clock=self._clock)
            else:
                beat = heartbeat(self._api, node, clock=self._clock, every=self._heartbeat_every)
                self._tasks.append(asyncio.create_task(beat))
        for informer in informers:
            await informer.synced()
        await self._delete_left_over()
        self._remember_addresses()
        self._pods.subscribe(self._on_pod)
        self._nodes.subscribe(self._on_node)
        self._claims.subscribe(self._on_claim)
        self._volumes.subscribe(self._on_volume)
        for kind, informer in self._sources.items():
            informer.subscribe(lambda change, kind=kind: self._on_source(kind, change))  # type: ignore[misc]
        self._tasks.append(asyncio.create_task(self._queue.run()))

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def _delete_left_over(self) -> None:
        """Delete simulated nodes of an earlier run that are not served now: pods must not be put there."""
        for node in self._nodes.cache.list():
            name = node["metadata"]["name"]
            if is_simulated(node) and name not in self._hosts:
                with contextlib.suppress(NotFound):
                    await self._api.delete(NODES, name)

    def _remember_addresses(self) -> None:
        for pod in self._pods.cache.list():
            address = (pod.get("status") or {}).get("podIP")
            if address:
                self._addresses[
                    ObjectKey(pod["metadata"]["namespace"], pod["metadata"]["name"])
                ] = address

    # -- event handlers

    def _on_pod(self, change: Change) -> None:
        if change.type == "DELETED":
            self._forget(change.key)
            # Capacity for others: a node that was full may take one that waits.
            self._enqueue_unscheduled()
            return
        pod = change.new
        if pod is not None and (node := pod["spec"].get("nodeName")):
            self._bound[change.key] = node
        self._queue.add(change.key)

    def _on_node(self, change: Change) -> None:
        old, new = change.old, change.new
        if old is None or new is None or _as_scheduled(old) != _as_scheduled(new):
            self._enqueue_unscheduled()

    def _on_source(self, kind: SourceKind, change: Change) -> None:
        for key in self._pods.cache.by_index(
            _REFERENCES, f"{kind}/{change.key.namespace}/{change.key.name}"
        ):
            self._queue.add(key)

    def _on_claim(self, change: Change) -> None:
        for key in self._pods.cache.by_index(_REFERENCES, f"Claim/{change.key}"):
            self._queue.add(key)

    def _on_volume(self, change: Change) -> None:
        if change.old is None and change.new is not None and not change.new["spec"].get("claimRef"):
            self._enqueue_unscheduled()

    def _enqueue_unscheduled(self) -> None:
        for key in self._pods.cache.by_index(_REFERENCES, _UNSCHEDULED):
            self._queue.add(key)

    def _forget(self, key: ObjectKey) -> None:
        self._attempts.pop(key, None)
        self._addresses.pop(key, None)
        self._bound.pop(key, None)
        self._queue.forget(key)

    async def _look_at(self, key: ObjectKey) -> timedelta | None:
        pod = self._pods.cache.get(key)
        if pod is None:
            self._forget(key)
            return None
        wait = await self._steps.advance(pod, self._attempts.setdefault(key, Attempt()))
        if wait is None:
            self._attempts.pop(key, None)
        return wait

    # -- what the steps read (`World`)

    def source(self, namespace: str, kind: SourceKind, name: str) -> JSONObject | None:
        """Return a Secret or ConfigMap, or None."""
        return self._sources[kind].cache.get(ObjectKey(namespace, name))

    def nodes(self) -> Sequence[JSONObject]:
        """Return the nodes that are served: simulated ones, and those of others."""
        return [
            node
            for node in self._nodes.cache.list()
            if node["metadata"]["name"] in self._hosts or not is_simulated(node)
        ]

    def waiting_claims(self, pod: JSONObject) -> Sequence[JSONObject]:
        """Return the claims of a pod whose class binds them to a volume for their first consumer."""
        namespace = pod["metadata"]["namespace"]
        keys = [ObjectKey(namespace, name) for name in claim_names(pod)]
        claims = [claim for key in keys if (claim := self._claims.cache.get(key)) is not None]
        return [claim for claim in claims if self._waits_for_consumer(claim)]

    def _waits_for_consumer(self, claim: JSONObject) -> bool:
        held = self._classes.cache.get(ObjectKey("", claim["spec"].get("storageClassName") or ""))
        return held is not None and held.get("volumeBindingMode") == "WaitForFirstConsumer"

    def has_volume(self, claim: JSONObject) -> bool:
        """Return whether a volume was selected for a claim."""
        key = ObjectKey(claim["metadata"]["namespace"], claim["metadata"]["name"])
        found = (
            self._volumes.cache.get(each)
            for each in self._volumes.cache.by_index("claim", str(key))
        )
        return any(volume is not None and is_of(volume, claim) for volume in found)

    def free_volume(self, claim: JSONObject) -> JSONObject | None:
        """Return the best volume for a claim among those that no claim has."""
        name = claim["spec"].get("storageClassName") or ""
        keys = self._volumes.cache.by_index("class", name)
        found = [volume for key in keys if (volume := self._volumes.cache.get(key)) is not None]
        return best_match(found, claim)

    def is_provisioned(self, claim: JSONObject) -> bool:
        """Return whether the StorageClass of a claim has a provisioner."""
        held = self._classes.cache.get(ObjectKey("", claim["spec"].get("storageClassName") or ""))
        return held is not None and held["provisioner"] != "kubernetes.io/no-provisioner"

    def wrote_volume(self, volume: JSONObject) -> None:
        """Remember the response to a write."""
        self._volumes.put(volume)

    def pods_per_node(self) -> Mapping[str, int]:
        """Return how many pods are on each node."""
        return Counter(self._bound.values())

    def bound(self, pod: ObjectKey, node: str) -> None:
        """Count a pod as being on a node before the watch says so: the next one is placed at once."""
        self._bound[pod] = node

    def host(self, node: str) -> Host | None:
        """Return the node if it is simulated here."""
        return self._hosts.get(node)

    def address(self, node: str, pod: ObjectKey) -> str:
        """Return the address of a pod on a node; the same each time."""
        if pod not in self._addresses:
            taken = set(self._addresses.values())
            candidates = (
                pod_address(self._numbers[node], serial) for serial in self._serials[node]
            )
            self._addresses[pod] = next(one for one in candidates if one not in taken)
        return self._addresses[pod]

    def wrote(self, pod: JSONObject) -> None:
        """Remember the answer to a write."""
        self._pods.put(pod)


_UNSCHEDULED = "unscheduled"


def _reference_names(pod: JSONObject) -> list[str]:
    """Index a pod by what it needs until it runs: its Secrets and ConfigMaps, and a node."""
    phase = (pod.get("status") or {}).get("phase", "Pending")
    if phase != "Pending":
        return []
    namespace = pod["metadata"]["namespace"]
    needs = [f"{kind}/{namespace}/{name}" for kind, name in sorted(references(pod))]
    if pod["spec"].get("nodeName"):
        return needs
    claims = [f"Claim/{namespace}/{name}" for name in claim_names(pod)]
    return [*needs, *claims, _UNSCHEDULED]


def _as_scheduled(node: JSONObject) -> tuple[object, ...]:
    """Return what the choice of a node depends on."""
    return (
        node["metadata"].get("labels"),
        node.get("spec"),
        ((node.get("status") or {}).get("allocatable") or {}).get("pods"),
    )
