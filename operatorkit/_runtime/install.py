"""Making an API server serve the kinds of an operator.

What belongs here: applying definitions and waiting until they are established. What does not: rendering them
(`operatorkit.crd`).
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import timedelta
from typing import Any, cast

from operatorkit.cluster import ClusterAPI, JSONObject, PatchType
from operatorkit.errors import ClusterError, OperatorKitError
from operatorkit.names import ApiResource
from operatorkit.operator import Operator
from operatorkit.resource import Resource

__all__ = ["DEFINITIONS", "install_definitions"]

DEFINITIONS = ApiResource(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)
_MANAGER = "operatorkit"


async def install_definitions(app: Operator, api: ClusterAPI, *, limit: timedelta = timedelta(seconds=30)) -> None:
    """Apply the CustomResourceDefinition of each own kind, and return when the API server serves them all.

    Raises ClusterError when one is refused, and OperatorKitError, with the server's reason, when one is not
    established within `limit`.
    """
    for definition in [kind.crd() for kind in app.kinds() if issubclass(kind, Resource)]:
        name = definition["metadata"]["name"]
        answer = await api.patch(
            DEFINITIONS, name, definition, patch_type=PatchType.APPLY, field_manager=_MANAGER, force=True
        )
        try:
            async with asyncio.timeout(limit.total_seconds()):
                await _established(api, answer)
        except TimeoutError:
            raise OperatorKitError(f"{name} was not established within {limit.total_seconds():g} s") from None


async def _established(api: ClusterAPI, definition: JSONObject) -> None:
    name = definition["metadata"]["name"]
    while not _is_established(definition):
        events = api.watch(
            DEFINITIONS,
            resource_version=definition["metadata"]["resourceVersion"],
            field_selector=f"metadata.name={name}",
        )
        try:
            async with aclosing(cast("Any", events)):
                async for event in events:
                    if event.type in {"ADDED", "MODIFIED"}:
                        definition = event.object
                        if _is_established(definition):
                            return
        except ClusterError:
            await asyncio.sleep(0.1)
        definition = await api.get(DEFINITIONS, name)


def _is_established(definition: JSONObject) -> bool:
    conditions = (definition.get("status") or {}).get("conditions") or []
    for condition in conditions:
        if condition["type"] == "NamesAccepted" and condition["status"] == "False":
            raise OperatorKitError(f"{definition['metadata']['name']}: {condition['message']}")
    return any(condition["type"] == "Established" and condition["status"] == "True" for condition in conditions)
