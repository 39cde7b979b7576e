"""namespace-controller: a namespace that is deleted is emptied, then goes.

    terminating ─► pods deleted ─► no pod left? ─yes─► the rest deleted ─► nothing left? ─yes─► finalizer removed
                                       │ no                                   │ no
                                       └► again when one goes                 └► again when something goes

Pods go first, so that nothing they work with (network policies, secrets) is taken away while they run: KEP 5080.

What belongs here: emptying, reporting in its conditions what remains, and `finalize`. What does not:
rejecting new objects in it, which the server does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import timedelta

from operatorkit.clock import format_time
from operatorkit.cluster import Change
from operatorkit.cluster.api import JSONObject
from operatorkit.controlplane.controllers.context import ControllerContext
from operatorkit.controlplane.controllers.work_queue import WorkQueue
from operatorkit.errors import ClusterError, NotFound
from operatorkit.kinds import NAMESPACES, PODS
from operatorkit.names import ApiResource
from operatorkit.transitions import set_json_condition

__all__ = ["NAMESPACES", "NamespaceController", "conditions"]


_FINALIZER = "kubernetes"
# Failures that a later sync may clear; changes of the content enqueue the namespace without any wait.
_LOOK_AGAIN = timedelta(seconds=2)
_LET_THE_WATCH_CATCH_UP = timedelta(milliseconds=20)

# type: (reason, message) while all is well
_WELL = {
    "NamespaceDeletionDiscoveryFailure": (
        "ResourcesDiscovered",
        "All resources successfully discovered",
    ),
    "NamespaceDeletionGroupVersionParsingFailure": (
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    "NamespaceDeletionContentFailure": (
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    "NamespaceContentRemaining": ("ContentRemoved", "All content successfully removed"),
    "NamespaceFinalizersRemaining": (
        "ContentHasNoFinalizers",
        "All content-preserving finalizers finished",
    ),
}


class NamespaceController:
    """Empties namespaces that are being deleted."""

    name = "namespace-controller"

    def __init__(self, context: ControllerContext) -> None:
        self._api = context.api
        self._inventory = context.inventory
        self._clock = context.clock
        self._terminating: set[str] = set()
        self._queue: WorkQueue[str] = WorkQueue(
            self._sync, clock=context.pace, pace=context.pace, workers=4, name=self.name
        )
        context.inventory.subscribe(self._on_change)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._inventory.ready()
        await self._queue.run()

    async def idle(self) -> None:
        """Return when there is no work that can be done now."""
        await self._queue.idle()

    def _on_change(self, resource: ApiResource, change: Change) -> None:
        if resource == NAMESPACES:
            self._on_namespace(change)
        elif change.key.namespace in self._terminating:
            self._queue.add(change.key.namespace)

    def _on_namespace(self, change: Change) -> None:
        name, new = change.key.name, change.new
        if new is not None and "deletionTimestamp" in new["metadata"]:
            if name not in self._terminating:
                self._terminating.add(name)
                self._queue.add(name)
        else:
            self._terminating.discard(name)
            self._queue.forget(name)

    async def _sync(self, name: str) -> timedelta | None:
        namespace = await self._api.get(NAMESPACES, name)
        finalizers = (namespace.get("spec") or {}).get("finalizers") or []
        if "deletionTimestamp" not in namespace["metadata"] or _FINALIZER not in finalizers:
            return None
        pods = await self._api.list(PODS, namespace=name, limit=1)
        if pods.items:  # first; what remains is not reported yet, as kube-controller-manager has it
            failures = await self._empty(name, [PODS])
            await self._report(namespace, conditions({}, {}, failures))
            return _LOOK_AGAIN
        failures = await self._empty(name, self._inventory.followed())
        remaining, waiting_for = self._count(name)
        wanted = conditions(remaining, waiting_for, failures)
        namespace = await self._report(namespace, wanted)
        if remaining or failures:
            return _LOOK_AGAIN
        if not await self._is_empty(name):
            return _LET_THE_WATCH_CATCH_UP
        namespace["spec"]["finalizers"] = [one for one in finalizers if one != _FINALIZER]
        await self._api.replace(NAMESPACES, name, namespace, subresource="finalize")
        return None

    async def _empty(self, name: str, resources: Collection[ApiResource]) -> list[str]:
        """Delete the objects of these kinds that are not terminating yet; return the errors."""
        failures = []
        for resource, obj in list(self._inventory.within(name)):
            if resource not in resources or "deletionTimestamp" in obj["metadata"]:
                continue
            try:
                await self._api.delete(
                    resource,
                    obj["metadata"]["name"],
                    namespace=name,
                    propagation="Background",
                    uid=obj["metadata"]["uid"],
                )
            except NotFound:
                continue
            except ClusterError as error:
                if error.code != 409:
                    failures.append(error.message)
        return failures

    async def _is_empty(self, name: str) -> bool:
        """Ask the server itself: what was created a moment ago may not be in the inventory yet."""
        for resource in self._inventory.followed():
            if resource.namespaced:
                page = await self._api.list(resource, namespace=name, limit=1)
                if page.items:
                    return False
        return True

    def _count(self, name: str) -> tuple[Counter[ApiResource], Counter[str]]:
        """Count what is left by resource, and the finalizers that hold it."""
        remaining: Counter[ApiResource] = Counter()
        finalizers: Counter[str] = Counter()
        for resource, obj in self._inventory.within(name):
            remaining[resource] += 1
            finalizers.update(obj["metadata"].get("finalizers") or ())
        return remaining, finalizers

    async def _report(
        self, namespace: JSONObject, wanted: Mapping[str, tuple[str, str, str]]
    ) -> JSONObject:
        status = namespace.setdefault("status", {})
        conditions = list(status.get("conditions") or ())
        now = format_time(self._clock.now())
        changed = [
            set_json_condition(
                conditions,
                {"type": type_, "status": value, "reason": reason, "message": message},
                now=now,
            )
            for type_, (value, reason, message) in wanted.items()
        ]
        if not any(changed):
            return namespace
        status["conditions"] = conditions
        return await self._api.replace(
            NAMESPACES, namespace["metadata"]["name"], namespace, subresource="status"
        )


def conditions(
    remaining: Mapping[ApiResource, int], finalizers: Mapping[str, int], failures: list[str]
) -> dict[str, tuple[str, str, str]]:
    """Return (status, reason, message) by condition type for what is left in a namespace."""
    wanted = {type_: ("False", reason, message) for type_, (reason, message) in _WELL.items()}
    if failures:
        text = f"Failed to delete all resource types, {len(failures)} remaining: {', '.join(sorted(failures))}"
        wanted["NamespaceDeletionContentFailure"] = ("True", "ContentDeletionFailed", text)
    if remaining:
        counts = (
            f"{one.plural}.{one.group} has {count} resource instances"
            for one, count in remaining.items()
        )
        listed = ", ".join(sorted(counts))
        wanted["NamespaceContentRemaining"] = (
            "True",
            "SomeResourcesRemain",
            f"Some resources are remaining: {listed}",
        )
    if finalizers:
        listed = ", ".join(
            sorted(f"{name} in {count} resource instances" for name, count in finalizers.items())
        )
        text = f"Some content in the namespace has finalizers remaining: {listed}"
        wanted["NamespaceFinalizersRemaining"] = ("True", "SomeFinalizersRemain", text)
    return wanted
