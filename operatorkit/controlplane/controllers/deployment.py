"""deployment-controller: one ReplicaSet for each version of the pods, and the way from one to the next.

What belongs here: making, scaling and clearing away ReplicaSets, revisions, and the status. What does not: the
arithmetic (`rolling_update`), and pods (`replicaset`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from operatorkit.clock import format_time, parse_time
from operatorkit.cluster import Change
from operatorkit.cluster.api import JSONObject, PatchType
from operatorkit.controlplane.controllers.context import ControllerContext
from operatorkit.controlplane.controllers.event_recorder import ComponentEventRecorder
from operatorkit.controlplane.controllers.rolling_update import (
    Limits,
    Size,
    recreate,
    rolling_update,
)
from operatorkit.controlplane.controllers.work_queue import WorkQueue
from operatorkit.controlplane.controllers.workloads import (
    DEPLOYMENTS,
    HASH_LABEL,
    REPLICA_SETS,
    controller_uid,
    owned_by,
    scaled,
    template_hash,
    templates_equal,
)
from operatorkit.errors import AlreadyExists
from operatorkit.names import ObjectKey
from operatorkit.selectors import matches

__all__ = ["DeploymentController", "limits_of", "next_status"]

_REVISION = "deployment.kubernetes.io/revision"
_DESIRED = "deployment.kubernetes.io/desired-replicas"
_MOST = "deployment.kubernetes.io/max-replicas"
_NOT_COPIED = {_REVISION, _DESIRED, _MOST, "kubectl.kubernetes.io/last-applied-configuration"}
_NO_DEADLINE_SECONDS = 2**31 - 1


@dataclass(frozen=True, slots=True)
class _Sets:
    """A Deployment's ReplicaSets: the one of today's template, if it is there, and the rest, oldest first."""

    new: JSONObject | None
    old: Sequence[JSONObject]

    @property
    def all(self) -> list[JSONObject]:
        return [*self.old, *([self.new] if self.new is not None else [])]


class DeploymentController:
    """Rolls Deployments out."""

    name = "deployment-controller"

    def __init__(self, context: ControllerContext) -> None:
        self._api = context.api
        self._deployments = context.informer(DEPLOYMENTS)
        self._sets = context.informer(REPLICA_SETS)
        self._clock = context.clock
        self._events = ComponentEventRecorder(context.api, clock=context.clock)
        self._queue: WorkQueue[ObjectKey] = WorkQueue(
            self._sync, clock=context.clock, pace=context.pace, workers=4, name=self.name
        )
        self._deployments.subscribe(self._on_deployment)
        self._sets.subscribe(self._on_set)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._deployments.synced()
        await self._sets.synced()
        await self._queue.run()

    async def idle(self) -> None:
        """Return when there is no work that can be done now."""
        await self._queue.idle()

    def _on_deployment(self, change: Change) -> None:
        self._queue.add(change.key)

    def _on_set(self, change: Change) -> None:
        if change.new is not None and controller_uid(change.new) is None:
            labels = change.new["metadata"].get("labels") or {}
            for deployment in self._deployments.cache.list(change.key.namespace):
                if matches(deployment["spec"]["selector"], labels):
                    self._queue.add(ObjectKey(change.key.namespace, deployment["metadata"]["name"]))
        for replica_set in (change.old, change.new):
            for reference in (replica_set or {}).get("metadata", {}).get("ownerReferences") or ():
                if reference.get("controller") and reference["kind"] == DEPLOYMENTS.kind:
                    self._queue.add(ObjectKey(change.key.namespace, reference["name"]))

    async def _sync(self, key: ObjectKey) -> timedelta | None:
        deployment = self._deployments.cache.get(key)
        if deployment is None:
            return None
        created = False
        if "deletionTimestamp" not in deployment["metadata"]:
            await self._adopt(deployment)
        sets = self._owned(deployment)
        if "deletionTimestamp" not in deployment["metadata"]:
            created = await self._roll_out(deployment, sets)
            sets = self._owned(deployment)
            await self._clear_away(deployment, sets)
        return await self._report(deployment, sets, created=created)

    async def _adopt(self, deployment: JSONObject) -> None:
        """Own the ReplicaSets that match and have no controller: an earlier Deployment left them behind."""
        for one in self._sets.cache.list(deployment["metadata"]["namespace"]):
            metadata = one["metadata"]
            if controller_uid(one) is not None or "deletionTimestamp" in metadata:
                continue
            if matches(deployment["spec"]["selector"], metadata.get("labels") or {}):
                references = [
                    *(metadata.get("ownerReferences") or ()),
                    owned_by(deployment, DEPLOYMENTS),
                ]
                await self._patch_set(one, {"metadata": {"ownerReferences": references}})

    def _owned(self, deployment: JSONObject) -> _Sets:
        uid, template = deployment["metadata"]["uid"], deployment["spec"]["template"]
        owned = [
            one
            for one in self._sets.cache.list(deployment["metadata"]["namespace"])
            if controller_uid(one) == uid
        ]
        owned.sort(key=lambda one: (one["metadata"]["creationTimestamp"], one["metadata"]["name"]))
        new = next(
            (one for one in owned if templates_equal(one["spec"]["template"], template)), None
        )
        return _Sets(new, [one for one in owned if one is not new])

    async def _roll_out(self, deployment: JSONObject, sets: _Sets) -> bool:
        """Take the next step; return whether a new ReplicaSet was made."""
        spec, limits = deployment["spec"], limits_of(deployment)
        old = [_size(one) for one in sets.old]
        if spec.get("paused"):
            active = [one for one in sets.all if one["spec"].get("replicas")] or sets.all[-1:]
            if len(active) == 1:
                await self._scale(deployment, active[0], limits.desired)
            return False
        is_recreate = (spec.get("strategy") or {}).get("type") == "Recreate"
        if is_recreate:
            steps = dict(recreate(limits.desired, _size(sets.new) if sets.new else None, old))
            if sets.new is None and not steps and not any(one.actual for one in old):
                await self._create(deployment, sets, limits.desired)
                return True
        elif sets.new is None:
            left = limits.most - sum(one.wanted for one in old)
            await self._create(deployment, sets, min(limits.desired, max(0, left)))
            return True
        else:
            steps = dict(rolling_update(limits, _size(sets.new), old))
        if sets.new is not None:
            await self._number(deployment, sets, sets.new)
        for one in sets.all:
            if one["metadata"]["name"] in steps:
                await self._scale(deployment, one, steps[one["metadata"]["name"]])
        return False

    async def _create(self, deployment: JSONObject, sets: _Sets, replicas: int) -> None:
        collisions = (deployment.get("status") or {}).get("collisionCount", 0)
        body = _replica_set_of(deployment, replicas, _next_revision(sets), collisions)
        namespace, name = deployment["metadata"]["namespace"], body["metadata"]["name"]
        try:
            made = await self._api.create(REPLICA_SETS, body, namespace=namespace)
        except AlreadyExists:
            held = await self._api.get(REPLICA_SETS, name, namespace=namespace)
            if controller_uid(held) == deployment["metadata"]["uid"]:
                self._sets.put(held)  # an own write of a moment ago
                return
            await self._patch_status(deployment, {"collisionCount": collisions + 1})
            return
        self._sets.put(made)
        await self._annotate(deployment, made["metadata"]["annotations"][_REVISION])
        if replicas:
            await self._record_event(
                deployment, f"Scaled up replica set {name} from 0 to {replicas}"
            )

    async def _number(self, deployment: JSONObject, sets: _Sets, new: JSONObject) -> None:
        """Give the newest version the highest revision: a rollback makes an old ReplicaSet the newest."""
        revision = _revision(new)
        wanted = max(revision, _next_revision(_Sets(None, sets.old)))
        if wanted != revision:
            await self._patch_set(new, {"metadata": {"annotations": {_REVISION: str(wanted)}}})
        await self._annotate(deployment, str(wanted))

    async def _annotate(self, deployment: JSONObject, revision: str) -> None:
        metadata = deployment["metadata"]
        if (metadata.get("annotations") or {}).get(_REVISION) == revision:
            return
        body = {"metadata": {"uid": metadata["uid"], "annotations": {_REVISION: revision}}}
        written = await self._api.patch(
            DEPLOYMENTS,
            metadata["name"],
            body,
            patch_type=PatchType.MERGE,
            namespace=metadata["namespace"],
            subresource="status",  # as Kubernetes does: elsewhere an annotation counts as a new generation
        )
        self._deployments.put(written)

    async def _scale(self, deployment: JSONObject, replica_set: JSONObject, replicas: int) -> None:
        before, limits = replica_set["spec"].get("replicas", 1), limits_of(deployment)
        if before == replicas:
            return
        annotations = {_DESIRED: str(limits.desired), _MOST: str(limits.most)}
        await self._patch_set(
            replica_set, {"metadata": {"annotations": annotations}, "spec": {"replicas": replicas}}
        )
        direction, name = "up" if replicas > before else "down", replica_set["metadata"]["name"]
        await self._record_event(
            deployment, f"Scaled {direction} replica set {name} from {before} to {replicas}"
        )

    async def _patch_set(self, replica_set: JSONObject, body: dict[str, Any]) -> None:
        metadata = replica_set["metadata"]
        body["metadata"] = {
            **body.get("metadata", {}),
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        }
        written = await self._api.patch(
            REPLICA_SETS,
            metadata["name"],
            body,
            patch_type=PatchType.MERGE,
            namespace=metadata["namespace"],
        )
        metadata["resourceVersion"] = written["metadata"]["resourceVersion"]
        self._sets.put(written)

    async def _clear_away(self, deployment: JSONObject, sets: _Sets) -> None:
        """Delete the oldest empty ReplicaSets beyond the history that is to be kept."""
        empty = [
            one
            for one in sets.old
            if not one["spec"].get("replicas")
            and not (one.get("status") or {}).get("replicas")
            and "deletionTimestamp" not in one["metadata"]
        ]
        empty.sort(key=_revision)
        surplus = max(0, len(empty) - deployment["spec"].get("revisionHistoryLimit", 10))
        for one in empty[:surplus]:
            await self._api.delete(
                REPLICA_SETS,
                one["metadata"]["name"],
                namespace=one["metadata"]["namespace"],
                uid=one["metadata"]["uid"],
            )

    async def _record_event(self, deployment: JSONObject, message: str) -> None:
        subject = {**deployment, "apiVersion": "apps/v1", "kind": "Deployment"}
        await self._events.count(
            subject, "Normal", "ScalingReplicaSet", message, component=self.name
        )

    async def _report(
        self, deployment: JSONObject, sets: _Sets, *, created: bool
    ) -> timedelta | None:
        now = self._clock.now()
        status = next_status(deployment, sets.new, sets.all, now, created=created)
        old = deployment.get("status") or {}
        if any(old.get(key) != value for key, value in status.items()):
            await self._patch_status(deployment, status)
        return _until_deadline(deployment, status, now)

    async def _patch_status(self, deployment: JSONObject, status: JSONObject) -> None:
        metadata = deployment["metadata"]
        written = await self._api.patch(
            DEPLOYMENTS,
            metadata["name"],
            {"metadata": {"uid": metadata["uid"]}, "status": status},
            patch_type=PatchType.MERGE,
            namespace=metadata["namespace"],
            subresource="status",
        )
        self._deployments.put(written)


def limits_of(deployment: JSONObject) -> Limits:
    """Read what a Deployment asks for; where neither surge nor unavailability is allowed, one pod may be missing."""
    spec = deployment["spec"]
    desired = spec.get("replicas", 1)
    strategy = spec.get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return Limits(desired, 0, 0)
    rolling = strategy.get("rollingUpdate") or {}
    surge = scaled(rolling.get("maxSurge", "25%"), desired, up=True)
    unavailable = scaled(rolling.get("maxUnavailable", "25%"), desired, up=False)
    if not surge and not unavailable:
        unavailable = 1
    return Limits(desired, surge, min(unavailable, desired))


def _size(replica_set: JSONObject) -> Size:
    status = replica_set.get("status") or {}
    return Size(
        replica_set["metadata"]["name"],
        replica_set["spec"].get("replicas", 1),
        status.get("replicas", 0),
        status.get("availableReplicas", 0),
    )


def _revision(replica_set: JSONObject) -> int:
    text = (replica_set["metadata"].get("annotations") or {}).get(_REVISION, "0")
    return int(text) if text.isdigit() else 0


def _next_revision(sets: _Sets) -> int:
    return max((_revision(one) for one in sets.all), default=0) + 1


def _replica_set_of(
    deployment: JSONObject, replicas: int, revision: int, collisions: int
) -> JSONObject:
    spec, metadata, limits = deployment["spec"], deployment["metadata"], limits_of(deployment)
    digest = template_hash(spec["template"], collisions)
    template_metadata = spec["template"].get("metadata") or {}
    labels = {**(template_metadata.get("labels") or {}), HASH_LABEL: digest}
    selector = {
        **spec["selector"],
        "matchLabels": {**(spec["selector"].get("matchLabels") or {}), HASH_LABEL: digest},
    }
    annotations = {
        key: value
        for key, value in (metadata.get("annotations") or {}).items()
        if key not in _NOT_COPIED
    }
    annotations |= {
        _REVISION: str(revision),
        _DESIRED: str(limits.desired),
        _MOST: str(limits.most),
    }
    body: JSONObject = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{metadata['name']}-{digest}",
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [owned_by(deployment, DEPLOYMENTS)],
        },
        "spec": {
            "replicas": replicas,
            "selector": selector,
            "template": {**spec["template"], "metadata": {**template_metadata, "labels": labels}},
        },
    }
    if "minReadySeconds" in spec:
        body["spec"]["minReadySeconds"] = spec["minReadySeconds"]
    return body


def next_status(
    deployment: JSONObject,
    new: JSONObject | None,
    sets: Sequence[JSONObject],
    now: datetime,
    *,
    created: bool,
) -> JSONObject:
    """Return the status of a Deployment, given its ReplicaSets; None for counts that are zero."""
    limits, old = limits_of(deployment), deployment.get("status") or {}
    statuses = [one.get("status") or {} for one in sets]
    available = sum(one.get("availableReplicas", 0) for one in statuses)
    wanted = sum(one["spec"].get("replicas", 1) for one in sets)
    counts = {
        "replicas": sum(one.get("replicas", 0) for one in statuses),
        "updatedReplicas": ((new or {}).get("status") or {}).get("replicas", 0),
        "readyReplicas": sum(one.get("readyReplicas", 0) for one in statuses),
        "availableReplicas": available,
        "unavailableReplicas": max(0, wanted - available),
    }
    conditions = {one["type"]: one for one in old.get("conditions") or ()}
    pause = _pause(deployment)
    if pause is not None:
        _set(conditions, "Progressing", pause, now)
    if available >= limits.least_available:
        fine = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    else:
        fine = (
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        )
    _set(conditions, "Available", fine, now)
    paused = bool(deployment["spec"].get("paused"))
    progress = None if paused else _progress(deployment, new, counts, now, created=created)
    if progress is not None:
        moved = progress[1] == "ReplicaSetUpdated"
        _set(conditions, "Progressing", progress, now, touch=moved)
    return {
        **{key: value or None for key, value in counts.items()},
        "terminatingReplicas": sum(one.get("terminatingReplicas", 0) for one in statuses),
        "observedGeneration": deployment["metadata"].get("generation", 1),
        "conditions": list(conditions.values()),
    }


def _pause(deployment: JSONObject) -> tuple[str, str, str] | None:
    """Return what the condition Progressing says of a pause that begins or ends, or None where neither does."""
    current = _condition(deployment.get("status") or {}, "Progressing")
    reason = current["reason"] if current else ""
    if deployment["spec"].get("progressDeadlineSeconds", 600) >= _NO_DEADLINE_SECONDS:
        return None
    if deployment["spec"].get("paused"):
        reported = {"DeploymentPaused", "ProgressDeadlineExceeded"}
        return (
            None if reason in reported else ("Unknown", "DeploymentPaused", "Deployment is paused")
        )
    return (
        ("Unknown", "DeploymentResumed", "Deployment is resumed")
        if reason == "DeploymentPaused"
        else None
    )


def _progress(
    deployment: JSONObject,
    new: JSONObject | None,
    counts: dict[str, int],
    now: datetime,
    *,
    created: bool,
) -> tuple[str, str, str] | None:
    """Return status, reason and message of the condition Progressing, or None to leave it."""
    desired, old = limits_of(deployment).desired, deployment.get("status") or {}
    current = _condition(old, "Progressing")
    reason = current["reason"] if current else ""
    if (
        counts["replicas"] == counts["updatedReplicas"]
        and reason == "NewReplicaSetAvailable"
        and not created
    ):
        return None
    name = (
        f'ReplicaSet "{new["metadata"]["name"]}"'
        if new
        else f'Deployment "{deployment["metadata"]["name"]}"'
    )
    if created and new is not None:
        return (
            "True",
            "NewReplicaSetCreated",
            f'Created new replica set "{new["metadata"]["name"]}"',
        )
    if counts["updatedReplicas"] == counts["replicas"] == counts["availableReplicas"] == desired:
        return "True", "NewReplicaSetAvailable", f"{name} has successfully progressed."
    before = {key: old.get(key, 0) for key in counts}
    fewer_old = (
        counts["replicas"] - counts["updatedReplicas"]
        < before["replicas"] - before["updatedReplicas"]
    )
    grown = ("updatedReplicas", "readyReplicas", "availableReplicas")
    if fewer_old or any(counts[key] > before[key] for key in grown):
        return "True", "ReplicaSetUpdated", f"{name} is progressing."
    deadline = _deadline(deployment, current)
    if deadline is not None and now >= deadline:
        return "False", "ProgressDeadlineExceeded", f"{name} has timed out progressing."
    return None


def _condition(status: JSONObject, type_: str) -> JSONObject | None:
    return next((one for one in status.get("conditions") or () if one["type"] == type_), None)


def _deadline(deployment: JSONObject, progressing: JSONObject | None) -> datetime | None:
    seconds = deployment["spec"].get("progressDeadlineSeconds", 600)
    if progressing is None or seconds >= _NO_DEADLINE_SECONDS or deployment["spec"].get("paused"):
        return None
    if progressing["reason"] == "NewReplicaSetAvailable":
        return None
    return parse_time(progressing["lastUpdateTime"]) + timedelta(seconds=seconds)


def _until_deadline(deployment: JSONObject, status: JSONObject, now: datetime) -> timedelta | None:
    progressing = _condition(status, "Progressing")
    deadline = _deadline(deployment, progressing)
    if deadline is None or (progressing and progressing["reason"] == "ProgressDeadlineExceeded"):
        return None
    return max(timedelta(milliseconds=1), deadline - now)


def _set(
    conditions: dict[str, JSONObject],
    type_: str,
    wanted: tuple[str, str, str],
    now: datetime,
    *,
    touch: bool = False,
) -> None:
    """Set a condition; without `touch` one of the same status and reason stays as it is."""
    value, reason, message = wanted
    old = conditions.get(type_)
    if old is not None and (old["status"], old["reason"]) == (value, reason) and not touch:
        return
    same = old is not None and old["status"] == value
    conditions[type_] = {
        "type": type_,
        "status": value,
        "lastUpdateTime": format_time(now),
        "lastTransitionTime": old["lastTransitionTime"]
        if old is not None and same
        else format_time(now),
        "reason": reason,
        "message": message,
    }
