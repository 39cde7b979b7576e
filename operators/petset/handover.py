"""Handing members over between a StatefulSet and a PetSet, from the command line, without a restart.

What belongs here: the requests in order, with a line for each. What does not: options and printing (`cli`), and which
fields correspond (`conversion`).

A PetSet goes back to a StatefulSet in this order, so that at no time two controllers act and no pod is replaced:

    delete the PetSet (Orphan) ──► create the StatefulSet with OnDelete ──► its controller owns pods and revisions
                                                                              │
        set its own update strategy ◄── label updated pods with its revision ◄┘

A StatefulSet compares the bytes of a revision with its own encoding of the template. A revision that a PetSet wrote is
therefore a different one to it, although the template is the same: the label of the pods is corrected, not the pods.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from kubernetes.client.models import V1Pod, V1StatefulSet

from operatorkit.clock import Clock
from operatorkit.cluster import ClusterAPI, PatchType
from operatorkit.errors import AlreadyExists, Conflict, InputError, NotFound
from operatorkit.names import PREFIX, shorten
from operatorkit.resource import api_resource_of
from operators.petset.api import PetSet
from operators.petset.app import app
from operators.petset.conversion import (
    adoption_problems,
    pet_set_of,
    release_problems,
    stateful_set_of,
)
from operators.petset.identity import FINALIZER, LABEL_REVISION, ordinal_of

__all__ = ["Deadline", "adopt", "drop_all_finalizers", "give_back"]

T = TypeVar("T")
JSON = dict[str, Any]

_PODS = api_resource_of(V1Pod)
_STATEFUL_SETS = api_resource_of(V1StatefulSet)
_PETS = PetSet.api_resource()
_PAUSE_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Deadline:
    """How long is waited for controllers."""

    clock: Clock
    limit: timedelta

    async def until(self, check: Callable[[], Awaitable[T | None]], problem: str) -> T:
        """Return the first result of `check` that is not None. Raises InputError when that lasts too long."""
        end = self.clock.monotonic() + self.limit.total_seconds()
        while (found := await check()) is None:
            if self.clock.monotonic() > end:
                raise InputError(f"after {self.limit.total_seconds():g} s: {problem}")
            await self.clock.sleep(_PAUSE_SECONDS)
        return found


async def adopt(
    api: ClusterAPI, name: str, where: str, *, deadline: Deadline
) -> AsyncIterator[str]:
    """Create the PetSet that adopts a StatefulSet's members, and wait until it has; yield what was done.

    Raises InputError: there is no such StatefulSet, another PetSet has the name, or the operator does not act in time.
    """
    stateful_set = await _get_or_input_error(api, _STATEFUL_SETS, name, where)
    try:
        pets = await api.create(_PETS, pet_set_of(stateful_set), namespace=where)
        yield f"petset.{_PETS.group}/{name} created"
    except AlreadyExists as error:
        pets = await api.get(_PETS, name, namespace=where)
        if problems := adoption_problems(pets, stateful_set):
            listed = "; ".join(map(str, problems))
            raise InputError(
                f"PetSet {where}/{name} exists and differs from the StatefulSet: {listed}"
            ) from error
        raise InputError(
            f"PetSet {where}/{name} exists: give it the annotation apps.operatorkit.dev/adopt-statefulset={name}"
        ) from error

    async def adopted() -> int | None:
        live = await api.get(_PETS, name, namespace=where)
        status = live.get("status") or {}
        owned = await _pods_of(api, where, live["metadata"]["uid"])
        done = (status.get("adoption") or {}).get("completed") and status.get("replicas") == len(
            owned
        )
        return len(owned) if done and len(owned) >= _count(stateful_set) else None

    count = await deadline.until(
        adopted,
        f"PetSet {where}/{name} has not adopted the members of the StatefulSet: see its conditions with "
        f"`kubectl describe petset {name} -n {where}`, and whether the operator petset runs",
    )
    yield f"statefulset.apps/{name} deleted, its pods and claims kept"
    yield f"petset.{_PETS.group}/{name} owns {count} pods"


def _count(stateful_set: Mapping[str, Any]) -> int:
    return int((stateful_set.get("status") or {}).get("replicas") or 0)


async def give_back(
    api: ClusterAPI, name: str, where: str, *, deadline: Deadline, wait: bool = True
) -> AsyncIterator[str]:
    """Make a StatefulSet the owner of a PetSet's members; yield what was done.

    With `wait` False the StatefulSet is left with OnDelete, which restarts no pod. Raises InputError: there is no such
    PetSet, a StatefulSet cannot have such members, or its controller does not act in time.
    """
    pets = await _get_or_input_error(api, _PETS, name, where)
    if problems := release_problems(pets):
        raise InputError(
            f"a StatefulSet cannot own the members of PetSet {where}/{name}: {'; '.join(problems)}"
        )
    wanted = stateful_set_of(pets)
    update = (pets.get("status") or {}).get("updateRevision") or ""
    await api.delete(
        _PETS, name, namespace=where, propagation="Orphan", uid=pets["metadata"]["uid"]
    )
    async for _ in drop_all_finalizers(api, pets, where):
        pass  # the operator may be quicker, where it runs
    await _until_gone(api, _PETS, name, where, deadline)
    yield f"petset.{_PETS.group}/{name} deleted, its pods and claims kept"
    held = {**wanted, "spec": {**wanted["spec"], "updateStrategy": {"type": "OnDelete"}}}
    created = await api.create(_STATEFUL_SETS, held, namespace=where)
    yield f"statefulset.apps/{name} created with OnDelete"
    if not wait:
        return
    async for line in _align(api, created, update, wanted["spec"]["updateStrategy"], deadline):
        yield line


async def _align(
    api: ClusterAPI, created: JSON, update: str, strategy: JSON, deadline: Deadline
) -> AsyncIterator[str]:
    """Label updated pods with the revision of their new owner, then give it its update strategy."""
    name, where, uid = (created["metadata"][key] for key in ("name", "namespace", "uid"))

    async def observed() -> JSON | None:
        live = await api.get(_STATEFUL_SETS, name, namespace=where)
        status = live.get("status") or {}
        owned = await _pods_of(api, where, uid)
        seen = status.get("observedGeneration") == live["metadata"]["generation"] and status.get(
            "updateRevision"
        )
        return live if seen and len(owned) >= int(live["spec"]["replicas"]) else None

    live = await deadline.until(
        observed,
        f"the StatefulSet controller has not adopted the pods of {where}/{name}, which run on: set its updateStrategy "
        f"once it has, after the label {LABEL_REVISION} of the pods names its revision",
    )
    revision = live["status"]["updateRevision"]
    pods = await _pods_of(api, where, uid)
    for pod in pods:
        if revision != update and pod["metadata"]["labels"].get(LABEL_REVISION) == update:
            body = {
                "metadata": {"uid": pod["metadata"]["uid"], "labels": {LABEL_REVISION: revision}}
            }
            await api.patch(
                _PODS, pod["metadata"]["name"], body, patch_type=PatchType.MERGE, namespace=where
            )
    body = {"spec": {"updateStrategy": strategy}}
    await api.patch(_STATEFUL_SETS, name, body, patch_type=PatchType.MERGE, namespace=where)
    yield f"statefulset.apps/{name} owns {len(pods)} pods and updates them by {strategy['type']}"


async def drop_all_finalizers(
    api: ClusterAPI, pets: Mapping[str, Any], where: str
) -> AsyncIterator[str]:
    """Remove the operator's finalizers of a PetSet and of its pods; yield a line for each."""
    name, uid = pets["metadata"]["name"], pets["metadata"]["uid"]
    for pod in (await api.list(_PODS, namespace=where)).items:
        references = pod["metadata"].get("ownerReferences") or ()
        is_orphan = not references and ordinal_of(pod["metadata"]["name"], name) is not None
        if not is_orphan and all(owner.get("uid") != uid for owner in references):
            continue
        if FINALIZER in (pod["metadata"].get("finalizers") or ()):
            await _drop_finalizer(api, _PODS, pod["metadata"]["name"], where, FINALIZER)
            yield f"pod/{pod['metadata']['name']} released"
    if await _drop_finalizer(api, _PETS, name, where, f"{PREFIX}/{shorten(app.name)}"):
        yield f"petset.{_PETS.group}/{name} released"


async def _drop_finalizer(
    api: ClusterAPI, resource: Any, name: str, where: str, finalizer: str
) -> bool:
    """Remove a finalizer, also when others write at the same time; False if it is not there any more."""
    while True:
        try:
            live = await api.get(resource, name, namespace=where)
            finalizers = live["metadata"].get("finalizers") or []
            if finalizer not in finalizers:
                return False
            kept = [each for each in finalizers if each != finalizer]
            metadata = {
                "resourceVersion": live["metadata"]["resourceVersion"],
                "finalizers": kept or None,
            }
            await api.patch(
                resource, name, {"metadata": metadata}, patch_type=PatchType.MERGE, namespace=where
            )
        except Conflict:
            continue
        except NotFound:
            return False
        return True


async def _pods_of(api: ClusterAPI, where: str, uid: str) -> list[JSON]:
    return [
        pod
        for pod in (await api.list(_PODS, namespace=where)).items
        if any(owner.get("uid") == uid for owner in pod["metadata"].get("ownerReferences") or ())
    ]


async def _get_or_input_error(api: ClusterAPI, resource: Any, name: str, where: str) -> JSON:
    try:
        return await api.get(resource, name, namespace=where)
    except NotFound as error:
        raise InputError(
            f"there is no {resource.kind} {name} in namespace {where}: name another with -n"
        ) from error


async def _until_gone(
    api: ClusterAPI, resource: Any, name: str, where: str, deadline: Deadline
) -> None:
    async def is_gone() -> bool | None:
        try:
            await api.get(resource, name, namespace=where)
        except NotFound:
            return True
        return None

    problem = (
        f"{resource.kind} {where}/{name} is not deleted: see its finalizers with `kubectl get -o "
        f"yaml`"
    )
    await deadline.until(is_gone, problem)
