"""The benchmark `petset`: PetSets beside the StatefulSets of kube-controller-manager, on one real control plane.

Both keep sets of the same template on the same simulated nodes, in turn. Requests are those that the audit log has of
each controller in the set's namespace, watches and Events left out: Events are sent in the background.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.arena import NAMESPACES, until
from bench.control import Process
from bench.report import Row, row
from operatorkit._runtime import install_definitions
from operatorkit.cluster import LiveCluster, PatchType, load_config
from operatorkit.controlplane.real import RealControlPlane
from operatorkit.names import ApiResource
from operators.petset import PetSet

__all__ = ["keep"]

_STATEFUL_SETS = ApiResource("apps", "v1", "StatefulSet", "statefulsets", namespaced=True)
_PODS = ApiResource("", "v1", "Pod", "pods", namespaced=True)
_KINDS = {"ours": PetSet.api_resource(), "StatefulSet": _STATEFUL_SETS}
_USERS = {"ours": "petset", "StatefulSet": "system:kube-controller-manager"}
_SIZES = [int(size) for size in os.environ.get("SIZES", "3,30").split(",")]
_CASES = [(size, policy) for size in _SIZES for policy in ("OrderedReady", "Parallel")]
_MEMBERS_MEASURED = 30
"""Smaller sets are measured in several rounds, larger ones in one."""
_PHASES = ("ready", "updated", "scaled down")
_LONGEST_SECONDS = 400.0
_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class _Place:
    api: LiveCluster
    log: Path
    keeper: Process
    manager: int

    def manager_cpu(self) -> float:
        """Return the CPU seconds of kube-controller-manager, all its controllers included."""
        fields = Path(f"/proc/{self.manager}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def keep() -> list[Row]:
    """Measure time, requests and CPU of creation, update and scale-down of sets of several sizes."""
    rows: list[Row] = []
    async with _place() as place:
        for size, policy in _CASES:
            rows += await _compare(place, size, policy)
    return rows


async def _compare(place: _Place, size: int, policy: str) -> list[Row]:
    wall: dict[str, dict[str, list[float]]] = {phase: defaultdict(list) for phase in _PHASES}
    requests: dict[str, list[float]] = defaultdict(list)
    cpu: dict[str, list[float]] = defaultdict(list)
    for number in range(max(1, min(5, _MEMBERS_MEASURED // size))):
        whom = list(_KINDS) if number % 2 else list(reversed(_KINDS))
        for who in whom:
            namespace = f"{who.lower()}-{policy.lower()}-{size}-{number}"
            used = await _cpu(place, who)
            for phase, seconds in (await _live(place, who, namespace, size, policy)).items():
                wall[phase][who].append(seconds)
            cpu[who].append((await _cpu(place, who) - used) * 1e3 / size)
            requests[who].append(_requests(place.log, _USERS[who], namespace) / size)
    name = f"{size} members, {policy}"
    rows = [row(f"{name}: {phase}", "s", wall[phase], aim={"StatefulSet": 1.0}) for phase in _PHASES]
    rows.append(row(f"{name}: requests", "per member", requests, aim={"StatefulSet": 1.0}))
    rows.append(row(f"{name}: controller CPU", "ms per member", cpu, aim={"StatefulSet": 2.0}))
    return rows


async def _live(place: _Place, who: str, namespace: str, size: int, policy: str) -> dict[str, float]:
    """Create a set, update it, and scale it to none; return how long each took."""
    api, resource = place.api, _KINDS[who]
    await api.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    body = _set(resource, size, policy)

    async def change(spec: dict[str, Any]) -> None:
        await api.patch(resource, "web", {"spec": spec}, patch_type=PatchType.MERGE, namespace=namespace)

    async def status() -> dict[str, Any]:
        live = await api.get(resource, "web", namespace=namespace)
        found: dict[str, Any] = live.get("status") or {}
        return found if found.get("observedGeneration") == live["metadata"]["generation"] else {}

    async def is_ready() -> bool:
        return (await status()).get("readyReplicas") == size

    async def is_updated() -> bool:
        found = await status()
        return found.get("updatedReplicas") == size == found.get("readyReplicas") and (
            found["currentRevision"] == found["updateRevision"]
        )

    async def is_empty() -> bool:
        return not (await api.list(_PODS, namespace=namespace, limit=1)).items

    template = {"spec": {"containers": [{"name": "app", "image": "web:2"}]}}
    return {
        "ready": await _timed(lambda: api.create(resource, body, namespace=namespace), is_ready),
        "updated": await _timed(lambda: change({"template": template}), is_updated),
        "scaled down": await _timed(lambda: change({"replicas": 0}), is_empty),
    }


def _set(resource: ApiResource, size: int, policy: str) -> dict[str, Any]:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "web:1"}]}}
    spec = {"replicas": size, "selector": {"matchLabels": labels}, "template": template, "podManagementPolicy": policy}
    api = f"{resource.group}/{resource.version}"
    return {"apiVersion": api, "kind": resource.kind, "metadata": {"name": "web"}, "spec": spec}


async def _timed(act: Callable[[], Awaitable[Any]], is_done: Callable[[], Awaitable[bool]]) -> float:
    begin = time.perf_counter()
    await act()
    while not await is_done():
        if time.perf_counter() - begin > _LONGEST_SECONDS:
            raise TimeoutError(f"a set did not get on within {_LONGEST_SECONDS:g} s")
        await asyncio.sleep(_POLL_SECONDS)
    return time.perf_counter() - begin


async def _cpu(place: _Place, who: str) -> float:
    return float(await place.keeper.ask("cpu")) if who == "ours" else place.manager_cpu()


def _requests(log: Path, user: str, namespace: str) -> int:
    """Count the requests of a user for objects of a namespace; kube-controller-manager's are those for StatefulSets."""
    found = 0
    for line in log.read_text().splitlines():
        if f'"namespace":"{namespace}"' not in line or '"stage":"ResponseComplete"' not in line:
            continue
        entry = json.loads(line)
        agent = entry.get("userAgent", "")
        if entry["user"]["username"] != user or entry["verb"] in {"watch", "list"}:
            continue
        if entry["objectRef"]["resource"] == "events" or (user != "petset" and "statefulset-controller" not in agent):
            continue
        found += 1
    return found


@asynccontextmanager
async def _place() -> AsyncIterator[_Place]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plane = RealControlPlane(nodes=2, audit_log=folder / "audit.log")
        await asyncio.to_thread(plane.__enter__)
        try:
            config = plane.write_kubeconfig(folder / "keeper", user="petset")
            async with (
                LiveCluster(load_config(plane.kubeconfig())) as api,
                Process("bench.keeper", str(config)) as keeper,
            ):
                await install_definitions([PetSet], api, shrinking="always")
                await until(lambda: keeper.ask("ready"), "petset to start")
                yield _Place(api, folder / "audit.log", keeper, _manager())
        finally:
            await asyncio.to_thread(plane.__exit__, None, None, None)


def _manager() -> int:
    """Return the process id of kube-controller-manager, a descendant of this process."""
    parents, names = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):  # it has ended
                head, _, rest = (entry / "stat").read_text().rpartition(")")
                parents[int(entry.name)], names[int(entry.name)] = int(rest.split()[1]), head.partition("(")[2]
    for pid, name in names.items():
        above = parents.get(pid, 0)
        while above > 1 and above != os.getpid():
            above = parents.get(above, 0)
        if name.startswith("kube-controller") and above == os.getpid():
            return pid
    raise RuntimeError("kube-controller-manager is no descendant of this process: its CPU cannot be measured")
