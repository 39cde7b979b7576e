"""Reading what belongs to a PetSet from the caches, as values.

What belongs here: `observe`, which change concerns which set, and what the status of a pod says. What does not: what
follows from it (`plan`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

from kubernetes.client.models import (
    V1ControllerRevision,
    V1Node,
    V1ObjectMeta,
    V1OwnerReference,
    V1PersistentVolumeClaim,
    V1Pod,
    V1PodDisruptionBudget,
)

from operatorkit import ObjectKey, ObjectReader, Reader
from operatorkit.revisions import Revision
from operatorkit.selectors import is_empty, matches
from operators.petset.api import PetSet
from operators.petset.identity import (
    ANNOTATION_OVERRIDE,
    ANNOTATION_REQUESTED,
    FINALIZER,
    LABEL_REVISION,
    claim_name,
    ordinal_of,
)
from operators.petset.objects import identity_labels, spec_of
from operators.petset.ordinals import desired_ordinals, parse_ranges
from operators.petset.state import (
    Claim,
    ClaimOwner,
    Failure,
    Member,
    Orphan,
    OrphanRevision,
    Snapshot,
)
from operators.petset.template import quantities, template_of

__all__ = [
    "NODE_INDEX",
    "POD_INDEX",
    "REVISION_INDEX",
    "allows_more",
    "node_index",
    "observe",
    "pod_index",
    "pods_of",
    "revision_index",
    "sets_of_budget",
    "sets_of_claim",
    "sets_of_node",
    "sets_of_pod",
    "taints_changed",
]

T = TypeVar("T")

POD_INDEX = "set"
REVISION_INDEX = "set"
NODE_INDEX = "node"
_HELD = frozenset(
    {
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "RunContainerError",
    }
)
_OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
_LONGEST_MESSAGE = 300


# What concerns which set ----------------------------------------------------------------------------------------------


def pod_index(pod: V1Pod) -> Iterable[str]:
    """Index a pod by namespace and by the set that its name may belong to, else by the uid of its controller."""
    metadata = pod.metadata
    if metadata is None or not metadata.name:
        return
    head, _, tail = metadata.name.rpartition("-")
    yield from _keys(metadata, head if tail.isdecimal() else "")


def revision_index(revision: V1ControllerRevision) -> Iterable[str]:
    """Index a ControllerRevision by namespace and by the set of its name, else by the uid of its controller."""
    metadata = revision.metadata
    if metadata is not None and metadata.name:
        yield from _keys(metadata, metadata.name.rpartition("-")[0])


def _keys(metadata: V1ObjectMeta, head: str) -> Iterator[str]:
    """Yield the keys of an index, one where that finds the object: what is found twice is read twice."""
    if head:
        yield f"{metadata.namespace}/{head}"
    owner = _controller(metadata)
    if owner is not None and owner.name != head:
        yield owner.uid


def sets_of_pod(pod: V1Pod, reader: Reader) -> Iterable[ObjectKey]:
    """Return the set whose member a pod may be by its name: one to adopt, or one in the way."""
    del reader
    metadata = pod.metadata
    head, _, tail = (metadata.name or "").rpartition("-") if metadata is not None else ("", "", "")
    return (
        [ObjectKey(metadata.namespace or "", head)]
        if metadata is not None and head and tail.isdecimal()
        else []
    )


def sets_of_claim(claim: V1PersistentVolumeClaim, reader: Reader) -> Iterable[ObjectKey]:
    """Return the sets that a claim may belong to by its name, `<template>-<set>-<ordinal>`: all may contain dashes."""
    metadata = claim.metadata
    if metadata is None or not metadata.name:
        return []
    parts = metadata.name.split("-")
    if len(parts) < 3 or not parts[-1].isdecimal():
        return []
    names = ["-".join(parts[first:-1]) for first in range(1, len(parts) - 1)]
    namespace = metadata.namespace or ""
    found = [reader.get(PetSet, name, namespace=namespace) for name in names]
    return [pets.key for pets in found if pets is not None and pets.spec.volume_claim_templates]


def node_index(pod: V1Pod) -> Iterable[str]:
    """Index a pod with memberSafety Strict by its node, whose end frees the pod's name."""
    protected = pod.metadata is not None and FINALIZER in (pod.metadata.finalizers or ())
    return [pod.spec.node_name] if protected and pod.spec is not None and pod.spec.node_name else []


def sets_of_node(node: V1Node, reader: Reader) -> Iterable[ObjectKey]:
    """Return the sets with members on a node whose names are taken until it is known that they have stopped."""
    name = node.metadata.name if node.metadata is not None else None
    found = reader.list(V1Pod, index=(NODE_INDEX, name)) if name else []
    return {key for pod in found for key in sets_of_pod(pod, reader)}


def taints_changed(old: V1Node | None, new: V1Node) -> bool:
    """Return whether a node has other taints than before; it may be out of service."""
    return old is None or _taints(old) != _taints(new)


def _taints(node: V1Node) -> set[str]:
    return {taint.key for taint in (node.spec.taints if node.spec is not None else None) or ()}


def sets_of_budget(budget: V1PodDisruptionBudget, reader: Reader) -> Iterable[ObjectKey]:
    """Return the sets whose members a PodDisruptionBudget selects; one with an empty selector selects all."""
    selector = budget.spec.selector if budget.spec is not None else None
    if selector is None or budget.metadata is None:
        return []
    owners = [each for each in budget.metadata.owner_references or () if each.kind == PetSet.kind]
    if (
        owners
    ):  # made for one set: the others are not compared, which would be quadratic in their number
        return [ObjectKey(budget.metadata.namespace or "", each.name) for each in owners]
    return [
        pets.key
        for pets in reader.list(PetSet, namespace=budget.metadata.namespace)
        if matches(selector, _template_labels(pets))
    ]


def allows_more(old: V1PodDisruptionBudget | None, new: V1PodDisruptionBudget) -> bool:
    """Return whether a budget allows more evictions than before."""
    return _allowed(new) > (_allowed(old) if old is not None else 0)


def _allowed(budget: V1PodDisruptionBudget) -> int:
    return int(budget.status.disruptions_allowed or 0) if budget.status is not None else 0


def _template_labels(pets: PetSet) -> dict[str, str]:
    metadata = pets.spec.template.metadata
    return dict(metadata.labels or {}) if metadata is not None else {}


# The snapshot ---------------------------------------------------------------------------------------------------------


def observe(pets: PetSet, reader: ObjectReader, now: datetime) -> Snapshot:
    """Return a set and all that belongs to it, as `reader` has it."""
    name, namespace = pets.metadata.name, pets.metadata.namespace
    members: dict[int, Member] = {}
    strays: list[Member] = []
    orphans: list[Orphan] = []
    occupied: set[str] = set()
    for pod in pods_of(pets, reader):
        metadata = pod.metadata
        if metadata is None or not metadata.name:
            continue
        ordinal = ordinal_of(metadata.name, name)
        belongs = ordinal is not None and _is_selected(pets, metadata.labels or {})
        controller = _controller(metadata)
        if controller is not None and controller.uid == pets.metadata.uid:
            member = _member(pets, pod, ordinal if ordinal is not None else -1, reader)
            if belongs and ordinal is not None:
                members[ordinal] = member
            else:
                strays.append(member)
        elif controller is None and belongs and metadata.deletion_timestamp is None:
            protected = FINALIZER in (metadata.finalizers or ())
            orphans.append(
                Orphan(
                    metadata.name, metadata.uid or "", metadata.resource_version or "", protected
                )
            )
        elif ordinal is not None:
            occupied.add(metadata.name)
    occupied |= {stray.pod for stray in strays} | {orphan.pod for orphan in orphans}
    revisions, adoptable, others = _revisions(pets, reader)
    return Snapshot(
        name=name,
        uid=pets.metadata.uid or "",
        spec=pets.spec,
        status=pets.status,
        template=spec_of(pets)["template"],
        now=now,
        deleting=pets.metadata.deletion_timestamp is not None,
        members=members,
        strays=tuple(strays),
        orphans=tuple(orphans),
        claims={claim.name: claim for claim in _claims(pets, members, reader, namespace)},
        revisions=tuple(revisions),
        orphan_revisions=tuple(adoptable),
        occupied=frozenset(occupied),
        occupied_revisions=frozenset(others),
    )


def _is_selected(pets: PetSet, labels: Mapping[str, str]) -> bool:
    """Return whether the set selects these labels; an empty selector would adopt every pod, so it selects none."""
    return not is_empty(pets.spec.selector) and matches(pets.spec.selector, labels)


def pods_of(pets: PetSet, reader: ObjectReader) -> list[V1Pod]:
    """Return the pods that have a member's name or that the set controls, each once."""
    return _indexed(pets, reader, V1Pod, POD_INDEX)


def _indexed(pets: PetSet, reader: ObjectReader, kind: type[T], index: str) -> list[T]:
    """Return the objects that an index has under the set's name or uid, each once: never all of a namespace."""
    keys = (f"{pets.metadata.namespace}/{pets.metadata.name}", pets.metadata.uid or "")
    found: dict[str, T] = {}
    for key in keys:
        for each in reader.list(kind, namespace=pets.metadata.namespace, index=(index, key)):
            metadata: V1ObjectMeta | None = getattr(each, "metadata", None)
            if metadata is not None:
                found[metadata.uid or ""] = each
    return list(found.values())


def _controller(metadata: V1ObjectMeta) -> V1OwnerReference | None:
    return next((owner for owner in metadata.owner_references or () if owner.controller), None)


def _revisions(
    pets: PetSet, reader: ObjectReader
) -> tuple[list[Revision], list[OrphanRevision], list[str]]:
    """Return the set's revisions, which of them it has to adopt first, and the names of those that others control."""
    own: list[Revision] = []
    adoptable: list[OrphanRevision] = []
    others: list[str] = []
    for found in _indexed(pets, reader, V1ControllerRevision, REVISION_INDEX):
        if found.metadata is None or not found.metadata.name:
            continue
        controller = _controller(found.metadata)
        if controller is not None and controller.uid == pets.metadata.uid:
            own.append(_revision(found))
        elif controller is None and _is_adoptable(pets, found):
            own.append(_revision(found))
            adoptable.append(OrphanRevision(found.metadata.name, found.metadata.uid or ""))
        elif found.metadata.name.startswith(f"{pets.metadata.name}-"):
            others.append(found.metadata.name)
    return own, adoptable, others


def _revision(found: V1ControllerRevision) -> Revision:
    name = (found.metadata.name if found.metadata is not None else None) or ""
    return Revision(name, int(found.revision or 0), dict(found.data or {}))


def _is_adoptable(pets: PetSet, found: V1ControllerRevision) -> bool:
    """Return whether a revision without a controller is one of this set, by its name, its labels and its data."""
    metadata = found.metadata
    if metadata is None or metadata.deletion_timestamp is not None:
        return False
    head = (metadata.name or "").rpartition("-")[0]
    if head != pets.metadata.name or not matches(pets.spec.selector, metadata.labels or {}):
        return False
    return bool(template_of(found.data or {}))


def _claims(
    pets: PetSet, members: Iterable[int], reader: ObjectReader, namespace: str
) -> Iterator[Claim]:
    """Yield the claims of wanted and of existing members."""
    templates = [
        each.metadata.name for each in pets.spec.volume_claim_templates if each.metadata is not None
    ]
    for ordinal in sorted({*members, *_wanted(pets)}):
        for template in templates:
            claim = reader.get(
                V1PersistentVolumeClaim,
                claim_name(template or "", pets.metadata.name, ordinal),
                namespace=namespace,
            )
            if claim is not None and claim.metadata is not None:
                yield _claim(pets, claim, claim.metadata)


def _wanted(pets: PetSet) -> list[int]:
    spec = pets.spec
    return desired_ordinals(
        spec.replicas, start=spec.ordinals.start, reserved=parse_ranges(spec.reserve_ordinals)
    )


def _claim(pets: PetSet, claim: V1PersistentVolumeClaim, metadata: V1ObjectMeta) -> Claim:
    owner: ClaimOwner = ""
    owner_uid = ""
    for reference in metadata.owner_references or ():
        if reference.uid == pets.metadata.uid:
            owner, owner_uid = "set", reference.uid
        elif reference.kind == "Pod" and ordinal_of(reference.name, pets.metadata.name) is not None:
            owner, owner_uid = "pod", reference.uid
    status, spec = claim.status, claim.spec
    requests = (
        spec.resources.requests if spec is not None and spec.resources is not None else None
    ) or {}
    return Claim(
        name=metadata.name or "",
        uid=metadata.uid or "",
        resource_version=metadata.resource_version or "",
        owner=owner,
        owner_uid=owner_uid,
        terminating=metadata.deletion_timestamp is not None,
        phase=(status.phase if status is not None else None) or "Pending",
        size=str((status.capacity or {}).get("storage") or "") if status is not None else "",
        requested=str(requests.get("storage") or ""),
        requested_by_set=(metadata.annotations or {}).get(ANNOTATION_REQUESTED, ""),
        storage_class=(spec.storage_class_name if spec is not None else None) or "",
        access_modes=frozenset((spec.access_modes if spec is not None else None) or ()),
        volume_mode=(spec.volume_mode if spec is not None else None) or "",
        resize_pending_since=_resize_pending_since(claim),
    )


def _resize_pending_since(claim: V1PersistentVolumeClaim) -> datetime | None:
    conditions = (claim.status.conditions if claim.status is not None else None) or ()
    pending = [
        each
        for each in conditions
        if each.type == "FileSystemResizePending" and each.status == "True"
    ]
    since: datetime | None = pending[0].last_transition_time if pending else None
    return since


# One member -----------------------------------------------------------------------------------------------------------


def _member(pets: PetSet, pod: V1Pod, ordinal: int, reader: ObjectReader) -> Member:
    metadata, status = pod.metadata, pod.status
    assert metadata is not None
    labels, annotations = metadata.labels or {}, metadata.annotations or {}
    terminating = metadata.deletion_timestamp is not None
    ready = _condition(pod, "Ready")
    is_ready = ready is not None and ready.status == "True" and not _awaits_kubelet(pod)
    wanted = identity_labels(pets.metadata.name, ordinal) if ordinal >= 0 else {}
    return Member(
        pod=metadata.name or "",
        ordinal=ordinal,
        uid=metadata.uid or "",
        resource_version=metadata.resource_version or "",
        revision=labels.get(LABEL_REVISION, ""),
        override=annotations.get(ANNOTATION_OVERRIDE, ""),
        phase=(status.phase if status is not None else None) or "Pending",
        ready=is_ready,
        available_at=_available_at(pets, ready, metadata) if is_ready else None,
        never_ready=_never_ready(pod, ready),
        terminating=terminating,
        failure=_failure(pod) if not is_ready else None,
        labels_correct=all(labels.get(name) == value for name, value in wanted.items()),
        protected=FINALIZER in (metadata.finalizers or ()),
        releasable=terminating and _is_stopped(pod, reader),
        created_at=metadata.creation_timestamp,
        node=_node_name(pod),
        node_missing=terminating and _node_name(pod) != "" and _node(pod, reader) is None,
    )


def _node_name(pod: V1Pod) -> str:
    return (pod.spec.node_name if pod.spec is not None else None) or ""


def _node(pod: V1Pod, reader: ObjectReader) -> V1Node | None:
    return reader.get(V1Node, _node_name(pod), namespace="")


def _condition(pod: V1Pod, type_: str) -> Any:
    conditions = (pod.status.conditions if pod.status is not None else None) or ()
    return next((each for each in conditions if each.type == type_), None)


def _available_at(pets: PetSet, ready: Any, metadata: V1ObjectMeta) -> datetime | None:
    since: datetime | None = ready.last_transition_time or metadata.creation_timestamp
    return since + timedelta(seconds=pets.spec.min_ready_seconds) if since is not None else None


def _never_ready(pod: V1Pod, ready: Any) -> bool:
    """Return whether a pod was never ready: its condition has not moved since the kubelet first wrote it.

    A member that was ready and is briefly not, as in a network partition, must not be taken for one that cannot start.
    """
    if ready is None:
        return True
    started = pod.status.start_time if pod.status is not None else None
    moved = ready.last_transition_time
    return ready.status != "True" and (
        started is None or moved is None or moved <= started + timedelta(seconds=1)
    )


def _awaits_kubelet(pod: V1Pod) -> bool:
    """Return whether the kubelet still reports other images or resources than the spec has, after a change in place."""
    wanted = {
        each.name: each for each in (pod.spec.containers if pod.spec is not None else None) or ()
    }
    reported = (pod.status.container_statuses if pod.status is not None else None) or ()
    return any(
        each.name in wanted
        and not (
            _same_image(each.image, wanted[each.name].image)
            and _has_resources(each, wanted[each.name])
        )
        for each in reported
    )


def _has_resources(reported: Any, wanted: Any) -> bool:
    """Return whether a container has the resources of its spec; a kubelet that reports none cannot change them."""
    if reported.resources is None or wanted.resources is None:
        return True
    return all(
        quantities(getattr(reported.resources, kind)) == quantities(getattr(wanted.resources, kind))
        for kind in ("limits", "requests")
    )


def _same_image(reported: str | None, wanted: str | None) -> bool:
    """Compare images as a runtime reports them: with its registry and tag filled in."""
    if not reported or not wanted or reported == wanted:
        return True
    tagged = wanted if "@" in wanted or ":" in wanted.rpartition("/")[2] else f"{wanted}:latest"
    return reported.endswith(("/" + tagged, "/" + wanted)) or reported == tagged


def _failure(pod: V1Pod) -> Failure | None:
    """Return why a pod does not become ready, where the kubelet or the scheduler says so."""
    status = pod.status
    if status is None:
        return None
    for container in [*(status.init_container_statuses or ()), *(status.container_statuses or ())]:
        waiting = container.state.waiting if container.state is not None else None
        if waiting is not None and waiting.reason in _HELD:
            return Failure(
                waiting.reason, (waiting.message or "")[:_LONGEST_MESSAGE], container.name
            )
    scheduled = _condition(pod, "PodScheduled")
    if (
        scheduled is not None
        and scheduled.status == "False"
        and scheduled.reason == "Unschedulable"
    ):
        return Failure("Unschedulable", (scheduled.message or "")[:_LONGEST_MESSAGE])
    return None


def _is_stopped(pod: V1Pod, reader: ObjectReader) -> bool:
    """Return whether a terminating pod's containers are known to run no more: by the kubelet, or by the node's end."""
    if not _node_name(pod):
        return True  # never started
    node = _node(pod, reader)
    if node is None or _OUT_OF_SERVICE in _taints(node):
        return True
    status = pod.status
    if status is None:
        return False
    if status.phase in {"Failed", "Succeeded"}:
        return True
    init = status.init_container_statuses or ()
    if any(each.state is not None and each.state.running is not None for each in init):
        return False  # a sidecar runs on after the containers that it serves
    statuses = [*(status.container_statuses or ()), *(status.ephemeral_container_statuses or ())]
    return bool(statuses) and all(
        each.state is not None and each.state.terminated is not None for each in statuses
    )
