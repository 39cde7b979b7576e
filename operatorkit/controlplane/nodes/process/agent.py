"""Process nodes at work: what is watched, and which pod is looked at when.

What belongs here: informers, queues, addresses and the directory of a run. What does not: what is done
with a pod (`pod`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from operatorkit.clock import SYSTEM_CLOCK, Clock
from operatorkit.cluster import Change, History, Informer
from operatorkit.cluster.api import ClusterAPI, JSONObject
from operatorkit.controlplane.controllers.event_recorder import ComponentEventRecorder
from operatorkit.controlplane.controllers.work_queue import WorkQueue
from operatorkit.controlplane.nodes.kinds import CONFIG_MAPS, NODES, PODS, SECRETS, SERVICES
from operatorkit.controlplane.nodes.process.addresses import KUBELET_PORT, AddressBlock
from operatorkit.controlplane.nodes.process.cgroups import RunGroup, hierarchy
from operatorkit.controlplane.nodes.process.child import MARK
from operatorkit.controlplane.nodes.process.claims import Provisioner
from operatorkit.controlplane.nodes.process.disruptions import Disruptions
from operatorkit.controlplane.nodes.process.hosts import HostsFiles
from operatorkit.controlplane.nodes.process.images import Images
from operatorkit.controlplane.nodes.process.kubelet import KubeletServer, LogError
from operatorkit.controlplane.nodes.process.launch import Launcher, PodSpace
from operatorkit.controlplane.nodes.process.logs import ContainerLog
from operatorkit.controlplane.nodes.process.network import isolate
from operatorkit.controlplane.nodes.process.pod import PodState, PodSync
from operatorkit.controlplane.nodes.process.sandbox import unavailable
from operatorkit.controlplane.nodes.process.tokens import Tokens
from operatorkit.controlplane.nodes.process.volumes import Volumes
from operatorkit.controlplane.nodes.references import Lookup, SourceKind, references
from operatorkit.controlplane.nodes.registration import (
    heartbeat,
    is_of_runtime,
    register,
    renew,
)
from operatorkit.controlplane.nodes.scheduling import Scheduler, is_schedulable
from operatorkit.controlplane.nodes.status import Host
from operatorkit.errors import InputError, NotFound
from operatorkit.kinds import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from operatorkit.names import ObjectKey

__all__ = ["ProcessNodes"]

_WORKERS = 8
_SWEEP = Path(__file__).with_name("_sweep.py")
_REFERENCES = "references"
_RUNTIME = "process"
_CLAIM = "PersistentVolumeClaim"
_NAMES_PAUSE_SECONDS = 0.05
_AUTHENTICATION = "extension-apiserver-authentication"


class ProcessNodes:
    """Nodes `process-1` to `process-<count>`, on which pods run as processes: an async context manager.

    `api_url` is where pods reach the API server. `images` is the table of images; entries may be added
    at any time. `back_off` is the pause before the second restart of a container, which doubles up to
    five minutes. `volumes` is a directory for the data of claims, which then
    stays. Entering returns when the nodes are registered and what is there was read.
    Leaving ends every process, deletes the Nodes and their pods, and removes every file and control group.

    Guarantees: after the end of this process, however it ended, no process of a pod is left within
    moments, and no file, mount or control group once a helper process has removed them.

    Raises InputError on entering where bubblewrap is missing.
    """

    def __init__(
        self,
        api: ClusterAPI,
        *,
        api_url: str,
        images: Images | None = None,
        count: int = 1,
        clock: Clock = SYSTEM_CLOCK,
        heartbeat_every: timedelta | None = timedelta(seconds=10),
        pace: Clock = SYSTEM_CLOCK,
        back_off: timedelta = timedelta(seconds=10),
        volumes: Path | None = None,
    ) -> None:
        self._api = api
        self._clock = clock
        self._heartbeat_every = heartbeat_every
        self._count = count
        self.images: Images = images if images is not None else Images()
        history = History(pace)
        self._pods = Informer(api, PODS, clock=pace, history=history)
        self._nodes = Informer(api, NODES, clock=pace, history=history)
        self._sources: dict[SourceKind, Informer] = {
            "Secret": Informer(api, SECRETS, clock=pace, history=history),
            "ConfigMap": Informer(api, CONFIG_MAPS, clock=pace, history=history),
        }
        self._services = Informer(api, SERVICES, clock=pace, history=history)
        self._claims = Informer(api, PERSISTENT_VOLUME_CLAIMS, clock=pace, history=history)
        self._volumes = Informer(api, PERSISTENT_VOLUMES, clock=pace, history=history)
        self._bound: dict[ObjectKey, str] = {}
        self._states: dict[str, PodState] = {}
        self._keys: dict[str, ObjectKey] = {}
        self._hosts: dict[str, Host] = {}
        self._numbers: dict[str, int] = {}
        self._unscheduled: set[ObjectKey] = set()
        url = urlsplit(api_url)
        self._api_address = (url.hostname or "127.0.0.1", url.port or 443)
        self._back_off = back_off
        self._reporter = ComponentEventRecorder(api, clock=clock)
        self._scheduler = Scheduler(api, self, self._reporter, clock=clock)
        self._scheduling: WorkQueue[ObjectKey] = WorkQueue(
            self._schedule, clock=clock, pace=pace, workers=1, name="scheduling"
        )
        self._queue: WorkQueue[str] = WorkQueue(
            self._sync, clock=clock, pace=pace, workers=_WORKERS, name="process nodes"
        )
        self._provisioning: WorkQueue[ObjectKey] = WorkQueue(
            self._provision, clock=clock, pace=pace, workers=1, name="claims"
        )
        self._kept = volumes
        self._names_changed = asyncio.Event()
        self._beats: dict[str, asyncio.Task[None]] = {}
        self._lost: set[str] = set()
        self.disrupt: Disruptions = Disruptions(api, self, clock)
        self._tasks: list[asyncio.Task[None]] = []
        self._stack = contextlib.AsyncExitStack()
        self._group: RunGroup | None = None
        self.directory: Path = Path()

    async def __aenter__(self) -> Self:
        try:
            await self._begin()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def idle(self) -> None:
        """Return when every pod known now has been taken as far as it can go without a change."""
        await self._scheduling.idle()
        await self._queue.idle()

    # ------------------------------------------------------------------------- beginning and end

    async def _begin(self) -> None:
        if (why := unavailable()) is not None:
            raise InputError(why)
        mark = f"operatorkit-nodes-{os.getpid()}-{secrets.token_hex(4)}"
        self.directory = Path(tempfile.mkdtemp(prefix=f"{mark}-"))
        place = hierarchy()
        self._group = RunGroup(place, mark) if place is not None else None
        self._start_sweeper(mark)
        block = AddressBlock(self._count)
        self._stack.callback(block.close)
        self._block = block
        self._hosts = {node.name: node for node in map(block.node, range(1, self._count + 1))}
        self._numbers = {name: number for number, name in enumerate(self._hosts, start=1)}
        self._stack.push_async_callback(self._end)
        await self._serve_logs()
        allocatable = await self._register()
        self._hosts_files = HostsFiles(self._api_address[0])
        self._provisioner = Provisioner(
            self._api, self._claims, self._volumes, self._kept or self.directory / "claims"
        )
        self._tokens = Tokens(self._api, self._clock)
        self._launcher = Launcher(
            self.images,
            self.lookup,
            allocatable,
            self._api_address,
            mark,
            Volumes(self.lookup, self._provisioner, self._tokens),
            self._hosts_files,
        )
        self._steps = PodSync(
            self._api, self, self._launcher, self._reporter, self._clock, self._back_off
        )
        await self._watch()

    def _start_sweeper(self, mark: str) -> None:
        group = str(self._group.path) if self._group is not None else ""
        arguments = [sys.executable, "-I", "-S", str(_SWEEP), f"{MARK}={mark}"]
        sweeper = subprocess.Popen(  # noqa: S603 - our own command line
            [*arguments, str(self.directory), group],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )

        def sweep() -> None:
            assert sweeper.stdin is not None
            sweeper.stdin.close()
            sweeper.wait()

        self._stack.push_async_callback(asyncio.to_thread, sweep)

    async def _serve_logs(self) -> None:
        try:
            published = await self._api.get(CONFIG_MAPS, _AUTHENTICATION, namespace="kube-system")
            client_ca = (published.get("data") or {}).get("client-ca-file")
        except NotFound:
            client_ca = None
        kubelet = KubeletServer(self, self._block.listeners, client_ca=client_ca, clock=self._clock)
        await kubelet.start()
        self._stack.push_async_callback(kubelet.stop)

    async def _register(self) -> Mapping[str, str]:
        allocatable: Mapping[str, str] = {}
        for node in self._hosts.values():
            made = await register(
                self._api, node, clock=self._clock, runtime=_RUNTIME, kubelet_port=KUBELET_PORT
            )
            self._nodes.put(made)
            allocatable = made["status"]["allocatable"]
            if self._heartbeat_every is None:
                await renew(self._api, node, clock=self._clock)
            else:
                self._beat(node, self._heartbeat_every)
        return allocatable

    def _beat(self, node: Host, every: timedelta) -> None:
        beat = heartbeat(self._api, node, clock=self._clock, every=every)
        self._beats[node.name] = asyncio.create_task(beat)

    async def _watch(self) -> None:
        storage = [self._services, self._claims, self._volumes]
        informers = [self._pods, self._nodes, *storage, *self._sources.values()]
        self._pods.cache.add_index(_REFERENCES, _reference_names)
        self._tasks += [asyncio.create_task(informer.run()) for informer in informers]
        for informer in informers:
            await informer.synced()
        await self._delete_left_over()
        self._pods.subscribe(self._on_pod)
        self._nodes.subscribe(self._on_node)
        for kind, informer in self._sources.items():
            informer.subscribe(lambda change, kind=kind: self._on_source(kind, change))  # type: ignore[misc]
        self._services.subscribe(self._on_service)
        self._claims.subscribe(self._on_claim)
        self._volumes.subscribe(self._enqueue_claims)
        await self._provisioner.begin()
        for work in (self._queue.run(), self._scheduling.run(), self._provisioning.run()):
            self._tasks.append(asyncio.create_task(work))
        self._tasks.append(asyncio.create_task(self._write_names()))

    async def _end(self) -> None:
        """End every process and take the nodes and their pods out of the cluster."""
        self.disrupt.close()
        tasks = [*self._tasks, *self._beats.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()
        running = [one for state in self._states.values() for one in state.running]
        for one in running:
            assert one.child is not None
            one.child.kill()
        await asyncio.gather(*(one.child.exited for one in running if one.child is not None))
        for key in list(self._keys.values()):
            with contextlib.suppress(NotFound):
                await self._api.delete(
                    PODS, key.name, namespace=key.namespace, grace_period_seconds=0
                )
        for name in self._hosts:
            with contextlib.suppress(NotFound):
                await self._api.delete(NODES, name)
        if self._kept is None:
            await self._provisioner.end()

    async def _delete_left_over(self) -> None:
        """Delete process nodes of an earlier run that nothing serves now."""
        for node in self._nodes.cache.list():
            name = node["metadata"]["name"]
            if is_of_runtime(node, _RUNTIME) and name not in self._hosts:
                with contextlib.suppress(NotFound):
                    await self._api.delete(NODES, name)

    # -------------------------------------------------------------------------- events of watches

    def _on_pod(self, change: Change) -> None:
        pod = change.new
        if self._hosts_files.pod_changed(change.key, pod):
            self._names_changed.set()
        if pod is None:
            self._bound.pop(change.key, None)
            self._unscheduled.discard(change.key)
            self._enqueue_unscheduled()
            old = change.old
            if old is not None and old["metadata"]["uid"] in self._states:
                self._queue.add(old["metadata"]["uid"])
            return
        node = pod["spec"].get("nodeName")
        if not node:
            if "deletionTimestamp" not in pod["metadata"] and is_schedulable(pod["spec"]):
                self._unscheduled.add(change.key)
                self._scheduling.add(change.key)
            return
        self._unscheduled.discard(change.key)
        self._bound[change.key] = node
        if (uid := self._track(pod, node)) is not None:
            self._queue.add(uid)

    def _track(self, pod: JSONObject, node: str) -> str | None:
        """Return the uid of a pod on one of our nodes, which has a state from then on."""
        host = self._hosts.get(node)
        if host is None:
            return None
        uid: str = pod["metadata"]["uid"]
        if uid not in self._states:
            taken = {state.space.address for state in self._states.values()}
            addresses = self._block.pod_addresses(self._numbers[node])
            address = next((one for one in addresses if one not in taken), None)
            if address is None:
                return None  # more pods than the node takes: only where another scheduler put them
            space = PodSpace(address, host.ip, self.directory / "pods" / uid)
            if self._group is not None:
                space.group = self._group.pod(uid)
                isolate(space.group.path, address, self._api_address[1])
            self._states[uid] = PodState.of(pod, host, space)
            self._keys[uid] = ObjectKey(pod["metadata"]["namespace"], pod["metadata"]["name"])
        return uid

    def _on_node(self, change: Change) -> None:
        if _as_scheduled(change.old) != _as_scheduled(change.new):
            self._enqueue_unscheduled()

    def _on_source(self, kind: SourceKind, change: Change) -> None:
        self._enqueue_users(kind, change.key)

    def _enqueue_users(self, kind: str, used: ObjectKey) -> None:
        """Look again at the pods that refer to an object."""
        index = f"{kind}/{used.namespace}/{used.name}"
        for key in self._pods.cache.by_index(_REFERENCES, index):
            pod = self._pods.cache.get(key)
            if pod is not None and pod["metadata"]["uid"] in self._states:
                self._queue.add(pod["metadata"]["uid"])

    def _on_service(self, change: Change) -> None:
        self._hosts_files.service_changed(change.key, change.new)
        self._names_changed.set()

    def _on_claim(self, change: Change) -> None:
        self._provisioning.add(change.key)
        self._enqueue_users(_CLAIM, change.key)

    def _enqueue_claims(self, change: Change) -> None:
        """Look again at the claim of a volume that has changed, and at the pods that wait for it."""
        volume = change.new or change.old
        reference = (volume or {}).get("spec", {}).get("claimRef") or {}
        if reference:
            key = ObjectKey(reference.get("namespace", ""), reference.get("name", ""))
            self._provisioning.add(key)
            self._enqueue_users(_CLAIM, key)

    async def _provision(self, key: ObjectKey) -> timedelta | None:
        return await self._provisioner.sync(key)

    async def _write_names(self) -> None:
        """Keep the hosts files of all pods current, a few times a second at most."""
        while True:
            await self._names_changed.wait()
            self._names_changed.clear()
            lines: dict[str, list[str]] = {}
            for uid, state in list(self._states.items()):
                namespace = self._keys[uid].namespace
                if namespace not in lines:
                    lines[namespace] = self._hosts_files.lines(namespace)
                if not state.up or state.space.names == lines[namespace]:
                    continue
                if (pod := self._pod(uid)) is not None:
                    self._launcher.write_hosts(pod, state.space, lines[namespace])
            await asyncio.sleep(_NAMES_PAUSE_SECONDS)

    def _enqueue_unscheduled(self) -> None:
        for key in self._unscheduled:
            self._scheduling.add(key)

    async def _schedule(self, key: ObjectKey) -> timedelta | None:
        pod = self._pods.cache.get(key)
        if pod is not None and not pod["spec"].get("nodeName"):
            await self._scheduler.schedule(pod)
        return None

    async def _sync(self, uid: str) -> timedelta | None:
        state = self._states.get(uid)
        if state is None or state.host.name in self._lost:
            return None
        return await self._steps.sync(self._pod(uid), state)

    def _pod(self, uid: str) -> JSONObject | None:
        pod = self._pods.cache.get(self._keys[uid])
        return pod if pod is not None and pod["metadata"]["uid"] == uid else None

    # -------------------------------------------------------------------------- what disruptions need

    @property
    def groups(self) -> Path | None:
        """The control group of all pods; None without root or cgroup v2."""
        return self._group.path if self._group is not None else None

    def addresses(self) -> Mapping[ObjectKey, str]:
        """Return the addresses in use, by pod."""
        return {self._keys[uid]: state.space.address for uid, state in self._states.items()}

    def find(self, key: ObjectKey) -> PodState:
        """Return the state of a pod. Raises InputError."""
        for uid, held in self._keys.items():
            if held == key and self._pod(uid) is not None:
                return self._states[uid]
        raise InputError(
            f"pod {key} is not on a process node: {sorted(map(str, self._keys.values()))} are"
        )

    def on_node(self, node: str) -> Mapping[ObjectKey, PodState]:
        """Return the pods of a node. Raises InputError for a node that is not a process node."""
        if node not in self._hosts:
            raise InputError(
                f"{node!r} is not a process node: name one of {', '.join(self._hosts)}"
            )
        return {
            self._keys[uid]: state for uid, state in self._states.items() if state.host.name == node
        }

    async def stop_node(self, node: str) -> None:
        """Let a node do nothing any more."""
        self._lost.add(node)
        if (beat := self._beats.pop(node, None)) is not None:
            beat.cancel()
            await asyncio.gather(beat, return_exceptions=True)

    async def start_node(self, node: str) -> None:
        """Let a node register and work again."""
        host = self._hosts[node]
        self._nodes.put(
            await register(
                self._api, host, clock=self._clock, runtime=_RUNTIME, kubelet_port=KUBELET_PORT
            )
        )
        if self._heartbeat_every is not None:
            self._beat(host, self._heartbeat_every)
        self._lost.discard(node)
        for state in self.on_node(node).values():
            self._queue.add(state.uid)
        self._enqueue_unscheduled()

    # ------------------------------------------------------------------------------ what steps read

    def nodes(self) -> Sequence[JSONObject]:
        """Return the nodes that a pod may be put on: process nodes, and those of real kubelets."""
        served = self._hosts.keys() - self._lost
        return [node for node in self._nodes.cache.list() if node["metadata"]["name"] in served]

    def waiting_claims(self, pod: JSONObject) -> Sequence[JSONObject]:
        """Return none: volumes of this machine are on every node, and the kubelet waits for claims."""
        del pod
        return ()

    def has_volume(self, claim: JSONObject) -> bool:
        """Return False: no claim is asked for, as `waiting_claims` has none."""
        del claim
        return False

    def free_volume(self, claim: JSONObject) -> JSONObject | None:
        """Return None: see `waiting_claims`."""
        del claim
        return None

    def is_provisioned(self, claim: JSONObject) -> bool:
        """Return True: see `waiting_claims`."""
        del claim
        return True

    def wrote_volume(self, volume: JSONObject) -> None:
        """Remember a volume that was written."""
        self._volumes.put(volume)

    def pods_per_node(self) -> Mapping[str, int]:
        """Return how many pods are on each node."""
        return Counter(self._bound.values())

    def bound(self, pod: ObjectKey, node: str) -> None:
        """Count a pod as being on a node before the watch brings that."""
        self._bound[pod] = node

    def lookup(self, namespace: str) -> Lookup:
        """Return the function that finds Secrets and ConfigMaps of a namespace."""

        def find(kind: SourceKind, name: str) -> JSONObject | None:
            return self._sources[kind].cache.get(ObjectKey(namespace, name))

        return find

    def wrote(self, pod: JSONObject) -> None:
        """Remember the response to a write."""
        self._pods.put(pod)

    def pod(self, uid: str) -> tuple[JSONObject, PodState] | None:
        """Return a pod and its state, or None once it is no more."""
        state = self._states.get(uid)
        pod = self._pod(uid) if state is not None else None
        return (pod, state) if pod is not None and state is not None else None

    def changed(self, uid: str) -> None:
        """Have a pod looked at again, soon."""
        self._queue.add(uid)

    def ended(self, state: PodState) -> None:
        """Forget a pod that is no more: its address and files are free."""
        self._states.pop(state.uid, None)
        self._keys.pop(state.uid, None)
        self._queue.forget(state.uid)
        self.disrupt.forget(state.uid)
        self._tokens.forget(state.uid)
        self._launcher.remove(state.space)

    def log(self, namespace: str, pod: str, container: str, *, previous: bool) -> ContainerLog:
        """Return the log of a container's current or previous run. Raises LogError."""
        key = ObjectKey(namespace, pod)
        held = self._pods.cache.get(key)
        state = self._states.get(held["metadata"]["uid"]) if held is not None else None
        if state is None:
            raise LogError(404, f'pod "{pod}" not found')
        found = next((one for one in state.containers if one.name == container), None)
        if found is None:
            raise LogError(400, f"container {container} is not valid for pod {pod}")
        log = found.previous_log if previous else found.log
        if previous and not found.running and found.terminated is None:
            log = found.log  # it waits for its restart: the last run is the previous one
        if log is None and previous:
            text = f'previous terminated container "{container}" in pod "{pod}" not found'
            raise LogError(400, text)
        if log is None:
            waiting = found.status(initializing=not state.initialized)["state"].get("waiting") or {}
            reason = waiting.get("reason", "ContainerCreating")
            raise LogError(
                400, f'container "{container}" in pod "{pod}" is waiting to start: {reason}'
            )
        return log


def _reference_names(pod: JSONObject) -> list[str]:
    namespace = pod["metadata"]["namespace"]
    claims = {
        (_CLAIM, source["claimName"])
        for volume in pod["spec"].get("volumes") or ()
        if (source := volume.get("persistentVolumeClaim"))
    }
    return [f"{kind}/{namespace}/{name}" for kind, name in sorted({*references(pod), *claims})]


def _as_scheduled(node: JSONObject | None) -> tuple[object, ...]:
    """Return what the choice of a node depends on."""
    return () if node is None else (node["metadata"].get("labels"), node.get("spec"))
