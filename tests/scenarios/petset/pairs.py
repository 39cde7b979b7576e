"""One script for a StatefulSet and for a PetSet, and what each makes of it.

What belongs here: steps of a script, their execution, and the record of pods and claims. What does not: the scripts
(`scripts`). A record has a list of lines for each step:

    claim data-0    a claim was created          unclaim data-0   the deletion of a claim was requested
    create 0=1      a pod was created, image web:1
    delete 0        its deletion was requested   gone 0           it is deleted

Lines are in the order of resource versions. Where the order within a step is not defined (`ordered` is False), and for
deletions of claims, which the garbage collector requests in its own time, they are sorted by member.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from operatorkit.cluster import PatchType
from operatorkit.errors import NotFound
from operatorkit.names import ApiResource
from operatorkit.testing import eventually
from operators.petset import PetSet

__all__ = ["CLAIMS", "PODS", "STATEFUL_SETS", "Recorder", "Script", "Side", "Step", "claim_template"]

PODS = ApiResource("", "v1", "Pod", "pods", namespaced=True)
CLAIMS = ApiResource("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", namespaced=True)
STATEFUL_SETS = ApiResource("apps", "v1", "StatefulSet", "statefulsets", namespaced=True)
PET_SETS = PetSet.api_resource()
BEHAVIOR = "nodes.operatorkit.dev/behavior"
_LONGEST = 180.0


@dataclass(frozen=True)
class Step:
    """One thing that a user does, and the pods that it leads to.

    `until` are the pods in the end, as "0=1 1=2!": ordinal, tag of the image, and "!" for one that is not ready.
    `spec` is merged into the set's spec; `image` and `behavior` into its template. `pod` names the pod that `delete`,
    `force`, `patch` and `status` are about. `ordered` of None follows podManagementPolicy. Where a PetSet is meant to do
    something else, `ours` is the record that it leaves (in order, with `ours_ordered`), and `ours_until` the pods that it leads to.
    """

    until: str
    spec: Mapping[str, Any] | None = None
    image: str | None = None
    behavior: str | None = None
    pod: int | None = None
    delete: bool = False
    force: bool = False
    patch: Mapping[str, Any] | None = None
    status: Mapping[str, Any] | None = None
    remove: str | None = None
    create: bool = False
    ordered: bool | None = None
    own: Sequence[str] | None = None
    own_until: str | None = None
    own_ordered: bool = True


@dataclass(frozen=True)
class Script:
    """Steps after the creation of a set, which is the first; `begin` are the pods that it leads to.

    `improvement` names why a PetSet does something else in a step; `pet` is merged into the spec of the PetSet alone,
    for defaults that differ.
    """

    begin: str
    steps: Sequence[Step] = ()
    spec: Mapping[str, Any] = field(default_factory=dict)
    behavior: str | None = None
    claims: Sequence[str] = ()
    pet: Mapping[str, Any] = field(default_factory=dict)
    improvement: str = ""

    @property
    def steps_from_creation(self) -> Sequence[Step]:
        """The steps, the creation of the set included."""
        return (Step(self.begin, create=True), *self.steps)


def claim_template(name: str) -> dict[str, Any]:
    """Return the template of a claim of one gibibyte."""
    resources = {"requests": {"storage": "1Gi"}}
    return {"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": resources}}


class Recorder:
    """All changes of pods and claims in a namespace."""

    def __init__(self, cluster) -> None:
        self._cluster = cluster
        self._events: list[tuple[int, str, str, dict[str, Any]]] = []
        self._live: dict[tuple[str, str], dict[str, Any]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self):
        for resource in (PODS, CLAIMS):
            begin = await self._cluster.list(resource, namespace=self._cluster.namespace)
            self._tasks.append(asyncio.create_task(self._follow(resource, begin.resource_version)))
        return self

    async def __aexit__(self, *error):
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self, resource, version):
        while True:
            watch = self._cluster.watch(resource, namespace=self._cluster.namespace, resource_version=version)
            async with aclosing(watch) as events:
                async for event in events:
                    version = event.object["metadata"]["resourceVersion"]
                    if event.type != "BOOKMARK":
                        self._note(resource, event.type, event.object)

    def _note(self, resource, type_, obj):
        metadata = obj["metadata"]
        key = (resource.kind, metadata["name"])
        self._events.append((int(metadata["resourceVersion"]), resource.kind, type_, obj))
        if type_ == "DELETED":
            self._live.pop(key, None)
        else:
            self._live[key] = obj

    def pods(self, name: str) -> list[dict[str, Any]]:
        """Return the pods of a set, as they were last seen."""
        return [
            pod for (kind, pod_name), pod in self._live.items() if kind == "Pod" and _set_of(kind, pod_name) == name
        ]

    async def caught_up(self, name: str) -> int:
        """Return a resource version after all of a set's events, once everything that lists have of it was seen."""

        async def is_so():
            for resource in (PODS, CLAIMS):
                found = (await self._cluster.list(resource, namespace=self._cluster.namespace)).items
                listed = {it["metadata"]["name"]: it["metadata"]["resourceVersion"] for it in found}
                seen = {
                    key[1]: it["metadata"]["resourceVersion"]
                    for key, it in self._live.items()
                    if key[0] == resource.kind
                }
                for versions in (listed, seen):
                    for other in [it for it in versions if _set_of(resource.kind, it) != name]:
                        del versions[other]
                assert listed == seen
            return max((event[0] for event in self._events), default=0) + 1

        return await eventually(is_so, timeout=_LONGEST)

    def lines(self, name: str, begin: int, end: int) -> list[str]:
        """Return what happened to the pods and claims of a set, from one resource version to before another."""
        reported: set[str] = set()
        lines: list[str] = []
        for version, kind, type_, obj in sorted(self._events, key=lambda event: event[0]):
            metadata = obj["metadata"]
            if _set_of(kind, metadata["name"]) != name:
                continue
            head, _, ordinal = metadata["name"].rpartition("-")
            what = f"{head.rpartition('-')[0]}-{ordinal}" if kind == "PersistentVolumeClaim" else ordinal
            deleted = type_ == "DELETED" or "deletionTimestamp" in metadata
            found = []
            if type_ == "ADDED":
                tag = kind == "Pod" and obj["spec"]["containers"][0]["image"].partition(":")[2]
                found.append(f"create {what}={tag}" if kind == "Pod" else f"claim {what}")
            elif deleted and metadata["uid"] not in reported:
                reported.add(metadata["uid"])
                found.append(f"delete {what}" if kind == "Pod" else f"unclaim {what}")
            if type_ == "DELETED" and kind == "Pod":
                found.append(f"gone {what}")
            if begin <= version < end:
                lines += found
        return lines


class Side:
    """One of the two sets of a script: how it is created, changed and waited for."""

    def __init__(self, cluster, recorder: Recorder, kind: str, name: str, script: Script) -> None:
        self.name = name
        self._cluster = cluster
        self._recorder = recorder
        self._resource = PET_SETS if kind == "PetSet" else STATEFUL_SETS
        self._is_pet_set = kind == "PetSet"
        self._script = script
        self._limit = 10

    async def run(self) -> list[list[str]]:
        """Execute the script; return the record."""
        record: list[list[str]] = []
        begin = await self._recorder.caught_up(self.name)
        for step in self._script.steps_from_creation:
            await self._do(step)
            await self._await(step)
            end = await self._recorder.caught_up(self.name)
            record.append(self._canonical(self._recorder.lines(self.name, begin, end), step))
            begin = end
        return record

    # What a user does

    def _body(self) -> dict[str, Any]:
        script = self._script
        labels = {"set": self.name}
        annotations = {BEHAVIOR: script.behavior} if script.behavior else {}
        template = {
            "metadata": {"labels": labels, "annotations": annotations},
            "spec": {"containers": [{"name": "app", "image": "web:1"}]},
        }
        spec: dict[str, Any] = {
            "replicas": 3,
            "serviceName": "members",
            "selector": {"matchLabels": labels},
            "template": template,
            "volumeClaimTemplates": [claim_template(name) for name in script.claims],
        }
        spec.update(copy.deepcopy(dict(script.spec)))
        if self._is_pet_set:
            spec.update(copy.deepcopy(dict(script.pet)))
        api = f"{self._resource.group}/{self._resource.version}"
        return {"apiVersion": api, "kind": self._resource.kind, "metadata": {"name": self.name}, "spec": spec}

    async def _do(self, step: Step) -> None:
        if step.create:
            await self._cluster.create(self._resource, self._body(), namespace=self._cluster.namespace)
        change = dict(step.spec or {})
        if step.image is not None or step.behavior is not None:
            change["template"] = self._template(step)
        if change:
            await self._change(change)
        if step.pod is not None:
            await self._touch(f"{self.name}-{step.pod}", step)
        if step.remove is not None:
            await self._cluster.delete(
                self._resource, self.name, namespace=self._cluster.namespace, propagation=step.remove
            )

    def _template(self, step: Step) -> dict[str, Any]:
        template: dict[str, Any] = {}
        if step.image is not None:
            template["spec"] = {"containers": [{"name": "app", "image": f"web:{step.image}"}]}
        if step.behavior is not None:
            template["metadata"] = {"annotations": {BEHAVIOR: step.behavior or None}}
        return template

    async def _change(self, spec: Mapping[str, Any]) -> None:
        await self._cluster.patch(
            self._resource,
            self.name,
            {"spec": spec},
            patch_type=PatchType.MERGE,
            namespace=self._cluster.namespace,
        )

    async def _touch(self, pod: str, step: Step) -> None:
        where = {"namespace": self._cluster.namespace}
        if step.patch is not None:
            await self._cluster.patch(PODS, pod, step.patch, patch_type=PatchType.MERGE, **where)
        if step.status is not None:
            body = {"status": step.status}
            await self._cluster.patch(PODS, pod, body, patch_type=PatchType.MERGE, subresource="status", **where)
        if step.delete or step.force:
            await self._cluster.delete(PODS, pod, grace_period_seconds=0 if step.force else None, **where)

    # What is waited for

    async def _await(self, step: Step) -> None:
        wanted = step.own_until if self._is_pet_set and step.own_until is not None else step.until

        def are_so():
            found = self._pods()
            assert found == wanted, f"{self.name}: wanted {wanted!r}, there is {found!r}"
            return True

        await eventually(are_so, timeout=_LONGEST)
        if step.remove is not None:
            await eventually(self._is_gone, timeout=_LONGEST)
        elif await self._exists():
            await self._synced()
            if "template" in (step.spec or {}):
                await eventually(self._are_updated, timeout=_LONGEST)
            await eventually(are_so, timeout=_LONGEST)

    def _pods(self) -> str:
        parts = {}
        for pod in self._recorder.pods(self.name):
            ordinal = pod["metadata"]["name"].rpartition("-")[2]
            tag = pod["spec"]["containers"][0]["image"].partition(":")[2]
            conditions = (pod.get("status") or {}).get("conditions") or ()
            ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
            mark = "~" if "deletionTimestamp" in pod["metadata"] else "" if ready else "!"
            parts[int(ordinal)] = f"{ordinal}={tag}{mark}"
        return " ".join(parts[number] for number in sorted(parts))

    async def _exists(self) -> bool:
        try:
            await self._cluster.get(self._resource, self.name, namespace=self._cluster.namespace)
        except NotFound:
            return False
        return True

    async def _is_gone(self) -> bool:
        return not await self._exists()

    async def _are_updated(self) -> bool:
        """Tell whether all pods are of the newest template: by their image it is not seen."""
        live = await self._cluster.get(self._resource, self.name, namespace=self._cluster.namespace)
        return (live.get("status") or {}).get("updatedReplicas", 0) == len(self._recorder.pods(self.name))

    async def _synced(self) -> None:
        """Let the controller run once more: it has nothing left to do if that changes no pod."""
        self._limit += 1
        await self._change({"revisionHistoryLimit": self._limit})

        async def has_observed():
            live = await self._cluster.get(self._resource, self.name, namespace=self._cluster.namespace)
            return (live.get("status") or {}).get("observedGeneration") == live["metadata"]["generation"]

        await eventually(has_observed, timeout=_LONGEST)

    def _canonical(self, lines: list[str], step: Step) -> list[str]:
        ordered = step.ordered
        if self._is_pet_set and step.own is not None:
            ordered = step.own_ordered
        elif ordered is None:
            ordered = self._script.spec.get("podManagementPolicy") != "Parallel"
        late = sorted(line for line in lines if line.startswith("unclaim"))
        rest = _with_sorted_claims([line for line in lines if not line.startswith("unclaim")])
        return [*(rest if ordered else sorted(rest, key=_member)), *late]


def _set_of(kind: str, name: str) -> str:
    """Return the set that a pod or a claim belongs to by its name."""
    head = name.rpartition("-")[0]
    return head.rpartition("-")[2] if kind == "PersistentVolumeClaim" else head


def _with_sorted_claims(lines: list[str]) -> list[str]:
    """Sort claims that were created one after the other: a StatefulSet has those of a member in a map."""
    runs = groupby(lines, key=lambda line: line.startswith("claim"))
    return [line for claims, run in runs for line in (sorted(run, key=lambda it: (_member(it), it)) if claims else run)]


def _member(line: str) -> int:
    """Return the ordinal that a line is about."""
    return int(line.split()[1].partition("=")[0].rpartition("-")[2])
