"""What the garbage collector does while its graph is behind the API server."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from operatorkit.clock import SYSTEM_CLOCK
from operatorkit.controlplane.controllers.garbage_collector import GarbageCollector
from operatorkit.controlplane.controllers.inventory import Identity
from operatorkit.controlplane.controllers.owner_graph import FOREGROUND, Node
from operatorkit.kinds import CONFIG_MAPS
from operatorkit.names import GroupVersionKind, ObjectKey


def owned(name: str, owner: str) -> dict[str, Any]:
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": owner, "uid": owner, "blockOwnerDeletion": True}
    return {"metadata": {"name": name, "uid": name, "resourceVersion": "1", "ownerReferences": [reference]}}


class Api:
    """Serves objects as they are now, and remembers what was requested."""

    def __init__(self, *objects: dict[str, Any]) -> None:
        self.objects = {one["metadata"]["name"]: one for one in objects}
        self.requests: list[tuple[str, str, Any]] = []

    async def get(self, _resource: Any, name: str, **_: Any) -> Any:
        return self.objects[name]

    async def patch(self, _resource: Any, name: str, body: Any, **_: Any) -> Any:
        self.requests.append(("patch", name, body["metadata"]["ownerReferences"][0]["blockOwnerDeletion"]))
        return self.objects[name]

    async def delete(self, _resource: Any, name: str, *, propagation: str, **_: Any) -> None:
        self.requests.append(("delete", name, propagation))


async def test_a_circle_is_opened_though_the_graph_has_not_seen_the_deletion_of_its_owner_yet() -> None:
    first, second = owned("first", "second"), owned("second", "first")
    deleted = {**first["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [FOREGROUND]}
    api = Api({"metadata": deleted}, second)
    kind = GroupVersionKind.of("v1", "ConfigMap")
    inventory = SimpleNamespace(subscribe=lambda _: None, resources={kind: CONFIG_MAPS})
    collector = GarbageCollector(SimpleNamespace(api=api, inventory=inventory, pace=SYSTEM_CLOCK))  # type: ignore[arg-type]
    for one in (first, second):
        collector._graph.put(Node.of(Identity(CONFIG_MAPS, ObjectKey("n", one["metadata"]["name"])), one))
    await collector._sync("second")
    assert api.requests == [("patch", "second", False), ("delete", "second", "Foreground")]
