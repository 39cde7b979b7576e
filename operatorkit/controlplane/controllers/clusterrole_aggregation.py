"""clusterrole-aggregation-controller: the rules of a ClusterRole that aggregates others.

What belongs here: writing these rules. What does not: authorization, which evaluates aggregation by
itself (`operatorkit.controlplane.embedded.auth.rbac`).

Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/#aggregated-clusterroles
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from operatorkit.cluster import Change
from operatorkit.cluster.api import JSONObject, PatchType
from operatorkit.controlplane.controllers.context import ControllerContext
from operatorkit.controlplane.controllers.work_queue import WorkQueue
from operatorkit.kinds import CLUSTER_ROLES
from operatorkit.names import ObjectKey
from operatorkit.selectors import matches

__all__ = ["ClusterRoleAggregationController", "aggregated_rules"]


class ClusterRoleAggregationController:
    """Keeps the rules of every ClusterRole with an `aggregationRule`."""

    name = "clusterrole-aggregation-controller"

    def __init__(self, context: ControllerContext) -> None:
        self._api = context.api
        self._roles = context.informer(CLUSTER_ROLES)
        self._queue: WorkQueue[ObjectKey] = WorkQueue(
            self._sync, clock=context.clock, pace=context.pace, workers=2, name=self.name
        )
        self._roles.subscribe(self._on_role)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._roles.synced()
        await self._queue.run()

    async def idle(self) -> None:
        """Return when there is no work that can be done now."""
        await self._queue.idle()

    def _on_role(self, _: Change) -> None:
        for role in self._roles.cache.list():  # each may select the one that changed
            if role.get("aggregationRule"):
                self._queue.add(ObjectKey("", role["metadata"]["name"]))

    async def _sync(self, key: ObjectKey) -> timedelta | None:
        role = self._roles.cache.get(key)
        if role is None or not role.get("aggregationRule"):
            return None
        rules = aggregated_rules(role, self._roles.cache.list())
        if rules == (role.get("rules") or []):
            return None
        applied = {
            "apiVersion": CLUSTER_ROLES.api_version,
            "kind": CLUSTER_ROLES.kind,
            "metadata": {"name": key.name},
            "rules": rules,
        }
        written = await self._api.patch(
            CLUSTER_ROLES,
            key.name,
            applied,
            patch_type=PatchType.APPLY,
            field_manager=self.name,
            force=True,
        )
        self._roles.put(written)
        return None


def aggregated_rules(role: JSONObject, roles: Iterable[JSONObject]) -> list[JSONObject]:
    """Return the rules of the other roles that a role selects: by selector, then name, each once."""
    own_name = role["metadata"]["name"]
    by_name = sorted(roles, key=lambda it: str(it["metadata"]["name"]))
    rules: list[JSONObject] = []
    for selector in role["aggregationRule"].get("clusterRoleSelectors") or ():
        for other in by_name:
            labels = other["metadata"].get("labels") or {}
            if other["metadata"]["name"] != own_name and matches(selector, labels):
                rules += [it for it in other.get("rules") or () if it not in rules]
    return rules
